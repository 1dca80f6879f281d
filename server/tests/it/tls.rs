//! TLS at the edge, with a client that checks certificates.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::server::Server;

/// A server that speaks TLS, and where its certificate and key are.
struct Secured {
    server: Server,
    certificate: PathBuf,
    key: PathBuf,
    _folder: TempDir,
}

/// A certificate for this machine, and its key, as PEM.
fn pair() -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

impl Secured {
    /// A server with the first certificate, which is returned too.
    async fn start() -> (Self, String) {
        let folder = TempDir::new().unwrap();
        let certificate = folder.path().join("certificate.pem");
        let key = folder.path().join("key.pem");
        let text = write(&certificate, &key);
        let variables = [
            ("CHASKI_TLS_CERT", certificate.to_str().unwrap()),
            ("CHASKI_TLS_KEY", key.to_str().unwrap()),
        ];
        let secured = Self {
            server: Server::start_with(variables).await,
            certificate,
            key,
            _folder: folder,
        };
        (secured, text)
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Asks for the version on a connection of its own.
    async fn ask(&self, trusted: &str) -> Result<u16, reqwest::Error> {
        let url = format!("https://{}/api/version", self.address());
        Ok(client(trusted).get(url).send().await?.status().as_u16())
    }
}

/// Writes a new pair and returns the certificate.
fn write(certificate: &Path, key: &Path) -> String {
    let (text, secret) = pair();
    std::fs::write(certificate, &text).unwrap();
    std::fs::write(key, secret).unwrap();
    text
}

fn client(trusted: &str) -> Client {
    let trusted = Certificate::from_pem(trusted.as_bytes()).unwrap();
    Client::builder()
        .tls_certs_only([trusted])
        .no_proxy()
        .build()
        .unwrap()
}

#[tokio::test]
async fn requests_and_streams_go_over_tls() {
    let (secured, trusted) = Secured::start().await;
    assert_eq!(secured.ask(&trusted).await.unwrap(), 200);
    let body = json!({"model": "tiny", "prompt": "What is the capital of France?", "think": false, "options": {"temperature": 0}});
    let url = format!("https://{}/api/generate", secured.address());
    let reply = client(&trusted).post(url).body(body.to_string());
    let lines = reply.send().await.unwrap().text().await.unwrap();
    assert!(lines.contains("\"response\":\" capital\""), "{lines}");
    assert!(
        lines
            .trim_end()
            .lines()
            .last()
            .unwrap()
            .contains("\"done\":true")
    );
    // A body in many records, and its refusal.
    let url = format!("https://{}/api/show", secured.address());
    let reply = client(&trusted).post(url).body("x".repeat(2 << 20));
    assert_eq!(reply.send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn who_does_not_trust_the_certificate_hears_nothing() {
    let (secured, _) = Secured::start().await;
    let (other, _) = pair();
    assert!(secured.ask(&other).await.unwrap_err().is_connect());
}

/// What `chaski list` says about a server with a certificate that was made so. It trusts that certificate, or nothing.
async fn listed(
    make: impl FnOnce(&mut rcgen::CertificateParams),
    host: &str,
    is_trusted: bool,
) -> String {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key, other) = (path("certificate.pem"), path("key.pem"), path("other.pem"));
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let name = (rcgen::DnType::CommonName, "a server of its own");
    params.distinguished_name.push(name.0, name.1);
    make(&mut params);
    let secret = rcgen::KeyPair::generate().unwrap();
    let made = params.self_signed(&secret).unwrap();
    std::fs::write(&certificate, made.pem()).unwrap();
    std::fs::write(&key, secret.serialize_pem()).unwrap();
    std::fs::write(&other, pair().0).unwrap();
    let variables = [
        ("CHASKI_TLS_CERT", &*certificate),
        ("CHASKI_TLS_KEY", &*key),
    ];
    let server = Server::start_with(variables).await;
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_chaski"))
        .arg("list")
        .env(
            "OLLAMA_HOST",
            format!("https://{host}:{}", server.address().port()),
        )
        .env(
            "SSL_CERT_FILE",
            if is_trusted { certificate } else { other },
        )
        .env_remove("SSL_CERT_DIR")
        .output()
        .await
        .unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[tokio::test]
async fn the_command_line_tells_what_is_wrong_with_a_certificate() {
    let check = |told: &str, expected: &str| assert!(told.contains(expected), "{told}");
    check(&listed(|_| {}, "localhost", true).await, "tiny");
    let told = listed(|_| {}, "localhost", false).await;
    check(
        &told,
        "nobody whom this machine trusts has issued it; name the file",
    );
    let told = listed(|_| {}, "127.0.0.1", true).await;
    check(&told, "it is for another name");
    let is_ca = |params: &mut rcgen::CertificateParams| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    let told = listed(is_ca, "localhost", true).await;
    check(&told, "it is one for issuing others (CA:TRUE)");
    let expired = |params: &mut rcgen::CertificateParams| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    };
    check(&listed(expired, "localhost", true).await, "it has expired");
}

#[tokio::test]
async fn who_speaks_no_tls_is_told() {
    let (secured, trusted) = Secured::start().await;
    let url = format!("http://{}/api/version", secured.address());
    let reply = client(&trusted).get(url).send().await.unwrap();
    assert_eq!(reply.status(), 400);
    let told = reply.text().await.unwrap();
    assert_eq!(told, "Client sent an HTTP request to an HTTPS server.\n");
    // Bytes that only begin like TLS cost their own connection.
    let mut stream = TcpStream::connect(secured.address()).await.unwrap();
    stream.write_all(&[22; 4096]).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(secured.ask(&trusted).await.unwrap(), 200);
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_broken_one_is_not() {
    let (secured, first) = Secured::start().await;
    let edge = &secured.server.app.edge;
    let second = write(&secured.certificate, &secured.key);
    assert_eq!(secured.ask(&first).await.unwrap(), 200);
    edge.reload().unwrap();
    assert!(secured.ask(&first).await.is_err());
    assert_eq!(secured.ask(&second).await.unwrap(), 200);
    // A certificate without its key, files of something else, no files.
    let (stranger, _) = pair();
    std::fs::write(&secured.certificate, stranger).unwrap();
    assert!(
        edge.reload()
            .unwrap_err()
            .to_string()
            .contains("certificate and key")
    );
    std::fs::write(&secured.certificate, "nothing").unwrap();
    assert!(edge.reload().is_err());
    std::fs::remove_file(&secured.key).unwrap();
    assert!(edge.reload().is_err());
    assert_eq!(secured.ask(&second).await.unwrap(), 200);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_off_before_and_after_tls() {
    let (secured, trusted) = Secured::start().await;
    let began = Instant::now();
    let silent = async {
        let mut stream = TcpStream::connect(secured.address()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    };
    // The head of a first record, whose rest never comes.
    let unfinished = async {
        let mut stream = TcpStream::connect(secured.address()).await.unwrap();
        stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    };
    let agreed = async {
        let mut stream = agreed(secured.address(), &trusted).await;
        stream.read_to_end(&mut Vec::new()).await
    };
    let (silent, unfinished, agreed) = tokio::join!(silent, unfinished, agreed);
    // Nothing was said to any of them; how a connection ends that was cut off is the system's business.
    for ended in [silent, unfinished, agreed] {
        assert_eq!(ended.unwrap_or(0), 0);
    }
    let took = began.elapsed();
    assert!(
        took > Duration::from_secs(8) && took < Duration::from_secs(20),
        "{took:?}"
    );
}

/// A connection that has agreed on TLS and on nothing else.
async fn agreed(address: SocketAddr, trusted: &str) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap();
    roots.add(trusted).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}
