//! Results as bytes: text for people, JSON for programs, requirements and lock files for installers, bills of materials for auditors.
//!
//! Text may carry ANSI styles; whoever writes it to something that is not a terminal strips them.

pub mod annotations;
pub mod bill_of_materials;
pub mod building;
pub mod cache_usage;
pub mod constraints;
pub mod cyclonedx;
pub mod dot;
pub mod explanation;
pub mod freeze;
pub mod inspection;
pub mod invocation;
pub mod json;
pub mod purl;
pub mod pylock;
pub mod requirements;
pub mod spdx;
pub mod text;

use std::collections::BTreeMap;

use crate::environment::{Environment, Provenance};
use crate::packaging::PackageName;
use crate::resolution::candidates::moment;

/// On what an answer rests, as reports name it: the base, and where the index ends.
#[derive(Debug, Clone)]
pub struct BaseLabel {
    /// The base as a person would write it, such as `tfx:1.16.0`, patterns resolved.
    pub reference: String,
    /// What the user wrote.
    pub asked: String,
    /// The layers that brought the metadata of installed distributions, from 0, lowest first: of those that a conflict
    /// names, where the base is an image.
    pub layers: BTreeMap<PackageName, usize>,
    /// The time at which the index ends for the answer (`--exclude-newer`).
    pub index_end: Option<jiff::Timestamp>,
}

impl BaseLabel {
    /// The time at which the index ends, for people: of midnight in UTC only the day.
    #[must_use]
    pub fn index_end(&self) -> Option<String> {
        self.index_end.map(moment)
    }
}

/// Where the knowledge of a base comes from, as the end of a sentence without a full stop; `None` for a folder, which is
/// what its name says.
#[must_use]
pub fn provenance_note(environment: &Environment) -> Option<String> {
    match &environment.provenance {
        Provenance::Directory { .. } => None,
        Provenance::Image { reference, digest } => Some(match digest {
            Some(digest) if !reference.contains(digest) => {
                format!("from the image {reference}, which is {digest}")
            }
            _ => format!("from the image {reference}"),
        }),
        Provenance::Snapshot { .. } => snapshot_note(environment),
    }
}

/// The same where it was not read for real, and that is to be warned of.
#[must_use]
pub fn snapshot_note(environment: &Environment) -> Option<String> {
    match &environment.provenance {
        Provenance::Directory { .. } | Provenance::Image { .. } => None,
        Provenance::Snapshot { base, made_from } => Some(format!(
            "from the embedded snapshot of {}, made from {made_from}, not read from the image",
            base.replace(':', " ")
        )),
    }
}
