//! What a source distribution says of itself without being built.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/source-distribution-format/>. Metadata 2.2
//! made its `PKG-INFO` binding, except for fields marked `Dynamic`. Older archives have the requirements in
//! `*.egg-info/requires.txt`, written by the setuptools that packed them: what a build says today can differ, and the
//! result says how far it can be trusted.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::str::FromStr as _;

use super::metadata::RawMetadata;
use super::{PackageName, Version};

/// Limits on what an archive may make us read.
const MAX_MEMBERS: usize = 200_000;
const MAX_UNPACKED: u64 = 1 << 30;
const MAX_MEMBER: u64 = 8 << 20;

/// What an archive says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// The fields, requirements among them, wherever they were found.
    pub metadata: RawMetadata,
    /// The text of `top_level.txt`, one import name a line; empty where there is none.
    pub top_level: String,
    /// How far the requirements can be trusted.
    pub trust: Trust,
}

/// How far the requirements of a source distribution can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Metadata 2.2 or later promises that a build says the same.
    Promised,
    /// They were true when the archive was packed.
    WhenPacked,
    /// The archive says nothing about requirements.
    Unknown,
}

/// An archive that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A kind of archive that is not read.
    #[error("archives of this kind are not read")]
    UnknownKind,
    /// The archive is damaged.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// The archive goes beyond what is read.
    #[error("the archive is too large to be read")]
    TooLarge,
    /// The archive has no metadata at all.
    #[error("the archive has no PKG-INFO")]
    NoMetadata,
}

/// Reads the source distribution `file_name` of `project`.
///
/// # Errors
/// When the archive cannot be read or has no metadata.
pub fn read(
    file_name: &str,
    bytes: &[u8],
    project: &PackageName,
) -> Result<SourceFacts, SourceError> {
    let has_suffix = |suffix: &str| file_name.to_ascii_lowercase().ends_with(suffix);
    let members = if has_suffix(".tar.gz") || has_suffix(".tgz") {
        read_tar(flate2::read::MultiGzDecoder::new(bytes))?
    } else if has_suffix(".tar") {
        read_tar(bytes)?
    } else if has_suffix(".zip") {
        read_zip(bytes)?
    } else {
        return Err(SourceError::UnknownKind);
    };
    facts(&members, project)
}

/// Whether a member of an archive is one that we look into.
fn matters(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (file, folder) = (parts.next(), parts.next());
    match file {
        Some("PKG-INFO") => path.split('/').count() == 2 || folder.is_some_and(is_egg_info),
        Some("requires.txt" | "top_level.txt" | "SOURCES.txt") => folder.is_some_and(is_egg_info),
        _ => false,
    }
}

fn is_egg_info(folder: &str) -> bool {
    folder.strip_suffix(".egg-info").is_some()
}

