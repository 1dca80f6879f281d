//! What stands at the edge and can be read anew while the server runs: keys, and the certificate for TLS.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::keys;

/// Longest file of certificates, and of a private key.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// HTTP/1.1 is all that is spoken behind TLS.
const PROTOCOL: &[u8] = b"http/1.1";

/// The keys and the certificate that hold now.
#[derive(Debug)]
pub struct Edge {
    keys: keys::Current,
    source: keys::Source,
    tls: Option<Tls>,
}

/// Why the server cannot be made as safe as it is configured to be.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// About the keys.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// One of the two is of no use without the other.
    #[error(
        "TLS takes both a certificate and its key: --tls-cert (CHASKI_TLS_CERT) and --tls-key (CHASKI_TLS_KEY)"
    )]
    Half,
    /// A file of PEM text is not there, or not to be read.
    #[error("the file {} for TLS cannot be used: {reason}", path.display())]
    File {
        /// As it was given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate and the key are not made for each other, or of a kind that is not known.
    #[error("the certificate and key for TLS cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

impl Edge {
    /// What the configuration names.
    ///
    /// # Errors
    /// See [`EdgeError`].
    pub fn of(config: &Config) -> Result<Self, EdgeError> {
        let edge = Self {
            keys: keys::Current::default(),
            source: config.keys.clone(),
            tls: match (&config.tls_certificate, &config.tls_key) {
                (None, None) => None,
                (Some(certificate), Some(key)) => Some(Tls::read(certificate, key)?),
                _ => return Err(EdgeError::Half),
            },
        };
        edge.read_keys()?;
        Ok(edge)
    }

    /// Reads everything anew. What cannot be read stays as it was.
    ///
    /// # Errors
    /// The first thing that could not be read.
    pub fn reload(&self) -> Result<(), EdgeError> {
        let tls = self.tls.as_ref().map_or(Ok(()), Tls::reload);
        self.read_keys()?;
        tls
    }

    /// Whether anything here comes from a file.
    #[must_use]
    pub fn can_reload(&self) -> bool {
        self.tls.is_some() || self.source.file.is_some()
    }

    /// The keys that hold now; `None` if the server asks for none.
    #[must_use]
    pub fn keys(&self) -> Option<Arc<keys::Keys>> {
        self.keys.get()
    }

    /// What begins TLS on a connection; `None` if the server speaks plainly.
    #[must_use]
    pub fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.as_ref().map(Tls::acceptor)
    }

    fn read_keys(&self) -> Result<(), keys::Error> {
        if self.source.is_some() {
            self.keys.replace(Some(self.source.read()?));
        }
        Ok(())
    }
}

/// A certificate, its key, and what rustls made of them.
#[derive(Debug)]
struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    fn read(certificate: &Path, key: &Path) -> Result<Self, EdgeError> {
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(read_pair(certificate, key)?),
        })
    }

    /// For the connections to come. Those that are open keep what they began with.
    fn reload(&self) -> Result<(), EdgeError> {
        let new = read_pair(&self.certificate, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current))
    }
}

fn read_pair(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, EdgeError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |reason: &dyn std::fmt::Display| EdgeError::File {
            path: path.clone(),
            reason: reason.to_string(),
        }
    };
    let wrong = unusable(certificate);
    let text = read(certificate).map_err(|error| wrong(&error))?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| wrong(&error))?;
    if chain.is_empty() {
        return Err(wrong(&"it holds no certificate"));
    }
    let wrong = unusable(key);
    let text = read(key).map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong(&error))?;

    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_PEM_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_PEM_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
