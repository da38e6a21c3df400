//! Archives of `docker save`, in all forms that engines have written since Docker 1.10: `manifest.json` names, for each
//! image, the member with its configuration and those with its layers, lowest first. They are called as their writer
//! likes: `ID/layer.tar`, `DIFF_ID.tar`, `blobs/sha256/HASH`.
//!
//! Specification: moby, `image/spec`, "Docker Image Specification v1.2" and v1.3, "Combined Image JSON + Filesystem
//! Changeset Format".

use oci_spec::image::ImageConfiguration;
use serde::Deserialize;

use super::super::image_reference::normalized;
use super::super::layout::{self, ImageFiles, blob_digest, invalid, shown};
use super::super::manifest::{MOST_LAYERS, diff_ids, parse_config};
use super::super::platform::OciPlatform;
use super::super::reference::DockerSelector;
use super::super::{Layer, TransportError};
use crate::digest::{self, Digest};

/// The member that names the images.
pub(super) const MANIFEST_FILE: &str = "manifest.json";
/// The media type of what the layers of such an archive are; its documents name none.
const MEDIA_TYPE: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Images that an error lists, and images of one name among which a platform chooses.
const MOST_LISTED: usize = 20;

/// What the documents of an image say.
#[derive(Debug)]
pub(super) struct DockerDocuments {
    pub(super) config_bytes: Vec<u8>,
    pub(super) config: ImageConfiguration,
    /// Layers, lowest first, each with its member; digests and sizes are to be filled in.
    pub(super) layers: Vec<Layer>,
}

/// One image in `manifest.json`.
#[derive(Debug, Deserialize)]
struct ManifestEntry {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    tags: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Option<Vec<String>>,
}

impl ManifestEntry {
    fn tags(&self) -> &[String] {
        self.tags.as_deref().unwrap_or_default()
    }

    fn has_name(&self, wanted: &oci_distribution::Reference) -> bool {
        self.tags()
            .iter()
            .any(|tag| normalized(tag).as_ref() == Some(wanted))
    }

    fn describe(&self, at: usize) -> String {
        match self.tags() {
            [] => format!("`:@{at}`"),
            [tag, ..] => format!("`{}`", shown(tag)),
        }
    }
}

/// Refuses an archive of the other kind, and says what to write.
///
/// # Errors
/// When the member `own` is not there, and that of the other format is.
pub(super) fn refuse_other_format(files: &dyn ImageFiles, own: &str) -> Result<(), TransportError> {
    if files.read(own)?.is_some() {
        return Ok(());
    }
    let has = |member: &str| Ok::<_, TransportError>(files.read(member)?.is_some());
    let reason = if own != MANIFEST_FILE && has(MANIFEST_FILE)? {
        format!(
            "it has no `{own}`, so it is no OCI archive; one of `docker save` is read with `docker-archive:`"
        )
    } else if own == MANIFEST_FILE && has(layout::INDEX_FILE)? {
        format!(
            "it has no `{own}`, so `docker save` did not write it; an OCI archive is read with `oci-archive:`"
        )
    } else if own == MANIFEST_FILE && has("repositories")? {
        format!("it has no `{own}`: it is of a Docker before 1.10")
    } else {
        format!("it has no `{own}`")
    };
    Err(invalid(files.name(), reason))
}

/// The documents of the image that is meant.
///
/// # Errors
/// When there is no such image, or its documents are missing or invalid.
pub(super) fn read(
    files: &dyn ImageFiles,
    selector: Option<&DockerSelector>,
    platform: Option<&OciPlatform>,
) -> Result<DockerDocuments, TransportError> {
    refuse_other_format(files, MANIFEST_FILE)?;
    let name = files.name();
    let what = format!("`{MANIFEST_FILE}` of {name}");
    let bytes = files.read(MANIFEST_FILE)?.unwrap_or_default();
    let entries: Vec<ManifestEntry> = serde_json::from_slice(&bytes)
        .map_err(|error| invalid(what.as_str(), shown(&error.to_string())))?;
    let (entry, config_bytes, config) = select(files, &entries, selector, platform)?;
    check_platform(&config, platform, name)?;
    let members = entry.layers.as_deref().unwrap_or_default();
    if members.len() > MOST_LAYERS {
        let reason = format!(
            "the image has {} layers, more than the {MOST_LAYERS} that any has",
            members.len()
        );
        return Err(invalid(what, reason));
    }
    let diff_ids = diff_ids(&config, &what)?;
    if diff_ids.len() != members.len() {
        let reason = format!(
            "the image has {} layers, and its configuration has {} `diff_ids`",
            members.len(),
            diff_ids.len()
        );
        return Err(invalid(what, reason));
    }
    let layers = members
        .iter()
        .zip(diff_ids)
        .enumerate()
        .map(|(index, (member, diff_id))| Layer {
            index,
            digest: None,
            size: None,
            media_type: MEDIA_TYPE.to_owned(),
            diff_id,
            member: Some(member_name(member)),
        })
        .collect();
    Ok(DockerDocuments {
        config_bytes,
        config,
        layers,
    })
}

