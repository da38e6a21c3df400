//! From a reference to its image, whichever transport it has.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_distribution::Reference;

use super::archive::{self, ArchiveFormat, ArchiveStream};
use super::engine::{self, Engine, EngineSettings};
use super::layout;
use super::platform::OciPlatform;
use super::reference::{ImageReference, VersionPattern};
use super::{OpenedImage, TransportError};

/// Opens an image of a registry: its reference, and the pattern that its tag is.
pub type OpenFromRegistry<'a> =
    dyn Fn(&Reference, Option<&VersionPattern>) -> Result<OpenedImage, TransportError> + 'a;

/// What is needed beside the reference.
pub struct OpenSettings<'a> {
    /// Platform that is asked for; without it that of this machine is preferred where there is a choice.
    pub platform: Option<OciPlatform>,
    /// Folders in which the programs of engines are looked for, in order (`PATH`).
    pub program_path: Vec<PathBuf>,
    /// How long an engine may be silent before it is given up.
    pub engine_patience: Duration,
    /// How images of registries are opened.
    pub registry: &'a OpenFromRegistry<'a>,
}

/// Opens the image that `reference` means.
///
/// # Errors
/// When it is not there, cannot be read, or is invalid.
pub fn open(
    reference: &ImageReference,
    settings: &OpenSettings<'_>,
) -> Result<OpenedImage, TransportError> {
    let name = reference.to_string();
    let platform = settings.platform.as_ref();
    let of_engine = |engine, image: &str| {
        let settings = EngineSettings {
            program_path: &settings.program_path,
            patience: settings.engine_patience,
        };
        engine::open(engine, image, platform, &settings, &name)
    };
    match reference {
        ImageReference::Registry { reference, pattern } => {
            (settings.registry)(reference, pattern.as_ref())
        }
        ImageReference::OciLayout { path, selector } => {
            layout::open(path, selector.as_ref(), platform, &name).map(OpenedImage::Image)
        }
        ImageReference::OciArchive { path, selector } => {
            of_archive(path, ArchiveFormat::Oci(selector.clone()), platform, &name)
        }
        ImageReference::DockerArchive { path, selector } => {
            let format = ArchiveFormat::Docker(selector.clone());
            of_archive(path, format, platform, &name)
        }
        ImageReference::DockerDaemon { name } => of_engine(Engine::Docker, name),
        ImageReference::ContainersStorage { name } => of_engine(Engine::Podman, name),
    }
}

fn of_archive(
    path: &Path,
    format: ArchiveFormat,
    platform: Option<&OciPlatform>,
    name: &str,
) -> Result<OpenedImage, TransportError> {
    if path == Path::new("-") {
        let stream = ArchiveStream::new(Box::new(io::stdin()), format, platform.cloned(), name);
        return Ok(OpenedImage::Stream(Box::new(stream)));
    }
    archive::open(path, format, platform, name)
}
