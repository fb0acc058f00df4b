//! Bodies of requests about devices. A device is registered with addresses, or with the push id of a ZPNs client.

use pushgate::app::App;
use pushgate::rules::QuietHours;
use pushgate::{
    Address, AppId, ChannelName, Device, DeviceId, IdentifiedBy, Platform, Registration, Timestamp,
    TokenKind, Traits, UserId,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::locale::is_locale;
use super::refused;
use super::user::NO_TIME_ZONE;
use crate::problem::Problem;
use crate::push_id::PushId;

/// Largest number of addresses of a device.
const MAX_ADDRESSES: usize = 16;
/// Largest length of a text about a device, in bytes.
const MAX_TEXT: usize = 64;

/// Address: its channel, and exactly one of `token`, `fid`, `subscription`, `voip`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressBody {
    channel: ChannelName,
    token: Option<String>,
    fid: Option<String>,
    subscription: Option<Map<String, Value>>,
    voip: Option<String>,
}

/// Body of `POST …/devices` and `PUT …/devices/{device}`. A push id contains the platform and an address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceBody {
    pub(crate) id: Option<DeviceId>,
    pub(crate) user: Option<UserId>,
    platform: Option<Platform>,
    manufacturer: Option<String>,
    app_build: Option<u64>,
    country: Option<String>,
    locale: Option<String>,
    time_zone: Option<String>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    addresses: Vec<AddressBody>,
    push_id: Option<String>,
    replaces: Option<AddressBody>,
}

/// Body of `PUT …/devices/{device}/user`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginBody {
    pub(crate) user: UserId,
}

/// Address, or a push id instead. Body of `POST …/devices:unbind`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressOrPushId {
    push_id: Option<String>,
    channel: Option<ChannelName>,
    token: Option<String>,
    fid: Option<String>,
    subscription: Option<Map<String, Value>>,
    voip: Option<String>,
}

/// Body of `POST …/devices:rotate`: the old address and the new one, in the same form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    old: AddressOrPushId,
    new: AddressOrPushId,
}

/// Device of a request, and how the request named it.
pub(crate) struct NamedDevice {
    pub(crate) app: AppId,
    pub(crate) id: DeviceId,
    pub(crate) identified_by: IdentifiedBy,
}

/// Change that a [`DeviceBody`] asks for.
pub(crate) enum DeviceRequest {
    /// Register the device.
    Register(Box<Registration>),
    /// Remove the addresses of these channels: the body's push id has no token.
    Detach { app: AppId, device: DeviceId, channels: Vec<ChannelName> },
}

impl DeviceBody {
    /// Validates the body and returns the change that it asks for. `app` has the channels of the device's app.
    pub(crate) fn into_request(
        mut self,
        app: &App,
        device: NamedDevice,
        now: Timestamp,
    ) -> Result<DeviceRequest, Problem> {
        let push_id = self.push_id.take().map(|text| decode_push_id(&text)).transpose()?;
        let mut addresses = self.take_addresses()?;
        if let Some(push_id) = &push_id {
            if push_id.token.expose().is_empty() {
                if device.identified_by == IdentifiedBy::Address {
                    return Err(refused(
                        "id",
                        "is missing; an empty push_id unbinds the device with that id",
                    ));
                }
                let channels = channels(app, push_id);
                return Ok(DeviceRequest::Detach { app: device.app, device: device.id, channels });
            }
            addresses.push(address(app, push_id)?);
            self.platform = self.platform.or(push_id.service.platform());
            self.manufacturer = self.manufacturer.or(push_id.service.manufacturer().map(str::to_owned));
            self.country = self.country.or(Some(push_id.country.clone()).filter(|text| text.len() == 2));
        }
        let replaces = self.replaces.take().map(|body| body.address("replaces")).transpose()?;
        let traits = self.traits()?;
        let NamedDevice { app, id, identified_by } = device;
        let device = Device { app, id, user: self.user, traits, addresses, registered_at: now };
        let registration = Registration { identified_by, replaces, ..Registration::from(device) };
        Ok(DeviceRequest::Register(Box::new(registration)))
    }

    fn take_addresses(&mut self) -> Result<Vec<Address>, Problem> {
        let bodies = std::mem::take(&mut self.addresses);
        if bodies.len() > MAX_ADDRESSES {
            return Err(refused("addresses", format!("at most {MAX_ADDRESSES}")));
        }
        addresses("addresses", bodies)
    }

