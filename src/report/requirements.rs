//! A resolution as a requirements file with hashes, for `pip install --no-deps --require-hashes -r FILE`.
//!
//! Format: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>,
//! <https://pip.pypa.io/en/stable/topics/secure-installs/>.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::environment::Environment;
use crate::packaging::{PackageName, Version};
use crate::resolution::Resolution;
use crate::resolution::solution::Addition;

use super::annotations::Annotations;
use super::{BaseLabel, provenance_note};

/// A distribution whose wheel has no SHA-256 on the index: no line that an installer would accept can be written for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the index gives no sha256 for {filename}, so {name} cannot be pinned by hash")]
pub struct MissingHash {
    /// The project.
    pub name: PackageName,
    /// The wheel.
    pub filename: String,
}

impl MissingHash {
    /// The error where the wheel that would be installed has no hash.
    ///
    /// # Errors
    /// When the index gave no hash for the wheel of `pin`.
    pub fn check(pin: &Addition) -> Result<(), Self> {
        if pin.wheel.sha256.is_some() {
            return Ok(());
        }
        Err(Self {
            name: pin.name.clone(),
            filename: pin.wheel.filename.clone(),
        })
    }
}

/// Writes one line for each distribution that must be installed, with the hash of every wheel of it that fits the base.
/// What leaves the base is a comment: no line of such a file removes anything.
///
/// # Errors
/// When the index gave no hash for a wheel.
pub fn requirements(
    resolution: &Resolution,
    base: &BaseLabel,
    environment: &Environment,
    annotations: Option<&Annotations>,
) -> Result<String, MissingHash> {
    let mut text = head(resolution, base, environment);
    for pin in resolution.pins() {
        MissingHash::check(pin)?;
        // Every compatible wheel, so that an installer that ranks them otherwise finds its own among them.
        let hashes: BTreeSet<&str> = pin
            .compatible
            .iter()
            .filter_map(|wheel| wheel.sha256.as_deref())
            .collect();
        let change = resolution
            .changed
            .iter()
            .find(|change| change.to.name == pin.name);
        // The whole text is compared then, which pip and uv both do.
        let operator = if change.is_some_and(|change| counts_as(&change.from, &change.to.version)) {
            "==="
        } else {
            "=="
        };
        let _ = write!(text, "{}{operator}{}", pin.name, pin.version);
        for hash in hashes {
            let _ = write!(text, " \\\n    --hash=sha256:{hash}");
        }
        text.push('\n');
        if let Some(annotations) = annotations {
            text.push_str(&annotations.comment(&pin.name));
        }
    }
    Ok(text)
}

/// The comments above the pins: what they are for, and what they do to the base.
fn head(resolution: &Resolution, base: &BaseLabel, environment: &Environment) -> String {
    let mut text = String::new();
    let asked: Vec<String> = resolution
        .requested
        .iter()
        .map(|satisfied| satisfied.requirement.to_string())
        .collect();
    let base = &base.reference;
    let _ = if asked.is_empty() {
        writeln!(
            text,
            "# Nothing is asked of {base}: no requirement applies to it."
        )
    } else if resolution.changed.is_empty() {
        writeln!(text, "# What to add to {base} for {}.", asked.join(" "))
    } else {
        writeln!(
            text,
            "# What to add to {base} and to change in it for {}.",
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
    if environment.interpreter.externally_managed {
        let _ = writeln!(
            text,
            "# The base is marked as externally managed: pip needs --break-system-packages there."
        );
    }
    if !resolution.changed.is_empty() {
        text.push_str("# Changes of the base, which the same command makes:\n");
        for change in &resolution.changed {
            let downgrade = if change.is_downgrade() {
                " (downgrade)"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "#   {} {} -> {}{downgrade}",
                change.to.name, change.from, change.to.version
            );
        }
    }
    if !resolution.removed.is_empty() {
        text.push_str("# Removals, which it does not make; run first: pip uninstall -y");
        for removal in &resolution.removed {
            let _ = write!(text, " {}", removal.name);
        }
        text.push('\n');
        for removal in &resolution.removed {
            let _ = writeln!(text, "# remove: {}", removal.name);
        }
    }
    if resolution.pins().is_empty() && resolution.removed.is_empty() && !asked.is_empty() {
        text.push_str("# The base has all of it: nothing to add.\n");
    }
    text
}

/// Whether an installer takes the installed version for the one that is wanted and leaves it where it is: `==2.8.0` is
/// satisfied by 2.8.0+cu126.
#[must_use]
pub fn counts_as(installed: &Version, wanted: &Version) -> bool {
    installed.is_local() && !wanted.is_local() && installed.clone().without_local() == *wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_version_counts_as_the_public_one() {
        let version = |text: &str| text.parse::<Version>().expect("a version");
        for (installed, wanted, expected) in [
            ("2.8.0+cu126", "2.8.0", true),
            ("2.8.0+cu126", "2.8", true),
            ("2.8.0+cu126", "2.8.0+cpu", false),
            ("2.8.0+cu126", "2.8.1", false),
            ("2.8.0", "2.8.0+cu126", false),
            ("2.8.0", "2.8.1", false),
        ] {
            let counts = counts_as(&version(installed), &version(wanted));
            assert_eq!(counts, expected, "{installed} for {wanted}");
        }
    }
}
