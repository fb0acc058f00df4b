//! Tests that `default.toml` documents exactly the keys of the tables in `schema.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use figment::value::{Dict, Value};
use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Error as _, Visitor};

use crate::layers::DEFAULT_TOML;
use crate::schema::{
    CHANNEL_KEYS, RawApp, RawKey, RawLimits, RawLog, RawPlugin, RawPresence, RawProfile, RawRetry, RawRoute,
    RawServer, RawStorage, RawTemplate, RawTop, RawTransport, RawUserKey, RawVariant,
};
use crate::syntax;

/// Deserializer that records the field names of a struct.
struct Fields<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("only the fields are wanted"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn keys<'de, T: Deserialize<'de>>() -> BTreeSet<&'static str> {
    let mut fields: &'static [&'static str] = &[];
    assert!(T::deserialize(Fields(&mut fields)).is_err());
    assert!(!fields.is_empty());
    fields.iter().copied().collect()
}

/// Returns the default file with its examples uncommented.
fn documented() -> Dict {
    let line = |line: &'static str| match line.strip_prefix('#') {
        Some(example) if !example.starts_with(' ') => example,
        _ => line,
    };
    let text = DEFAULT_TOML.lines().map(line).collect::<Vec<_>>().join("\n");
    syntax::parse(Path::new("default.toml"), &text).expect("the default file is TOML").dict
}

fn at<'a>(dict: &'a Dict, path: &str) -> &'a Dict {
    path.split('/').filter(|name| !name.is_empty()).fold(dict, |dict, name| {
        let value = &dict[name];
        let value = value.as_array().map_or(value, |values| &values[0]);
        value.as_dict().expect("a table")
    })
}

#[test]
fn every_known_key_is_documented_in_the_default_file_and_no_other() {
    let documented = documented();
    let tables = BTreeMap::from([
        ("", keys::<RawTop>()),
        ("server", keys::<RawServer>()),
        ("log", keys::<RawLog>()),
        ("storage", keys::<RawStorage>()),
        ("limits", keys::<RawLimits>()),
        ("presence", keys::<RawPresence>()),
        ("retry", keys::<RawRetry>()),
        ("keys", keys::<RawKey>()),
        ("apps/demo/profiles/call", keys::<RawProfile>()),
        ("apps/demo/user_keys", keys::<RawUserKey>()),
        ("plugins", keys::<RawPlugin>()),
        ("apps/demo", keys::<RawApp>()),
        ("apps/demo/channels/fcm/transport", keys::<RawTransport>()),
        ("apps/demo/channels/fcm/retry", keys::<RawRetry>()),
        ("apps/demo/routes", keys::<RawRoute>()),
        ("apps/demo/templates/message", keys::<RawTemplate>()),
        ("apps/demo/templates/message/locales/zh-CN", keys::<RawVariant>()),
    ]);
    for (path, known) in tables {
        let written: BTreeSet<&str> = at(&documented, path).keys().map(String::as_str).collect();
        assert_eq!(written, known, "[{path}]");
    }
    let channel = at(&documented, "apps/demo/channels/fcm");
    assert!(CHANNEL_KEYS.iter().all(|key| channel.contains_key(*key)));
}

#[test]
fn every_table_of_the_default_file_is_complete_without_its_examples() {
    let defaults = syntax::parse(Path::new("default.toml"), DEFAULT_TOML).expect("TOML").dict;
    for (name, known) in [
        ("server", keys::<RawServer>()),
        ("log", keys::<RawLog>()),
        ("storage", keys::<RawStorage>()),
        ("limits", keys::<RawLimits>()),
        ("retry", keys::<RawRetry>()),
    ] {
        let written = defaults.get(name).and_then(Value::as_dict).expect("a table");
        assert_eq!(written.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "[{name}]");
    }
}
