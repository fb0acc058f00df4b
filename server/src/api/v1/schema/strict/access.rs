//! Readers of array items and object members. Each value gets its own position for errors.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};

use super::{At, Path, Refusal, Strict};

/// Reader of the items of an array.
pub(super) struct Items<'a, A> {
    inner: A,
    at: At<'a>,
    next: usize,
}

impl<'a, A> Items<'a, A> {
    pub(super) const fn new(inner: A, at: At<'a>) -> Self {
        Self { inner, at, next: 0 }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        let path = Path::Item(self.at.path, self.next);
        self.next += 1;
        let at = self.at.below(&path);
        self.inner.next_element_seed(Seed { seed, at }).map_err(|error| at.restore(&error))
    }
}

/// Reader of the members of an object. Refuses duplicate names.
pub(super) struct Members<'a, 'de, A> {
    inner: A,
    at: At<'a>,
    name: Cow<'de, str>,
    names: HashSet<Cow<'de, str>>,
}

impl<'a, A> Members<'a, '_, A> {
    pub(super) fn new(inner: A, at: At<'a>) -> Self {
        Self { inner, at, name: Cow::Borrowed(""), names: HashSet::new() }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, 'de, A> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let at = self.at;
        let name = Name { seed, at, text: &mut self.name };
        let key = self.inner.next_key_seed(name).map_err(|error| at.restore(&error))?;
        if key.is_some() && !self.names.insert(self.name.clone()) {
            return Err(Refusal::duplicate(&self.name));
        }
        Ok(key)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refusal> {
        let path = Path::Member(self.at.path, &self.name);
        let at = self.at.below(&path);
        self.inner.next_value_seed(Seed { seed, at }).map_err(|error| at.restore(&error))
    }
}

/// Seed of a value with its position.
struct Seed<'a, T> {
    seed: T,
    at: At<'a>,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        let at = self.at;
        self.seed.deserialize(Strict { inner, at, optional: false }).map_err(|refusal| at.store(refusal))
    }
}

/// Seed of a member name. Stores the text for the path of the value.
struct Name<'n, 'a, 'de, K> {
    seed: K,
    at: At<'a>,
    text: &'n mut Cow<'de, str>,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Name<'_, '_, 'de, K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<K::Value, D::Error> {
        inner.deserialize_str(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for Name<'_, '_, 'de, K> {
    type Value = K::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<K::Value, E> {
        *self.text = Cow::Borrowed(text);
        let read = self.seed.deserialize(BorrowedStrDeserializer::<Refusal>::new(text));
        read.map_err(|refusal| self.at.store(named(refusal, text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<K::Value, E> {
        *self.text = Cow::Owned(text.to_owned());
        let name: StrDeserializer<'_, Refusal> = text.into_deserializer();
        self.seed.deserialize(name).map_err(|refusal| self.at.store(named(refusal, text)))
    }
}

/// Attributes the refusal of a name to the member of that name.
fn named(refusal: Refusal, name: &str) -> Refusal {
    refusal.about(name)
}
