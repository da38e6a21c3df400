//! The facts of a request, a base and an index, in the form in which PubGrub asks for them.
//!
//! How each rule is told to the solver:
//!
//! - *The base is held*: an installed distribution has one version, its own, and nothing of it is told before somebody
//!   requires it. Requirements within the base need not be told at all, because both ends of each are fixed; those that
//!   are violated already must not be told.
//! - *A requirement of the base on a project that is not installed* binds the project without bringing it in. PubGrub
//!   knows only "requires", so it is turned around: a version that the requirement rules out requires its requirer in
//!   any version but the installed one, which is not to be had.
//! - *Extras* are packages of their own (see [`SolverPackage::Extra`]).
//! - *Constraints* leave candidates out; on a held distribution they narrow what each requirement on it accepts.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use pubgrub::{
    Dependencies, DependencyConstraints, DependencyProvider, DerivationTree,
    PackageResolutionStatistics,
};
use rustc_hash::FxHashMap;

use crate::environment::{Environment, InstalledDistribution};
use crate::package_index::{IndexError, PackageIndex};
use crate::packaging::metadata::CoreMetadata;
use crate::packaging::requirement::presentable;
use crate::packaging::{ExtraName, PackageName, Requirement, Version, VersionSet, specifiers};

use super::base::{self, BaseFacts};
use super::candidates::{Admission, Candidates};
use super::package::SolverPackage;
use super::request::Request;

/// The proof that a request cannot be satisfied.
pub type Derivation = DerivationTree<SolverPackage, VersionSet, Unusable>;

/// A candidate that turned out not to be installable once its metadata was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Its metadata breaks the specification.
    InvalidMetadata(String),
    /// Its metadata asks for another Python than its page on the index said.
    RequiresPython(String),
    /// It requires a direct reference, which is not on an index.
    DirectReference(String),
    /// It requires another version of itself.
    RequiresItself(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidMetadata(reason) => write!(f, "its metadata is invalid: {reason}"),
            Self::RequiresPython(specifiers) => write!(f, "it requires Python {specifiers}"),
            Self::DirectReference(requirement) => {
                write!(
                    f,
                    "it requires `{requirement}`, which is not a version on an index"
                )
            }
            Self::RequiresItself(requirement) => {
                write!(f, "it requires `{requirement}`, another version of itself")
            }
        }
    }
}

/// The version of [`SolverPackage::Root`].
#[must_use]
pub fn root_version() -> Version {
    Version::new([0])
}

/// What the solver decides on: most pressing first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Every other project, the earlier met the earlier decided.
    Ordinary,
    /// Its range has been narrowed to one version.
    OneVersion,
    /// Stands in the way of others again and again: deciding it early spares backtracking.
    Contested,
    /// Asked for by the user, whose newest version matters most.
    Requested,
    /// Installed: there is nothing to decide.
    Held,
    /// The root.
    Root,
}

/// How many conflicts, or failed candidates of a requested project, make a project contested.
const CONTESTED: u32 = 5;

/// How many candidates of a project are tried before those that come next are fetched in bulk.
const TRIES_BEFORE_BULK: u32 = 2;

/// How many candidates the first bulk has; every further one has this many times what has been tried by then.
const BULK: u32 = 3;

/// The dependency provider of one resolution.
pub struct Provider<'a> {
    pub(super) environment: &'a Environment,
    pub(super) base: &'a BaseFacts<'a>,
    index: &'a dyn PackageIndex,
    pub(super) request: &'a Request,
    admission: Arc<Admission>,
    python: Option<Version>,
    candidates: RefCell<FxHashMap<PackageName, Rc<Candidates>>>,
    order: RefCell<FxHashMap<PackageName, u32>>,
    chosen: RefCell<FxHashMap<PackageName, Version>>,
    tries: RefCell<FxHashMap<PackageName, u32>>,
    promoted: RefCell<Option<PackageName>>,
}

