//! Strict reading of JSON. Every refusal names the path of the field and what is allowed there.
//!
//! Wraps the parser's deserializer, so that nothing is kept beside the values themselves. Stricter than the parser in five
//! points: an object is never written as an array, a field that may be left out is never null, no member is unknown, no member
//! is given twice, and the depth has a limit.

mod access;
mod refusal;

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected, Visitor,
};

use access::{Items, Members};
pub(crate) use refusal::Refusal;
pub(crate) use refusal::list;

/// Largest depth of arrays and objects within one another.
pub(crate) const MAX_DEPTH: u32 = 32;

/// Reads a body.
///
/// # Errors
/// [`Refusal`] for the first thing that is wrong.
pub(crate) fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Refusal> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let pending = RefCell::new(None);
    let at = At { path: &Path::Root, depth: 0, pending: &pending };
    let value = T::deserialize(Strict { inner: &mut parser, at, optional: false })
        .map_err(|refusal| refusal.at(String::new))?;
    parser.end().map_err(|error| Refusal::syntax(&error.to_string()))?;
    Ok(value)
}

/// Way from the top of the body to a value, kept on the stack and written out for a refusal alone.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(&refusal::quoted(name)),
            Self::Member(parent, name) => write!(f, "{parent}.{}", refusal::quoted(name)),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Position of a value, and the refusal on its way out through the parser, whose own error cannot carry it.
#[derive(Clone, Copy)]
struct At<'a> {
    path: &'a Path<'a>,
    depth: u32,
    pending: &'a RefCell<Option<Refusal>>,
}

impl At<'_> {
    /// Hands a refusal over to the parser.
    fn store<E: de::Error>(&self, refusal: Refusal) -> E {
        *self.pending.borrow_mut() = Some(refusal.at(|| self.path.to_string()));
        E::custom("refused")
    }

    /// Takes the refusal back from the parser. An error without one is the parser's own.
    fn restore(&self, error: &impl fmt::Display) -> Refusal {
        self.pending.borrow_mut().take().unwrap_or_else(|| Refusal::syntax(&error.to_string()))
    }

    fn below<'b>(&'b self, path: &'b Path<'b>) -> At<'b> {
        At { path, depth: self.depth + 1, pending: self.pending }
    }

    fn check_depth(&self) -> Result<(), Refusal> {
        if self.depth < MAX_DEPTH {
            return Ok(());
        }
        Err(Refusal::new(format!("is nested deeper than {MAX_DEPTH} levels")))
    }
}

/// A deserializer that reads one value.
struct Strict<'a, D> {
    inner: D,
    at: At<'a>,
    /// `true` for a field that may be left out, which is therefore never null.
    optional: bool,
}

impl<'de, D: Deserializer<'de>> Strict<'_, D> {
    fn read<V: Visitor<'de>>(self, visitor: V, shape: Shape) -> Result<V::Value, Refusal> {
        let at = self.at;
        let reader = Reader { visitor, at, shape, optional: self.optional };
        self.inner.deserialize_any(reader).map_err(|error| at.restore(&error))
    }
}

/// What a value is read as.
#[derive(Clone, Copy)]
enum Shape {
    /// Whatever the visitor takes.
    Any,
    /// A whole number, however it is written: `2.0` is one (JSON Schema, section 6.1.1 "type").
    Integer,
    /// An object, never an array of its members.
    Object,
    /// One of these texts.
    OneOf(&'static [&'static str]),
}

