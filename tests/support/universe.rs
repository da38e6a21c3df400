//! A universe of projects as a test or a scenario states it: served from memory, over HTTP, or installed in a base.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use imgtool::environment::{Environment, InstalledDistribution, RecordKind};
use imgtool::packaging::{PackageName, Requirement, Version};
use imgtool::resolution::request::{Request, Requested};
use serde_json::json;

use super::index_server::{Builder, IndexServer, ServedFile};
use super::memory_index::{File, MemoryIndex};
use super::wheel;

/// One version of a project.
#[derive(Debug, Clone, Default)]
pub struct Release {
    /// The version, as it is written.
    pub version: String,
    /// `Requires-Dist`, those of extras included.
    pub requires: Vec<String>,
    /// `Provides-Extra`.
    pub extras: Vec<String>,
    /// `Requires-Python`.
    pub requires_python: Option<String>,
    /// Why it is yanked.
    pub yanked: Option<String>,
    /// `python-abi-platform` of each wheel.
    pub wheels: Vec<String>,
    /// Whether there is a source distribution.
    pub source: bool,
}

impl Release {
    /// A release with one wheel for every platform.
    pub fn new(version: &str, requires: &[&str]) -> Self {
        Self {
            version: version.to_owned(),
            requires: requires.iter().map(|text| (*text).to_owned()).collect(),
            wheels: vec!["py3-none-any".to_owned()],
            ..Self::default()
        }
    }
}

/// Projects and their releases.
#[derive(Clone, Default)]
pub struct Universe(pub BTreeMap<String, Vec<Release>>);

impl Universe {
    /// An index in memory that offers the universe.
    pub fn memory_index(&self) -> MemoryIndex {
        let mut index = MemoryIndex::default();
        for (name, release) in self.releases() {
            let requires: Vec<&str> = release.requires.iter().map(String::as_str).collect();
            let extras: Vec<&str> = release.extras.iter().map(String::as_str).collect();
            let file = File {
                tags: "",
                requires_python: release.requires_python.as_deref(),
                yanked: release.yanked.as_deref(),
                uploaded: None,
                requires: &requires,
                extras: &extras,
            };
            for tags in &release.wheels {
                index.add_wheel(
                    name,
                    &release.version,
                    &File {
                        tags,
                        ..file.clone()
                    },
                );
            }
            if release.source {
                index.add_source(name, &release.version, &file);
            }
        }
        index
    }

    /// An index server that offers the universe; `padding` bytes make its wheels too large to be fetched whole.
    pub fn server(&self, padding: usize) -> Builder {
        let mut builder = IndexServer::builder();
        for (name, release) in self.releases() {
            builder = builder.project(name);
            let version = &release.version;
            let mut page = json!({});
            let mut headers = String::new();
            if let Some(requires_python) = &release.requires_python {
                page["requires-python"] = json!(requires_python);
                let _ = writeln!(headers, "Requires-Python: {requires_python}");
            }
            if let Some(reason) = &release.yanked {
                page["yanked"] = json!(reason);
            }
            for requirement in &release.requires {
                let _ = writeln!(headers, "Requires-Dist: {requirement}");
            }
            for extra in &release.extras {
                let _ = writeln!(headers, "Provides-Extra: {extra}");
            }
            for tags in &release.wheels {
                let filename = format!("{}-{version}-{tags}.whl", name.replace('-', "_"));
                let metadata = wheel::metadata(name, version, &headers);
                builder = builder.file(ServedFile {
                    bytes: Some(wheel::synthesize(&filename, &metadata, padding, false)),
                    filename,
                    metadata: Some(metadata),
                    page: page.clone(),
                });
            }
            if release.source {
                builder = builder.file(ServedFile {
                    filename: format!("{name}-{version}.tar.gz"),
                    bytes: Some(Vec::new()),
                    metadata: None,
                    page,
                });
            }
        }
        builder
    }

    /// Every release with the name of its project.
    pub fn releases(&self) -> impl Iterator<Item = (&str, &Release)> {
        self.0
            .iter()
            .flat_map(|(name, releases)| releases.iter().map(move |it| (name.as_str(), it)))
    }
}

/// One line for each release: what a failing test is read by.
impl fmt::Debug for Universe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, release) in self.releases() {
            write!(f, "\n  {name} {} {:?}", release.version, release.requires)?;
            for (what, value) in [
                ("yanked", &release.yanked),
                ("python", &release.requires_python),
            ] {
                if let Some(value) = value {
                    write!(f, " {what}: {value}")?;
                }
            }
            if release.wheels.is_empty() {
                f.write_str(" (no wheel)")?;
            }
        }
        Ok(())
    }
}

/// Installs a release, with the metadata that it has.
pub fn install(environment: &mut Environment, name: &str, release: &Release) {
    let name = PackageName::from_str(name).expect("a name");
    environment.distributions.insert(
        name.clone(),
        InstalledDistribution {
            name,
            version: Version::from_str(&release.version).expect("a version"),
            version_text: release.version.clone(),
            requires_dist: release.requires.clone(),
            requires_python: release.requires_python.clone(),
            provides_extra: release.extras.clone(),
            import_names: Vec::new(),
            location: String::new(),
            installer: None,
            record: RecordKind::Snapshot,
            editable: None,
        },
    );
}

/// A request of the command line; markers are evaluated as the program does.
pub fn request<T: AsRef<str>>(environment: &Environment, requirements: &[T]) -> Request {
    Request {
        requirements: requirements
            .iter()
            .map(|text| {
                let requirement = Requirement::from_str(text.as_ref()).expect("a requirement");
                Requested::on_command_line(requirement)
            })
            .filter(|requested| requested.requirement.applies(&environment.markers))
            .collect(),
        ..Request::default()
    }
}
