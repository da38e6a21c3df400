//! What is attached to an image: the bill of materials of the result, how it was made, and the lock.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::digest;
use crate::image::attach::attach;
use crate::image::provenance::{BuildFacts, WheelFacts, provenance, public_address};
use crate::image::{Attachment, AttachmentKind, NewImage};
use crate::layer::{Compression, InstallableWheel};
use crate::package_index::StoredWheel;
use crate::packaging::PackageName;
use crate::plan::{Install, Lock, LockedPlatform};
use crate::report::bill_of_materials::{AddedDistribution, Created, WheelOrigin, compose};
use crate::report::inspection::{ImageFacts, Inspection};
use crate::report::{building, cyclonedx, purl};
use crate::resolution::Aim;

use super::prepare::Ready;
use super::{BuildSettings, LayerSplit};

/// An image that something is attached to, and what it was made from.
pub(super) struct Subject<'a> {
    /// The request and its base.
    pub ready: &'a Ready,
    /// The wheels, in the order of the plan.
    pub stored: &'a [StoredWheel],
    /// The same, opened.
    pub wheels: &'a [InstallableWheel],
    /// The new image.
    pub image: &'a NewImage,
    /// What was asked for.
    pub settings: &'a BuildSettings,
}

/// The documents that were asked for.
pub(super) fn of(subject: &Subject<'_>) -> Vec<Attachment> {
    let choice = subject.settings.attachments;
    let mut attached = Vec::new();
    if choice.sbom {
        attached.push(Attachment {
            kind: AttachmentKind::Sbom,
            document: bill_of_materials(subject).into_bytes(),
        });
    }
    if choice.provenance {
        attached.push(Attachment {
            kind: AttachmentKind::Provenance,
            document: statement(subject),
        });
    }
    if choice.lock
        && let Some(locked) = &subject.ready.locked
    {
        attached.push(Attachment {
            kind: AttachmentKind::Lock,
            document: lock(subject, locked).into_bytes(),
        });
    }
    attached
}

/// What the image was made from, as `imgtool lock` would write it beside a recipe.
fn lock(subject: &Subject<'_>, locked: &LockedPlatform) -> String {
    let requirements = requirements(subject);
    let question = digest::sha256(requirements.join("\n").as_bytes());
    let base = base_name(subject)
        .or_else(|| locked.digest.clone())
        .unwrap_or_default();
    let mut lock = Lock::new(question.to_string(), base, requirements);
    lock.platforms.push(locked.clone());
    lock.to_text("the image")
}

/// What the base is called where everybody can find it; a folder or a file of this machine says nothing to anybody else.
fn base_name(subject: &Subject<'_>) -> Option<String> {
    let image = subject.ready.posed.image.as_ref()?;
    let is_public = image.reference.starts_with("docker://");
    is_public.then(|| image.reference.clone())
}

/// What was required, a requirement each.
fn requirements(subject: &Subject<'_>) -> Vec<String> {
    let request = &subject.ready.posed.request;
    let requirements = request.requirements.iter();
    requirements
        .map(|requested| requested.requirement.to_string())
        .collect()
}

/// What reports say of `attached`: the digests that they have once they are attached to `image`.
pub(super) fn report(image: &NewImage, attached: &[Attachment]) -> Vec<building::BuiltAttachment> {
    attached
        .iter()
        .map(|attachment| {
            let attached = attach(&image.manifest, attachment, image.created.as_deref());
            building::BuiltAttachment {
                kind: attachment.kind.name(),
                digest: attached.manifest.descriptor.digest().to_string(),
            }
        })
        .collect()
}

/// The installed wheels, each with its place in the plan.
fn installed<'a>(
    subject: &Subject<'a>,
) -> impl Iterator<Item = (&'a Install, &'a StoredWheel, &'a InstallableWheel)> {
    let wheels = subject.stored.iter().zip(subject.wheels);
    subject
        .ready
        .plan
        .installs
        .iter()
        .zip(wheels)
        .map(|(install, (stored, wheel))| (install, stored, wheel))
}

/// The address of a wheel as everybody may see it.
fn address(install: &Install) -> Option<String> {
    public_address(&install.wheel.url.parse().ok()?)
}

