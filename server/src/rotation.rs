//! Rate limit of requests that replace an address, per client address and with bounded memory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use pushgate::Timestamp;

use crate::problem::Problem;

/// Largest number of clients in one generation of buckets. Memory holds at most two generations.
const MAX_CLIENTS: usize = 8192;
/// Time after which an unused bucket is full again and can be dropped.
const REFILL: Duration = Duration::from_secs(60);
/// Number of host bits of an IPv6 address. A household or a server gets a whole /64, which counts as one client.
const IPV6_PREFIX: u32 = 64;

/// Token buckets by client address.
pub struct RotationLimit {
    per_minute: u32,
    header: Option<HeaderName>,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    current: HashMap<IpAddr, Bucket>,
    previous: HashMap<IpAddr, Bucket>,
    turned_at: Timestamp,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl RotationLimit {
    /// Returns a limit per client and minute. 0 means no limit. `header` has the client's address behind a reverse proxy.
    #[must_use]
    pub fn new(per_minute: u32, header: Option<&str>) -> Self {
        let buckets = Buckets {
            current: HashMap::new(),
            previous: HashMap::new(),
            turned_at: Timestamp::from_millis(0),
        };
        let header = header.and_then(|name| name.to_ascii_lowercase().parse().ok());
        Self { per_minute, header, buckets: Mutex::new(buckets) }
    }

    /// Counts a request of a client.
    ///
    /// # Errors
    /// 429 with the time after which the next request is accepted.
    pub(crate) fn admit(&self, headers: &HeaderMap, peer: SocketAddr, now: Timestamp) -> Result<(), Problem> {
        if self.per_minute == 0 || self.buckets.lock().take(self.client(headers, peer), self.per_minute, now)
        {
            return Ok(());
        }
        metrics::counter!("pushgate_rotations_refused_total").increment(1);
        let detail =
            format!("at most {} rotations per minute from one address; try again later", self.per_minute);
        Err(Problem::new(429, "too_many_rotations", detail).retry_after(60_u32.div_ceil(self.per_minute)))
    }

    /// Returns the address of the client: the last element of the proxy's header, or else the address of the connection.
    fn client(&self, headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
        let from_header = self.header.as_ref().and_then(|name| {
            let last = headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
            last.parse().or_else(|_| last.parse().map(|address: SocketAddr| address.ip())).ok()
        });
        match from_header.unwrap_or_else(|| peer.ip()).to_canonical() {
            IpAddr::V6(address) => {
                let prefix = address.to_bits() >> IPV6_PREFIX << IPV6_PREFIX;
                IpAddr::V6(Ipv6Addr::from_bits(prefix))
            }
            address => address,
        }
    }
}

impl Buckets {
    /// Takes a token of the client's bucket. Returns `false` if the bucket is empty.
    fn take(&mut self, client: IpAddr, per_minute: u32, now: Timestamp) -> bool {
        if self.current.len() >= MAX_CLIENTS || self.turned_at + REFILL <= now {
            self.previous = std::mem::take(&mut self.current);
            self.turned_at = now;
        }
        let capacity = f64::from(per_minute);
        let bucket = self.current.get(&client).or_else(|| self.previous.get(&client)).copied();
        let bucket = bucket.unwrap_or(Bucket { tokens: capacity, at: now });
        let refilled = now.since(bucket.at).as_secs_f64() * capacity / REFILL.as_secs_f64();
        let tokens = (bucket.tokens + refilled).min(capacity);
        let has_token = tokens >= 1.0;
        let tokens = if has_token { tokens - 1.0 } else { tokens };
        self.current.insert(client, Bucket { tokens, at: now });
        has_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 40_000)
    }

    fn is_admitted(limit: &RotationLimit, address: &str, now: Timestamp) -> bool {
        limit.admit(&HeaderMap::new(), peer(address), now).is_ok()
    }

    #[test]
    fn each_client_has_its_own_limit_per_minute() {
        let limit = RotationLimit::new(2, None);
        let admitted: Vec<_> = (0..3).map(|_| is_admitted(&limit, "192.0.2.1", T0)).collect();
        assert_eq!(admitted, [true, true, false]);
        assert!(is_admitted(&limit, "192.0.2.2", T0));
        assert!(is_admitted(&limit, "192.0.2.1", T0 + Duration::from_secs(30)), "one in half a minute");
        assert!(!is_admitted(&limit, "192.0.2.1", T0 + Duration::from_secs(31)));
        let unlimited = RotationLimit::new(0, None);
        assert!((0..1000).all(|_| is_admitted(&unlimited, "192.0.2.1", T0)));
    }

    #[test]
    fn one_prefix_of_ipv6_and_one_mapped_ipv4_address_are_one_client() {
        let limit = RotationLimit::new(1, None);
        assert!(is_admitted(&limit, "2001:db8::1", T0));
        assert!(!is_admitted(&limit, "2001:db8::ffff:2", T0));
        assert!(is_admitted(&limit, "2001:db8:0:1::1", T0));
        assert!(is_admitted(&limit, "192.0.2.1", T0));
        assert!(!is_admitted(&limit, "::ffff:192.0.2.1", T0));
    }

    #[test]
    fn the_last_element_of_the_proxys_header_is_the_client() {
        let limit = RotationLimit::new(1, Some("X-Forwarded-For"));
        let is_admitted = |text: &'static str| {
            let headers = HeaderMap::from_iter([(
                "x-forwarded-for".parse::<HeaderName>().unwrap(),
                http::HeaderValue::from_static(text),
            )]);
            limit.admit(&headers, peer("10.0.0.1"), T0).is_ok()
        };
        assert!(is_admitted("192.0.2.1"));
        assert!(!is_admitted("198.51.100.7, 192.0.2.1"), "what the client wrote itself does not count");
        assert!(is_admitted("192.0.2.1, 192.0.2.2"));
        assert!(is_admitted("nonsense"), "then it is the proxy's");
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_clients() {
        let limit = RotationLimit::new(1, None);
        for i in 0..100_000_u32 {
            let address = SocketAddr::new(std::net::Ipv4Addr::from_bits(i).into(), 1);
            assert!(limit.admit(&HeaderMap::new(), address, T0).is_ok());
        }
        let buckets = limit.buckets.lock();
        assert!(buckets.current.len() + buckets.previous.len() <= 2 * MAX_CLIENTS);
    }
}
