//! Checks where names may occur: vendors only in their channels, clocks and sockets only where they are injected.

use super::channels::{sources, without_tests};
use super::{channels, files, root, shown};

/// Words that no other word has in it.
const VENDORS: [&str; 10] =
    ["fcm", "firebase", "google", "apns", "huawei", "xiaomi", "meizu", "amazon", "telegram", "wechat"];
/// Words that others have in them: found where they stand alone.
const WORDS: [&str; 4] = ["oppo", "vivo", "honor", "webpush"];

/// Vendors a channel's own protocol speaks of, and why.
const NEIGHBOURS: [(&str, &[&str]); 3] = [
    // FCM passes blocks named so on to Apple's service and to browsers'.
    ("fcm", &["apns", "webpush"]),
    // Subscriptions lead to four vendors, each with quirks of its own; their hosts are named so.
    ("webpush", &["fcm", "google", "apns"]),
    ("apns", &[]),
];

fn named(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let stands_alone = |word: &str| text.split(|c: char| !c.is_alphanumeric()).any(|other| other == word);
    let inside = VENDORS.into_iter().filter(|vendor| text.contains(vendor));
    inside.chain(WORDS.into_iter().filter(|word| stands_alone(word))).collect()
}

#[test]
fn nobody_names_a_vendor_who_need_not() {
    // `assemble.rs` names all; one command makes one channel's key; the demonstration and the help show what somebody would write. So do the errors of the
    // configuration, whose folder is not here.
    let may = [
        "server/src/assemble.rs",
        "server/src/commands/demo/mod.rs",
        "server/src/commands/demo/devices.rs",
        "server/src/commands/mod.rs",
        "server/src/commands/vapid.rs",
    ];
    let folders = [
        "core/src",
        "server/src",
        "stores",
        "channels/transport/src",
        "channels/dummy",
        "tests/kit",
        "xtask/src",
    ];
    for path in folders.iter().flat_map(|folder| files(&root().join(folder), ".rs")) {
        let place = shown(&path);
        if may.contains(&place.as_str()) {
            continue;
        }
        // Tests of what may be reached and what may not are made of hosts that there are.
        let named = named(&without_tests(&path));
        assert!(named.is_empty(), "{place} names {named:?}");
    }
}

#[test]
fn no_channel_names_the_vendor_of_another() {
    for folder in channels() {
        let kind = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let allowed = NEIGHBOURS.iter().find(|(of, _)| *of == kind).map_or(&[][..], |(_, allowed)| allowed);
        let others: Vec<_> = channels()
            .iter()
            .map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned())
            .filter(|other| *other != kind)
            .collect();
        for (path, text) in sources(&folder) {
            for other in named(&text).iter().filter(|vendor| others.iter().any(|other| other == *vendor)) {
                assert!(allowed.contains(other), "{} names {other}", shown(&path));
            }
        }
    }
}

#[test]
fn channels_open_no_socket_and_read_no_clock() {
    let forbidden = [
        "SystemTime",
        "Instant",
        "OffsetDateTime::now",
        "Timestamp::now",
        "tokio::time",
        "thread::sleep",
        "TcpStream",
        "UdpSocket",
        "HttpTransport",
        "spawn(",
    ];
    for (path, text) in channels().iter().flat_map(|folder| sources(folder)) {
        for word in forbidden {
            assert!(!text.contains(word), "{} has {word}: transport and clock are handed in", shown(&path));
        }
    }
}
