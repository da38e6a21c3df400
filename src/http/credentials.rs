//! Credentials: where they come from, and to whom they are sent.

use std::fmt;
use std::path::Path;

use url::Url;

use super::error::HttpError;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who must send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user name and a password, for HTTP's basic authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Secret,
    pub(super) password: Secret,
}

/// Whose credentials are whose: those of an address go to the same scheme, host and port alone.
#[derive(Debug, Default)]
pub(super) struct CredentialStore {
    addresses: Vec<(Url, Credentials)>,
    hosts: Vec<(String, Credentials)>,
}

impl CredentialStore {
    /// Remembers the credentials that came with `url`.
    pub(super) fn add(&mut self, url: Url, user: Secret, password: Secret) {
        self.addresses.push((url, Credentials { user, password }));
    }

    /// Reads a netrc file; one that does not exist has no credentials.
    pub(super) fn read_netrc(&mut self, path: &Path) -> Result<(), HttpError> {
        if !path.exists() {
            return Ok(());
        }
        // The parser's message may quote the line, and with it a password: say where, not what.
        let netrc = netrc::Netrc::from_file(path).map_err(|_| HttpError::Setup {
            reason: format!("{} is not a valid netrc file", path.display()),
        })?;
        self.hosts = netrc
            .hosts
            .into_iter()
            .map(|(host, entry)| {
                let credentials = Credentials {
                    user: Secret(entry.login),
                    password: Secret(entry.password),
                };
                (host.to_ascii_lowercase(), credentials)
            })
            .collect();
        Ok(())
    }

    /// The credentials that may be sent to `url`. Two indexes on one host are told apart by their paths.
    pub(super) fn of(&self, url: &Url) -> Option<&Credentials> {
        let same_origin = self.addresses.iter().filter(|(address, _)| {
            address.scheme() == url.scheme()
                && address.host_str() == url.host_str()
                && address.port_or_known_default() == url.port_or_known_default()
        });
        let nearest = same_origin.max_by_key(|(address, _)| {
            let path = address.path().trim_end_matches('/');
            let within = url
                .path()
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if within { path.len() + 1 } else { 0 }
        });
        if let Some((_, credentials)) = nearest {
            return Some(credentials);
        }
        let host = url.host_str()?;
        self.hosts
            .iter()
            .find(|(name, _)| name == host)
            .map(|(_, credentials)| credentials)
    }
}

/// Takes user name and password out of `url`, if it has any.
pub fn take_credentials(url: &mut Url) -> Option<(Secret, Secret)> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let user = Secret(percent_decoded(url.username()));
    let password = Secret(percent_decoded(url.password().unwrap_or_default()));
    // These setters fail only for addresses that cannot have user information in the first place.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some((user, password))
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn credentials_stay_with_their_origin_and_the_nearest_path_wins() {
        let mut store = CredentialStore::default();
        for text in [
            "https://a%40b:p%3A1@example.org/one/simple/",
            "https://c:2@example.org/two/simple",
        ] {
            let mut address = url(text);
            let (user, password) = take_credentials(&mut address).expect("credentials");
            assert!(!address.as_str().contains('@'));
            store.add(address, user, password);
        }
        let user = |text| {
            store
                .of(&url(text))
                .map(|found| found.user.reveal().to_owned())
        };
        assert_eq!(
            user("https://example.org/one/simple/x/").as_deref(),
            Some("a@b")
        );
        assert_eq!(
            user("https://example.org/two/simple/x/").as_deref(),
            Some("c")
        );
        assert_eq!(user("http://example.org/two/simple/x/"), None);
        assert_eq!(user("https://example.org:444/two/simple/x/"), None);
        assert_eq!(user("https://files.example.org/two/simple/x/"), None);
        assert!(!format!("{store:?}").contains("p:1"));
    }
}