/// The bill of materials of the result: of the base what stays, and what was added.
fn bill_of_materials(subject: &Subject<'_>) -> String {
    let ready = subject.ready;
    let posed = &ready.posed;
    let base_image = posed.image.as_ref().map(ImageFacts::of);
    let mut image = base_image.clone().unwrap_or_default();
    image.reference = subject
        .settings
        .targets
        .tags
        .first()
        .map(|tag| format!("docker://{}", tag.trim_start_matches("docker://")))
        .unwrap_or_default();
    image.manifest_digest = Some(subject.image.manifest.digest().to_string());
    image.created.clone_from(&subject.image.created);
    let created = Created::choose(
        subject.settings.source_date,
        subject.image.created.as_deref(),
        // A base that does not say when it was made has a result that does not either.
        0,
    );
    let added = installed(subject).map(|(install, stored, wheel)| {
        let metadata = wheel.metadata();
        AddedDistribution {
            name: install.name.clone(),
            version: install.version.clone(),
            location: String::new(),
            requires_dist: metadata.requires_dist.clone(),
            requires_python: metadata.requires_python.clone(),
            provides_extra: metadata.provides_extra.clone(),
            wheel: WheelOrigin {
                file_name: stored.file_name.clone(),
                sha256: stored.sha256.clone(),
                url: address(install),
                index: ready.index.index_of(&install.name),
            },
        }
    });
    let leaving: Vec<PackageName> = ready
        .plan
        .departures()
        .into_iter()
        .map(|departure| departure.name.clone())
        .collect();
    let base = Inspection {
        label: posed.label.clone(),
        environment: posed.environment.clone(),
        interpreters: Vec::new(),
        image: base_image,
        footprints: None,
    };
    let (result, composition) = compose(&base, &leaving, added.collect(), image);
    cyclonedx::cyclonedx_of_result(&result, &composition, &created)
}

/// How the image was made.
fn statement(subject: &Subject<'_>) -> Vec<u8> {
    let ready = subject.ready;
    let posed = &ready.posed;
    let base = posed.image.as_ref();
    let wheels = installed(subject).map(|(install, stored, _)| WheelFacts {
        name: install.name.to_string(),
        version: install.version.to_string(),
        file_name: stored.file_name.clone(),
        sha256: stored.sha256.clone(),
        purl: purl::of_wheel(&install.name, &install.version),
        url: install.wheel.url.parse().ok(),
    });
    let mut indexes: Vec<String> = ready
        .plan
        .installs
        .iter()
        .filter_map(|install| ready.index.index_of(&install.name))
        .collect();
    indexes.sort();
    indexes.dedup();
    provenance(&BuildFacts {
        subject: subject.image.manifest.clone(),
        subject_name: None,
        base: base_name(subject).unwrap_or_default(),
        base_digest: base.and_then(|image| image.digest.clone()),
        requirements: requirements(subject),
        parameters: parameters(subject),
        wheels: wheels.collect(),
        indexes: indexes
            .iter()
            .filter_map(|index| index.parse().ok())
            .collect(),
        builder: None,
    })
}

/// What else of the request decides about the image.
fn parameters(subject: &Subject<'_>) -> BTreeMap<String, Value> {
    let settings = subject.settings;
    let names = |names: &std::collections::BTreeSet<PackageName>| -> Value {
        names.iter().map(ToString::to_string).collect()
    };
    let policy = &subject.ready.posed.policy;
    let question = &subject.ready.question;
    let asked = &question.policy;
    let mut parameters = BTreeMap::from([
        (
            "policy".to_owned(),
            json!(match policy.aim {
                Aim::Hold => "hold",
                Aim::Minimal => "minimal",
                Aim::Upgrade => "upgrade",
            }),
        ),
        (
            "compression".to_owned(),
            json!(
                settings
                    .compression
                    .unwrap_or(Compression::GZIP)
                    .to_string()
            ),
        ),
        (
            "layers".to_owned(),
            json!(match settings.layers.unwrap_or_default() {
                LayerSplit::Single => "single",
                LayerSplit::PerDistribution => "per-distribution",
            }),
        ),
    ]);
    for (name, value) in [
        ("allow-change", &asked.may_change),
        ("hold", &asked.held),
        ("allow-remove", &asked.may_leave),
    ] {
        if !value.is_empty() {
            parameters.insert(name.to_owned(), names(value));
        }
    }
    if let Some(end) = question.index.exclude_newer {
        parameters.insert("exclude-newer".to_owned(), json!(end.to_string()));
    }
    parameters
}
