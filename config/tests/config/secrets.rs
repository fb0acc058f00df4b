//! References to secrets are resolved for channels, and their texts are never printed.

use std::collections::BTreeMap;

use crate::kit::Folder;
use pushgate_config::{ChannelConfig, Config, Roots};
use serde::Deserialize;

const SECRET: &str = "hunter2-hunter2";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acme {
    api_key: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    region: Option<Region>,
    #[serde(default)]
    servers: Vec<Server>,
    #[serde(default)]
    token: Option<Token>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Region {
    China,
    World,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    host: String,
}

/// Field with a validation that quotes its value in the error.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Token(#[expect(dead_code, reason = "only its check counts")] String);

impl TryFrom<String> for Token {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Err(format!("bad token `{text}`: not base64 at \"{}\"", &text[..5]))
    }
}

fn section(lines: &str) -> Folder {
    Folder::with(&format!("[apps.demo.channels.acme]\nkind = \"acme\"\n{lines}"))
}

fn channel(config: &Config) -> &ChannelConfig {
    config.apps.values().next().unwrap().channels.values().next().unwrap()
}

fn parse_errors(folder: &Folder) -> String {
    folder.shown(&channel(&folder.load().unwrap()).section.parse::<Acme>().unwrap_err())
}

#[test]
fn references_are_resolved_and_literals_are_kept() {
    let folder = section(
        "api_key = \"env:ACME_KEY\"\nport = \"env:ACME_PORT\"\nservers = [{ host = \"file:secrets/host\" }]\n",
    )
    .variable("ACME_KEY", SECRET)
    .variable("ACME_PORT", "443")
    .file("secrets/host", "push.example\n");
    let config = folder.load().unwrap();
    let acme: Acme = channel(&config).section.parse().unwrap();
    assert_eq!((acme.api_key.as_str(), acme.port), (SECRET, 443));
    assert!(acme.region.is_none() && acme.token.is_none());
    assert_eq!(acme.servers[0].host, "push.example");
    assert_eq!(config.files, [folder.path("pushgate.toml"), folder.path("secrets/host")]);

    let config = section("api_key = \"literal:env:X\"\n").load().unwrap();
    assert_eq!(channel(&config).section.parse::<Acme>().unwrap().api_key, "env:X");
}

#[test]
fn a_file_is_looked_for_beside_the_configuration_file() {
    let folder = section("api_key = \"file:here.txt\"\n").file("here.txt", "x");
    folder.load().unwrap();
    let absolute = folder.path("here.txt");
    let config = section(&format!("api_key = \"file:{}\"\n", absolute.display())).load().unwrap();
    assert_eq!(channel(&config).section.to_json(), serde_json::json!({"api_key": "x"}));
}

#[test]
fn an_unresolvable_reference_is_refused_with_a_correction() {
    let folder =
        section("api_key = \"env:NOPE\"\na = \"env:EMPTY\"\nb = \"file:empty\"\nc = \"file:bytes\"\n")
            .variable("EMPTY", "")
            .file("empty", "\n");
    std::fs::write(folder.path("bytes"), [0xff, 0xfe]).unwrap();
    assert_eq!(
        folder.errors(),
        "pushgate.toml:3: apps.demo.channels.acme.api_key: the environment variable `NOPE` is not set; set it, or \
         write `literal:env:…` to mean the text itself\n\
         pushgate.toml:4: apps.demo.channels.acme.a: the environment variable `EMPTY` is empty; give it the secret\n\
         pushgate.toml:5: apps.demo.channels.acme.b: the file `empty` is empty; put the secret there\n\
         pushgate.toml:6: apps.demo.channels.acme.c: the file `bytes` is not UTF-8 text; a relative path starts at \
         the folder of the configuration file"
    );
    assert_eq!(
        section("api_key = \"file:nope.txt\"\n").errors(),
        "pushgate.toml:3: apps.demo.channels.acme.api_key: the file `nope.txt` cannot be read (No such file or \
         directory (os error 2)); a relative path starts at the folder of the configuration file"
    );
}

#[test]
fn errors_in_a_channels_section_have_file_line_key_and_hint() {
    let folder = section(
        "api_key = 5\nprt = 1\nconcurency = 5\nregion = \"chna\"\nservers = [{ host = true, hots = 1 }]\n",
    );
    assert_eq!(
        parse_errors(&folder),
        "pushgate.toml:3: apps.demo.channels.acme.api_key: found a number, expected a string\n\
         pushgate.toml:4: apps.demo.channels.acme.prt: unknown key; did you mean `port`?\n\
         pushgate.toml:5: apps.demo.channels.acme.concurency: unknown key; did you mean `concurrency`?\n\
         pushgate.toml:6: apps.demo.channels.acme.region: is unknown; did you mean \"china\"?\n\
         pushgate.toml:7: apps.demo.channels.acme.servers[0].host: found a boolean, expected a string\n\
         pushgate.toml:7: apps.demo.channels.acme.servers[0].hots: unknown key; did you mean `host`?"
    );
    assert_eq!(parse_errors(&section("")), "pushgate.toml:1: apps.demo.channels.acme.api_key: is missing");
    let config = section("api_key = \"x\"\n").load().unwrap();
    let error = channel(&config).section.refuse("api_key", "is too short");
    assert!(
        error.to_string().ends_with("pushgate.toml:3: apps.demo.channels.acme.api_key: is too short"),
        "{error}"
    );
}

