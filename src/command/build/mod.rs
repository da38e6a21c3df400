//! `imgtool build`: a new image from a base and a request.
//!
//! For each platform: pose the question, solve it, plan (`prepare`); fetch the wheels, make the layers and the image
//! (`make`). Then all platforms together go to every target (`targets`). Whatever is wrong with what the user asked
//! for is found out before the first byte is written, and nothing is named before everything that it names is there.

mod attachments;
mod decided;
mod make;
mod prepare;
mod staging;
mod targets;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::image::{Changes, ManifestFormat, assemble_outgoing};
use crate::layer::{Compression, PythonPlaces};
use crate::package_index::FetchProgress;
use crate::plan::{Recipe, recipe};
use crate::report::building::Building;
use crate::report::{json, text};
use crate::transport::outgoing::CopyProgress;
use crate::transport::platform::OciPlatform;
use crate::transport::registry::{PushProgress, RegistrySettings};

use super::file::write_text;
use super::question::{QuestionSettings, warnings};
use super::{Answer, CommandError, ExitStatus, Talk};
use decided::Decided;
pub use decided::RecipeSource;
use make::make;
use prepare::{Prepared, Ready, prepare};
use targets::{Demands, Target};

/// What `imgtool build` was asked.
#[derive(Clone)]
pub struct BuildSettings {
    /// What decides about the contents.
    pub source: Source,
    /// How registries that are pushed to are asked.
    pub registry: RegistrySettings,
    /// Folders in which the programs of engines are looked for, in order.
    pub program_path: Vec<PathBuf>,
    /// Folder of the cache; `None` where there is none.
    pub cache_dir: Option<PathBuf>,
    /// The platforms that an image is built for; none means those of the recipe, else that of this machine.
    pub platforms: Vec<OciPlatform>,
    /// Where the image goes.
    pub targets: TargetSettings,
    /// What the image has otherwise than its base.
    pub config: ConfigSettings,
    /// How the new layers are compressed; `None` means as the recipe says, else with gzip.
    pub compression: Option<Compression>,
    /// How many layers are made; `None` means as the recipe says, else one.
    pub layers: Option<LayerSplit>,
    /// Whether and how modules are compiled.
    pub bytecode: BytecodeSettings,
    /// What is attached to the image.
    pub attachments: AttachmentChoice,
    /// Whether nothing is built, and only told what would be.
    pub dry_run: bool,
    /// Whether distributions are installed where a package manager of the base claims the environment (PEP 668).
    pub break_system_packages: bool,
    /// SOURCE_DATE_EPOCH: when the image was created, in seconds since the epoch; without it, when its base was.
    pub source_date: Option<i64>,
    /// Whether the answer is JSON.
    pub json: bool,
    /// The file that receives what was built, as JSON.
    pub metadata_file: Option<PathBuf>,
    /// The file that receives the digest of the image.
    pub iidfile: Option<PathBuf>,
    /// Folder for what is too large for memory, where there is no cache.
    pub temporary: PathBuf,
    /// Who is told how far wheels and blobs have come.
    pub progress: Arc<dyn BuildProgress>,
    /// Width of the terminal in cells; `None` where there is none.
    pub width: Option<usize>,
}

/// What decides about the contents of an image.
#[derive(Clone)]
pub enum Source {
    /// A question to a base, and wheels of this machine that are installed, too.
    Question(Box<QuestionSettings>, Vec<PathBuf>),
    /// A recipe.
    Recipe(Box<RecipeSource>),
}

/// Who is told how far a build has come.
pub trait BuildProgress: FetchProgress + CopyProgress + PushProgress + Send + Sync {}

/// Where an image goes, as the user wrote it.
#[derive(Debug, Clone, Default)]
pub struct TargetSettings {
    /// Names of the image.
    pub tags: Vec<String>,
    /// Whether it is pushed to the registries of its names.
    pub push: bool,
    /// Layouts and archives.
    pub outputs: Vec<String>,
    /// The engine of this machine that it is handed to.
    pub load: Option<EngineChoice>,
}

/// An engine of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineChoice {
    /// podman, else docker.
    Any,
    /// podman.
    Podman,
    /// docker.
    Docker,
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "the engine of this machine",
            Self::Podman => "podman",
            Self::Docker => "docker",
        })
    }
}

/// How many layers are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LayerSplit {
    /// One for everything.
    #[default]
    Single,
    /// One for each distribution.
    PerDistribution,
}

/// Whether and how modules are compiled.
#[derive(Debug, Clone, Default)]
pub struct BytecodeSettings {
    /// Whether they are; a recipe may say so, too.
    pub wanted: bool,
    /// Where the Python that compiles is looked for.
    pub pythons: PythonPlaces,
}

/// What is attached to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachmentChoice {
    /// A CycloneDX bill of materials.
    pub sbom: bool,
    /// A statement of provenance.
    pub provenance: bool,
    /// The lock.
    pub lock: bool,
}

/// What an image has otherwise than its base.
#[derive(Debug, Clone, Default)]
pub struct ConfigSettings {
    /// Environment variables, set in this order.
    pub env: Vec<(String, String)>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What the image starts.
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments.
    pub cmd: Option<Vec<String>>,
    /// The user that it runs as.
    pub user: Option<String>,
    /// The folder that it starts in.
    pub working_dir: Option<String>,
    /// Whether the image gets a manifest of OCI where its base has one of Docker.
    pub format: ManifestFormat,
}

