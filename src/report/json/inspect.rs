//! Version 1 of the JSON shape of `imgtool inspect`. Fields may be added; none is renamed, removed or changes its
//! meaning. `docs/inspect.md` describes it.

use serde::Serialize;

use crate::environment::{
    CondaPackage, FoundInterpreter, InstalledDistribution, InterpreterKind, Provenance, RecordKind,
};
use crate::image::AttachmentKind;
use crate::packaging::PackageName;
use crate::packaging::tags::Libc;
use crate::report::inspection::{AttachedFacts, ImageFacts, Inspection, LayerFacts};
use crate::report::{BaseLabel, provenance_note};

#[derive(Serialize)]
struct Inspect<'a> {
    /// Always `imgtool.inspect/v1`.
    schema: &'static str,
    base: Base<'a>,
    image: Option<Image<'a>>,
    interpreter: Interpreter<'a>,
    interpreters: Vec<Found<'a>>,
    /// In the order of their names.
    distributions: Vec<Distribution<'a>>,
    /// In the order of `sys.path`.
    shadowed: Vec<Distribution<'a>>,
    /// In the order of their names.
    conda_packages: Vec<Conda<'a>>,
    /// Lowest first.
    layers: Vec<Layer<'a>>,
    /// In the order of kind, type and digest; null where it is not known.
    attached: Option<Vec<Attached<'a>>>,
    /// Null unless sizes were asked for.
    total: Option<Total>,
    /// One sentence each.
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Base<'a> {
    reference: &'a str,
    asked: &'a str,
    provenance: ProvenanceShape<'a>,
}

#[derive(Serialize)]
struct ProvenanceShape<'a> {
    /// `image`, `directory` or `snapshot`.
    source: &'static str,
    /// The folder, the image, or the entry of the catalog.
    name: &'a str,
    /// What a snapshot was made from; null where the base was read.
    made_from: Option<&'a str>,
    /// What to know before trusting it; null where the base was read.
    note: Option<String>,
}

#[derive(Serialize)]
struct Image<'a> {
    reference: &'a str,
    /// Of the manifest; null where the medium has none.
    digest: Option<&'a str>,
    platform: &'a str,
    created: Option<&'a str>,
    /// Package URL; null where there is no digest.
    purl: Option<String>,
}

#[derive(Serialize)]
struct Interpreter<'a> {
    implementation: &'static str,
    version: &'a str,
    abi: String,
    executable: Option<&'a str>,
    prefix: &'a str,
    /// In the order of `sys.path`.
    site_directories: &'a [String],
    externally_managed: bool,
    platform: Platform<'a>,
}

#[derive(Serialize)]
struct Platform<'a> {
    /// As `uname -m` prints it.
    architecture: &'a str,
    libc: Option<LibcShape>,
}

#[derive(Serialize)]
struct LibcShape {
    /// `glibc` or `musl`.
    name: &'static str,
    version: String,
}

#[derive(Serialize)]
struct Found<'a> {
    implementation: &'a str,
    version: &'a str,
    abi: Option<&'a str>,
    executable: Option<&'a str>,
    prefix: &'a str,
    /// `installation`, `conda` or `venv`.
    kind: &'static str,
    /// Prefix of the installation that a venv was made from.
    base: Option<&'a str>,
    /// Whether a venv sees the distributions of that installation.
    system_site_packages: bool,
    /// Whether the image's PATH starts it.
    default: bool,
    /// Whether it is the one whose environment this is.
    inspected: bool,
}

#[derive(Serialize)]
struct Distribution<'a> {
    name: &'a str,
    /// As it is written.
    version: &'a str,
    location: Option<&'a str>,
    /// `dist-info`, `egg-info`, `egg-info-file`, `egg`, `egg-link` or `snapshot`.
    record: &'static str,
    installer: Option<&'a str>,
    /// The source folder of a distribution in development.
    editable: Option<&'a str>,
    requires_python: Option<&'a str>,
    requires_dist: &'a [String],
    provides_extra: &'a [String],
    /// The layer that brought its metadata; null where it is not known or was not asked for.
    layer: Option<usize>,
    /// All layers that brought one of its files; null where it was not asked for.
    layers: Option<Vec<usize>>,
    /// Bytes; null where nothing records its files or it was not asked for.
    size: Option<u64>,
    /// Number of recorded files that are there; null where it was not asked for.
    files: Option<usize>,
    /// Number of recorded files that are not there; null where it was not asked for.
    missing_files: Option<usize>,
    /// Locations of the distributions of the same name that it hides.
    shadows: Vec<&'a str>,
    purl: String,
}

