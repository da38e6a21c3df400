//! `imgtool inspect --attached`: a document that is attached to an image, as it is. Layers are not read for it.

use std::path::PathBuf;

use crate::catalog::Catalog;
use crate::image::AttachmentKind;
use crate::transport::reference::{BaseReference, ImageReference, VersionPattern};
use crate::transport::referrers;
use crate::transport::registry::RegistryClient;
use crate::transport::{Image, OpenedImage, TransportError};

use super::base::BaseSettings;
use super::file::write_text;
use super::{Answer, CommandError, ExitStatus, Talk, image};

/// What `imgtool inspect --attached` was asked.
#[derive(Clone)]
pub struct AttachedSettings {
    /// The image.
    pub reference: String,
    /// How it is opened.
    pub base: BaseSettings,
    /// Which document is wanted.
    pub kind: AttachmentKind,
    /// The file that receives it instead of stdout.
    pub output: Option<PathBuf>,
}

/// Fetches the document. Of several of one kind it is the newest, as their annotations tell it, else the last of the list.
///
/// # Errors
/// When the image cannot be opened, has no such document, or it is not what it should be.
pub fn run(settings: &AttachedSettings) -> Result<Answer, CommandError> {
    let nothing = |what: String| CommandError::NotAttached {
        what,
        image: settings.reference.clone(),
    };
    let client = RegistryClient::new(settings.base.registry.clone());
    let Some(image) = open(settings, &client)? else {
        return Err(nothing("nothing".to_owned()));
    };
    let kind = settings.kind;
    let Some(mut found) = referrers::list(&image, Some(kind.artifact_type()))? else {
        return Err(nothing("nothing".to_owned()));
    };
    found.retain(|referrer| AttachmentKind::of(referrer) == Some(kind));
    let time = |at: usize| {
        let annotations = found[at].annotations().as_ref()?;
        let created = annotations.get("org.opencontainers.image.created")?;
        created.parse::<jiff::Timestamp>().ok()
    };
    let Some(newest) = (0..found.len()).max_by_key(|at| (time(*at), *at)) else {
        return Err(nothing(format!("no {}", kind.name())));
    };
    let document = referrers::read(&image, &found[newest])?;
    let text = readable(document.bytes, found[newest].digest().as_ref(), &image)?;
    let mut talk = Vec::new();
    if found.len() > 1 {
        talk.push(Talk::Note(format!(
            "{} documents of this kind are attached, and this is {}",
            found.len(),
            found[newest].digest()
        )));
    }
    let data = match &settings.output {
        Some(path) => {
            write_text(path, &text)?;
            String::new()
        }
        None => text,
    };
    Ok(Answer {
        data,
        talk,
        status: ExitStatus::Success,
    })
}

/// The image that is meant; `None` where it is no image, or one that has gone by before anything could be asked of it.
fn open(
    settings: &AttachedSettings,
    client: &RegistryClient,
) -> Result<Option<Image>, CommandError> {
    let catalog = Catalog::embedded()?;
    let reference = match BaseReference::parse(&settings.reference, &catalog.known_families())? {
        BaseReference::Directory(_) => return Ok(None),
        BaseReference::Image(reference) => reference,
        BaseReference::Catalog { family, version } => {
            let repository = catalog.family(&family)?.repository();
            match version {
                VersionPattern::Tag(tag) => ImageReference::Registry {
                    reference: image::parse(&format!("{repository}:{tag}"))?,
                    pattern: None,
                },
                pattern => ImageReference::Registry {
                    reference: image::parse(repository)?,
                    pattern: Some(pattern),
                },
            }
        }
    };
    match image::open_image(&reference, client, &settings.base)? {
        OpenedImage::Image(image) => Ok(Some(image)),
        OpenedImage::Stream(_) => Ok(None),
    }
}

/// The document as text that may be written to a terminal: JSON and TOML have no control characters.
fn readable(bytes: Vec<u8>, digest: &str, image: &Image) -> Result<String, TransportError> {
    let invalid = |reason: &str| TransportError::Invalid {
        what: format!("the document of {digest} of {}", image.reference),
        reason: reason.to_owned(),
    };
    let text = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))?;
    let is_odd =
        |character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t');
    if text.contains(is_odd) {
        return Err(invalid("it has control characters"));
    }
    Ok(text)
}
