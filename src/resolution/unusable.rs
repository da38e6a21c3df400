//! Why a candidate cannot be used after all.

use std::fmt;

/// A candidate that turned out not to be installable once its metadata was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Its metadata breaks the specification.
    InvalidMetadata(String),
    /// Its metadata asks for another Python than its page on the index said.
    RequiresPython(String),
    /// It requires a direct reference, which is not on an index.
    DirectReference(String),
    /// It requires another version of itself.
    RequiresItself(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidMetadata(reason) => write!(f, "its metadata is invalid: {reason}"),
            Self::RequiresPython(specifiers) => write!(f, "it requires Python {specifiers}"),
            Self::DirectReference(requirement) => {
                write!(
                    f,
                    "it requires `{requirement}`, which is not a version on an index"
                )
            }
            Self::RequiresItself(requirement) => {
                write!(f, "it requires `{requirement}`, another version of itself")
            }
        }
    }
}
