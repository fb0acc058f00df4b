//! Loading of plugins. A file that is no plugin, or not the expected one, causes an error for the operator and no crash.

use std::path::Path;

use pushgate::TokenKind;
use pushgate_plugin_host::LoadError;

use crate::kit::{Bench, BuiltPlugin, delivery, source};

fn refusal(bench: &Bench, path: &Path) -> String {
    match bench.loader.load(&source(path.to_owned())) {
        Ok(_) => panic!("{} was loaded as a plugin", path.display()),
        Err(error) => error.to_string().replace(&*path.to_string_lossy(), "FILE"),
    }
}

fn refused_bytes(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    refusal(&Bench::new(), file.path())
}

#[tokio::test]
async fn a_plugin_describes_itself_and_reports_outcomes_in_order() {
    let (bench, built) = (Bench::new(), BuiltPlugin::rogue(&[]));
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
    let (bench, built) = (Bench::new(), BuiltPlugin::rogue(&[]));
    let plugin = bench.loader.load(&source(built.path())).unwrap();
    let message = pushgate_kit::sample::message();
    let rendered = bench.open(&plugin, "well").unwrap().render(&message);
    assert_eq!(rendered.body, serde_json::json!({"pieces": 2}));
    assert_eq!(rendered.counted, "Ann".len() + "hello".len() + message.payload.unwrap().expose().len());
}

#[tokio::test]
async fn a_refused_configuration_is_reported_with_the_plugins_own_message() {
    let (bench, built) = (Bench::new(), BuiltPlugin::rogue(&[]));
    let plugin = bench.loader.load(&source(built.path())).unwrap();
    let refused = |mode| bench.open(&plugin, mode).map(|_| ()).unwrap_err();
    assert_eq!(refused("refuse"), LoadError::Refused("mode: this one is refused".to_owned()));
    assert!(refused("refuse-silently").to_string().contains("does not say why"));
}

#[test]
fn files_that_are_no_library_get_different_errors() {
    assert_eq!(refused_bytes(b""), "FILE is empty");
    assert_eq!(
        refused_bytes(b"just a text\n"),
        "FILE is not a shared library for this system: it has no ELF header"
    );
    assert!(refused_bytes(b"MZ\x90\x00").contains("a Windows file"));
    let missing = refusal(&Bench::new(), Path::new("/nowhere/acme.so"));
    assert!(missing.starts_with("FILE cannot be read: No such file"), "{missing}");
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let message = refused_bytes(&program);
    // Most programs are position-independent. Then the entry function is missing, or the loader refuses the file.
    assert!(
        message.contains("not a shared library")
            || message.contains("cannot be loaded")
            || message.contains("not a plugin"),
        "{message}"
    );
}

#[test]
fn a_library_for_another_machine_is_refused_and_the_machine_is_named() {
    let mut bytes = BuiltPlugin::rogue(&[]).bytes();
    let machine: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    let message = refused_bytes(&bytes);
    assert!(message.starts_with("FILE was built for ") && message.contains("this machine is"), "{message}");
    bytes[4] = 1;
    assert_eq!(refused_bytes(&bytes), "FILE was built for 32-bit machines");
}

#[test]
fn a_library_truncated_at_any_length_is_an_error_and_no_crash() {
    let bytes = BuiltPlugin::rogue(&[]).bytes();
    for length in (1..bytes.len()).step_by(257).chain([4, 16, 63, 64, bytes.len() - 1]) {
        let message = refused_bytes(&bytes[..length]);
        assert!(
            message.contains("truncated") || message.contains("not a shared library"),
            "{length}: {message}"
        );
    }
}

#[test]
fn a_library_without_the_entry_is_no_plugin() {
    let built = BuiltPlugin::rogue(&["ENTRY=something_else"]);
    assert_eq!(
        refusal(&Bench::new(), &built.path()),
        "FILE is not a plugin: it does not export pushgate_plugin_v1"
    );
}

#[test]
fn a_wrong_major_is_refused_and_both_versions_are_named() {
    for definition in ["ENTRY=pushgate_plugin_v2", "MAJOR=2"] {
        let message = refusal(&Bench::new(), &BuiltPlugin::rogue(&[definition]).path());
        assert!(
            message.contains("built for version 2 of the plugin interface, but this gateway has version 1"),
            "{message}"
        );
    }
}

#[test]
fn a_refusing_plugin_and_an_invalid_table_are_errors() {
    let message = refusal(&Bench::new(), &BuiltPlugin::rogue(&["UNWILLING"]).path());
    assert!(message.contains("refuses this gateway with code 1"), "{message}");
    let message = refusal(&Bench::new(), &BuiltPlugin::rogue(&["KIND=\"No Kind\""]).path());
    assert!(message.contains("kind must have 1 to 64 characters of a-z, 0-9 and -"), "{message}");
}

#[test]
fn a_file_with_another_hash_than_configured_is_not_loaded() {
    let (bench, built) = (Bench::new(), BuiltPlugin::rogue(&[]));
    let mut expected = source(built.path());
    expected.sha256 = Some([7; 32]);
    let error = bench.loader.load(&expected).map(|_| ()).unwrap_err();
    let LoadError::HashMismatch { found, .. } = &error else { panic!("{error}") };
    let digits = |pair: usize| u8::from_str_radix(&found[2 * pair..2 * pair + 2], 16).unwrap();
    expected.sha256 = Some(std::array::from_fn(digits));
    assert!(bench.loader.load(&expected).is_ok(), "the error names the file's hash");
}

#[test]
fn a_file_that_changes_after_loading_does_not_affect_the_loaded_plugin() {
    let (bench, built) = (Bench::new(), BuiltPlugin::rogue(&[]));
    let plugin = bench.loader.load(&source(built.path())).unwrap();
    std::fs::write(built.path(), b"overwritten in place").unwrap();
    assert_eq!(plugin.description().kind, "rogue");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let report = bench.open(&plugin, "well").unwrap().send(&delivery(1)).await;
        assert_eq!(report.outcomes()[0].code(), "accepted");
    });
    assert!(bench.loader.load(&source(built.path())).is_err(), "a new load reads the file again");
}
