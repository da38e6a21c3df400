//! What the user asked for, as short scripts over the modules below: one verb a file.
//!
//! This is the one place that classifies errors, adds hints and picks the exit status.

pub mod attached;
pub mod base;
pub mod build;
pub mod cache;
pub mod catalog;
pub mod explain;
mod explained_layers;
pub mod file;
mod image;
mod image_config;
pub mod inspect;
pub mod lock;
mod mlflow;
mod preflight;
pub mod question;
pub mod recipe;
pub mod request;
pub mod resolve;
pub mod resolve_output;
pub mod snapshot;
pub mod snapshot_index;
mod spool;

use std::path::PathBuf;

use crate::catalog::CatalogError;
use crate::environment::{EnvironmentError, SchemeError};
use crate::image::ImageError;
use crate::layer::{AssembleError, BytecodeError, LayerWriteError, WheelError};
use crate::package_index::IndexError;
use crate::packaging::requirement::{RequirementError, presentable};
use crate::plan::{LockDifference, LockError, PinsError, RecipeError};
use crate::report::requirements::MissingHash;
use crate::resolution::ResolutionError;
use crate::rootfs::LayerError;
use crate::transport::TransportError;
use crate::transport::platform::OciPlatform;
use crate::transport::reference::ReferenceError;
use crate::transport::target::TargetError;

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
    /// An image is needed, and this is none.
    #[error("{0} is no image, and only an image can be built on")]
    NoImage(String),
    /// The image that a name of the catalog means is needed, and its registry cannot be asked.
    #[error("the image {name} cannot be asked for: {reason}")]
    OutOfReach {
        /// The image.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A recipe that is to be built exactly as it is locked has no lock.
    #[error("there is no lock `{}`", presentable(&.0.display().to_string()))]
    NoLock(PathBuf),
    /// A recipe that is to be built exactly as it is locked has a lock that is not up to date.
    #[error("`{}` is not up to date: {}", presentable(&path.display().to_string()), joined(differences))]
    LockDiffers {
        /// The lock.
        path: PathBuf,
        /// In what it differs.
        differences: Vec<LockDifference>,
    },
    /// A lock file is to be completed by a solver.
    #[error("`{}` is a lock file, and nothing can be required beside it", presentable(&.0.display().to_string()))]
    LockBesideOthers(PathBuf),
    /// A recipe says what is required, and so does the command line.
    #[error("the recipe `{}` says what is required, and nothing can be required beside it", presentable(&.0.display().to_string()))]
    RecipeBesideOthers(PathBuf),
    /// What only goes with a recipe.
    #[error("`--locked` goes with a recipe, and `{0}` is none")]
    LockedWithoutRecipe(String),
    /// Nothing says where the image goes.
    #[error("no target: nothing says where the image goes")]
    NoTarget,
    /// An image is to be pushed and has no name.
    #[error("the image cannot be pushed: it has no name")]
    NoTag,
    /// An image has a name and goes nowhere.
    #[error("the image `{0}` would go nowhere: a name alone does not say where to")]
    TagAlone(String),
    /// A name that no image can have.
    #[error("`{}` is no name of an image: {reason}", presentable(text))]
    InvalidTag {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A target that is none.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Several platforms are given to what is about one.
    #[error("`imgtool {verb}` takes one platform, and {} were given: {}", platforms.len(), listed(platforms))]
    SeveralPlatforms {
        /// The verb.
        verb: &'static str,
        /// The platforms.
        platforms: Vec<OciPlatform>,
    },
    /// An option has a value that it cannot have.
    #[error("`{}` is no value for `{option}`: {reason}", presentable(value))]
    Option {
        /// The option, with its dashes.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder for what is too large for memory cannot be used.
    #[error("cannot write to `{}`: {error}", presentable(&folder.display().to_string()))]
    Scratch {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The modules cannot be compiled.
    #[error(transparent)]
    Bytecode(#[from] BytecodeError),
    /// A wheel cannot be installed.
    #[error(transparent)]
    Wheel(#[from] WheelError),
    /// It cannot be told where the base's Python has its distributions.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// What is to be installed and removed does not go together with the base.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The layer cannot be written.
    #[error(transparent)]
    Layer(#[from] LayerWriteError),
    /// The image cannot be put together.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A package manager of the base claims its Python (PEP 668).
    #[error(
        "the Python of {base} at {prefix} belongs to the base's package manager (EXTERNALLY-MANAGED), which may overwrite or \
         miss what is installed beside it"
    )]
    ExternallyManaged {
        /// The base.
        base: String,
        /// The prefix of the interpreter.
        prefix: String,
    },
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
    /// Nothing of that kind is attached to an image.
    #[error("{what} is attached to {image}")]
    NotAttached {
        /// What is looked for, such as `no sbom`.
        what: String,
        /// The image.
        image: String,
    },
    /// The cache cannot be read or cleared.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A lock cannot be used or made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Pins cannot be installed.
    #[error(transparent)]
    Pins(PinsError),
    /// A base that is to be locked is known from a snapshot alone.
    #[error(
        "`{0}` cannot be locked: the image was not read, only the catalog's snapshot, which has no digest"
    )]
    LockedSnapshot(String),
    /// A base that is to be locked is no image, or one without a digest.
    #[error("`{0}` cannot be locked: it has no digest")]
    LockedFolder(String),
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

fn listed(platforms: &[OciPlatform]) -> String {
    let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    platforms.join(", ")
}

fn joined(differences: &[LockDifference]) -> String {
    let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
    differences.join("; ")
}

impl From<PinsError> for CommandError {
    fn from(error: PinsError) -> Self {
        match error {
            PinsError::Index(error) => Self::Index(error),
            other => Self::Pins(other),
        }
    }
}

impl CommandError {
    /// The exit status that the error ends the program with.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        match self {
            Self::Index(error) if error.is_bad_input() => ExitStatus::BadInput,
            Self::Index(_)
            | Self::OutOfReach { .. }
            | Self::Catalog(CatalogError::Index { .. }) => ExitStatus::Remote,
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
    #[expect(
        clippy::too_many_lines,
        reason = "a list of errors, each with a sentence or two"
    )]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Reference(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::Environment(error) => error.hint(),
            Self::Index(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::Policy(error) => Some(error.hint()),
            Self::Pins(error) => error.hint(),
            Self::LockedSnapshot(_) => Some(
                "lock where the image's registry can be reached; `--snapshot` locks without a digest, with which \
                 `build --locked` builds nothing"
                    .to_owned(),
            ),
            Self::LockedFolder(_) => Some(
                "an image of a registry, a layout or an archive has a digest, and only images can be built on".to_owned(),
            ),
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
            Self::Transport(TransportError::Push { error, .. }) if error.is_offline() => {
                Some("an image can be written to a layout or an archive without the network".to_owned())
            }
            Self::Transport(TransportError::Push { error, .. }) => {
                // A refused login says itself what helps.
                let may_pass = matches!(error.own(), TransportError::Http(_));
                may_pass.then(|| {
                    "pushed again, only what is missing is sent".to_owned()
                })
            }
            Self::Transport(error) if error.is_offline() => Some(
                "without the network, folders, layouts, archives and the catalog's snapshots can be read".to_owned(),
            ),
            Self::NoImage(_) => Some(
                "name an image: docker://HOST/NAME:TAG, oci:DIR, oci-archive:FILE, docker-archive:FILE, or a base of the \
                 catalog such as tfx:1.16.0"
                    .to_owned(),
            ),
            Self::NoLock(_) => Some("`imgtool lock RECIPE` writes it".to_owned()),
            Self::LockDiffers { differences, .. } => {
                differences.first().map(|difference| difference.hint().to_owned())
            }
            Self::LockBesideOthers(_) => Some(
                "to solve for more than is locked, require it of `imgtool resolve` together with what was locked".to_owned(),
            ),
            Self::RecipeBesideOthers(_) => Some("add it to the recipe".to_owned()),
            Self::LockedWithoutRecipe(_) => Some(
                "without a recipe, pins come from a file: `-r pins.txt` or `-r pylock.toml`, as `imgtool resolve -o` writes them"
                    .to_owned(),
            ),
            Self::NoTarget => Some(
                "`--tag HOST/NAME:TAG --push` pushes it, `--output oci:DIR` writes it to a folder, `--load` hands it to podman \
                 or docker; `--dry-run` shows what would be built"
                    .to_owned(),
            ),
            Self::NoTag => Some("name it, such as `--tag registry.example/team/trainer:1.0`".to_owned()),
            Self::TagAlone(_) => Some(
                "`--push` pushes it there, `--load` hands it to podman or docker, `--output` writes it to a folder or an \
                 archive"
                    .to_owned(),
            ),
            Self::SeveralPlatforms { verb, .. } => Some(if *verb == "lock" {
                "a recipe names several platforms with `platforms`".to_owned()
            } else {
                "each platform has an answer of its own: ask once for each; `imgtool build` takes several".to_owned()
            }),
            Self::InvalidTag { .. } => Some("a name is such as `registry.example/team/trainer:1.0`, in lower case".to_owned()),
            Self::Target(error) => Some(error.hint.clone()),
            Self::Scheme(error) | Self::Assemble(AssembleError::Scheme(error)) => error.hint(),
            Self::Image(error) => error.hint().map(str::to_owned),
            Self::Wheel(error) => error.hint(),
            Self::Bytecode(error) => error.hint(),
            Self::Scratch { .. } => Some(
                "what is built needs room there: `--cache-dir` or TMPDIR name another folder, `imgtool cache prune` makes some"
                    .to_owned(),
            ),
            Self::ExternallyManaged { .. } => Some(
                "`--break-system-packages` installs all the same, as pip's option of that name; `--python` chooses another \
                 interpreter of the base"
                    .to_owned(),
            ),
            Self::OutOfReach { .. } => Some(
                "a copy of the image elsewhere can be named: docker://HOST/NAME:TAG, oci:DIR, or `--registry-mirror`".to_owned(),
            ),
            Self::CatalogImage(_) => Some(
                "`--snapshot` takes the catalog's snapshot, which was not read from the image".to_owned(),
            ),
            Self::NotAttached { .. } => Some(
                "what is attached is shown by `imgtool inspect`; a copy of an image has it only where the copy was told to \
                 take it along"
                    .to_owned(),
            ),
            Self::Layers(LayerError::Mismatch { .. } | LayerError::DiffId { .. }) => Some(
                "nothing of it was used: fetch the image again, or push it anew where it is broken".to_owned(),
            ),
            Self::Transport(_)
            | Self::Layers(_)
            | Self::Layer(_)
            | Self::Assemble(_)
            | Self::Option { .. }
            | Self::ReadFile { .. }
            | Self::Variable { .. }
            | Self::Line { .. }
            | Self::IncludeLoop(_)
            | Self::IncludeDepth(_)
            | Self::Recipe(_)
            | Self::Lock(_)
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