    fn check_texts(&self) -> Result<(), Problem> {
        let texts = [
            ("manufacturer", &self.manufacturer),
            ("country", &self.country),
            ("locale", &self.locale),
            ("time_zone", &self.time_zone),
        ];
        let too_long = |text: &String| text.len() > MAX_TEXT;
        if let Some((field, _)) = texts.into_iter().find(|(_, text)| text.as_ref().is_some_and(too_long)) {
            return Err(refused(field, format!("at most {MAX_TEXT} bytes")));
        }
        if self.locale.as_ref().is_some_and(|locale| !is_locale(locale)) {
            return Err(refused("locale", "is not a language tag; write one like zh-Hans-CN or de (BCP 47)"));
        }
        if self.time_zone.as_ref().is_some_and(|zone| !QuietHours::is_time_zone(zone)) {
            return Err(refused("time_zone", NO_TIME_ZONE));
        }
        if self.capabilities.len() > Traits::MAX_CAPABILITIES {
            return Err(refused("capabilities", format!("at most {}", Traits::MAX_CAPABILITIES)));
        }
        let wrong_length = self.capabilities.iter().position(|text| !(1..=MAX_TEXT).contains(&text.len()));
        if let Some(i) = wrong_length {
            return Err(refused(&format!("capabilities[{i}]"), format!("1 to {MAX_TEXT} bytes")));
        }
        Ok(())
    }

    fn traits(&mut self) -> Result<Traits, Problem> {
        self.check_texts()?;
        Ok(Traits {
            platform: self.platform.ok_or_else(|| refused("platform", "is missing"))?,
            manufacturer: self.manufacturer.take().map(|text| text.to_lowercase()),
            app_build: self.app_build,
            country: self.country.take().map(|text| text.to_uppercase()),
            locale: self.locale.take(),
            time_zone: self.time_zone.take(),
            capabilities: std::mem::take(&mut self.capabilities),
        })
    }
}

impl AddressOrPushId {
    /// Returns the addresses. A push id has one for each channel of `app` that accepts its token, so there may be none.
    ///
    /// `at` is the path of the body, for errors.
    pub(crate) fn addresses(self, at: &str, app: Option<&App>) -> Result<Vec<Address>, Problem> {
        let Self { push_id, channel, token, fid, subscription, voip } = self;
        let has_token =
            token.is_some() || fid.is_some() || subscription.is_some() || voip.is_some() || channel.is_some();
        match (push_id, channel) {
            (Some(push_id), None) if !has_token => {
                let push_id = decode_push_id(&push_id)?;
                let channels = app.map(|app| channels(app, &push_id)).unwrap_or_default();
                Ok(channels.into_iter().map(|channel| address_of_push_id(channel, &push_id)).collect())
            }
            (None, Some(channel)) => {
                Ok(vec![AddressBody { channel, token, fid, subscription, voip }.address(at)?])
            }
            (Some(_), _) => {
                Err(refused(&below(at, "push_id"), "must be the only field, without channel and token"))
            }
            (None, None) => Err(refused(&below(at, "channel"), "is missing; write an address or a push_id")),
        }
    }
}

impl RotateBody {
    /// Returns `true` if the old address is a Web Push subscription with its secret.
    pub(crate) fn has_secret(&self) -> bool {
        let has_auth = |keys: Option<&Value>| {
            let secret = keys.and_then(|keys| keys["auth"].as_str());
            secret.is_some_and(|secret| !secret.is_empty())
        };
        match (&self.old.push_id, &self.old.subscription) {
            (None, Some(subscription)) => has_auth(subscription.get("keys")),
            (Some(push_id), None) => PushId::decode(push_id).is_ok_and(|push_id| {
                push_id.is_subscription()
                    && serde_json::from_str(push_id.token.expose())
                        .is_ok_and(|value: Value| has_auth(value.get("keys")))
            }),
            _ => false,
        }
    }

