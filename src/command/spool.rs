//! Images that come once - from an engine, from standard input - in a file, for who must read their layers again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::transport::TransportError;
use crate::transport::engine::{self, Engine, EngineSettings, PATIENCE};
use crate::transport::reference::ImageReference;

use super::CommandError;
use super::base::BaseSettings;

/// Copies the image that `reference` means to a file, which goes away with the second value; the first is what it is called
/// there. `None` where it can be read more than once as it is.
///
/// # Errors
/// When the image cannot be had, or the file cannot be written.
pub(super) fn spool(
    reference: &ImageReference,
    settings: &BaseSettings,
) -> Result<Option<(ImageReference, TempPath)>, CommandError> {
    let input = Path::new("-");
    match reference {
        ImageReference::DockerDaemon { name } => {
            let file = save(Engine::Docker, name, settings)?;
            Ok(Some((docker_archive(&file), file)))
        }
        ImageReference::ContainersStorage { name } => {
            let file = save(Engine::Podman, name, settings)?;
            Ok(Some((docker_archive(&file), file)))
        }
        ImageReference::DockerArchive { path, selector } if path == input => {
            let file = copy(settings)?;
            let reference = ImageReference::DockerArchive {
                path: file.to_path_buf(),
                selector: selector.clone(),
            };
            Ok(Some((reference, file)))
        }
        ImageReference::OciArchive { path, selector } if path == input => {
            let file = copy(settings)?;
            let reference = ImageReference::OciArchive {
                path: file.to_path_buf(),
                selector: selector.clone(),
            };
            Ok(Some((reference, file)))
        }
        _ => Ok(None),
    }
}

fn docker_archive(file: &TempPath) -> ImageReference {
    ImageReference::DockerArchive {
        path: file.to_path_buf(),
        selector: None,
    }
}

fn save(engine: Engine, name: &str, settings: &BaseSettings) -> Result<TempPath, CommandError> {
    let engine_settings = EngineSettings {
        program_path: &settings.program_path,
        patience: PATIENCE,
    };
    into_file(settings, |out, what| {
        engine::save(engine, name, &engine_settings, out, what)
    })
}

fn copy(settings: &BaseSettings) -> Result<TempPath, CommandError> {
    into_file(settings, |out, what| {
        io::copy(&mut io::stdin().lock(), out)
            .map(|_| ())
            .map_err(|source| TransportError::Write {
                what: what.to_owned(),
                source,
            })
    })
}

/// A new file beside the cache with what `fill` writes to it.
fn into_file(
    settings: &BaseSettings,
    fill: impl FnOnce(&mut dyn Write, &str) -> Result<(), TransportError>,
) -> Result<TempPath, CommandError> {
    let folder: PathBuf = settings
        .cache_dir
        .clone()
        .unwrap_or_else(|| settings.temporary.clone());
    let unwritten = |error: io::Error| CommandError::Scratch {
        folder: folder.clone(),
        error,
    };
    std::fs::create_dir_all(&folder).map_err(unwritten)?;
    let mut spool = tempfile::Builder::new()
        .prefix(".new-base-")
        .tempfile_in(&folder)
        .map_err(unwritten)?;
    let what = format!("a file in `{}`", folder.display());
    fill(spool.as_file_mut(), &what)?;
    Ok(spool.into_temp_path())
}
