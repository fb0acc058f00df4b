//! An authority of its own: certificates for loopback and the names the vendors have, and for app servers that show one.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, PublicKeyData as _,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Who signs the certificates.
pub(crate) struct Authority {
    pub(crate) ca_pem: String,
    ca: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    leaf: CertificateDer<'static>,
    leaf_key: KeyPair,
}

/// A certificate for an app server.
pub(crate) struct Issued {
    pub(crate) der: CertificateDer<'static>,
    /// Certificate and private key.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, Failed> {
        let mut ca = CertificateParams::new(Vec::<String>::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "pushgate emulator");
        let ca_key = KeyPair::generate()?;
        let signed = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);
        let names = ["localhost", "127.0.0.1", "::1"];
        let names = names
            .iter()
            .chain(&crate::google::HOSTS)
            .chain(&crate::webpush::HOSTS)
            .chain(&crate::browser::HOSTS)
            .chain(&crate::apns::HOSTS);
        let names: Vec<_> = names.map(|name| (*name).to_owned()).collect();
        let leaf_key = KeyPair::generate()?;
        let leaf = CertificateParams::new(names)?.signed_by(&leaf_key, &issuer)?;
        let (ca_pem, ca, leaf) = (signed.pem(), signed.der().clone(), leaf.der().clone());
        Ok(Self { ca_pem, ca, issuer, leaf, leaf_key })
    }

    /// SHA-256 of the SubjectPublicKeyInfo of the vendors' certificate in base64, as Chromium's switches name a key.
    pub(crate) fn key_pin(&self) -> String {
        let info = self.leaf_key.subject_public_key_info();
        STANDARD.encode(digest(&SHA256, &info))
    }

    /// A server that speaks these protocols, the most wanted one first.
    pub(crate) fn server(&self, alpn: &[&str]) -> Result<Arc<ServerConfig>, Failed> {
        self.with_clients(alpn, WebPkiClientVerifier::no_client_auth())
    }

    /// The same, for clients that may show a certificate of this authority.
    pub(crate) fn server_for_clients(&self, alpn: &[&str]) -> Result<Arc<ServerConfig>, Failed> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        self.with_clients(alpn, clients.allow_unauthenticated().build()?)
    }

    fn with_clients(
        &self,
        alpn: &[&str],
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<Arc<ServerConfig>, Failed> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![self.leaf.clone()], key)?;
        server.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(server))
    }

    /// A certificate for an app server, good for a year.
    pub(crate) fn issue(
        &self,
        name: &[(DnType, &str)],
        extensions: Vec<CustomExtension>,
    ) -> Result<Issued, Failed> {
        let mut wish = CertificateParams::new(Vec::<String>::new())?;
        wish.distinguished_name.remove(DnType::CommonName);
        for (kind, value) in name {
            wish.distinguished_name.push(kind.clone(), *value);
        }
        wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        wish.custom_extensions = extensions;
        wish.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
        wish.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(365);
        let key = KeyPair::generate()?;
        let certificate = wish.signed_by(&key, &self.issuer)?;
        let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
        Ok(Issued { der: certificate.der().clone(), pem })
    }
}
