//! Promises about the encoded message: sizes, texts, time to live, and the declared options.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use pushgate::fit::{Fit, fit};
use pushgate::{Act, CallId, Message, NotificationId, Priority, PushChannel, Request, Secret};

use super::Subject;
use super::theatre::{Theatre, play};
use crate::sample;

/// Texts that careless encoding damages: right-to-left text, emoji sequences, combining marks, characters that JSON,
/// XML, forms and headers escape, NUL and other control characters, and the limits of Unicode.
const TEXTS: [&str; 10] = [
    "שלום, מה שלומך? مرحبا \u{202e}rtl\u{202c}",
    "👨‍👩‍👧‍👦 👍🏽 🇨🇭 e\u{301}\u{323} 각",
    "小明：你好，吃饭了吗？",
    "quotes \" ' ` back\\slash </script> & &amp; %00 %E4 + = ; # ?",
    "{{ template }} ${shell} {\"json\":[1]}",
    "nul \0 bell \u{7} escape \u{1b}[31m delete \u{7f}",
    "lines\r\nof\ntext\ttabs\u{2028}\u{2029}\u{85}",
    "\u{feff}first and last\u{200b}",
    "\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10ffff}",
    "  kept  blanks  ",
];

fn text(secret: Option<&Secret>) -> &str {
    secret.map_or("", Secret::expose)
}

fn another_id() -> NotificationId {
    NotificationId::new()
}

/// Checks that `render` counts the same bytes as the vendor counts in the request.
pub fn what_is_counted_is_what_is_sent<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let silent = theatre.info().capability.silent;
    let messages = [
        sample::message(),
        Message { payload: None, badge: None, link: None, thread: None, ..sample::message() },
        Message { title: TEXTS[5].into(), content: TEXTS[1].into(), ..sample::message() },
        Message { image: Some("https://a.example/b.png".into()), ..sample::message() },
        Message { collapse_key: Some("ann".to_owned()), ..sample::message() },
        Message { category: Some("im".to_owned()), ttl: Duration::ZERO, ..sample::message() },
        Message { silent, ..sample::message() },
    ];
    for message in messages {
        let counted = theatre.channel.render(&message).counted;
        assert_eq!(play(theatre.sent(message)).counted, counted, "bytes counted by the vendor and by render");
    }
}

/// Returns the sample message with a payload of this many letters.
fn with_payload(letters: usize) -> Message {
    Message { payload: Some("x".repeat(letters).into()), ..sample::message() }
}

/// Returns the length of the longest payload that fits with the sample message.
fn longest_payload(channel: &impl PushChannel) -> usize {
    let fits =
        |letters| channel.render(&with_payload(letters)).counted <= channel.info().capability.max_bytes;
    let (mut good, mut bad) = (0, channel.info().capability.max_bytes + 1);
    assert!(fits(good) && !fits(bad), "a message is nothing but payload, or has no limit");
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle) { good = middle } else { bad = middle }
    }
    good
}

/// Checks that a message at the limit is sent whole. With one byte more, the text is shortened but not the payload. A
/// payload that is too large by itself is refused.
pub fn a_message_at_the_limit_is_sent_whole_and_one_over_is_cut<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let (channel, limit) = (&*theatre.channel, theatre.info().capability.max_bytes);
    let longest = longest_payload(channel);
    play(async {
        for (letters, expected) in [(longest, Fit::Whole), (longest + 1, Fit::Cut)] {
            let mut message = with_payload(letters);
            assert_eq!(fit(channel, &mut message), expected);
            let sent = theatre.sent(message.clone()).await;
            assert!(sent.counted <= limit, "{} bytes; the vendor takes {limit}", sent.counted);
            assert_eq!(sent.payload.map(|payload| payload.len()), Some(letters));
            assert_eq!(sent.title.as_deref(), Some(sample::message().title.expose()));
            assert_eq!(sent.content.unwrap_or_default(), message.content.expose());
        }
    });
    let mut message = with_payload(limit + 1);
    assert!(matches!(fit(channel, &mut message), Fit::TooLarge { .. }));
    assert_eq!(text(message.payload.as_ref()).len(), limit + 1);
}