macro_rules! read_as {
    ($shape:expr; $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            self.read(visitor, $shape)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, D> {
    type Error = Refusal;

    read_as! { Shape::Integer;
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    read_as! { Shape::Any;
        deserialize_any deserialize_bool deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_seq
        deserialize_identifier
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refusal> {
        self.optional = true;
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.read(visitor, Shape::Object)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.read(visitor, Shape::Object)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.read(visitor, Shape::OneOf(variants))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.read(visitor, Shape::Any)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.read(visitor, Shape::Any)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.read(visitor, Shape::Any)
    }

    /// A value is ignored by types that take unknown members. No body has any.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Refusal> {
        Err(Refusal::new("is not a known field"))
    }
}

/// A visitor that passes on what the parser has found, if it has the right shape.
struct Reader<'a, V> {
    visitor: V,
    at: At<'a>,
    shape: Shape,
    optional: bool,
}

impl<V> Reader<'_, V> {
    /// Refuses what the shape excludes.
    fn check(&self, given: Unexpected<'_>) -> Result<(), Refusal> {
        let wanted = match (self.shape, given) {
            (_, Unexpected::Unit) if self.optional => {
                return Err(Refusal::new("must not be null; leave it out"));
            }
            (Shape::Any | Shape::Integer, Unexpected::Seq | Unexpected::Map)
            | (Shape::Object, Unexpected::Map) => {
                return self.at.check_depth();
            }
            (Shape::Any | Shape::Integer, _) | (Shape::OneOf(_), Unexpected::Str(_)) => return Ok(()),
            (Shape::Object, _) => "an object".to_owned(),
            (Shape::OneOf(known), _) => format!("one of {}", list(known)),
        };
        Err(Refusal::new(format!("must be {wanted}, not {}", refusal::kind(given))))
    }
}

/// Returns the whole number that a float stands for, or `None` if it has a fraction or is not exact.
pub(crate) fn whole_number(value: f64) -> Option<i64> {
    /// 2^53: beyond it, neighbouring whole numbers share a float.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    let is_whole = value.fract() == 0.0 && value.abs() <= MAX_EXACT;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    is_whole.then_some(value as i64)
}

macro_rules! pass_on {
    ($($method:ident: $type:ty as $given:expr;)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            let at = self.at;
            self.check($given(value))
                .and_then(|()| self.visitor.$method(value))
                .map_err(|refusal| at.store(refusal))
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Reader<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    pass_on! {
        visit_bool: bool as Unexpected::Bool;
        visit_i64: i64 as Unexpected::Signed;
        visit_u64: u64 as Unexpected::Unsigned;
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<V::Value, E> {
        let at = self.at;
        let whole = whole_number(value).filter(|_| matches!(self.shape, Shape::Integer));
        self.check(Unexpected::Float(value))
            .and_then(|()| match whole {
                // A negative number is out of range for most fields, and their refusal says so.
                Some(whole) => self.visitor.visit_i64(whole),
                None => self.visitor.visit_f64(value),
            })
            .map_err(|refusal| at.store(refusal))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<V::Value, E> {
        self.text(text, V::visit_str)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<V::Value, E> {
        self.text(text, V::visit_borrowed_str)
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        let at = self.at;
        self.check(Unexpected::Unit)
            .and_then(|()| self.visitor.visit_unit())
            .map_err(|refusal| at.store(refusal))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        let at = self.at;
        self.check(Unexpected::Seq)
            .and_then(|()| self.visitor.visit_seq(Items::new(items, at)))
            .map_err(|refusal| at.store(refusal))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        let at = self.at;
        self.check(Unexpected::Map)
            .and_then(|()| self.visitor.visit_map(Members::new(members, at)))
            .map_err(|refusal| at.store(refusal))
    }
}

impl<'de, V: Visitor<'de>> Reader<'_, V> {
    fn text<'t, E: de::Error>(
        self,
        text: &'t str,
        visit: impl FnOnce(V, &'t str) -> Result<V::Value, Refusal>,
    ) -> Result<V::Value, E> {
        let at = self.at;
        let read = self.check(Unexpected::Str(text)).and_then(|()| match self.shape {
            Shape::OneOf(_) => {
                let text: StrDeserializer<'_, Refusal> = text.into_deserializer();
                self.visitor.visit_enum(text)
            }
            Shape::Any | Shape::Integer | Shape::Object => visit(self.visitor, text),
        });
        read.map_err(|refusal| at.store(refusal))
    }
}

#[cfg(test)]
mod tests;
