//! Templates for title, content and payload. They are compiled at load and rendered at submission, so that the caller gets
//! the errors. A render has a budget (fuel) and cannot read files. An undefined variable is an error, never an empty text.

mod names;

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value};

use crate::ids::TemplateName;
use crate::locale::Locale;
use crate::secret::Secret;

/// Texts of a template in one language. A missing part is taken from a less specific language, or from the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variant {
    /// First text on the screen.
    pub title: Option<String>,
    /// Text below the title.
    pub content: Option<String>,
    /// Data for the app. `{{ value | tojson }}` writes a variable as JSON.
    pub payload: Option<String>,
}

/// Source of a template: a default language and variants by BCP 47 tag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateSource {
    /// Texts for devices whose locale no variant matches.
    pub default: Variant,
    /// Variants by locale (`zh-CN`, `zh`). Tags are compared without regard to case, and may have `_` for `-`.
    /// [`Templates::render`] describes the selection.
    pub locales: BTreeMap<String, Variant>,
}

/// Failure to compile or render a template. Names variables, never their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no template with this name.
    #[error("there is no template `{0}`")]
    Unknown(TemplateName),
    /// The source does not compile.
    #[error("template `{template}`, {part}: {why}")]
    Source {
        /// Name of the template.
        template: TemplateName,
        /// Language and part (`zh-CN content`).
        part: String,
        /// Key of the text under the template, dotted (`locales.zh-CN.content`).
        key: String,
        /// Message of the compiler, with the line.
        why: String,
    },
    /// The template could not be rendered with the given variables.
    #[error("template `{template}`, {part}: {why}")]
    Render {
        /// Name of the template.
        template: TemplateName,
        /// Language and part.
        part: String,
        /// Missing or invalid variable.
        why: String,
    },
}

/// Texts of a rendered template for one locale. `None` means that the template has no such part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// First text on the screen.
    pub title: Option<Secret>,
    /// Text below the title.
    pub content: Option<Secret>,
    /// Data for the app.
    pub payload: Option<Secret>,
}

/// Compiled templates of one app.
pub struct Templates {
    env: Environment<'static>,
    variants: BTreeMap<TemplateName, Variants>,
}

/// Compiled languages of one template, and the parts that each has.
struct Variants {
    default: [bool; 3],
    locales: Vec<(Locale, [bool; 3])>,
}

impl Variants {
    /// Returns the languages that suit a device with this locale, best first, without the default.
    fn ranked<'a>(&'a self, wanted: Option<&str>) -> Vec<&'a (Locale, [bool; 3])> {
        let Some(wanted) = wanted.filter(|_| !self.locales.is_empty()).map(Locale::parse) else {
            return Vec::new();
        };
        let rank = |variant: &'a (Locale, [bool; 3])| Some((variant.0.rank(&wanted)?, variant));
        let mut ranked: Vec<_> = self.locales.iter().filter_map(rank).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, variant)| variant).collect()
    }
}

const PARTS: [&str; 3] = ["title", "content", "payload"];
/// Budget of one render in minijinja's fuel units. An ordinary text takes a few hundred (about 475 ns). This is far above
/// any sensible text and far below a noticeable delay.
const FUEL: u64 = 50_000;
/// Maximum size of a rendered part in bytes, above the limit of every channel.
const MAX_OUTPUT: usize = 64 * 1024;

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.variants.keys()).finish()
    }
}

impl Default for Templates {
    fn default() -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_fuel(Some(FUEL));
        // Texts are not HTML, and reach JSON by serialisation.
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        Self { env, variants: BTreeMap::new() }
    }
}

impl Templates {
    /// Checks, compiles and adds a template.
    ///
    /// # Errors
    /// Returns [`TemplateError::Source`] with language, part and line.
    pub fn add(&mut self, name: TemplateName, source: TemplateSource) -> Result<(), TemplateError> {
        if let Some(error) = self.check(&name, &source).into_iter().next() {
            return Err(error);
        }
        let default = self.compile(&name, "", source.default)?;
        let mut locales = Vec::with_capacity(source.locales.len());
        for (locale, variant) in source.locales {
            let locale = Locale::parse(&locale);
            let has = self.compile(&name, locale.tag(), variant)?;
            locales.push((locale, has));
        }
        self.variants.insert(name, Variants { default, locales });
        Ok(())
    }

    /// Returns all errors of a template: invalid syntax, and filters, tests and functions that do not exist.
    #[must_use]
    pub fn check(&self, name: &TemplateName, source: &TemplateSource) -> Vec<TemplateError> {
        let locales = source.locales.iter().map(|(locale, variant)| (locale.as_str(), variant));
        let mut errors = Vec::new();
        for (locale, variant) in std::iter::once(("", &source.default)).chain(locales) {
            for (part_name, text) in
                PARTS.into_iter().zip([&variant.title, &variant.content, &variant.payload])
            {
                let Some(why) = text.as_ref().and_then(|text| self.problem(text)) else { continue };
                let key = match locale {
                    "" => part_name.to_owned(),
                    locale => format!("locales.{locale}.{part_name}"),
                };
                let (template, part) = (name.clone(), part(locale, part_name));
                errors.push(TemplateError::Source { template, part, key, why });
            }
        }
        errors
    }

