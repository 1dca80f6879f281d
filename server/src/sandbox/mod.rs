//! What a worker may still do once it knows which model it is for: read that model's files, compute, and answer on its socket.
//!
//! Model files come from strangers, and the libraries that read them were not written against malice. So a worker locks itself in
//! before it opens the first one, in two ways that do not depend on each other: Landlock ([`files`]) says which files it may
//! touch, and a seccomp filter ([`calls`]) which system calls are refused. Both hold for every thread that starts later and
//! cannot be taken back. [`limits`] bounds memory and descriptors.
//!
//! A leaf: it knows neither engines nor messages.

mod calls;
mod files;
pub mod limits;

use serde::{Deserialize, Serialize};

pub use self::files::Rights;

/// How much of the sandbox there must be (`--sandbox`, `CHASKI_SANDBOX`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Mode {
    /// No worker without all of it.
    Required,
    /// What the kernel has; the rest is told and gone without.
    #[default]
    BestEffort,
    /// None: for looking into a worker with a debugger.
    Off,
}

/// What holds in a worker.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Enforced {
    /// It opens the files of its model, system libraries and nothing else (graphics processors too, if it computes on them); it
    /// creates and runs none.
    pub files: bool,
    /// It has no network, starts no process, traces and signals nobody.
    pub system_calls: bool,
}

/// The sandbox is required and the kernel does not give it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the sandbox is required and {0}; CHASKI_SANDBOX=best-effort goes without what is missing")]
pub struct Missing(String);

impl Mode {
    /// As typed: `required`, `best-effort` or `off`.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        [Self::Required, Self::BestEffort, Self::Off]
            .into_iter()
            .find(|mode| mode.name() == typed)
    }

    /// As typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best-effort",
            Self::Off => "off",
        }
    }
}

impl Enforced {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.files && self.system_calls
    }
}

/// Locks the calling thread, and all that it will start, in. To be called while the process has one thread.
///
/// # Errors
/// [`Missing`] where everything is required and something is not to be had.
pub fn enter(mode: Mode, rights: &Rights) -> Result<Enforced, Missing> {
    if mode == Mode::Off {
        return Ok(Enforced::default());
    }
    // Files first: the filter refuses the calls that make Landlock rules.
    let files = files::restrict(rights);
    let system_calls = calls::restrict(rights.makes_files());
    let enforced = Enforced {
        files: files.is_ok(),
        system_calls: system_calls.is_ok(),
    };
    let missing: Vec<String> = [files.err(), system_calls.err()]
        .into_iter()
        .flatten()
        .collect();
    if mode == Mode::Required && !missing.is_empty() {
        return Err(Missing(missing.join(", and ")));
    }
    Ok(enforced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_as_it_is_written() {
        for mode in [Mode::Required, Mode::BestEffort, Mode::Off] {
            assert_eq!(Mode::parse(mode.name()), Some(mode));
        }
        assert_eq!(Mode::parse("on"), None);
    }

    #[test]
    fn nothing_is_enforced_where_nothing_is_wanted() {
        let enforced = enter(Mode::Off, &Rights::default()).unwrap();
        assert_eq!(enforced, Enforced::default());
        assert!(std::fs::metadata("/etc/passwd").is_ok());
    }

    /// What still succeeds in a thread that has locked itself in; the test's others stay free. What a worker may not do is
    /// tested in one.
    #[derive(Debug, Eq, PartialEq)]
    struct Succeeds {
        finding_devices: bool,
        other_files: bool,
        network: bool,
    }

    fn tried(rights: Rights) -> (Enforced, Succeeds) {
        let tries = move || {
            let enforced = enter(Mode::BestEffort, &rights).unwrap();
            let succeeds = Succeeds {
                finding_devices: std::fs::read_dir("/sys/devices").is_ok(),
                other_files: std::fs::read("/etc/passwd").is_ok(),
                network: std::net::TcpListener::bind("127.0.0.1:0").is_ok(),
            };
            (enforced, succeeds)
        };
        std::thread::spawn(tries).join().unwrap()
    }

    #[test]
    fn only_who_computes_on_devices_may_look_for_them() {
        for devices in [false, true] {
            let rights = Rights {
                devices,
                ..Rights::default()
            };
            let (enforced, succeeds) = tried(rights);
            let expected = Succeeds {
                finding_devices: devices || !enforced.files,
                other_files: !enforced.files,
                network: !enforced.system_calls && !enforced.files,
            };
            assert_eq!(succeeds, expected);
        }
    }
}
