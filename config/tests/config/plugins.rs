//! `[[plugins]]`: isolation, limits and refused values.

use crate::kit::Folder;
use pushgate_config::PluginIsolation;

#[test]
fn a_plugin_is_isolated_by_default_and_its_path_starts_at_the_file() {
    let folder = Folder::with(
        "[[plugins]]\npath = \"libacme.so\"\n[[plugins]]\npath = \"/opt/b.so\"\nisolation = \"none\"\n",
    );
    let config = folder.load().unwrap();
    assert_eq!(config.plugins[0].path, folder.path("libacme.so"));
    let expected = PluginIsolation::Process { memory: 1 << 30, open_files: 64, environment: Vec::new() };
    assert_eq!(config.plugins[0].isolation, expected);
    assert_eq!(config.plugins[1].path.to_str(), Some("/opt/b.so"));
    assert_eq!(config.plugins[1].isolation, PluginIsolation::None);
}

#[test]
fn the_environment_is_passed_on_by_name_and_does_not_print() {
    let folder = Folder::with(
        "[[plugins]]\npath = \"a.so\"\nenvironment = [\"ACME_KEY\"]\nmemory = \"2GiB\"\nopen_files = 16\n",
    )
    .variable("ACME_KEY", "hunter2");
    let plugin = folder.load().unwrap().plugins.remove(0);
    let PluginIsolation::Process { memory, open_files, environment } = &plugin.isolation else { panic!() };
    assert_eq!((*memory, *open_files), (2 << 30, 16));
    assert_eq!(*environment, [("ACME_KEY".to_owned(), "hunter2".to_owned())]);
    assert!(!format!("{plugin:?}").contains("hunter2"));
}

#[test]
fn invalid_plugin_settings_are_refused_with_a_correction() {
    let refused = |keys: &str| Folder::with(&format!("[[plugins]]\n{keys}\n")).errors();
    let cases = [
        (
            "isolation = \"none\"",
            "pushgate.toml:1: plugins[0].path: is missing; write it like path = \"plugins/libacme.so\"",
        ),
        ("path = \"\"", "pushgate.toml:2: plugins[0].path: is empty; write the path of a shared library"),
        (
            "path = \"a\"\nsha256 = \"beef\"",
            "pushgate.toml:3: plugins[0].sha256: is not 64 hexadecimal digits; `sha256sum FILE` prints them",
        ),
        (
            "path = \"a\"\nisolation = \"proces\"",
            "pushgate.toml:3: plugins[0].isolation: \"proces\" is unknown; did you mean \"process\"?",
        ),
        (
            "path = \"a\"\nisolation = \"none\"\nmemory = \"1GiB\"",
            "pushgate.toml:4: plugins[0].memory: is for isolation = \"process\"; without isolation nothing is limited",
        ),
        (
            "path = \"a\"\nmemory = \"1MiB\"",
            "pushgate.toml:3: plugins[0].memory: 1MiB is out of range; write 256MiB to 1024GiB",
        ),
        (
            "path = \"a\"\nenvironment = \"NOT_SET\"",
            "pushgate.toml:3: plugins[0].environment: the environment variable `NOT_SET` is not set; set it, or leave it out",
        ),
        (
            "path = \"a\"\n[[plugins]]\npath = \"a\"",
            "pushgate.toml:4: plugins[1].path: is named twice; one [[plugins]] is enough for all its channels",
        ),
    ];
    for (keys, expected) in cases {
        assert_eq!(refused(keys), expected);
    }
}
