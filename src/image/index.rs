//! Images of several platforms under one name.
//!
//! Specification: OCI image-spec, `image-index.md`; Docker's "Manifest List".

use std::collections::BTreeMap;
use std::fmt;

use oci_spec::image::Descriptor;
use serde::{Deserialize, Serialize};

use super::append::{NewImage, check_size, descriptor};
use super::error::ImageError;
use super::format::Family;
use crate::digest::Digest;

/// What an image runs on, as its configuration says it and an index repeats it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePlatform {
    /// Architecture by its Go name, such as `amd64`.
    #[serde(default, deserialize_with = "text")]
    pub architecture: String,
    /// Operating system by its Go name, such as `linux`.
    #[serde(default, deserialize_with = "text")]
    pub os: String,
    /// Version of the operating system, where it matters (Windows).
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features that it must have.
    #[serde(rename = "os.features", skip_serializing_if = "Option::is_none")]
    pub os_features: Option<Vec<String>>,
    /// Variant of the architecture, such as `v8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text, or `null` for none.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ImagePlatform {
    /// What a configuration says.
    pub(super) fn of_config(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut platform: Self = serde_json::from_slice(bytes)?;
        // Empty is how some tools write that there is none.
        platform.os_version = platform.os_version.filter(|text| !text.is_empty());
        platform.os_features = platform.os_features.filter(|list| !list.is_empty());
        platform.variant = platform.variant.filter(|text| !text.is_empty());
        Ok(platform)
    }
}

/// `OS/ARCH`, `OS/ARCH/VARIANT`, and the version of the system where there is one.
impl fmt::Display for ImagePlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, " ({version})")?;
        }
        Ok(())
    }
}

/// An index of new images.
#[derive(Debug, Clone)]
pub struct NewIndex {
    /// The document.
    pub bytes: Vec<u8>,
    /// Its descriptor.
    pub descriptor: Descriptor,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    digest: &'a Digest,
    size: u64,
    platform: &'a ImagePlatform,
}

/// An index of `images`, in their order: readers that do not choose take the first. `annotations` are the index's own;
/// Docker's lists have none.
///
/// # Errors
/// When there is no image, two are for one platform, or some have OCI manifests and others Docker's.
///
/// # Panics
/// Never: what is written here is JSON.
pub fn index_of(
    images: &[&NewImage],
    annotations: &BTreeMap<String, String>,
) -> Result<NewIndex, ImageError> {
    let first = images.first().ok_or(ImageError::NoImage)?;
    let family = first.family;
    if let Some(other) = images.iter().find(|image| image.family != family) {
        let (oci, docker) = match family {
            Family::Oci => (first, other),
            Family::Docker => (other, first),
        };
        return Err(ImageError::MixedFormats {
            oci: oci.platform.to_string(),
            docker: docker.platform.to_string(),
        });
    }
    for (place, image) in images.iter().enumerate() {
        let same = images[..place]
            .iter()
            .find(|before| before.platform == image.platform);
        if let Some(before) = same {
            return Err(ImageError::SamePlatform {
                platform: image.platform.to_string(),
                first: before.manifest.digest().clone(),
                second: image.manifest.digest().clone(),
            });
        }
    }
    if family == Family::Docker
        && let Some(annotation) = annotations.keys().next()
    {
        return Err(ImageError::AnnotationInDocker {
            what: "the list of platforms".to_owned(),
            annotation: annotation.clone(),
        });
    }
    let index = Index {
        schema_version: 2,
        media_type: family.index(),
        manifests: images
            .iter()
            .map(|image| Entry {
                media_type: image.manifest.media_type().as_ref(),
                digest: image.manifest.digest(),
                size: image.manifest.size(),
                platform: &image.platform,
            })
            .collect(),
        annotations,
    };
    let bytes = serde_json::to_vec(&index).expect("texts, numbers, and lists and maps of them");
    check_size("the index", &bytes)?;
    Ok(NewIndex {
        descriptor: descriptor(family.index(), &bytes),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_what_the_configuration_says() {
        let of = |text: &str| ImagePlatform::of_config(text.as_bytes()).expect("a platform");
        let windows = of(
            r#"{"os":"windows","os.version":"10.0.1","os.features":["win32k"],"architecture":"amd64","variant":""}"#,
        );
        assert_eq!(
            serde_json::to_string(&windows).expect("JSON"),
            r#"{"architecture":"amd64","os":"windows","os.version":"10.0.1","os.features":["win32k"]}"#
        );
        assert_eq!(windows.to_string(), "windows/amd64 (10.0.1)");
        let arm = of(r#"{"variant":"v8","os":"linux","architecture":"arm64","os.features":[]}"#);
        assert_eq!(arm.to_string(), "linux/arm64/v8");
        assert_eq!(of(r#"{"os":null}"#), ImagePlatform::default());
    }
}
