//! TLS configuration: trusted roots and client certificate. Never prints a private key.

use std::sync::Arc;

use pushgate::Secret;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::BuildError;

/// Trusted certificate authorities.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// Those of the operating system.
    #[default]
    System,
    /// Mozilla's list, compiled in: for container images without certificates.
    Bundled,
    /// Exactly these, as PEM.
    Pem(String),
}

/// Client certificate with its chain and private key.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: Secret,
}

pub(crate) fn config(roots: &Roots, identity: Option<&Identity>) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match roots {
        Roots::System => builder.with_platform_verifier()?,
        Roots::Bundled => {
            builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
        }
        Roots::Pem(pem) => builder.with_root_certificates(root_store(pem)?),
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = identity.parse()?;
            let refused =
                |_| BuildError::Identity("the key is not the certificate's, or of a kind TLS cannot use");
            builder.with_client_auth_cert(chain, key).map_err(refused)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn root_store(pem: &str) -> Result<RootCertStore, BuildError> {
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

impl Identity {
    // The errors of the PEM reader may quote what they have read, so they are not passed on.
    fn parse(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), BuildError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(self.chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| BuildError::Identity("the certificate is not PEM"))?;
        if chain.is_empty() {
            return Err(BuildError::Identity("no certificate in the PEM text"));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.expose().as_bytes())
            .map_err(|_| BuildError::Identity("no private key in the PEM text"))?;
        Ok((chain, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(chain: &str, key: &str) -> String {
        let identity = Identity { chain: chain.to_owned(), key: key.into() };
        let error = config(&Roots::Bundled, Some(&identity)).err().unwrap().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        error
    }

    #[test]
    fn an_identity_that_cannot_be_used_is_explained_and_its_key_never_quoted() {
        let made = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        assert!(refusal("", &key).contains("no certificate"));
        assert!(refusal("-----BEGIN CERTIFICATE-----\ns3cret!", &key).contains("not PEM"));
        assert!(refusal(&chain, "s3cret").contains("no private key"));
        assert!(refusal(&chain, "-----BEGIN PRIVATE KEY-----\ns3cret!").contains("no private key"));
        assert!(refusal(&chain, &other.signing_key.serialize_pem()).contains("not the certificate's"));
        assert!(config(&Roots::Bundled, Some(&Identity { chain, key: key.into() })).is_ok());
    }

    #[test]
    fn roots_without_a_certificate_are_refused() {
        for pem in ["", "not PEM at all", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"] {
            assert!(config(&Roots::Pem(pem.to_owned()), None).is_err());
        }
    }
}
