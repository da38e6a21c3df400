//! What the user asked for, as short scripts over the modules below: one verb a file.
//!
//! This is the one place that classifies errors, adds hints and picks the exit status.

pub mod base;
pub mod cache;
pub mod catalog;
pub mod explain;
mod explained_layers;
pub mod file;
mod image;
mod image_config;
pub mod inspect;
mod mlflow;
mod preflight;
pub mod question;
pub mod request;
pub mod resolve;
pub mod resolve_output;
pub mod snapshot;
pub mod snapshot_index;

use std::path::PathBuf;

use crate::catalog::CatalogError;
use crate::environment::EnvironmentError;
use crate::http::HttpError;
use crate::package_index::IndexError;
use crate::packaging::requirement::{RequirementError, presentable};
use crate::report::requirements::MissingHash;
use crate::resolution::ResolutionError;
use crate::rootfs::LayerError;
use crate::transport::TransportError;
use crate::transport::reference::ReferenceError;

use cache::CacheError;
pub use preflight::PolicyError;

/// The exit status of the program: yes, no, or why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done, or yes.
    Success = 0,
    /// Answered, and the answer is no.
    No = 1,
    /// Wrong usage or bad input.
    BadInput = 2,
    /// A registry or an index failed us.
    Remote = 3,
    /// A bug in imgtool.
    Bug = 70,
}

/// What a command hands back: data for stdout, talk for stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The result; may carry ANSI styles.
    pub data: String,
    /// Warnings and notes, a sentence each.
    pub talk: Vec<Talk>,
    /// What the program exits with.
    pub status: ExitStatus,
}

/// One line for stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Talk {
    /// Something is wrong, or will be.
    Warning(String),
    /// Something worth knowing.
    Note(String),
    /// Something for who asked for more (`--verbose`).
    Detail(String),
    /// An answer that has no place in the data: why there is nothing to install, where a file of pins was expected. As it
    /// is, several lines.
    Answer(String),
}

/// What kept a command from an answer.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The base reference is malformed or matches nothing.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The image cannot be had.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The image that a name of the catalog means cannot be had.
    #[error(transparent)]
    CatalogImage(TransportError),
    /// The layers of the image cannot be read.
    #[error(transparent)]
    Layers(#[from] LayerError),
    /// The catalog has no such base.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The base's environment cannot be read.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A requirement is malformed.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
    /// Nothing is asked for.
    #[error("nothing to resolve: no requirement was given")]
    NothingAsked,
    /// A file that the user named cannot be read.
    #[error("cannot read `{}`: {error}", presentable(&path.display().to_string()))]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// An environment variable of imgtool has a value that it cannot have.
    #[error("the environment variable {name} cannot be used: {reason}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A line of a file that the user named cannot be used.
    #[error("`{path}` line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// What the user says of distributions of the base cannot be.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A requirements file includes itself.
    #[error("`{0}` includes itself")]
    IncludeLoop(PathBuf),
    /// Requirements files include one another too deeply.
    #[error("`{0}` is included too deeply")]
    IncludeDepth(PathBuf),
    /// The result cannot be written.
    #[error("cannot write `{path}`: {error}")]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The result cannot be written in the format that was asked for.
    #[error(transparent)]
    MissingHash(#[from] MissingHash),
    /// The several answers of a frontier are to go into a form that holds one.
    #[error(
        "a frontier has several answers: no requirements, constraints or lock file can hold it"
    )]
    FrontierForm,
    /// The cache cannot be read or cleared.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The resolution failed.
    #[error(transparent)]
    Resolution(ResolutionError),
}

impl From<ResolutionError> for CommandError {
    fn from(error: ResolutionError) -> Self {
        match error {
            ResolutionError::Index(error) => Self::Index(error),
            other => Self::Resolution(other),
        }
    }
}

