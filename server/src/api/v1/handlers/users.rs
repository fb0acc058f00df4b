//! Users: their presence sessions, push rules and badge counters.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use pushgate::presence::Sessions;
use pushgate::{Audience, Badge, Count, Notification, Rules, UserId};
use pushgate_config::KeyScope;
use serde_json::{Value, json};

use super::{HandlerResult, authorize_server, checked_name, read_body};
use crate::api::v1::schema::{
    self, BadgeBody, ManyPresencesBody, PresenceBody, PresenceChange, SessionState,
};
use crate::api::{AppState, SharedState, refused};
use crate::problem::Problem;

/// Largest number of sessions in one request.
const MAX_SESSIONS: usize = 1000;

pub(super) async fn presence(
    State(state): SharedState,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Devices)?;
    let user = checked_name("user", UserId::new(&user))?;
    let body: PresenceBody = schema::parse(&read_body(&state, bytes).await?)?;
    apply(&state, vec![body.into_change(&app, user, state.presence_expiry)?]).await
}

pub(super) async fn presences(
    State(state): SharedState,
    Path(app): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Devices)?;
    let body: ManyPresencesBody = schema::parse(&read_body(&state, bytes).await?)?;
    if body.sessions.len() > MAX_SESSIONS {
        return Err(refused("sessions", format!("at most {MAX_SESSIONS}")));
    }
    let sessions = body.sessions.into_iter().enumerate();
    let changes = sessions.map(|(i, session)| {
        session
            .into_change(&app, state.presence_expiry)
            .map_err(|problem| problem.within(&format!("sessions[{i}]")))
    });
    apply(&state, changes.collect::<Result<_, _>>()?).await
}

/// Applies changes of presence. All of them have been validated before the first is applied.
async fn apply(state: &AppState, changes: Vec<PresenceChange>) -> HandlerResult {
    let sessions = presence_sessions(state)?;
    for PresenceChange { session, session_state, expires_after } in changes {
        match session_state {
            SessionState::Online => sessions.renew(session, expires_after),
            SessionState::Offline => sessions.end(&session),
            SessionState::Logout => {
                sessions.end(&session);
                if let Some(device) = &session.device {
                    state.gateway.logout(&session.app, device, Some(&session.user)).await?;
                }
            }
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Returns the presence sessions, or 409 if the gateway was built with another source of presence.
fn presence_sessions(state: &AppState) -> Result<&Sessions, Problem> {
    let elsewhere = || {
        Problem::new(
            409,
            "presence_elsewhere",
            "this gateway takes presence from another source; report it there",
        )
    };
    state.gateway.presence_sessions().map(std::convert::AsRef::as_ref).ok_or_else(elsewhere)
}

pub(super) async fn connections(
    State(state): SharedState,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Devices)?;
    let connections =
        state.gateway.presence().connections(&app, &checked_name("user", UserId::new(&user))?).await;
    let to_json = |connection: &pushgate::Connection| json!({"platform": connection.platform, "device": connection.device});
    let connections: Vec<Value> = connections.iter().map(to_json).collect();
    Ok(Json(json!({"connections": connections})).into_response())
}

pub(super) async fn set_rules(
    State(state): SharedState,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Devices)?;
    let rules: Rules = schema::parse(&read_body(&state, bytes).await?)?;
    let rules = schema::rules(rules)?;
    state.gateway.store().set_rules(&app, &checked_name("user", UserId::new(&user))?, &rules).await?;
    Ok(Json(rules).into_response())
}

pub(super) async fn rules(
    State(state): SharedState,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Devices)?;
    let user = checked_name("user", UserId::new(&user))?;
    let rules = state.gateway.store().rules(&app, std::slice::from_ref(&user)).await?.remove(&user);
    Ok(Json(rules.unwrap_or_default()).into_response())
}

pub(super) async fn badge(
    State(state): SharedState,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Devices)?;
    let user = checked_name("user", UserId::new(&user))?;
    let body: BadgeBody = schema::parse(&read_body(&state, bytes).await?)?;
    let change = match (body.set, body.increment) {
        (Some(number), None) => Count::Set(number),
        (None, Some(by)) => Count::Raise(by),
        _ => return Err(refused("set", "give exactly one of set, increment")),
    };
    let numbers = state.gateway.store().count(&app, std::slice::from_ref(&user), change).await?;
    let number = numbers.get(&user).copied().unwrap_or_default();
    let mut response = json!({"badge": number});
    if body.push {
        let notification = Notification {
            silent: true,
            badge: Some(Badge::Set(number)),
            collapse_key: Some("badge".to_owned()),
            ..Notification::new(app, Audience::Users(vec![user]))
        };
        let ticket = state.gateway.submit(notification).await?;
        response["notification"] =
            json!({"id": ticket.id, "accepted": ticket.accepted, "skipped": ticket.skipped});
    }
    Ok(Json(response).into_response())
}
