//! What is wrong with pins.

use std::fmt::{self, Write as _};

use crate::package_index::IndexError;
use crate::packaging::toml_place::TomlError;
use crate::packaging::{PackageName, Requirement, Version};

/// How many requirements that pins leave unsatisfied are told one by one.
const TOLD: usize = 5;

/// Why pins cannot be installed on a base.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PinsError {
    /// A lock file that is none.
    #[error("`{file}` {error}")]
    Toml {
        /// The file.
        file: String,
        /// What is wrong with it, and where.
        error: TomlError,
    },
    /// A file for other environments than the base.
    #[error("`{file}` is not for this base: {reason}")]
    OtherEnvironment {
        /// The file.
        file: String,
        /// What it is for.
        reason: String,
    },
    /// One project, two pins.
    #[error("{name} is pinned twice, at {first} and at {second}")]
    Twice {
        /// The project.
        name: PackageName,
        /// Where first.
        first: String,
        /// Where again.
        second: String,
    },
    /// A pin of which nothing can be installed.
    #[error("{name} {version} ({origin}) cannot be installed: {reason}")]
    NotInstallable {
        /// The project.
        name: PackageName,
        /// The version.
        version: String,
        /// Where it is pinned.
        origin: String,
        /// Why not.
        reason: String,
    },
    /// A pin that says nothing by which a file could be verified, though it means to.
    #[error("{name} ({origin}) has hashes, but none of them is a sha256")]
    NoSha256 {
        /// The project.
        name: PackageName,
        /// Where it is pinned.
        origin: String,
    },
    /// Another file than the pinned one.
    #[error("{name} {version} is pinned ({origin}) to files with {pinned}, but {found}")]
    OtherHash {
        /// The project.
        name: PackageName,
        /// The version.
        version: String,
        /// Where it is pinned.
        origin: String,
        /// What the pin allows.
        pinned: String,
        /// What there is instead.
        found: String,
    },
    /// A file that is to be installed, and is none that could be.
    #[error("`{0}` has not the name of a wheel")]
    NotAWheel(String),
    /// Something is missing.
    #[error("{}", unsatisfied(.0))]
    Unsatisfied(Vec<Unsatisfied>),
    /// The index cannot be asked.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A requirement that pins leave unsatisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsatisfied {
    /// Who requires it.
    pub by: PackageName,
    /// In which version.
    pub version: Version,
    /// What is required, without its marker.
    pub requirement: Requirement,
    /// What there is instead; `None` for nothing.
    pub found: Option<Version>,
    /// Whether that is a pin rather than installed in the base.
    pub pinned: bool,
}

impl fmt::Display for Unsatisfied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.requirement.name;
        write!(
            f,
            "the pins leave {} {}'s requirement `{}` unsatisfied: ",
            self.by, self.version, self.requirement
        )?;
        match &self.found {
            None => write!(f, "{name} is neither pinned nor in the base"),
            Some(version) if self.pinned => write!(f, "{name} {version} is pinned"),
            Some(version) => write!(f, "the base has {name} {version}"),
        }
    }
}

fn unsatisfied(all: &[Unsatisfied]) -> String {
    let told: Vec<String> = all.iter().take(TOLD).map(ToString::to_string).collect();
    let mut text = told.join("; ");
    if all.len() > TOLD {
        let _ = write!(text, "; and {} more", all.len() - TOLD);
    }
    text
}

impl PinsError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unsatisfied(_) => {
                "pins are installed as they are and nothing beside them: pin what is missing, or resolve anew"
            }
            Self::OtherEnvironment { .. } | Self::NotInstallable { .. } => {
                "resolve anew for this base, such as with `imgtool resolve BASE REQUIREMENT -o FILE`"
            }
            Self::OtherHash { .. } => {
                "the file on the index is another than when it was pinned: find out why before you pin it anew"
            }
            Self::NoSha256 { .. } => "pin it with `--hash=sha256:…`",
            Self::Index(error) => return error.hint(),
            Self::Toml { .. } | Self::Twice { .. } | Self::NotAWheel(_) => return None,
        };
        Some(hint.to_owned())
    }
}
