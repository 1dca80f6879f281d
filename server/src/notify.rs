//! Telling systemd how the service is, as sd_notify(3) describes it: a datagram of `NAME=value` lines to the socket that
//! `NOTIFY_SOCKET` names. Without that variable nothing is told.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

/// What there is to tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Requests are answered from now on.
    Ready,
    /// No new ones are; those under way end.
    Stopping,
    /// It still gets things done.
    Alive,
}

impl State {
    fn line(self) -> &'static [u8] {
        match self {
            Self::Ready => b"READY=1",
            Self::Stopping => b"STOPPING=1",
            Self::Alive => b"WATCHDOG=1",
        }
    }
}

/// Whoever wants to be told.
#[derive(Debug)]
pub struct Supervisor {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Supervisor {
    /// The one that the environment names; none if it names none, or one that cannot be told anything.
    #[must_use]
    pub fn from_environment() -> Option<Arc<Self>> {
        let name: OsString = std::env::var_os("NOTIFY_SOCKET")?;
        match Self::new(&name) {
            Ok(supervisor) => Some(Arc::new(supervisor)),
            Err(error) => {
                warn!(%error, socket = ?name, "NOTIFY_SOCKET cannot be used");
                None
            }
        }
    }

    fn new(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::other(
                    "it is neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // Nobody waits for a supervisor that does not listen.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    /// Tells it.
    pub fn tell(&self, state: State) {
        if let Err(error) = self.socket.send_to_addr(state.line(), &self.address) {
            warn!(%error, ?state, "the service's supervisor could not be told");
        }
    }

    /// Tells it that the runtime gets things done, twice as often as `WATCHDOG_USEC` asks. Must be called inside a runtime.
    pub fn stay_alive(self: &Arc<Self>) {
        let Some(limit) = watchdog(|name| std::env::var(name).ok(), std::process::id()) else {
            return;
        };
        let supervisor = Arc::clone(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(limit / 2);
            loop {
                ticks.tick().await;
                supervisor.tell(State::Alive);
            }
        });
    }
}

/// How long this process may be silent, if anybody minds.
fn watchdog(variable: impl Fn(&str) -> Option<String>, process: u32) -> Option<Duration> {
    let is_ours = variable("WATCHDOG_PID").is_none_or(|meant| meant.parse() == Ok(process));
    let limit = variable("WATCHDOG_USEC")?.parse().ok()?;
    (is_ours && limit > 1).then(|| Duration::from_micros(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives_under_a_path_and_under_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("chaski-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let abstracted = UnixDatagram::bind_addr(&address).unwrap();
        for (listener, name) in [
            (at_path, path.as_os_str()),
            (abstracted, OsStr::new(&format!("@{name}"))),
        ] {
            let supervisor = Supervisor::new(name).unwrap();
            for state in [State::Ready, State::Alive, State::Stopping] {
                supervisor.tell(state);
                let mut heard = [0; 64];
                let length = listener.recv(&mut heard).unwrap();
                assert_eq!(&heard[..length], state.line());
            }
        }
        assert!(Supervisor::new(OsStr::new("relative")).is_err());
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_fed() {
        let of = |limit: &'static str, process: Option<&'static str>| {
            let variable = move |name: &str| match name {
                "WATCHDOG_USEC" => Some(limit.to_owned()),
                _ => process.map(str::to_owned),
            };
            watchdog(variable, 7)
        };
        let minute = Some(Duration::from_secs(60));
        assert_eq!(of("60000000", None), minute);
        assert_eq!(of("60000000", Some("7")), minute);
        for (limit, process) in [
            ("60000000", Some("8")),
            ("60000000", Some("")),
            ("0", None),
            ("1", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(of(limit, process), None, "{limit} {process:?}");
        }
    }
}
