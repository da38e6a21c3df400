//! What keeps an index from answering.

use crate::http::HttpError;
use crate::packaging::simple::PageError;

/// Why an index has no answer. Cloned to everybody who waits for the same page or file.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// The address of an index is none.
    #[error("`{url}` is not the address of a package index: {reason}")]
    InvalidUrl {
        /// The address, redacted.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The network failed us while asking for a project.
    #[error("cannot ask the package index for `{project}`: {source}")]
    Project {
        /// Name of the project.
        project: String,
        /// What happened.
        source: HttpError,
    },
    /// The network failed us while fetching a page of links.
    #[error("cannot fetch the page of links {url}: {source}")]
    Links {
        /// Address of the page, redacted.
        url: String,
        /// What happened.
        source: HttpError,
    },
    /// A place of `--find-links` that cannot be used.
    #[error("`{location}` cannot be searched for files (`--find-links`): {reason}")]
    FindLinks {
        /// The place, redacted.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file on this machine that cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    LocalFile {
        /// Path of the file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The network failed us while fetching a file.
    #[error("cannot fetch `{file}`: {source}")]
    File {
        /// Name of the file.
        file: String,
        /// What happened.
        source: HttpError,
    },
    /// The index wants credentials, or others than it got.
    #[error("the package index {index} refuses access to `{item}` with status {status}")]
    Refused {
        /// Address of the index, redacted.
        index: String,
        /// The project or file that was asked for.
        item: String,
        /// The status, 401 or 403.
        status: u16,
    },
    /// A page that is not one of the simple API.
    #[error("the page {url} cannot be read: {source}")]
    Page {
        /// Address of the page, redacted.
        url: String,
        /// What is wrong with it.
        source: PageError,
    },
    /// Bytes that are not those that the index, or a lock, announced.
    #[error("`{file}` has the SHA-256 {found}, but the one that is announced is {expected}")]
    HashMismatch {
        /// Name of the file.
        file: String,
        /// What was announced.
        expected: String,
        /// What the bytes have.
        found: String,
    },
    /// More or fewer bytes than announced; of more, no more was read than tells.
    #[error("`{file}` has {found} bytes, but {expected} are announced")]
    SizeMismatch {
        /// Name of the file.
        file: String,
        /// What was announced, in bytes.
        expected: u64,
        /// How many came.
        found: u64,
    },
    /// A file that was fetched cannot be written on this machine.
    #[error("cannot store `{file}` in `{folder}`: {reason}")]
    Store {
        /// Name of the file.
        file: String,
        /// The folder.
        folder: String,
        /// Why.
        reason: String,
    },
    /// Offline, and the project's page is not in the cache.
    #[error(
        "the page of `{project}` is not in the cache, and the package index cannot be asked while offline"
    )]
    ProjectNotCached {
        /// Name of the project.
        project: String,
    },
    /// Offline, and what is needed of a file is not in the cache.
    #[error("`{file}` is not in the cache, and cannot be fetched while offline")]
    FileNotCached {
        /// Name of the file.
        file: String,
    },
    /// A configuration file of pip that cannot be read.
    #[error("cannot read {path}: {reason}")]
    Configuration {
        /// Path of the file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The thread that fetches could not be started, or ended before it had the answer.
    #[error("the fetching of `{item}` was interrupted: {reason}")]
    Interrupted {
        /// The project or file that was asked for.
        item: String,
        /// Why, as far as it is known.
        reason: String,
    },
    /// An index of another kind failed, in its own words.
    #[error("{0}")]
    Failed(String),
}

impl IndexError {
    /// Whether what the user gave is at fault, rather than the index or the network.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        let network = match self {
            Self::InvalidUrl { .. }
            | Self::Configuration { .. }
            | Self::FindLinks { .. }
            | Self::LocalFile { .. }
            | Self::Store { .. }
            | Self::ProjectNotCached { .. }
            | Self::FileNotCached { .. } => return true,
            Self::Project { source, .. }
            | Self::Links { source, .. }
            | Self::File { source, .. } => source,
            _ => return false,
        };
        matches!(network, HttpError::Setup { .. })
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Refused { .. } => {
                "the index needs valid credentials: in its URL (`https://user:password@host/simple`) or in a netrc file"
            }
            Self::ProjectNotCached { .. } | Self::FileNotCached { .. } => {
                "run the same once without `--offline` and `--no-cache`, with the same cache folder"
            }
            Self::Store { .. } => {
                "what is fetched needs room in the cache folder (`--cache-dir`, IMGTOOL_CACHE_DIR; `imgtool cache prune` \
                 makes some), without a cache in the folder of temporary files (TMPDIR)"
            }
            Self::HashMismatch { .. } | Self::SizeMismatch { .. } => {
                "the file was changed after it was announced, or on its way; if a mirror is in use, ask it anew with `--refresh`"
            }
            Self::Page { .. } => {
                "the address of an index is that of its simple API, and usually ends in `/simple`"
            }
            Self::Project { source, .. }
            | Self::Links { source, .. }
            | Self::File { source, .. } => match source {
                HttpError::Tls { .. } => {
                    "if your network has a certificate authority of its own, name its PEM file in SSL_CERT_FILE or PIP_CERT"
                }
                HttpError::Setup { reason } if reason.ends_with("netrc file") => {
                    "mend the file, or name another in NETRC"
                }
                HttpError::Unreachable { .. } | HttpError::Timeout { .. } => {
                    "check the network and the proxy (HTTPS_PROXY); with a filled cache, `--offline` needs neither"
                }
                HttpError::Status { status, .. } if *status >= 500 || *status == 429 => {
                    "the index is in trouble: try again later; with a filled cache, `--offline` needs it no more"
                }
                _ => return None,
            },
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
