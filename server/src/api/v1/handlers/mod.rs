//! Handlers of the native API, one file per resource. This file has the routes and the authorization.

mod device_events;
mod devices;
mod notifications;
mod pruned;
mod queue;
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

use crate::api::v1::schema::Parameters;
use crate::api::{AppState, refused};
use crate::keys::bearer;
use crate::listener::Connection;
use crate::problem::Problem;

/// Path to which devices report device events.
pub const DEVICE_EVENTS: &str = "/v1/receipts";

/// Path that lists the stored rows that could not be decoded.
pub const QUARANTINED: &str = "/v1/queue/quarantined";

/// Response of a handler, or its refusal.
type HandlerResult = Result<Response, Problem>;

/// Returns the routes of the native API.
pub(crate) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/v1/apps/{app}/notifications", post(notifications::submit))
        .route("/v1/apps/{app}/notifications:preview", post(notifications::preview))
        .route("/v1/apps/{app}/notifications/{id}", any(notifications::by_id))
        .route("/v1/apps/{app}/users/{user}/presence", put(users::presence).get(users::connections))
        .route("/v1/apps/{app}/presence", post(users::presences))
        .route("/v1/apps/{app}/users/{user}/rules", put(users::set_rules).get(users::rules))
        .route("/v1/apps/{app}/users/{user}/badge", put(users::badge))
        .route(QUARANTINED, get(queue::quarantined))
        .route("/v1/apps/{app}/devices:pruned", get(pruned::list))
        .route("/v1/apps/{app}/devices:restore", post(pruned::restore))
        .merge(cross_origin_routes())
}

/// Returns the query parameters of an operation. `None` means that the path has no such method, or that its handler checks them.
pub(crate) fn parameters(method: &Method, path: &str) -> Option<&'static [&'static str]> {
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

/// Returns the routes that pages and service workers of any origin may call, with a user token or without credentials.
fn cross_origin_routes() -> Router<Arc<AppState>> {
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
        .merge(anonymous_routes())
        .layer(from_fn(allow_any_origin))
}

/// Returns the routes that need no credentials. The body contains a token instead.
fn anonymous_routes() -> Router<Arc<AppState>> {
    Router::new()
        .route(DEVICE_EVENTS, post(device_events::record).options(preflight))
        .route("/v1/apps/{app}/devices:unbind", post(devices::unbind).options(preflight))
        .route("/v1/apps/{app}/devices:rotate", post(devices::rotate).options(preflight))
        .route_layer(from_fn(allow_eviction))
}

/// Answers a CORS preflight. Browsers send one before a request with an `Authorization` header or a JSON content type. The SDK's
/// worker sends plain text to avoid this round trip.
async fn preflight() -> impl IntoResponse {
    let allowed = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, allowed)
}

/// Allows pages of any origin to read the response. The API ignores cookies, so a foreign page cannot act for its visitor.
async fn allow_any_origin(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// Authenticated caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Caller {
    /// Caller with a server key.
    Server,
    /// User with a user token. They act for themselves only.
    User(UserId),
}

impl Caller {
    /// Returns the user that a request is about. With a user token that is its own user; naming another one is refused.
    fn subject(&self, requested: Option<UserId>) -> Result<Option<UserId>, Problem> {
        match self {
            Self::Server => Ok(requested),
            Self::User(user) if requested.as_ref().is_none_or(|requested| requested == user) => {
                Ok(Some(user.clone()))
            }
            Self::User(_) => {
                Err(Problem::new(403, "not_yours", "a user token is valid for its own user only"))
            }
        }
    }
}

/// Authenticates a caller by server key or user token. The handler checks what a user may do.
fn authorize(
    state: &AppState,
    headers: &HeaderMap,
    app: &str,
    scope: KeyScope,
) -> Result<(AppId, Caller), Problem> {
    // A JWT has three parts, a server key has no dot.
    let token = bearer(headers).filter(|credential| credential.matches('.').count() == 2);
    let (Some(token), Ok(id)) = (token, AppId::new(app)) else {
        return Ok((authorize_server(state, headers, app, scope)?, Caller::Server));
    };
    let user = state.user_keys.verify(&id, token, state.gateway.now())?;
    Ok((id, Caller::User(user)))
}

/// Authenticates a caller by server key and returns the app. The key is checked first, so that strangers learn no app names.
fn authorize_server(
    state: &AppState,
    headers: &HeaderMap,
    app: &str,
    scope: KeyScope,
) -> Result<AppId, Problem> {
    let app = checked_name("app", AppId::new(app))?;
    state.keys.authorize(headers, Some(&app), scope)?;
    match state.gateway.app(&app) {
        Some(_) => Ok(app),
        None => Err(Problem::new(404, "unknown_app", format!("there is no app `{app}`"))),
    }
}

fn authorize_devices(state: &AppState, headers: &HeaderMap, app: &str) -> Result<(AppId, Caller), Problem> {
    authorize(state, headers, app, KeyScope::Devices)
}

async fn read_body(state: &AppState, body: Body) -> Result<Bytes, Problem> {
    Ok(state.bodies.read(body, state.max_body).await?.bytes)
}

/// Allows the listener to close the connection in favour of a new one while it serves a request without credentials.
async fn allow_eviction(request: Request, next: Next) -> Response {
    if let Some(connection) = request.extensions().get::<Arc<Connection>>() {
        connection.allow_eviction();
    }
    next.run(request).await
}

/// Parses a number of the query, at most `max`. `None` means that the query does not have it.
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

/// Turns an invalid name in the path or the query into a problem about that parameter.
fn checked_name<T>(parameter: &str, parsed: Result<T, pushgate::InvalidName>) -> Result<T, Problem> {
    parsed.map_err(|error| refused(parameter, error))
}