impl<'a> Provider<'a> {
    /// A provider for one resolution.
    #[must_use]
    pub fn new(
        environment: &'a Environment,
        base: &'a BaseFacts<'a>,
        index: &'a dyn PackageIndex,
        request: &'a Request,
        admission: Arc<Admission>,
    ) -> Self {
        let provider = Self {
            environment,
            base,
            index,
            request,
            admission,
            python: environment.interpreter.version.parse().ok(),
            candidates: RefCell::default(),
            order: RefCell::default(),
            chosen: RefCell::default(),
            tries: RefCell::default(),
            promoted: RefCell::default(),
        };
        for requested in &request.requirements {
            provider.order_of(&requested.requirement.name);
            if provider.held(&requested.requirement.name).is_none() {
                index.prefetch(
                    &requested.requirement.name,
                    &requested.requirement.version_set(),
                );
            }
        }
        provider
    }

    /// Chooses a requested project to be decided before the others in another attempt: one whose candidates failed
    /// one after the other because of what an earlier requested project was decided to be. PubGrub alone would search
    /// that project down to a version so old that it has no opinion any more, and call it a solution.
    ///
    /// Returns whether another attempt can change the answer; every project is promoted at most once.
    pub(super) fn promote_contested(&self, already: &mut Vec<PackageName>) -> bool {
        let contested = {
            let tries = self.tries.borrow();
            let mut requested = self
                .request
                .requirements
                .iter()
                .map(|requested| &requested.requirement.name);
            let first = requested.find(|name| self.held(name).is_none());
            requested
                .find(|name| {
                    Some(*name) != first
                        && !already.contains(name)
                        && tries.get(*name).is_some_and(|tries| *tries > CONTESTED)
                })
                .cloned()
        };
        let Some(name) = contested else {
            return false;
        };
        already.push(name.clone());
        *self.promoted.borrow_mut() = Some(name);
        self.tries.borrow_mut().clear();
        self.chosen.borrow_mut().clear();
        true
    }

