//! Creation of a channel: copies `channels/dummy` under another name, and adds it to the server and the READMEs. The copy
//! compiles and passes the conformance suite, but has no push service yet.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Error, missing, read, readme, write};

const TEMPLATE: &str = "channels/dummy";
/// Item of dummy's `lib.rs` that begins the part about its simulated push service, which is not copied.
const END_OF_TEMPLATE: &str = "\nmod vendor;";

/// Spellings of a channel's name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    /// `acme-push`: kind, directory and part of the package's name.
    kind: String,
    /// `acme_push`: part of the crate's name in Rust.
    ident: String,
    /// `AcmePush`: type of the channel.
    channel: String,
}

impl Name {
    fn new(text: &str) -> Result<Self, Error> {
        let is_word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        if !text.split('-').all(is_word) {
            return Err(Error::Usage(format!(
                "invalid name {text:?}: write words of a-z and 0-9, joined by dashes"
            )));
        }
        let capital = |word: &str| format!("{}{}", word[..1].to_ascii_uppercase(), &word[1..]);
        Ok(Self {
            kind: text.to_owned(),
            ident: text.replace('-', "_"),
            channel: text.split('-').map(capital).collect(),
        })
    }

    /// Returns a text of the template with this name.
    fn apply(&self, text: &str) -> String {
        let text = text.replace("pushgate_dummy", &format!("pushgate_{}", self.ident));
        text.replace("dummy", &self.kind).replace("Dummy", &self.channel)
    }
}

/// Creates `channels/NAME`, and adds the channel to the server and the READMEs.
///
/// # Errors
/// [`Error`] if the name is invalid or taken, or the tree does not have the expected files. Then nothing is written.
pub fn create(root: &Path, name: &str) -> Result<(), Error> {
    let name = Name::new(name)?;
    let directory = root.join("channels").join(&name.kind);
    if directory.exists() {
        return Err(Error::Usage(format!("{} already exists: choose another name", directory.display())));
    }
    let mut files = Vec::new();
    for file in files_of(&root.join(TEMPLATE))? {
        let relative = file.strip_prefix(root.join(TEMPLATE)).unwrap_or(&file).to_owned();
        if let Some(text) = copy_of(&relative, &read(&file)?, &name) {
            files.push((directory.join(relative), text));
        }
    }
    files.push(server_manifest(root, &name)?);
    files.push(server_kinds(root, &name)?);
    for (file, text) in
        files.iter_mut().filter(|(file, _)| file.extension().is_some_and(|extension| extension == "rs"))
    {
        *text = formatted(root, file, text)?;
    }
    files.iter().try_for_each(|(file, text)| write(file, text))?;
    readme::update(root)
}

