//! Between snapshots of the catalog and environments.

use std::str::FromStr as _;

use crate::catalog::snapshot::{FORMAT, MetadataSource, Snapshot, SnapshotDistribution};
use crate::catalog::{CatalogError, parse_libc};
use crate::environment::{
    Environment, EnvironmentError, InstalledDistribution, Interpreter, Provenance, RecordKind,
};
use crate::packaging::marker_environment::for_cpython_on_linux;
use crate::packaging::tags::{TagPlatform, WheelTags};
use crate::packaging::{PackageName, Version};

/// A snapshot as the environment that it was made of.
///
/// # Errors
/// When a value in it is not what its field says; the error names the base.
pub fn environment_of(snapshot: Snapshot) -> Result<Environment, CatalogError> {
    let base = snapshot.base;
    let invalid = |what: String| CatalogError::InvalidSnapshot {
        base: base.clone(),
        reason: what,
    };
    let not_a = |value: &str, kind: &str| invalid(format!("`{value}` is not {kind}"));

    let full = &snapshot.python_full_version;
    let markers = for_cpython_on_linux(full, &snapshot.architecture)
        .map_err(|error| invalid(error.to_string()))?;
    let python = match *markers.python_version().version.release() {
        [major, minor] => u16::try_from(major).ok().zip(u16::try_from(minor).ok()),
        _ => None,
    };
    let platform = TagPlatform {
        python: python.ok_or_else(|| not_a(full, "a version of Python"))?,
        abi_flags: snapshot.abi_flags,
        architecture: snapshot.architecture,
        libc: match &snapshot.libc {
            None => None,
            Some(libc) => Some(parse_libc(libc).ok_or_else(|| not_a(libc, "a C library"))?),
        },
    };

    let total = snapshot.distributions.len();
    let distributions = snapshot
        .distributions
        .into_iter()
        .map(|found| {
            let name = PackageName::from_str(&found.name)
                .map_err(|_| not_a(&found.name, "the name of a distribution"))?;
            let version = Version::from_str(&found.version)
                .map_err(|_| not_a(&found.version, "a version"))?;
            let distribution = InstalledDistribution {
                name: name.clone(),
                version,
                version_text: found.version_text.unwrap_or(found.version),
                requires_dist: found.requires_dist,
                requires_python: found.requires_python,
                provides_extra: found.provides_extra,
                import_names: found.import_names,
                location: String::new(),
                installer: found.installer,
                record: RecordKind::Snapshot,
                editable: None,
            };
            Ok((name, distribution))
        })
        .collect::<Result<_, CatalogError>>()?;

    // One line for every answer; whoever wants to know more asks the catalog.
    let notes = match snapshot.notes.len() {
        0 => Vec::new(),
        1 => snapshot.notes,
        doubts => vec![format!(
            "what {doubts} of the {total} distributions require is known with a doubt (`imgtool catalog show {base}` \
             names them)"
        )],
    };
    Ok(Environment {
        interpreter: Interpreter {
            version: snapshot.python_full_version,
            prefix: snapshot.prefix,
            ..Interpreter::default()
        },
        markers,
        tags: WheelTags::for_cpython(&platform),
        platform,
        distributions,
        shadowed: Vec::new(),
        conda_packages: Vec::new(),
        choice: None,
        notes,
        provenance: Provenance::Snapshot {
            base,
            made_from: snapshot.made_from,
        },
    })
}

/// An environment as a snapshot of `base`; `digest` is what the tag of its image leads to, where it has one. The paths of this machine stay out of it.
#[must_use]
pub fn snapshot_of(
    environment: &Environment,
    base: &str,
    made_from: String,
    digest: Option<String>,
) -> Snapshot {
    let (major, minor) = environment.platform.python;
    let distributions = environment
        .distributions
        .values()
        .map(|found| {
            let version = found.version.to_string();
            SnapshotDistribution {
                name: found.name.to_string(),
                version_text: (found.version_text != version).then(|| found.version_text.clone()),
                version,
                metadata_from: MetadataSource::Environment,
                requires_python: found.requires_python.clone(),
                requires_dist: found.requires_dist.clone(),
                provides_extra: found.provides_extra.clone(),
                import_names: found.import_names.clone(),
                installer: found.installer.clone(),
            }
        })
        .collect();
    Snapshot {
        format: FORMAT,
        base: base.to_owned(),
        made_from,
        digest,
        python: format!("{major}.{minor}"),
        python_full_version: environment.interpreter.version.clone(),
        abi_flags: environment.platform.abi_flags.clone(),
        libc: environment.platform.libc.map(|libc| libc.to_string()),
        architecture: environment.platform.architecture.clone(),
        prefix: environment.interpreter.prefix.clone(),
        notes: environment.all_notes().collect(),
        distributions,
    }
}