impl BuildSettings {
    /// The changes of the configuration as `image` takes them.
    fn changes(&self) -> Changes {
        let config = self.config.clone();
        Changes {
            env: config.env,
            labels: config.labels,
            annotations: config.annotations,
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            user: config.user,
            working_dir: config.working_dir,
            format: config.format,
            created: self
                .source_date
                .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()),
            ..Changes::default()
        }
    }

    /// The same, where a recipe says what the command line leaves open. Environment variables, labels and annotations of both
    /// count, those of the command line last.
    fn under(mut self, recipe: &Recipe) -> Self {
        if self.platforms.is_empty() {
            self.platforms.clone_from(&recipe.platforms);
        }
        if self.targets.tags.is_empty() {
            self.targets.tags.clone_from(&recipe.tags);
        }
        self.compression = self
            .compression
            .or(recipe.compression.map(|named| match named {
                recipe::Compression::Gzip => Compression::GZIP,
                recipe::Compression::Zstd => Compression::ZSTD,
            }));
        self.layers = self.layers.or(recipe.layers.map(|layers| match layers {
            recipe::Layers::Single => LayerSplit::Single,
            recipe::Layers::PerDistribution => LayerSplit::PerDistribution,
        }));
        self.bytecode.wanted |= recipe.compile_bytecode;
        let image = &recipe.image;
        let own = std::mem::take(&mut self.config);
        self.config = ConfigSettings {
            env: image
                .environment
                .clone()
                .into_iter()
                .chain(own.env)
                .collect(),
            labels: image.labels.clone().into_iter().chain(own.labels).collect(),
            annotations: image
                .annotations
                .clone()
                .into_iter()
                .chain(own.annotations)
                .collect(),
            entrypoint: own.entrypoint.or_else(|| image.entrypoint.clone()),
            cmd: own.cmd.or_else(|| image.cmd.clone()),
            user: own.user.or_else(|| image.user.clone()),
            working_dir: own.working_dir.or_else(|| image.workdir.clone()),
            format: own.format,
        };
        self
    }

    /// A folder for what is too large for memory, removed with the value: beside the cache, as a temporary folder may be
    /// memory itself.
    fn scratch(&self) -> Result<TempDir, CommandError> {
        let folder = self.cache_dir.as_deref().unwrap_or(&self.temporary);
        let make = |folder: &Path| {
            std::fs::create_dir_all(folder)?;
            tempfile::Builder::new()
                .prefix(".new-build-")
                .tempdir_in(folder)
        };
        make(folder).map_err(|error| CommandError::Scratch {
            folder: folder.to_owned(),
            error,
        })
    }
}

/// Builds, or plans.
///
/// # Errors
/// When something kept it from an image. That the request does not fit is an answer: [`ExitStatus::No`].
pub fn run(settings: &BuildSettings) -> Result<Answer, CommandError> {
    let decided = match &settings.source {
        Source::Question(question, wheels) => {
            Decided::of_question(QuestionSettings::clone(question), wheels)?
        }
        Source::Recipe(source) => Decided::of_recipe(source)?,
    };
    let settings = &match &decided {
        Decided::Recipe(by) => settings.clone().under(&by.recipe),
        _ => settings.clone(),
    };
    let targets = targets::parse(&settings.targets)?;
    if targets.is_empty() && !settings.dry_run {
        return Err(CommandError::NoTarget);
    }
    let platforms: Vec<Option<&OciPlatform>> = if settings.platforms.is_empty() {
        vec![None]
    } else {
        settings.platforms.iter().map(Some).collect()
    };
    let mut ready = Vec::new();
    let mut talk = Vec::new();
    for platform in platforms {
        match prepare(settings, &decided, platform)? {
            Prepared::Ready(one) => {
                say(&mut talk, one.talk.iter().cloned());
                ready.push(*one);
            }
            Prepared::Refused(answer) => return Ok(answer),
        }
    }
    let building = if settings.dry_run {
        Building {
            platforms: ready.into_iter().map(Ready::report).collect(),
            digest: None,
            reached: Vec::new(),
            targets: targets.iter().map(Target::to_string).collect(),
            warnings: warnings(&talk),
        }
    } else {
        build(ready, &targets, settings, &mut talk)?
    };
    if let Some(path) = &settings.metadata_file {
        write_text(path, &json::build::build(&building))?;
    }
    if let (Some(path), Some(digest)) = (&settings.iidfile, &building.digest) {
        write_text(path, &format!("{digest}\n"))?;
    }
    let data = if settings.json {
        json::build::build(&building)
    } else if settings.dry_run {
        text::build::plan(&building, settings.width)
    } else {
        text::build::built(&building)
    };
    Ok(Answer {
        data,
        talk,
        status: ExitStatus::Success,
    })
}

/// Makes the images, and brings them to every target.
fn build(
    ready: Vec<Ready>,
    targets: &[Target],
    settings: &BuildSettings,
    talk: &mut Vec<Talk>,
) -> Result<Building, CommandError> {
    let scratch = settings.scratch()?;
    let demands = Demands::of(targets);
    let mut platforms = Vec::new();
    let mut images = Vec::new();
    // The layers lie in files that go away with these.
    let mut files = Vec::new();
    for one in ready {
        let made = make(one, settings, demands, scratch.path())?;
        say(talk, made.talk);
        platforms.push(made.report);
        images.push(made.built);
        files.push(made.files);
    }
    let outgoing = assemble_outgoing(images, None)?;
    let digest = outgoing.root()?.descriptor.digest().to_string();
    let mut reached = Vec::new();
    for target in targets {
        reached.push(target.reach(&outgoing, settings)?);
    }
    drop(files);
    Ok(Building {
        platforms,
        digest: Some(digest),
        reached,
        targets: Vec::new(),
        warnings: warnings(talk),
    })
}

/// Adds what was not said yet: what two platforms have in common is said once.
fn say(talk: &mut Vec<Talk>, lines: impl IntoIterator<Item = Talk>) {
    for line in lines {
        if !talk.contains(&line) {
            talk.push(line);
        }
    }
}
