//! Images of a local engine: `docker-daemon:` through `docker save`, `containers-storage:` through `podman save`, both
//! streamed, without a file in between.
//!
//! podman writes the form of docker too: its layers lie unpacked in its storage, and an OCI archive of them would be
//! compressed first. How an engine reaches its images (`DOCKER_HOST`, `CONTAINERS_STORAGE_CONF` …) is its own affair: it
//! inherits the environment. New images go the other way, into `docker load` and `podman load`.

mod load;
mod process;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::archive::{ArchiveFormat, ArchiveStream, GoneBy, check_platform};
use super::manifest::{LARGEST_DOCUMENT, MOST_LAYERS, diff_ids, parse_config};
use super::platform::OciPlatform;
use super::{Image, ImageStream, Layer, OpenedImage, StreamedLayer, TransportError};
use crate::packaging::requirement::presentable;

pub use load::load;
use process::EngineProcess;

/// How long an engine may be silent: docker before 25 writes an image to its own disk before the first byte of it comes,
/// which takes minutes for one of tens of gigabytes.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// A program that keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `docker`, and through it the Docker daemon.
    Docker,
    /// `podman`, and through it containers/storage.
    Podman,
}

/// How engines are run.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings<'a> {
    /// Folders in which the programs are looked for, in order.
    pub program_path: &'a [PathBuf],
    /// How long one may be silent before it is given up.
    pub patience: Duration,
}

impl Engine {
    fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    fn save_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["image", "save"],
            Self::Podman => &["image", "save", "--quiet", "--format", "docker-archive"],
        }
    }

    /// How else the image can be had.
    fn way_out(self) -> &'static str {
        match self {
            Self::Docker => {
                "where it is, `docker save NAME --output FILE` writes a file that is read as `docker-archive:FILE`"
            }
            Self::Podman => {
                "where it is, `podman save NAME --output FILE` writes a file that is read as `docker-archive:FILE`; with \
                 skopeo, `skopeo copy containers-storage:NAME oci:FOLDER` makes a layout that is read as `oci:FOLDER`"
            }
        }
    }

    fn error(self, reason: impl Into<String>) -> TransportError {
        TransportError::Engine {
            engine: self.program().to_owned(),
            reason: reason.into(),
        }
    }

    /// The engine of this machine: podman where it is there, else docker; podman where there is none.
    #[must_use]
    pub fn present(folders: &[PathBuf]) -> Self {
        [Self::Podman, Self::Docker]
            .into_iter()
            .find(|engine| engine.find(folders, "").is_ok())
            .unwrap_or(Self::Podman)
    }

    /// The program's file; `way_out` is what to do without it.
    fn find(self, folders: &[PathBuf], way_out: &str) -> Result<PathBuf, TransportError> {
        folders
            .iter()
            // A program of the folder that happens to be the current one is not meant.
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(self.program()))
            .find(|path| is_executable(path))
            .ok_or_else(|| self.error(format!("is not installed, or not on the PATH: {way_out}")))
    }
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// The image that `engine` calls `image`; `name` is what errors call it.
///
/// # Errors
/// When the engine is not there or fails, has no such image, or has it for another platform.
pub fn open(
    engine: Engine,
    image: &str,
    platform: Option<&OciPlatform>,
    settings: &EngineSettings<'_>,
    name: &str,
) -> Result<OpenedImage, TransportError> {
    // What begins with a dash is an option to the program.
    if image.is_empty() || image.starts_with('-') {
        return Err(engine.error(format!("has no image `{}`", presentable(image))));
    }
    let program = engine.find(settings.program_path, engine.way_out())?;
    let announced = inspect(engine, &program, image, settings.patience, name)?;
    if let Some(announced) = &announced {
        check_platform(&announced.config, platform, name)?;
    }
    Ok(OpenedImage::Stream(Box::new(EngineStream {
        engine,
        program,
        image: image.to_owned(),
        platform: platform.cloned(),
        patience: settings.patience,
        name: name.to_owned(),
        announced,
    })))
}

/// Writes the image that `engine` calls `image` to `out`, as an archive of `docker save`: for who must read its layers more
/// than once.
///
/// # Errors
/// When the engine is not there or fails, or has no such image; when `out` cannot be written, which `what` is called in
/// errors.
pub fn save(
    engine: Engine,
    image: &str,
    settings: &EngineSettings<'_>,
    out: &mut dyn Write,
    what: &str,
) -> Result<(), TransportError> {
    if image.is_empty() || image.starts_with('-') {
        return Err(engine.error(format!("has no image `{}`", presentable(image))));
    }
    let program = engine.find(settings.program_path, engine.way_out())?;
    let mut arguments = engine.save_arguments().to_vec();
    arguments.push(image);
    let (mut process, mut output) =
        EngineProcess::start(engine, &program, &arguments, settings.patience)?;
    let copied = io::copy(&mut output, out);
    match (copied, process.failure(reading(image))) {
        (_, Some(failure)) => Err(failure),
        (Ok(_), None) => Ok(()),
        (Err(source), None) => Err(TransportError::Write {
            what: what.to_owned(),
            source,
        }),
    }
}

