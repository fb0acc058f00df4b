//! Compatibility of minor versions: each side may have a longer table than the other side knows.

use std::path::Path;

use pushgate_plugin_abi::HEADER;
use pushgate_plugin_host::Loader;
use tempfile::TempDir;

use crate::kit::{Bench, BuiltPlugin, delivery, source};

/// Writes the header of a version 1.1, which has one more function in each table.
fn grown_header() -> TempDir {
    let end = "/* 1.0 ends here. */";
    let grown = HEADER.replacen(end, "void (*later)(void) PUSHGATE_NOEXCEPT;", 1).replacen(
        end,
        "void (*later)(pushgate_instance *instance) PUSHGATE_NOEXCEPT;",
        1,
    );
    let grown = grown.replace("#define PUSHGATE_ABI_MINOR 0u", "#define PUSHGATE_ABI_MINOR 1u");
    assert!(!grown.contains(end) && grown.len() > HEADER.len());
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("pushgate_plugin.h"), grown).unwrap();
    directory
}

async fn works(bench: &Bench, path: &Path) -> (u32, u32) {
    let plugin = bench.loader.load(&source(path.to_owned())).unwrap();
    let channel = bench.open(&plugin, "bad-arguments").unwrap();
    let report = channel.send(&delivery(3)).await;
    assert!(report.outcomes().iter().all(|outcome| outcome.code() == "accepted"));
    assert_eq!(channel.probe().await.unwrap().identity, "the rogue");
    plugin.description().abi
}

#[tokio::test]
async fn a_plugin_of_1_0_runs_on_a_host_whose_table_has_grown() {
    let built = BuiltPlugin::rogue(&[]);
    assert_eq!(works(&Bench::with(Loader::with_future_version), &built.path()).await, (1, 0));
}

#[tokio::test]
async fn a_plugin_of_1_1_runs_on_a_host_of_1_0_and_on_its_own() {
    let header = grown_header();
    let built = BuiltPlugin::with_header(&["GROWN_HOST", "GROWN_PLUGIN"], header.path());
    assert_eq!(works(&Bench::new(), &built.path()).await, (1, 1));
    assert_eq!(works(&Bench::with(Loader::with_future_version), &built.path()).await, (1, 1));
}

#[tokio::test]
async fn a_plugin_that_copies_all_of_its_longer_table_harms_nobody() {
    let header = grown_header();
    let built = BuiltPlugin::with_header(&["GROWN_HOST", "GROWN_PLUGIN", "CARELESS"], header.path());
    assert_eq!(works(&Bench::new(), &built.path()).await, (1, 1));
}
