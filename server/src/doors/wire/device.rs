//! What a device registers itself with: addresses, or the push id of a ZPNs client.

use pushgate::app::App;
use pushgate::rules::QuietHours;
use pushgate::{
    Address, AppId, ChannelName, Device, DeviceId, Named, Platform, Registration, Timestamp, TokenKind,
    Traits, UserId,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::locale::is_locale;
use super::refused;
use super::user::NO_TIME_ZONE;
use crate::problem::Problem;
use crate::push_id::PushId;

/// The most addresses a device has.
const MAX_ADDRESSES: usize = 16;
/// Longest text about a device, in bytes.
const MAX_TEXT: usize = 64;

/// An address: its channel, and exactly one of `token`, `fid`, `subscription`, `voip`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressBody {
    channel: ChannelName,
    token: Option<String>,
    fid: Option<String>,
    subscription: Option<Map<String, Value>>,
    voip: Option<String>,
}

/// `POST …/devices` and `PUT …/devices/{device}`: addresses, or a push id, which says platform and address by itself.
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

/// `PUT …/devices/{device}/user`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginBody {
    pub(crate) user: UserId,
}

/// `POST …/devices:unbind`: an address, or a push id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeldBody {
    push_id: Option<String>,
    channel: Option<ChannelName>,
    token: Option<String>,
    fid: Option<String>,
    subscription: Option<Map<String, Value>>,
    voip: Option<String>,
}

/// `POST …/devices:rotate`: what takes the place of what, written in the same way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    old: HeldBody,
    new: HeldBody,
}

/// What a device asks for.
pub(crate) enum Asked {
    Register(Box<Registration>),
    /// Its push id has no token: it is not reached over these channels any more.
    Unbind {
        app: AppId,
        device: DeviceId,
        channels: Vec<ChannelName>,
    },
}

impl DeviceBody {
    pub(crate) fn registration(
        mut self,
        served: &App,
        (app, id, named): (AppId, DeviceId, Named),
        now: Timestamp,
    ) -> Result<Asked, Problem> {
        let push_id = self.push_id.take().map(|text| decoded(&text)).transpose()?;
        let mut addresses = self.addresses_given()?;
        if let Some(push_id) = &push_id {
            if push_id.token.expose().is_empty() {
                if named == Named::ByAddress {
                    return Err(refused("id", "is missing: an empty push_id unbinds the device of that id"));
                }
                return Ok(Asked::Unbind { app, device: id, channels: channels(served, push_id) });
            }
            addresses.push(address(served, push_id)?);
            self.platform = self.platform.or(push_id.service.platform());
            self.manufacturer = self.manufacturer.or(push_id.service.manufacturer().map(str::to_owned));
            self.country = self.country.or(Some(push_id.country.clone()).filter(|text| text.len() == 2));
        }
        let replaces = self.replaces.take().map(|body| body.address("replaces")).transpose()?;
        let traits = self.traits()?;
        let device = Device { app, id, user: self.user, traits, addresses, registered_at: now };
        let registration = Registration { named, replaces, ..Registration::from(device) };
        Ok(Asked::Register(Box::new(registration)))
    }