/// Returns the text of a copied file. `None` means that the file is not copied.
fn copy_of(file: &Path, text: &str, name: &Name) -> Option<String> {
    let kind = &name.kind;
    match file.to_str() {
        Some("src/vendor.rs") => None,
        Some("src/lib.rs") => {
            let (template, _) = text.split_once(END_OF_TEMPLATE)?;
            let mut code: Vec<_> = template.lines().skip_while(|line| line.starts_with("//!")).collect();
            // Also leaves out the comment of `mod vendor`.
            while code.pop_if(|line| line.is_empty() || line.starts_with("//")).is_some() {}
            let code = code.join("\n");
            let head =
                format!("//! {kind}: the devices that it reaches, and the push service's documentation.");
            Some(name.apply(&format!("{head}\n{code}\n")))
        }
        Some("Cargo.toml") => {
            let line = |line: &str| match line.split_once(" = ").map(|(key, _)| key) {
                Some("description") => format!("description = \"{kind}\"\n"),
                Some("zh") => format!("zh = \"{kind}\"\n"),
                _ => format!("{line}\n"),
            };
            Some(name.apply(&text.lines().map(line).collect::<String>()))
        }
        Some("README.md") => Some(format!(
            "# {kind}\n\n## Credentials\n\n`key`: where to get it.\n\n## Limits\n\nSize, rate, time to live and \
             batch, each with its source.\n\n## Sources\n\nPages of the push service.\n"
        )),
        _ => Some(name.apply(text)),
    }
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(directory).map_err(|error| Error::Io { file: directory.to_owned(), error })?;
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

/// Formats the source with `rustfmt`. The order of imports and the line breaks depend on the name.
fn formatted(root: &Path, file: &Path, text: &str) -> Result<String, Error> {
    let failed = |why: &str| Error::Tree {
        file: file.to_owned(),
        why: format!("rustfmt failed: {why}; `rustup component add rustfmt` installs rustfmt"),
    };
    rustfmt(root, text)
        .map_err(|error| failed(&error.to_string()))?
        .ok_or_else(|| failed("the source has a syntax error"))
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
    // rustfmt reads all of its input before it writes, so no deadlock is possible. Dropping `input` closes the pipe.
    child.stdin.take().map_or(Ok(()), |mut input| input.write_all(text.as_bytes()))?;
    let output = child.wait_with_output()?;
    Ok(String::from_utf8(output.stdout).ok().filter(|_| output.status.success()))
}

/// Returns the server's manifest with the new package.
fn server_manifest(root: &Path, name: &Name) -> Result<(PathBuf, String), Error> {
    let line = format!("pushgate-{} = {{ path = \"../channels/{}\" }}", name.kind, name.kind);
    with_line(&root.join("server/Cargo.toml"), "pushgate-dummy = ", &line)
}

/// Returns the server's list of kinds with the new one.
fn server_kinds(root: &Path, name: &Name) -> Result<(PathBuf, String), Error> {
    let line = format!("    (\"{}\", constructor!(pushgate_{}::{})),", name.kind, name.ident, name.channel);
    with_line(&root.join("server/src/assemble.rs"), "    (\"dummy\", ", &line)
}

/// Returns the file with `line` inserted before the line that begins with `before`.
fn with_line(file: &Path, before: &str, line: &str) -> Result<(PathBuf, String), Error> {
    let text = read(file)?;
    let offset = text.find(&format!("\n{before}")).ok_or_else(|| missing(file, before))? + 1;
    Ok((file.to_owned(), format!("{}{line}\n{}", &text[..offset], &text[offset..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_consists_of_words_joined_by_dashes() {
        let name = Name::new("acme-push2").unwrap();
        assert_eq!((name.ident.as_str(), name.channel.as_str()), ("acme_push2", "AcmePush2"));
        for invalid in ["", "Acme", "acme_push", "-acme", "acme-", "2acme", "../evil", "acme push"] {
            assert!(Name::new(invalid).is_err(), "{invalid}");
        }
    }

    /// Copies the files that `create` reads.
    fn copy_tree(target: &Path) {
        let mut files = files_of(&crate::root().join("channels")).unwrap();
        let others =
            ["server/Cargo.toml", "server/src/assemble.rs", "rustfmt.toml", "README.md", "README.zh-CN.md"];
        files.extend(others.map(|file| crate::root().join(file)));
        for file in files {
            let copied = target.join(file.strip_prefix(crate::root()).unwrap());
            fs::create_dir_all(copied.parent().unwrap()).unwrap();
            fs::copy(&file, copied).unwrap();
        }
    }

    #[test]
    fn a_new_channel_is_formatted_whatever_its_name() {
        let tree = tempfile::tempdir().unwrap();
        copy_tree(tree.path());
        for name in ["acme", "zeta", "a-service-whose-name-is-long-enough-to-break-a-line-of-code"] {
            create(tree.path(), name).unwrap();
            let mut sources = files_of(&tree.path().join("channels").join(name)).unwrap();
            sources.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
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
    fn an_existing_channel_is_not_overwritten() {
        assert!(create(crate::root(), "fcm").is_err());
        assert!(create(crate::root(), "transport").is_err());
    }
}
