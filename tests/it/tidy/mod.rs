//! The rules of the tree that a machine can check: who may know whom, how large things grow, who may say which words, what
//! the documents name. Reads sources; runs nothing but `cargo metadata`.

mod arrows;
mod channels;
mod docs;
mod language;
mod lines;
mod names;
mod sizes;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file as it is named in a failure: from the root on.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", shown(path)))
}

fn parsed(path: &Path) -> syn::File {
    // The parser wants half-open ranges of a slice pattern in parentheses; the compiler does not.
    let text = read(path).replace(", ..=", ", 0..=");
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", shown(path)))
}

/// The files of this ending in the folder, without what is built or fetched.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | ".git" | "node_modules") {
                found.extend(files(&path, ending));
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The folders of the channels: all of `channels/` but the client they send through.
fn channels() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("channels")).unwrap();
    let mut folders: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.retain(|folder| !folder.ends_with("transport"));
    folders.sort();
    folders
}
