//! Routes: conditions on a device's traits, and the channels to use in order. Pure.

use crate::device::{Address, Device, Platform, TokenKind, Traits};
use crate::ids::ChannelName;

/// Conditions on a device. All of them must hold, and an empty selector matches every device. A device without the property
/// that a condition needs does not satisfy it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Platforms of which the device has one. Empty means any.
    pub platforms: Vec<Platform>,
    /// Manufacturers of which the device has one, compared without regard to case. Empty means any.
    pub manufacturers: Vec<String>,
    /// Countries of which the device has one (ISO 3166-1 alpha-2), compared without regard to case. Empty means any.
    pub countries: Vec<String>,
    /// Capabilities that the installed app must all have.
    pub capabilities: Vec<String>,
    /// Minimum build number of the installed app.
    pub min_app_build: Option<u64>,
    /// Maximum build number of the installed app.
    pub max_app_build: Option<u64>,
}

impl Selector {
    /// Creates a selector that matches every device.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Creates a selector that matches the devices of one platform.
    #[must_use]
    pub fn platform(platform: Platform) -> Self {
        Self { platforms: vec![platform], ..Self::default() }
    }

    /// Returns `true` if the device satisfies every condition.
    #[must_use]
    pub fn matches(&self, device: &Traits) -> bool {
        let has_any = |wanted: &[String], given: Option<&String>| {
            wanted.is_empty() || given.is_some_and(|g| wanted.iter().any(|w| w.eq_ignore_ascii_case(g)))
        };
        (self.platforms.is_empty() || self.platforms.contains(&device.platform))
            && has_any(&self.manufacturers, device.manufacturer.as_ref())
            && has_any(&self.countries, device.country.as_ref())
            && self.capabilities.iter().all(|wanted| device.capabilities.contains(wanted))
            && self.min_app_build.is_none_or(|min| device.app_build.is_some_and(|build| build >= min))
            && self.max_app_build.is_none_or(|max| device.app_build.is_some_and(|build| build <= max))
    }
}

/// Conditions on a device, and the channels for it. The first channel on which the device has an address is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Devices that the route applies to.
    pub selector: Selector,
    /// Channels, in order of preference.
    pub channels: Vec<ChannelName>,
}

/// Result of routing a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<'a> {
    /// Address to use, by its index in the device's list, and its channel.
    Address(usize, &'a ChannelName),
    /// No route matches the device.
    NoRoute,
    /// A route matches, but the device has no address on its channels.
    NoAddress,
}

/// Selects the address for a device. The first route that matches the device decides. An app without routes uses the
/// device's first address. Addresses for calls only are not considered.
#[must_use]
pub fn choose<'a>(routes: &'a [Route], device: &'a Device) -> Choice<'a> {
    choose_among(routes, device, |address| address.kind != TokenKind::Voip)
}

/// Selects the address for a call on the platform's call screen. It prefers an address for calls only, on a channel of
/// the device's route, and falls back to [`choose`].
#[must_use]
pub fn choose_to_ring<'a>(routes: &'a [Route], device: &'a Device) -> Choice<'a> {
    match choose_among(routes, device, |address| address.kind == TokenKind::Voip) {
        Choice::NoAddress => choose(routes, device),
        choice => choice,
    }
}

fn choose_among<'a>(
    routes: &'a [Route],
    device: &'a Device,
    is_candidate: impl Fn(&Address) -> bool,
) -> Choice<'a> {
    let first_index = |condition: &dyn Fn(&Address) -> bool| {
        device.addresses.iter().position(|a| is_candidate(a) && condition(a))
    };
    if routes.is_empty() {
        let index = first_index(&|_| true);
        return index.map_or(Choice::NoAddress, |at| Choice::Address(at, &device.addresses[at].channel));
    }
    let Some(route) = routes.iter().find(|route| route.selector.matches(&device.traits)) else {
        return Choice::NoRoute;
    };
    for channel in &route.channels {
        if let Some(index) = first_index(&|address| address.channel == *channel) {
            return Choice::Address(index, channel);
        }
    }
    Choice::NoAddress
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AppId, DeviceId};
    use crate::timestamp::Timestamp;

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
    fn the_first_route_that_matches_the_device_decides() {
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
    fn an_address_for_calls_only_is_used_for_calls_only() {
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
    fn a_condition_on_a_missing_trait_does_not_hold() {
        let selector = Selector { min_app_build: Some(100), ..Selector::default() };
        assert!(!selector.matches(&Traits::of(Platform::Web)));
        assert!(selector.matches(&Traits { app_build: Some(100), ..Traits::of(Platform::Web) }));
        let calls = Selector { capabilities: vec!["calls".to_owned()], ..Selector::default() };
        assert!(!calls.matches(&Traits::of(Platform::Web)));
        let able = Traits { capabilities: vec!["calls".to_owned()], ..Traits::of(Platform::Web) };
        assert!(calls.matches(&able));
        let selector = Selector { max_app_build: Some(99), ..Selector::default() };
        assert!(!selector.matches(&Traits { app_build: Some(100), ..Traits::of(Platform::Web) }));
    }
}
