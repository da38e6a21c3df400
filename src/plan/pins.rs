//! Pins: a decision that was made before, read from a file.
//!
//! Two forms of file hold pins: a requirements file of which every line is an exact version, as `imgtool resolve` and many
//! other tools write it, and a lock file of PEP 751. Pins mean what `pip install --no-deps` makes of them: these versions,
//! from files with these hashes, and nothing beside them. A requirement that they leave unsatisfied is an error; it is
//! never completed in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use url::Url;

use crate::environment::Environment;
use crate::package_index::{IndexFile, StoredWheel};
use crate::packaging::pylock::{LockFile, LockedPackage, LockedWheel};
use crate::packaging::requirements_file::{self, Line};
use crate::packaging::toml_place::TomlError;
use crate::packaging::wheel_name::WheelName;
use crate::packaging::{PackageName, Requirement, Version, VersionSpecifiers, specifiers};
use crate::resolution::request::Requested;
use crate::resolution::{Aim, Policy, Request, Resolution};

use super::pins_error::PinsError;

/// One pinned distribution.
#[derive(Debug, Clone)]
pub struct Pin {
    /// The pin as a requirement: `name==version` or `name===version`, without a marker.
    pub requirement: Requirement,
    /// The version that is pinned.
    pub version: Version,
    /// SHA-256 of the files that may be installed, in lower-case hexadecimal; of none, any will do.
    pub sha256s: BTreeSet<String>,
    /// The wheels, where the file says which and where they can be had; else the index is asked.
    pub wheels: Vec<IndexFile>,
    /// The address of the index that the file names for it.
    pub index: Option<String>,
    /// Whether a person asked for it, as far as the file tells; where it does not, everything in it was asked for.
    pub requested: bool,
    /// Where it is pinned, such as `pins.txt:3`.
    pub origin: String,
}

/// Pins by project, for one environment.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// The pins.
    pub pins: BTreeMap<PackageName, Pin>,
    /// What has to leave the base for them.
    pub leaving: BTreeSet<PackageName>,
}

/// A file of pins, before markers are evaluated.
#[derive(Debug, Clone)]
pub struct PinFile {
    /// What messages call it.
    name: String,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Requirements {
        lines: Vec<PinLine>,
        /// The projects that were asked for, where a comment of ours tells.
        requested: Option<BTreeSet<PackageName>>,
        leaving: BTreeSet<PackageName>,
    },
    Pylock {
        lock: LockFile,
        /// The folder of the file.
        folder: PathBuf,
    },
}

#[derive(Debug, Clone)]
struct PinLine {
    requirement: Requirement,
    version: Version,
    hashes: Vec<String>,
    line: usize,
}