/// A snapshot has one interpreter; asking for another is an error, as it is in a folder.
pub(super) fn check_python(
    base: &str,
    interpreter: &Interpreter,
    wanted: Option<&str>,
) -> Result<(), EnvironmentError> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let begins = |text: &str, separator: char| {
        text.strip_prefix(wanted.trim_end_matches(separator))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
    };
    let is_wanted = if wanted.contains('/') {
        // The executable, its folder, or the prefix.
        let python = format!("{}/bin/python", interpreter.prefix);
        begins(&python, '/') || wanted.starts_with(&python)
    } else {
        begins(&interpreter.version, '.')
    };
    if is_wanted {
        return Ok(());
    }
    Err(EnvironmentError::NoSuchPython {
        path: base.to_owned(),
        wanted: wanted.to_owned(),
        found: format!("Python {} at {}", interpreter.version, interpreter.prefix),
    })
}
#[cfg(test)]
mod tests {
    use super::super::base::{BaseSettings, OpenBase, open};
    use super::*;
    use crate::catalog::Catalog;
    use crate::command::CommandError;

    fn of_snapshot(reference: &str, python: Option<&str>) -> Result<OpenBase, CommandError> {
        open(
            reference,
            &BaseSettings {
                python: python.map(str::to_owned),
                snapshot: true,
                ..BaseSettings::default()
            },
        )
    }

    #[test]
    fn an_entry_of_the_catalog_is_opened_by_pattern() {
        let OpenBase {
            label, environment, ..
        } = of_snapshot("tfx:1.16.x", None).expect("a base");
        assert_eq!(label.reference, "tfx:1.16.0");
        assert_eq!(label.asked, "tfx:1.16.x");
        assert_eq!(environment.distributions.len(), 246);
        assert_eq!(environment.interpreter.prefix, "/opt/conda");
        assert_eq!(
            environment.markers.python_full_version().to_string(),
            "3.10.13"
        );
        let protobuf = PackageName::from_str("protobuf").expect("a name");
        assert_eq!(environment.distributions[&protobuf].version_text, "3.20.3");
        assert_eq!(environment.notes.len(), 1, "{:?}", environment.notes);
        match environment.provenance {
            Provenance::Snapshot { base, made_from } => {
                assert_eq!(base, "tfx:1.16.0");
                assert!(made_from.starts_with("the pin list pins-1.16.0-py310.txt"));
            }
            other => panic!("{other:?} is no snapshot"),
        }
    }

    #[test]
    fn an_old_python_has_the_tags_of_its_time() {
        let environment = of_snapshot("tfx:1.12.0", None).expect("a base").environment;
        let wheel = "a-1-cp37-cp37m-manylinux2014_x86_64.whl".parse();
        assert!(
            environment
                .tags
                .priority(&wheel.expect("a wheel"))
                .is_some()
        );
    }

    #[test]
    fn a_snapshot_has_one_python() {
        for python in [
            "3",
            "3.10",
            "3.10.13",
            "/opt/conda",
            "/opt/conda/",
            "/opt/conda/bin",
            "/opt/conda/bin/python3.10",
        ] {
            assert!(of_snapshot("tfx:1.16.0", Some(python)).is_ok(), "{python}");
        }
        for python in ["3.1", "3.11", "3.10.12", "/usr/bin/python3", "/opt/con"] {
            let error = of_snapshot("tfx:1.16.0", Some(python)).err().expect(python);
            assert_eq!(
                error.to_string(),
                format!(
                    "`tfx:1.16.0` holds no Python `{python}`: found Python 3.10.13 at /opt/conda"
                )
            );
        }
    }

    #[test]
    fn a_snapshot_and_its_environment_are_the_same() {
        let catalog = Catalog::embedded().expect("the catalog");
        for entry in catalog.family("tfx").expect("tfx").versions() {
            let snapshot = entry.snapshot().expect("a snapshot");
            let environment = environment_of(snapshot.clone()).expect("an environment");
            let mut again = snapshot_of(
                &environment,
                &snapshot.base,
                snapshot.made_from.clone(),
                None,
            );
            again.notes.clone_from(&snapshot.notes);
            for (again, found) in again.distributions.iter_mut().zip(&snapshot.distributions) {
                again.metadata_from = found.metadata_from;
            }
            assert_eq!(again, snapshot);
        }
    }

    #[test]
    fn a_broken_value_is_named() {
        let catalog = Catalog::embedded().expect("the catalog");
        let pattern = "1.16.0".parse().expect("a pattern");
        let entry = catalog.select("tfx", &pattern).expect("an entry");
        let mut snapshot = entry.snapshot().expect("a snapshot");
        snapshot.distributions[0].version = "one".to_owned();
        let error = environment_of(snapshot).expect_err("no version");
        assert_eq!(
            error.to_string(),
            "the snapshot of `tfx:1.16.0` is broken: `one` is not a version"
        );
    }
}
