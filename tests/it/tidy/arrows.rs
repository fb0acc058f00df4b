//! Checks the permitted dependencies between crates.

use std::process::Command;

use super::root;

#[test]
fn the_arrows_between_crates_point_downwards() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let may = |from: &str, to: &str| match from {
        "pushgate" | "pushgate-emulator" | "pushgate-xtask" => false,
        "pushgate-server" | "pushgate-benches" | "pushgate-embed" | "pushgate-im-server" => true,
        // Host and sdk speak the interface; only the sample, like any author's plugin, needs the sdk alone.
        "pushgate-plugin-host" | "pushgate-plugin-sdk" => matches!(to, "pushgate" | "pushgate-plugin-abi"),
        "pushgate-plugin-webhook" => to == "pushgate-plugin-sdk",
        _ => to == "pushgate",
    };
    for package in metadata["packages"].as_array().unwrap() {
        let from = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            if to.starts_with("pushgate") && dependency["kind"] != "dev" {
                assert!(may(from, to), "{from} may not depend on {to}");
            }
        }
    }
}
