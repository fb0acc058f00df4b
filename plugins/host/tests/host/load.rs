//! What is no plugin, or not the one that was meant, is a sentence for the operator; the gateway runs on.

use std::path::Path;

use pushgate::TokenKind;
use pushgate_plugin_host::LoadError;

use crate::kit::{Bench, Built, delivery, source};

fn refusal(bench: &Bench, path: &Path) -> String {
    match bench.loader.load(&source(path.to_owned())) {
        Ok(_) => panic!("{} is taken for a plugin", path.display()),
        Err(error) => error.to_string().replace(&*path.to_string_lossy(), "FILE"),
    }
}

fn refused_bytes(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    refusal(&Bench::new(), file.path())
}

#[tokio::test]
async fn a_plugin_says_what_it_is_and_sends_in_order() {
    let (bench, built) = (Bench::new(), Built::rogue(&[]));
    let plugin = bench.loader.load(&source(built.path())).unwrap();
    let description = plugin.description();
    assert_eq!(
        (description.kind.as_str(), description.version.as_str(), description.abi),
        ("rogue", "0.1", (1, 0))
    );
    assert_eq!(description.capability.token_kinds(), [TokenKind::Token]);
    assert_eq!(description.capability.feature_names().collect::<Vec<_>>(), ["collapse", "silent"]);
    let channel = bench.open(&plugin, "well").unwrap();
    assert_eq!((channel.info().kind, channel.info().capability.max_batch), ("rogue", 100));
    let report = channel.send(&delivery(100)).await;
    for (i, outcome) in report.outcomes().iter().enumerate() {
        assert_eq!(*outcome, pushgate::Outcome::accepted(format!("token-{i}")));
    }
}

#[tokio::test]
async fn size_and_body_come_from_the_plugin() {
    let (bench, built) = (Bench::new(), Built::rogue(&[]));
    let plugin = bench.loader.load(&source(built.path())).unwrap();
    let message = pushgate_kit::sample::message();
    let rendered = bench.open(&plugin, "well").unwrap().render(&message);
    assert_eq!(rendered.body, serde_json::json!({"pieces": 2}));
    assert_eq!(rendered.counted, "Ann".len() + "hello".len() + message.payload.unwrap().expose().len());
}

#[tokio::test]
async fn a_refused_configuration_is_told_in_the_plugins_words() {
    let (bench, built) = (Bench::new(), Built::rogue(&[]));
    let plugin = bench.loader.load(&source(built.path())).unwrap();
    let refused = |mode| bench.open(&plugin, mode).map(|_| ()).unwrap_err();
    assert_eq!(refused("refuse"), LoadError::Refused("mode: this one is refused".to_owned()));
    assert!(refused("refuse-mutely").to_string().contains("does not say why"));
}

#[test]
fn what_is_no_library_is_told_apart() {
    assert_eq!(refused_bytes(b""), "FILE is empty");
    assert_eq!(
        refused_bytes(b"just a text\n"),
        "FILE is no shared library of this system: it does not begin like one"
    );
    assert!(refused_bytes(b"MZ\x90\x00").contains("a program of Windows"));
    let missing = refusal(&Bench::new(), Path::new("/nowhere/acme.so"));
    assert!(missing.starts_with("FILE cannot be read: No such file"), "{missing}");
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let told = refused_bytes(&program);
    // A program is a position-independent one as a rule: then it is the entry that is missing, or the loader that objects.
    assert!(
        told.contains("no shared library") || told.contains("cannot be loaded") || told.contains("no plugin"),
        "{told}"
    );
}

#[test]
fn a_library_for_another_machine_is_named() {
    let mut bytes = Built::rogue(&[]).bytes();
    let theirs: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    bytes[18..20].copy_from_slice(&theirs.to_le_bytes());
    let told = refused_bytes(&bytes);
    assert!(told.starts_with("FILE was built for ") && told.contains("this machine is"), "{told}");
    bytes[4] = 1;
    assert_eq!(refused_bytes(&bytes), "FILE was built for 32-bit machines");
}

#[test]
fn a_library_that_is_cut_off_anywhere_is_an_error_and_no_crash() {
    let bytes = Built::rogue(&[]).bytes();
    for length in (1..bytes.len()).step_by(257).chain([4, 16, 63, 64, bytes.len() - 1]) {
        let told = refused_bytes(&bytes[..length]);
        assert!(told.contains("cut off") || told.contains("no shared library"), "{length}: {told}");
    }
}

#[test]
fn a_library_without_the_entry_is_no_plugin() {
    let built = Built::rogue(&["ENTRY=something_else"]);
    assert_eq!(
        refusal(&Bench::new(), &built.path()),
        "FILE is no plugin: it does not export pushgate_plugin_v1"
    );
}

#[test]
fn a_wrong_major_is_refused_and_both_versions_are_named() {
    for definition in ["ENTRY=pushgate_plugin_v2", "MAJOR=2"] {
        let told = refusal(&Bench::new(), &Built::rogue(&[definition]).path());
        assert!(
            told.contains("built for version 2 of the plugin interface, this gateway speaks version 1"),
            "{told}"
        );
    }
}

#[test]
fn an_unwilling_plugin_and_a_bad_table_are_told() {
    let told = refusal(&Bench::new(), &Built::rogue(&["UNWILLING"]).path());
    assert!(told.contains("does not want to work with this gateway (code 1)"), "{told}");
    let told = refusal(&Bench::new(), &Built::rogue(&["KIND=\"No Kind\""]).path());
    assert!(told.contains("its kind is not 1 to 64 of a-z 0-9 -"), "{told}");
}

#[test]
fn another_file_than_the_one_meant_is_not_loaded() {
    let (bench, built) = (Bench::new(), Built::rogue(&[]));
    let mut meant = source(built.path());
    meant.sha256 = Some([7; 32]);
    let told = bench.loader.load(&meant).map(|_| ()).unwrap_err();
    let LoadError::OtherFile { found, .. } = &told else { panic!("{told}") };
    let digits = |pair: usize| u8::from_str_radix(&found[2 * pair..2 * pair + 2], 16).unwrap();
    meant.sha256 = Some(std::array::from_fn(digits));
    assert!(bench.loader.load(&meant).is_ok(), "the hash it names is the file's");
}

#[test]
fn a_file_that_changes_under_a_loaded_plugin_harms_nobody() {
    let (bench, built) = (Bench::new(), Built::rogue(&[]));
    let plugin = bench.loader.load(&source(built.path())).unwrap();
    std::fs::write(built.path(), b"overwritten in place").unwrap();
    assert_eq!(plugin.description().kind, "rogue");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let report = bench.open(&plugin, "well").unwrap().send(&delivery(1)).await;
        assert_eq!(report.outcomes()[0].code(), "accepted");
    });
    assert!(bench.loader.load(&source(built.path())).is_err(), "asked for anew, it is looked at anew");
}
