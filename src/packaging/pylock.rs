//! Lock files, `pylock.toml` (PEP 751): what stands in one, as values.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/pylock-toml/>. Keys that are not known are passed
//! over, as the specification says of versions 1.x; a later major version is refused. What a lock file means for an
//! interpreter is told elsewhere.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::toml_place::{Place, TomlError};
use super::{MarkerTree, PackageName, Requirement, Version, VersionSpecifiers, specifiers};

/// What stands in a lock file.
#[derive(Debug, Clone)]
pub struct LockFile {
    /// `lock-version`, as it is written.
    pub version: String,
    /// The environments that the file is for; of none it says that it is for all.
    pub environments: Vec<MarkerTree>,
    /// The versions of Python that it is for.
    pub requires_python: Option<VersionSpecifiers>,
    /// Who wrote it.
    pub created_by: String,
    /// What is to be installed, in the order of the file.
    pub packages: Vec<LockedPackage>,
    /// The requirements that were asked for, where imgtool wrote the file.
    pub requested: Vec<Requirement>,
    /// What has to leave the base, where imgtool wrote the file.
    pub removed: Vec<PackageName>,
}

/// One entry of `packages`.
#[derive(Debug, Clone)]
pub struct LockedPackage {
    /// Where it stands.
    pub place: Place,
    /// The project.
    pub name: PackageName,
    /// Its version; what is built from a folder may have none.
    pub version: Option<Version>,
    /// The environments in which it is installed.
    pub marker: Option<MarkerTree>,
    /// The versions of Python that it is for.
    pub requires_python: Option<VersionSpecifiers>,
    /// The address of the index that it came from.
    pub index: Option<String>,
    /// Its wheels.
    pub wheels: Vec<LockedWheel>,
    /// What it has beside wheels: `sdist`, `vcs`, `directory` or `archive`.
    pub other_source: Option<&'static str>,
}

/// One wheel of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedWheel {
    /// Name of the file.
    pub name: String,
    /// Where it can be had.
    pub url: Option<String>,
    /// Where it lies, relative to the lock file.
    pub path: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// SHA-256 in lower-case hexadecimal, where the file has that.
    pub sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    lock_version: Spanned<String>,
    #[serde(default)]
    environments: Vec<Spanned<String>>,
    requires_python: Option<Spanned<String>>,
    created_by: Option<String>,
    packages: Vec<Spanned<PackageTable>>,
    #[serde(default)]
    tool: ToolTable,
}

#[derive(Deserialize, Default)]
struct ToolTable {
    // Another tool may have put anything under our name.
    imgtool: Option<toml::Value>,
}

