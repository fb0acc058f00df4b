//! Check that rejects requests of web pages of other sites. A browser on this machine reaches loopback, too.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;

/// Adds the check to all routes of a router that listens on this address.
pub(crate) fn with_origin_check(router: Router, listen_address: SocketAddr) -> Router {
    router.layer(axum::middleware::from_fn_with_state(listen_address, check))
}

async fn check(State(listen_address): State<SocketAddr>, request: Request, next: Next) -> Response {
    // HTTP/2 requests carry the host in the URI.
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let host = text(request.headers(), &header::HOST).map(str::to_owned).or(authority).unwrap_or_default();
    let problem = foreign_host(&host, listen_address)
        .or_else(|| cross_site(request.method(), request.headers(), &host, listen_address));
    match problem {
        Some((code, detail)) => {
            (StatusCode::FORBIDDEN, Json(json!({"code": code, "detail": detail}))).into_response()
        }
        None => next.run(request).await,
    }
}

type Problem = (&'static str, String);

/// Returns a problem unless the host is `localhost` or an address of this machine.
/// A page may point a name of its own to loopback (DNS rebinding), so other names are refused.
fn foreign_host(host: &str, listen_address: SocketAddr) -> Option<Problem> {
    let name = without_port(host);
    let is_here = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == listen_address.ip(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    };
    let detail = || format!("the host {host:?} is not this machine; call http://{listen_address}");
    (!is_here).then(|| ("foreign_host", detail()))
}

/// Returns a problem if a page of another site sent the request.
/// Browsers send `Origin` with every cross-site request that can change something, whatever its content type.
fn cross_site(
    method: &Method,
    headers: &HeaderMap,
    host: &str,
    listen_address: SocketAddr,
) -> Option<Problem> {
    let origin = headers.get(header::ORIGIN);
    let is_same = |origin: &[u8]| origin.eq_ignore_ascii_case(format!("http://{host}").as_bytes());
    let foreign = origin.is_some_and(|origin| !is_same(origin.as_bytes()));
    let is_cross_site =
        headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let detail = || {
        let origin =
            origin.map_or("another site".into(), |origin| String::from_utf8_lossy(origin.as_bytes()));
        format!(
            "a page of {origin} may not call the control API; open http://{listen_address} itself, or call it without a browser"
        )
    };
    (foreign || (is_cross_site && !method.is_safe())).then(|| ("cross_site_request", detail()))
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Returns the name or address of a host, without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // An IPv6 address is in brackets, so its own colons are not followed by digits alone.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8444);

    #[test]
    fn only_localhost_and_loopback_addresses_are_accepted_as_host() {
        for host in ["localhost", "LocalHost:8444", "127.0.0.1:8444", "127.1.2.3", "[::1]:8444", "[::1]"] {
            assert_eq!(foreign_host(host, HERE), None, "{host}");
        }
        for host in ["", "example.com", "localhost.example.com", "192.0.2.1:8444", "127.0.0.1.example.com"] {
            assert_eq!(foreign_host(host, HERE).unwrap().0, "foreign_host", "{host}");
        }
    }
}
