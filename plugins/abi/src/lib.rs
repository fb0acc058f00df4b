//! Rust mirror of `include/pushgate_plugin.h`. `tests/header.rs` compares the two. Only the header documents the fields.
//! The only logic here reads texts.

mod codes;
mod tables;

pub use codes::*;
pub use tables::*;

/// Major version of the interface. [`SYMBOL`] contains it.
pub const ABI_MAJOR: u32 = 1;
/// Minor version of the interface. Later ones append fields and functions.
pub const ABI_MINOR: u32 = 0;
/// Symbol that a plugin exports. Its type is [`Entry`].
pub const SYMBOL: &str = "pushgate_plugin_v1";
/// Text of the header, for tools that write it to a file.
pub const HEADER: &str = include_str!("../include/pushgate_plugin.h");

/// `pushgate_str`: borrowed text. The pointer is null if there is no text.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Str {
    /// Address of the first byte.
    pub ptr: *const u8,
    /// Length in bytes.
    pub len: usize,
}

impl Str {
    /// No text.
    pub const NONE: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// Borrows a text, which must outlive every use of the result.
    #[must_use]
    pub const fn new(text: &str) -> Self {
        Self::from_bytes(text.as_bytes())
    }

    /// Borrows bytes, which must outlive every use of the result.
    #[must_use]
    pub const fn from_bytes(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// Borrows an optional text. `None` becomes [`Str::NONE`].
    #[must_use]
    pub const fn from_option(text: Option<&str>) -> Self {
        match text {
            Some(text) => Self::new(text),
            None => Self::NONE,
        }
    }

    /// Returns the bytes, at most `limit` of them. `None` means that there is no text.
    ///
    /// # Safety
    /// `ptr` is null or valid for `len` bytes during `'a`.
    #[must_use]
    pub unsafe fn bytes<'a>(self, limit: usize) -> Option<&'a [u8]> {
        if self.ptr.is_null() {
            return None;
        }
        // SAFETY: the caller guarantees `len` bytes, and no more are read.
        Some(unsafe { std::slice::from_raw_parts(self.ptr, self.len.min(limit)) })
    }

    /// Returns a copy of the text. Replaces invalid UTF-8, and cuts the text to `limit` bytes at a character boundary.
    /// `None` means that there is no text.
    ///
    /// # Safety
    /// As for [`Str::bytes`].
    #[must_use]
    pub unsafe fn text(self, limit: usize) -> Option<String> {
        // SAFETY: the caller guarantees the same.
        unsafe { self.bytes(limit) }.map(|bytes| {
            let mut text = String::from_utf8_lossy(bytes).into_owned();
            let end = (0..=limit.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
            text.truncate(end);
            text
        })
    }
}
