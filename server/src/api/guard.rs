//! Who may ask: the `Host` header against DNS rebinding, and nobody new while the server drains.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{App, Error};
use crate::inference;

/// Where the kernel tells the machine's name.
const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";

/// Top-level domains that never leave the site.
const LOCAL_DOMAINS: &[&str] = &[".localhost", ".local", ".internal"];

/// Refuses a web page that has made a browser believe its name belongs to this machine.
///
/// Only for a server that listens on a loopback address: nothing but such a page reaches it under a strange name.
pub async fn hosts(State(address): State<SocketAddr>, request: Request, next: Next) -> Response {
    if !address.ip().is_loopback() {
        return next.run(request).await;
    }
    // A request in absolute form names its host in the target.
    let host = match request.uri().host() {
        Some(host) => host,
        None => match request.headers().get(HOST).map(|host| host.to_str()) {
            None => "",
            Some(Ok(host)) => without_port(host),
            Some(Err(_)) => return StatusCode::FORBIDDEN.into_response(),
        },
    };
    match admit(host) {
        Some(Named::Address) => next.run(request).await,
        Some(Named::Name) if request.method() == Method::OPTIONS => {
            StatusCode::NO_CONTENT.into_response()
        }
        Some(Named::Name) => next.run(request).await,
        None => StatusCode::FORBIDDEN.into_response(),
    }
}

/// Answers 503 to whoever comes once the server is to stop, except to those who ask how it is.
pub async fn drain(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.is_draining() && !is_probe(request.uri()) {
        return Error::Inference(inference::Error::ShuttingDown).into_response();
    }
    next.run(request).await
}

fn is_probe(uri: &Uri) -> bool {
    matches!(uri.path(), "/healthz" | "/readyz" | "/metrics")
}

/// How an admitted host was written.
#[derive(Debug, Eq, PartialEq)]
enum Named {
    Address,
    Name,
}

fn admit(host: &str) -> Option<Named> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return is_ours(address.to_canonical()).then_some(Named::Address);
    }
    let host = host.to_ascii_lowercase();
    let is_local = host.is_empty()
        || host == "localhost"
        || LOCAL_DOMAINS.iter().any(|domain| host.ends_with(domain))
        || is_machine_name(&host);
    is_local.then_some(Named::Name)
}

fn is_ours(address: IpAddr) -> bool {
    let is_private = match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    };
    address.is_loopback()
        || address.is_unspecified()
        || is_private
        // The kernel lets nobody bind an address that is not this machine's.
        || UdpSocket::bind((address, 0)).is_ok()
}

fn is_machine_name(host: &str) -> bool {
    std::fs::read_to_string(HOSTNAME_FILE)
        .is_ok_and(|name| name.trim_end().eq_ignore_ascii_case(host))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // A bare IPv6 address has colons and no port.
            if name.contains(':') && !name.ends_with(']') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, expected: Option<Named>) {
        assert_eq!(admit(without_port(host)), expected, "{host}");
    }

    #[test]
    fn local_hosts_are_admitted() {
        for address in [
            "127.0.0.1",
            "127.0.0.1:11434",
            "[::1]:11434",
            "::1",
            "0.0.0.0:11434",
            "10.1.2.3",
            "192.168.0.7:80",
            "172.16.0.1",
            "[fd00::1]",
            "[::ffff:127.0.0.1]:1",
        ] {
            check(address, Some(Named::Address));
        }
        for name in [
            "",
            "localhost",
            "LOCALHOST:11434",
            "app.localhost",
            "printer.local",
            "host.docker.internal:11434",
        ] {
            check(name, Some(Named::Name));
        }
        let machine = std::fs::read_to_string(HOSTNAME_FILE).unwrap();
        check(machine.trim(), Some(Named::Name));
    }

    #[test]
    fn strange_hosts_are_refused() {
        for host in [
            "evil.example",
            "evil.example:11434",
            "localhost.evil.example",
            "192.0.2.1",
            "[2001:db8::1]:80",
            "evillocal",
            "127.0.0.1.evil.example",
        ] {
            check(host, None);
        }
    }
}
