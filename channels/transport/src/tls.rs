//! Whom we trust, and one TLS configuration for it.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::BuilderVerifierExt;

/// Which certificate authorities are trusted.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// The machine's.
    #[default]
    System,
    /// Mozilla's list, compiled in: for images without certificates.
    Bundled,
    /// These and no others (PEM).
    Pem(String),
}

/// Why a transport cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The roots are not certificates.
    #[error("roots: {0}")]
    Roots(String),
    /// The proxy is not one. Never quotes it: it may hold a password.
    #[error("proxy: {0}; write http://[user:password@]host:port")]
    Proxy(&'static str),
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

pub(crate) fn config(roots: &Roots) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match roots {
        Roots::System => builder.with_platform_verifier()?,
        Roots::Bundled => {
            builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
        }
        Roots::Pem(pem) => builder.with_root_certificates(listed(pem)?),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn listed(pem: &str) -> Result<RootCertStore, BuildError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| BuildError::Roots(error.to_string()))?;
        store.add(certificate)?;
    }
    if store.is_empty() {
        return Err(BuildError::Roots("no certificate in the PEM text".to_owned()));
    }
    Ok(store)
}
