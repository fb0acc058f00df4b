//! Start of the emulator: its ports, and the files it writes.

use pushgate_emulator::{ConfigurationFile, Emulator, Options};

#[tokio::test]
async fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let free = Options::default;
    let cases = [
        (Options { port, ..free() }, "--port"),
        (Options { control_port: port, ..free() }, "--control-port"),
        (Options { mcs_port: port, ..free() }, "--mcs-port"),
        (Options { apple_port: port, ..free() }, "--apple-port"),
        (Options { sandbox_port: port, ..free() }, "--sandbox-port"),
    ];
    for (options, flag) in cases {
        let Err(error) = Emulator::start(options).await else { panic!("{flag}: the port is in use") };
        let text = error.to_string();
        assert!(text.contains(&format!("port {port} cannot be opened")) && text.contains(flag), "{text}");
    }
}

#[tokio::test]
async fn the_sandbox_uses_the_configured_port() {
    let port = free_port();
    let emulator = Emulator::start(Options { sandbox_port: port, ..Options::default() }).await.unwrap();
    assert_eq!(emulator.apns().sandbox_url(), format!("https://127.0.0.1:{port}"));
}

#[tokio::test]
async fn an_existing_configuration_is_kept_and_its_mismatch_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let first = Emulator::start(options(&folder)).await.unwrap();
    assert_eq!(first.configuration(), Some(ConfigurationFile::Written));
    let file = folder.path().join("pushgate.toml");
    let changed = read("pushgate.toml") + "# mine\n";
    std::fs::write(&file, &changed).unwrap();
    let key = read("pushgate.key");
    let second = Emulator::start(options(&folder)).await.unwrap();
    assert_eq!(second.configuration(), Some(ConfigurationFile::Outdated), "its ports are different");
    assert_eq!((read("pushgate.toml"), read("pushgate.key")), (changed.clone(), key));
    // The ids of team and key never change, so a file with the right ports matches.
    let (port, apple_port) = (free_port(), free_port());
    let matching = changed
        .replace(&first.url()["https://".len()..], &format!("127.0.0.1:{port}"))
        .replace(first.apns().url(), &format!("https://127.0.0.1:{apple_port}"));
    std::fs::write(&file, &matching).unwrap();
    let third = Emulator::start(Options { port, apple_port, ..options(&folder) }).await.unwrap();
    assert_eq!(third.configuration(), Some(ConfigurationFile::Kept));
    assert_eq!(read("pushgate.toml"), matching);
}

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

fn options(folder: &tempfile::TempDir) -> Options {
    Options { directory: Some(folder.path().to_owned()), ..Options::default() }
}