/// Checks that a long text is cut between graphemes and sent as cut.
pub fn texts_are_cut_between_graphemes_and_the_payload_never<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let family = "👨‍👩‍👧‍👦";
    let mut message = Message { content: family.repeat(10_000).into(), ..sample::message() };
    assert_eq!(fit(&*theatre.channel, &mut message), Fit::Cut);
    let left = message.content.expose().strip_suffix('…').expect("a text that was cut says so");
    assert!(!left.is_empty() && left.replace(family, "").is_empty(), "half a family is left");
    let sent = play(theatre.sent(message.clone()));
    assert_eq!(sent.content.as_deref(), Some(message.content.expose()));
    assert_eq!(sent.payload.as_deref(), sample::message().payload.as_ref().map(Secret::expose));
}

fn arrives<S: Subject>(theatre: &Theatre<S>, title: &str, content: &str, payload: &str) {
    let message = Message {
        title: title.into(),
        content: content.into(),
        payload: Some(payload.into()),
        ..sample::message()
    };
    let sent = play(theatre.sent(message));
    assert_eq!(sent.title.unwrap_or_default(), title);
    assert_eq!(sent.content.unwrap_or_default(), content);
    assert_eq!(sent.payload.unwrap_or_default(), payload);
}

/// Checks that title, content and payload arrive unchanged, with any characters.
pub fn every_text_arrives_byte_for_byte<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    for text in TEXTS {
        arrives(&theatre, text, text, text);
    }
    arrives(&theatre, "", "", "");
    let any = || prop::collection::vec(any::<char>(), 0..60).prop_map(String::from_iter);
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let told = TestRunner::new(config).run(&(any(), any(), any()), |(title, content, payload)| {
        arrives(&theatre, &title, &content, &payload);
        Ok(())
    });
    told.unwrap_or_else(|error| panic!("{error}"));
}

/// Checks that the vendor gets the remaining time to live, limited to the declared maximum.
pub fn the_vendor_is_told_what_is_left_of_the_time_to_live<S: Subject>(subject: S) {
    const HOUR: Duration = Duration::from_secs(3600);
    let theatre = Theatre::open(subject);
    let most = theatre.info().capability.max_ttl;
    let hours = |hours| Message { ttl: HOUR * hours, ..sample::message() };
    let told = |message| play(theatre.sent(message)).ttl;
    assert_eq!(told(hours(10)), (HOUR * 10).min(most).as_secs());
    assert_eq!(told(hours(40 * 24)), (HOUR * 40 * 24).min(most).as_secs());
    theatre.clock.advance(HOUR * 4);
    assert_eq!(told(hours(10)), (HOUR * 6).min(most).as_secs());
}

/// Checks that a time to live of zero stays zero, so that a call does not ring late.
pub fn now_or_never_is_told_to_the_vendor<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let sent = play(theatre.sent(Message { ttl: Duration::ZERO, ..sample::message() }));
    assert_eq!(sent.ttl, 0);
}

/// Checks that equal collapse keys lead to equal values in the request, and different ones to different values.
pub fn a_collapse_key_replaces_where_declared<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    if !theatre.info().capability.collapse {
        return;
    }
    let sign = |key: Option<&str>| {
        let collapse_key = key.map(str::to_owned);
        let sent = play(theatre.sent(Message { id: another_id(), collapse_key, ..sample::message() }));
        sent.collapse
    };
    let long = "conversation".repeat(20);
    for key in ["conv:42", "a b", "小明", "line\nbreak", &long] {
        let first = sign(Some(key));
        assert!(first.is_some() && first == sign(Some(key)), "{key}: a later one does not replace");
        assert_ne!(first, sign(Some("conv:43")), "{key}: another conversation is replaced");
    }
    let first = sign(None);
    assert!(first.is_none() || first != sign(None), "without a key everything replaces everything");
}

