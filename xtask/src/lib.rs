//! Tasks that change the source tree: creating a channel, and updating the tables in the READMEs. They change only files of
//! the tree that they are given.

pub mod new_channel;
pub mod readme;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Error of a task. Tasks check their input before they write, so a refused task changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments are invalid.
    #[error("{0}")]
    Usage(String),
    /// A file of the tree does not have the expected content.
    #[error("{}: {why}", file.display())]
    Tree {
        /// Path of the file.
        file: PathBuf,
        /// Description of the problem.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {error}", file.display())]
    Io {
        /// Path of the file.
        file: PathBuf,
        /// Error of the system.
        error: io::Error,
    },
}

/// Returns the root of the source tree that this program was built from.
///
/// # Panics
/// Never, because the crate's directory has a parent.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate's directory has a parent")
}

fn read(file: &Path) -> Result<String, Error> {
    fs::read_to_string(file).map_err(|error| Error::Io { file: file.to_owned(), error })
}

fn write(file: &Path, text: &str) -> Result<(), Error> {
    let result = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(file, text));
    result.map_err(|error| Error::Io { file: file.to_owned(), error })
}

fn missing(file: &Path, text: &str) -> Error {
    Error::Tree { file: file.to_owned(), why: format!("{text} is missing") }
}