#[derive(Serialize)]
struct Conda<'a> {
    name: &'a str,
    version: &'a str,
    build: &'a str,
    channel: Option<&'a str>,
    /// The installed distribution of the same name; null for what is no Python distribution.
    distribution: Option<String>,
    purl: String,
}

#[derive(Serialize)]
struct Layer<'a> {
    index: usize,
    /// Of the blob; null where the medium does not say it.
    digest: Option<&'a str>,
    diff_id: &'a str,
    /// Of the blob, bytes; null where it is not known.
    size: Option<u64>,
    created_by: Option<&'a str>,
    /// Number of installed distributions whose metadata it brought; null where it was not asked for.
    distributions: Option<usize>,
}

#[derive(Serialize)]
struct Attached<'a> {
    /// `sbom`, `provenance` or `lock`; null for what imgtool attaches to no image.
    kind: Option<&'static str>,
    artifact_type: &'a str,
    /// Of its manifest.
    digest: &'a str,
    /// Of its manifest, bytes.
    size: u64,
    created: Option<&'a str>,
}

#[derive(Serialize)]
struct Total {
    /// Bytes.
    size: u64,
    files: usize,
    missing_files: usize,
    /// Distributions of which nothing records the files: they are not in `size`.
    without_size: usize,
}

/// Writes what was found as one JSON document with a final newline.
#[must_use]
pub fn inspect(found: &Inspection) -> String {
    let environment = &found.environment;
    let by_layer = found
        .footprints
        .is_some()
        .then(|| found.distributions_by_layer());
    let shape = Inspect {
        schema: "imgtool.inspect/v1",
        base: base_shape(&found.label, &environment.provenance, found),
        image: found.image.as_ref().map(image_shape),
        interpreter: interpreter_shape(found),
        interpreters: found
            .interpreters
            .iter()
            .map(|interpreter| found_shape(interpreter, found))
            .collect(),
        distributions: environment
            .distributions
            .values()
            .map(|installed| Distribution {
                shadows: environment
                    .shadowed
                    .iter()
                    .filter(|hidden| hidden.name == installed.name)
                    .map(|hidden| hidden.location.as_str())
                    .collect(),
                ..with_footprint(installed, found)
            })
            .collect(),
        shadowed: environment
            .shadowed
            .iter()
            .map(distribution_shape)
            .collect(),
        conda_packages: environment
            .conda_packages
            .iter()
            .map(|package| conda_shape(package, found))
            .collect(),
        layers: found
            .image
            .iter()
            .flat_map(|image| &image.layers)
            .map(|layer| {
                let brought = by_layer.as_ref();
                let count = |of_all: &std::collections::BTreeMap<usize, usize>| {
                    of_all.get(&layer.index).copied().unwrap_or_default()
                };
                layer_shape(layer, brought.map(count))
            })
            .collect(),
        attached: found
            .image
            .as_ref()
            .and_then(|image| image.attached.as_ref())
            .map(|attached| attached.iter().map(attached_shape).collect()),
        total: total(found),
        notes: found.notes(),
    };
    super::document(&shape)
}

fn base_shape<'a>(
    label: &'a BaseLabel,
    provenance: &'a Provenance,
    found: &'a Inspection,
) -> Base<'a> {
    let (source, name, made_from) = match provenance {
        Provenance::Directory { path } => ("directory", path, None),
        Provenance::Image { reference, .. } => ("image", reference, None),
        Provenance::Snapshot { base, made_from } => ("snapshot", base, Some(made_from.as_str())),
    };
    Base {
        reference: &label.reference,
        asked: &label.asked,
        provenance: ProvenanceShape {
            source,
            name,
            made_from,
            note: provenance_note(&found.environment),
        },
    }
}

fn image_shape(image: &ImageFacts) -> Image<'_> {
    Image {
        reference: &image.reference,
        digest: image.manifest_digest.as_deref(),
        platform: &image.platform,
        created: image.created.as_deref(),
        purl: crate::report::purl::of_image(image),
    }
}

