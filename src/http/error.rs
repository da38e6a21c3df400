//! What can go wrong between a request and its answer, and how an address is shown.

use std::error::Error as _;

use url::Url;

/// Why a request has no answer. Every address in here is redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No connection, or one that broke.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What the connection reports.
        reason: String,
    },
    /// The peer's certificate is not trusted, or no common TLS parameters were found.
    #[error("cannot establish a secure connection to {url}: {reason}")]
    Tls {
        /// What was asked for.
        url: String,
        /// What TLS reports.
        reason: String,
    },
    /// Nothing arrived in time.
    #[error("{url} did not answer in time")]
    Timeout {
        /// What was asked for.
        url: String,
    },
    /// A status that is no answer.
    #[error("{url} answered with status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
    },
    /// More bytes than the caller accepts.
    #[error("the answer of {url} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A chain of redirects that does not end, or a redirect that must not be followed.
    #[error("{url} redirects {reason}")]
    Redirect {
        /// The address that redirects.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A body that broke off and cannot be gone on with.
    #[error("{url} broke off after {at} bytes and cannot be gone on with: {reason}")]
    Resume {
        /// What was asked for.
        url: String,
        /// How many bytes had come.
        at: u64,
        /// What the server answered instead.
        reason: String,
    },
    /// The network must not be used.
    #[error("{url} cannot be asked while offline")]
    Offline {
        /// What was asked for.
        url: String,
    },
    /// The client cannot be built: certificates that cannot be read, credentials that cannot be parsed.
    #[error("cannot set up the network client: {reason}")]
    Setup {
        /// What is wrong.
        reason: String,
    },
}

impl HttpError {
    /// Whether asking once more may help.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }

    /// Classifies an error of the library below, whose own text would show the address with its query.
    pub(super) fn from_reqwest(url: &Url, error: reqwest::Error) -> Self {
        let url = redacted(url);
        if error.is_timeout() {
            return Self::Timeout { url };
        }
        let error = error.without_url();
        let mut reason = error.to_string();
        let mut tls = false;
        let mut source = error.source();
        while let Some(cause) = source {
            tls |= is_tls(cause);
            // The innermost cause says what happened; what wraps it only says where.
            reason = cause.to_string();
            source = cause.source();
        }
        if tls {
            Self::Tls { url, reason }
        } else {
            Self::Unreachable { url, reason }
        }
    }
}

/// Whether an error is one of TLS. An I/O error hides what it wraps from its `source`, and it may wrap another one.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
        .is_some_and(|wrapped| is_tls(wrapped))
}

/// An address as it may be shown: without user information, query (which may be a signature) and fragment.
#[must_use]
pub fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // These setters fail only for addresses that cannot have user information in the first place.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    if shown.query().is_some() {
        shown.set_query(None);
        return format!("{shown}?...");
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let url = Url::parse("https://user:secret@example.org/simple/?signature=secret#secret")
            .expect("a URL");
        assert_eq!(redacted(&url), "https://example.org/simple/?...");
    }
}
