//! Tests of which subscriptions are permitted, and that no error quotes a hostile one.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::crypto::tests::{AUTH, UA_PUBLIC};

/// Returns a subscription with this endpoint and the keys of RFC 8291, Appendix A.
pub(crate) fn subscription(endpoint: &str) -> String {
    json!({"endpoint": endpoint, "expirationTime": null, "keys": {"p256dh": UA_PUBLIC, "auth": AUTH}})
        .to_string()
}

fn policy(endpoints: &[&str], insecure_loopback_endpoints: bool) -> EndpointPolicy {
    let endpoints = endpoints.iter().map(|host| (*host).to_owned()).collect();
    let config = Config { endpoints, insecure_loopback_endpoints, ..Config::new("k", "s") };
    EndpointPolicy::new(&config).unwrap()
}

fn refusal(policy: &EndpointPolicy, token: &str) -> String {
    match policy.parse(token) {
        Ok(_) => panic!("{token} was accepted"),
        Err(fault) => fault.detail,
    }
}

#[test]
fn push_services_are_recognized_by_their_hosts() {
    let cases = [
        ("https://updates.push.services.mozilla.com/wpush/v2/gAAA", Service::Mozilla),
        ("https://fcm.googleapis.com/fcm/send/dXNl:APA91b", Service::Google),
        ("https://FCM.googleapis.com:443/wp/dXNl", Service::Google),
        ("https://jmt17.google.com/fcm/send/dXNl", Service::Google),
        ("https://web.push.apple.com/QGuQyavXutnMH", Service::Apple),
        ("https://wns2-par02p.notify.windows.com/w/?token=BQYA%2bx%2f%3d", Service::Windows),
    ];
    for (endpoint, service) in cases {
        let parsed = policy(&[], false).parse(&subscription(endpoint)).unwrap();
        assert_eq!(parsed.service, service, "{endpoint}");
        let host = endpoint.split('/').nth(2).unwrap().to_lowercase();
        assert_eq!(parsed.origin, format!("https://{}", host.trim_end_matches(":443")));
    }
}

#[test]
fn an_endpoint_is_kept_byte_for_byte() {
    let endpoint = "https://wns2-par02p.notify.windows.com/w/?token=BQYAAAD%2bx%2F%3d&a=/../b//c";
    let parsed = policy(&[], false).parse(&subscription(endpoint)).unwrap();
    assert_eq!(parsed.endpoint.path_and_query().unwrap(), "/w/?token=BQYAAAD%2bx%2F%3d&a=/../b//c");
}

#[test]
fn an_operator_permits_further_hosts_by_name_by_domain_or_all() {
    let accepts =
        |hosts: &[&str], endpoint: &str| policy(hosts, false).parse(&subscription(endpoint)).is_ok();
    let ours = "https://push.example.net/up?id=7";
    assert!(!accepts(&[], ours));
    assert!(accepts(&["Push.Example.net"], ours));
    assert!(accepts(&["*.example.net"], ours));
    assert!(accepts(&["*"], ours));
    assert!(!accepts(&["*.example.net"], "https://example.net/up"));
    assert!(!accepts(&["*.example.net"], "https://example.net.evil.org/up"));
    assert!(!accepts(&["push.example.net"], "https://evil.push.example.net/up"));
    assert!(!accepts(&["*.example.net"], "https://evilexample.net/up"));
}

#[test]
fn an_entry_that_is_not_a_host_name_is_refused() {
    for bad in [
        "",
        "https://push.example.net",
        "push.example.net:8443",
        "push.example.net/x",
        "*.*.net",
        "localhost",
        "127.0.0.1",
        "*example.net",
        "[::1]",
        "*.net.",
    ] {
        let config = Config { endpoints: vec![bad.to_owned()], ..Config::new("k", "s") };
        assert_eq!(EndpointPolicy::new(&config).err(), Some(ConfigError::Endpoints), "{bad}");
    }
}

