//! Users: who is online, their push rules, their counters.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use pushgate::presence::Leases;
use pushgate::{Audience, Badge, Count, Notification, Rules, UserId};
use pushgate_config::KeyScope;
use serde_json::{Value, json};

use super::super::wire::{self, BadgeBody, ManyPresencesBody, PresenceBody, Word};
use super::super::{House, Shared, refused};
use super::{Answer, admitted, body, named};
use crate::problem::Problem;

/// The most sessions told of at once.
const MOST_SESSIONS: usize = 1000;

pub(super) async fn presence(
    State(house): Shared,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    let user = named("user", UserId::new(&user))?;
    let asked: PresenceBody = wire::parse(&body(&house, bytes).await?)?;
    told(&house, vec![asked.word(&app, user, house.lease)?]).await
}

pub(super) async fn presences(
    State(house): Shared,
    Path(app): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    let asked: ManyPresencesBody = wire::parse(&body(&house, bytes).await?)?;
    if asked.sessions.len() > MOST_SESSIONS {
        return Err(refused("sessions", format!("at most {MOST_SESSIONS}")));
    }
    let sessions = asked.sessions.into_iter().enumerate();
    let words = sessions.map(|(i, one)| {
        one.word(&app, house.lease).map_err(|problem| problem.within(&format!("sessions[{i}]")))
    });
    told(&house, words.collect::<Result<_, _>>()?).await
}

/// Takes all of them in; every one was looked at before the first is.
async fn told(house: &House, words: Vec<Word>) -> Answer {
    let leases = leases(house)?;
    for Word { session, state, lease } in words {
        match state {
            wire::State::Online => leases.online(session, lease),
            wire::State::Offline => leases.offline(&session),
            wire::State::Logout => {
                leases.offline(&session);
                if let Some(device) = &session.device {
                    house.gateway.logout(&session.app, device, Some(&session.user)).await?;
                }
            }
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn leases(house: &House) -> Result<&Leases, Problem> {
    let elsewhere = || Problem::new(409, "presence_elsewhere", "this gateway learns elsewhere who is online");
    house.gateway.leases().map(std::convert::AsRef::as_ref).ok_or_else(elsewhere)
}

pub(super) async fn connections(
    State(house): Shared,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    let connections = house.gateway.presence().connections(&app, &named("user", UserId::new(&user))?).await;
    let one = |connection: &pushgate::Connection| json!({"platform": connection.platform, "device": connection.device});
    let connections: Vec<Value> = connections.iter().map(one).collect();
    Ok(Json(json!({"connections": connections})).into_response())
}

pub(super) async fn set_rules(
    State(house): Shared,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    let asked: Rules = wire::parse(&body(&house, bytes).await?)?;
    let rules = wire::rules(asked)?;
    house.gateway.store().set_rules(&app, &named("user", UserId::new(&user))?, &rules).await?;
    Ok(Json(rules).into_response())
}

pub(super) async fn rules(
    State(house): Shared,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    let user = named("user", UserId::new(&user))?;
    let rules = house.gateway.store().rules(&app, std::slice::from_ref(&user)).await?.remove(&user);
    Ok(Json(rules.unwrap_or_default()).into_response())
}

pub(super) async fn badge(
    State(house): Shared,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    let user = named("user", UserId::new(&user))?;
    let asked: BadgeBody = wire::parse(&body(&house, bytes).await?)?;
    let change = match (asked.set, asked.increment) {
        (Some(number), None) => Count::Set(number),
        (None, Some(by)) => Count::Raise(by),
        _ => return Err(refused("set", "exactly one of set, increment is due")),
    };
    let numbers = house.gateway.store().count(&app, std::slice::from_ref(&user), change).await?;
    let number = numbers.get(&user).copied().unwrap_or_default();
    let mut answer = json!({"badge": number});
    if asked.push {
        let shown = Notification {
            silent: true,
            badge: Some(Badge::Set(number)),
            collapse_key: Some("badge".to_owned()),
            ..Notification::new(app, Audience::Users(vec![user]))
        };
        let ticket = house.gateway.submit(shown).await?;
        answer["notification"] =
            json!({"id": ticket.id, "accepted": ticket.accepted, "skipped": ticket.skipped});
    }
    Ok(Json(answer).into_response())
}
