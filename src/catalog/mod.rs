//! The catalog: bases that imgtool knows by name, each with a snapshot of what is installed in it.
//!
//! It is embedded in the binary, and a snapshot is parsed only when it is asked for: a lookup costs the family files,
//! which are short. What an entry says is knowledge at second hand; [`snapshot::Snapshot::made_from`] tells whose.

mod embedded;
pub mod from_pins;
pub mod import_names;
pub mod mlflow_server;
pub mod snapshot;

use std::str::FromStr as _;

use oci_spec::image::Arch;
use serde::Deserialize;

use crate::packaging::Version;
use crate::packaging::tags::Libc;
use crate::transport::reference::{KnownFamily, VersionPattern, nearest};
use snapshot::{Snapshot, SnapshotError};

/// Every family that imgtool knows.
#[derive(Debug, Clone)]
pub struct Catalog {
    families: Vec<Family>,
}

/// A family of bases: one image repository and its known versions.
#[derive(Debug, Clone)]
pub struct Family {
    name: String,
    description: String,
    repository: String,
    prefix: String,
    architectures: Vec<Arch>,
    versions: Vec<Entry>,
}

/// One version of a family.
#[derive(Debug, Clone)]
pub struct Entry {
    base: String,
    tag: String,
    version: Version,
    python: String,
    python_full_version: String,
    libc: Libc,
    note: Option<String>,
    snapshot: String,
}

/// What the catalog cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A family that is not in the catalog.
    #[error("the catalog has no base `{family}`")]
    UnknownFamily {
        /// The family that was asked for.
        family: String,
        /// The families that there are.
        known: Vec<String>,
    },
    /// A version that is not in the catalog.
    #[error("the catalog has no version `{pattern}` of the base `{family}`")]
    UnknownVersion {
        /// The family.
        family: String,
        /// The version that was asked for.
        pattern: String,
        /// A version of similar spelling.
        similar: Option<String>,
        /// The versions that there are, newest first.
        known: Vec<String>,
    },
    /// A file of the catalog that cannot be read. The catalog is part of the program: this is a bug.
    #[error("the file `images/{path}` of the catalog is broken: {reason}")]
    Broken {
        /// Its path below `images/`.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A snapshot with a value that is not what its field says.
    #[error("the snapshot of `{base}` is broken: {reason}")]
    InvalidSnapshot {
        /// The base that it is of.
        base: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A snapshot is wanted of a base whose Python is not known.
    #[error(
        "the catalog does not know `{base}`, so the Python that a snapshot of it is for is not known"
    )]
    UnknownPlatform {
        /// The base.
        base: String,
    },
    /// A part of the platform that is not one.
    #[error("`{value}` is not a value for `{option}`")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
    },
    /// A line of a pin list that is no pin.
    #[error("line {line} of the pin list is not `name==version`: `{text}`")]
    NotAPin {
        /// Line, counted from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A pin list that names one distribution twice.
    #[error("line {line} of the pin list names `{name}` a second time")]
    PinnedTwice {
        /// Line, counted from 1.
        line: usize,
        /// The distribution.
        name: String,
    },
    /// A pin list without a pin.
    #[error("the pin list has no pins")]
    NoPins,
    /// The package index did not answer.
    #[error("no metadata of `{name}` from the package index: {reason}")]
    Index {
        /// The distribution that was asked for.
        name: String,
        /// What went wrong.
        reason: String,
    },
}

impl CatalogError {
    /// What to try instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownFamily { known, .. } => {
                Some(format!("the catalog has {}", known.join(", ")))
            }
            Self::UnknownVersion {
                family,
                similar,
                known,
                ..
            } => {
                let known = known.join(", ");
                Some(match similar {
                    Some(similar) => format!(
                        "did you mean `{family}:{similar}`? The catalog has {family} {known}"
                    ),
                    None => format!("the catalog has {family} {known}"),
                })
            }
            Self::NotAPin { .. } => Some(
                "a pin list has one `name==version` a line, as `pip freeze` prints it".to_owned(),
            ),
            Self::UnknownPlatform { .. } => Some(
                "give `--python 3.10.13` and `--libc glibc:2.35`, as they are in the base"
                    .to_owned(),
            ),
            Self::InvalidOption {
                option: "--libc", ..
            } => Some("write it as `glibc:2.35` or `musl:1.2`".to_owned()),
            Self::InvalidOption { .. } => Some("write a full version, as `3.10.13`".to_owned()),
            Self::Broken { .. }
            | Self::InvalidSnapshot { .. }
            | Self::PinnedTwice { .. }
            | Self::NoPins
            | Self::Index { .. } => None,
        }
    }
}

/// A family's file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FamilyFile {
    name: String,
    description: String,
    repository: String,
    prefix: String,
    architectures: Vec<Arch>,
    version: Vec<EntryFile>,
}

/// One version in a family's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFile {
    version: String,
    python: String,
    python_full_version: String,
    libc: String,
    snapshot: String,
    note: Option<String>,
}

