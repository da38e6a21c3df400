//! What keeps an image from being read or written.

use crate::digest::Mismatch;
use crate::http::HttpError;

/// Why an image, or a part of one, cannot be had. Every address in here is redacted.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The medium holds no such image, tag or platform.
    #[error("{0}")]
    NotFound(String),
    /// A document of the image breaks its specification or a limit.
    #[error("{what} is invalid: {reason}")]
    Invalid {
        /// The document, with its place: such as `the manifest sha256:… of docker://…`.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Other bytes than were promised.
    #[error("{what} is not what its descriptor promises: {mismatch}")]
    Mismatch {
        /// The blob.
        what: String,
        /// What differs.
        mismatch: Mismatch,
    },
    /// The registry refused.
    #[error("{registry} refuses {what}: {reason}")]
    Refused {
        /// Host and port of the registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// What it says, with its status.
        reason: String,
    },
    /// The user's configuration forbids it.
    #[error("{what} is blocked by {path} (`{prefix}`)")]
    Blocked {
        /// The image.
        what: String,
        /// The prefix of names that is blocked.
        prefix: String,
        /// The file that says so.
        path: String,
    },
    /// A registry failed, and before it its mirrors.
    #[error("{own}; of its mirrors, {mirrors}")]
    Mirrored {
        /// Why the registry itself failed.
        own: Box<Self>,
        /// Why each of its mirrors failed.
        mirrors: String,
    },
    /// A step of a push failed.
    #[error("cannot {step} to {place}: {}", .error.with_cause())]
    Push {
        /// What was to be done, with the blob or manifest: such as `upload layer sha256:…`.
        step: String,
        /// Host and repository.
        place: String,
        /// Why it could not be done.
        error: Box<Self>,
    },
    /// The network failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// This machine failed.
    #[error("cannot read {what}")]
    Io {
        /// What was to be read.
        what: String,
        /// Why it was not.
        #[source]
        source: std::io::Error,
    },
    /// This machine did not take what was to be written: a full disk, a folder that is not the user's.
    #[error("cannot write {what}")]
    Write {
        /// What was to be written.
        what: String,
        /// Why it was not.
        #[source]
        source: std::io::Error,
    },
    /// An engine that is not there, or that failed.
    #[error("{engine} {reason}")]
    Engine {
        /// The program.
        engine: String,
        /// What it did.
        reason: String,
    },
}

impl TransportError {
    /// Whether the network was not to be used.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self.own(), Self::Http(HttpError::Offline { .. }))
    }

    /// The error and what caused it, in one line.
    #[must_use]
    pub fn with_cause(&self) -> String {
        match self {
            Self::Io { source, .. } | Self::Write { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }

    /// The failure of the registry that is meant, whatever mirrors it has and in whichever step of a push.
    #[must_use]
    pub fn own(&self) -> &Self {
        match self {
            Self::Mirrored { own, .. } => own.own(),
            Self::Push { error, .. } => error.own(),
            error => error,
        }
    }

    /// Whether another registry may have what this one did not give. A document that is not what it should be is no reason
    /// to look for one that is.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        match self.own() {
            Self::Http(error) => {
                !matches!(error, HttpError::Offline { .. } | HttpError::Setup { .. })
            }
            Self::NotFound(_) | Self::Refused { .. } => true,
            _ => false,
        }
    }

    /// Whether a registry failed us, rather than what the user named.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Http(_) | Self::Refused { .. } => true,
            Self::Mirrored { own, .. } => own.is_remote(),
            Self::Push { error, .. } => error.is_remote(),
            Self::Io { source, .. } => {
                let inner = source.get_ref();
                inner.is_some_and(|inner| {
                    inner
                        .downcast_ref::<Self>()
                        .map_or(inner.is::<HttpError>(), Self::is_remote)
                })
            }
            Self::NotFound(_)
            | Self::Invalid { .. }
            | Self::Mismatch { .. }
            | Self::Blocked { .. }
            | Self::Write { .. }
            | Self::Engine { .. } => false,
        }
    }
}
