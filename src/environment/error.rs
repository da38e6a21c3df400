//! What keeps an environment from being read.

use crate::rootfs::RootFsError;

/// Why there is no environment to answer with. Doubts about parts of one are its notes.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The folder that was named does not exist.
    #[error("the folder `{path}` does not exist")]
    NotFound {
        /// The folder as the user named it.
        path: String,
    },
    /// Something else than a folder was named.
    #[error("`{path}` is not a folder")]
    NotADirectory {
        /// The path as the user named it.
        path: String,
    },
    /// The machine refused to show the folder.
    #[error("cannot read the folder `{path}`")]
    Unreadable {
        /// The folder as the user named it.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no Python where one could be.
    #[error("`{path}` holds no Python: looked for {looked_for}")]
    NoPython {
        /// What was searched, as the user named it.
        path: String,
        /// The places that were looked at, as a list in words.
        looked_for: String,
    },
    /// There are interpreters, but not the one that was asked for.
    #[error("`{path}` holds no Python `{wanted}`: found {found}")]
    NoSuchPython {
        /// What was searched, as the user named it.
        path: String,
        /// The version or path that was asked for.
        wanted: String,
        /// The interpreters that are there, as a list in words.
        found: String,
    },
    /// There is an interpreter of a kind that is not known.
    #[error("`{path}` holds {found}, which cannot be read yet: only CPython 3 can")]
    Unsupported {
        /// What was searched, as the user named it.
        path: String,
        /// The interpreter, such as `PyPy at /usr/bin/pypy3`.
        found: String,
    },
    /// A version that is none was found for the interpreter.
    #[error("Python at `{prefix}` has the version `{version}`, which is none")]
    InvalidVersion {
        /// Prefix of the interpreter inside the root.
        prefix: String,
        /// What was found.
        version: String,
    },
    /// The root file system did not answer.
    #[error(transparent)]
    RootFs(#[from] RootFsError),
}

impl EnvironmentError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } | Self::NotADirectory { .. } => Some(
                "`dir:` takes the root of an unpacked image, a conda prefix or a virtual environment".to_owned(),
            ),
            Self::NoSuchPython { .. } => {
                Some("`--python` takes a version, such as 3.10, or a path inside the root".to_owned())
            }
            Self::Unreadable { source, .. } | Self::RootFs(RootFsError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Some("what is installed there decides the answer: run as a user who may read it".to_owned())
            }
            Self::NoPython { .. }
            | Self::Unreadable { .. }
            | Self::Unsupported { .. }
            | Self::InvalidVersion { .. }
            | Self::RootFs(_) => None,
        }
    }
}
