//! A resolution as a requirements file with hashes, for `pip install --no-deps --require-hashes -r FILE`.
//!
//! Format: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>,
//! <https://pip.pypa.io/en/stable/topics/secure-installs/>.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::environment::Environment;
use crate::packaging::PackageName;
use crate::resolution::Resolution;

use super::{BaseLabel, provenance_note};

/// A distribution whose wheel has no SHA-256 on the index: no line that pip would accept can be written for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the index gives no sha256 for {filename}, so {name} cannot be pinned by hash")]
pub struct MissingHash {
    /// The project.
    pub name: PackageName,
    /// The wheel.
    pub filename: String,
}

/// Writes one line for each distribution that must be added, with the hash of every wheel of it that fits the base.
///
/// # Errors
/// When the index gave no hash for a wheel.
pub fn requirements(
    resolution: &Resolution,
    base: &BaseLabel,
    environment: &Environment,
) -> Result<String, MissingHash> {
    let mut text = String::new();
    let asked: Vec<String> = resolution
        .requested
        .iter()
        .map(|satisfied| satisfied.requirement.to_string())
        .collect();
    let _ = if asked.is_empty() {
        writeln!(
            text,
            "# Nothing is asked of {}: no requirement applies to it.",
            base.reference
        )
    } else {
        writeln!(
            text,
            "# What to add to {} for {}.",
            base.reference,
            asked.join(" ")
        )
    };
    if let Some(note) = provenance_note(environment) {
        let _ = writeln!(text, "# The base is known {note}.");
    }
    let _ = writeln!(
        text,
        "# Python {}. Install with: pip install --no-deps --require-hashes -r FILE",
        environment.interpreter.version
    );
    if resolution.added.is_empty() && !asked.is_empty() {
        let _ = writeln!(text, "# The base has all of it: nothing to add.");
    }
    for added in &resolution.added {
        // Every compatible wheel, so that an installer that ranks them otherwise finds its own among them.
        let hashes: BTreeSet<&str> = added
            .compatible
            .iter()
            .filter_map(|wheel| wheel.sha256.as_deref())
            .collect();
        if added.wheel.sha256.is_none() {
            return Err(MissingHash {
                name: added.name.clone(),
                filename: added.wheel.filename.clone(),
            });
        }
        let _ = write!(text, "{}=={}", added.name, added.version);
        for hash in hashes {
            let _ = write!(text, " \\\n    --hash=sha256:{hash}");
        }
        text.push('\n');
    }
    Ok(text)
}
