//! Classification of IP addresses as public or not. Names are classified in `destinations.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns `true` if the address is globally reachable by the IANA special-purpose registries (RFC 6890 and later).
/// Returns `false` in case of doubt.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, ..)              // this network, private, loopback
            | (100, 64..=127, _)        // shared by carriers (RFC 6598)
            | (169, 254, _)             // link-local, the metadata services of clouds among them
            | (172, 16..=31, _)         // private
            | (192, 168, _)             // private
            | (192, 0, 0 | 2)           // protocol assignments, documentation
            | (192, 88, 99)             // relays of 6to4, deprecated (RFC 7526)
            | (198, 18 | 19, _)         // benchmarks (RFC 2544)
            | (198, 51, 100)            // documentation
            | (203, 0, 113)             // documentation
            | (224.., ..) // multicast, reserved, broadcast
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Written for IPv4: the address that is meant decides. Mapped (RFC 4291 §2.5.5.2), and NAT64 (RFC 6052), behind
        // which whole networks reach every IPv4 host there is.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        [0x2001, ..=0x01ff, ..] => false, // protocol assignments, Teredo among them
        [0x2001, 0x0db8, ..] => false,    // documentation
        [0x2002, ..] => false,            // 6to4, deprecated; may lead to any IPv4 address
        [0x3fff, ..=0x0fff, ..] => false, // documentation (RFC 9637)
        // Global unicast is all in 2000::/3; outside are loopback, unspecified, private, link-local and multicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_open_internet_are_public() {
        for address in
            ["1.1.1.1", "17.188.143.34", "100.63.255.255", "100.128.0.0", "172.32.0.1", "223.255.255.255"]
                .into_iter()
                .chain(["2606:4700::1111", "2a00:1450:4001::5f", "2620:149:208::1", "2001:4860::8888"])
                .chain(["::ffff:1.1.1.1", "64:ff9b::1.1.1.1"])
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn loopback_private_link_local_and_reserved_addresses_are_not_public() {
        for address in
            ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255"]
                .into_iter()
                .chain([
                    "192.168.1.1",
                    "169.254.169.254",
                    "100.64.0.1",
                    "100.127.255.255",
                    "192.0.0.1",
                    "192.0.2.1",
                ])
                .chain(["192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"])
                .chain(["224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"])
        {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in
            ["::", "::1", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd00::1", "ff02::1", "2001:db8::1"]
                .into_iter()
                .chain([
                    "3fff::1",
                    "2001::1",
                    "2001:10::1",
                    "2001:1ff::1",
                    "100::1",
                    "5f00::1",
                    "64:ff9b:1::1",
                ])
        {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_that_embeds_another_is_not_a_way_around() {
        for address in
            ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.0.0.1"]
                .into_iter()
                .chain([
                    "64:ff9b::10.0.0.1",
                    "64:ff9b::127.0.0.1",
                    "64:ff9b:1::10.0.0.1",
                    "::ffff:0:127.0.0.1",
                ])
                .chain(["2002:7f00:1::1", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:80ff:fffe"])
        {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}
