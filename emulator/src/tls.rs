//! An authority of its own, and a certificate for loopback and the names the vendors have.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Who signs the vendors' certificates.
pub(crate) struct Authority {
    pub(crate) ca_pem: String,
    leaf: CertificateDer<'static>,
    leaf_key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, Failed> {
        let mut ca = CertificateParams::new(Vec::<String>::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "pushgate emulator");
        let ca_key = KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);
        let names = ["localhost", "127.0.0.1", "::1", "oauth2.googleapis.com"];
        let names = names
            .iter()
            .chain(&crate::webpush::HOSTS)
            .chain(&crate::browser::HOSTS)
            .map(|name| (*name).to_owned());
        let leaf_key = KeyPair::generate()?;
        let leaf = CertificateParams::new(names.collect::<Vec<_>>())?.signed_by(&leaf_key, &issuer)?;
        Ok(Self { ca_pem, leaf: leaf.der().clone(), leaf_key })
    }

    /// SHA-256 of the SubjectPublicKeyInfo of the vendors' certificate in base64, as Chromium's switches name a key.
    pub(crate) fn key_pin(&self) -> String {
        let info = self.leaf_key.subject_public_key_info();
        STANDARD.encode(digest(&SHA256, &info))
    }

    /// A server that speaks these protocols, the most wanted one first.
    pub(crate) fn server(&self, alpn: &[&str]) -> Result<Arc<ServerConfig>, Failed> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.leaf.clone()], key)?;
        server.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(server))
    }
}
