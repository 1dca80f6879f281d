//! The implementation of cryptography that every TLS connection of this process uses.

/// Chooses ring. Must run before the first HTTP client is made; running again changes nothing.
pub fn install() {
    // An error says that one is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
