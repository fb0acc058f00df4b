//! Lookup of the text for a device's language. BCP 47 tags are compared as RFC 4647 §3.4 does. Where that finds nothing
//! or the wrong script, likely subtags decide: an iPhone reports `zh-Hans-CN` where a template has `zh-CN`.
//!
//! The two tables come from CLDR's likely subtags (`supplemental/likelySubtags`, CLDR 45). They hold the languages of more
//! than one script, and the regions of widespread languages. UTS #35 §4.3 describes their use.

/// Language, its usual script, and other scripts with the regions that use them.
type Scripts = (&'static str, &'static str, &'static [(&'static str, &'static [&'static str])]);

/// Languages of more than one script. Scripts are not compared for other languages.
const SCRIPTS: &[Scripts] = &[
    ("az", "latn", &[("arab", &["iq", "ir"]), ("cyrl", &["ru"])]),
    ("bs", "latn", &[]),
    ("ha", "latn", &[("arab", &["cm", "sd"])]),
    ("hi", "deva", &[]),
    ("kk", "cyrl", &[("arab", &["af", "cn", "ir", "mn"])]),
    ("ku", "latn", &[("arab", &["lb"])]),
    ("ky", "cyrl", &[("arab", &["cn"]), ("latn", &["tr"])]),
    ("mn", "cyrl", &[("mong", &["cn"])]),
    ("ms", "latn", &[("arab", &["cc"])]),
    ("pa", "guru", &[("arab", &["pk"])]),
    ("sd", "arab", &[("deva", &["in"])]),
    ("sr", "cyrl", &[("latn", &["me", "ro", "ru", "tr"])]),
    ("tg", "cyrl", &[("arab", &["pk"])]),
    ("ug", "arab", &[("cyrl", &["kz", "mn"])]),
    ("uz", "latn", &[("arab", &["af"]), ("cyrl", &["cn"])]),
    ("yue", "hant", &[("hans", &["cn"])]),
    ("zh", "hans", &[("hant", ZH_HANT)]),
];

/// Regions in which Chinese is written in traditional characters.
const ZH_HANT: &[&str] =
    &["au", "bn", "gb", "gf", "hk", "id", "mo", "pa", "pf", "ph", "sr", "th", "tw", "us", "vn"];

/// Most likely region of a language, or of a language in one of its scripts.
const REGIONS: &[(&str, &str)] = &[
    ("ar", "eg"),
    ("az", "az"),
    ("bn", "bd"),
    ("cs", "cz"),
    ("da", "dk"),
    ("de", "de"),
    ("el", "gr"),
    ("en", "us"),
    ("es", "es"),
    ("fa", "ir"),
    ("fil", "ph"),
    ("fr", "fr"),
    ("he", "il"),
    ("hi", "in"),
    ("hu", "hu"),
    ("id", "id"),
    ("it", "it"),
    ("ja", "jp"),
    ("kk", "kz"),
    ("ko", "kr"),
    ("ms", "my"),
    ("nb", "no"),
    ("nl", "nl"),
    ("pa", "in"),
    ("pa-arab", "pk"),
    ("pl", "pl"),
    ("pt", "br"),
    ("ro", "ro"),
    ("ru", "ru"),
    ("sr", "rs"),
    ("sv", "se"),
    ("sw", "tz"),
    ("ta", "in"),
    ("th", "th"),
    ("tr", "tr"),
    ("uk", "ua"),
    ("ur", "pk"),
    ("uz", "uz"),
    ("vi", "vn"),
    ("yue", "hk"),
    ("yue-hans", "cn"),
    ("zh", "cn"),
    ("zh-hant", "tw"),
];

/// Outdated language codes that devices still send, with their replacements.
const ALIASES: &[(&str, &str)] = &[("cmn", "zh"), ("in", "id"), ("iw", "he"), ("no", "nb"), ("tl", "fil")];

/// Language tag with its language, script and region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Locale {
    /// Lower case, with `-` between the subtags.
    tag: String,
    language: String,
    /// Named in the tag, or else likely. `None` means that the language has one script.
    script: Option<String>,
    /// Named in the tag. `None` means that the tag names no region.
    region: Option<String>,
    /// Named in the tag, or else likely. `None` means that neither is known.
    likely_region: Option<String>,
}

impl Locale {
    /// Parses a tag. Ignores case and accepts `_` for `-`. A text that is no tag matches only itself.
    pub(crate) fn parse(text: &str) -> Self {
        // POSIX names carry an encoding after the tag.
        let text = text.split(['.', '@']).next().unwrap_or_default();
        let tag = text.replace('_', "-").to_ascii_lowercase();
        let mut subtags = tag.split('-');
        let language = subtags.next().unwrap_or_default();
        let language = find(ALIASES, language).unwrap_or(language).to_owned();
        let (mut script, mut region) = (None, None);
        for subtag in subtags {
            match subtag.len() {
                // A single letter or digit begins an extension of the tag.
                1 => break,
                4 if script.is_none() && is_alphabetic(subtag) => script = Some(subtag.to_owned()),
                2 if region.is_none() && is_alphabetic(subtag) => region = Some(subtag.to_owned()),
                3 if region.is_none() && subtag.bytes().all(|byte| byte.is_ascii_digit()) => {
                    region = Some(subtag.to_owned());
                }
                _ => {}
            }
        }
        let likely_script = likely_script(&language, region.as_deref());
        let script = likely_script.map(|likely| script.unwrap_or_else(|| likely.to_owned()));
        let likely_region = region.clone().or_else(|| likely_region(&language, script.as_deref()));
        Self { tag, language, script, region, likely_region }
    }