impl PinFile {
    /// A requirements file; `None` where it is not one of pins: a line of it is no exact version, or cannot be read, or
    /// names another file. Options that name indexes are left to who reads those.
    #[must_use]
    pub fn of_requirements(name: &str, text: &str) -> Option<Self> {
        let mut lines = Vec::new();
        for (line, parsed) in requirements_file::parse(text).ok()? {
            match parsed {
                Line::Requirement {
                    requirement,
                    hashes,
                } => lines.push(PinLine {
                    version: pinned_version(&requirement)?,
                    requirement,
                    hashes,
                    line,
                }),
                Line::Include(_) | Line::Constraints(_) => return None,
                Line::IndexUrl(_)
                | Line::ExtraIndexUrl(_)
                | Line::FindLinks(_)
                | Line::NoIndex
                | Line::Ignored(_) => {}
            }
        }
        let comments = text.lines().filter_map(|line| line.strip_prefix('#'));
        let comments: Vec<&str> = comments.map(str::trim).collect();
        let leaving: BTreeSet<PackageName> = comments
            .iter()
            .filter_map(|comment| comment.strip_prefix("remove: ")?.trim().parse().ok())
            .collect();
        let requested = comments.first().and_then(|comment| asked_in(comment));
        if lines.is_empty() && requested.is_none() {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            content: Content::Requirements {
                lines,
                requested,
                leaving,
            },
        })
    }

    /// A lock file, `pylock.toml`. `path` is where it lies: paths in it are relative to its folder.
    ///
    /// # Errors
    /// When it is none.
    pub fn of_pylock(path: &Path, text: &str) -> Result<Self, PinsError> {
        let name = path.display().to_string();
        let lock = LockFile::parse(text).map_err(|error: TomlError| PinsError::Toml {
            file: name.clone(),
            error,
        })?;
        Ok(Self {
            name,
            content: Content::Pylock {
                lock,
                folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            },
        })
    }

    /// Whether every pin says which files it means, as installers demand with `--require-hashes`.
    #[must_use]
    pub fn has_hashes(&self) -> bool {
        match &self.content {
            Content::Requirements { lines, .. } => lines.iter().all(|line| !line.hashes.is_empty()),
            Content::Pylock { .. } => true,
        }
    }

    /// What the file means for `environment`: what does not apply there is left out.
    ///
    /// # Errors
    /// When the file is for other environments, pins something twice, or something that is no wheel.
    pub fn on(&self, environment: &Environment) -> Result<Pins, PinsError> {
        match &self.content {
            Content::Requirements {
                lines,
                requested,
                leaving,
            } => {
                let mut pins = Pins {
                    leaving: leaving.clone(),
                    ..Pins::default()
                };
                for line in lines {
                    if line.requirement.applies(&environment.markers) {
                        let asked = requested
                            .as_ref()
                            .is_none_or(|asked| asked.contains(&line.requirement.name));
                        pins.add(self.pin_of_line(line, asked)?)?;
                    }
                }
                Ok(pins)
            }
            Content::Pylock { lock, folder } => self.pins_of_lock(lock, folder, environment),
        }
    }

    fn pin_of_line(&self, line: &PinLine, requested: bool) -> Result<Pin, PinsError> {
        let origin = format!("{}:{}", self.name, line.line);
        let sha256s: BTreeSet<String> = line
            .hashes
            .iter()
            .filter_map(|hash| hash.strip_prefix("sha256:"))
            .map(str::to_ascii_lowercase)
            .collect();
        if sha256s.is_empty() && !line.hashes.is_empty() {
            return Err(PinsError::NoSha256 {
                name: line.requirement.name.clone(),
                origin,
            });
        }
        Ok(Pin {
            requirement: line.requirement.without_marker(),
            version: line.version.clone(),
            sha256s,
            wheels: Vec::new(),
            index: None,
            requested,
            origin,
        })
    }

    fn pins_of_lock(
        &self,
        lock: &LockFile,
        folder: &Path,
        environment: &Environment,
    ) -> Result<Pins, PinsError> {
        let other = |reason: String| PinsError::OtherEnvironment {
            file: self.name.clone(),
            reason,
        };
        let python = &environment.interpreter.version;
        if let Some(specifiers) = &lock.requires_python
            && !python_fits(specifiers, environment)
        {
            return Err(other(format!(
                "it is for Python {specifiers}, the base has {python}"
            )));
        }
        let applies = |marker: &pep508_rs::MarkerTree| marker.evaluate(&environment.markers, &[]);
        if !lock.environments.is_empty() && !lock.environments.iter().any(applies) {
            let environments: Vec<String> = lock
                .environments
                .iter()
                .filter_map(pep508_rs::MarkerTree::try_to_string)
                .map(|marker| format!("`{marker}`"))
                .collect();
            return Err(other(format!(
                "it is for {}, the base has Python {python} on {}",
                environments.join(" or "),
                environment.platform.architecture
            )));
        }
        let mut pins = Pins {
            leaving: lock.removed.iter().cloned().collect(),
            ..Pins::default()
        };
        for package in &lock.packages {
            if package.marker.as_ref().is_none_or(applies) {
                let requested = lock.requested.is_empty()
                    || lock
                        .requested
                        .iter()
                        .any(|asked| asked.name == package.name);
                pins.add(self.pin_of_package(package, folder, requested, environment)?)?;
            }
        }
        Ok(pins)
    }

    fn pin_of_package(
        &self,
        package: &LockedPackage,
        folder: &Path,
        requested: bool,
        environment: &Environment,
    ) -> Result<Pin, PinsError> {
        let origin = format!("{}:{}", self.name, package.place.line);
        let refused = |reason: String| PinsError::NotInstallable {
            name: package.name.clone(),
            version: package
                .version
                .as_ref()
                .map_or_else(|| "without a version".to_owned(), ToString::to_string),
            origin: origin.clone(),
            reason,
        };
        if package.wheels.is_empty() {
            return Err(refused(
                match package.other_source {
                    Some("vcs") => "it comes from a repository, and imgtool installs wheels only",
                    Some("directory") => "it comes from a folder, and imgtool installs wheels only",
                    Some("archive") => "it comes from an archive, and imgtool installs wheels only",
                    Some(_) => {
                        "it has no wheel, only a source distribution, which would have to be built"
                    }
                    None => "it has no wheel",
                }
                .to_owned(),
            ));
        }
        let Some(version) = &package.version else {
            return Err(refused("its wheels have no version".to_owned()));
        };
        if let Some(specifiers) = &package.requires_python
            && !python_fits(specifiers, environment)
        {
            return Err(refused(format!(
                "it is for Python {specifiers}, the base has {}",
                environment.interpreter.version
            )));
        }
        let mut wheels = Vec::with_capacity(package.wheels.len());
        for wheel in &package.wheels {
            if wheel.sha256.is_none() {
                return Err(PinsError::NoSha256 {
                    name: package.name.clone(),
                    origin,
                });
            }
            if let Some(url) = address(wheel, folder) {
                wheels.push(IndexFile {
                    filename: wheel.name.clone(),
                    url,
                    sha256: wheel.sha256.clone(),
                    size: wheel.size,
                    requires_python: package.requires_python.as_ref().map(ToString::to_string),
                    yanked: None,
                    core_metadata: None,
                    upload_time: None,
                });
            }
        }
        let requirement = exactly(&package.name, version)
            .ok_or_else(|| refused("its version cannot be asked for".to_owned()))?;
        Ok(Pin {
            requirement,
            version: version.clone(),
            sha256s: package
                .wheels
                .iter()
                .filter_map(|wheel| wheel.sha256.clone())
                .collect(),
            wheels,
            index: package.index.clone(),
            requested,
            origin,
        })
    }
}

