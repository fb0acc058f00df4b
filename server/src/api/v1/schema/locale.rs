//! Shape of a BCP 47 language tag.

/// Returns `true` for a language with subtags, such as `de`, `zh-Hans-CN` or `sl-rozaj`. Java's `_` counts as `-`.
pub(super) fn is_locale(text: &str) -> bool {
    let mut subtags = text.split(['-', '_']);
    let language = subtags.next().unwrap_or_default();
    let is_language = (2..=8).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_alphabetic());
    let fits =
        |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric());
    is_language && subtags.all(fits)
}

#[cfg(test)]
mod tests {
    use super::is_locale;

    #[test]
    fn language_tags_are_locales_and_other_text_is_not() {
        for locale in ["de", "zh-Hans-CN", "zh_CN", "en-US-u-hc-h23", "sl-rozaj-biske", "es-419", "yue"] {
            assert!(is_locale(locale), "{locale}");
        }
        for other in ["", "d", "de-", "-de", "en_US.UTF-8", "english (US)", "de--AT", "中文", "en-toolongsub"]
        {
            assert!(!is_locale(other), "{other}");
        }
    }
}