impl Catalog {
    /// The catalog that the binary carries.
    ///
    /// # Errors
    /// When a file of it is broken, which its tests forbid.
    pub fn embedded() -> Result<Self, CatalogError> {
        let families = embedded::FILES
            .iter()
            // Families lie at the top, their snapshots in a folder each.
            .filter(|(path, _)| !path.contains('/'))
            .map(|(path, text)| Family::parse(path, text))
            .collect::<Result<_, _>>()?;
        Ok(Self { families })
    }

    /// The families in the order of their names.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The families as references are parsed with.
    #[must_use]
    pub fn known_families(&self) -> Vec<KnownFamily<'_>> {
        self.families
            .iter()
            .map(|family| KnownFamily {
                name: &family.name,
                repository: &family.repository,
            })
            .collect()
    }

    /// The family of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn family(&self, name: &str) -> Result<&Family, CatalogError> {
        self.families
            .iter()
            .find(|family| family.name == name)
            .ok_or_else(|| CatalogError::UnknownFamily {
                family: name.to_owned(),
                known: self
                    .families
                    .iter()
                    .map(|family| family.name.clone())
                    .collect(),
            })
    }

    /// The version of `family` that `pattern` means.
    ///
    /// # Errors
    /// When the catalog has no such family or version.
    pub fn select(&self, family: &str, pattern: &VersionPattern) -> Result<&Entry, CatalogError> {
        self.family(family)?.select(pattern)
    }
}

impl Family {
    fn parse(path: &str, text: &str) -> Result<Self, CatalogError> {
        let broken = |reason: String| CatalogError::Broken {
            path: path.to_owned(),
            reason,
        };
        let file: FamilyFile = toml::from_str(text).map_err(|error| broken(error.to_string()))?;
        let name = file.name;
        let mut versions = file
            .version
            .into_iter()
            .map(|entry| {
                let version = Version::from_str(&entry.version)
                    .map_err(|_| broken(format!("`{}` is not a version", entry.version)))?;
                let libc = parse_libc(&entry.libc)
                    .ok_or_else(|| broken(format!("`{}` is not a C library", entry.libc)))?;
                Ok(Entry {
                    base: format!("{name}:{}", entry.version),
                    tag: entry.version,
                    version,
                    python: entry.python,
                    python_full_version: entry.python_full_version,
                    libc,
                    note: entry.note,
                    snapshot: entry.snapshot,
                })
            })
            .collect::<Result<Vec<_>, CatalogError>>()?;
        versions.sort_by(|a: &Entry, b: &Entry| b.version.cmp(&a.version));
        Ok(Self {
            name,
            description: file.description,
            repository: file.repository,
            prefix: file.prefix,
            architectures: file.architectures,
            versions,
        })
    }

    /// Name of the family, such as `tfx`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the images are, in one sentence.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Repository of the images, host included.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Installation prefix of the Python that components run with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Architectures that the images are published for.
    #[must_use]
    pub fn architectures(&self) -> &[Arch] {
        &self.architectures
    }

    /// The known versions, newest first.
    #[must_use]
    pub fn versions(&self) -> &[Entry] {
        &self.versions
    }

    /// The version that `pattern` means.
    ///
    /// # Errors
    /// When the catalog has no such version.
    pub fn select(&self, pattern: &VersionPattern) -> Result<&Entry, CatalogError> {
        let known: Vec<(&str, &Version)> = self
            .versions
            .iter()
            .map(|entry| (entry.tag.as_str(), &entry.version))
            .collect();
        pattern
            .select(&known)
            .map(|at| &self.versions[at])
            .ok_or_else(|| {
                let pattern = pattern.to_string();
                let tags = known.iter().map(|(tag, _)| *tag);
                CatalogError::UnknownVersion {
                    family: self.name.clone(),
                    similar: nearest(&pattern, tags.clone()).map(str::to_owned),
                    pattern,
                    known: tags.map(str::to_owned).collect(),
                }
            })
    }
}

impl Entry {
    /// The base as `family:version`, such as `tfx:1.16.0`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The version as it is written in the image's tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Minor version of Python, such as `3.10`.
    #[must_use]
    pub fn python(&self) -> &str {
        &self.python
    }

    /// Full version of Python that markers are evaluated with; an assumption.
    #[must_use]
    pub fn python_full_version(&self) -> &str {
        &self.python_full_version
    }

    /// The C library that wheel tags are made for; deduced or assumed.
    #[must_use]
    pub fn libc(&self) -> Libc {
        self.libc
    }

    /// What is particular about this version.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Reads the snapshot.
    ///
    /// # Errors
    /// When it is broken, which the catalog's tests forbid.
    pub fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        let broken = |reason: String| CatalogError::Broken {
            path: self.snapshot.clone(),
            reason,
        };
        let text = embedded::file(&self.snapshot)
            .ok_or_else(|| broken("there is no such file".to_owned()))?;
        Snapshot::parse(text).map_err(|error: SnapshotError| broken(error.to_string()))
    }
}

