//! Where an image goes: what the user named, checked before anything is built, and reached once everything is.

use std::fmt;

use oci_distribution::Reference;

use crate::report::building::Reached;
use crate::transport::engine::{self, Engine, EngineSettings, PATIENCE};
use crate::transport::outgoing::{Outgoing, Written};
use crate::transport::registry::RegistryClient;
use crate::transport::target::OutputTarget;
use crate::transport::{archive, layout};

use super::super::CommandError;
use super::{BuildSettings, EngineChoice, TargetSettings};

/// One place for the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A registry.
    Push(Reference),
    /// A layout or an archive.
    Write(OutputTarget),
    /// An engine of this machine.
    Load(EngineChoice, Vec<Reference>),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push(reference) => write!(f, "docker://{reference}"),
            Self::Write(target) => write!(f, "{target}"),
            Self::Load(engine, names) => {
                write!(f, "{engine}")?;
                names
                    .iter()
                    .try_for_each(|name| write!(f, " {}", name.whole()))
            }
        }
    }
}

/// The targets that the user named, in the order in which they are reached: those of this machine first, as a name in a
/// registry is what others see.
///
/// # Errors
/// When one is none, or a name is missing or leads nowhere.
pub(super) fn parse(settings: &TargetSettings) -> Result<Vec<Target>, CommandError> {
    let tags: Vec<Reference> = settings
        .tags
        .iter()
        .map(|tag| name_of(tag))
        .collect::<Result<_, _>>()?;
    let mut targets = Vec::new();
    for text in &settings.outputs {
        let target = match text.parse()? {
            OutputTarget::Registry(reference) => Target::Push(reference),
            target => Target::Write(named(target, tags.first())),
        };
        targets.push(target);
    }
    if let Some(engine) = settings.load {
        targets.push(Target::Load(engine, tags.clone()));
    }
    if settings.push {
        if tags.is_empty() {
            return Err(CommandError::NoTag);
        }
        targets.extend(tags.iter().cloned().map(Target::Push));
    } else if targets.is_empty()
        && let Some(tag) = settings.tags.first()
    {
        return Err(CommandError::TagAlone(tag.clone()));
    }
    targets.sort_by_key(|target| matches!(target, Target::Push(_)));
    targets.dedup();
    Ok(targets)
}

/// A name of the image, as it is written after `--tag`.
fn name_of(text: &str) -> Result<Reference, CommandError> {
    let bare = text.strip_prefix("docker://").unwrap_or(text);
    let invalid = |reason: String| CommandError::InvalidTag {
        text: text.to_owned(),
        reason,
    };
    let reference: Reference = bare
        .parse()
        .map_err(|error: oci_distribution::ParseError| invalid(error.to_string()))?;
    if reference.digest().is_some() {
        return Err(invalid(
            "the digest of a new image is not known beforehand".to_owned(),
        ));
    }
    Ok(reference)
}

/// The target with the image's name in it, where it does not say one itself.
fn named(target: OutputTarget, tag: Option<&Reference>) -> OutputTarget {
    let of_layout = || tag.and_then(|tag| tag.tag()).map(str::to_owned);
    match target {
        OutputTarget::OciLayout { path, name: None } => OutputTarget::OciLayout {
            path,
            name: of_layout(),
        },
        OutputTarget::OciArchive { path, name: None } => OutputTarget::OciArchive {
            path,
            name: of_layout(),
        },
        OutputTarget::DockerArchive { path, name: None } => OutputTarget::DockerArchive {
            path,
            name: tag.cloned(),
        },
        target => target,
    }
}

/// What the targets together mean for what is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Demands {
    /// Whether one is a layout, or an archive of one: most readers of these take manifests of OCI alone.
    pub layouts: bool,
    /// Whether one takes a manifest of Docker as well: a registry. There the family of the base is kept.
    pub registries: bool,
    /// Whether one keeps what is attached to the image: a registry or a layout.
    pub keeps_attached: bool,
}

impl Demands {
    /// Those of `targets`.
    pub fn of(targets: &[Target]) -> Self {
        let is_any = |of_kind: fn(&Target) -> bool| targets.iter().any(of_kind);
        let registries = is_any(|target| matches!(target, Target::Push(_)));
        let folders =
            is_any(|target| matches!(target, Target::Write(OutputTarget::OciLayout { .. })));
        let archives =
            is_any(|target| matches!(target, Target::Write(OutputTarget::OciArchive { .. })));
        Self {
            layouts: folders || archives,
            registries,
            keeps_attached: registries || folders,
        }
    }
}

impl Target {
    /// Brings the image there.
    ///
    /// # Errors
    /// When it cannot be brought there; a name that was there before still leads to what it led to.
    pub fn reach(
        &self,
        outgoing: &Outgoing,
        settings: &BuildSettings,
    ) -> Result<Reached, CommandError> {
        let progress = &*settings.progress;
        let written = |verb: &'static str, written: &Written| Reached {
            verb,
            target: self.to_string(),
            sent: written.written_bytes,
            existing: written.existing_blobs,
            mounted: 0,
        };
        Ok(match self {
            Self::Push(reference) => {
                let client = RegistryClient::new(settings.registry.clone());
                let pushed = client.push(reference, outgoing, progress)?;
                Reached {
                    verb: "pushed",
                    target: pushed.reference,
                    sent: pushed.uploaded,
                    existing: pushed.blobs_existing,
                    mounted: pushed.blobs_mounted,
                }
            }
            Self::Write(OutputTarget::Registry(reference)) => {
                return Self::Push(reference.clone()).reach(outgoing, settings);
            }
            Self::Write(OutputTarget::OciLayout { path, name }) => written(
                "written",
                &layout::write(path, name.as_deref(), outgoing, progress)?,
            ),
            // `podman load` takes an archive of a single image, with nothing beside it.
            Self::Write(OutputTarget::OciArchive { path, name }) => written(
                "written",
                &archive::write_oci(
                    path,
                    name.as_deref(),
                    &outgoing.without_referrers()?,
                    progress,
                )?,
            ),
            Self::Write(OutputTarget::DockerArchive { path, name }) => {
                let names: Vec<Reference> = name.iter().cloned().collect();
                written(
                    "written",
                    &archive::write_docker(path, &names, outgoing, progress)?,
                )
            }
            Self::Load(engine, names) => {
                let engine_settings = EngineSettings {
                    program_path: &settings.program_path,
                    patience: PATIENCE,
                };
                let engine = match engine {
                    EngineChoice::Podman => Engine::Podman,
                    EngineChoice::Docker => Engine::Docker,
                    EngineChoice::Any => Engine::present(&settings.program_path),
                };
                written(
                    "loaded",
                    &engine::load(engine, outgoing, names, &engine_settings, progress)?,
                )
            }
        })
    }
}
