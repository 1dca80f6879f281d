use std::{
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use clap::ValueEnum;

/// A way to answer wrongly, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    kind: Kind,
    /// Every how many requests; 1 is always.
    every: u64,
}

/// A way to answer wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Refuse with 503, as a full queue does.
    Busy,
    /// Refuse with 500.
    Internal,
    /// End the stream without its final record.
    MissingDone,
    /// Report an error inside a stream that began well.
    ErrorLine,
    /// Fall silent in the middle of a reply.
    Stall,
    /// Close the connection in the middle of a reply.
    Cut,
    /// Cut every line in two, inside a character: no fault of the server, a trial for the client.
    Split,
    /// Send a piece without text before the first one: no fault either.
    EmptyFirst,
    /// Count one token too many.
    WrongCount,
    /// Give another vector than the text has: what a server does that computes wrongly when it is busy.
    OtherVector,
    /// Send one number too many in a vector.
    WrongDimensions,
    /// Send `null` in place of a number.
    NotFinite,
    /// Name a label that does not exist.
    UnknownLabel,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let (kind, every) = typed.split_once(':').unwrap_or((typed, "1"));
        let kind = Kind::from_str(kind, false).map_err(|_| {
            let names: Vec<String> = Kind::value_variants()
                .iter()
                .filter_map(ValueEnum::to_possible_value)
                .map(|value| value.get_name().to_owned())
                .collect();
            format!("there is {}", names.join(", "))
        })?;
        match every.parse() {
            Ok(every) if every > 0 => Ok(Self { kind, every }),
            _ => Err("write KIND or KIND:N, N being a positive number".into()),
        }
    }
}

/// Decides which requests are answered wrongly: each fault counts all requests by itself.
#[derive(Debug)]
pub(super) struct Faults(Vec<(Fault, AtomicU64)>);

impl Faults {
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self(
            faults
                .iter()
                .map(|fault| (fault.clone(), AtomicU64::new(0)))
                .collect(),
        )
    }

    /// The faults of the next request.
    pub(super) fn next(&self) -> Vec<Kind> {
        self.0
            .iter()
            .filter(|(fault, asked)| (asked.fetch_add(1, Ordering::Relaxed) + 1) % fault.every == 0)
            .map(|(fault, _)| fault.kind)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_request_is_answered_wrongly() {
        let faults = Faults::new(&["busy:3".parse().unwrap(), "split".parse().unwrap()]);
        let busy: Vec<bool> = (0..6)
            .map(|_| faults.next().contains(&Kind::Busy))
            .collect();
        assert_eq!(busy, [false, false, true, false, false, true]);
        assert_eq!(faults.next(), [Kind::Split]);
    }

    #[test]
    fn a_mistyped_fault_is_told_what_there_is() {
        let error = "bussy".parse::<Fault>().unwrap_err();
        assert!(
            error.starts_with("there is busy, internal, missing-done, "),
            "{error}"
        );
        assert!("busy:0".parse::<Fault>().is_err());
    }
}
