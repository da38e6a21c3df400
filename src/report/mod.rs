//! Results as bytes: text for people, JSON for programs, requirements for installers.
//!
//! Text may carry ANSI styles; whoever writes it to something that is not a terminal strips them.

pub mod json;
pub mod requirements;
pub mod text;

use crate::environment::{Environment, Provenance};

/// The base of an answer, as reports name it.
#[derive(Debug, Clone)]
pub struct BaseLabel {
    /// The base as a person would write it, such as `tfx:1.16.0`, patterns resolved.
    pub reference: String,
    /// What the user wrote.
    pub asked: String,
}

/// Where the knowledge of a base comes from, as a sentence without a full stop; `None` where it was read for real and
/// there is nothing to warn of.
#[must_use]
pub fn provenance_note(environment: &Environment) -> Option<String> {
    match &environment.provenance {
        Provenance::Directory { .. } | Provenance::Image { .. } => None,
        Provenance::Snapshot { base, made_from } => Some(format!(
            "from the embedded snapshot of {}, made from {made_from}, not read from the image",
            base.replace(':', " ")
        )),
    }
}
