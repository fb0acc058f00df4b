//! `[apps.…]`: reads channels with resolved references, routes with existing channels, and template sources.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use figment::value::{Dict, Value};
use pushgate::template::{TemplateSource, Variant};
use pushgate::{AppId, ChannelName, InvalidName, Platform, Route, Selector, TemplateName};

use crate::config::{AppConfig, ChannelConfig, Roots, TransportConfig};
use crate::fields::OneOrMany;
use crate::load::{Loader, is_slug};
use crate::locate::KeyPath;
use crate::nearest::nearest;
use crate::read::{Rules, list, not_one_of};
use crate::schema::{CHANNEL_KEYS, RawApp, RawChannel, RawRoute, RawTemplate, RawTransport, RawVariant};
use crate::section::Section;

/// Concurrency of a channel. A lane with a hundred thousand addresses in flight exceeds the quota of every push service.
const CONCURRENCY: RangeInclusive<u32> = 1..=100_000;
/// Connect timeout. A TLS handshake around the world takes half a second; one over a minute does not complete.
const CONNECT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// Connections to one host. Each carries a hundred or more concurrent requests.
const CONNECTIONS: RangeInclusive<u32> = 1..=1000;

impl Loader<'_> {
    pub(crate) fn apps(
        &mut self,
        values: BTreeMap<String, Value>,
        max_profiles: Option<usize>,
    ) -> BTreeMap<AppId, AppConfig> {
        let top = KeyPath::from_iter(["apps"]);
        let mut apps = BTreeMap::new();
        for (name, value) in values {
            let at = top.key(&name);
            let id = self.checked_name(AppId::new(&name), &at);
            let raw: Option<RawApp> = self.reader.read(value, &at, &Rules::default());
            let (Some(id), Some(raw)) = (id, raw) else { continue };
            let known: Vec<String> = raw.channels.keys().cloned().collect();
            let channels = self.channels(raw.channels, &at.key("channels"));
            let routes = self.routes(raw.routes, &at.key("routes"), &known);
            let templates = self.templates(raw.templates, &at.key("templates"));
            let max = max_profiles.unwrap_or(usize::MAX);
            let profiles = self.profiles(raw.profiles, &at.key("profiles"), &known, max);
            let categories = self.categories(raw.categories, &at.key("categories"), &known);
            let user_keys = self.user_keys(raw.user_keys, &at.key("user_keys"));
            apps.insert(id, AppConfig { channels, routes, templates, profiles, categories, user_keys });
        }
        apps
    }

    /// Returns a valid name. An invalid one is refused.
    fn checked_name<T>(&mut self, name: Result<T, InvalidName>, at: &KeyPath) -> Option<T> {
        let refuse = |error: InvalidName| {
            let article = if error.what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            self.reader.refuse(at, format!("is not {article} {}; write {}", error.what, error.why));
        };
        name.map_err(refuse).ok()
    }

    fn channels(
        &mut self,
        values: BTreeMap<String, Value>,
        top: &KeyPath,
    ) -> BTreeMap<ChannelName, ChannelConfig> {
        let mut channels = BTreeMap::new();
        for (name, value) in values {
            let at = top.key(&name);
            let name = self.checked_name(ChannelName::new(&name), &at);
            let channel = self.dict(value, &at).and_then(|dict| self.channel(dict, &at));
            channels.extend(name.zip(channel));
        }
        channels
    }

    fn channel(&mut self, dict: Dict, at: &KeyPath) -> Option<ChannelConfig> {
        let (general, channel_keys): (Dict, Dict) =
            dict.into_iter().partition(|(name, _)| CHANNEL_KEYS.contains(&name.as_str()));
        let section = self.section(channel_keys, at);
        let rules = Rules { examples: &[("kind", "kind = \"fcm\"")], ..Rules::default() };
        let raw: RawChannel = self.reader.read(Value::from(general), at, &rules)?;
        if !is_slug(&raw.kind) {
            let message = format!("{:?} is not a kind of channel; write one like \"fcm\"", raw.kind);
            self.reader.refuse(&at.key("kind"), message);
        }
        self.within(&at.key("concurrency"), raw.concurrency, CONCURRENCY, |number| number);
        let transport = match raw.transport {
            Some(value) => self.transport(value, &at.key("transport"))?,
            None => TransportConfig::default(),
        };
        let general = self.general_retry;
        let retry = match raw.retry {
            Some(value) => self.retry(value, &at.key("retry"), general)?,
            None => general,
        };
        Some(ChannelConfig { kind: raw.kind, concurrency: raw.concurrency, retry, transport, section })
    }

    fn section(&mut self, dict: Dict, at: &KeyPath) -> Section {
        let mut value = Value::from(dict);
        let resolved = self.resolve(&mut value, at);
        let dict = value.into_dict().unwrap_or_default();
        Section { at: at.clone(), dict, origins: Arc::clone(&self.reader.origins), resolved }
    }

    pub(crate) fn resolve(&mut self, value: &mut Value, at: &KeyPath) -> BTreeSet<KeyPath> {
        let mut resolved = BTreeSet::new();
        for (key, message) in self.references.resolve(value, at, &mut resolved) {
            self.reader.refuse(&key, message);
        }
        resolved
    }

    fn transport(&mut self, mut value: Value, at: &KeyPath) -> Option<TransportConfig> {
        let resolved = self.resolve(&mut value, at);
        let rules = Rules { secret: true, resolved: Some(&resolved), ..Rules::default() };
        let raw: RawTransport = self.reader.read(value, at, &rules)?;
        let roots = match raw.roots.as_deref().map(str::trim) {
            None | Some("system") => Roots::System,
            Some("bundled") => Roots::Bundled,
            Some(text) if text.contains("-----BEGIN CERTIFICATE-----") => Roots::Pem(text.into()),
            Some(_) => {
                let message = "is neither \"system\" nor \"bundled\" nor PEM text; write \"file:ca.pem\" for the text of a file";
                self.reader.refuse(&at.key("roots"), message);
                Roots::System
            }
        };
        if raw.proxy.as_deref().is_some_and(|proxy| !is_proxy(proxy)) {
            let message = "is not a proxy; write http://host:port or http://user:password@host:port";
            self.reader.refuse(&at.key("proxy"), message);
        }
        if let Some(max) = raw.max_connections {
            self.within(&at.key("max_connections"), max, CONNECTIONS, |number| number);
        }
        let mut connect_to = BTreeMap::new();
        for (host, address) in raw.connect_to {
            match address.parse() {
                Ok(address) => drop(connect_to.insert(host, address)),
                Err(_) => {
                    let message = "is not an address and a port; write \"127.0.0.1:8443\"";
                    self.reader.refuse(&at.key("connect_to").key(&host), message);
                }
            }
        }
        let connect =
            raw.connect_timeout.map(|timeout| self.duration(&at.key("connect_timeout"), timeout, CONNECT));
        Some(TransportConfig {
            roots,
            proxy: raw.proxy.map(Into::into),
            connect_timeout: connect,
            max_connections: raw.max_connections,
            connect_to,
        })
    }

    fn routes(&mut self, values: Vec<Value>, top: &KeyPath, channels: &[String]) -> Vec<Route> {
        let mut routes = Vec::new();
        for (i, value) in values.into_iter().enumerate() {
            let at = top.index(i);
            let rules = Rules { examples: &[("channels", "channels = [\"fcm\"]")], ..Rules::default() };
            let Some(raw) = self.reader.read::<RawRoute>(value, &at, &rules) else { continue };
            let channels = self.route_channels(&raw.channels, &at.key("channels"), channels);
            let selector = Selector {
                platforms: self.each(raw.platform.as_ref(), &at.key("platform"), platform),
                manufacturers: self.each(raw.manufacturer.as_ref(), &at.key("manufacturer"), manufacturer),
                countries: self.each(raw.country.as_ref(), &at.key("country"), country),
                capabilities: self.each(raw.capability.as_ref(), &at.key("capability"), capability),
                min_app_build: raw.min_app_build,
                max_app_build: raw.max_app_build,
            };
            if let (Some(min), Some(max)) = (raw.min_app_build, raw.max_app_build)
                && min > max
            {
                let message =
                    format!("{min} is above max_app_build = {max}, so no device fits; swap the two");
                self.reader.refuse(&at.key("min_app_build"), message);
            }
            routes.push(Route { selector, channels });
        }
        routes
    }

    fn route_channels(&mut self, names: &OneOrMany, at: &KeyPath, known: &[String]) -> Vec<ChannelName> {
        if names.is_empty() {
            self.reader.refuse(at, "is empty; write the channels to use, in order, like [\"fcm\"]");
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let mut channels: Vec<ChannelName> = Vec::new();
        for (i, name) in names.each() {
            let at = i.map_or_else(|| at.clone(), |i| at.index(i));
            if !known.contains(&name) {
                let hint = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None if known.is_empty() => {
                        "it has none: add a table [apps.APP.channels.NAME]".to_owned()
                    }
                    None => format!("it has {}", list(&known, '"')),
                };
                self.reader.refuse(&at, format!("{name:?} is not a channel of this app; {hint}"));
            } else if channels.iter().any(|channel| channel.as_str() == name) {
                self.reader.refuse(&at, format!("{name:?} is in this list already; keep one of the two"));
            } else {
                channels.extend(ChannelName::new(name));
            }
        }
        channels
    }

    /// Reads a condition of a route, which is one value or a list of them.
    fn each<T>(
        &mut self,
        texts: Option<&OneOrMany>,
        at: &KeyPath,
        read: fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(texts) = texts else { return Vec::new() };
        if texts.is_empty() {
            self.reader.refuse(at, "is empty; leave it out to take every device");
        }
        let mut values = Vec::new();
        for (i, text) in texts.each() {
            match read(text) {
                Ok(value) => values.push(value),
                Err(message) => {
                    let at = i.map_or_else(|| at.clone(), |i| at.index(i));
                    self.reader.refuse(&at, message);
                }
            }
        }
        values
    }

    fn templates(
        &mut self,
        values: BTreeMap<String, Value>,
        top: &KeyPath,
    ) -> BTreeMap<TemplateName, TemplateSource> {
        let mut templates = BTreeMap::new();
        for (name, value) in values {
            let at = top.key(&name);
            let name = self.checked_name(TemplateName::new(&name), &at);
            let template = self.template(value, &at);
            templates.extend(name.zip(template));
        }
        templates
    }

    fn template(&mut self, value: Value, at: &KeyPath) -> Option<TemplateSource> {
        let raw: RawTemplate = self.reader.read(value, at, &Rules::default())?;
        let default = Variant { title: raw.title, content: raw.content, payload: raw.payload };
        if default == Variant::default() {
            self.reader.refuse(at, "has no text; write at least one of title, content or payload");
        }
        let mut locales = BTreeMap::new();
        for (locale, value) in raw.locales {
            let at = at.key("locales").key(&locale);
            let raw: Option<RawVariant> = self.reader.read(value, &at, &Rules::default());
            if !is_slug(&locale) || locale.contains('.') {
                self.reader.refuse(&at, "is not a locale; write one like zh-CN or en");
            }
            let variant =
                raw.map(|raw| Variant { title: raw.title, content: raw.content, payload: raw.payload });
            locales.extend(Some(locale).zip(variant));
        }
        Some(TemplateSource { default, locales })
    }
}

fn platform(text: &str) -> Result<Platform, String> {
    let names = Platform::ALL.map(Platform::as_str);
    let platform = Platform::ALL.into_iter().find(|platform| platform.as_str() == text);
    platform.ok_or_else(|| not_one_of(Some(text), nearest(text, names), &names))
}

fn manufacturer(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty; write the name of a manufacturer, like \"xiaomi\"".to_owned());
    }
    Ok(text.trim().to_lowercase())
}

fn capability(text: &str) -> Result<String, String> {
    if !is_slug(text) {
        return Err(format!("{text:?} is not 1 to 64 of A-Z a-z 0-9 _ - ."));
    }
    Ok(text.to_owned())
}

fn country(text: &str) -> Result<String, String> {
    if text.len() != 2 || !text.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        return Err(format!(
            "{text:?} is not a country; write two letters, like \"DE\" (ISO 3166-1 alpha-2)"
        ));
    }
    Ok(text.to_ascii_uppercase())
}

fn is_proxy(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://") else { return false };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = host.rsplit_once(':').unwrap_or((host, ""));
    !host.is_empty() && !host.contains(['/', ' ']) && port.parse::<u16>().is_ok()
}
