//! HTTP proxy by CONNECT (RFC 9110 §9.3.6). Never prints its credentials.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::BuildError;

/// Maximum size of the response head to CONNECT, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// Address of a proxy, and the credentials for it.
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    authorization: Option<String>,
}

impl Proxy {
    /// Parses `http://[user:password@]host[:port]`; user and password may be percent-encoded.
    pub(crate) fn parse(text: &str) -> Result<Self, BuildError> {
        let uri: http::Uri = text.parse().map_err(|_| BuildError::Proxy("not an address"))?;
        if uri.scheme_str() != Some("http") {
            return Err(BuildError::Proxy("not an http:// address"));
        }
        let authority = uri.authority().ok_or(BuildError::Proxy("no host"))?;
        let credentials = authority.as_str().rsplit_once('@').map(|(credentials, _)| credentials);
        Ok(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(3128),
            authorization: credentials
                .map(|text| format!("Basic {}", STANDARD.encode(percent_decoded(text)))),
        })
    }

    /// Turns a connection to the proxy into a tunnel to `host`.
    pub(crate) async fn tunnel(&self, mut tcp: TcpStream, host: &str, port: u16) -> io::Result<TcpStream> {
        let authorization =
            self.authorization.as_ref().map(|a| format!("Proxy-Authorization: {a}\r\n")).unwrap_or_default();
        let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n");
        tcp.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the head is the peer's and must stay in the socket.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_HEAD {
                return Err(io::Error::other("the proxy's answer is too long"));
            }
            answer.push(tcp.read_u8().await?);
        }
        match status(&answer) {
            Some(200..=299) => Ok(tcp),
            Some(407) => Err(io::Error::other("the proxy wants other credentials (407)")),
            Some(status) => Err(io::Error::other(format!("the proxy refuses CONNECT ({status})"))),
            None => Err(io::Error::other("the proxy does not answer as an HTTP proxy")),
        }
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(line.get(2..5)?).ok()?.parse().ok()
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_and_without_credentials() {
        let bare = Proxy::parse("http://proxy.example").unwrap();
        assert_eq!((bare.host.as_str(), bare.port, bare.authorization), ("proxy.example", 3128, None));
        let full = Proxy::parse("http://ann:p%40ss%3aword@proxy.example:8080").unwrap();
        assert_eq!(full.port, 8080);
        assert_eq!(full.authorization, Some(format!("Basic {}", STANDARD.encode("ann:p@ss:word"))));
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_never_quoted() {
        for text in [
            "https://ann:s3cret@proxy",
            "socks5://ann:s3cret@proxy",
            "ann:s3cret@proxy",
            "http://a b:s3cret@c",
        ] {
            let error = Proxy::parse(text).err().unwrap().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn only_an_http_status_line_is_a_status() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 x\r\n\r\n"), Some(407));
        for head in
            [&b"SSH-2.0-OpenSSH\r\n\r\n"[..], b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\r\n\r\n"]
        {
            assert_eq!(status(head), None);
        }
    }
}
