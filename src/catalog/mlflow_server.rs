//! Which clients MLflow promises to work with a server of a given version.
//!
//! The rule is MLflow's own, "Compatibility between MLflow SDK and the Server" of its upgrade guide
//! (<https://mlflow.org/docs/latest/self-hosting/migration>): a tracking server works with older clients, up to one major
//! version (2.x to 3.x); it may not work with newer ones. Their example: tracing came with 2.15, and a client of 2.15
//! finds no such endpoints in an older server. Maintainers say the same: future clients with older servers are not
//! supported (<https://github.com/mlflow/mlflow/issues/5171>), and clients of 3.x are not meant for servers of 2.x
//! (<https://github.com/mlflow/mlflow/issues/16215>, where artifacts cannot be downloaded).
//!
//! New endpoints come with minor versions, so a server that is named by its minor version, such as 2.19, takes clients of
//! all its patch releases. One that is named by its patch release is taken at its word: there are clients of a patch
//! release that send what the server before it does not know.

use std::fmt;
use std::str::FromStr;

use crate::packaging::{Version, VersionSpecifier, VersionSpecifiers};

/// The projects that hold a client of the server: the whole, and the two parts of it that MLflow publishes.
pub const CLIENTS: [&str; 3] = ["mlflow", "mlflow-skinny", "mlflow-tracing"];

/// The version of an MLflow server, by as many numbers as are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion(Version);

/// A text that is no version of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no version of an MLflow server, which is such as 2.19 or 2.19.0")]
pub struct ServerVersionError(String);

impl FromStr for ServerVersion {
    type Err = ServerVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ServerVersionError(text.to_owned());
        let version = Version::from_str(text.trim()).map_err(|_| error())?;
        // A major version alone says nothing of the endpoints.
        if version.release().len() < 2 || version.epoch() != 0 {
            return Err(error());
        }
        // Who builds a server of their own adds a local part; clients have none.
        Ok(Self(version.without_local()))
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ServerVersion {
    /// The versions of clients that it works with: from the major version before its own up to its own version.
    #[must_use]
    pub fn clients(&self) -> VersionSpecifiers {
        let release = self.0.release();
        let major = release.first().copied().unwrap_or_default();
        let oldest = major.saturating_sub(1);
        let newest = match *release {
            [major, minor] if !self.0.any_prerelease() => {
                VersionSpecifier::less_than_version(Version::new([major, minor.saturating_add(1)]))
            }
            _ => VersionSpecifier::less_than_equal_version(self.0.clone()),
        };
        let oldest = VersionSpecifier::greater_than_equal_version(Version::new([oldest]));
        [newest, oldest].into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_works_with_older_clients_up_to_one_major_version() {
        for (server, clients, fitting, others) in [
            (
                "2.19",
                ">=1, <2.20",
                &["1.30.1", "2.0.0", "2.19.0", "2.19.7"][..],
                &["0.9.1", "2.20.0", "2.22.1", "3.1.0"][..],
            ),
            (
                "3.4.1+corp.2",
                ">=2, <=3.4.1",
                &["2.0.0", "2.22.0", "3.4.0", "3.4.1"],
                &["1.30.1", "3.4.2", "3.5.0"],
            ),
            ("3.0.0rc1", ">=2, <=3.0.0rc1", &["2.22.0"], &["3.0.0"]),
        ] {
            let server: ServerVersion = server.parse().expect("a version");
            let bounds = server.clients();
            assert_eq!(bounds.to_string(), clients);
            let version = |text: &&str| Version::from_str(text).expect("a version");
            assert!(fitting.iter().map(version).all(|v| bounds.contains(&v)));
            assert!(!others.iter().map(version).any(|v| bounds.contains(&v)));
        }
    }

    #[test]
    fn what_is_no_version_of_a_server_is_refused() {
        for text in ["", "2", "latest", "2.x", "1!2.3", ">=2.1"] {
            let error = ServerVersion::from_str(text).expect_err(text);
            assert!(error.to_string().contains("is no version"), "{error}");
        }
    }
}