/// Reads a C library as it is displayed (`glibc 2.35`, `musl 1.2`) or typed (`glibc:2.35`).
#[must_use]
pub fn parse_libc(text: &str) -> Option<Libc> {
    let (name, version) = text.split_once([' ', ':'])?;
    let (major, minor) = version.split_once('.')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    match name {
        "glibc" => Some(Libc::Glibc(major, minor)),
        "musl" => Some(Libc::Musl(major, minor)),
        _ => None,
    }
}

/// Machine name (`uname -m`) of an architecture of an image, as markers and wheel tags have it.
#[must_use]
pub fn machine_name(architecture: &Arch) -> Option<&'static str> {
    match architecture {
        Arch::Amd64 => Some("x86_64"),
        Arch::ARM64 => Some("aarch64"),
        Arch::PowerPC64le => Some("ppc64le"),
        Arch::s390x => Some("s390x"),
        Arch::RISCV64 => Some("riscv64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packaging::{PackageName, Requirement};

    fn select(pattern: &str) -> Result<String, CatalogError> {
        let catalog = Catalog::embedded().expect("the catalog");
        let pattern = pattern.parse().expect("a pattern");
        catalog
            .select("tfx", &pattern)
            .map(|entry| entry.base().to_owned())
    }

    #[test]
    fn the_newest_match_is_selected() {
        assert_eq!(select("1.16.0").as_deref(), Ok("tfx:1.16.0"));
        assert_eq!(select("1.16").as_deref(), Ok("tfx:1.16.0"));
        assert_eq!(select("1.15.x").as_deref(), Ok("tfx:1.15.1"));
        assert_eq!(select("1.x").as_deref(), Ok("tfx:1.21.0"));
        assert_eq!(select("latest").as_deref(), Ok("tfx:1.21.0"));
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        let error = select("1.18.0").expect_err("not in the catalog");
        assert_eq!(
            error.to_string(),
            "the catalog has no version `1.18.0` of the base `tfx`"
        );
        assert_eq!(
            error.hint().as_deref(),
            Some(
                "did you mean `tfx:1.17.0`? The catalog has tfx 1.21.0, 1.17.0, 1.16.0, 1.15.1, 1.14.0, 1.13.0, 1.12.0"
            )
        );
        let error = select("2.x").expect_err("not in the catalog");
        assert!(
            error
                .hint()
                .expect("a hint")
                .starts_with("the catalog has tfx 1.21.0,")
        );
        let catalog = Catalog::embedded().expect("the catalog");
        let error = catalog.family("tf").expect_err("not in the catalog");
        assert_eq!(error.hint().as_deref(), Some("the catalog has tfx"));
    }

    #[test]
    fn every_snapshot_is_whole_and_fits_its_entry() {
        let catalog = Catalog::embedded().expect("the catalog");
        for family in catalog.families() {
            for entry in family.versions() {
                let base = entry.base();
                let snapshot = entry.snapshot().expect(base);
                assert_eq!(snapshot.base, base);
                assert_eq!(snapshot.python, entry.python(), "{base}");
                assert_eq!(
                    snapshot.python_full_version,
                    entry.python_full_version(),
                    "{base}"
                );
                assert_eq!(snapshot.libc, Some(entry.libc().to_string()), "{base}");
                assert_eq!(snapshot.prefix, family.prefix(), "{base}");
                assert!(
                    snapshot.made_from.ends_with(" assumed"),
                    "{base} says what is assumed"
                );
                let names = snapshot.distributions.iter().map(|found| &found.name);
                assert!(names.is_sorted_by(|a, b| a < b), "{base} is sorted");
                for found in &snapshot.distributions {
                    let name = PackageName::from_str(&found.name).expect("a name");
                    assert_eq!(name.to_string(), found.name, "{base}");
                    Version::from_str(&found.version).expect("a version");
                    for requirement in &found.requires_dist {
                        Requirement::parse_lenient(requirement).expect("a requirement");
                    }
                }
            }
        }
    }

    #[test]
    fn a_family_file_says_where_it_is_broken() {
        let error = Family::parse("toy.toml", "name = 1").expect_err("broken");
        assert!(
            error
                .to_string()
                .starts_with("the file `images/toy.toml` of the catalog is broken: "),
            "{error}"
        );
    }

    #[test]
    fn a_c_library_is_read_as_it_is_displayed() {
        for libc in [Libc::Glibc(2, 35), Libc::Musl(1, 2)] {
            assert_eq!(parse_libc(&libc.to_string()), Some(libc));
        }
        assert_eq!(parse_libc("glibc:2.35"), Some(Libc::Glibc(2, 35)));
        assert_eq!(parse_libc("uclibc 1.0"), None);
        assert_eq!(parse_libc("glibc"), None);
    }
}
