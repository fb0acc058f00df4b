//! A new channel: a copy of `channels/dummy` under another name, known to the server and to the READMEs. The copy compiles
//! and keeps every promise of the conformance suite; what it lacks is a vendor.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    for (file, text) in files.iter_mut().filter(|(file, _)| file.extension().is_some_and(|it| it == "rs")) {
        *text = formatted(root, file, text)?;
    }
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

/// Returns the source as `rustfmt` writes it. Another name sorts its import to another line, so no mould fits every name.
fn formatted(root: &Path, file: &Path, text: &str) -> Result<String, Error> {
    let failed = |why: &str| Error::Tree {
        file: file.to_owned(),
        why: format!("rustfmt does not format it: {why}; `rustup component add rustfmt` installs rustfmt"),
    };
    rustfmt(root, text).map_err(|error| failed(&error.to_string()))?.ok_or_else(|| failed("it has an error"))
}

/// Runs `rustfmt` with the tree's settings. `None` means that it refuses the text.
fn rustfmt(root: &Path, text: &str) -> io::Result<Option<String>> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // It reads all of its input before it writes, so neither side waits for the other. The pipe closes when this is dropped.
    child.stdin.take().map_or(Ok(()), |mut input| input.write_all(text.as_bytes()))?;
    let output = child.wait_with_output()?;
    Ok(String::from_utf8(output.stdout).ok().filter(|_| output.status.success()))
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

    /// What `create` reads of the tree.
    fn copy_of_the_tree(to: &Path) {
        let mut files = files_of(&crate::root().join("channels")).unwrap();
        let others =
            ["server/Cargo.toml", "server/src/assemble.rs", "rustfmt.toml", "README.md", "README.zh-CN.md"];
        files.extend(others.map(|file| crate::root().join(file)));
        for file in files {
            let copied = to.join(file.strip_prefix(crate::root()).unwrap());
            fs::create_dir_all(copied.parent().unwrap()).unwrap();
            fs::copy(&file, copied).unwrap();
        }
    }

    #[test]
    fn a_new_channel_is_formatted_whatever_its_name() {
        let tree = tempfile::tempdir().unwrap();
        copy_of_the_tree(tree.path());
        for name in ["acme", "zeta", "a-service-whose-name-is-long-enough-to-break-a-line-of-code"] {
            create(tree.path(), name).unwrap();
            let mut sources = files_of(&tree.path().join("channels").join(name)).unwrap();
            sources.retain(|file| file.extension().is_some_and(|it| it == "rs"));
            assert!(sources.len() > 5, "{sources:?}");
            sources.push(tree.path().join("server/src/assemble.rs"));
            for file in sources {
                let text = read(&file).unwrap();
                let formatted = rustfmt(tree.path(), &text).unwrap();
                assert_eq!(formatted.as_deref(), Some(&*text), "{}", file.display());
            }
        }
    }

    #[test]
    fn a_channel_that_is_there_is_not_written_over() {
        assert!(create(crate::root(), "fcm").is_err());
        assert!(create(crate::root(), "transport").is_err());
    }
}
