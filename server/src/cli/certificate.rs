//! Why a server's certificate is not believed, and what helps.

use std::error::Error;
use std::io;

use rustls::CertificateError;

/// What is wrong with the certificate; `None` if the request failed for another reason.
pub fn fault(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(now) = cause {
        if let Some(tls) = now.downcast_ref::<rustls::Error>() {
            return words(tls);
        }
        // What an I/O error wraps is not its source, but the error itself.
        let wrapped = now.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => now.source(),
        };
    }
    None
}

fn words(error: &rustls::Error) -> Option<String> {
    const TRUST: &str = "name the file of the certificate, or of its issuer's, in SSL_CERT_FILE";
    let rustls::Error::InvalidCertificate(reason) = error else {
        return None;
    };
    Some(match reason {
        CertificateError::UnknownIssuer => {
            format!("nobody whom this machine trusts has issued it; {TRUST}")
        }
        CertificateError::BadSignature => {
            format!("it is not the one of this name that this machine trusts; {TRUST}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; the server reads a new one on SIGHUP".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is the clock of this machine right?".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name; use a name of the certificate in OLLAMA_HOST".into()
        }
        // rustls has no name of its own for this one.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is one for issuing others (CA:TRUE), as `openssl req -x509` makes them; \
             add -addext basicConstraints=critical,CA:FALSE and make it again"
                .into()
        }
        other => other.to_string(),
    })
}
