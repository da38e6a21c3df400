//! A resolution as a lock file, `pylock.toml` (PEP 751).
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/pylock-toml/>. `packages` has what must be
//! installed and nothing else: the base is a fact, no installer fetches it again, and whoever installs the file says
//! `--no-deps`. What the answer leans on in the base stands in the table `tool.imgtool`, which no installer reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use toml_writer::ToTomlValue as _;

use crate::environment::{Environment, Provenance};
use crate::packaging::PackageName;
use crate::packaging::metadata::parse_requires_python;
use crate::packaging::requirement::presentable;
use crate::packaging::simple::IndexFile;
use crate::resolution::Resolution;
use crate::resolution::solution::{Addition, Change};

use super::BaseLabel;
use super::requirements::{MissingHash, counts_as};

/// Whether `name` is one that installers take for a lock file: `pylock.toml`, or `pylock.NAME.toml` with no dot in NAME.
#[must_use]
pub fn is_lock_name(name: &str) -> bool {
    let Some(middle) = name
        .strip_prefix("pylock.")
        .and_then(|rest| rest.strip_suffix("toml"))
    else {
        return false;
    };
    middle.is_empty()
        || middle
            .strip_suffix('.')
            .is_some_and(|name| !name.is_empty() && !name.contains('.'))
}

/// Writes the lock file. `indexes` has the address of the index that each project came from, where one is known.
///
/// # Errors
/// When the index gave no hash for a wheel: the specification demands one.
pub fn pylock(
    resolution: &Resolution,
    base: &BaseLabel,
    environment: &Environment,
    indexes: &BTreeMap<PackageName, String>,
) -> Result<String, MissingHash> {
    let pins = resolution.pins();
    let (major, minor) = environment.platform.python;
    let markers = &environment.markers;
    let mut text = String::new();
    for line in head(resolution, base) {
        let _ = writeln!(text, "# {}", presentable(&line));
    }
    // Nothing else of a marker environment tells one image from another; a C library has no marker.
    let environments = [format!(
        "python_version == '{major}.{minor}' and implementation_name == '{}' and sys_platform == '{}' and \
         platform_machine == '{}'",
        markers.implementation_name(),
        markers.sys_platform(),
        markers.platform_machine(),
    )];
    let _ = writeln!(text, "lock-version = \"1.0\"");
    let _ = writeln!(text, "environments = {}", environments.to_toml_value());
    let _ = writeln!(
        text,
        "requires-python = {}",
        format!("=={major}.{minor}.*").to_toml_value()
    );
    let _ = writeln!(text, "created-by = \"imgtool\"");
    if pins.is_empty() {
        text.push_str("packages = []\n");
    }
    for pin in &pins {
        package(&mut text, pin, &pins, resolution, indexes)?;
    }
    tool(&mut text, resolution, base, environment);
    Ok(text)
}

/// The changes that pip does not make when it reads them from a lock file, because it takes the installed version for
/// the one in the file: see [`counts_as`].
pub fn taken_for_new(resolution: &Resolution) -> impl Iterator<Item = &Change> {
    let changed = resolution.changed.iter();
    changed.filter(|change| counts_as(&change.from, &change.to.version))
}

/// What a person who opens the file should know.
fn head(resolution: &Resolution, base: &BaseLabel) -> Vec<String> {
    let mut lines = vec![
        format!(
            "What must be installed in {}; what it has already is not listed.",
            base.reference
        ),
        "Install with: uv pip install --no-deps -r pylock.toml (never with `uv pip sync`, which would remove the base)"
            .to_owned(),
    ];
    for removal in &resolution.removed {
        lines.push(format!(
            "remove: {} (no lock file removes anything: `pip uninstall -y {}`)",
            removal.name, removal.name
        ));
    }
    for change in taken_for_new(resolution) {
        lines.push(format!(
            "pip takes {} {} for {}: it needs --force-reinstall to change it, uv does not.",
            change.to.name, change.from, change.to.version
        ));
    }
    lines
}

