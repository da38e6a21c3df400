//! One image and new layers become another image.
//!
//! What the base says of itself stays: its configuration but for what was asked for ([`Changes`]), the descriptors of its
//! layers with everything in them, its media types. What would no longer be true is not taken over:
//!
//! - `org.opencontainers.image.base.name` and `.base.digest` say which base this image has: as annotations of an OCI
//!   manifest; as labels for a Docker manifest, which has no annotations, and wherever the base has such labels;
//! - `org.opencontainers.image.created` is the time of this image, as an annotation, and as a label where the base has it;
//! - of the base's annotations those that tell of its own build are left behind (`title`, `version`, `revision` and their
//!   kin, the name that a layout or containerd gave it, the marks of official images); all others are inherited, as
//!   labels are;
//! - a `subject` of the base's manifest is not this image's.
//!
//! Labels such as `org.opencontainers.image.version` stay, as they do with every builder: who wants others sets them.
//!
//! Specification: OCI image-spec, `manifest.md`; Docker's "Image Manifest Version 2, Schema 2".

use std::collections::BTreeMap;
use std::str::FromStr as _;

use oci_distribution::Reference;
use oci_spec::image::{Descriptor, MediaType};
use serde_json::value::RawValue;

use super::config::{self, BASE_DIGEST, BASE_NAME, CREATED, Changes};
use super::document::Members;
use super::error::ImageError;
use super::format::{Described, Family, LayerCompression, ManifestFormat, oci_layer};
use super::index::ImagePlatform;
use crate::digest::{self, Digest};
use crate::transport::Image;
use crate::transport::manifest::LARGEST_DOCUMENT;

/// The most layers of an image: Docker's graph driver takes no more.
pub const MOST_LAYERS: usize = 127;

/// Annotations of a base that are about its own build: as a whole, or all that begin with them where they end in a dot.
const ABOUT_THE_BASE: [&str; 13] = [
    "org.opencontainers.image.base.",
    "org.opencontainers.image.created",
    "org.opencontainers.image.description",
    "org.opencontainers.image.documentation",
    "org.opencontainers.image.ref.name",
    "org.opencontainers.image.revision",
    "org.opencontainers.image.source",
    "org.opencontainers.image.title",
    "org.opencontainers.image.url",
    "org.opencontainers.image.version",
    "com.docker.official-images.",
    "io.containerd.",
    "vnd.docker.reference.",
];

/// A layer that comes on top of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLayer {
    /// Digest of the compressed blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// How the blob is compressed.
    pub compression: LayerCompression,
    /// What made it, for the history.
    pub created_by: String,
    /// What the history says beside; imgtool and its version where it is `None`.
    pub comment: Option<String>,
}

/// The documents of a new image.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// The configuration.
    pub config_bytes: Vec<u8>,
    /// Its descriptor.
    pub config: Descriptor,
    /// The manifest.
    pub manifest_bytes: Vec<u8>,
    /// Its descriptor.
    pub manifest: Descriptor,
    /// The layers as the manifest names them, lowest first: those of the base, then the new ones.
    pub layers: Vec<Descriptor>,
    /// How many of them are new.
    pub new_layers: usize,
    /// What the image runs on.
    pub platform: ImagePlatform,
    /// When it was created (RFC 3339), where that is known.
    pub created: Option<String>,
    /// What a person should know of it.
    pub notes: Vec<String>,
    pub(super) family: Family,
}

/// Puts `layers` on `base`.
///
/// # Errors
/// When the base has no manifest ([`append_described`] is for such), its documents cannot be worked on, the image would
/// have too many layers, or what is asked for cannot be said in its family of manifests.
pub fn append(
    base: &Image,
    layers: &[NewLayer],
    changes: &Changes,
) -> Result<NewImage, ImageError> {
    append_described(base, &[], layers, changes)
}

/// Whether `base` has a manifest of Docker, whose family a new image keeps unless OCI is asked for.
#[must_use]
pub fn has_docker_manifest(base: &Image) -> bool {
    base.manifest_bytes.is_some()
        && BaseManifest::of(base, &[]).is_ok_and(|manifest| manifest.family == Family::Docker)
}