    /// Returns pairs of an old address and its replacement, one for each channel and kind that both sides have.
    pub(crate) fn pairs(self, app: Option<&App>) -> Result<Vec<(Address, Address)>, Problem> {
        let (old, new) = (self.old.addresses("old", app)?, self.new.addresses("new", app)?);
        if new.iter().any(|address| !(1..=Address::MAX_TOKEN).contains(&address.token.expose().len())) {
            return Err(refused("new", format!("the token must have 1 to {} bytes", Address::MAX_TOKEN)));
        }
        let with_replacement = |old: Address| {
            let new = new.iter().find(|new| new.channel == old.channel && new.kind == old.kind)?;
            Some((old, new.clone()))
        };
        Ok(old.into_iter().filter_map(with_replacement).collect())
    }
}

fn decode_push_id(text: &str) -> Result<PushId, Problem> {
    PushId::decode(text).map_err(|error| {
        Problem::new(422, "invalid_push_id", format!("push_id: it {error}")).about("push_id")
    })
}

/// Returns the app's channels that accept the push id's token, by preference.
fn channels(app: &App, push_id: &PushId) -> Vec<ChannelName> {
    let kinds = push_id.kinds();
    let of_kind = |kind: &&'static str| {
        let matching = app.channels().iter().filter(|(_, installed)| installed.channel.info().kind == *kind);
        matching.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    kinds.iter().flat_map(of_kind).collect()
}

/// Returns the address of a push id on the preferred channel.
fn address(app: &App, push_id: &PushId) -> Result<Address, Problem> {
    let channel = channels(app, push_id).into_iter().next().ok_or_else(|| {
        let kinds = push_id.kinds().join("` or `");
        Problem::new(422, "unknown_channel", format!("push_id: the app has no channel of kind `{kinds}`"))
            .about("push_id")
    })?;
    let address = address_of_push_id(channel, push_id);
    if address.token.expose().len() > Address::MAX_TOKEN {
        return Err(refused(
            "push_id",
            format!("the token in it must have at most {} bytes", Address::MAX_TOKEN),
        ));
    }
    Ok(address)
}

fn address_of_push_id(channel: ChannelName, push_id: &PushId) -> Address {
    if !push_id.is_subscription() {
        return Address { channel, kind: TokenKind::Token, token: push_id.token.clone() };
    }
    let text = push_id.token.expose();
    let token = serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value| subscription(&value));
    Address { channel, kind: TokenKind::Subscription, token: token.into() }
}

/// Returns the canonical JSON of a subscription: endpoint and keys, in this order.
///
/// Browsers add members and order them differently, but addresses are found by their text.
fn subscription(value: &Value) -> String {
    let keys = &value["keys"];
    match (value["endpoint"].as_str(), keys["p256dh"].as_str(), keys["auth"].as_str()) {
        (Some(endpoint), Some(p256dh), Some(auth)) => {
            serde_json::json!({"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}}).to_string()
        }
        // The channel refuses it, with the reason.
        _ => value.to_string(),
    }
}

/// Validates a list of addresses. `at` is its path, for errors.
pub(super) fn addresses(at: &str, bodies: Vec<AddressBody>) -> Result<Vec<Address>, Problem> {
    bodies.into_iter().enumerate().map(|(i, body)| body.address(&format!("{at}[{i}]"))).collect()
}

/// Returns the path of a member of the body at `at`.
fn below(at: &str, member: &str) -> String {
    if at.is_empty() { member.to_owned() } else { format!("{at}.{member}") }
}

impl AddressBody {
    /// Validates the address. `at` is the path of the body, for errors.
    pub(super) fn address(self, at: &str) -> Result<Address, Problem> {
        let subscription = self.subscription.map(|members| subscription(&Value::Object(members)));
        let tokens = [
            self.token.map(|token| (TokenKind::Token, token)),
            self.fid.map(|fid| (TokenKind::Fid, fid)),
            subscription.map(|subscription| (TokenKind::Subscription, subscription)),
            self.voip.map(|token| (TokenKind::Voip, token)),
        ];
        let mut tokens = tokens.into_iter().flatten();
        let (Some((kind, token)), None) = (tokens.next(), tokens.next()) else {
            return Err(refused(&below(at, "token"), "give exactly one of token, fid, subscription, voip"));
        };
        if token.is_empty() || token.len() > Address::MAX_TOKEN {
            let field = below(at, kind.as_str());
            return Err(refused(&field, format!("1 to {} bytes", Address::MAX_TOKEN)));
        }
        Ok(Address { channel: self.channel, kind, token: token.into() })
    }
}