/// A name in `manifest.json` as the archive's members are called here.
fn member_name(written: &str) -> String {
    let parts: Vec<&str> = written
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    parts.join("/")
}

/// The image that is meant, with its configuration.
fn select<'a>(
    files: &dyn ImageFiles,
    entries: &'a [ManifestEntry],
    selector: Option<&DockerSelector>,
    platform: Option<&OciPlatform>,
) -> Result<(&'a ManifestEntry, Vec<u8>, ImageConfiguration), TransportError> {
    let name = files.name();
    let found: Vec<&ManifestEntry> = match selector {
        None => entries.iter().collect(),
        Some(DockerSelector::Position(at)) => entries.get(*at).into_iter().collect(),
        Some(DockerSelector::Name(wanted)) => entries
            .iter()
            .filter(|entry| entry.has_name(wanted))
            .collect(),
    };
    let with_config = |entry: &'a ManifestEntry| {
        read_config(files, &entry.config).map(|(bytes, config)| (entry, bytes, config))
    };
    match found.as_slice() {
        [] => {
            let which = match selector {
                None => "image".to_owned(),
                Some(DockerSelector::Position(at)) => {
                    format!("image at the place {at}, counted from 0")
                }
                Some(DockerSelector::Name(wanted)) => format!("image `{wanted}`"),
            };
            Err(TransportError::NotFound(format!(
                "{name} has no {which}; it has {}",
                listed(entries)
            )))
        }
        [only] => with_config(only),
        several => {
            // One name with several images is one image for several platforms.
            let is_one_name = several
                .iter()
                .all(|entry| !entry.tags().is_empty() && entry.tags() == several[0].tags());
            if is_one_name && several.len() <= MOST_LISTED {
                let here = OciPlatform::of_this_machine();
                let wanted = platform.unwrap_or(&here);
                for entry in several {
                    let candidate = with_config(entry)?;
                    if OciPlatform::of_config(&candidate.2).is_some_and(|has| wanted.matches(&has))
                    {
                        return Ok(candidate);
                    }
                }
                return Err(TransportError::NotFound(format!(
                    "{name} has no image for {wanted}"
                )));
            }
            Err(TransportError::NotFound(format!(
                "{name} has {} images, and the reference chooses none of them: it has {}",
                several.len(),
                listed(entries)
            )))
        }
    }
}

fn listed(entries: &[ManifestEntry]) -> String {
    let mut words: Vec<String> = entries
        .iter()
        .enumerate()
        .take(MOST_LISTED)
        .map(|(at, entry)| entry.describe(at))
        .collect();
    if words.is_empty() {
        return "none".to_owned();
    }
    if entries.len() > MOST_LISTED {
        words.push(format!("{} more", entries.len() - MOST_LISTED));
    }
    words.join(", ")
}

fn read_config(
    files: &dyn ImageFiles,
    member: &str,
) -> Result<(Vec<u8>, ImageConfiguration), TransportError> {
    let name = files.name();
    let member = member_name(member);
    let what = format!("the configuration `{}` of {name}", shown(&member));
    let bytes = files
        .read(&member)?
        .ok_or_else(|| missing_member(name, &member))?;
    if let Some(digest) = promised_digest(&member) {
        digest::verify(&bytes, &digest, None).map_err(|mismatch| TransportError::Mismatch {
            what: what.clone(),
            mismatch,
        })?;
    }
    let config = parse_config(&bytes, &what)?;
    Ok((bytes, config))
}

/// The digest that the name of a configuration promises. It is the only one there is: every engine names it
/// `HASH.json`, a blob of a layout, or `sha256:HASH`.
fn promised_digest(member: &str) -> Option<Digest> {
    if let Some(digest) = blob_digest(member) {
        return Some(digest);
    }
    let stem = member.strip_suffix(".json").unwrap_or(member);
    let hash = stem.strip_prefix("sha256:").unwrap_or(stem);
    format!("sha256:{hash}").parse().ok()
}

pub(super) fn missing_member(name: &str, member: &str) -> TransportError {
    TransportError::NotFound(format!("{name} lacks its member `{}`", shown(member)))
}

/// Refuses an image for another platform than the wanted one.
///
/// # Errors
/// [`TransportError::NotFound`].
pub(in super::super) fn check_platform(
    config: &ImageConfiguration,
    wanted: Option<&OciPlatform>,
    name: &str,
) -> Result<(), TransportError> {
    match (wanted, OciPlatform::of_config(config)) {
        (Some(wanted), Some(has)) if !wanted.matches(&has) => Err(TransportError::NotFound(
            format!("{name} has no image for {wanted}; it is one for {has}"),
        )),
        _ => Ok(()),
    }
}
