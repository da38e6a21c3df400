//! The versions of a project that could be installed at all, and why the others could not.
//!
//! Order: stable versions from the newest to the oldest, then pre-releases likewise. So a pre-release is chosen only
//! where no stable version will do, whether or not a specifier names one (the present rule of uv; pip's result where
//! a requirement asks for a pre-release is the same unless a stable version fits too).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::environment::Environment;
use crate::package_index::{FileRecord, Foresight, IndexFile, Project, ProjectVersion};
use crate::packaging::metadata::{CoreMetadata, parse_requires_python};
use crate::packaging::tags::WheelTags;
use crate::packaging::wheel_name::{WheelName, tags_of};
use crate::packaging::{
    MarkerEnvironment, PackageName, Version, VersionSet, VersionSpecifiers, specifiers,
};

use super::request::Request;

/// Why a version of a project is no candidate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusion {
    /// Its files are for other versions of Python.
    RequiresPython(String),
    /// It has wheels, but none for the platform or the interpreter of the base.
    NoCompatibleWheel {
        /// Whether there is a source distribution, which would have to be built.
        source: bool,
    },
    /// It has no wheel, only a source distribution, which would have to be built.
    OnlySource,
    /// It was yanked from the index, for the reason given.
    Yanked(String),
    /// A constraint of the request rules it out.
    Constraint(String),
    /// Its files were uploaded at the time that the request ends at (`--exclude-newer`), or later: that time.
    TooNew(String),
    /// The request ends at a time, and the index does not say when its files were uploaded.
    UploadTimeUnknown,
}

/// A version that can be installed.
#[derive(Debug)]
pub struct Installable {
    /// The wheel that suits the interpreter best.
    pub wheel: IndexFile,
    /// Every wheel that the interpreter could install, best first; the first is `wheel`.
    pub compatible: Vec<IndexFile>,
}

/// What decides whether a file may be installed on the base for the request. Shared with the threads that fetch ahead.
#[derive(Debug)]
pub struct Admission {
    tags: WheelTags,
    python: Option<Version>,
    /// Versions that the request pins with `==`: these may be yanked.
    pinned: BTreeMap<PackageName, Vec<VersionSpecifiers>>,
    /// Constraints of the request: the text of each, and the versions it leaves.
    constraints: BTreeMap<PackageName, Vec<(String, VersionSet)>>,
    /// Files that were uploaded at this time or later do not exist for the request.
    exclude_newer: Option<jiff::Timestamp>,
}

impl Admission {
    /// The rules for `request` on `environment`.
    #[must_use]
    pub fn new(environment: &Environment, request: &Request) -> Self {
        let mut pinned: BTreeMap<PackageName, Vec<VersionSpecifiers>> = BTreeMap::new();
        for requested in &request.requirements {
            let requirement = &requested.requirement;
            if specifiers::pins_exactly(&requirement.specifiers) {
                pinned
                    .entry(requirement.name.clone())
                    .or_default()
                    .push(requirement.specifiers.clone());
            }
        }
        let mut constraints: BTreeMap<PackageName, Vec<(String, VersionSet)>> = BTreeMap::new();
        for requested in &request.constraints {
            let requirement = requested.requirement.without_marker();
            let text = match &requested.origin {
                Some(origin) => format!("{requirement} ({origin})"),
                None => requirement.to_string(),
            };
            constraints
                .entry(requirement.name.clone())
                .or_default()
                .push((text, requirement.version_set()));
        }
        Self {
            tags: environment.tags.clone(),
            python: Version::from_str(&environment.interpreter.version).ok(),
            pinned,
            constraints,
            exclude_newer: request.exclude_newer,
        }
    }

    /// Why a file does not exist for the request, if it does not: the rule of `--exclude-newer`.
    fn out_of_time(&self, file: &FileRecord<'_>) -> Option<Exclusion> {
        let end = self.exclude_newer?;
        match file.is_before(end) {
            Some(true) => None,
            Some(false) => Some(Exclusion::TooNew(moment(end))),
            None => Some(Exclusion::UploadTimeUnknown),
        }
    }

