//! The two families of manifests, and the media types of each.
//!
//! Specification: OCI image-spec, `media-types.md`, with its table of what in Docker's "Image Manifest Version 2, Schema
//! 2" corresponds to what. A document of one family names documents of the same family: not every reader takes a mixture.

use serde::Serialize;

use crate::digest::Digest;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerCompression {
    /// gzip, which everybody reads.
    Gzip,
    /// zstd, which OCI manifests alone can name.
    Zstd,
}

/// Which family the manifest of a new image is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ManifestFormat {
    /// That of the base; OCI where the base has no manifest.
    #[default]
    AsBase,
    /// OCI, whatever the base is of: media types of a Docker base are translated.
    Oci,
}

/// A family of media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Oci,
    Docker,
}

/// The file system of Docker's layers, before how they are packed.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.";

impl Family {
    /// The family of a manifest with this media type, whose configuration has that one; a manifest need not say its own.
    pub(super) fn of(manifest: Option<&str>, config: Option<&str>) -> Self {
        let is_docker = match manifest {
            Some(own) if !own.is_empty() => own.starts_with("application/vnd.docker."),
            _ => config.is_some_and(|config| config.starts_with("application/vnd.docker.")),
        };
        if is_docker { Self::Docker } else { Self::Oci }
    }

    pub(super) fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    pub(super) fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    pub(super) fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    /// The media type of a layer; `None` where the family has none for it.
    pub(super) fn layer(self, compression: LayerCompression) -> Option<&'static str> {
        match (self, compression) {
            (Self::Oci, LayerCompression::Gzip) => {
                Some("application/vnd.oci.image.layer.v1.tar+gzip")
            }
            (Self::Oci, LayerCompression::Zstd) => {
                Some("application/vnd.oci.image.layer.v1.tar+zstd")
            }
            (Self::Docker, LayerCompression::Gzip) => {
                Some("application/vnd.docker.image.rootfs.diff.tar.gzip")
            }
            (Self::Docker, LayerCompression::Zstd) => None,
        }
    }
}

/// The OCI media type that corresponds to a layer's of Docker; `None` for one that is not Docker's.
pub(super) fn oci_layer(docker: &str) -> Option<&'static str> {
    match docker.strip_prefix(DOCKER_LAYER)? {
        "diff.tar" => Some("application/vnd.oci.image.layer.v1.tar"),
        "diff.tar.gzip" => Some("application/vnd.oci.image.layer.v1.tar+gzip"),
        // Written by some tools, although Docker never defined it.
        "diff.tar.zstd" => Some("application/vnd.oci.image.layer.v1.tar+zstd"),
        "foreign.diff.tar" => Some("application/vnd.oci.image.layer.nondistributable.v1.tar"),
        "foreign.diff.tar.gzip" => {
            Some("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
        }
        _ => None,
    }
}

/// A descriptor as it is written into a document: its fields in the order of the specification.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described<'a> {
    pub(super) media_type: &'a str,
    pub(super) digest: &'a Digest,
    pub(super) size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_its_family_or_its_configuration_does() {
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        let docker_config = "application/vnd.docker.container.image.v1+json";
        let oci = "application/vnd.oci.image.manifest.v1+json";
        for (manifest, config, family) in [
            (Some(docker), None, Family::Docker),
            (Some(oci), Some(docker_config), Family::Oci),
            (None, Some(docker_config), Family::Docker),
            (Some(""), Some(docker_config), Family::Docker),
            (None, None, Family::Oci),
        ] {
            assert_eq!(
                Family::of(manifest, config),
                family,
                "{manifest:?} {config:?}"
            );
        }
    }
}