/// One entry of `packages`.
fn package(
    text: &mut String,
    pin: &Addition,
    pins: &[&Addition],
    resolution: &Resolution,
    indexes: &BTreeMap<PackageName, String>,
) -> Result<(), MissingHash> {
    MissingHash::check(pin)?;
    let name = pin.name.to_string();
    let _ = writeln!(text, "\n[[packages]]");
    let _ = writeln!(text, "name = {}", name.to_toml_value());
    let _ = writeln!(
        text,
        "version = {}",
        pin.version.to_string().to_toml_value()
    );
    // A text that is no specifier would make the whole file invalid.
    if let Some(specifiers) = pin
        .wheel
        .requires_python
        .as_deref()
        .and_then(parse_requires_python)
        .filter(|specifiers| !specifiers.is_empty())
    {
        let _ = writeln!(
            text,
            "requires-python = {}",
            specifiers.to_string().to_toml_value()
        );
    }
    let dependencies: BTreeSet<&PackageName> = pins
        .iter()
        .filter(|other| {
            other
                .required_by
                .iter()
                .any(|requirer| requirer.name.as_ref() == Some(&pin.name))
        })
        .map(|other| &other.name)
        .collect();
    if !dependencies.is_empty() {
        text.push_str("dependencies = [\n");
        for dependency in dependencies {
            let _ = writeln!(
                text,
                "    {{name = {}}},",
                dependency.to_string().to_toml_value()
            );
        }
        text.push_str("]\n");
    }
    if let Some(index) = indexes.get(&pin.name) {
        let _ = writeln!(text, "index = {}", index.to_toml_value());
    }
    text.push_str("wheels = [\n");
    for file in &pin.compatible {
        wheel(text, file);
    }
    text.push_str("]\n");
    if let Some(change) = resolution
        .changed
        .iter()
        .find(|change| change.to.name == pin.name)
    {
        let _ = writeln!(
            text,
            "\n[packages.tool.imgtool]\nreplaces = {}",
            change.from.to_string().to_toml_value()
        );
    }
    Ok(())
}

/// One wheel, on one line. Of several that fit, one without a hash is left out: nothing would vouch for it.
fn wheel(text: &mut String, file: &IndexFile) {
    let Some(hash) = &file.sha256 else {
        return;
    };
    let _ = write!(text, "    {{name = {}, ", file.filename.to_toml_value());
    let uploaded = file
        .upload_time
        .and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
    if let Some(uploaded) = uploaded {
        let _ = write!(text, "upload-time = {uploaded}, ");
    }
    let _ = write!(text, "url = {}, ", file.url.to_toml_value());
    if let Some(size) = file.size {
        let _ = write!(text, "size = {size}, ");
    }
    let _ = writeln!(text, "hashes = {{sha256 = {}}}}},", hash.to_toml_value());
}

/// What the answer rests on: for people and audits, of no meaning to an installer.
fn tool(text: &mut String, resolution: &Resolution, base: &BaseLabel, environment: &Environment) {
    let _ = writeln!(text, "\n[tool.imgtool]");
    let _ = writeln!(
        text,
        "base = {}",
        presentable(&base.reference).to_toml_value()
    );
    match &environment.provenance {
        Provenance::Directory { .. } => {}
        Provenance::Image { reference, digest } => {
            let _ = writeln!(text, "image = {}", presentable(reference).to_toml_value());
            if let Some(digest) = digest {
                let _ = writeln!(text, "digest = {}", digest.to_toml_value());
            }
        }
        Provenance::Snapshot { made_from, .. } => {
            let _ = writeln!(
                text,
                "snapshot-made-from = {}",
                presentable(made_from).to_toml_value()
            );
        }
    }
    let _ = writeln!(
        text,
        "python = {}",
        environment.interpreter.version.to_toml_value()
    );
    let requested: Vec<String> = resolution
        .requested
        .iter()
        .map(|satisfied| satisfied.requirement.to_string())
        .collect();
    let _ = writeln!(text, "requested = {}", requested.to_toml_value());
    if !resolution.removed.is_empty() {
        let removed: Vec<String> = resolution
            .removed
            .iter()
            .map(|removal| removal.name.to_string())
            .collect();
        let _ = writeln!(text, "removed = {}", removed.to_toml_value());
    }
    text.push_str("held = [");
    for held in &resolution.held {
        let _ = write!(
            text,
            "\n    {{name = {}, version = {}}},",
            held.name.to_string().to_toml_value(),
            held.version.to_string().to_toml_value()
        );
    }
    if !resolution.held.is_empty() {
        text.push('\n');
    }
    text.push_str("]\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lock_files_are_those_of_the_specification() {
        for name in ["pylock.toml", "pylock.dev.toml", "pylock.a-b_1.toml"] {
            assert!(is_lock_name(name), "{name}");
        }
        for name in [
            "lock.toml",
            "pylock..toml",
            "pylock.a.b.toml",
            "pylocktoml",
            "pylock.tomltoml",
            "pylock.dev.toml.bak",
            "my-pylock.toml",
        ] {
            assert!(!is_lock_name(name), "{name}");
        }
    }
}
