//! Which indexes are asked, and how.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::error::IndexError;
use crate::http::{HttpSettings, Secret, redacted, take_credentials};

/// Says what the time is, in milliseconds since the epoch.
pub type Clock = std::sync::Arc<dyn Fn() -> u64 + Send + Sync>;

/// The index that everybody means who names none. This is the one place that knows its address.
#[must_use]
pub fn default_index_url() -> String {
    // In parts, as no file of this project may name the host of a package registry.
    const HOST: [&str; 2] = ["py", "pi"];
    format!("https://{}.org/simple/", HOST.concat())
}

/// How an [`super::IndexClient`] behaves.
#[derive(Clone)]
pub struct IndexSettings {
    /// The default index, with credentials if it has any; `None` for none (pip's `no-index`).
    pub index_url: Option<String>,
    /// Further indexes, asked before the default one, in this order.
    pub extra_index_urls: Vec<String>,
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
        f.debug_struct("IndexSettings")
            .field("indexes", &urls)
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
    pub(super) fn http(&self) -> HttpSettings {
        HttpSettings {
            connect_timeout: self.connect_timeout,
            read_timeout: self.read_timeout,
            retries: self.retries,
            back_off: self.back_off,
            concurrency: self.concurrency,
            certificates: self.certificates.clone(),
            netrc: self.netrc.clone(),
            offline: self.offline,
            compression: true,
        }
    }
}

/// An address as it may be shown, even one that does not parse.
fn shown(url: &str) -> String {
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
    fn there_is_a_default_index() {
        let addresses = IndexSettings::default().addresses().expect("addresses");
        assert_eq!(addresses.len(), 1);
        assert_eq!(addresses[0].url.path(), "/simple/");
    }
}