#[derive(Deserialize, Default)]
struct OwnTable {
    #[serde(default)]
    requested: Vec<String>,
    #[serde(default)]
    removed: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PackageTable {
    name: Spanned<String>,
    version: Option<Spanned<String>>,
    marker: Option<Spanned<String>>,
    requires_python: Option<Spanned<String>>,
    index: Option<String>,
    #[serde(default)]
    wheels: Vec<Spanned<WheelTable>>,
    sdist: Option<IgnoredAny>,
    vcs: Option<IgnoredAny>,
    directory: Option<IgnoredAny>,
    archive: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WheelTable {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

impl LockFile {
    /// Reads the text of a lock file.
    ///
    /// # Errors
    /// The first thing that is not as the specification has it, and where it stands.
    pub fn parse(text: &str) -> Result<Self, TomlError> {
        let file: File = toml::from_str(text).map_err(|error| TomlError::of(text, &error))?;
        let at = |offset: usize, reason: String| TomlError {
            place: Place::of(text, offset),
            reason,
        };
        let version = file.lock_version.get_ref();
        if version.split('.').next() != Some("1") {
            return Err(at(
                file.lock_version.span().start,
                format!("the lock file is of version {version}; only versions 1.x are understood"),
            ));
        }
        let marker = |written: &Spanned<String>| {
            MarkerTree::from_str(written.get_ref()).map_err(|error| {
                at(
                    written.span().start,
                    format!(
                        "`{}` is not a marker that can be evaluated: {}",
                        written.get_ref(),
                        first_line(&error.to_string())
                    ),
                )
            })
        };
        let python = |written: &Spanned<String>| {
            specifiers::parse(written.get_ref()).map_err(|_| {
                at(
                    written.span().start,
                    format!("`{}` are no versions of Python", written.get_ref()),
                )
            })
        };
        let mut packages = Vec::with_capacity(file.packages.len());
        for package in &file.packages {
            let offset = package.span().start;
            let table = package.get_ref();
            let name = table.name.get_ref();
            let name = PackageName::from_str(name).map_err(|_| {
                at(
                    table.name.span().start,
                    format!("`{name}` is not the name of a project"),
                )
            })?;
            let version = table.version.as_ref().map(|written| {
                Version::from_str(written.get_ref()).map_err(|_| {
                    at(
                        written.span().start,
                        format!("`{}` is not a version", written.get_ref()),
                    )
                })
            });
            let wheels = table.wheels.iter().map(|wheel| {
                locked_wheel(wheel.get_ref()).map_err(|reason| at(wheel.span().start, reason))
            });
            packages.push(LockedPackage {
                place: Place::of(text, offset),
                name,
                version: version.transpose()?,
                marker: table.marker.as_ref().map(marker).transpose()?,
                requires_python: table.requires_python.as_ref().map(python).transpose()?,
                index: table.index.clone(),
                wheels: wheels.collect::<Result<_, _>>()?,
                other_source: [
                    (&table.vcs, "vcs"),
                    (&table.directory, "directory"),
                    (&table.archive, "archive"),
                    (&table.sdist, "sdist"),
                ]
                .into_iter()
                .find_map(|(table, kind)| table.as_ref().map(|_| kind)),
            });
        }
        let own: OwnTable = file
            .tool
            .imgtool
            .and_then(|table| table.try_into().ok())
            .unwrap_or_default();
        Ok(Self {
            version: version.clone(),
            environments: file
                .environments
                .iter()
                .map(marker)
                .collect::<Result<_, _>>()?,
            requires_python: file.requires_python.as_ref().map(python).transpose()?,
            created_by: file.created_by.unwrap_or_default(),
            packages,
            requested: own
                .requested
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            removed: own
                .removed
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
        })
    }
}

fn locked_wheel(table: &WheelTable) -> Result<LockedWheel, String> {
    let last = |address: &String| {
        let path = address.split(['?', '#']).next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        percent_encoding::percent_decode_str(last)
            .decode_utf8_lossy()
            .into_owned()
    };
    let name = table
        .name
        .clone()
        .or_else(|| table.path.as_ref().map(last))
        .or_else(|| table.url.as_ref().map(last))
        .ok_or("the wheel has neither a name nor a path nor an address")?;
    let sha256 = table.hashes.iter().find_map(|(algorithm, hash)| {
        let is_one = algorithm.eq_ignore_ascii_case("sha256")
            && hash.len() == 64
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| hash.to_ascii_lowercase())
    });
    Ok(LockedWheel {
        name,
        url: table.url.clone(),
        path: table.path.clone(),
        size: table.size,
        sha256,
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

    #[test]
    fn a_lock_file_is_read_and_what_is_not_known_is_passed_over() {
        let text = format!(
            r#"
lock-version = "1.3"
environments = ["sys_platform == 'linux'"]
requires-python = ">=3.9"
created-by = "somebody"
new-key = {{a = 1}}
extras = ["x"]

[[packages]]
name = "My_Project"
version = "1.0"
marker = "python_version >= '3.8'"
index = "https://example.org/simple/"
dependencies = [{{name = "b"}}]
sdist = {{url = "https://example.org/my_project-1.0.tar.gz", hashes = {{sha256 = "{HASH}"}}}}
wheels = [
    {{url = "https://example.org/f/my_project-1.0%2Bl-py3-none-any.whl?x=/y", size = 3, hashes = {{sha256 = "{HASH}", md5 = "0"}}}},
    {{path = "w/my_project-1.0-py2-none-any.whl", upload-time = 2025-01-01T00:00:00Z, hashes = {{sha512 = "0"}}}},
]

[[packages]]
name = "here"
directory = {{path = "."}}

[tool.imgtool]
requested = ["my-project[x]>=1", "?"]
removed = ["old"]
"#
        );
        let lock = LockFile::parse(&text).expect("a lock file");
        assert_eq!((lock.version.as_str(), lock.environments.len()), ("1.3", 1));
        assert_eq!(lock.requires_python.expect("versions").to_string(), ">=3.9");
        let package = &lock.packages[0];
        assert_eq!(package.name.as_ref(), "my-project");
        assert_eq!(package.place.line, 9);
        assert_eq!(package.other_source, Some("sdist"));
        assert_eq!(package.wheels[0].name, "my_project-1.0+l-py3-none-any.whl");
        assert_eq!(package.wheels[0].sha256.as_deref(), Some(HASH));
        assert_eq!(package.wheels[1].name, "my_project-1.0-py2-none-any.whl");
        assert_eq!(package.wheels[1].sha256, None);
        let here = &lock.packages[1];
        assert_eq!(
            (here.other_source, &here.version),
            (Some("directory"), &None)
        );
        assert_eq!(lock.requested[0].to_string(), "my-project[x]>=1");
        assert_eq!((lock.requested.len(), lock.removed.len()), (1, 1));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let packages = "packages = []\n";
        for (text, message) in [
            (
                format!("lock-version = \"2.0\"\n{packages}"),
                "line 1, column 16: the lock file is of version 2.0; only versions 1.x are understood",
            ),
            (
                format!("{packages}lock-version = 1"),
                "line 2, column 16: invalid type: integer `1`, expected a string",
            ),
            (
                "lock-version = \"1.0\"\n".to_owned(),
                "line 1, column 1: missing field `packages`",
            ),
            (
                "lock-version = \"1.0\"\n[[packages]]\nname = \"a b\"\n".to_owned(),
                "line 3, column 8: `a b` is not the name of a project",
            ),
            (
                "lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\nversion = \"x\"\n".to_owned(),
                "line 4, column 11: `x` is not a version",
            ),
            (
                format!("lock-version = \"1.0\"\nrequires-python = \"three\"\n{packages}"),
                "line 2, column 19: `three` are no versions of Python",
            ),
            (
                "lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\nwheels = [{size = 1}]\n"
                    .to_owned(),
                "line 4, column 11: the wheel has neither a name nor a path nor an address",
            ),
        ] {
            let error = LockFile::parse(&text).expect_err(message);
            assert_eq!(error.to_string(), message);
        }
        let text = "lock-version = \"1.0\"\nenvironments = [\"'x' in extras\"]\npackages = []\n";
        let error = LockFile::parse(text).expect_err("a marker of extras");
        assert!(
            error
                .to_string()
                .starts_with("line 2, column 17: `'x' in extras` is not a marker"),
            "{error}"
        );
    }
}
