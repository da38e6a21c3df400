//! From the plan to the image of one platform: wheels, layers, configuration, manifest, what is attached.

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use oci_distribution::Reference;
use tempfile::{NamedTempFile, TempPath};

use crate::environment::installation_scheme;
use crate::image::append::{append_described, has_docker_manifest};
use crate::image::{BuiltImage, LayerCompression, ManifestFormat, NewLayer};
use crate::layer::{
    Assembled, Compression, FileSource, InstallableWheel, LayerContents, LayerEntry,
    LayerWriteSettings, Sources, WrittenLayer, assemble, compile_bytecode, write_layer,
};
use crate::package_index::{IndexFile, StoredWheel};
use crate::plan::Plan;
use crate::report::building::{self, PlatformBuilding};
use crate::rootfs::{Attributes, RootFs};
use crate::transport::Image;
use crate::transport::outgoing::BlobContent;

use super::super::{CommandError, Talk};
use super::attachments::{self, Subject};
use super::prepare::Ready;
use super::staging::{Staged, stage_base};
use super::targets::Demands;
use super::{BuildSettings, LayerSplit};

/// What new files get; their owner is that of the folder that they lie in.
const NEW_FILE: Attributes = Attributes {
    mode: 0o644,
    uid: 0,
    gid: 0,
};

/// Interpreters that compile at once: each takes some forty megabytes.
const MOST_COMPILERS: usize = 4;

/// The image of one platform, and the files that its layers lie in until every target has them.
pub(super) struct Made {
    /// What reports say of it.
    pub report: PlatformBuilding,
    /// What targets are given.
    pub built: BuiltImage,
    /// What a person should know.
    pub talk: Vec<Talk>,
    /// The files that the layers lie in: they go away with this value.
    pub files: Vec<TempPath>,
}

/// Makes the image of one platform. `scratch` is the folder for what is too large for memory.
///
/// # Errors
/// When a wheel cannot be had, is refused or gets in the way of another or of the base; when the image cannot be put
/// together; when the machine fails.
pub(super) fn make(
    mut ready: Ready,
    settings: &BuildSettings,
    demands: Demands,
    scratch: &Path,
) -> Result<Made, CommandError> {
    let (Some(image), Some(root)) = (&ready.posed.image, ready.posed.root.as_deref()) else {
        return Err(CommandError::NoImage(ready.posed.label.reference.clone()));
    };
    let mut talk = Vec::new();
    let stored = fetch(&ready, settings)?;
    let wheels = open(&stored)?;
    // Goes away with its last handle.
    let mut byte_code = tempfile::tempfile_in(scratch).map_err(|error| CommandError::Scratch {
        folder: scratch.to_owned(),
        error,
    })?;
    let made = contents(&ready, root, &wheels, settings, &mut byte_code, &mut talk)?;
    let sources = Contents {
        wheels: &wheels,
        byte_code: &byte_code,
    };
    let mut layers = Vec::new();
    for part in made.parts {
        layers.push(write(part, &sources, image, settings, scratch)?);
    }
    let staged = stage_base(image, scratch)?;
    let new_layers: Vec<NewLayer> = layers
        .iter()
        .map(|layer| layer.described(settings))
        .collect();
    let mut changes = settings.changes();
    if changes.format == ManifestFormat::AsBase && demands.layouts && has_docker_manifest(image) {
        if demands.registries {
            talk.push(Talk::Warning(
                "the base has a Docker manifest, and so has the image: in an OCI layout not every tool takes it \
                 (`--manifest oci` makes it one of OCI everywhere)"
                    .to_owned(),
            ));
        } else {
            changes.format = ManifestFormat::Oci;
            talk.push(Talk::Note(
                "the base has a Docker manifest; the image has one of OCI, as it goes to an OCI layout".to_owned(),
            ));
        }
    }
    let new_image = append_described(image, &staged.descriptors, &new_layers, &changes)?;
    talk.extend(new_image.notes.iter().cloned().map(Talk::Note));
    let attached = if demands.keeps_attached {
        attachments::of(&Subject {
            ready: &ready,
            stored: &stored,
            wheels: &wheels,
            image: &new_image,
            settings,
        })
    } else {
        Vec::new()
    };
    let built_image = building::BuiltImage {
        manifest: new_image.manifest.digest().to_string(),
        config: new_image.config.digest().to_string(),
        layers: layers.iter().map(Written::report).collect(),
        attached: attachments::report(&new_image, &attached),
        compiled: made.compiled,
    };
    let Staged {
        source,
        base_layers,
        mut files,
        ..
    } = staged;
    let base_repository = repository_of(image);
    let mut contents = Vec::new();
    for layer in layers {
        contents.push(BlobContent::File(layer.file.to_path_buf()));
        files.push(layer.file);
    }
    files.extend(ready.posed.spooled.take());
    let mut report = ready.report();
    report.image = Some(built_image);
    Ok(Made {
        report,
        built: BuiltImage {
            image: new_image,
            base_source: source,
            base_layers,
            base_repository,
            new_layers: contents,
            attached,
        },
        talk,
        files,
    })
}

