//! Devices: register, log in and out, unbind, replace a token. A server key acts for every user, a user token for its own user.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use pushgate::{AppId, Device, DeviceId, IdentifiedBy, SubmitError, Takeover, UserId};
use pushgate_config::RotationProof;
use serde_json::{Value, json};

use super::{Caller, HandlerResult, authorize_devices, checked_name, read_body};
use crate::api::v1::schema::{
    self, AddressOrPushId, DeviceBody, DeviceRequest, LoginBody, NamedDevice, Parameters, RotateBody,
};
use crate::api::{AppState, SharedState};
use crate::keys::bearer;
use crate::listener::Connection;
use crate::problem::Problem;

pub(super) async fn register(
    State(state): SharedState,
    Path(app): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let (app, caller) = authorize_devices(&state, &headers, &app)?;
    let mut body: DeviceBody = schema::parse(&read_body(&state, bytes).await?)?;
    let device = match body.id.take() {
        Some(id) => NamedDevice { app, id, identified_by: IdentifiedBy::Id },
        None => {
            let id = checked_name("device", DeviceId::new(&pushgate::DeliveryId::new().to_string()))?;
            NamedDevice { app, id, identified_by: IdentifiedBy::Address }
        }
    };
    store(&state, &caller, device, body).await
}

pub(super) async fn update(
    State(state): SharedState,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let (app, caller) = authorize_devices(&state, &headers, &app)?;
    let id = checked_name("device", DeviceId::new(&id))?;
    let body: DeviceBody = schema::parse(&read_body(&state, bytes).await?)?;
    store(&state, &caller, NamedDevice { app, id, identified_by: IdentifiedBy::Id }, body).await
}

/// Stores a device as the body describes it. A body with an empty push id takes addresses away instead.
async fn store(
    state: &AppState,
    caller: &Caller,
    device: NamedDevice,
    mut body: DeviceBody,
) -> HandlerResult {
    let Some(app) = state.gateway.app(&device.app) else { return Err(unknown_app(&device.app)) };
    body.user = caller.subject(body.user)?;
    let mut registration = match body.into_request(app, device, state.gateway.now())? {
        DeviceRequest::Register(registration) => registration,
        DeviceRequest::Detach { app, device, channels } => {
            return detach(state, caller, app, device, &channels).await;
        }
    };
    let mut addresses = registration.device.addresses.iter().chain(&registration.replaces);
    addresses.try_for_each(|address| app.admits(address))?;
    registration.takeover = takeover(caller);
    let mut device = registration.device.clone();
    let registered = state.gateway.register(*registration).await?.ok_or_else(not_yours)?;
    device.id = registered.id;
    let status = if registered.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = schema::device(&device);
    if !registered.dropped.is_empty() {
        response["dropped"] = json!(registered.dropped);
    }
    Ok((status, Json(response)).into_response())
}

/// Returns the condition for taking over another user's device. A user must send one of its tokens, which only its holder knows.
const fn takeover(caller: &Caller) -> Takeover {
    match caller {
        Caller::Server => Takeover::Always,
        Caller::User(_) => Takeover::WithAddress,
    }
}

/// Returns the user that must own a device for the caller to change it. `None` means that any device may be changed.
const fn owner(caller: &Caller) -> Option<&UserId> {
    match caller {
        Caller::Server => None,
        Caller::User(user) => Some(user),
    }
}

/// Returns the reason why a device was not changed: it is unknown, or belonged to another user at that moment.
async fn refusal(state: &AppState, app: &AppId, id: &DeviceId) -> Problem {
    match state.gateway.store().device(app, id).await {
        Ok(Some(_)) => not_yours(),
        Ok(None) => unknown_device(),
        Err(error) => error.into(),
    }
}

/// Removes the addresses of these channels from a device, and its user.
async fn detach(
    state: &AppState,
    caller: &Caller,
    app: AppId,
    id: DeviceId,
    channels: &[pushgate::ChannelName],
) -> HandlerResult {
    if !state.gateway.store().detach(&app, &id, owner(caller), channels).await? {
        return Err(refusal(state, &app, &id).await);
    }
    let device = state.gateway.store().device(&app, &id).await?.ok_or_else(unknown_device)?;
    Ok(Json(schema::device(&device)).into_response())
}

/// Returns the device, or 403 if the caller may not manage it.
async fn managed_device(
    state: &AppState,
    caller: &Caller,
    app: &AppId,
    id: &DeviceId,
) -> Result<Device, Problem> {
    let device = state.gateway.store().device(app, id).await?.ok_or_else(unknown_device)?;
    match caller {
        Caller::User(user) if device.user.as_ref() != Some(user) => Err(not_yours()),
        Caller::User(_) | Caller::Server => Ok(device),
    }
}

