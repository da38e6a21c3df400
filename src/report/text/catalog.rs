//! The catalog as tables.

use std::fmt::Write as _;

use crate::catalog::Catalog;
use crate::catalog::snapshot::{MetadataSource, Snapshot};

use super::table::table;
use super::words::count;
use super::{ASIDE, HEADING};

/// The families of the catalog and their versions, newest first.
#[must_use]
pub fn list(catalog: &Catalog, width: Option<usize>) -> String {
    let mut text = String::new();
    for (at, family) in catalog.families().iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        let architectures: Vec<String> = family
            .architectures()
            .iter()
            .map(ToString::to_string)
            .collect();
        let _ = writeln!(
            text,
            "{HEADING}{}{HEADING:#}: {}",
            family.name(),
            family.description()
        );
        let _ = writeln!(
            text,
            "{ASIDE}{}, {}, {}{ASIDE:#}\n",
            family.repository(),
            architectures.join(" "),
            family.prefix()
        );
        let rows: Vec<[String; 4]> = family
            .versions()
            .iter()
            .map(|entry| {
                [
                    entry.base().to_owned(),
                    entry.python().to_owned(),
                    entry.libc().to_string(),
                    entry.note().unwrap_or_default().to_owned(),
                ]
            })
            .collect();
        text.push_str(&table(
            ["base", "python", "c library", "note"],
            &rows,
            width,
        ));
    }
    text
}

/// What is installed in one base; `is_read` tells a folder that was read from a snapshot that is taken at its word.
#[must_use]
pub fn show(snapshot: &Snapshot, is_read: bool, width: Option<usize>) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{HEADING}{}{HEADING:#}: {}",
        snapshot.base,
        count(snapshot.distributions.len(), "distribution")
    );
    let libc = snapshot.libc.as_deref().unwrap_or("unknown C library");
    let _ = writeln!(
        text,
        "Python {} at {}, {}, {libc}",
        snapshot.python_full_version, snapshot.prefix, snapshot.architecture
    );
    let from = if is_read {
        "read from"
    } else {
        "a snapshot made from"
    };
    let caution = if is_read {
        ""
    } else {
        ", not read from the image"
    };
    let _ = writeln!(text, "{from} {}{caution}", snapshot.made_from);
    if !snapshot.notes.is_empty() {
        let _ = writeln!(text, "\n{HEADING}doubts{HEADING:#}");
        for note in &snapshot.notes {
            let _ = writeln!(text, "- {note}");
        }
    }
    let rows: Vec<[String; 5]> = snapshot
        .distributions
        .iter()
        .map(|found| {
            [
                found.name.clone(),
                found
                    .version_text
                    .as_ref()
                    .unwrap_or(&found.version)
                    .clone(),
                found.requires_dist.len().to_string(),
                source(found.metadata_from).to_owned(),
                found.import_names.join(" "),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&table(
        [
            "distribution",
            "version",
            "requirements",
            "metadata",
            "imports",
        ],
        &rows,
        width,
    ));
    text
}

fn source(source: MetadataSource) -> &'static str {
    match source {
        MetadataSource::Wheel => "wheel",
        MetadataSource::Sdist => "sdist",
        MetadataSource::Environment => "installed",
        MetadataSource::None => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn the_catalog_is_listed_newest_first() {
        let catalog = Catalog::embedded().expect("the catalog");
        let text = plain(&list(&catalog, Some(60)));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("tfx: TensorFlow Extended"));
        assert!(lines[1].ends_with("/tfx, amd64, /opt/conda"));
        assert_eq!(lines[3], "base        python  c library   note");
        assert!(
            lines[4].starts_with("tfx:1.21.0  3.10    glibc 2.39  "),
            "{text}"
        );
        assert_eq!(lines.len(), 11);
    }

    #[test]
    fn a_base_is_shown_with_its_provenance() {
        let catalog = Catalog::embedded().expect("the catalog");
        let entry = &catalog.family("tfx").expect("tfx").versions()[2];
        let text = plain(&show(&entry.snapshot().expect("a snapshot"), false, None));
        assert!(text.starts_with(
            "tfx:1.16.0: 246 distributions\nPython 3.10.13 at /opt/conda, x86_64, glibc 2.35\n"
        ));
        assert!(text.contains("a snapshot made from the pin list pins-1.16.0-py310.txt"));
        assert!(text.contains("assumed, not read from the image\n\ndoubts\n- crcmod 1.7: "));
        let row = text.lines().find(|line| line.starts_with("protobuf"));
        let cells: Vec<&str> = row.expect("protobuf").split_whitespace().collect();
        assert_eq!(cells, ["protobuf", "3.20.3", "0", "wheel", "google"]);
    }
}
