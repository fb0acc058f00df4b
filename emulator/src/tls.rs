//! Certificate authority of the emulator. It signs certificates for loopback, for the hosts of the push services, and
//! for application servers.

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

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Certificate authority and the server certificate it has signed.
pub(crate) struct Authority {
    pub(crate) ca_pem: String,
    ca: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    leaf: CertificateDer<'static>,
    leaf_key: KeyPair,
}

/// Client certificate for an application server.
pub(crate) struct ClientCertificate {
    pub(crate) der: CertificateDer<'static>,
    /// Certificate and private key, in PEM.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn generate() -> Result<Self, BoxError> {
        let mut ca = CertificateParams::new(Vec::<String>::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "pushgate emulator");
        let ca_key = KeyPair::generate()?;
        let signed = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);
        let loopback = ["localhost", "127.0.0.1", "::1"];
        let names = loopback
            .iter()
            .chain(&crate::services::fcm::HOSTS)
            .chain(&crate::services::web_push::HOSTS)
            .chain(&crate::browsers::HOSTS)
            .chain(&crate::services::apns::HOSTS);
        let names: Vec<_> = names.map(|name| (*name).to_owned()).collect();
        let leaf_key = KeyPair::generate()?;
        let leaf = CertificateParams::new(names)?.signed_by(&leaf_key, &issuer)?;
        let (ca_pem, ca, leaf) = (signed.pem(), signed.der().clone(), leaf.der().clone());
        Ok(Self { ca_pem, ca, issuer, leaf, leaf_key })
    }

    /// Returns the SHA-256 of the server certificate's SubjectPublicKeyInfo in base64, as Chromium's switches name a
    /// key.
    pub(crate) fn key_pin(&self) -> String {
        let info = self.leaf_key.subject_public_key_info();
        STANDARD.encode(digest(&SHA256, &info))
    }

    /// Returns a TLS configuration that offers these ALPN protocols, the preferred one first.
    pub(crate) fn server_config(&self, alpn: &[&str]) -> Result<Arc<ServerConfig>, BoxError> {
        self.with_client_verifier(alpn, WebPkiClientVerifier::no_client_auth())
    }

    /// Returns a TLS configuration whose clients may present a certificate of this authority.
    pub(crate) fn server_config_with_client_auth(
        &self,
        alpn: &[&str],
    ) -> Result<Arc<ServerConfig>, BoxError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        self.with_client_verifier(alpn, verifier.allow_unauthenticated().build()?)
    }

    fn with_client_verifier(
        &self,
        alpn: &[&str],
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Result<Arc<ServerConfig>, BoxError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.leaf.clone()], key)?;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Issues a client certificate for an application server, valid for a year.
    pub(crate) fn issue_client_certificate(
        &self,
        name: &[(DnType, &str)],
        extensions: Vec<CustomExtension>,
    ) -> Result<ClientCertificate, BoxError> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.remove(DnType::CommonName);
        for (kind, value) in name {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.custom_extensions = extensions;
        params.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(365);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
        Ok(ClientCertificate { der: certificate.der().clone(), pem })
    }
}
