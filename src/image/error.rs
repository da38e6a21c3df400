//! What keeps a new image from being made.

use oci_spec::image::Digest;

/// Why there is no new image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No engine runs an image of so many layers.
    #[error("the image would have {count} layers, and engines take at most {most}")]
    TooManyLayers {
        /// How many it would have.
        count: usize,
        /// How many it may have.
        most: usize,
    },
    /// Docker's manifests know no layers that are compressed with zstd.
    #[error(
        "the base {base} has a Docker manifest, which cannot name layers that are compressed with zstd"
    )]
    ZstdInDocker {
        /// The base.
        base: String,
    },
    /// Docker's manifests have no annotations.
    #[error("`{what}` has a Docker manifest, which has no place for the annotation `{annotation}`")]
    AnnotationInDocker {
        /// The image, or what there is of several.
        what: String,
        /// Key of the annotation.
        annotation: String,
    },
    /// A document of the base cannot be worked on.
    #[error("{what} of the base {base} cannot be worked on: {reason}")]
    Base {
        /// Which document.
        what: &'static str,
        /// The base.
        base: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A base without a manifest, of whose layers it was not said how they lie there.
    #[error("the base {base} has {layers} layers, and {described} of them are described")]
    Undescribed {
        /// The base.
        base: String,
        /// How many layers it has.
        layers: usize,
        /// Of how many a descriptor was given.
        described: usize,
    },
    /// A text that names no environment variable.
    #[error("`{0}` is no name of an environment variable")]
    Variable(String),
    /// A text that a configuration cannot hold, as no program could be started with it.
    #[error("the value of {0} has a null character in it")]
    NullCharacter(String),
    /// The new document is larger than registries take.
    #[error("{what} would have {size} bytes, and documents have at most {most}")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The most bytes that it may have.
        most: u64,
    },
    /// Images of both families in one index.
    #[error("an index of {oci} and {docker} would mix OCI and Docker manifests")]
    MixedFormats {
        /// Platform of one with an OCI manifest.
        oci: String,
        /// Platform of one with a Docker manifest.
        docker: String,
    },
    /// Two images of an index of which nobody could say which is meant.
    #[error("two images of the index are for {platform}: {first} and {second}")]
    SamePlatform {
        /// The platform.
        platform: String,
        /// Digest of one manifest.
        first: Digest,
        /// Digest of the other.
        second: Digest,
    },
    /// There is nothing to put together.
    #[error("there is no image to put together")]
    NoImage,
    /// New layers of an image and their contents do not come out even.
    #[error("the image has {layers} new layers, and the contents of {contents}")]
    Contents {
        /// How many new layers it has.
        layers: usize,
        /// Of how many the contents were given.
        contents: usize,
    },
}

impl ImageError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooManyLayers { .. } => Some(
                "put everything new into one layer with `--layers single`, or squash layers of the base",
            ),
            Self::ZstdInDocker { .. } => Some(
                "compress the layer with `--compression gzip`, or ask for an OCI manifest with `--manifest oci`",
            ),
            Self::AnnotationInDocker { .. } => {
                Some("say it with `--label`, or ask for an OCI manifest with `--manifest oci`")
            }
            Self::MixedFormats { .. } => {
                Some("ask for OCI manifests of all platforms with `--manifest oci`")
            }
            Self::SamePlatform { .. } => Some("name each platform once"),
            Self::Variable(_) => Some("write it as NAME=VALUE"),
            _ => None,
        }
    }
}