pub(super) async fn show(
    State(state): SharedState,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> HandlerResult {
    let (app, caller) = authorize_devices(&state, &headers, &app)?;
    let device = managed_device(&state, &caller, &app, &checked_name("device", DeviceId::new(&id))?).await?;
    Ok(Json(schema::device(&device)).into_response())
}

pub(super) async fn forget(
    State(state): SharedState,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> HandlerResult {
    let (app, caller) = authorize_devices(&state, &headers, &app)?;
    let id = checked_name("device", DeviceId::new(&id))?;
    if state.gateway.store().forget(&app, &id, owner(&caller)).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(refusal(&state, &app, &id).await)
}

pub(super) async fn login(
    State(state): SharedState,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let (app, caller) = authorize_devices(&state, &headers, &app)?;
    let id = checked_name("device", DeviceId::new(&id))?;
    let LoginBody { user } = schema::parse(&read_body(&state, bytes).await?)?;
    caller.subject(Some(user.clone()))?;
    if state.gateway.login(&app, &id, &user, takeover(&caller)).await?.is_none() {
        return Err(refusal(&state, &app, &id).await);
    }
    let device = state.gateway.store().device(&app, &id).await?.ok_or_else(unknown_device)?;
    Ok(Json(schema::device(&device)).into_response())
}

pub(super) async fn logout(
    State(state): SharedState,
    Path((app, id)): Path<(String, String)>,
    query: Parameters,
    headers: HeaderMap,
) -> HandlerResult {
    let (app, caller) = authorize_devices(&state, &headers, &app)?;
    let user = query.get("user").map(|user| checked_name("user", UserId::new(user))).transpose()?;
    let user = caller.subject(user)?;
    state.gateway.logout(&app, &checked_name("device", DeviceId::new(&id))?, user.as_ref()).await?;
    // Also where no user was logged in: the request asks for a state, and that is reached.
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Removes an address. It needs no credentials: only the device's holder knows the token, and can at most silence the device.
/// The response does not disclose which apps, channels and tokens exist.
pub(super) async fn unbind(State(state): SharedState, Path(app): Path<String>, bytes: Body) -> HandlerResult {
    let body = state.bodies.read_anonymous(bytes, None).await?;
    let address: AddressOrPushId = schema::parse(&body.bytes)?;
    let app = Some(checked_name("app", AppId::new(&app))?).filter(|app| state.gateway.app(app).is_some());
    if let Some(app) = app {
        let channels = state.gateway.app(&app);
        for address in address.addresses("", channels.map(std::convert::AsRef::as_ref))? {
            state.gateway.store().release(&app, &address).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Replaces an address. A service worker calls this when its token changes while no page is open.
///
/// A Web Push subscription contains a secret, which suffices as proof. Other tokens are known to more than the device, so they
/// need a user token unless `server.rotation_without_user_token` allows them. Like `unbind`, the response discloses nothing.
pub(super) async fn rotate(
    State(state): SharedState,
    Path(app): Path<String>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let caller = match bearer(&headers) {
        Some(_) => Some(authorize_devices(&state, &headers, &app)?.1),
        None => None,
    };
    if caller != Some(Caller::Server) {
        state.rotations.admit(&headers, connection.peer(), state.gateway.now())?;
    }
    let body = state.bodies.read_anonymous(bytes, None).await?;
    let body: RotateBody = schema::parse(&body.bytes)?;
    if caller.is_none() && !is_proof(state.rotation_proof, &body) {
        let detail = "the old token does not prove who calls; \
            send a user token of the device's user: `Authorization: Bearer …`";
        return Err(Problem::new(401, "user_token_required", detail));
    }
    let app = Some(checked_name("app", AppId::new(&app))?).filter(|app| state.gateway.app(app).is_some());
    let Some(app) = app else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let user = match &caller {
        Some(Caller::User(user)) => Some(user),
        Some(Caller::Server) | None => None,
    };
    for (old, new) in body.pairs(state.gateway.app(&app).map(std::convert::AsRef::as_ref))? {
        match state.gateway.rotate(&app, user, &old, &new).await {
            Ok(_) => {}
            Err(SubmitError::Storage(error)) => return Err(error.into()),
            Err(error) => tracing::debug!(%app, %error, "token not replaced"),
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Returns `true` if knowing the old address proves that the caller is its device.
fn is_proof(proof: RotationProof, body: &RotateBody) -> bool {
    match proof {
        RotationProof::All => true,
        RotationProof::Subscriptions => body.has_secret(),
        RotationProof::None => false,
    }
}

pub(super) async fn list(
    State(state): SharedState,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> HandlerResult {
    let (app, caller) = authorize_devices(&state, &headers, &app)?;
    let user = checked_name("user", UserId::new(&user))?;
    caller.subject(Some(user.clone()))?;
    let devices = state.gateway.store().devices_of(&app, &[user]).await?;
    let devices: Vec<Value> = devices.iter().map(schema::device).collect();
    Ok(Json(json!({"devices": devices})).into_response())
}

fn unknown_app(app: &AppId) -> Problem {
    Problem::new(404, "unknown_app", format!("there is no app `{app}`"))
}

fn unknown_device() -> Problem {
    Problem::new(404, "unknown_device", "the app has no such device")
}

fn not_yours() -> Problem {
    Problem::new(
        403,
        "not_yours",
        "the device belongs to another user; log them out, or register it with its token",
    )
}
