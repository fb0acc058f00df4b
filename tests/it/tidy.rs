//! The rules of the tree that a machine can check: who may know whom, how large things grow, what the docs name.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn tracked(ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | ".git" | "node_modules") {
                walk(&path, ending, found);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), ending, &mut found);
    found
}

#[test]
fn the_arrows_between_crates_point_downwards() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let may = |from: &str, to: &str| match from {
        "pushgate" | "pushgate-emulator" => false,
        "pushgate-server" | "pushgate-benches" => true,
        "pushgate-kit" => to == "pushgate",
        "pushgate-fcm" => matches!(to, "pushgate" | "pushgate-transport"),
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

#[test]
fn no_file_is_over_500_lines_and_each_says_what_it_is_for() {
    for path in tracked(".rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 500, "{} has {} lines", path.display(), text.lines().count());
        assert!(text.starts_with("//!"), "{} does not say what it is for", path.display());
    }
}

#[test]
fn core_and_server_doors_name_no_vendor() {
    let vendors = ["fcm", "firebase", "google", "apns", "huawei", "xiaomi", "meizu"];
    let folders = [root().join("core"), root().join("server/src/doors")];
    for path in
        tracked(".rs").into_iter().filter(|path| folders.iter().any(|folder| path.starts_with(folder)))
    {
        let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
        for vendor in vendors {
            assert!(!text.contains(vendor), "{} names {vendor}", path.display());
        }
    }
}

#[test]
fn every_file_the_docs_link_to_is_there() {
    for path in tracked(".md") {
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let link = link.split('#').next().unwrap_or_default();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = path.parent().unwrap().join(link);
            assert!(target.exists(), "{} links to {link}, which is not there", path.display());
        }
    }
}
