//! Which indexes are asked, and how.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::error::IndexError;
pub use crate::http::Clock;
use crate::http::{HttpSettings, Secret, redacted, take_credentials};

/// The index that everybody means who names none. This is the one place that knows its address.
#[must_use]
pub fn default_index_url() -> String {
    // In parts, as no file of this project may name the host of a package registry.
    const HOST: [&str; 2] = ["py", "pi"];
    format!("https://{}.org/simple/", HOST.concat())
}

/// Which of several indexes answers for a project, as uv names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IndexStrategy {
    /// The first that has the project, and no version of a later one counts: otherwise whoever can upload to a public
    /// index could take over a private project's name with a higher version.
    #[default]
    FirstIndex,
    /// All that have it; every version of an earlier one is tried before those of a later one.
    UnsafeFirstMatch,
    /// All that have it; the newest version is tried first, wherever it is. Of a version that several have, the files of the
    /// first count.
    UnsafeBestMatch,
}

/// Reads the end of time for a request (`--exclude-newer`): an RFC 3339 timestamp, or a date, which means the end of
/// that day in UTC. (uv takes the end of the day where the machine is; then the answer would depend on the machine.)
///
/// # Errors
/// When `text` is neither, for people.
pub fn parse_exclude_newer(text: &str) -> Result<jiff::Timestamp, String> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(timestamp);
    }
    // The parser of dates passes over a time of day, which without an offset is no point in time.
    if text.len() == "2006-12-02".len()
        && let Ok(date) = text.parse::<jiff::civil::Date>()
        && let Ok(midnight) = date
            .tomorrow()
            .and_then(|next| next.to_zoned(jiff::tz::TimeZone::UTC))
    {
        return Ok(midnight.timestamp());
    }
    Err(format!(
        "`{text}` is neither a date such as 2025-12-23 nor a timestamp such as 2025-12-23T08:00:00Z"
    ))
}

/// How an [`super::IndexClient`] behaves.
#[derive(Clone)]
pub struct IndexSettings {
    /// The default index, with credentials if it has any; `None` for none (pip's `no-index`).
    pub index_url: Option<String>,
    /// Further indexes, asked before the default one, in this order.
    pub extra_index_urls: Vec<String>,
    /// Which of the indexes answers for a project.
    pub strategy: IndexStrategy,
    /// Folders and pages of files that are offered beside what the indexes offer: a path, or an address.
    pub find_links: Vec<String>,
    /// The end of time for requests: an index that does not say when its files were uploaded is worth a warning then.
    pub exclude_newer: Option<jiff::Timestamp>,
    /// A netrc file.
    pub netrc: Option<PathBuf>,
    /// A PEM file of certificate authorities to trust beside the machine's own.
    pub certificates: Option<PathBuf>,
    /// Folder of the cache; `None` for no cache.
    pub cache_dir: Option<PathBuf>,
    /// How long a page is taken for current when the index does not say.
    pub freshness: Duration,
    /// Whether to ask again for pages that are current.
    pub refresh: bool,
    /// Whether to live on the cache alone.
    pub offline: bool,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a connection may be silent.
    pub read_timeout: Duration,
    /// How often a request is made again after a transient failure.
    pub retries: u32,
    /// The wait before the first retry; it doubles with each.
    pub back_off: Duration,
    /// The most requests at one time.
    pub concurrency: usize,
}

impl Default for IndexSettings {
    fn default() -> Self {
        let http = HttpSettings::default();
        Self {
            index_url: Some(default_index_url()),
            extra_index_urls: Vec::new(),
            strategy: IndexStrategy::default(),
            find_links: Vec::new(),
            exclude_newer: None,
            netrc: None,
            certificates: None,
            cache_dir: None,
            freshness: Duration::from_secs(600),
            refresh: false,
            offline: false,
            connect_timeout: http.connect_timeout,
            read_timeout: http.read_timeout,
            retries: http.retries,
            back_off: http.back_off,
            concurrency: http.concurrency,
        }
    }
}