/// Fetches the wheels of the plan, in its order.
fn fetch(ready: &Ready, settings: &BuildSettings) -> Result<Vec<StoredWheel>, CommandError> {
    let files: Vec<IndexFile> = ready
        .plan
        .installs
        .iter()
        .map(|install| install.wheel.clone())
        .collect();
    let stored = ready.index.fetch_wheels(&files, &*settings.progress)?;
    for (install, wheel) in ready.plan.installs.iter().zip(&stored) {
        ready.pins.vouch_for(&install.name, wheel)?;
    }
    Ok(stored)
}

fn open(stored: &[StoredWheel]) -> Result<Vec<InstallableWheel>, CommandError> {
    stored
        .iter()
        .map(|wheel| Ok(InstallableWheel::open(&wheel.path, &wheel.file_name)?))
        .collect()
}

/// A layer before it is written, and what it is for.
struct Part {
    contents: LayerContents,
    created_by: String,
}

/// The layers before they are written.
#[derive(Default)]
struct Parts {
    parts: Vec<Part>,
    /// How many modules were compiled.
    compiled: usize,
}

/// What the layers consist of: none where nothing of the base's files changes.
fn contents(
    ready: &Ready,
    root: &dyn RootFs,
    wheels: &[InstallableWheel],
    settings: &BuildSettings,
    byte_code: &mut File,
    talk: &mut Vec<Talk>,
) -> Result<Parts, CommandError> {
    let plan = &ready.plan;
    if plan.is_empty() {
        return Ok(Parts::default());
    }
    let environment = &ready.posed.environment;
    let scheme = installation_scheme(root, environment)?;
    let mut installed = Vec::new();
    for (place, (wheel, install)) in wheels.iter().zip(&plan.installs).enumerate() {
        let wheel = wheel.install(place, &scheme, &NEW_FILE, install.requested)?;
        talk.extend(wheel.notes.iter().cloned().map(Talk::Note));
        installed.push(wheel);
    }
    let mut compiled = 0;
    if let Some(compiler) = &ready.compiler {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let workers = workers.min(MOST_COMPILERS);
        let made = compile_bytecode(
            compiler,
            &mut installed,
            wheels,
            &scheme,
            byte_code,
            workers,
        )?;
        compiled = made.files;
        if let Some(first) = made.left_out.first() {
            talk.push(Talk::Note(format!(
                "{} no Python {} and not compiled, as with pip; the first is `{first}`",
                match made.left_out.len() {
                    1 => "1 file is".to_owned(),
                    many => format!("{many} files are"),
                },
                compiler.version()
            )));
        }
    }
    let leaving: Vec<_> = plan
        .departures()
        .into_iter()
        .map(|departure| departure.name.clone())
        .collect();
    let assembled = assemble(root, environment, installed, &leaving)?;
    talk.extend(assembled.notes.iter().cloned().map(Talk::Note));
    let parts = match settings.layers.unwrap_or_default() {
        LayerSplit::Single => vec![Part {
            created_by: created_by(plan),
            contents: assembled.contents,
        }],
        LayerSplit::PerDistribution => per_distribution(&assembled),
    };
    Ok(Parts { parts, compiled })
}