    /// Whether a version with these files exists for the request.
    fn is_in_time<'f>(&self, mut files: impl Iterator<Item = FileRecord<'f>>) -> bool {
        self.exclude_newer.is_none() || files.any(|file| self.out_of_time(&file).is_none())
    }

    /// The constraints of the request on `name`: the text of each, and the versions it leaves.
    #[must_use]
    pub fn constraints(&self, name: &PackageName) -> &[(String, VersionSet)] {
        self.constraints.get(name).map_or(&[], Vec::as_slice)
    }

    fn may_be_yanked(&self, name: &PackageName, version: &Version) -> bool {
        self.pinned
            .get(name)
            .is_some_and(|pins| pins.iter().any(|pin| specifiers::allows(pin, version)))
    }

    /// Whether an interpreter that must satisfy `requires_python` can be that of the base. What cannot be parsed says
    /// nothing, as in pip.
    fn python_fits(&self, requires_python: &str) -> bool {
        match (&self.python, parse_requires_python(requires_python)) {
            (Some(python), Some(specifiers)) => specifiers::allows(&specifiers, python),
            _ => true,
        }
    }

    fn python_fits_remembered(
        &self,
        requires_python: &str,
        fits: &mut FxHashMap<String, bool>,
    ) -> bool {
        if let Some(known) = fits.get(requires_python) {
            return *known;
        }
        let answer = self.python_fits(requires_python);
        fits.insert(requires_python.to_owned(), answer);
        answer
    }

    /// Judges one version of a project by its files, in the order of their names. `fits` remembers what each
    /// Requires-Python came to: the versions of a project share a handful.
    fn judge<'f>(
        &self,
        name: &PackageName,
        version: &Version,
        files: impl Iterator<Item = FileRecord<'f>>,
        fits: &mut FxHashMap<String, bool>,
    ) -> Result<Installable, Exclusion> {
        for (text, allowed) in self.constraints(name) {
            if !allowed.contains(version) {
                return Err(Exclusion::Constraint(text.clone()));
            }
        }
        let may_be_yanked = self.may_be_yanked(name, version);
        let mut compatible = Vec::new();
        let mut wrong_python = None;
        let mut yanked = None;
        let mut other_wheels = false;
        let mut source = false;
        let mut out_of_time = None;
        for file in files {
            if let Some(exclusion) = self.out_of_time(&file) {
                // That a file is known to be too new says more than that of another nothing is known.
                out_of_time = Some(match out_of_time {
                    Some(other) => exclusion.min(other),
                    None => exclusion,
                });
                continue;
            }
            if let Some(requires_python) = file.requires_python
                && !self.python_fits_remembered(requires_python, fits)
            {
                wrong_python = Some(requires_python);
                continue;
            }
            if let (Some(reason), false) = (file.yanked, may_be_yanked) {
                yanked = Some(reason);
                continue;
            }
            let Some((build, tags)) = tags_of(file.filename) else {
                source = true;
                continue;
            };
            match self.tags.priority_of(tags.each_ref().map(|tag| &**tag)) {
                None => other_wheels = true,
                Some(priority) => {
                    let build = build.map(|(number, rest)| (number, rest.to_owned()));
                    compatible.push((priority, std::cmp::Reverse(build), file.to_file()));
                }
            }
        }
        compatible.sort_by(|a, b| (&a.0, &a.1, &a.2.filename).cmp(&(&b.0, &b.1, &b.2.filename)));
        let compatible: Vec<IndexFile> = compatible.into_iter().map(|(_, _, file)| file).collect();
        match compatible.first() {
            Some(best) => Ok(Installable {
                wheel: best.clone(),
                compatible,
            }),
            None => Err(if let Some(requires_python) = wrong_python {
                Exclusion::RequiresPython(requires_python.to_owned())
            } else if let Some(reason) = yanked {
                Exclusion::Yanked(reason.to_owned())
            } else if other_wheels {
                Exclusion::NoCompatibleWheel { source }
            } else if let (Some(exclusion), false) = (out_of_time, source) {
                exclusion
            } else {
                Exclusion::OnlySource
            }),
        }
    }
}

/// Which versions of a project have their turn together.
#[derive(Debug, Clone, Copy)]
struct Turn {
    rank: u32,
    prereleases: bool,
}

impl Turn {
    fn has(self, version: &ProjectVersion) -> bool {
        version.rank == self.rank && version.version.any_prerelease() == self.prereleases
    }
}

/// The turns in which the versions of a project are tried: those of an earlier index, where that matters, before those
/// of a later one; of one index, pre-releases last.
fn turns(project: Option<&Project>) -> impl Iterator<Item = Turn> {
    let last = project.map_or(0, Project::last_rank);
    (0..=last).flat_map(|rank| [false, true].map(|prereleases| Turn { rank, prereleases }))
}

/// A point in time for people: of midnight in UTC only the day.
#[must_use]
pub fn moment(time: jiff::Timestamp) -> String {
    let text = time.to_string();
    text.strip_suffix("T00:00:00Z")
        .map_or(text.clone(), str::to_owned)
}

/// A judged version, or a version that nobody has asked about yet.
type Judgement = Option<Result<Rc<Installable>, Exclusion>>;

/// The candidates of one project. Versions are judged when they are first looked at: most never are.
pub struct Candidates {
    name: PackageName,
    project: Option<Arc<Project>>,
    admission: Arc<Admission>,
    judged: RefCell<Vec<Judgement>>,
    fits: RefCell<FxHashMap<String, bool>>,
}

impl Candidates {
    /// The candidates among what an index offers; `None` for a project that no index knows.
    #[must_use]
    pub fn new(
        name: PackageName,
        project: Option<Arc<Project>>,
        admission: Arc<Admission>,
    ) -> Self {
        let count = project
            .as_ref()
            .map_or(0, |project| project.versions().len());
        Self {
            name,
            project,
            admission,
            judged: RefCell::new(vec![None; count]),
            fits: RefCell::default(),
        }
    }

