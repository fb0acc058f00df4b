//! The Rust mirror of `include/pushgate_plugin.h`, field for field; `tests/header.rs` holds the two against each other.
//! What fields mean stands in the header and nowhere else. Holds no logic but the reading of texts.

mod codes;
mod tables;

pub use codes::*;
pub use tables::*;

/// The major version of the interface; it is in [`SYMBOL`] too.
pub const ABI_MAJOR: u32 = 1;
/// The minor version of the interface: how much of the tables this side knows.
pub const ABI_MINOR: u32 = 0;
/// The one symbol a plugin exports, as [`Entry`].
pub const SYMBOL: &str = "pushgate_plugin_v1";
/// The header itself, for tools that write it out.
pub const HEADER: &str = include_str!("../include/pushgate_plugin.h");

/// `pushgate_str`: a text as it crosses. The pointer is null when there is none.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Str {
    /// Where it begins.
    pub ptr: *const u8,
    /// How many bytes it has.
    pub len: usize,
}

impl Str {
    /// No text.
    pub const NONE: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// A text that is borrowed: it must outlive every use of this.
    #[must_use]
    pub const fn of(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    /// Bytes that are borrowed.
    #[must_use]
    pub const fn of_bytes(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// A text that may be missing.
    #[must_use]
    pub const fn of_option(text: Option<&str>) -> Self {
        match text {
            Some(text) => Self::of(text),
            None => Self::NONE,
        }
    }

    /// The bytes; none when there is no text. At most `most` of them: a length from the other side is not trusted.
    ///
    /// # Safety
    /// `ptr` is null, or good for `len` bytes for as long as `'a`.
    #[must_use]
    pub unsafe fn bytes<'a>(self, most: usize) -> Option<&'a [u8]> {
        if self.ptr.is_null() {
            return None;
        }
        // SAFETY: the caller vouches for `len` bytes; fewer are taken where that is more than wanted.
        Some(unsafe { std::slice::from_raw_parts(self.ptr, self.len.min(most)) })
    }

    /// The text, copied; none when there is no text. What is not UTF-8 in it is replaced, what is beyond `most` bytes is cut.
    ///
    /// # Safety
    /// As for [`Str::bytes`].
    #[must_use]
    pub unsafe fn text(self, most: usize) -> Option<String> {
        // SAFETY: the same promise, handed on.
        unsafe { self.bytes(most) }.map(|bytes| {
            let mut text = String::from_utf8_lossy(bytes).into_owned();
            let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
            text.truncate(end);
            text
        })
    }
}
