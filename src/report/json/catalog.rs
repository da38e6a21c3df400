//! Version 1 of the JSON shapes of the catalog. Fields may be added; none is renamed, removed or changes its meaning.

use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::snapshot::{MetadataSource, Snapshot};

#[derive(Serialize)]
struct List<'a> {
    /// Always `imgtool.catalog-list/v1`.
    schema: &'static str,
    families: Vec<Family<'a>>,
}

#[derive(Serialize)]
struct Family<'a> {
    name: &'a str,
    description: &'a str,
    repository: &'a str,
    prefix: &'a str,
    /// As image configs name them, such as `amd64`.
    architectures: Vec<String>,
    /// Newest first.
    versions: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    /// Such as `tfx:1.16.0`.
    reference: &'a str,
    version: &'a str,
    python: &'a str,
    /// An assumption: what markers are evaluated with.
    python_full_version: &'a str,
    libc: String,
    note: Option<&'a str>,
}

#[derive(Serialize)]
struct Show<'a> {
    /// Always `imgtool.catalog-show/v1`.
    schema: &'static str,
    reference: &'a str,
    /// `snapshot` or `directory`.
    source: &'static str,
    made_from: &'a str,
    python: &'a str,
    python_full_version: &'a str,
    prefix: &'a str,
    /// As `uname -m` prints it, such as `x86_64`.
    architecture: &'a str,
    libc: Option<&'a str>,
    /// What is doubtful, one sentence each.
    notes: &'a [String],
    /// In the order of their names.
    distributions: Vec<Distribution<'a>>,
}

#[derive(Serialize)]
struct Distribution<'a> {
    name: &'a str,
    version: &'a str,
    /// `wheel`, `sdist`, `environment` or `none`.
    metadata_from: &'static str,
    requires_python: Option<&'a str>,
    requires_dist: &'a [String],
    provides_extra: &'a [String],
    import_names: &'a [String],
    installer: Option<&'a str>,
}

/// The families of the catalog and their versions as one JSON document with a final newline.
#[must_use]
pub fn list(catalog: &Catalog) -> String {
    let families = catalog
        .families()
        .iter()
        .map(|family| Family {
            name: family.name(),
            description: family.description(),
            repository: family.repository(),
            prefix: family.prefix(),
            architectures: family
                .architectures()
                .iter()
                .map(ToString::to_string)
                .collect(),
            versions: family
                .versions()
                .iter()
                .map(|entry| Entry {
                    reference: entry.base(),
                    version: entry.tag(),
                    python: entry.python(),
                    python_full_version: entry.python_full_version(),
                    libc: entry.libc().to_string(),
                    note: entry.note(),
                })
                .collect(),
        })
        .collect();
    super::document(&List {
        schema: "imgtool.catalog-list/v1",
        families,
    })
}

/// What is installed in one base as one JSON document with a final newline.
#[must_use]
pub fn show(snapshot: &Snapshot, is_read: bool) -> String {
    let distributions = snapshot
        .distributions
        .iter()
        .map(|found| Distribution {
            name: &found.name,
            version: found.version_text.as_ref().unwrap_or(&found.version),
            metadata_from: match found.metadata_from {
                MetadataSource::Wheel => "wheel",
                MetadataSource::Sdist => "sdist",
                MetadataSource::Environment => "environment",
                MetadataSource::None => "none",
            },
            requires_python: found.requires_python.as_deref(),
            requires_dist: &found.requires_dist,
            provides_extra: &found.provides_extra,
            import_names: &found.import_names,
            installer: found.installer.as_deref(),
        })
        .collect();
    super::document(&Show {
        schema: "imgtool.catalog-show/v1",
        reference: &snapshot.base,
        source: if is_read { "directory" } else { "snapshot" },
        made_from: &snapshot.made_from,
        python: &snapshot.python,
        python_full_version: &snapshot.python_full_version,
        prefix: &snapshot.prefix,
        architecture: &snapshot.architecture,
        libc: snapshot.libc.as_deref(),
        notes: &snapshot.notes,
        distributions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_as_they_are_documented() {
        let catalog = Catalog::embedded().expect("the catalog");
        let listed: serde_json::Value = serde_json::from_str(&list(&catalog)).expect("JSON");
        assert_eq!(listed["schema"], "imgtool.catalog-list/v1");
        assert_eq!(listed["families"][0]["architectures"][0], "amd64");
        let newest = &listed["families"][0]["versions"][0];
        assert_eq!(newest["reference"], "tfx:1.21.0");
        assert_eq!(newest["libc"], "glibc 2.39");

        let entry = &catalog.families()[0].versions()[2];
        let snapshot = entry.snapshot().expect("a snapshot");
        let shown: serde_json::Value = serde_json::from_str(&show(&snapshot, false)).expect("JSON");
        assert_eq!(shown["schema"], "imgtool.catalog-show/v1");
        assert_eq!(shown["reference"], "tfx:1.16.0");
        assert_eq!(shown["source"], "snapshot");
        assert_eq!(shown["distributions"][0]["name"], "absl-py");
        assert_eq!(shown["distributions"][0]["requires_python"], ">=3.6");
    }
}