    fn problem(&self, text: &str) -> Option<String> {
        let template = match self.env.template_from_str(text) {
            Ok(template) => template,
            Err(error) => return Some(reason(&error)),
        };
        let undeclared = template.undeclared_variables(false);
        names::unknown(&self.env, text, |name| undeclared.contains(name))
    }

    fn compile(
        &mut self,
        name: &TemplateName,
        locale: &str,
        variant: Variant,
    ) -> Result<[bool; 3], TemplateError> {
        let mut has = [false; 3];
        for (i, source) in [variant.title, variant.content, variant.payload].into_iter().enumerate() {
            let Some(source) = source else { continue };
            has[i] = true;
            self.env.add_template_owned(key(name, locale, PARTS[i]), source).map_err(|error| {
                TemplateError::Source {
                    template: name.clone(),
                    part: part(locale, PARTS[i]),
                    key: PARTS[i].to_owned(),
                    why: reason(&error),
                }
            })?;
        }
        Ok(has)
    }

    /// Renders a template for one locale. Each part comes from the first of these variants that has it:
    ///
    /// 1. the variant of exactly this locale
    /// 2. one of the same language, script and region
    /// 3. one with a shorter tag of the locale (RFC 4647 lookup)
    /// 4. another one of the same language and script
    /// 5. the one of the bare language
    /// 6. the default
    ///
    /// The likely script counts if a tag names none: `zh-Hans-CN` and `zh` get `zh-CN`. `zh-HK` gets `zh-TW`, never `zh-CN`.
    ///
    /// # Errors
    /// Returns [`TemplateError::Unknown`], or [`TemplateError::Render`] with the missing variable.
    pub fn render(
        &self,
        name: &TemplateName,
        locale: Option<&str>,
        vars: &Map<String, Value>,
    ) -> Result<Text, TemplateError> {
        let variants = self.variants.get(name).ok_or_else(|| TemplateError::Unknown(name.clone()))?;
        let ranked = variants.ranked(locale);
        let render_part = |i: usize| -> Result<Option<Secret>, TemplateError> {
            let best = ranked.iter().find(|(_, has)| has[i]).map(|(locale, _)| locale.tag());
            let Some(locale) = best.or(variants.default[i].then_some("")) else { return Ok(None) };
            self.render_variant(name, locale, PARTS[i], vars).map(Some)
        };
        Ok(Text { title: render_part(0)?, content: render_part(1)?, payload: render_part(2)? })
    }

    fn render_variant(
        &self,
        name: &TemplateName,
        locale: &str,
        part_name: &str,
        vars: &Map<String, Value>,
    ) -> Result<Secret, TemplateError> {
        let fail = |why: String| TemplateError::Render {
            template: name.clone(),
            part: part(locale, part_name),
            why,
        };
        let template = self.env.get_template(&key(name, locale, part_name)).map_err(|e| fail(reason(&e)))?;
        let text = template.render(minijinja::value::Serde(vars)).map_err(|error| match error.kind() {
            minijinja::ErrorKind::UndefinedError => {
                let missing: Vec<_> = template
                    .undeclared_variables(false)
                    .into_iter()
                    .filter(|v| !vars.contains_key(v))
                    .collect();
                fail(format!("undefined variable; it uses {} and was not given them", list(missing)))
            }
            _ => fail(reason(&error)),
        })?;
        if text.len() > MAX_OUTPUT {
            return Err(fail(format!("gives {} bytes; at most {MAX_OUTPUT} are taken", text.len())));
        }
        Ok(text.into())
    }
}

fn key(name: &TemplateName, locale: &str, part: &str) -> String {
    format!("{name}/{locale}/{part}")
}

fn part(locale: &str, part: &str) -> String {
    if locale.is_empty() { part.to_owned() } else { format!("{locale} {part}") }
}

/// Returns kind and line of an error. Only syntax errors keep minijinja's detail, because other details may quote a value.
fn reason(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    match error.kind() {
        minijinja::ErrorKind::SyntaxError => {
            format!("{}{line}", error.detail().unwrap_or("syntax error"))
        }
        kind => format!("{kind}{line}"),
    }
}

