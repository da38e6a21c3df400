//! When a request is made again, and after how long.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The longest that is waited before a request is made again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Whether a status says "not now" rather than "no".
pub(super) fn is_transient(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before attempt number `attempt` (the first retry is 1), when the server does not say: doubling,
/// without randomness, as one run is one client and results should be repeatable.
#[must_use]
pub fn back_off(first: Duration, attempt: u32) -> Duration {
    first
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(LONGEST_WAIT)
}

/// Whether a server asks for more patience than anybody has: asking before its time would only be refused again.
pub(super) fn is_too_long(wait: Duration) -> bool {
    wait > LONGEST_WAIT
}

/// What the server asks for in `Retry-After`, in seconds. Its date form is passed over: it would need the wall clock.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_are_capped() {
        let first = Duration::from_millis(250);
        assert_eq!(back_off(first, 1), first);
        assert_eq!(back_off(first, 3), Duration::from_secs(1));
        assert_eq!(back_off(first, 99), LONGEST_WAIT);
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "86400".parse().expect("a header"));
        let day = retry_after(&headers).expect("a wait");
        assert!(is_too_long(day) && !is_too_long(LONGEST_WAIT));
        headers.insert(RETRY_AFTER, "soon".parse().expect("a header"));
        assert_eq!(retry_after(&headers), None);
    }
}