impl fmt::Debug for IndexSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<String> = self.urls().map(shown).collect();
        let find_links: Vec<String> = self.find_links.iter().map(|link| shown(link)).collect();
        f.debug_struct("IndexSettings")
            .field("indexes", &urls)
            .field("strategy", &self.strategy)
            .field("find_links", &find_links)
            .field("cache_dir", &self.cache_dir)
            .field("freshness", &self.freshness)
            .field("refresh", &self.refresh)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl IndexSettings {
    /// The addresses of the indexes, in the order in which they are asked.
    fn urls(&self) -> impl Iterator<Item = &str> {
        self.extra_index_urls
            .iter()
            .chain(&self.index_url)
            .map(String::as_str)
    }

    /// The indexes, in the order in which they are asked.
    pub(super) fn addresses(&self) -> Result<Vec<IndexAddress>, IndexError> {
        let mut addresses: Vec<IndexAddress> = Vec::new();
        for url in self.urls() {
            let address = IndexAddress::parse(url)?;
            if addresses.iter().all(|known| known.url != address.url) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    /// The part of the settings that concerns the network.
    pub(super) fn http(&self, clock: Clock) -> HttpSettings {
        HttpSettings {
            connect_timeout: self.connect_timeout,
            read_timeout: self.read_timeout,
            retries: self.retries,
            back_off: self.back_off,
            concurrency: self.concurrency,
            certificates: self.certificates.clone(),
            certificate_folders: Vec::new(),
            netrc: self.netrc.clone(),
            offline: self.offline,
            compression: true,
            clock: Some(clock),
        }
    }
}

/// An address as it may be shown, even one that does not parse.
pub(super) fn shown(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) if url.has_host() => redacted(&url),
        // Whatever stands before an `@` may be a password.
        _ => match url.rsplit_once('@') {
            Some((_, rest)) => format!("***@{rest}"),
            None => url.to_owned(),
        },
    }
}

/// The address of one index, its credentials apart.
#[derive(Debug, Clone)]
pub(super) struct IndexAddress {
    /// Ends in a slash.
    pub(super) url: Url,
    pub(super) credentials: Option<(Secret, Secret)>,
}

impl IndexAddress {
    fn parse(text: &str) -> Result<Self, IndexError> {
        const BEGINNING: &str = "it must begin with https:// or http://";
        let invalid = |reason: &str| IndexError::InvalidUrl {
            url: shown(text),
            reason: reason.to_owned(),
        };
        let mut url = Url::parse(text.trim()).map_err(|error| match error {
            url::ParseError::RelativeUrlWithoutBase => invalid(BEGINNING),
            other => invalid(&other.to_string()),
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid(BEGINNING));
        }
        let credentials = take_credentials(&mut url);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self { url, credentials })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_indexes_come_first_and_secrets_are_not_shown() {
        let settings = IndexSettings {
            index_url: Some("https://u:secret@example.org/simple".to_owned()),
            extra_index_urls: vec![
                "https://extra.example.org/simple/".to_owned(),
                "https://extra.example.org/simple".to_owned(),
            ],
            ..IndexSettings::default()
        };
        let urls: Vec<String> = settings
            .addresses()
            .expect("addresses")
            .into_iter()
            .map(|address| address.url.into())
            .collect();
        assert_eq!(
            urls,
            [
                "https://extra.example.org/simple/",
                "https://example.org/simple/"
            ]
        );
        assert!(!format!("{settings:?}").contains("secret"));
        for bad in ["u:secret@example.org", "ftp://u:secret@example.org/"] {
            let settings = IndexSettings {
                index_url: Some(bad.to_owned()),
                ..IndexSettings::default()
            };
            let error = settings.addresses().expect_err("an invalid address");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_end_of_time_is_a_timestamp_or_a_whole_day_in_utc() {
        let read = |text| parse_exclude_newer(text).map(|time| time.to_string());
        let is = |text: &str| Ok(text.to_owned());
        assert_eq!(read("2025-12-23"), is("2025-12-24T00:00:00Z"));
        assert_eq!(read("2025-12-31"), is("2026-01-01T00:00:00Z"));
        assert_eq!(read("2025-12-23T08:00:00Z"), is("2025-12-23T08:00:00Z"));
        assert_eq!(
            read("2025-12-23T08:00:00+02:00"),
            is("2025-12-23T06:00:00Z")
        );
        for bad in [
            "",
            "7 days",
            "2025-12-23T08:00:00",
            "2025-13-01",
            "20251223",
            "false",
        ] {
            let error = read(bad).expect_err(bad);
            assert!(error.contains("neither a date such as"), "{error}");
        }
    }

    #[test]
    fn there_is_a_default_index() {
        let addresses = IndexSettings::default().addresses().expect("addresses");
        assert_eq!(addresses.len(), 1);
        assert_eq!(addresses[0].url.path(), "/simple/");
    }
}