impl Pins {
    /// Wheels of this machine as pins, each with the version that its name says.
    ///
    /// # Errors
    /// When a file has not the name of a wheel, or two are of one project.
    pub fn of_wheels(paths: &[PathBuf]) -> Result<Self, PinsError> {
        let mut pins = Self::default();
        for path in paths {
            let origin = path.display().to_string();
            let file_name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let not_a_wheel = || PinsError::NotAWheel(origin.clone());
            let name: WheelName = file_name.parse().map_err(|_| not_a_wheel())?;
            let url = std::path::absolute(path)
                .ok()
                .and_then(|path| Url::from_file_path(path).ok())
                .ok_or_else(not_a_wheel)?;
            pins.add(Pin {
                requirement: exactly(&name.name, &name.version).ok_or_else(not_a_wheel)?,
                version: name.version,
                sha256s: BTreeSet::new(),
                wheels: vec![IndexFile {
                    filename: file_name,
                    url: url.into(),
                    sha256: None,
                    size: None,
                    requires_python: None,
                    yanked: None,
                    core_metadata: None,
                    upload_time: None,
                }],
                index: None,
                requested: true,
                origin,
            })?;
        }
        Ok(pins)
    }

    /// Adds a pin.
    ///
    /// # Errors
    /// When its project is pinned already.
    pub fn add(&mut self, pin: Pin) -> Result<(), PinsError> {
        if let Some(first) = self.pins.get(&pin.requirement.name) {
            return Err(PinsError::Twice {
                name: pin.requirement.name,
                first: first.origin.clone(),
                second: pin.origin,
            });
        }
        self.pins.insert(pin.requirement.name.clone(), pin);
        Ok(())
    }

    /// A request for exactly these versions.
    #[must_use]
    pub fn to_request(&self) -> Request {
        let requirements = self.pins.values().map(|pin| Requested {
            requirement: pin.requirement.clone(),
            origin: Some(pin.origin.clone()),
        });
        Request {
            requirements: requirements.collect(),
            ..Request::default()
        }
    }

    /// What of a base the pins change: what they pin in another version than the one that is installed, and what they say
    /// has to leave. Everything else is held.
    #[must_use]
    pub fn policy(&self, environment: &Environment) -> Policy {
        let installed = |name: &PackageName| environment.distributions.get(name);
        let may_change = self.pins.values().filter(|pin| {
            installed(&pin.requirement.name)
                .is_some_and(|installed| !pin.accepts(&installed.version))
        });
        let may_leave = self.leaving.iter().filter(|name| installed(name).is_some());
        Policy {
            may_change: may_change.map(|pin| pin.requirement.name.clone()).collect(),
            may_leave: may_leave.cloned().collect(),
            ..Policy::with_aim(Aim::Hold)
        }
    }