/// Holds even for an operator who permits any host.
#[test]
fn an_endpoint_that_is_not_a_public_name_at_port_443_is_refused() {
    let long = format!("https://push.example.net/{}", "x".repeat(2048));
    let endpoints = [
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/x",
        "https://LOCALHOST/x",
        "https://push.localhost/x",
        "https://intranet/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0x7f.0.0.0x1/x",
        "https://017700000001/x",
        "https://127.0.0.1./x",
        "https://10.0.0.1/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[fe80::1%25eth0]/x",
        "https://push.example.net./x",
        "https://.example.net/x",
        "https://push..example.net/x",
        "https://-push.example.net/x",
        "https://push.example.net:8443/x",
        "https://push.example.net:80/x",
        "https://push.example.net:/x",
        "https://push.example.net:443443/x",
        "http://push.example.net/x",
        "http://push.example.net:443/x",
        "ftp://push.example.net/x",
        "file:///etc/passwd",
        "//push.example.net/x",
        "/x",
        "push.example.net",
        "",
        "*",
        "https://",
        "https://user@push.example.net/x",
        "https://user:word@push.example.net/x",
        "https://fcm.googleapis.com@evil.example/x",
        "https://push.example.net#@fcm.googleapis.com/x",
        "https://push.example.net\\@fcm.googleapis.com/x",
        "https://push.example.net/x y",
        "https://push.example.net/x\r\nx-evil: 1",
        "https://push.exämple.net/x",
        "https://push.example.net/ä",
        &long,
    ];
    for endpoint in endpoints {
        let detail = refusal(&policy(&["*"], false), &subscription(endpoint));
        assert!(detail.starts_with("the endpoint "), "{endpoint}: {detail}");
        // Permission for loopback permits nothing else.
        if !endpoint.contains("127.0.0.1/")
            && !endpoint.to_lowercase().contains("//localhost")
            && !endpoint.contains("[::1]")
        {
            refusal(&policy(&["*"], true), &subscription(endpoint));
        }
    }
}

#[test]
fn loopback_is_permitted_only_with_insecure_loopback_endpoints() {
    for (endpoint, origin) in [
        ("http://127.0.0.1:9090/wpush/v2/x", "http://127.0.0.1:9090"),
        ("https://localhost:8443/x", "https://localhost:8443"),
        ("http://[::1]:80/x", "http://[::1]"),
    ] {
        assert_eq!(policy(&[], true).parse(&subscription(endpoint)).unwrap().origin, origin);
        refusal(&policy(&["*"], false), &subscription(endpoint));
    }
    refusal(&policy(&[], true), &subscription("http://10.0.0.1/x"));
    refusal(&policy(&[], true), &subscription("ftp://127.0.0.1/x"));
}

#[test]
fn keys_are_parsed_with_and_without_padding_and_refused_if_invalid() {
    let endpoint = "https://web.push.apple.com/x";
    let with = |p256dh: &str, auth: &str| {
        let keys = json!({"p256dh": p256dh, "auth": auth, "more": 1});
        json!({"endpoint": endpoint, "keys": keys, "options": {}}).to_string()
    };
    let good = policy(&[], false);
    assert!(good.parse(&with(UA_PUBLIC, AUTH)).is_ok());
    assert!(good.parse(&with(&format!("{UA_PUBLIC}="), &format!("{AUTH}=="))).is_ok());
    for (p256dh, auth) in [
        ("", AUTH),
        (UA_PUBLIC, ""),
        (&UA_PUBLIC[1..], AUTH),
        (UA_PUBLIC, &AUTH[2..]),
        (AUTH, UA_PUBLIC),
        ("not base64!", AUTH),
        (&UA_PUBLIC.replace("BCVx", "BCVy"), AUTH),
        ("BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", AUTH),
    ] {
        assert!(refusal(&good, &with(p256dh, auth)).starts_with("keys.p256dh is"), "{p256dh} {auth}");
    }
}

#[test]
fn a_text_that_is_not_a_subscription_is_refused_without_being_quoted() {
    let deep = "[".repeat(4000);
    for bad in [
        "",
        "null",
        "7",
        "[]",
        "s3cret",
        "{}",
        r#"{"endpoint":"s3cret"}"#,
        r#"{"endpoint":{"s3cret":1},"keys":{}}"#,
        r#"{"endpoint":"https://web.push.apple.com/x","keys":{"p256dh":["s3cret"],"auth":"x"}}"#,
        &deep,
    ] {
        let detail = refusal(&policy(&[], false), bad);
        assert!(detail.starts_with("a subscription is the JSON of"), "{bad}");
        assert!(!detail.contains("s3cret"));
    }
}

proptest! {
    #[test]
    fn no_text_causes_a_panic_or_is_quoted(text in ".{0,200}", host in "[a-z0-9.:@\\[\\]-]{1,40}") {
        let all = policy(&["*"], false);
        prop_assert!(all.parse(&text).is_err());
        if let Err(fault) = all.parse(&subscription(&format!("https://{host}/s3cret"))) {
            prop_assert!(!fault.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn no_ip_address_passes_for_a_dns_name(ip in any::<std::net::Ipv4Addr>(), six in any::<std::net::Ipv6Addr>()) {
        let number = u32::from(ip);
        for host in [ip.to_string(), number.to_string(), format!("{number:#x}"), format!("{number:#o}"), six.to_string()] {
            prop_assert!(!is_dns_name(&host), "{host}");
        }
    }
}
