//! Tables of channels in both READMEs, generated from the channels' capabilities. Changes only the text between the two
//! markers.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, missing, read, write};

const BEGIN: &str = "<!-- channels: `cargo xtask readme` writes this table -->\n";
const END: &str = "<!-- channels: end -->\n";

/// Content of a channel's `capability.json` that the tables show.
#[derive(Debug, Deserialize)]
struct Declaration {
    kind: String,
    capability: Capability,
}

#[derive(Debug, Deserialize)]
struct Capability {
    max_batch: u64,
    max_bytes: u64,
    tokens: Vec<String>,
    collapse: bool,
    priority: bool,
    badge: bool,
    silent: bool,
    image: bool,
    receipts: bool,
}

impl Capability {
    fn options(&self) -> [bool; 6] {
        [self.collapse, self.priority, self.badge, self.silent, self.image, self.receipts]
    }
}

struct Channel {
    directory: String,
    /// Description of the package in English and Chinese. Without a Chinese one, the English one is used for both.
    service: [String; 2],
    declaration: Declaration,
}

/// Language of a README.
struct Language {
    file: &'static str,
    /// Header rows of the table.
    head: &'static str,
    /// Names of the options, in the order of [`Capability::options`].
    options: [&'static str; 6],
    /// Separator in lists.
    separator: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language {
        file: "README.md",
        head: "| kind | push service | tokens | batch | bytes | can |\n|---|---|---|---|---|---|\n",
        options: ["collapse", "priority", "badge", "silent", "image", "receipts"],
        separator: ", ",
    },
    Language {
        file: "README.zh-CN.md",
        head: "| kind | 推送服务 | 令牌 | 批量 | 字节 | 支持 |\n|---|---|---|---|---|---|\n",
        options: ["折叠", "优先级", "角标", "静默", "图片", "回执"],
        separator: "、",
    },
];

/// Returns both READMEs with current tables: path and text.
///
/// # Errors
/// [`Error`] if a channel has no valid `capability.json` or description, or a README has no markers.
pub fn texts(root: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let channels = channels(root)?;
    let update = |(language_index, language): (usize, &Language)| {
        let file = root.join(language.file);
        let text = read(&file)?;
        let (before, rest) = text.split_once(BEGIN).ok_or_else(|| missing(&file, BEGIN.trim()))?;
        let (_, after) = rest.split_once(END).ok_or_else(|| missing(&file, END.trim()))?;
        let rows: String = channels.iter().map(|channel| row(channel, language_index, language)).collect();
        Ok((file, format!("{before}{BEGIN}\n{}{rows}\n{END}{after}", language.head)))
    };
    LANGUAGES.iter().enumerate().map(update).collect()
}

/// Writes both READMEs with current tables.
///
/// # Errors
/// As for [`texts`].
pub fn update(root: &Path) -> Result<(), Error> {
    texts(root)?.into_iter().try_for_each(|(file, text)| write(&file, &text))
}

fn row(channel: &Channel, language_index: usize, language: &Language) -> String {
    let Declaration { kind, capability } = &channel.declaration;
    let tokens: Vec<_> = capability.tokens.iter().map(|token| format!("`{token}`")).collect();
    let supported = language
        .options
        .iter()
        .zip(capability.options())
        .filter(|(_, is_supported)| *is_supported)
        .map(|(word, _)| *word);
    format!(
        "| [`{kind}`](channels/{}) | {} | {} | {} | {} | {} |\n",
        channel.directory,
        channel.service[language_index],
        tokens.join(language.separator),
        thousands(capability.max_batch),
        thousands(capability.max_bytes),
        supported.collect::<Vec<_>>().join(language.separator),
    )
}

fn thousands(number: u64) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", thousands(number / 1000), number % 1000)
    }
}

/// Returns the channels that have a `capability.json`, sorted by kind. Dummy comes last.
fn channels(root: &Path) -> Result<Vec<Channel>, Error> {
    let directory = root.join("channels");
    let entries = fs::read_dir(&directory).map_err(|error| Error::Io { file: directory, error })?;
    let directories =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("capability.json").exists());
    let mut channels = directories.map(|path| channel(&path)).collect::<Result<Vec<_>, _>>()?;
    channels.sort_by_key(|channel| (channel.declaration.kind == "dummy", channel.declaration.kind.clone()));
    Ok(channels)
}

fn channel(directory: &Path) -> Result<Channel, Error> {
    let file = directory.join("capability.json");
    let declaration = serde_json::from_str(&read(&file)?)
        .map_err(|error| Error::Tree { file: file.clone(), why: error.to_string() })?;
    let manifest = directory.join("Cargo.toml");
    let text = read(&manifest)?;
    let value = |key: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
        line.map(|line| line.trim_end_matches(['.', '。']).to_owned())
    };
    let english = value("description").ok_or_else(|| missing(&manifest, "a description"))?;
    let chinese = value("zh").unwrap_or_else(|| english.clone());
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Channel { directory: name, service: [english, chinese], declaration })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_channels_say_what_the_channels_declare() {
        for (file, text) in texts(crate::root()).unwrap() {
            assert_eq!(
                read(&file).unwrap(),
                text,
                "{} is outdated: run `cargo xtask readme`",
                file.display()
            );
        }
    }

    #[test]
    fn numbers_have_thousands_separators() {
        assert_eq!([1, 999, 4096, 1_000_007].map(thousands), ["1", "999", "4,096", "1,000,007"]);
    }
}
