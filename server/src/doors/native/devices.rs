//! Devices: register, log in and out, unbind. By a server key for anybody's, by a user token for one's own.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use pushgate::{AppId, Device, DeviceId, Named, SubmitError, Takeover, UserId};
use pushgate_config::RotationProof;
use serde_json::{Value, json};

use super::super::wire::{self, Asked, DeviceBody, HeldBody, LoginBody, Parameters, RotateBody};
use super::super::{House, Shared};
use super::{Answer, Caller, admitted_for_devices, body, named};
use crate::keys::bearer;
use crate::listener::Connection;
use crate::problem::Problem;

pub(super) async fn register(
    State(house): Shared,
    Path(app): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let (app, caller) = admitted_for_devices(&house, &headers, &app)?;
    let mut asked: DeviceBody = wire::parse(&body(&house, bytes).await?)?;
    match asked.id.take() {
        Some(id) => stored(&house, &caller, (app, id, Named::ById), asked).await,
        None => {
            let id = named("device", DeviceId::new(&pushgate::DeliveryId::new().to_string()))?;
            stored(&house, &caller, (app, id, Named::ByAddress), asked).await
        }
    }
}

pub(super) async fn update(
    State(house): Shared,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let (app, caller) = admitted_for_devices(&house, &headers, &app)?;
    let id = named("device", DeviceId::new(&id))?;
    let asked: DeviceBody = wire::parse(&body(&house, bytes).await?)?;
    stored(&house, &caller, (app, id, Named::ById), asked).await
}

async fn stored(
    house: &House,
    caller: &Caller,
    (id, device, named): (AppId, DeviceId, Named),
    mut asked: DeviceBody,
) -> Answer {
    let Some(app) = house.gateway.app(&id) else { return Err(unknown_app(&id)) };
    asked.user = caller.speaks_for(asked.user)?;
    let mut registration = match asked.registration(app, (id, device, named), house.gateway.now())? {
        Asked::Register(registration) => registration,
        Asked::Unbind { app, device, channels } => {
            return unbound(house, caller, app, device, &channels).await;
        }
    };
    let mut addresses = registration.device.addresses.iter().chain(&registration.replaces);
    addresses.try_for_each(|address| app.admits(address))?;
    registration.takeover = takeover(caller);
    let mut shown = registration.device.clone();
    let registered = house.gateway.register(*registration).await?.ok_or_else(not_yours)?;
    shown.id = registered.id;
    let status = if registered.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut shown = wire::device(&shown);
    if !registered.dropped.is_empty() {
        shown["dropped"] = json!(registered.dropped);
    }
    Ok((status, Json(shown)).into_response())
}

/// Returns who may take over another user's device. A user needs one of its tokens: whoever holds it sits in front of the device.
const fn takeover(caller: &Caller) -> Takeover {
    match caller {
        Caller::Server => Takeover::Always,
        Caller::User(_) => Takeover::WithAddress,
    }
}

/// Returns whose a device must be for the caller to change it. `None` means that it may be anybody's.
const fn owner(caller: &Caller) -> Option<&UserId> {
    match caller {
        Caller::Server => None,
        Caller::User(user) => Some(user),
    }
}

/// Explains why a device was not changed: it is unknown, or was another user's at that moment.
async fn refusal(house: &House, app: &AppId, id: &DeviceId) -> Problem {
    match house.gateway.store().device(app, id).await {
        Ok(Some(_)) => not_yours(),
        Ok(None) => unknown_device(),
        Err(error) => error.into(),
    }
}

/// An empty push id: the device is no longer reached over these channels, and is nobody's.
async fn unbound(
    house: &House,
    caller: &Caller,
    app: AppId,
    id: DeviceId,
    channels: &[pushgate::ChannelName],
) -> Answer {
    if !house.gateway.store().detach(&app, &id, owner(caller), channels).await? {
        return Err(refusal(house, &app, &id).await);
    }
    let device = house.gateway.store().device(&app, &id).await?.ok_or_else(unknown_device)?;
    Ok(Json(wire::device(&device)).into_response())
}

/// The device, if it is the caller's to manage.
async fn owned(house: &House, caller: &Caller, app: &AppId, id: &DeviceId) -> Result<Device, Problem> {
    let device = house.gateway.store().device(app, id).await?.ok_or_else(unknown_device)?;
    match caller {
        Caller::User(user) if device.user.as_ref() != Some(user) => Err(not_yours()),
        Caller::User(_) | Caller::Server => Ok(device),
    }
}

pub(super) async fn show(
    State(house): Shared,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let (app, caller) = admitted_for_devices(&house, &headers, &app)?;
    let device = owned(&house, &caller, &app, &named("device", DeviceId::new(&id))?).await?;
    Ok(Json(wire::device(&device)).into_response())
}

