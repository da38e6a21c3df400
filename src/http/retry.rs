//! When a request is made again, and after how long.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

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

/// What the server asks for in `Retry-After`: seconds, or the time of day until which to wait. That is compared with the
/// server's own time (`Date`), so that a clock that is wrong on either side does not count; only where the server does
/// not tell it, with `now`, which tells how long ago 1970 began. A time that has passed asks for nothing.
///
/// Specification: RFC 9110, sections 5.6.7 (dates), 6.6.1 (`Date`) and 10.2.3 (`Retry-After`).
pub(super) fn retry_after(
    headers: &HeaderMap,
    now: impl FnOnce() -> Option<Duration>,
) -> Option<Duration> {
    let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.trim());
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = since_1970(asked)?;
    let now = text(DATE).and_then(since_1970).or_else(now)?;
    until.checked_sub(now).filter(|wait| !wait.is_zero())
}

/// How long after the beginning of 1970 a date of HTTP is.
fn since_1970(date: &str) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    date.duration_since(UNIX_EPOCH).ok()
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
        let day = retry_after(&headers, || None).expect("a wait");
        assert!(is_too_long(day) && !is_too_long(LONGEST_WAIT));
        headers.insert(RETRY_AFTER, "soon".parse().expect("a header"));
        assert_eq!(retry_after(&headers, || Some(Duration::ZERO)), None);
    }

    #[test]
    fn a_date_is_waited_for() {
        // 1994-11-06 08:49:00 UTC.
        let now = Duration::from_secs(784_111_740);
        let wait = |until: &str, date: Option<&str>, clock: Option<Duration>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, until.parse().expect("a header"));
            if let Some(date) = date {
                headers.insert(DATE, date.parse().expect("a header"));
            }
            retry_after(&headers, || clock)
        };
        let until = "Sun, 06 Nov 1994 08:49:07 GMT";
        for same in [
            until,
            "Sunday, 06-Nov-94 08:49:07 GMT",
            "Sun Nov  6 08:49:07 1994",
        ] {
            assert_eq!(
                wait(same, None, Some(now)),
                Some(Duration::from_secs(7)),
                "{same}"
            );
        }
        let date = Some("Sun, 06 Nov 1994 08:49:05 GMT");
        assert_eq!(
            wait(until, date, Some(now)),
            Some(Duration::from_secs(2)),
            "the server's own time counts"
        );
        assert_eq!(wait(until, None, None), None, "nobody knows the time");
        let passed = "Sun, 06 Nov 1994 08:48:00 GMT";
        assert_eq!(wait(passed, None, Some(now)), None, "it has passed");
        let later = wait("Tue, 06 Dec 1994 08:49:00 GMT", None, Some(now));
        assert!(later.is_some_and(is_too_long));
        for wrong in ["Sun, 99 Nov 1994 08:49:07 GMT", "1994-11-06", "-7", ""] {
            assert_eq!(wait(wrong, date, Some(now)), None, "{wrong}");
        }
    }
}