fn interpreter_shape(found: &Inspection) -> Interpreter<'_> {
    let interpreter = &found.environment.interpreter;
    let platform = &found.environment.platform;
    let (major, minor) = platform.python;
    Interpreter {
        implementation: "CPython",
        version: &interpreter.version,
        abi: format!("cp{major}{minor}{}", platform.abi_flags),
        executable: interpreter.executable.as_deref(),
        prefix: &interpreter.prefix,
        site_directories: &interpreter.site_directories,
        externally_managed: interpreter.externally_managed,
        platform: Platform {
            architecture: &platform.architecture,
            libc: platform.libc.map(|libc| match libc {
                Libc::Glibc(major, minor) => LibcShape {
                    name: "glibc",
                    version: format!("{major}.{minor}"),
                },
                Libc::Musl(major, minor) => LibcShape {
                    name: "musl",
                    version: format!("{major}.{minor}"),
                },
            }),
        },
    }
}

fn found_shape<'a>(interpreter: &'a FoundInterpreter, found: &Inspection) -> Found<'a> {
    let (kind, base, system_site_packages) = match &interpreter.kind {
        InterpreterKind::Installation => ("installation", None, false),
        InterpreterKind::Conda => ("conda", None, false),
        InterpreterKind::Venv {
            base,
            system_site_packages,
        } => ("venv", base.as_deref(), *system_site_packages),
    };
    Found {
        implementation: &interpreter.implementation,
        version: &interpreter.version,
        abi: interpreter.abi.as_deref(),
        executable: interpreter.executable.as_deref(),
        prefix: &interpreter.prefix,
        kind,
        base,
        system_site_packages,
        default: interpreter.is_default,
        inspected: found.is_inspected(interpreter),
    }
}

fn with_footprint<'a>(
    installed: &'a InstalledDistribution,
    found: &'a Inspection,
) -> Distribution<'a> {
    let shape = distribution_shape(installed);
    match found.footprint(&installed.name) {
        None => shape,
        Some(footprint) => Distribution {
            layer: footprint.layer,
            layers: Some(footprint.layers.iter().copied().collect()),
            size: footprint.bytes,
            files: Some(footprint.files),
            missing_files: Some(footprint.missing),
            ..shape
        },
    }
}

fn distribution_shape(installed: &InstalledDistribution) -> Distribution<'_> {
    Distribution {
        name: installed.name.as_ref(),
        version: &installed.version_text,
        location: (!installed.location.is_empty()).then_some(&installed.location),
        record: match installed.record {
            RecordKind::DistInfo => "dist-info",
            RecordKind::EggInfo => "egg-info",
            RecordKind::EggInfoFile => "egg-info-file",
            RecordKind::Egg => "egg",
            RecordKind::EggLink => "egg-link",
            RecordKind::Snapshot => "snapshot",
        },
        installer: installed.installer.as_deref(),
        editable: installed.editable.as_deref(),
        requires_python: installed.requires_python.as_deref(),
        requires_dist: &installed.requires_dist,
        provides_extra: &installed.provides_extra,
        layer: None,
        layers: None,
        size: None,
        files: None,
        missing_files: None,
        shadows: Vec::new(),
        purl: crate::report::purl::of_distribution(installed),
    }
}

fn conda_shape<'a>(package: &'a CondaPackage, found: &Inspection) -> Conda<'a> {
    let distribution = package
        .name
        .parse::<PackageName>()
        .ok()
        .filter(|name| found.environment.distributions.contains_key(name));
    Conda {
        name: &package.name,
        version: &package.version,
        build: &package.build,
        channel: package.channel.as_deref(),
        distribution: distribution.map(|name| name.to_string()),
        purl: crate::report::purl::of_conda_package(package),
    }
}

fn layer_shape(layer: &LayerFacts, distributions: Option<usize>) -> Layer<'_> {
    Layer {
        index: layer.index,
        digest: layer.digest.as_deref(),
        diff_id: &layer.diff_id,
        size: layer.size,
        created_by: layer.created_by.as_deref(),
        distributions,
    }
}

fn attached_shape(attached: &AttachedFacts) -> Attached<'_> {
    Attached {
        kind: attached.kind.map(AttachmentKind::name),
        artifact_type: &attached.artifact_type,
        digest: &attached.digest,
        size: attached.size,
        created: attached.created.as_deref(),
    }
}

fn total(found: &Inspection) -> Option<Total> {
    let footprints = found.footprints.as_ref()?;
    Some(Total {
        size: footprints.values().filter_map(|found| found.bytes).sum(),
        files: footprints.values().map(|found| found.files).sum(),
        missing_files: footprints.values().map(|found| found.missing).sum(),
        without_size: footprints
            .values()
            .filter(|found| found.bytes.is_none())
            .count(),
    })
}
