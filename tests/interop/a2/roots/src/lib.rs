//! Replacement of `webpki-roots` for this test. Trusts only the authorities in `SSL_CERT_FILE`.

use std::sync::LazyLock;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// Trust anchors from the file in `SSL_CERT_FILE`. Empty if there is no such file.
pub static TLS_SERVER_ROOTS: LazyLock<Vec<TrustAnchor<'static>>> = LazyLock::new(|| {
    let file = std::env::var_os("SSL_CERT_FILE").unwrap_or_default();
    let certificates = CertificateDer::pem_file_iter(file).into_iter().flatten().flatten();
    let anchor = |certificate: CertificateDer<'_>| {
        webpki::anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned())
    };
    certificates.filter_map(|certificate| anchor(certificate).ok()).collect()
});