/// As [`append`], for a base without a manifest, as from an archive of `docker save`: `described` are its layers as they
/// shall be named, lowest first. A base that has a manifest needs none.
///
/// # Errors
/// As [`append`]; when not every layer of a base without a manifest is described.
pub fn append_described(
    base: &Image,
    described: &[Descriptor],
    layers: &[NewLayer],
    changes: &Changes,
) -> Result<NewImage, ImageError> {
    let name = base.reference.as_str();
    let mut manifest = BaseManifest::of(base, described)?;
    let count = manifest.layers.len() + layers.len();
    if count > MOST_LAYERS {
        return Err(ImageError::TooManyLayers {
            count,
            most: MOST_LAYERS,
        });
    }
    if manifest.family == Family::Docker && changes.format == ManifestFormat::Oci {
        manifest.translate(name)?;
    }
    let family = manifest.family;
    for layer in layers {
        let media_type =
            family
                .layer(layer.compression)
                .ok_or_else(|| ImageError::ZstdInDocker {
                    base: name.to_owned(),
                })?;
        manifest.push(media_type, &layer.digest, layer.size);
    }

    let base_name = changes.base_name.clone().or_else(|| registry_name(name));
    let base_digest = base.digest.as_ref().map(ToString::to_string);
    let of_base = BTreeMap::from([(BASE_NAME, base_name), (BASE_DIGEST, base_digest)]);
    let mut labels = changes.labels.clone();
    if family == Family::Docker {
        if let Some(annotation) = changes.annotations.keys().next() {
            return Err(ImageError::AnnotationInDocker {
                what: name.to_owned(),
                annotation: annotation.clone(),
            });
        }
        for (key, value) in &of_base {
            if let Some(value) = value {
                let label = labels.entry((*key).to_owned());
                label.or_insert_with(|| value.clone());
            }
        }
    }
    let config = config::change(&base.config_bytes, layers, changes, &labels, &of_base, name)?;
    check_size("the configuration", &config.bytes)?;
    let config_descriptor = descriptor(family.config(), &config.bytes);

    let mut annotations = manifest.inherited(name)?;
    if family == Family::Oci {
        let known = of_base
            .into_iter()
            .chain([(CREATED, config.created.clone())])
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        annotations.extend(known);
        annotations.extend(changes.annotations.clone());
    }
    let manifest_bytes = manifest.finish(&config_descriptor, &annotations);
    check_size("the manifest", &manifest_bytes)?;
    Ok(NewImage {
        manifest: descriptor(family.manifest(), &manifest_bytes),
        platform: ImagePlatform::of_config(&config.bytes).map_err(|reason| ImageError::Base {
            what: "the configuration",
            base: name.to_owned(),
            reason: reason.to_string(),
        })?,
        config: config_descriptor,
        config_bytes: config.bytes,
        manifest_bytes,
        layers: manifest.described,
        new_layers: layers.len(),
        created: config.created,
        notes: config.notes,
        family,
    })
}

/// The descriptor of `bytes`.
pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(
        MediaType::from(media_type),
        bytes.len() as u64,
        digest::sha256(bytes),
    )
}

pub(super) fn check_size(what: &'static str, bytes: &[u8]) -> Result<(), ImageError> {
    let size = bytes.len() as u64;
    if size > LARGEST_DOCUMENT {
        return Err(ImageError::TooLarge {
            what,
            size,
            most: LARGEST_DOCUMENT,
        });
    }
    Ok(())
}

/// What an image of a registry is called, in full and without transport; `None` for what is not in a registry.
fn registry_name(reference: &str) -> Option<String> {
    let reference = Reference::from_str(reference.strip_prefix("docker://")?).ok()?;
    let place = format!("{}/{}", reference.registry(), reference.repository());
    Some(match (reference.tag(), reference.digest()) {
        // The digest is told beside it.
        (Some(tag), _) => format!("{place}:{tag}"),
        (None, Some(digest)) => format!("{place}@{digest}"),
        (None, None) => place,
    })
}

/// The manifest of a base on its way to being another's.
struct BaseManifest {
    family: Family,
    document: Members,
    /// What the manifest says of each layer, as it stands there.
    layers: Vec<Box<RawValue>>,
    /// The same, as far as it is understood.
    described: Vec<Descriptor>,
}

impl BaseManifest {
    fn of(base: &Image, described: &[Descriptor]) -> Result<Self, ImageError> {
        let Some(bytes) = &base.manifest_bytes else {
            if described.len() != base.layers.len() {
                return Err(ImageError::Undescribed {
                    base: base.reference.clone(),
                    layers: base.layers.len(),
                    described: described.len(),
                });
            }
            let mut manifest = Self {
                family: Family::Oci,
                document: Members::default(),
                layers: Vec::new(),
                described: Vec::new(),
            };
            for layer in described {
                let media_type = layer.media_type().to_string();
                manifest.push(&media_type, layer.digest(), layer.size());
            }
            return Ok(manifest);
        };
        let wrong = |reason: String| ImageError::Base {
            what: "the manifest",
            base: base.reference.clone(),
            reason,
        };
        let not_json = |error: serde_json::Error| wrong(error.to_string());
        let document: Members = serde_json::from_slice(bytes).map_err(not_json)?;
        let own: Option<String> = document.read("mediaType").map_err(not_json)?;
        let config: Members = document.read("config").map_err(not_json)?;
        let config: Option<String> = config.read("mediaType").map_err(not_json)?;
        let layers: Vec<Box<RawValue>> = document.read("layers").map_err(not_json)?;
        // The image was read from these very bytes.
        let described: Option<Vec<Descriptor>> = base
            .layers
            .iter()
            .map(|layer| {
                let media_type = MediaType::from(layer.media_type.as_str());
                Some(Descriptor::new(
                    media_type,
                    layer.size?,
                    layer.digest.clone()?,
                ))
            })
            .collect();
        let described = described
            .filter(|described| described.len() == layers.len())
            .ok_or_else(|| wrong("its layers are not those of the image".to_owned()))?;
        Ok(Self {
            family: Family::of(own.as_deref(), config.as_deref()),
            document,
            layers,
            described,
        })
    }