fn read_tar(archive: impl Read) -> Result<BTreeMap<String, Vec<u8>>, SourceError> {
    let damaged = |error: std::io::Error| SourceError::Damaged(error.to_string());
    let mut archive = tar::Archive::new(archive.take(MAX_UNPACKED));
    let mut members = BTreeMap::new();
    for (count, entry) in archive.entries().map_err(damaged)?.enumerate() {
        let entry = entry.map_err(damaged)?;
        if count >= MAX_MEMBERS {
            return Err(SourceError::TooLarge);
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_start_matches("./").to_owned();
        if matters(&path) {
            if entry.size() > MAX_MEMBER {
                return Err(SourceError::TooLarge);
            }
            let mut contents = Vec::new();
            entry
                .take(MAX_MEMBER)
                .read_to_end(&mut contents)
                .map_err(damaged)?;
            members.insert(path, contents);
        }
    }
    Ok(members)
}

fn read_zip(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, SourceError> {
    let damaged = |error: zip::result::ZipError| SourceError::Damaged(error.to_string());
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() > MAX_MEMBERS {
        return Err(SourceError::TooLarge);
    }
    let mut members = BTreeMap::new();
    for at in 0..archive.len() {
        let member = archive.by_index(at).map_err(damaged)?;
        let Ok(path) = member.name().map(std::borrow::Cow::into_owned) else {
            continue;
        };
        if !matters(&path) {
            continue;
        }
        let mut contents = Vec::new();
        // The size in the directory is a claim; the limit holds for what comes out.
        member
            .take(MAX_MEMBER + 1)
            .read_to_end(&mut contents)
            .map_err(|error| SourceError::Damaged(error.to_string()))?;
        if contents.len() as u64 > MAX_MEMBER {
            return Err(SourceError::TooLarge);
        }
        members.insert(path, contents);
    }
    Ok(members)
}

fn facts(
    members: &BTreeMap<String, Vec<u8>>,
    project: &PackageName,
) -> Result<SourceFacts, SourceError> {
    let egg_info = egg_info_folder(members, project);
    let of_egg_info = |file: &str| {
        egg_info
            .as_ref()
            .and_then(|folder| members.get(&format!("{folder}{file}")))
    };
    let mut metadata = members
        .iter()
        .find(|(path, _)| path.split('/').count() == 2 && path.ends_with("/PKG-INFO"))
        .map(|(_, contents)| contents)
        .or_else(|| of_egg_info("PKG-INFO"))
        .map(|contents| RawMetadata::parse(contents))
        .ok_or(SourceError::NoMetadata)?;

    let is_dynamic = metadata
        .dynamic
        .iter()
        .any(|field| field == "requires-dist");
    let is_binding = metadata
        .metadata_version
        .as_deref()
        .and_then(|version| Version::from_str(version).ok())
        .is_some_and(|version| version >= Version::new([2, 2]));
    let trust = if is_binding && !is_dynamic {
        Trust::Promised
    } else if let Some(requires) = of_egg_info("requires.txt") {
        let (requires_dist, extras) = requires_txt(&String::from_utf8_lossy(requires));
        metadata.requires_dist = requires_dist;
        for extra in extras {
            if !metadata.provides_extra.contains(&extra) {
                metadata.provides_extra.push(extra);
            }
        }
        Trust::WhenPacked
    } else if egg_info.is_some() || !metadata.requires_dist.is_empty() {
        // setuptools writes no requires.txt where there is nothing to require; others write `Requires-Dist` at once.
        Trust::WhenPacked
    } else {
        Trust::Unknown
    };
    let top_level = of_egg_info("top_level.txt")
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .unwrap_or_default();
    Ok(SourceFacts {
        metadata,
        top_level,
        trust,
    })
}

/// The `.egg-info` folder of the project itself, with its slash: archives can carry others in their tests.
fn egg_info_folder(members: &BTreeMap<String, Vec<u8>>, project: &PackageName) -> Option<String> {
    members
        .keys()
        .filter_map(|path| {
            let folder = path.rsplit_once('/')?.0;
            let name = folder.rsplit('/').next()?.strip_suffix(".egg-info")?;
            let is_own = PackageName::from_str(name).is_ok_and(|name| name == *project);
            is_own.then_some(folder)
        })
        .min_by_key(|folder| (folder.split('/').count(), *folder))
        .map(|folder| format!("{folder}/"))
}

/// `Requires-Dist` values and extras from setuptools' `requires.txt`: sections `[extra:marker]` of requirements.
fn requires_txt(text: &str) -> (Vec<String>, Vec<String>) {
    let mut requires_dist = Vec::new();
    let mut extras: Vec<String> = Vec::new();
    let mut condition: Option<String> = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            let (extra, marker) = match section.split_once(':') {
                Some((extra, marker)) => (extra.trim(), marker.trim()),
                None => (section.trim(), ""),
            };
            if !extra.is_empty() && !extras.iter().any(|known| known == extra) {
                extras.push(extra.to_owned());
            }
            let extra = (!extra.is_empty()).then(|| format!("extra == '{extra}'"));
            condition = match (marker.is_empty(), extra) {
                (true, extra) => extra,
                (false, None) => Some(marker.to_owned()),
                (false, Some(extra)) => Some(format!("({marker}) and {extra}")),
            };
            continue;
        }
        requires_dist.push(match (&condition, line.split_once(';')) {
            (None, _) => line.to_owned(),
            (Some(condition), None) => format!("{line} ; {condition}"),
            (Some(condition), Some((requirement, marker))) => {
                format!(
                    "{} ; ({}) and ({condition})",
                    requirement.trim(),
                    marker.trim()
                )
            }
        });
    }
    (requires_dist, extras)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn project(name: &str) -> PackageName {
        PackageName::from_str(name).expect("a name")
    }

    fn tar_gz(members: &[(&str, &str)]) -> Vec<u8> {
        let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(packed);
        for (path, contents) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            archive
                .append_data(&mut header, path, contents.as_bytes())
                .expect("memory");
        }
        archive
            .into_inner()
            .and_then(flate2::write::GzEncoder::finish)
            .expect("memory")
    }

    fn zip(members: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, contents) in members {
            archive
                .start_file(*path, zip::write::SimpleFileOptions::default())
                .expect("memory");
            archive.write_all(contents.as_bytes()).expect("memory");
        }
        archive.finish().expect("memory").into_inner()
    }

    #[test]
    fn metadata_that_binds_is_believed() {
        let archive = tar_gz(&[
            (
                "a_b-1/PKG-INFO",
                "Metadata-Version: 2.2\nName: a.b\nVersion: 1\nRequires-Dist: c>=1\nDynamic: Description\n",
            ),
            ("a_b-1/a_b.egg-info/requires.txt", "other\n"),
            ("a_b-1/a_b.egg-info/top_level.txt", "a_b\n"),
            ("a_b-1/tests/x.egg-info/requires.txt", "no\n"),
        ]);
        let facts = read("a_b-1.tar.gz", &archive, &project("a-b")).expect("facts");
        assert_eq!(facts.metadata.requires_dist, ["c>=1"]);
        assert_eq!(facts.top_level, "a_b\n");
        assert_eq!(facts.trust, Trust::Promised);
    }

    #[test]
    fn older_archives_have_their_requirements_in_the_egg_info() {
        let members = [
            (
                "a-1/PKG-INFO",
                "Metadata-Version: 2.2\nName: a\nVersion: 1\nRequires-Dist: wrong\nDynamic: Requires-Dist\n",
            ),
            (
                "a-1/src/a.egg-info/requires.txt",
                "b>=1\n\n[:python_version < \"3.8\"]\nc\n\n[x]\nd\n\n[x:os_name == \"nt\"]\ne; python_version > '3'\n",
            ),
        ];
        for (name, archive) in [("a-1.tar.gz", tar_gz(&members)), ("a-1.zip", zip(&members))] {
            let facts = read(name, &archive, &project("a")).expect("facts");
            assert_eq!(
                facts.metadata.requires_dist,
                [
                    "b>=1",
                    "c ; python_version < \"3.8\"",
                    "d ; extra == 'x'",
                    "e ; (python_version > '3') and ((os_name == \"nt\") and extra == 'x')",
                ]
            );
            assert_eq!(facts.metadata.provides_extra, ["x"]);
            assert_eq!(facts.trust, Trust::WhenPacked);
        }
    }

    #[test]
    fn an_archive_that_says_nothing_is_told_from_one_that_requires_nothing() {
        let pkg_info = (
            "a-1/PKG-INFO",
            "Metadata-Version: 1.0\nName: a\nVersion: 1\n",
        );
        let facts = read("a-1.tgz", &tar_gz(&[pkg_info]), &project("a")).expect("facts");
        assert_eq!(facts.trust, Trust::Unknown);
        let sources = ("a-1/a.egg-info/SOURCES.txt", "a.py\n");
        let facts = read("a-1.tgz", &tar_gz(&[pkg_info, sources]), &project("a")).expect("facts");
        assert_eq!(facts.trust, Trust::WhenPacked);
        assert!(facts.metadata.requires_dist.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let a = project("a");
        assert!(matches!(
            read("a-1.tar.xz", b"", &a),
            Err(SourceError::UnknownKind)
        ));
        assert!(matches!(
            read("a-1.tar.gz", b"not gzip", &a),
            Err(SourceError::Damaged(_))
        ));
        assert!(matches!(
            read("a-1.zip", b"not zip", &a),
            Err(SourceError::Damaged(_))
        ));
        let empty = tar_gz(&[("a-1/setup.py", "")]);
        assert!(matches!(
            read("a-1.tar.gz", &empty, &a),
            Err(SourceError::NoMetadata)
        ));
        let whole = tar_gz(&[("a-1/PKG-INFO", "Name: a\n")]);
        assert!(matches!(
            read("a-1.tar.gz", &whole[..whole.len() / 2], &a),
            Err(SourceError::Damaged(_))
        ));
    }
}
