//! Whether the address can be listened on.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Finding;
use crate::config::Host;

const SUBJECT: &str = "address";
/// A server on this machine answers within this, or is not what we are looking for.
const PATIENCE: Duration = Duration::from_secs(1);
/// A head and a version are far shorter.
const MAX_REPLY_BYTES: u64 = 4096;

/// Listens there for a moment.
pub fn examine(host: &Host) -> Finding {
    let place = format!("{}:{}", host.name, host.port);
    let addresses: Vec<SocketAddr> = match (host.name.as_str(), host.port).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            return Finding::fault(
                SUBJECT,
                format!("{place} has no address: {error}"),
                "correct OLLAMA_HOST (--host)",
            );
        }
    };
    match TcpListener::bind(addresses.as_slice()) {
        Ok(_) => Finding::well(SUBJECT, format!("{place} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken(&place, &addresses),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::fault(
            SUBJECT,
            format!("{place} may not be listened on"),
            "choose a port above 1023 with OLLAMA_HOST (--host), or give the program CAP_NET_BIND_SERVICE",
        ),
        Err(error) => Finding::fault(
            SUBJECT,
            format!("{place} cannot be listened on: {error}"),
            "correct OLLAMA_HOST (--host)",
        ),
    }
}

/// Somebody is there. A server that speaks Ollama's API is most likely the one that is meant.
fn taken(place: &str, addresses: &[SocketAddr]) -> Finding {
    match addresses.iter().find_map(|address| ask(*address).ok()) {
        Some(Speaker::Chaski) => {
            Finding::well(SUBJECT, format!("a chaski server listens on {place}"))
        }
        Some(Speaker::Ollama) => Finding::fault(
            SUBJECT,
            format!("{place} is in use by an Ollama server"),
            "stop it (`systemctl stop ollama`), or choose another port with OLLAMA_HOST (--host)",
        ),
        _ => Finding::fault(
            SUBJECT,
            format!("{place} is in use by another program"),
            format!(
                "`ss -ltnp 'sport = :{}'` names it; choose another port with OLLAMA_HOST (--host)",
                place.rsplit(':').next().unwrap_or_default()
            ),
        ),
    }
}

enum Speaker {
    Chaski,
    Ollama,
    Other,
}

/// Both answer `/` alike; only ours has metrics.
fn ask(address: SocketAddr) -> io::Result<Speaker> {
    let get = |path: &str| -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // In one piece: who has answered half a request may be gone before the other half.
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut reply = Vec::new();
        // What came before a silence counts too.
        let _ = stream.take(MAX_REPLY_BYTES).read_to_end(&mut reply);
        Ok(String::from_utf8_lossy(&reply).into_owned())
    };
    Ok(if !get("/")?.contains("Ollama is running") {
        Speaker::Other
    } else if get("/metrics")?.starts_with("HTTP/1.1 200") {
        Speaker::Chaski
    } else {
        Speaker::Ollama
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::cli::doctor::Verdict;

    /// A server that answers each of so many connections.
    fn answering(replies: &'static [&'static str]) -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = Host::parse(&listener.local_addr().unwrap().to_string());
        thread::spawn(move || {
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 256];
                let _ = stream.read(&mut request).unwrap();
                stream.write_all(reply.as_bytes()).unwrap();
            }
            // Holds the port until the test ends.
            thread::park();
        });
        host
    }

    const ALIVE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\nOllama is running";

    #[test]
    fn servers_are_told_apart() {
        let check = |replies, verdict, told: &str| {
            let finding = examine(&answering(replies));
            assert_eq!(finding.verdict, verdict, "{told}");
            assert!(finding.says.contains(told), "{}", finding.says);
        };
        check(
            &[ALIVE, "HTTP/1.1 200 OK\r\n\r\n# HELP"],
            Verdict::Well,
            "a chaski server",
        );
        check(
            &[ALIVE, "HTTP/1.1 404 Not Found\r\n\r\n"],
            Verdict::Fault,
            "an Ollama server",
        );
        check(
            &["HTTP/1.1 200 OK\r\n\r\n<html>"],
            Verdict::Fault,
            "another program",
        );
    }

    #[test]
    fn a_name_without_an_address_is_told() {
        let finding = examine(&Host::parse("no-such-host.invalid:1"));
        assert_eq!(finding.verdict, Verdict::Fault);
        assert!(finding.says.contains("has no address"), "{}", finding.says);
    }
}
