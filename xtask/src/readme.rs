//! The tables of channels in both READMEs, made of what the channels declare. Writes between the two marks only.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, missing, read, write};

const BEGIN: &str = "<!-- channels: `cargo xtask readme` writes this table -->\n";
const END: &str = "<!-- channels: end -->\n";

/// What stands in a channel's `capability.json`, as far as the tables show it.
#[derive(Debug, Deserialize)]
struct Declared {
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
    folder: String,
    /// What the package says of itself, in English, and in Chinese where it does.
    service: [String; 2],
    declared: Declared,
}

/// One README: its file, the head of its table, the words for what a channel can do, what stands between two words.
struct Language {
    file: &'static str,
    head: &'static str,
    options: [&'static str; 6],
    comma: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language {
        file: "README.md",
        head: "| kind | push service | tokens | batch | bytes | can |\n|---|---|---|---|---|---|\n",
        options: ["collapse", "priority", "badge", "silent", "image", "receipts"],
        comma: ", ",
    },
    Language {
        file: "README.zh-CN.md",
        head: "| kind | 推送服务 | 令牌 | 批量 | 字节 | 支持 |\n|---|---|---|---|---|---|\n",
        options: ["折叠", "优先级", "角标", "静默", "图片", "回执"],
        comma: "、",
    },
];

/// Both READMEs as they should be: file and text.
///
/// # Errors
/// When a channel or a README has not what the table is made of.
pub fn texts(root: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let channels = channels(root)?;
    let text = |(number, language): (usize, &Language)| {
        let file = root.join(language.file);
        let old = read(&file)?;
        let (before, rest) = old.split_once(BEGIN).ok_or_else(|| missing(&file, BEGIN.trim()))?;
        let (_, after) = rest.split_once(END).ok_or_else(|| missing(&file, END.trim()))?;
        let rows: String = channels.iter().map(|channel| row(channel, number, language)).collect();
        Ok((file, format!("{before}{BEGIN}\n{}{rows}\n{END}{after}", language.head)))
    };
    LANGUAGES.iter().enumerate().map(text).collect()
}

/// Writes both.
///
/// # Errors
/// As for [`texts`].
pub fn update(root: &Path) -> Result<(), Error> {
    texts(root)?.into_iter().try_for_each(|(file, text)| write(&file, &text))
}

fn row(channel: &Channel, number: usize, language: &Language) -> String {
    let Declared { kind, capability } = &channel.declared;
    let tokens: Vec<_> = capability.tokens.iter().map(|token| format!("`{token}`")).collect();
    let can =
        language.options.iter().zip(capability.options()).filter(|(_, can)| *can).map(|(word, _)| *word);
    format!(
        "| [`{kind}`](channels/{}) | {} | {} | {} | {} | {} |\n",
        channel.folder,
        channel.service[number],
        tokens.join(language.comma),
        thousands(capability.max_batch),
        thousands(capability.max_bytes),
        can.collect::<Vec<_>>().join(language.comma),
    )
}

fn thousands(number: u64) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", thousands(number / 1000), number % 1000)
    }
}

/// Every folder that declares something, by kind; the one without a vendor last.
fn channels(root: &Path) -> Result<Vec<Channel>, Error> {
    let folder = root.join("channels");
    let entries = fs::read_dir(&folder).map_err(|error| Error::Io { file: folder, error })?;
    let folders =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("capability.json").exists());
    let mut channels = folders.map(|path| channel(&path)).collect::<Result<Vec<_>, _>>()?;
    channels.sort_by_key(|channel| (channel.declared.kind == "dummy", channel.declared.kind.clone()));
    Ok(channels)
}

fn channel(folder: &Path) -> Result<Channel, Error> {
    let file = folder.join("capability.json");
    let declared = serde_json::from_str(&read(&file)?)
        .map_err(|error| Error::Tree { file: file.clone(), why: error.to_string() })?;
    let manifest = folder.join("Cargo.toml");
    let text = read(&manifest)?;
    let value = |key: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
        line.map(|line| line.trim_end_matches(['.', '。']).to_owned())
    };
    let english = value("description").ok_or_else(|| missing(&manifest, "a description"))?;
    let chinese = value("zh").unwrap_or_else(|| english.clone());
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Channel { folder: name, service: [english, chinese], declared })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_channels_say_what_the_channels_declare() {
        for (file, text) in texts(crate::root()).unwrap() {
            assert_eq!(read(&file).unwrap(), text, "{}: `cargo xtask readme` writes it", file.display());
        }
    }

    #[test]
    fn numbers_are_written_in_threes() {
        assert_eq!([1, 999, 4096, 1_000_007].map(thousands), ["1", "999", "4,096", "1,000,007"]);
    }
}