/// Checks that a silent message has no title and no text, and its payload unchanged.
pub fn a_silent_message_shows_nothing_where_declared<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    if !theatre.info().capability.silent {
        return;
    }
    let sent = play(theatre.sent(Message { silent: true, badge: None, ..sample::message() }));
    assert_eq!((sent.title, sent.content), (None, None));
    assert_eq!(sent.payload.as_deref(), sample::message().payload.as_ref().map(Secret::expose));
}

/// Returns the parts of a request that depend on the message.
fn print<S: Subject>(subject: &S, request: &Request) -> String {
    let mut headers: Vec<_> = request.headers.iter().filter(|(name, _)| *name != "authorization").collect();
    headers.sort_by_key(|(name, _)| name.as_str());
    let body = String::from_utf8_lossy(&subject.plain(request)).into_owned();
    format!("{} {} {headers:?} {body}", request.method, request.uri)
}

/// Checks that priority, badge and image change the request exactly if the channel declares them.
pub fn what_is_declared_makes_a_difference_and_nothing_else_does<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let capability = theatre.info().capability.clone();
    let printed = |message| {
        play(theatre.sent(message));
        print(&*theatre.subject, &theatre.last())
    };
    let priority = |priority| printed(Message { priority, ..sample::message() });
    let badge = |badge| printed(Message { badge, ..sample::message() });
    let image = |image: &str| printed(Message { image: Some(image.into()), ..sample::message() });
    let differences = [
        ("priority", capability.priority, priority(Priority::High) != priority(Priority::Low)),
        ("badge", capability.badge, badge(Some(3)) != badge(Some(4))),
        ("image", capability.image, image("https://a.example/1") != image("https://a.example/2")),
    ];
    for (what, declared, differs) in differences {
        assert_eq!(differs, declared, "{what}: makes a difference, and is declared");
    }
    let same = || printed(sample::message());
    assert_eq!(same(), same(), "one message is sent in one way");
}

/// Checks that a call arrives with its id, as in [`Message::note`].
pub fn a_call_reaches_the_device_with_its_id<S: Subject>(subject: S) {
    const CALL: &str = "call-of-this-test-and-of-no-other";
    let theatre = Theatre::open(subject);
    let act = Act::Ring { call: CallId::new(CALL).expect("it is an id"), voip: false };
    play(theatre.sent(Message { act, ..sample::message() }));
    assert!(print(&*theatre.subject, &theatre.last()).contains(CALL), "the device rings for no known call");
}

/// Checks that a removal arrives with its tag, as in [`Message::note`], and that other silent messages remove
/// nothing.
pub fn a_removal_reaches_the_device_with_what_is_removed<S: Subject>(subject: S) {
    const TAG: &str = "tag-of-this-test-and-of-no-other";
    let theatre = Theatre::open(subject);
    if !theatre.info().capability.silent {
        return;
    }
    let printed = |act| {
        let collapse_key = Some(TAG.to_owned());
        play(theatre.sent(Message { act, silent: true, badge: None, collapse_key, ..sample::message() }));
        print(&*theatre.subject, &theatre.last())
    };
    let removal = printed(Act::Remove);
    assert!(removal.contains(TAG), "the device is not told what to remove");
    assert_ne!(removal, printed(Act::Show), "the device is told of data, not of a removal");
}

/// Checks that all attempts have the same id, and that another notification has another one.
pub fn a_duplicate_carries_the_same_id<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let id = |message| play(theatre.sent(message)).id;
    let first = id(sample::message());
    theatre.clock.advance(Duration::from_secs(60));
    assert!(!first.is_empty() && first == id(sample::message()), "a device cannot tell the duplicate");
    assert_ne!(first, id(Message { id: another_id(), ..sample::message() }));
}
