//! A new channel: a copy of `channels/dummy` under another name, known to the server and to the READMEs. The copy compiles
//! and keeps every promise of the conformance suite; what it lacks is a vendor.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, missing, read, readme, write};

const MOULD: &str = "channels/dummy";
/// From here on `lib.rs` is about the vendor that dummy plays itself.
const NOT_COPIED: &str = "\n// Of this channel alone";

/// The names a channel goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    /// `acme-push`: kind, folder, package.
    kind: String,
    /// `acme_push`: the crate in Rust.
    ident: String,
    /// `AcmePush`: the type.
    channel: String,
}

impl Name {
    fn new(text: &str) -> Result<Self, Error> {
        let is_word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        if !text.split('-').all(is_word) {
            return Err(Error::Asked(format!("{text:?} is no name: words of a-z and 0-9, joined by dashes")));
        }
        let capital = |word: &str| format!("{}{}", word[..1].to_ascii_uppercase(), &word[1..]);
        Ok(Self {
            kind: text.to_owned(),
            ident: text.replace('-', "_"),
            channel: text.split('-').map(capital).collect(),
        })
    }

    /// A text of the mould under this name.
    fn put_into(&self, text: &str) -> String {
        let text = text.replace("pushgate_dummy", &format!("pushgate_{}", self.ident));
        text.replace("dummy", &self.kind).replace("Dummy", &self.channel)
    }
}

/// Writes `channels/NAME` and what else has to know it.
///
/// # Errors
/// When there is one already, or the tree is not as it was when this was written; then nothing was written.
pub fn create(root: &Path, name: &str) -> Result<(), Error> {
    let name = Name::new(name)?;
    let folder = root.join("channels").join(&name.kind);
    if folder.exists() {
        return Err(Error::Asked(format!("{} is there already", folder.display())));
    }
    let mut files = Vec::new();
    for file in files_of(&root.join(MOULD))? {
        let inside = file.strip_prefix(root.join(MOULD)).unwrap_or(&file).to_owned();
        if let Some(text) = copied(&inside, &read(&file)?, &name) {
            files.push((folder.join(inside), text));
        }
    }
    files.push(server_manifest(root, &name)?);
    files.push(assembly(root, &name)?);
    files.iter().try_for_each(|(file, text)| write(file, text))?;
    readme::update(root)
}

/// What a file of the mould becomes; `None` for what is not copied.
fn copied(file: &Path, text: &str, name: &Name) -> Option<String> {
    let kind = &name.kind;
    match file.to_str() {
        Some("src/vendor.rs") => None,
        Some("src/lib.rs") => {
            let (ours, _) = text.split_once(NOT_COPIED)?;
            let code = ours.lines().skip_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
            let head = format!("//! {kind}: which devices it reaches, and where its vendor documents it.");
            Some(name.put_into(&format!("{head}\n{code}\n")))
        }
        Some("Cargo.toml") => {
            let line = |line: &str| match line.split_once(" = ").map(|(key, _)| key) {
                Some("description") => format!("description = \"{kind}\"\n"),
                Some("zh") => format!("zh = \"{kind}\"\n"),
                _ => format!("{line}\n"),
            };
            Some(name.put_into(&text.lines().map(line).collect::<String>()))
        }
        Some("README.md") => Some(format!(
            "# {kind}\n\n## Credentials\n\n`key`: where it is had.\n\n## Limits\n\nOf size, rate, time to live and \
             batch, each with its source.\n\n## Sources\n\nThe vendor's pages.\n"
        )),
        _ => Some(name.put_into(text)),
    }
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(|error| Error::Io { file: folder.to_owned(), error })?;
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(files_of(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The server's manifest with the new package among the others.
fn server_manifest(root: &Path, name: &Name) -> Result<(PathBuf, String), Error> {
    let line = format!("pushgate-{} = {{ path = \"../channels/{}\" }}", name.kind, name.kind);
    with_line(&root.join("server/Cargo.toml"), "pushgate-dummy = ", &line)
}

/// The server's list of kinds with the new one.
fn assembly(root: &Path, name: &Name) -> Result<(PathBuf, String), Error> {
    let line = format!("    (\"{}\", made!(pushgate_{}::{})),", name.kind, name.ident, name.channel);
    with_line(&root.join("server/src/assemble.rs"), "    (\"dummy\", ", &line)
}

/// The file with `line` before the one that begins with `before`.
fn with_line(file: &Path, before: &str, line: &str) -> Result<(PathBuf, String), Error> {
    let text = read(file)?;
    let at = text.find(&format!("\n{before}")).ok_or_else(|| missing(file, before))? + 1;
    Ok((file.to_owned(), format!("{}{line}\n{}", &text[..at], &text[at..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_words_joined_by_dashes() {
        let name = Name::new("acme-push2").unwrap();
        assert_eq!((name.ident.as_str(), name.channel.as_str()), ("acme_push2", "AcmePush2"));
        for wrong in ["", "Acme", "acme_push", "-acme", "acme-", "2acme", "../evil", "acme push"] {
            assert!(Name::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_channel_that_is_there_is_not_written_over() {
        assert!(create(crate::root(), "fcm").is_err());
        assert!(create(crate::root(), "transport").is_err());
    }
}
