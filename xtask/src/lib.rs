//! What is done to the tree by hand and would be done wrong: a new channel, the tables of the READMEs. Changes files of
//! the tree it is pointed at, and nothing else.

pub mod new_channel;
pub mod readme;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a task was not done. Nothing is half done: what can be wrong is looked at first.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Asked(String),
    /// The tree is not as it should be.
    #[error("{}: {why}", file.display())]
    Tree {
        /// Where.
        file: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {error}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// The tree this program was built from.
///
/// # Panics
/// Never: this crate stands in a folder of the tree.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate stands in a folder of the tree")
}

fn read(file: &Path) -> Result<String, Error> {
    fs::read_to_string(file).map_err(|error| Error::Io { file: file.to_owned(), error })
}

fn write(file: &Path, text: &str) -> Result<(), Error> {
    let written = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(file, text));
    written.map_err(|error| Error::Io { file: file.to_owned(), error })
}

fn missing(file: &Path, what: &str) -> Error {
    Error::Tree { file: file.to_owned(), why: format!("{what} is missing") }
}