    fn addresses_given(&mut self) -> Result<Vec<Address>, Problem> {
        let given = std::mem::take(&mut self.addresses);
        if given.len() > MAX_ADDRESSES {
            return Err(refused("addresses", format!("at most {MAX_ADDRESSES}")));
        }
        addresses("addresses", given)
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
        let misfit = self.capabilities.iter().position(|text| !(1..=MAX_TEXT).contains(&text.len()));
        if let Some(i) = misfit {
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

impl HeldBody {
    /// The addresses meant: none where the app has no channel of that kind.
    pub(crate) fn addresses(self, at: &str, served: Option<&App>) -> Result<Vec<Address>, Problem> {
        let Self { push_id, channel, token, fid, subscription, voip } = self;
        let has_token =
            token.is_some() || fid.is_some() || subscription.is_some() || voip.is_some() || channel.is_some();
        match (push_id, channel) {
            (Some(push_id), None) if !has_token => {
                let push_id = decoded(&push_id)?;
                let channels = served.map(|served| channels(served, &push_id)).unwrap_or_default();
                Ok(channels.into_iter().map(|channel| held(channel, &push_id)).collect())
            }
            (None, Some(channel)) => {
                Ok(vec![AddressBody { channel, token, fid, subscription, voip }.address(at)?])
            }
            (Some(_), _) => Err(refused(&below(at, "push_id"), "stands alone, without channel and token")),
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

    /// Which address takes the place of which, channel by channel: none where the app has no channel of that kind.
    pub(crate) fn pairs(self, served: Option<&App>) -> Result<Vec<(Address, Address)>, Problem> {
        let (old, new) = (self.old.addresses("old", served)?, self.new.addresses("new", served)?);
        if new.iter().any(|address| !(1..=Address::MAX_TOKEN).contains(&address.token.expose().len())) {
            return Err(refused("new", format!("its token has 1 to {} bytes", Address::MAX_TOKEN)));
        }
        let with = |old: Address| {
            let new = new.iter().find(|new| new.channel == old.channel && new.kind == old.kind)?;
            Some((old, new.clone()))
        };
        Ok(old.into_iter().filter_map(with).collect())
    }
}

fn decoded(text: &str) -> Result<PushId, Problem> {
    PushId::decode(text).map_err(|error| {
        Problem::new(422, "invalid_push_id", format!("push_id: it {error}")).about("push_id")
    })
}

/// The app's channels that understand the envelope's tokens, the likeliest first.
fn channels(served: &App, push_id: &PushId) -> Vec<ChannelName> {
    let kinds = push_id.kinds();
    let of_kind = |kind: &&'static str| {
        let named = served.channels().iter();
        let named = named.filter(|(_, installed)| installed.channel.info().kind == *kind);
        named.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    kinds.iter().flat_map(of_kind).collect()
}

fn address(served: &App, push_id: &PushId) -> Result<Address, Problem> {
    let channel = channels(served, push_id).into_iter().next().ok_or_else(|| {
        let kinds = push_id.kinds().join("` or `");
        Problem::new(422, "unknown_channel", format!("push_id: the app has no channel of kind `{kinds}`"))
            .about("push_id")
    })?;
    let address = held(channel, push_id);
    if address.token.expose().len() > Address::MAX_TOKEN {
        return Err(refused("push_id", format!("its token has over {} bytes", Address::MAX_TOKEN)));
    }
    Ok(address)
}

fn held(channel: ChannelName, push_id: &PushId) -> Address {
    if !push_id.is_subscription() {
        return Address { channel, kind: TokenKind::Token, token: push_id.token.clone() };
    }
    let text = push_id.token.expose();
    let token = serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value| subscription(&value));
    Address { channel, kind: TokenKind::Subscription, token: token.into() }
}

/// What is needed of a subscription, always written in the same way: browsers and libraries add to it and order it as they
/// like, and what is unbound or exchanged has to be found by its text.
fn subscription(value: &Value) -> String {
    let keys = &value["keys"];
    match (value["endpoint"].as_str(), keys["p256dh"].as_str(), keys["auth"].as_str()) {
        (Some(endpoint), Some(p256dh), Some(auth)) => {
            serde_json::json!({"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}}).to_string()
        }
        // None that any channel takes; what is wrong with it is the channel's to say.
        _ => value.to_string(),
    }
}

/// Returns the addresses of a list whose path is `at`.
pub(super) fn addresses(at: &str, given: Vec<AddressBody>) -> Result<Vec<Address>, Problem> {
    given.into_iter().enumerate().map(|(i, body)| body.address(&format!("{at}[{i}]"))).collect()
}

/// Path of a member of the body at `at`.
fn below(at: &str, member: &str) -> String {
    if at.is_empty() { member.to_owned() } else { format!("{at}.{member}") }
}

impl AddressBody {
    /// Returns the address. `at` is the path of the body, for errors.
    pub(super) fn address(self, at: &str) -> Result<Address, Problem> {
        let subscription = self.subscription.map(|members| subscription(&Value::Object(members)));
        let given = [
            self.token.map(|token| (TokenKind::Token, token)),
            self.fid.map(|fid| (TokenKind::Fid, fid)),
            subscription.map(|subscription| (TokenKind::Subscription, subscription)),
            self.voip.map(|token| (TokenKind::Voip, token)),
        ];
        let mut given = given.into_iter().flatten();
        let (Some((kind, token)), None) = (given.next(), given.next()) else {
            return Err(refused(&below(at, "token"), "exactly one of token, fid, subscription, voip is due"));
        };
        if token.is_empty() || token.len() > Address::MAX_TOKEN {
            let field = below(at, kind.as_str());
            return Err(refused(&field, format!("1 to {} bytes", Address::MAX_TOKEN)));
        }
        Ok(Address { channel: self.channel, kind, token: token.into() })
    }
}