impl CommandError {
    /// The exit status that the error ends the program with.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        match self {
            Self::Index(error) if error.is_bad_input() => ExitStatus::BadInput,
            Self::Index(_) | Self::Catalog(CatalogError::Index { .. }) => ExitStatus::Remote,
            Self::Transport(error) | Self::CatalogImage(error) if error.is_remote() => {
                ExitStatus::Remote
            }
            Self::Layers(error) if error.is_remote() => ExitStatus::Remote,
            // The catalog is part of the program.
            Self::Catalog(CatalogError::Broken { .. } | CatalogError::InvalidSnapshot { .. })
            | Self::Resolution(ResolutionError::Solver(_)) => ExitStatus::Bug,
            _ => ExitStatus::BadInput,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Reference(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::Environment(error) => error.hint(),
            Self::Index(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::Policy(error) => Some(error.hint()),
            Self::Resolution(error) => error.hint(),
            Self::Requirement(error) => Some(requirement_hint(&error.text).to_owned()),
            Self::NothingAsked => Some(
                "name what you need, such as `imgtool resolve tfx:1.16.0 mlflow-skinny`, or a file of requirements \
                 with `-r`"
                    .to_owned(),
            ),
            Self::MissingHash(_) => Some("`--format json` has the resolution without hashes".to_owned()),
            Self::FrontierForm => Some(
                "`--format json` has all of them; for a file of pins, ask for the versions of one row with `--policy minimal`"
                    .to_owned(),
            ),
            Self::WriteFile { error, .. } if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) => {
                Some("the folder of the file must exist".to_owned())
            }
            Self::ReadFile { path, .. } if path.to_string_lossy().contains("://") => {
                Some("files are read from disk: fetch this one first".to_owned())
            }
            Self::ReadFile { path, .. } if path.to_string_lossy().contains(':') => Some(
                "a file is meant here, or a folder as `dir:PATH`; what the catalog has is shown by `imgtool catalog show`"
                    .to_owned(),
            ),
            Self::Transport(TransportError::Http(HttpError::Offline { .. })) => Some(
                "without the network, folders, layouts, archives and the catalog's snapshots can be read".to_owned(),
            ),
            Self::CatalogImage(_) => Some(
                "`--snapshot` takes the catalog's snapshot, which was not read from the image".to_owned(),
            ),
            Self::Layers(LayerError::Mismatch { .. } | LayerError::DiffId { .. }) => Some(
                "nothing of it was used: fetch the image again, or push it anew where it is broken".to_owned(),
            ),
            Self::Transport(_)
            | Self::Layers(_)
            | Self::ReadFile { .. }
            | Self::Variable { .. }
            | Self::Line { .. }
            | Self::IncludeLoop(_)
            | Self::IncludeDepth(_)
            | Self::WriteFile { .. } => None,
        }
    }
}

/// What to write instead of a text that is not a requirement.
fn requirement_hint(text: &str) -> &'static str {
    // A base where a requirement should be: the two were swapped.
    if !text.contains(['/', '@', ' '])
        && text
            .split_once(':')
            .is_some_and(|(name, _)| !name.is_empty())
    {
        return "the base comes first, then what is required of it: `imgtool resolve tfx:1.16.0 mlflow-skinny`";
    }
    let is_a_file = text.contains("://")
        || text.starts_with(['.', '/', '~'])
        || [".whl", ".tar.gz", ".zip"]
            .iter()
            .any(|end| text.ends_with(end));
    if is_a_file {
        "files, folders and addresses cannot be asked for: imgtool solves for wheels of an index; a file of \
         requirements is read with `-r`"
    } else if text.contains('=') && !text.contains(['<', '>', '~', '!']) && !text.contains("==") {
        "an exact version is asked for with two equals signs, such as `mlflow==2.22.0`"
    } else {
        "a requirement is a project with optional extras, versions and marker, such as `mlflow-skinny>=3,<4`; quote \
         it, because `<` and `>` mean something to a shell"
    }
}
