//! Images into a local engine: an archive is streamed into `docker load` or `podman load`, without a file in between.
//!
//! podman takes an OCI archive, whose manifest keeps its digest, under one name, and gives it the others afterwards;
//! docker takes what `docker save` writes.

use std::io::{self, Read as _};
use std::path::Path;

use oci_distribution::Reference;

use super::super::TransportError;
use super::super::archive::{write_docker_to, write_oci_to};
use super::super::manifest::LARGEST_DOCUMENT;
use super::super::outgoing::{CopyProgress, Outgoing, Written};
use super::process::{EngineInput, EngineProcess};
use super::{Engine, EngineSettings};

/// How either engine is asked to read an image from its input.
const LOAD: [&str; 3] = ["image", "load", "--quiet"];

impl Engine {
    /// How else the image gets there.
    fn way_in(self) -> &'static str {
        match self {
            Self::Docker => {
                "`--output docker-archive:FILE` writes a file for `docker load --input FILE`"
            }
            Self::Podman => {
                "`--output oci-archive:FILE` writes a file for `podman load --input FILE`"
            }
        }
    }
}

/// Loads the image into `engine` under `tags`, the first one of which is needed for podman. What is attached to it stays
/// behind: engines have no place for that.
///
/// # Errors
/// When the engine is not there or fails (with its own words), or a blob cannot be read or is not what its descriptor
/// promises; the engine is then stopped before it has the end of the archive, and names nothing.
pub fn load(
    engine: Engine,
    outgoing: &Outgoing,
    tags: &[Reference],
    settings: &EngineSettings<'_>,
    progress: &dyn CopyProgress,
) -> Result<Written, TransportError> {
    let program = engine.find(settings.program_path, engine.way_in())?;
    let outgoing = outgoing.without_referrers()?;
    let first = tags.first().map(Reference::whole);
    let written = pipe(engine, &program, settings, &mut |input| match engine {
        Engine::Docker => write_docker_to(input, tags, &outgoing, progress),
        Engine::Podman => write_oci_to(input, first.as_deref(), &outgoing, progress),
    })?;
    if let (Engine::Podman, Some(first), [_, others @ ..]) = (engine, first, tags)
        && !others.is_empty()
    {
        let others: Vec<String> = others.iter().map(Reference::whole).collect();
        let mut arguments = vec!["image", "tag", first.as_str()];
        arguments.extend(others.iter().map(String::as_str));
        let (mut process, output) =
            EngineProcess::start(engine, &program, &arguments, settings.patience)?;
        finish(&mut process, output, "name the image")?;
    }
    Ok(written)
}

/// Runs the engine's `load` on what `archive` writes.
fn pipe(
    engine: Engine,
    program: &Path,
    settings: &EngineSettings<'_>,
    archive: &mut dyn FnMut(&mut EngineInput) -> Result<Written, TransportError>,
) -> Result<Written, TransportError> {
    const LOADING: &str = "load the image";
    let (mut process, mut input, output) =
        EngineProcess::start_with_input(engine, program, &LOAD, settings.patience)?;
    match archive(&mut input) {
        Ok(written) => {
            // The end of the input.
            drop(input);
            finish(&mut process, output, LOADING)?;
            Ok(written)
        }
        // The engine does not want the rest, and has a reason.
        Err(TransportError::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            drop(input);
            finish(&mut process, output, LOADING)?;
            Err(engine.error("cannot load the image: it has ended before the image did"))
        }
        Err(TransportError::Write { source, .. }) if source.kind() == io::ErrorKind::TimedOut => {
            Err(process
                .failure(LOADING)
                .unwrap_or_else(|| engine.error("takes nothing")))
        }
        Err(error) => {
            // Before its input ends: what it has is no image.
            drop(process);
            drop(input);
            Err(error)
        }
    }
}

/// Reads an engine's output, which nobody needs, to its end.
fn finish(
    process: &mut EngineProcess,
    mut output: super::process::EngineOutput,
    what: &str,
) -> Result<(), TransportError> {
    let read = io::copy(&mut (&mut output).take(LARGEST_DOCUMENT), &mut io::sink());
    match (read, process.failure(what)) {
        (_, Some(failure)) => Err(failure),
        (Err(source), None) => Err(TransportError::Io {
            what: "the engine's answer".to_owned(),
            source,
        }),
        (Ok(_), None) => Ok(()),
    }
}