fn list(mut names: Vec<String>) -> String {
    if names.is_empty() {
        return "an attribute of a variable".to_owned();
    }
    names.sort();
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(title: &str, content: &str) -> Variant {
        Variant { title: Some(title.into()), content: Some(content.into()), payload: None }
    }

    fn name() -> TemplateName {
        TemplateName::new("message").unwrap()
    }

    fn templates(source: TemplateSource) -> Templates {
        let mut templates = Templates::default();
        templates.add(name(), source).unwrap();
        templates
    }

    fn vars(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_exact_locale_wins_then_the_language_then_the_default() {
        let mut source =
            TemplateSource { default: variant("{{ who }} wrote", "{{ text }}"), ..Default::default() };
        source.locales.insert(
            "zh-CN".into(),
            Variant { title: Some("{{ who }} 发来消息".into()), ..Default::default() },
        );
        source.locales.insert("zh".into(), variant("{{ who }} 發來", "内容：{{ text }}"));
        let templates = templates(source);
        let vars = vars(serde_json::json!({"who": "Ann", "text": "hi"}));
        let title = |locale| {
            let text = templates.render(&name(), locale, &vars).unwrap();
            (text.title.unwrap().expose().to_owned(), text.content.unwrap().expose().to_owned())
        };
        assert_eq!(title(Some("zh_cn")), ("Ann 发来消息".into(), "内容：hi".into()));
        assert_eq!(title(Some("zh-TW")), ("Ann 發來".into(), "内容：hi".into()));
        assert_eq!(title(Some("fr")), ("Ann wrote".into(), "hi".into()));
        assert_eq!(title(None), ("Ann wrote".into(), "hi".into()));
    }

    #[test]
    fn a_device_with_zh_hans_cn_gets_the_text_of_zh_cn() {
        let mut source = TemplateSource { default: variant("hi", "text"), ..Default::default() };
        source.locales.insert("zh-CN".into(), variant("你好", "内容"));
        source.locales.insert("zh-TW".into(), variant("你好", "內容"));
        let templates = templates(source);
        let content = |locale| {
            let text = templates.render(&name(), Some(locale), &Map::new()).unwrap();
            text.content.unwrap().expose().to_owned()
        };
        for locale in ["zh-Hans-CN", "zh-Hans", "zh", "zh-CN"] {
            assert_eq!(content(locale), "内容", "{locale}");
        }
        for locale in ["zh-Hant-TW", "zh-Hant", "zh-HK", "zh-TW"] {
            assert_eq!(content(locale), "內容", "{locale}");
        }
        assert_eq!(content("ja-JP"), "text");
    }

    #[test]
    fn an_undefined_variable_is_an_error_that_names_it_and_no_value() {
        let templates =
            templates(TemplateSource { default: variant("{{ who }}", "{{ text }}"), ..Default::default() });
        let error = templates.render(&name(), None, &vars(serde_json::json!({"who": "s3cret"}))).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`text`") && text.contains("content") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn a_template_that_loops_runs_out_of_fuel() {
        let endless = "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}";
        let templates = templates(TemplateSource { default: variant(endless, ""), ..Default::default() });
        assert!(matches!(templates.render(&name(), None, &Map::new()), Err(TemplateError::Render { .. })));
    }

    #[test]
    fn a_syntax_error_is_found_at_load() {
        let mut templates = Templates::default();
        let error = templates
            .add(name(), TemplateSource { default: variant("{{ who", ""), ..Default::default() })
            .unwrap_err();
        assert!(error.to_string().contains("`message`, title"), "{error}");
    }

    #[test]
    fn a_filter_test_or_function_that_does_not_exist_is_found_at_load_in_every_branch() {
        for (text, why) in [
            (
                "{% if x %}a{% else %}\n{{ y|nosuch }}{% endif %}",
                "there is no filter `nosuch`, used in line 2",
            ),
            ("{% if x is nosuch %}a{% endif %}", "there is no test `nosuch`, used in line 1"),
            ("{{ nosuch(x) }}", "there is no function `nosuch`, used in line 1"),
        ] {
            let mut source = TemplateSource { default: variant("{{ x", "b"), ..Default::default() };
            source.locales.insert("zh-CN".into(), variant("{{ x|upper }}", text));
            let errors = Templates::default().check(&name(), &source);
            let keys_and_reasons: Vec<_> = errors
                .iter()
                .map(|error| match error {
                    TemplateError::Source { key, why, .. } => (key.as_str(), why.as_str()),
                    other => panic!("{other}"),
                })
                .collect();
            assert_eq!(keys_and_reasons[0].0, "title");
            assert_eq!(keys_and_reasons[1..], [("locales.zh-CN.content", why)]);
        }
        let good = "{% for i in range(3) %}{{ loop.index }}{{ x|upper|tojson }}{% endfor %}{% if x is defined %}{% endif %}";
        let source = TemplateSource { default: variant(good, "b"), ..Default::default() };
        assert_eq!(Templates::default().check(&name(), &source), []);
    }

    #[test]
    fn nothing_is_escaped_as_html() {
        let templates = templates(TemplateSource { default: variant("{{ t }}", "x"), ..Default::default() });
        let text = templates.render(&name(), None, &vars(serde_json::json!({"t": "<b>&\"'"}))).unwrap();
        assert_eq!(text.title.unwrap().expose(), "<b>&\"'");
    }
}
