//! The check that keeps web pages of other sites away from the control API: a browser on this machine reaches loopback, too.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;

/// Puts the check in front of all routes of a router that answers at this address.
pub(crate) fn guarded(router: Router, listening: SocketAddr) -> Router {
    router.layer(axum::middleware::from_fn_with_state(listening, check))
}

async fn check(State(listening): State<SocketAddr>, request: Request, next: Next) -> Response {
    // HTTP/2 has the host in the URI.
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let host = text(request.headers(), &header::HOST).map(str::to_owned).or(authority).unwrap_or_default();
    let problem = foreign_host(&host, listening)
        .or_else(|| cross_site(request.method(), request.headers(), &host, listening));
    match problem {
        Some((code, detail)) => {
            (StatusCode::FORBIDDEN, Json(json!({"code": code, "detail": detail}))).into_response()
        }
        None => next.run(request).await,
    }
}

type Problem = (&'static str, String);

/// A name that resolves to loopback is not enough: a page may have pointed its own name there (DNS rebinding).
fn foreign_host(host: &str, listening: SocketAddr) -> Option<Problem> {
    let name = without_port(host);
    let is_here = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address == listening.ip(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    };
    let detail = || format!("the host {host:?} is not this machine; call http://{listening}");
    (!is_here).then(|| ("foreign_host", detail()))
}

/// Browsers send `Origin` with every request of a page that can change something, whatever its content type is.
fn cross_site(method: &Method, headers: &HeaderMap, host: &str, listening: SocketAddr) -> Option<Problem> {
    let origin = headers.get(header::ORIGIN);
    let same = |origin: &[u8]| origin.eq_ignore_ascii_case(format!("http://{host}").as_bytes());
    let foreign = origin.is_some_and(|origin| !same(origin.as_bytes()));
    let site = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let detail = || {
        let origin =
            origin.map_or("another site".into(), |origin| String::from_utf8_lossy(origin.as_bytes()));
        format!(
            "a page of {origin} may not call the control API; open http://{listening} itself, or call it without a browser"
        )
    };
    (foreign || (site && !method.is_safe())).then(|| ("cross_site_request", detail()))
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The name or address of a host, without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8444);

    #[test]
    fn loopback_has_many_names_and_no_other() {
        for host in ["localhost", "LocalHost:8444", "127.0.0.1:8444", "127.1.2.3", "[::1]:8444", "[::1]"] {
            assert_eq!(foreign_host(host, HERE), None, "{host}");
        }
        for host in ["", "example.com", "localhost.example.com", "192.0.2.1:8444", "127.0.0.1.example.com"] {
            assert_eq!(foreign_host(host, HERE).unwrap().0, "foreign_host", "{host}");
        }
    }
}
