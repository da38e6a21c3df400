//! The answer of `imgtool build` as JSON, version 1.

use serde::Serialize;

use crate::plan::{Departure, Install};
use crate::report::building::{Building, PlatformBuilding};

/// The answer of `imgtool build`.
#[derive(Debug, Serialize)]
struct Build<'a> {
    /// Always `imgtool.build/v1`.
    schema: &'static str,
    /// Whether an image was built; false of a plan.
    built: bool,
    /// What the names lead to: the digest of the manifest, or of the index over several platforms; null of a plan.
    digest: Option<&'a str>,
    /// One for each platform.
    images: Vec<Image<'a>>,
    /// Where the image is now.
    targets: Vec<Target<'a>>,
    /// What a person should know before using the image.
    warnings: &'a [String],
}

#[derive(Debug, Serialize)]
struct Image<'a> {
    platform: &'a str,
    base: Base<'a>,
    /// Digest of the manifest; null of a plan.
    digest: Option<&'a str>,
    /// Digest of the configuration: what engines call the image's ID; null of a plan.
    config: Option<&'a str>,
    /// The new layers, lowest first; empty of a plan.
    layers: Vec<Layer<'a>>,
    added: Vec<Incoming<'a>>,
    replaced: Vec<Incoming<'a>>,
    removed: Vec<Leaving>,
    /// How many modules were compiled; `null` of a plan.
    compiled: Option<usize>,
    attached: Vec<Attached<'a>>,
}

#[derive(Debug, Serialize)]
struct Base<'a> {
    reference: &'a str,
    digest: Option<&'a str>,
    python: &'a str,
}

#[derive(Debug, Serialize)]
struct Layer<'a> {
    digest: &'a str,
    diff_id: &'a str,
    /// Bytes of the blob.
    size: u64,
    /// Bytes of the uncompressed archive.
    uncompressed: u64,
    files: usize,
    whiteouts: usize,
}

#[derive(Debug, Serialize)]
struct Incoming<'a> {
    name: String,
    version: String,
    /// The version of the base that it takes the place of.
    replaces: Option<String>,
    requested: bool,
    wheel: &'a str,
    sha256: Option<&'a str>,
    /// Bytes of the wheel, where the index says it.
    size: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Leaving {
    name: String,
    version: String,
    /// Its files, where they are known.
    files: Option<usize>,
    /// Their size, bytes.
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Attached<'a> {
    kind: &'a str,
    digest: &'a str,
}

#[derive(Debug, Serialize)]
struct Target<'a> {
    /// `pushed`, `written` or `loaded`; `planned` of a plan.
    state: &'a str,
    #[serde(rename = "target")]
    place: &'a str,
    /// Bytes of blobs that were sent or written.
    sent: u64,
    existing: usize,
    mounted: usize,
}

/// Writes a build as one JSON document with a final newline.
#[must_use]
pub fn build(building: &Building) -> String {
    let reached = building.reached.iter().map(|reached| Target {
        state: reached.verb,
        place: &reached.target,
        sent: reached.sent,
        existing: reached.existing,
        mounted: reached.mounted,
    });
    let planned = building.targets.iter().map(|target| Target {
        state: "planned",
        place: target,
        sent: 0,
        existing: 0,
        mounted: 0,
    });
    let is_built = building.digest.is_some();
    super::document(&Build {
        schema: "imgtool.build/v1",
        built: is_built,
        digest: building.digest.as_deref(),
        images: building.platforms.iter().map(image).collect(),
        targets: if is_built {
            reached.collect()
        } else {
            planned.collect()
        },
        warnings: &building.warnings,
    })
}

fn image(platform: &PlatformBuilding) -> Image<'_> {
    let plan = &platform.plan;
    let incoming = |replaces: bool| {
        plan.installs
            .iter()
            .filter(|install| install.replaces.is_some() == replaces)
            .map(incoming)
            .collect()
    };
    let built = platform.image.as_ref();
    Image {
        platform: &platform.platform,
        base: Base {
            reference: &platform.label.reference,
            digest: platform.base_digest.as_deref(),
            python: &platform.environment.interpreter.version,
        },
        digest: built.map(|image| image.manifest.as_str()),
        config: built.map(|image| image.config.as_str()),
        layers: built
            .iter()
            .flat_map(|image| &image.layers)
            .map(|layer| Layer {
                digest: &layer.digest,
                diff_id: &layer.diff_id,
                size: layer.size,
                uncompressed: layer.uncompressed,
                files: layer.files,
                whiteouts: layer.whiteouts,
            })
            .collect(),
        added: incoming(false),
        replaced: incoming(true),
        removed: plan
            .removals
            .iter()
            .map(|departure| leaving(departure, platform))
            .collect(),
        compiled: built.map(|image| image.compiled),
        attached: built
            .iter()
            .flat_map(|image| &image.attached)
            .map(|attached| Attached {
                kind: attached.kind,
                digest: &attached.digest,
            })
            .collect(),
    }
}

fn incoming(install: &Install) -> Incoming<'_> {
    Incoming {
        name: install.name.to_string(),
        version: install.version.to_string(),
        replaces: install
            .replaces
            .as_ref()
            .map(|departure| departure.version.to_string()),
        requested: install.requested,
        wheel: &install.wheel.filename,
        sha256: install.wheel.sha256.as_deref(),
        size: install.wheel.size,
    }
}

fn leaving(departure: &Departure, platform: &PlatformBuilding) -> Leaving {
    let footprint = platform.leaving.get(&departure.name);
    Leaving {
        name: departure.name.to_string(),
        version: departure.version.to_string(),
        files: footprint.map(|footprint| footprint.files),
        bytes: footprint.and_then(|footprint| footprint.bytes),
    }
}
