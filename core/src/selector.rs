//! Which channels a device gets: conditions on its traits, and the channels to use in order. Pure.

use crate::device::{Address, Device, Platform, TokenKind, Traits};
use crate::words::ChannelName;

/// Conditions on a device; every one that is given must hold, and an empty selector takes every device.
/// A device that does not say what a condition asks for does not satisfy it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Runs on one of these.
    pub platforms: Vec<Platform>,
    /// Made by one of these; compared without regard to case.
    pub manufacturers: Vec<String>,
    /// Is in one of these countries (ISO 3166-1 alpha-2); compared without regard to case.
    pub countries: Vec<String>,
    /// The app on it can do all of these.
    pub capabilities: Vec<String>,
    /// Its app's build is at least this.
    pub min_app_build: Option<u64>,
    /// Its app's build is at most this.
    pub max_app_build: Option<u64>,
}

impl Selector {
    /// Takes every device.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Takes the devices of one platform.
    #[must_use]
    pub fn platform(platform: Platform) -> Self {
        Self { platforms: vec![platform], ..Self::default() }
    }

    /// Whether the device satisfies every condition.
    #[must_use]
    pub fn takes(&self, device: &Traits) -> bool {
        let among = |wanted: &[String], given: Option<&String>| {
            wanted.is_empty() || given.is_some_and(|g| wanted.iter().any(|w| w.eq_ignore_ascii_case(g)))
        };
        (self.platforms.is_empty() || self.platforms.contains(&device.platform))
            && among(&self.manufacturers, device.manufacturer.as_ref())
            && among(&self.countries, device.country.as_ref())
            && self.capabilities.iter().all(|wanted| device.capabilities.contains(wanted))
            && self.min_app_build.is_none_or(|min| device.app_build.is_some_and(|build| build >= min))
            && self.max_app_build.is_none_or(|max| device.app_build.is_some_and(|build| build <= max))
    }
}

/// Conditions on a device, and the channels to use for it: the first on which it has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which devices.
    pub selector: Selector,
    /// Which channels, in order of preference.
    pub channels: Vec<ChannelName>,
}

/// Where a device's routes lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// To this address (its place in the device's list).
    Address(usize, &'a ChannelName),
    /// No route takes the device.
    NoRoute,
    /// A route takes it, but it has no address on the route's channels.
    NoAddress,
}

/// The first route that takes the device decides. Without any routes, the device's first address does. Addresses for calls
/// alone do not count.
#[must_use]
pub fn choose<'a>(routes: &'a [Route], device: &'a Device) -> Choice<'a> {
    among(routes, device, |address| address.kind != TokenKind::Voip)
}

/// The same for what rings by the platform's call screen: an address for calls alone, where the device has one on a channel
/// of its route, in place of any other.
#[must_use]
pub fn choose_to_ring<'a>(routes: &'a [Route], device: &'a Device) -> Choice<'a> {
    match among(routes, device, |address| address.kind == TokenKind::Voip) {
        Choice::NoAddress => choose(routes, device),
        found => found,
    }
}

fn among<'a>(routes: &'a [Route], device: &'a Device, counts: impl Fn(&Address) -> bool) -> Choice<'a> {
    let first = |on: &dyn Fn(&Address) -> bool| device.addresses.iter().position(|a| counts(a) && on(a));
    if routes.is_empty() {
        let place = first(&|_| true);
        return place.map_or(Choice::NoAddress, |at| Choice::Address(at, &device.addresses[at].channel));
    }
    let Some(route) = routes.iter().find(|route| route.selector.takes(&device.traits)) else {
        return Choice::NoRoute;
    };
    for channel in &route.channels {
        if let Some(place) = first(&|address| address.channel == *channel) {
            return Choice::Address(place, channel);
        }
    }
    Choice::NoAddress
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{AppId, DeviceId, Timestamp};

    fn name(text: &str) -> ChannelName {
        ChannelName::new(text).unwrap()
    }

    fn device(traits: Traits, channels: &[&str]) -> Device {
        let address = |c: &&str| Address { channel: name(c), kind: TokenKind::Token, token: "t".into() };
        Device {
            app: AppId::new("demo").unwrap(),
            id: DeviceId::new("d").unwrap(),
            user: None,
            traits,
            addresses: channels.iter().map(address).collect(),
            registered_at: Timestamp::from_millis(0),
        }
    }

    fn route(selector: Selector, channels: &[&str]) -> Route {
        Route { selector, channels: channels.iter().map(|c| name(c)).collect() }
    }

    #[test]
    fn the_first_route_that_takes_the_device_decides() {
        let routes = [
            route(Selector::platform(Platform::Ios), &["apple"]),
            route(
                Selector { manufacturers: vec!["acme".into()], ..Selector::default() },
                &["acme", "general"],
            ),
            route(Selector::any(), &["general"]),
        ];
        let acme = Traits { manufacturer: Some("ACME".into()), ..Traits::of(Platform::Android) };
        let phone = device(acme.clone(), &["general", "acme"]);
        assert_eq!(choose(&routes, &phone), Choice::Address(1, &name("acme")));
        let without = device(acme, &["general"]);
        assert_eq!(choose(&routes, &without), Choice::Address(0, &name("general")));
        let iphone = device(Traits::of(Platform::Ios), &["general"]);
        assert_eq!(choose(&routes, &iphone), Choice::NoAddress);
        assert_eq!(choose(&routes[..2], &device(Traits::of(Platform::Web), &["general"])), Choice::NoRoute);
    }

    #[test]
    fn an_address_for_calls_alone_is_for_calls_alone() {
        let mut iphone = device(Traits::of(Platform::Ios), &["apple", "apple"]);
        iphone.addresses[0].kind = TokenKind::Voip;
        let routes = [route(Selector::any(), &["apple"])];
        for routes in [&routes[..], &[]] {
            assert_eq!(choose(routes, &iphone), Choice::Address(1, &name("apple")));
            assert_eq!(choose_to_ring(routes, &iphone), Choice::Address(0, &name("apple")));
        }
        let calls_alone = Device { addresses: vec![iphone.addresses[0].clone()], ..iphone.clone() };
        assert_eq!(choose(&routes, &calls_alone), Choice::NoAddress);
        let without = Device { addresses: vec![iphone.addresses[1].clone()], ..iphone.clone() };
        assert_eq!(choose_to_ring(&routes, &without), Choice::Address(0, &name("apple")));
        let elsewhere = [route(Selector::any(), &["general"])];
        assert_eq!(choose_to_ring(&elsewhere, &iphone), Choice::NoAddress);
    }

    #[test]
    fn a_condition_on_what_the_device_does_not_say_does_not_hold() {
        let selector = Selector { min_app_build: Some(100), ..Selector::default() };
        assert!(!selector.takes(&Traits::of(Platform::Web)));
        assert!(selector.takes(&Traits { app_build: Some(100), ..Traits::of(Platform::Web) }));
        let calls = Selector { capabilities: vec!["calls".to_owned()], ..Selector::default() };
        assert!(!calls.takes(&Traits::of(Platform::Web)));
        let able = Traits { capabilities: vec!["calls".to_owned()], ..Traits::of(Platform::Web) };
        assert!(calls.takes(&able));
        let selector = Selector { max_app_build: Some(99), ..Selector::default() };
        assert!(!selector.takes(&Traits { app_build: Some(100), ..Traits::of(Platform::Web) }));
    }
}
