//! The native door, `/v1`: the API we would want to use. Here are the routes and who may pass; each resource has a file.

mod dead;
mod devices;
mod notifications;
mod queue;
mod receipts;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pushgate::{AppId, UserId};
use pushgate_config::KeyScope;

use super::wire::Parameters;
use super::{House, refused};
use crate::keys::bearer;
use crate::listener::Connection;
use crate::problem::Problem;

/// Where devices tell what became of what they got.
pub const RECEIPTS: &str = "/v1/receipts";

/// Where an operator sees which stored rows could not be decoded.
pub const QUARANTINED: &str = "/v1/queue/quarantined";

type Answer = Result<Response, Problem>;

pub(super) fn routes() -> Router<Arc<House>> {
    Router::new()
        .route("/v1/apps/{app}/notifications", post(notifications::submit))
        .route("/v1/apps/{app}/notifications:preview", post(notifications::preview))
        .route("/v1/apps/{app}/notifications/{id}", any(notifications::one))
        .route("/v1/apps/{app}/users/{user}/presence", put(users::presence).get(users::connections))
        .route("/v1/apps/{app}/presence", post(users::presences))
        .route("/v1/apps/{app}/users/{user}/rules", put(users::set_rules).get(users::rules))
        .route("/v1/apps/{app}/users/{user}/badge", put(users::badge))
        .route(QUARANTINED, get(queue::quarantined))
        .route("/v1/apps/{app}/devices:pruned", get(dead::list))
        .route("/v1/apps/{app}/devices:restore", post(dead::restore))
        .merge(for_pages())
}

/// Returns the query parameters of an operation. `None` means that the path has no such method, or that its handler checks them.
pub(super) fn parameters(method: &Method, path: &str) -> Option<&'static [&'static str]> {
    match (path, method.as_str()) {
        ("/v1/apps/{app}/notifications", "POST") => Some(&["wait"]),
        ("/v1/apps/{app}/notifications/{id}", "GET" | "HEAD") => Some(&["limit", "after", "devices"]),
        (QUARANTINED, "GET" | "HEAD") => Some(&["after", "limit"]),
        ("/v1/apps/{app}/devices:pruned", "GET" | "HEAD") => {
            Some(&["channel", "state", "since", "until", "after", "limit"])
        }
        ("/v1/apps/{app}/notifications/{id}", "DELETE") => Some(&[]),
        ("/v1/apps/{app}/devices/{device}/user", "DELETE") => Some(&["user"]),
        ("/v1/apps/{app}/devices/{device}/user", "PUT") => Some(&[]),
        ("/v1/apps/{app}/notifications", _)
        | ("/v1/apps/{app}/notifications/{id}", _)
        | ("/v1/apps/{app}/devices/{device}/user", _)
        | ("/v1/apps/{app}/devices:pruned", _)
        | (QUARANTINED, _) => None,
        _ => Some(&[]),
    }
}

/// What service workers and pages of any site ask: by a user token, or by what they know instead of a key.
fn for_pages() -> Router<Arc<House>> {
    Router::new()
        .route("/v1/apps/{app}/devices", post(devices::register).options(preflight))
        .route(
            "/v1/apps/{app}/devices/{device}",
            put(devices::update).get(devices::show).delete(devices::forget).options(preflight),
        )
        .route(
            "/v1/apps/{app}/devices/{device}/user",
            put(devices::login).delete(devices::logout).options(preflight),
        )
        .route("/v1/apps/{app}/users/{user}/devices", get(devices::list).options(preflight))
        .merge(without_credentials())
        .layer(from_fn(readable_by_pages))
}

/// Routes that anybody may call who knows a token.
fn without_credentials() -> Router<Arc<House>> {
    Router::new()
        .route(RECEIPTS, post(receipts::receive).options(preflight))
        .route("/v1/apps/{app}/devices:unbind", post(devices::unbind).options(preflight))
        .route("/v1/apps/{app}/devices:rotate", post(devices::rotate).options(preflight))
        .route_layer(from_fn(evictable))
}

/// What a browser asks first where a request has a token or a content type. It costs a round trip; the SDK's worker sends plain
/// text and needs none.
async fn preflight() -> impl IntoResponse {
    let allowed = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, allowed)
}

/// No cookie is looked at, so there is nothing a foreign site could do in its visitor's name: it must hold a token itself.
async fn readable_by_pages(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// Who has come in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Caller {
    /// Somebody with a server key.
    Server,
    /// A user, for himself only.
    User(UserId),
}

impl Caller {
    /// The user a request is about: for a user always he himself.
    fn speaks_for(&self, named: Option<UserId>) -> Result<Option<UserId>, Problem> {
        match self {
            Self::Server => Ok(named),
            Self::User(user) if named.as_ref().is_none_or(|named| named == user) => Ok(Some(user.clone())),
            Self::User(_) => {
                Err(Problem::new(403, "not_yours", "a user token is good for its own user only"))
            }
        }
    }
}

/// Who asks, by a server key or by a user token; what for is each handler's to check against the user.
fn admitted_for(
    house: &House,
    headers: &HeaderMap,
    app: &str,
    scope: KeyScope,
) -> Result<(AppId, Caller), Problem> {
    let token = bearer(headers).filter(|given| given.matches('.').count() == 2);
    let (Some(token), Ok(id)) = (token, AppId::new(app)) else {
        return Ok((admitted(house, headers, app, scope)?, Caller::Server));
    };
    let user = house.user_keys.admit(&id, token, house.gateway.now())?;
    Ok((id, Caller::User(user)))
}

/// Who asks, for which app: a key first, so that strangers learn nothing of which apps there are.
fn admitted(house: &House, headers: &HeaderMap, app: &str, scope: KeyScope) -> Result<AppId, Problem> {
    let app = named("app", AppId::new(app))?;
    house.keys.admit(headers, Some(&app), scope)?;
    match house.gateway.app(&app) {
        Some(_) => Ok(app),
        None => Err(Problem::new(404, "unknown_app", format!("there is no app `{app}`"))),
    }
}

fn admitted_for_devices(house: &House, headers: &HeaderMap, app: &str) -> Result<(AppId, Caller), Problem> {
    admitted_for(house, headers, app, KeyScope::Devices)
}

async fn body(house: &House, body: Body) -> Result<Bytes, Problem> {
    Ok(house.bodies.read(body, house.max_body).await?.bytes)
}

/// Lets the connection be closed in favour of a new one while it serves a request without credentials.
async fn evictable(request: Request, next: Next) -> Response {
    if let Some(connection) = request.extensions().get::<Arc<Connection>>() {
        connection.allow_eviction();
    }
    next.run(request).await
}

/// Reads a number of the query, at most `max`; `None` when it is not there.
fn number<N: std::str::FromStr + PartialOrd + std::fmt::Display>(
    query: &Parameters,
    name: &str,
    max: N,
) -> Result<Option<N>, Problem> {
    let Some(text) = query.get(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if number <= max => Ok(Some(number)),
        _ => Err(refused(name, format!("must be a whole number from 0 to {max}"))),
    }
}

/// Reads a part of the path or the query.
fn named<T>(parameter: &str, parsed: Result<T, pushgate::InvalidName>) -> Result<T, Problem> {
    parsed.map_err(|error| refused(parameter, error))
}