pub(super) async fn forget(
    State(house): Shared,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let (app, caller) = admitted_for_devices(&house, &headers, &app)?;
    let id = named("device", DeviceId::new(&id))?;
    if house.gateway.store().forget(&app, &id, owner(&caller)).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(refusal(&house, &app, &id).await)
}

pub(super) async fn login(
    State(house): Shared,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let (app, caller) = admitted_for_devices(&house, &headers, &app)?;
    let id = named("device", DeviceId::new(&id))?;
    let asked: LoginBody = wire::parse(&body(&house, bytes).await?)?;
    caller.speaks_for(Some(asked.user.clone()))?;
    if house.gateway.login(&app, &id, &asked.user, takeover(&caller)).await?.is_none() {
        return Err(refusal(&house, &app, &id).await);
    }
    let device = house.gateway.store().device(&app, &id).await?.ok_or_else(unknown_device)?;
    Ok(Json(wire::device(&device)).into_response())
}

pub(super) async fn logout(
    State(house): Shared,
    Path((app, id)): Path<(String, String)>,
    query: Parameters,
    headers: HeaderMap,
) -> Answer {
    let (app, caller) = admitted_for_devices(&house, &headers, &app)?;
    let only = query.get("user").map(|user| named("user", UserId::new(user))).transpose()?;
    let only = caller.speaks_for(only)?;
    house.gateway.logout(&app, &named("device", DeviceId::new(&id))?, only.as_ref()).await?;
    // Whether it was bound or not: it is not now.
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Nobody is asked for a key: who knows the token sits in front of the device, and all he can do is to silence it. The answer
/// says nothing of which apps, channels and tokens there are.
pub(super) async fn unbind(State(house): Shared, Path(app): Path<String>, bytes: Body) -> Answer {
    let body = house.bodies.read_anonymous(bytes, None).await?;
    let asked: HeldBody = wire::parse(&body.bytes)?;
    let app = Some(named("app", AppId::new(&app))?).filter(|app| house.gateway.app(app).is_some());
    if let Some(app) = app {
        let served = house.gateway.app(&app);
        for address in asked.addresses("", served.map(std::convert::AsRef::as_ref))? {
            house.gateway.store().release(&app, &address).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A service worker whose token has changed, with no page open that could register the new one. A Web Push subscription proves
/// itself by its secret; a token, which more than its device knows, takes a user token as well, unless the configuration says
/// otherwise. The answer says as little as that of `unbind`.
pub(super) async fn rotate(
    State(house): Shared,
    Path(app): Path<String>,
    Extension(connection): Extension<Arc<Connection>>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let caller = match bearer(&headers) {
        Some(_) => Some(admitted_for_devices(&house, &headers, &app)?.1),
        None => None,
    };
    if caller != Some(Caller::Server) {
        house.rotations.admit(&headers, connection.peer(), house.gateway.now())?;
    }
    let body = house.bodies.read_anonymous(bytes, None).await?;
    let asked: RotateBody = wire::parse(&body.bytes)?;
    if caller.is_none() && !is_proof(house.rotation_proof, &asked) {
        let detail =
            "the old token is no proof; send a user token of the device's user: `Authorization: Bearer …`";
        return Err(Problem::new(401, "user_token_required", detail));
    }
    let app = Some(named("app", AppId::new(&app))?).filter(|app| house.gateway.app(app).is_some());
    let Some(app) = app else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let user = match &caller {
        Some(Caller::User(user)) => Some(user),
        Some(Caller::Server) | None => None,
    };
    for (old, new) in asked.pairs(house.gateway.app(&app).map(std::convert::AsRef::as_ref))? {
        match house.gateway.rotate(&app, user, &old, &new).await {
            Ok(_) => {}
            Err(SubmitError::Storage(error)) => return Err(error.into()),
            Err(error) => tracing::debug!(%app, %error, "a token is not replaced"),
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Returns `true` if the old address proves that the caller is its device.
fn is_proof(proof: RotationProof, asked: &RotateBody) -> bool {
    match proof {
        RotationProof::All => true,
        RotationProof::Subscriptions => asked.has_secret(),
        RotationProof::None => false,
    }
}

pub(super) async fn list(
    State(house): Shared,
    Path((app, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let (app, caller) = admitted_for_devices(&house, &headers, &app)?;
    let user = named("user", UserId::new(&user))?;
    caller.speaks_for(Some(user.clone()))?;
    let devices = house.gateway.store().devices_of(&app, &[user]).await?;
    let devices: Vec<Value> = devices.iter().map(wire::device).collect();
    Ok(Json(json!({"devices": devices})).into_response())
}

fn unknown_app(app: &AppId) -> Problem {
    Problem::new(404, "unknown_app", format!("there is no app `{app}`"))
}

fn unknown_device() -> Problem {
    Problem::new(404, "unknown_device", "the app has no such device")
}

fn not_yours() -> Problem {
    Problem::new(403, "not_yours", "the device is another user's; log him out, or register it with its token")
}
