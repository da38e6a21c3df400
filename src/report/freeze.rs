//! An environment as a requirements file: every distribution at the version that is installed.
//!
//! Each line is one that pip and uv take as a requirement and as a constraint; what cannot be such a line is a comment.

use std::fmt::Write as _;

use crate::environment::Environment;
use crate::packaging::Version;
use crate::packaging::requirement::presentable;

use super::{BaseLabel, provenance_note};

/// Writes `name==version` for each installed distribution, in the order of their names.
#[must_use]
pub fn freeze(base: &BaseLabel, environment: &Environment) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# What is installed in {}, Python {}.",
        presentable(&base.reference),
        presentable(&environment.interpreter.version)
    );
    if let Some(note) = provenance_note(environment) {
        let _ = writeln!(text, "# Known {}.", presentable(&note));
    }
    for (name, installed) in &environment.distributions {
        let version = presentable(installed.version_text.trim());
        if let Some(source) = &installed.editable {
            // `-e` is refused in a constraints file, and the path says something inside of the base alone.
            let source = presentable(source);
            let _ = writeln!(text, "# {name}=={version} is editable, from {source}");
        } else if version.parse::<Version>().is_err() {
            let _ = writeln!(
                text,
                "# {name} {version} has a version that no installer takes"
            );
        } else {
            let _ = writeln!(text, "{name}=={version}");
        }
    }
    text
}