    /// The installed distribution of that name.
    pub(super) fn held(&self, name: &PackageName) -> Option<&'a InstalledDistribution> {
        self.environment.distributions.get(name)
    }

    /// The candidates of a project that is not installed.
    pub(super) fn candidates(&self, name: &PackageName) -> Result<Rc<Candidates>, IndexError> {
        if let Some(candidates) = self.candidates.borrow().get(name) {
            return Ok(Rc::clone(candidates));
        }
        let project = self.index.project(name)?;
        let candidates = Rc::new(Candidates::new(
            name.clone(),
            project,
            Arc::clone(&self.admission),
        ));
        self.candidates
            .borrow_mut()
            .insert(name.clone(), Rc::clone(&candidates));
        Ok(candidates)
    }

    /// The metadata of a candidate; the inner error says why it cannot be used.
    pub(super) fn metadata(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Result<Arc<CoreMetadata>, Unusable>, IndexError> {
        let Some(installable) = self.candidates(name)?.installable(version) else {
            return Ok(Err(Unusable::InvalidMetadata(
                "there is no such candidate".to_owned(),
            )));
        };
        Ok(self
            .index
            .metadata(&installable.wheel)?
            .map_err(Unusable::InvalidMetadata))
    }

    /// The requirements, markers evaluated, that a version of a project has with `extra`, or without one.
    pub(super) fn requirements(
        &self,
        name: &PackageName,
        version: &Version,
        extra: Option<&ExtraName>,
    ) -> Result<Result<Vec<Requirement>, Unusable>, IndexError> {
        let markers = &self.environment.markers;
        if let Some(distribution) = self.held(name) {
            return Ok(Ok(extra.map_or_else(Vec::new, |extra| {
                base::requirements_of_extra(distribution, extra, markers)
            })));
        }
        let metadata = match self.metadata(name, version)? {
            Ok(metadata) => metadata,
            Err(unusable) => return Ok(Err(unusable)),
        };
        let mut requirements = metadata.requires_dist.clone();
        let Some(extra) = extra else {
            requirements.retain(|requirement| requirement.applies(markers));
            return Ok(Ok(requirements));
        };
        match metadata.requires_with_extra(extra) {
            Ok(of_extras) => requirements.extend(of_extras),
            Err(error) => return Ok(Err(Unusable::InvalidMetadata(error.to_string()))),
        }
        requirements.retain(|requirement| {
            requirement.applies_with_extra(markers, extra) && !requirement.applies(markers)
        });
        Ok(Ok(requirements))
    }

    /// The versions of `name` that satisfy a requirement on it, as the solver is told.
    pub(super) fn accepted(&self, requirement: &Requirement) -> VersionSet {
        let mut set = requirement.version_set();
        if self.held(&requirement.name).is_some() {
            for (_, allowed) in self.admission.constraints(&requirement.name) {
                set = set.intersection(allowed);
            }
        }
        set
    }

    /// The constraints of the request that rule out `version` of `name`, as texts.
    pub(super) fn constraints_against(&self, name: &PackageName, version: &Version) -> Vec<String> {
        self.admission
            .constraints(name)
            .iter()
            .filter(|(_, allowed)| !allowed.contains(version))
            .map(|(text, _)| text.clone())
            .collect()
    }

    fn push(&self, requirement: &Requirement, into: &mut Vec<(SolverPackage, VersionSet)>) {
        let set = self.accepted(requirement);
        self.order_of(&requirement.name);
        if self.held(&requirement.name).is_none() {
            self.index.prefetch(&requirement.name, &set);
        }
        for extra in &requirement.extras {
            into.push((
                SolverPackage::Extra(requirement.name.clone(), extra.clone()),
                set.clone(),
            ));
        }
        into.push((SolverPackage::Project(requirement.name.clone()), set));
    }

    /// The position of a project in the order in which projects were met.
    fn order_of(&self, name: &PackageName) -> u32 {
        if let Some(position) = self.order.borrow().get(name) {
            return *position;
        }
        let mut order = self.order.borrow_mut();
        let position = u32::try_from(order.len()).unwrap_or(u32::MAX);
        order.insert(name.clone(), position);
        position
    }

    fn root_dependencies(&self) -> Vec<(SolverPackage, VersionSet)> {
        let mut dependencies = Vec::new();
        for requested in &self.request.requirements {
            self.push(&requested.requirement, &mut dependencies);
        }
        dependencies
    }

    fn project_dependencies(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Result<Vec<(SolverPackage, VersionSet)>, Unusable>, IndexError> {
        if self.held(name).is_some() {
            return Ok(Ok(Vec::new()));
        }
        self.fetch_ahead(name, version)?;
        let metadata = match self.metadata(name, version)? {
            Ok(metadata) => metadata,
            Err(unusable) => return Ok(Err(unusable)),
        };
        if let (Some(requires_python), Some(python)) = (&metadata.requires_python, &self.python)
            && !specifiers::allows(requires_python, python)
        {
            return Ok(Err(Unusable::RequiresPython(requires_python.to_string())));
        }
        let markers = &self.environment.markers;
        let applying = metadata
            .requires_dist
            .iter()
            .filter(|requirement| requirement.applies(markers));
        let mut dependencies = Vec::new();
        if let Err(unusable) = self.push_all(name, version, None, applying, &mut dependencies) {
            return Ok(Err(unusable));
        }
        for bound in self.base.on_absent.get(name).into_iter().flatten() {
            if !specifiers::allows(&bound.requirement.specifiers, version) {
                dependencies.push((
                    SolverPackage::Project(bound.requirer.clone()),
                    VersionSet::singleton(bound.requirer_version.clone()).complement(),
                ));
            }
        }
        Ok(Ok(dependencies))
    }

    fn extra_dependencies(
        &self,
        name: &PackageName,
        version: &Version,
        extra: &ExtraName,
    ) -> Result<Result<Vec<(SolverPackage, VersionSet)>, Unusable>, IndexError> {
        let requirements = match self.requirements(name, version, Some(extra))? {
            Ok(requirements) => requirements,
            Err(unusable) => return Ok(Err(unusable)),
        };
        let mut dependencies = vec![(
            SolverPackage::Project(name.clone()),
            VersionSet::singleton(version.clone()),
        )];
        let pushed = self.push_all(
            name,
            version,
            Some(extra),
            requirements.iter(),
            &mut dependencies,
        );
        Ok(pushed.map(|()| dependencies))
    }

    /// Tells what a version of `name`, or the extra `of` of it, requires; the error says why it cannot be used.
    fn push_all<'q>(
        &self,
        name: &PackageName,
        version: &Version,
        of: Option<&ExtraName>,
        requirements: impl Iterator<Item = &'q Requirement>,
        into: &mut Vec<(SolverPackage, VersionSet)>,
    ) -> Result<(), Unusable> {
        for requirement in requirements {
            let text = || presentable(&requirement.without_marker().to_string());
            if requirement.url.is_some() {
                return Err(Unusable::DirectReference(text()));
            }
            if requirement.name != *name {
                self.push(requirement, into);
                continue;
            }
            // Of itself it requires either what is always true or what never is, and PubGrub has no use for that.
            if !specifiers::allows(&requirement.specifiers, version) {
                return Err(Unusable::RequiresItself(text()));
            }
            for extra in requirement.extras.iter().filter(|extra| Some(*extra) != of) {
                into.push((
                    SolverPackage::Extra(name.clone(), extra.clone()),
                    VersionSet::singleton(version.clone()),
                ));
            }
        }
        Ok(())
    }

    /// When candidates of a project fail one after the other, the next ones are fetched together, more each time: a
    /// search through fifty versions costs a few round trips instead of fifty.
    fn fetch_ahead(&self, name: &PackageName, version: &Version) -> Result<(), IndexError> {
        let tries = {
            let mut tries = self.tries.borrow_mut();
            let tries = tries.entry(name.clone()).or_default();
            *tries += 1;
            *tries
        };
        // 2, 6, 18, 54: at each, what will be tried until the next one.
        let mut at = TRIES_BEFORE_BULK;
        while at < tries {
            at *= BULK;
        }
        if at == tries {
            let below = VersionSet::strictly_lower_than(version.clone());
            let candidates = self.candidates(name)?;
            self.index.prefetch_metadata(
                &mut candidates
                    .in_order(&below)
                    .take((tries * BULK) as usize)
                    .map(|(_, installable)| installable.wheel.clone()),
            );
        }
        Ok(())
    }
}