    /// Returns the tag in lower case, with `-` between the subtags.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the rank of a text in this language for a device that prefers `wanted`; 0 is best. `None` means that the
    /// user may be unable to read it.
    pub(crate) fn rank(&self, wanted: &Self) -> Option<u8> {
        if self.tag == wanted.tag {
            return Some(0);
        }
        if self.language != wanted.language {
            return None;
        }
        if self.script != wanted.script {
            // A template uses the bare language for all speakers, whatever script they read.
            return (self.tag == self.language).then_some(6);
        }
        let is_truncation = wanted.tag.strip_prefix(&self.tag).is_some_and(|rest| rest.starts_with('-'));
        let rank = if self.region.is_some() && self.region == wanted.likely_region {
            1
        } else if is_truncation {
            2
        } else if self.region.is_none() {
            3
        } else if self.likely_region == likely_region(&self.language, self.script.as_deref()) {
            4
        } else {
            5
        };
        Some(rank)
    }
}

fn is_alphabetic(subtag: &str) -> bool {
    subtag.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn find<'a>(table: &[(&str, &'a str)], key: &str) -> Option<&'a str> {
    table.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}

/// Returns the script in which a language is written in a region. `None` means that the language has one script.
fn likely_script(language: &str, region: Option<&str>) -> Option<&'static str> {
    let (_, usual, others) = SCRIPTS.iter().find(|(name, _, _)| *name == language)?;
    let of_region = others.iter().find(|(_, regions)| region.is_some_and(|region| regions.contains(&region)));
    Some(of_region.map_or(*usual, |(script, _)| *script))
}

fn likely_region(language: &str, script: Option<&str>) -> Option<String> {
    let with_script = script.and_then(|script| find(REGIONS, &format!("{language}-{script}")));
    with_script.or_else(|| find(REGIONS, language)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that a device gets, by its tag. `None` means the default text.
    fn best<'a>(wanted: &str, available: &[&'a str]) -> Option<&'a str> {
        let wanted = Locale::parse(wanted);
        let ranked = available.iter().filter_map(|tag| Some((Locale::parse(tag).rank(&wanted)?, *tag)));
        ranked.min().map(|(_, tag)| tag)
    }

    #[test]
    fn the_script_of_chinese_decides_and_neither_script_is_shown_for_the_other() {
        let simplified = [
            "zh-CN",
            "zh-Hans",
            "zh-Hans-CN",
            "zh-Hans-SG",
            "zh-SG",
            "zh",
            "zh_CN",
            "zh-Hans-HK",
            "cmn",
            "zh-MY",
        ];
        for wanted in simplified {
            assert_eq!(best(wanted, &["zh-CN", "zh-TW"]), Some("zh-CN"), "{wanted}");
            assert_eq!(best(wanted, &["zh-Hans", "zh-Hant"]), Some("zh-Hans"), "{wanted}");
            assert_eq!(best(wanted, &["zh-TW"]), None, "{wanted}");
        }
        let traditional = [
            "zh-TW",
            "zh-Hant",
            "zh-Hant-TW",
            "zh-HK",
            "zh-Hant-HK",
            "zh-MO",
            "zh_TW.UTF-8",
            "zh-Hant-CN",
            "zh-US",
        ];
        for wanted in traditional {
            assert_eq!(best(wanted, &["zh-CN", "zh-TW"]), Some("zh-TW"), "{wanted}");
            assert_eq!(best(wanted, &["zh", "zh-Hant"]), Some("zh-Hant"), "{wanted}");
            assert_eq!(best(wanted, &["zh-CN", "zh-Hans"]), None, "{wanted}");
        }
    }

    #[test]
    fn the_nearest_text_of_a_language_is_found() {
        let rows: &[(&str, &[&str], Option<&str>)] = &[
            ("zh-HK", &["zh-TW", "zh-HK", "zh-Hant"], Some("zh-HK")),
            ("zh-HK", &["zh-TW", "zh-Hant"], Some("zh-Hant")),
            ("zh-Hans-CN", &["zh", "zh-CN"], Some("zh-CN")),
            ("zh-TW", &["zh"], Some("zh")),
            ("pt", &["pt-PT", "pt-BR"], Some("pt-BR")),
            ("pt-PT", &["pt", "pt-BR"], Some("pt")),
            ("pt-AO", &["pt-PT"], Some("pt-PT")),
            ("en", &["en-AU", "en-GB", "en-US"], Some("en-US")),
            ("en-GB", &["en-US", "en"], Some("en")),
            ("en-IN", &["en-GB", "en-US"], Some("en-US")),
            ("en-Latn-US", &["en-GB", "en-US"], Some("en-US")),
            ("es-MX", &["es-419", "es"], Some("es")),
            ("sr-Latn", &["sr", "sr-Latn-RS"], Some("sr-Latn-RS")),
            ("sr-ME", &["sr-Cyrl", "sr-Latn"], Some("sr-Latn")),
            ("sr-Latn", &["sr-Cyrl"], None),
            ("sr", &["sr-Latn", "sr-RS"], Some("sr-RS")),
            ("hi-Latn", &["hi-IN"], None),
            ("de-CH-1996-u-co-phonebk", &["de-CH", "de"], Some("de-CH")),
            ("de", &["de-AT", "de-DE"], Some("de-DE")),
            ("iw-IL", &["he"], Some("he")),
            ("fr", &["de", "en"], None),
            ("", &["de"], None),
            ("x", &["x", "de"], Some("x")),
        ];
        for (wanted, available, expected) in rows {
            assert_eq!(best(wanted, available), *expected, "{wanted} of {available:?}");
        }
    }
}