    /// What a person should know of a resolution of [`Self::to_request`]: what the pins say has to leave, and stays.
    #[must_use]
    pub fn notes(&self, resolution: &Resolution, environment: &Environment) -> Vec<String> {
        self.leaving
            .iter()
            .filter(|name| environment.distributions.contains_key(*name))
            .filter(|name| {
                resolution
                    .removed
                    .iter()
                    .all(|removal| removal.name != **name)
            })
            .map(|name| format!("{name} stays, although the pins say that it has to leave: nothing is in its way"))
            .collect()
    }

    /// Whether a wheel of `name` that was fetched is one that the pins mean.
    ///
    /// # Errors
    /// When its hash is not among the pinned ones.
    pub fn vouch_for(&self, name: &PackageName, wheel: &StoredWheel) -> Result<(), PinsError> {
        match self.pins.get(name) {
            Some(pin) if !pin.sha256s.is_empty() && !pin.sha256s.contains(&wheel.sha256) => {
                Err(pin.other_hash(format!("{} has sha256:{}", wheel.file_name, wheel.sha256)))
            }
            _ => Ok(()),
        }
    }
}

impl Pin {
    /// The project that is pinned.
    #[must_use]
    pub fn name(&self) -> &PackageName {
        &self.requirement.name
    }

    /// Whether `version` is what is pinned: `==2.8.0` is satisfied by 2.8.0+cu126, too.
    #[must_use]
    pub fn accepts(&self, version: &Version) -> bool {
        specifiers::allows(&self.requirement.specifiers, version)
    }

    /// The error of files with other hashes, of which `found` tells.
    pub(super) fn other_hash(&self, found: String) -> PinsError {
        let mut pinned: Vec<String> = self
            .sha256s
            .iter()
            .take(2)
            .map(|hash| format!("sha256:{hash}"))
            .collect();
        if self.sha256s.len() > pinned.len() {
            pinned.push(format!("{} more", self.sha256s.len() - pinned.len()));
        }
        PinsError::OtherHash {
            name: self.requirement.name.clone(),
            version: self.version.to_string(),
            origin: self.origin.clone(),
            pinned: pinned.join(", "),
            found,
        }
    }

    /// The error of a pin of which nothing can be installed.
    pub(super) fn not_installable(&self, reason: String) -> PinsError {
        PinsError::NotInstallable {
            name: self.requirement.name.clone(),
            version: self.version.to_string(),
            origin: self.origin.clone(),
            reason,
        }
    }
}

/// The version that a requirement pins: it has one specifier, and that is exact.
fn pinned_version(requirement: &Requirement) -> Option<Version> {
    let mut all = requirement.specifiers.iter();
    let only = all.next()?;
    let is_exact = all.next().is_none()
        && requirement.url.is_none()
        && specifiers::pins_exactly(&requirement.specifiers)
        // A text that is no version is not one that an index has.
        && specifiers::allows(&requirement.specifiers, only.version());
    is_exact.then(|| only.version().clone())
}

/// `name===version`: of a lock file every letter counts.
pub(super) fn exactly(name: &PackageName, version: &Version) -> Option<Requirement> {
    let operator = if version.is_local() { "===" } else { "==" };
    Requirement::from_str(&format!("{name}{operator}{version}")).ok()
}

fn python_fits(specifiers: &VersionSpecifiers, environment: &Environment) -> bool {
    Version::from_str(&environment.interpreter.version)
        .is_ok_and(|python| specifiers::allows(specifiers, &python))
}

/// Where a wheel of a lock file can be had: its path where there is one, relative to `folder`.
fn address(wheel: &LockedWheel, folder: &Path) -> Option<String> {
    match (&wheel.path, &wheel.url) {
        (Some(path), _) => {
            let path = std::path::absolute(folder.join(path)).ok()?;
            Url::from_file_path(path).ok().map(Into::into)
        }
        (None, Some(url)) => Some(url.clone()),
        (None, None) => None,
    }
}

/// The projects that the first comment of a file of ours says were asked for.
fn asked_in(comment: &str) -> Option<BTreeSet<PackageName>> {
    if comment.starts_with("Nothing is asked of ") {
        return Some(BTreeSet::new());
    }
    let (_, asked) = comment
        .strip_prefix("What to add to ")?
        .strip_suffix('.')?
        .split_once(" for ")?;
    let asked = asked
        .split_whitespace()
        .map(|text| Requirement::from_str(text).map(|requirement| requirement.name));
    asked.collect::<Result<_, _>>().ok()
}