impl DependencyProvider for Provider<'_> {
    type P = SolverPackage;
    type V = Version;
    type VS = VersionSet;
    type M = Unusable;
    type Err = IndexError;
    type Priority = (Urgency, bool, Reverse<u32>, bool);

    fn prioritize(
        &self,
        package: &SolverPackage,
        range: &VersionSet,
        statistics: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let Some(name) = package.project() else {
            return (Urgency::Root, false, Reverse(0), true);
        };
        // A project before its extras, which then follow its version.
        let is_project = matches!(package, SolverPackage::Project(_));
        let order = self.order_of(name);
        if self.held(name).is_some() {
            return (Urgency::Held, false, Reverse(order), is_project);
        }
        let urgency = if self
            .request
            .requirements
            .iter()
            .any(|requested| requested.requirement.name == *name)
        {
            Urgency::Requested
        } else if statistics.conflict_count() >= CONTESTED {
            Urgency::Contested
        } else if range.as_singleton().is_some() {
            Urgency::OneVersion
        } else {
            Urgency::Ordinary
        };
        let promoted = self.promoted.borrow().as_ref() == Some(name);
        (urgency, promoted, Reverse(order), is_project)
    }

    fn choose_version(
        &self,
        package: &SolverPackage,
        range: &VersionSet,
    ) -> Result<Option<Version>, IndexError> {
        let Some(name) = package.project() else {
            return Ok(Some(root_version()));
        };
        if let Some(distribution) = self.held(name) {
            return Ok(range
                .contains(&distribution.version)
                .then(|| distribution.version.clone()));
        }
        if matches!(package, SolverPackage::Extra(..))
            && let Some(version) = self.chosen.borrow().get(name)
            && range.contains(version)
        {
            return Ok(Some(version.clone()));
        }
        let candidates = self.candidates(name)?;
        let version = candidates
            .in_order(range)
            .next()
            .map(|(version, _)| version.clone());
        if let (SolverPackage::Project(_), Some(version)) = (package, &version) {
            self.chosen
                .borrow_mut()
                .insert(name.clone(), version.clone());
        }
        Ok(version)
    }

    fn get_dependencies(
        &self,
        package: &SolverPackage,
        version: &Version,
    ) -> Result<Dependencies<SolverPackage, VersionSet, Unusable>, IndexError> {
        let dependencies = match package {
            SolverPackage::Root => Ok(self.root_dependencies()),
            SolverPackage::Project(name) => self.project_dependencies(name, version)?,
            SolverPackage::Extra(name, extra) => self.extra_dependencies(name, version, extra)?,
        };
        Ok(match dependencies {
            Ok(dependencies) => {
                Dependencies::Available(DependencyConstraints::from_iter(dependencies))
            }
            Err(unusable) => Dependencies::Unavailable(unusable),
        })
    }
}