    /// Whether an index knows the project.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.project.is_some()
    }

    fn versions(&self) -> &[ProjectVersion] {
        self.project
            .as_ref()
            .map_or(&[], |project| project.versions())
    }

    fn judge(&self, position: usize) -> Result<Rc<Installable>, Exclusion> {
        if let Some(judgement) = &self.judged.borrow()[position] {
            return judgement.clone();
        }
        let version = &self.versions()[position];
        let files = self
            .project
            .iter()
            .flat_map(|project| project.records(version));
        let judgement = self
            .admission
            .judge(
                &self.name,
                &version.version,
                files,
                &mut self.fits.borrow_mut(),
            )
            .map(Rc::new);
        self.judged.borrow_mut()[position] = Some(judgement.clone());
        judgement
    }

    /// The candidates in `range`, in the order in which they are tried.
    pub fn in_order<'a>(
        &'a self,
        range: &'a VersionSet,
    ) -> impl Iterator<Item = (&'a Version, Rc<Installable>)> {
        turns(self.project.as_deref())
            .flat_map(move |turn| {
                self.versions()
                    .iter()
                    .enumerate()
                    .filter(move |(_, version)| turn.has(version))
            })
            .filter(move |(_, version)| range.contains(&version.version))
            .filter_map(move |(position, version)| {
                Some((&version.version, self.judge(position).ok()?))
            })
    }

    /// What is installed when `version` is chosen; `None` for a version that is no candidate.
    #[must_use]
    pub fn installable(&self, version: &Version) -> Option<Rc<Installable>> {
        let position = self
            .versions()
            .iter()
            .position(|known| known.version == *version)?;
        self.judge(position).ok()
    }

    /// The source distributions of `version` that exist for the request.
    #[must_use]
    pub fn sources(&self, version: &Version) -> Vec<IndexFile> {
        let Some(project) = &self.project else {
            return Vec::new();
        };
        let known = project
            .versions()
            .iter()
            .find(|known| known.version == *version);
        known
            .into_iter()
            .flat_map(|known| project.records(known))
            .filter(|file| tags_of(file.filename).is_none())
            .filter(|file| self.admission.out_of_time(file).is_none())
            .map(|file| file.to_file())
            .collect()
    }

    /// The versions in `range` that are no candidates, newest first, each with the reason.
    #[must_use]
    pub fn excluded(&self, range: &VersionSet) -> Vec<(Version, Exclusion)> {
        self.versions()
            .iter()
            .enumerate()
            .filter(|(_, version)| range.contains(&version.version))
            .filter_map(|(position, version)| {
                Some((version.version.clone(), self.judge(position).err()?))
            })
            .collect()
    }

    /// Every version that an index knows, newest first; with `--exclude-newer`, that it knew then.
    pub fn known_versions(&self) -> impl DoubleEndedIterator<Item = &Version> {
        self.versions()
            .iter()
            .filter(|version| {
                self.admission.is_in_time(
                    self.project
                        .iter()
                        .flat_map(|project| project.records(version)),
                )
            })
            .map(|version| &version.version)
    }

    /// The turn of `version` among the indexes; `None` for a version that none has. See [`ProjectVersion::rank`].
    #[must_use]
    pub fn rank_of(&self, version: &Version) -> Option<u32> {
        let known = self
            .versions()
            .iter()
            .find(|known| known.version == *version);
        known.map(|known| known.rank)
    }

    /// How many versions lie in `range`, candidates or not.
    #[must_use]
    pub fn count_in(&self, range: &VersionSet) -> usize {
        self.versions()
            .iter()
            .filter(|version| range.contains(&version.version))
            .count()
    }
}

/// Looks ahead of the solver, by the solver's own rules.
pub struct Outlook {
    admission: Admission,
    held: BTreeSet<PackageName>,
    markers: MarkerEnvironment,
}

impl Outlook {
    /// What a solver of `request` on `environment` will ask for.
    #[must_use]
    pub fn new(environment: &Environment, request: &Request) -> Self {
        Self {
            admission: Admission::new(environment, request),
            held: environment.distributions.keys().cloned().collect(),
            markers: environment.markers.clone(),
        }
    }
}

impl Foresight for Outlook {
    fn likely_wheel(&self, project: &Project, versions: &VersionSet) -> Option<IndexFile> {
        let mut fits = FxHashMap::default();
        for turn in turns(Some(project)) {
            for version in project.versions() {
                if !turn.has(version) || !versions.contains(&version.version) {
                    continue;
                }
                let name = project
                    .records(version)
                    .find_map(|file| WheelName::from_str(file.filename).ok())
                    .map(|wheel| wheel.name);
                if let Some(name) = name
                    && let Ok(installable) = self.admission.judge(
                        &name,
                        &version.version,
                        project.records(version),
                        &mut fits,
                    )
                {
                    return Some(installable.wheel);
                }
            }
        }
        None
    }

    fn likely_projects(&self, metadata: &CoreMetadata) -> Vec<(PackageName, VersionSet)> {
        metadata
            .requires_dist
            .iter()
            .filter(|requirement| !self.held.contains(&requirement.name))
            .filter(|requirement| requirement.applies(&self.markers))
            .map(|requirement| (requirement.name.clone(), requirement.version_set()))
            .collect()
    }
}