#[test]
fn a_mistake_in_a_section_from_the_environment_names_the_variable() {
    let folder = section("").variable("PUSHGATE_APPS__DEMO__CHANNELS__ACME__PORT", "many");
    let text = parse_errors(&folder.variable("PUSHGATE_APPS__DEMO__CHANNELS__ACME__API_KEY", "12345"));
    assert_eq!(
        text,
        "environment PUSHGATE_APPS__DEMO__CHANNELS__ACME__PORT: apps.demo.channels.acme.port: found a string, expected \
         a whole number from 0 to 65535"
    );
}

#[test]
fn secrets_are_in_no_error() {
    for lines in [
        "api_key = \"x\"\nport = \"env:S\"\n",
        "api_key = \"x\"\nregion = \"env:S\"\n",
        "api_key = \"x\"\nservers = \"env:S\"\n",
        "api_key = \"x\"\ntoken = \"env:S\"\n",
        "api_key = \"x\"\nport = \"hunter2-hunter2\"\n",
        "api_key = \"x\"\nregion = \"hunter2-hunter2\"\n",
        "api_key = \"x\"\ntoken = \"hunter2-hunter2\"\n",
    ] {
        let text = parse_errors(&section(lines).variable("S", SECRET));
        assert!(!text.contains("hunte"), "{text}");
    }
    let config = section("api_key = \"env:S\"\n").variable("S", SECRET).load().unwrap();
    let error = channel(&config).section.refuse("api_key", format!("cannot use `{SECRET}`"));
    assert!(!error.to_string().contains("hunte"), "{error}");
}

#[test]
fn secrets_are_in_no_debug() {
    let pem = "-----BEGIN CERTIFICATE-----\nMIIBhunter2\n-----END CERTIFICATE-----\n";
    let folder = section(
        "api_key = \"env:S\"\nplain = \"hunter2\"\n[apps.demo.channels.acme.transport]\n\
         proxy = \"http://user:hunter2@proxy.example:3128\"\nroots = \"file:ca.pem\"\n",
    )
    .variable("S", SECRET)
    .file("ca.pem", pem);
    let config = folder.load().unwrap();
    assert!(matches!(&channel(&config).transport.roots, Roots::Pem(text) if text.expose() == pem.trim()));
    let text = format!("{config:?} {config:#?}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("api_key") && text.contains("plain"), "{text}");
}

#[test]
fn a_section_converts_to_json() {
    let config = section(
        "api_key = \"env:S\"\nport = 443\nrate = 1.5\non = true\nlow = -1\nlist = [{ a = 1979-05-27 }]\n",
    )
    .variable("S", SECRET)
    .load()
    .unwrap();
    let section = &channel(&config).section;
    assert_eq!(
        section.to_json(),
        serde_json::json!({"api_key": SECRET, "port": 443, "rate": 1.5, "on": true, "low": -1, "list": [{"a": "1979-05-27"}]})
    );
    assert_eq!(section.keys().collect::<Vec<_>>(), ["api_key", "list", "low", "on", "port", "rate"]);
    let map: BTreeMap<String, serde_json::Value> = section.parse().unwrap();
    assert_eq!(map.len(), 6);
}

#[test]
fn no_damage_to_a_file_prints_a_secret_or_panics() {
    let pem = "-----BEGIN-----\nhunter2aGk=\n-----END-----";
    let toml = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[apps.demo.channels.acme]\nkind = \"acme\"\napi_key = \"{SECRET}\"\n\
         key = \"\"\"\n{pem}\nhunter2==\n[\"hunter2\"]\n\"\"\"\nlist = [\n  'hunter2',\n  {{ a = \"hunter2\" }},\n]\n\
         [apps.demo.channels.acme.transport]\nproxy = \"http://user:{SECRET}@host:1\"\n\
         [[keys]]\nid = \"a\"\nhash = \"{SECRET}\"\napps = [\"*\"]\nscopes = [\"send\"]\n"
    );
    let folder = Folder::with("");
    let check = |damaged: &str| {
        std::fs::write(folder.path("pushgate.toml"), damaged).unwrap();
        let text = match folder.load() {
            Ok(config) => format!("{config:?}"),
            Err(errors) => errors.to_string(),
        };
        assert!(!text.contains("hunter2"), "{damaged}\n---\n{text}");
    };
    for (place, letter) in toml.char_indices() {
        check(&toml[..place]);
        check(&format!("{}{}", &toml[..place], &toml[place + letter.len_utf8()..]));
        for other in ["\"", "=", "[", "\n", " "] {
            check(&format!("{}{other}{}", &toml[..place], &toml[place..]));
        }
    }
}