/// What an engine that is asked for `image` does.
fn reading(image: &str) -> String {
    format!("read `{image}`")
}

/// What `inspect` tells of an image; both engines tell it in this shape.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    /// Digest of the manifest; docker does not say which one it is.
    digest: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    variant: Option<String>,
    config: Option<Map<String, Value>>,
    #[serde(rename = "RootFS")]
    root_fs: Option<InspectedRootFs>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedRootFs {
    layers: Option<Vec<String>>,
}

/// Asks the engine for what the image is; `None` where its answer cannot be understood, which keeps nobody from reading
/// the image itself.
fn inspect(
    engine: Engine,
    program: &Path,
    image: &str,
    patience: Duration,
    name: &str,
) -> Result<Option<Image>, TransportError> {
    let arguments = ["image", "inspect", image];
    let (mut process, output) = EngineProcess::start(engine, program, &arguments, patience)?;
    let mut bytes = Vec::new();
    let read = output
        .take(LARGEST_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map(|_| bytes);
    let bytes = match read {
        Ok(bytes) if bytes.len() as u64 > LARGEST_DOCUMENT => return Ok(None),
        Ok(bytes) => bytes,
        Err(source) => {
            return Err(process
                .failure(reading(image))
                .unwrap_or(TransportError::Io {
                    what: name.to_owned(),
                    source,
                }));
        }
    };
    if let Some(error) = process.failure(reading(image)) {
        return Err(error);
    }
    Ok(announced_image(engine, &bytes, name))
}

/// The image that the answer to `inspect` describes.
fn announced_image(engine: Engine, bytes: &[u8], name: &str) -> Option<Image> {
    let inspected: Vec<Inspected> = serde_json::from_slice(bytes).ok()?;
    // Several are several images that the name may mean; `save` decides.
    let [inspected] = <[Inspected; 1]>::try_from(inspected).ok()?;
    let layers = inspected.root_fs?.layers.unwrap_or_default();
    if layers.len() > MOST_LAYERS {
        return None;
    }
    let config = json!({
        "architecture": inspected.architecture?,
        "os": inspected.os.unwrap_or_else(|| "linux".to_owned()),
        "variant": inspected.variant.filter(|variant| !variant.is_empty()),
        "config": inspected.config,
        "rootfs": { "type": "layers", "diff_ids": layers },
    });
    let config_bytes = serde_json::to_vec(&config).ok()?;
    let config = parse_config(&config_bytes, name).ok()?;
    let layers = diff_ids(&config, name).ok()?.into_iter().enumerate();
    let layers = layers
        .map(|(index, diff_id)| Layer {
            index,
            digest: None,
            size: None,
            media_type: String::new(),
            diff_id,
            member: None,
        })
        .collect();
    let digest = match engine {
        Engine::Docker => None,
        Engine::Podman => inspected.digest.and_then(|digest| digest.parse().ok()),
    };
    Some(Image {
        reference: name.to_owned(),
        digest,
        manifest_bytes: None,
        config_bytes,
        config,
        layers,
        source: Arc::new(GoneBy(name.to_owned())),
    })
}

/// An image that an engine is about to save.
#[derive(Debug)]
struct EngineStream {
    engine: Engine,
    program: PathBuf,
    image: String,
    platform: Option<OciPlatform>,
    patience: Duration,
    name: String,
    announced: Option<Image>,
}

impl ImageStream for EngineStream {
    fn announced(&self) -> Option<&Image> {
        self.announced.as_ref()
    }

    fn read(
        self: Box<Self>,
        layer: &mut dyn FnMut(&str, &mut dyn Read) -> Result<StreamedLayer, TransportError>,
    ) -> Result<(Image, Vec<StreamedLayer>), TransportError> {
        let mut arguments = self.engine.save_arguments().to_vec();
        arguments.push(&self.image);
        let (mut process, output) =
            EngineProcess::start(self.engine, &self.program, &arguments, self.patience)?;
        let format = ArchiveFormat::Docker(None);
        let archive = ArchiveStream::new(Box::new(output), format, self.platform, &self.name);
        let read = Box::new(archive).read(layer);
        // An engine that fails cuts its archive off, and what it says of it is the better reason; one that fails after
        // it has written everything has failed all the same.
        match (read, process.failure(reading(&self.image))) {
            (_, Some(failure)) => Err(failure),
            (Ok((mut image, layers)), None) => {
                // The name may lead to another image by now; the digest goes with its layers alone.
                image.digest = self
                    .announced
                    .filter(|announced| {
                        announced.config.rootfs().diff_ids() == image.config.rootfs().diff_ids()
                    })
                    .and_then(|announced| announced.digest);
                Ok((image, layers))
            }
            (Err(error), None) => Err(error),
        }
    }
}