    /// Names one more layer.
    fn push(&mut self, media_type: &str, digest: &Digest, size: u64) {
        let shape = Described {
            media_type,
            digest,
            size,
        };
        let raw = serde_json::value::to_raw_value(&shape)
            .expect("a media type, a digest and a size are JSON");
        self.layers.push(raw);
        let media_type = MediaType::from(media_type);
        self.described
            .push(Descriptor::new(media_type, size, digest.clone()));
    }

    /// From Docker's media types to OCI's. Whatever else stands in a descriptor stays.
    fn translate(&mut self, base: &str) -> Result<(), ImageError> {
        self.family = Family::Oci;
        for (raw, described) in self.layers.iter_mut().zip(&mut self.described) {
            let Some(media_type) = oci_layer(described.media_type().as_ref()) else {
                continue;
            };
            let mut layer: Members =
                serde_json::from_str(raw.get()).map_err(|error| ImageError::Base {
                    what: "the manifest",
                    base: base.to_owned(),
                    reason: error.to_string(),
                })?;
            layer.set("mediaType", media_type);
            *raw = serde_json::value::to_raw_value(&layer).expect("an object is JSON");
            described.set_media_type(MediaType::from(media_type));
        }
        Ok(())
    }

    /// The base's annotations that are still true.
    fn inherited(&self, base: &str) -> Result<BTreeMap<String, String>, ImageError> {
        let all: BTreeMap<String, Option<String>> =
            self.document
                .read("annotations")
                .map_err(|error| ImageError::Base {
                    what: "the manifest",
                    base: base.to_owned(),
                    reason: error.to_string(),
                })?;
        Ok(all
            .into_iter()
            .filter(|(key, _)| !is_about_the_base(key))
            .filter_map(|(key, value)| Some((key, value?)))
            .collect())
    }

    /// The manifest of the new image: fields of the base's in its order, the others behind them.
    fn finish(&mut self, config: &Descriptor, annotations: &BTreeMap<String, String>) -> Vec<u8> {
        let document = &mut self.document;
        document.set("schemaVersion", &2);
        document.set("mediaType", self.family.manifest());
        document.set(
            "config",
            &Described {
                media_type: config.media_type().as_ref(),
                digest: config.digest(),
                size: config.size(),
            },
        );
        document.set("layers", &self.layers);
        document.remove("subject");
        if annotations.is_empty() {
            document.remove("annotations");
        } else {
            document.set("annotations", annotations);
        }
        document.to_bytes()
    }
}

fn is_about_the_base(key: &str) -> bool {
    ABOUT_THE_BASE.iter().any(|about| {
        if about.ends_with('.') {
            key.starts_with(about)
        } else {
            key == *about
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_a_registry_has_a_name() {
        for (reference, name) in [
            (
                "docker://registry.example:5000/team/base:1.0",
                Some("registry.example:5000/team/base:1.0"),
            ),
            (
                "docker://python:3.12",
                Some("docker.io/library/python:3.12"),
            ),
            (
                "docker://a.example/b:1@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                Some("a.example/b:1"),
            ),
            (
                "docker://a.example/b@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                Some(
                    "a.example/b@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                ),
            ),
            ("oci:layout:1.0", None),
            ("containers-storage:base", None),
        ] {
            assert_eq!(registry_name(reference).as_deref(), name, "{reference}");
        }
    }

    #[test]
    fn annotations_about_the_base_itself_are_left_behind() {
        for (key, is_left) in [
            ("org.opencontainers.image.version", true),
            ("org.opencontainers.image.version.of.mine", false),
            ("org.opencontainers.image.base.name", true),
            ("org.opencontainers.image.licenses", false),
            ("com.docker.official-images.bashbrew.arch", true),
            ("team.example/policy", false),
        ] {
            assert_eq!(is_about_the_base(key), is_left, "{key}");
        }
    }
}