fn per_distribution(assembled: &Assembled) -> Vec<Part> {
    assembled
        .per_distribution()
        .into_iter()
        .map(|layer| Part {
            created_by: match &layer.distribution {
                Some((name, version)) => format!("imgtool build: {name}=={version}"),
                None => "imgtool build: removals".to_owned(),
            },
            contents: layer.contents,
        })
        .collect()
}

/// What the history says of a layer with everything in it: what was asked for, and how much else came along.
fn created_by(plan: &Plan) -> String {
    let pins = |requested: bool| {
        plan.installs
            .iter()
            .filter(move |install| install.requested == requested)
            .map(|install| format!("{}=={}", install.name, install.version))
    };
    let removed = plan.removals.iter().map(|gone| format!("-{}", gone.name));
    let all: Vec<String> = pins(true).chain(pins(false)).chain(removed).collect();
    format!("imgtool build: {}", all.join(" "))
}

/// A layer that is written.
struct Written {
    file: TempPath,
    layer: WrittenLayer,
    created_by: String,
    files: usize,
    whiteouts: usize,
}

fn write(
    part: Part,
    sources: &Contents<'_>,
    image: &Image,
    settings: &BuildSettings,
    scratch: &Path,
) -> Result<Written, CommandError> {
    let created = settings.source_date.or_else(|| {
        image
            .config
            .created()
            .as_ref()?
            .parse()
            .ok()
            .map(jiff::Timestamp::as_second)
    });
    let write_settings = LayerWriteSettings {
        compression: settings.compression.unwrap_or(Compression::GZIP),
        mtime: created
            .and_then(|seconds| u64::try_from(seconds).ok())
            .unwrap_or(0),
        threads: thread::available_parallelism().map_or(1, usize::from),
    };
    let unwritten = |error: io::Error| CommandError::Scratch {
        folder: scratch.to_owned(),
        error,
    };
    let file = NamedTempFile::new_in(scratch).map_err(unwritten)?;
    let layer = write_layer(
        &part.contents,
        sources,
        &write_settings,
        BufWriter::new(file.as_file()),
    )?;
    let whiteouts = part
        .contents
        .entries
        .values()
        .filter(|entry| matches!(entry, LayerEntry::Whiteout))
        .count();
    Ok(Written {
        file: file.into_temp_path(),
        layer,
        created_by: part.created_by,
        files: part.contents.entries.len() - whiteouts,
        whiteouts,
    })
}

impl Written {
    fn described(&self, settings: &BuildSettings) -> NewLayer {
        NewLayer {
            digest: self.layer.digest.clone(),
            size: self.layer.size,
            diff_id: self.layer.diff_id.clone(),
            compression: match settings.compression {
                Some(Compression::Zstd { .. }) => LayerCompression::Zstd,
                Some(Compression::Gzip { .. }) | None => LayerCompression::Gzip,
            },
            created_by: self.created_by.clone(),
            comment: None,
        }
    }

    fn report(&self) -> building::BuiltLayer {
        building::BuiltLayer {
            digest: self.layer.digest.to_string(),
            diff_id: self.layer.diff_id.to_string(),
            size: self.layer.size,
            uncompressed: self.layer.uncompressed,
            files: self.files,
            whiteouts: self.whiteouts,
        }
    }
}

/// What a layer is made from.
struct Contents<'a> {
    wheels: &'a [InstallableWheel],
    byte_code: &'a File,
}

/// A part of a file.
struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.file.read_at(&mut buffer[..length], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Sources for Contents<'_> {
    fn open(&self, source: &FileSource) -> io::Result<Box<dyn Read + '_>> {
        match source {
            FileSource::Bytes(bytes) => Ok(Box::new(io::Cursor::new(Arc::clone(bytes)))),
            FileSource::Wheel { wheel, member } => self
                .wheels
                .get(*wheel)
                .and_then(|wheel| wheel.open_member(*member))
                .map(|reader| Box::new(reader) as Box<dyn Read>)
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)),
            FileSource::Compiled { offset, length } => Ok(Box::new(Section {
                file: self.byte_code,
                offset: *offset,
                left: *length,
            })),
        }
    }
}

/// The repository that the base came from, where it came from a registry.
fn repository_of(image: &Image) -> Option<Reference> {
    image.reference.strip_prefix("docker://")?.parse().ok()
}
