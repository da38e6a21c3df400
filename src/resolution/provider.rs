//! The facts of a request, a base and an index, in the form in which PubGrub asks for them.
//!
//! How each rule is told to the solver:
//!
//! - *The base is held*: an installed distribution has one version, its own, and nothing of it is told before somebody
//!   requires it. Requirements within the base need not be told at all where both ends are fixed; those that are
//!   violated already must not be told, unless the answer is to mend them.
//! - *A distribution that may move* stays in the base, so the root requires it, in any version; its installed version
//!   comes first. What held distributions require of it is told as theirs, and the root requires them, too: so a proof
//!   names them.
//! - *A distribution that leaves* is a project like any other that is not installed.
//! - *A requirement of the base on a project that is not installed* binds the project without bringing it in. PubGrub
//!   knows only "requires", so it is turned around: a version that the requirement rules out requires its requirer in
//!   any version but the installed one, which is not to be had.
//! - *Extras* are packages of their own (see [`SolverPackage::Extra`]).
//! - *Constraints* leave candidates out; on a held distribution they narrow what each requirement on it accepts.

use std::cell::RefCell;
use std::cmp::Reverse;
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
use super::candidates::{Candidates, Installable};
use super::latitude::Latitude;
use super::package::{SolverPackage, binding, bound};
use super::question::{Question, Terms};
use super::request::Request;
pub use super::unusable::Unusable;
use super::urgency::Urgency;

/// What a package requires, as the solver is told.
pub(super) type Told = Vec<(SolverPackage, VersionSet)>;

/// The proof that a request cannot be satisfied.
pub type Derivation = DerivationTree<SolverPackage, VersionSet, Unusable>;

/// What ends an attempt before it has an answer.
#[derive(Debug, thiserror::Error)]
pub enum Interruption {
    /// The index could not be asked.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What might be spent on the attempt is spent.
    #[error("the attempt was given up")]
    Spent,
}

/// The version of [`SolverPackage::Root`].
#[must_use]
pub fn root_version() -> Version {
    Version::new([0])
}

/// How many conflicts, or failed candidates of a requested project, make a project contested.
const CONTESTED: u32 = 5;

/// How many candidates of a project are tried before those that come next are fetched in bulk.
const TRIES_BEFORE_BULK: u32 = 2;

/// How many candidates the first bulk has; every further one has this many times what has been tried by then.
const BULK: u32 = 3;

/// The dependency provider of one attempt.
pub struct Provider<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) environment: &'a Environment,
    pub(super) base: &'a BaseFacts<'a>,
    pub(super) request: &'a Request,
    pub(super) terms: Terms,
    order: RefCell<FxHashMap<PackageName, u32>>,
    chosen: RefCell<FxHashMap<PackageName, Version>>,
    tries: RefCell<FxHashMap<PackageName, u32>>,
    promoted: RefCell<Option<PackageName>>,
}

impl<'a> Provider<'a> {
    /// A provider for one attempt.
    #[must_use]
    pub fn new(question: &'a Question<'a>, terms: Terms) -> Self {
        let Question {
            environment,
            base,
            request,
            index,
            ..
        } = *question;
        let provider = Self {
            question,
            environment,
            base,
            request,
            terms,
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

    /// The installed distribution of that name, if it is held at its version.
    pub(super) fn held(&self, name: &PackageName) -> Option<&'a InstalledDistribution> {
        match self.terms.latitudes.get(name) {
            Some(_) => None,
            None => self.environment.distributions.get(name),
        }
    }

    /// The installed distribution of that name, held or not.
    pub(super) fn installed(&self, name: &PackageName) -> Option<&'a InstalledDistribution> {
        self.environment.distributions.get(name)
    }

    /// Whether the installed distribution of that name need not be there in the end. It may be, if somebody requires it.
    pub(super) fn may_leave(&self, name: &PackageName) -> bool {
        self.terms.latitudes.get(name) == Some(&Latitude::Gone)
    }

    /// Whether `version` of `name` is what the base has.
    pub(super) fn is_installed(&self, name: &PackageName, version: &Version) -> bool {
        self.installed(name)
            .is_some_and(|installed| installed.version == *version)
    }

    /// The index that is chosen from.
    pub(super) fn index(&self) -> &'a dyn PackageIndex {
        self.question.index
    }

    /// The candidates of a project that the index offers.
    pub(super) fn candidates(&self, name: &PackageName) -> Result<Rc<Candidates>, IndexError> {
        self.question.candidates(name)
    }

    /// The candidates in `range` that an attempt on these terms may choose, in the order in which they are tried; the
    /// installed version is not among them.
    pub(super) fn newcomers<'c>(
        &self,
        name: &PackageName,
        candidates: &'c Candidates,
        range: &'c VersionSet,
    ) -> impl Iterator<Item = (&'c Version, Rc<Installable>)> {
        let installed = self.installed(name).map(|it| it.version.clone());
        let upward = self.terms.latitudes.get(name) == Some(&Latitude::Upward);
        let unchangeable = self.terms.unchangeable.contains(name);
        candidates
            .in_order(range)
            .filter(move |_| !unchangeable)
            .filter(move |(version, _)| match &installed {
                Some(installed) if upward => *version > installed,
                Some(installed) => *version != installed,
                None => true,
            })
    }

    /// The metadata of a candidate; the inner error says why it cannot be used.
    pub(super) fn metadata(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Result<Arc<CoreMetadata>, Unusable>, IndexError> {
        self.question.metadata(name, version)
    }

    /// The requirements, markers evaluated, that a version of a project has with `extra`, or without one.
    pub(super) fn requirements(
        &self,
        name: &PackageName,
        version: &Version,
        extra: Option<&ExtraName>,
    ) -> Result<Result<Vec<Requirement>, Unusable>, IndexError> {
        let markers = &self.environment.markers;
        if let Some(distribution) = self.installed(name)
            && distribution.version == *version
        {
            return Ok(Ok(match extra {
                Some(extra) => {
                    self.all_overridden(base::requirements_of_extra(distribution, extra, markers))
                }
                None => self.binding(name, None).collect(),
            }));
        }
        let metadata = match self.metadata(name, version)? {
            Ok(metadata) => metadata,
            Err(unusable) => return Ok(Err(unusable)),
        };
        let mut requirements = metadata.requires_dist.clone();
        let Some(extra) = extra else {
            requirements.retain(|requirement| requirement.applies(markers));
            return Ok(Ok(self.all_overridden(requirements)));
        };
        match metadata.requires_with_extra(extra) {
            Ok(of_extras) => requirements.extend(of_extras),
            Err(error) => return Ok(Err(Unusable::InvalidMetadata(error.to_string()))),
        }
        requirements.retain(|requirement| {
            requirement.applies_with_extra(markers, extra) && !requirement.applies(markers)
        });
        Ok(Ok(self.all_overridden(requirements)))
    }

    fn all_overridden(&self, mut requirements: Vec<Requirement>) -> Vec<Requirement> {
        if !self.question.overrides.is_empty() {
            requirements = requirements
                .into_iter()
                .flat_map(|requirement| self.question.overridden(requirement))
                .collect();
        }
        requirements
    }

    /// The versions of `name` that satisfy a requirement on it, as the solver is told.
    pub(super) fn accepted(&self, requirement: &Requirement) -> VersionSet {
        let mut set = requirement.version_set();
        if self.installed(&requirement.name).is_some() {
            for (_, allowed) in self.question.admission.constraints(&requirement.name) {
                set = set.intersection(allowed);
            }
        }
        set
    }

    /// The constraints of the request that rule out `version` of `name`, as texts.
    pub(super) fn constraints_against(&self, name: &PackageName, version: &Version) -> Vec<String> {
        self.question
            .admission
            .constraints(name)
            .iter()
            .filter(|(_, allowed)| !allowed.contains(version))
            .map(|(text, _)| text.clone())
            .collect()
    }

    fn push(&self, requirement: &Requirement, into: &mut Told) {
        let set = self.accepted(requirement);
        self.push_versions(requirement, &set, SolverPackage::Extra, into);
    }

    pub(super) fn push_versions(
        &self,
        requirement: &Requirement,
        set: &VersionSet,
        extra_package: impl Fn(PackageName, ExtraName) -> SolverPackage,
        into: &mut Told,
    ) {
        self.note(&requirement.name, set);
        for extra in &requirement.extras {
            into.push((
                extra_package(requirement.name.clone(), extra.clone()),
                set.clone(),
            ));
        }
        into.push((
            SolverPackage::Project(requirement.name.clone()),
            set.clone(),
        ));
    }

    /// Takes note of a project that somebody requires, in one of the versions of `set`.
    fn note(&self, name: &PackageName, set: &VersionSet) {
        self.order_of(name);
        let is_there = self
            .installed(name)
            .is_some_and(|installed| set.contains(&installed.version));
        if !is_there && self.held(name).is_none() {
            self.question.index.prefetch(name, set);
        }
    }

    /// The position of a project in the order in which projects were met.
    pub(super) fn order_of(&self, name: &PackageName) -> u32 {
        if let Some(position) = self.order.borrow().get(name) {
            return *position;
        }
        let mut order = self.order.borrow_mut();
        let position = u32::try_from(order.len()).unwrap_or(u32::MAX);
        order.insert(name.clone(), position);
        position
    }

    fn root_dependencies(&self) -> Told {
        let mut dependencies = Vec::new();
        for requested in &self.request.requirements {
            self.push(&requested.requirement, &mut dependencies);
        }
        for (name, set) in &self.terms.bounds {
            dependencies.push((SolverPackage::Project(name.clone()), set.clone()));
        }
        for package in self.staying() {
            if let Some(name) = package.project() {
                self.order_of(name);
            }
            dependencies.push((package, VersionSet::full()));
        }
        dependencies
    }

    fn project_dependencies(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Result<Told, Unusable>, IndexError> {
        let mut dependencies = Vec::new();
        // What need not be there is told of its extras only once it is.
        if self.may_leave(name) {
            let in_force = self.base.extras.iter().filter(|(of, _)| of == name);
            dependencies.extend(
                in_force
                    .filter(|(_, extra)| self.askers(name, extra).next().is_some())
                    .map(|(_, extra)| SolverPackage::ExtraInForce(name.clone(), extra.clone()))
                    .map(|package| (package, VersionSet::full())),
            );
        }
        if self.is_installed(name, version) {
            if self.may_leave(name) {
                dependencies.push(binding(name, None, true));
            }
            let mut pushed = Ok(());
            if !self.terms.latitudes.is_empty() || self.terms.mends_base {
                pushed = self.push_binding(name, None, &mut dependencies);
            }
            return Ok(pushed.map(|()| dependencies));
        }
        self.fetch_ahead(name, version)?;
        match &*self.told_of(name, version)? {
            Ok(told) => {
                for (package, set) in told {
                    if let SolverPackage::Project(required) = package {
                        self.note(required, set);
                    }
                    dependencies.push((package.clone(), set.clone()));
                }
            }
            Err(unusable) => return Ok(Err(unusable.clone())),
        }
        for bound in self.base.on_absent.get(name).into_iter().flatten() {
            if self.question.overrides.contains_key(name)
                || specifiers::allows(&bound.requirement.specifiers, version)
            {
                continue;
            }
            let extra = self.extra_of(bound);
            dependencies.push(if extra.is_some() || self.may_leave(&bound.requirer) {
                binding(&bound.requirer, extra, false)
            } else {
                (
                    SolverPackage::Project(bound.requirer.clone()),
                    VersionSet::singleton(bound.requirer_version.clone()).complement(),
                )
            });
        }
        Ok(Ok(dependencies))
    }

    /// What a version that an index offers requires by itself, the same in every attempt.
    fn told_of(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Rc<Result<Told, Unusable>>, IndexError> {
        if let Some(known) = self.question.told(name, version) {
            return Ok(known);
        }
        let told = Rc::new(self.tell_of(name, version)?);
        self.question.keep_told(name, version, &told);
        Ok(told)
    }

    fn tell_of(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<Result<Told, Unusable>, IndexError> {
        let metadata = match self.metadata(name, version)? {
            Ok(metadata) => metadata,
            Err(unusable) => return Ok(Err(unusable)),
        };
        if let (Some(requires_python), Some(python)) =
            (&metadata.requires_python, &self.question.python)
            && !specifiers::allows(requires_python, python)
        {
            return Ok(Err(Unusable::RequiresPython(requires_python.to_string())));
        }
        let markers = &self.environment.markers;
        let applying = metadata
            .requires_dist
            .iter()
            .filter(|requirement| requirement.applies(markers));
        let mut told = Vec::new();
        let pushed = if self.question.overrides.is_empty() {
            self.push_all(name, version, None, applying, &mut told)
        } else {
            let applying = self.all_overridden(applying.cloned().collect());
            self.push_all(name, version, None, applying.iter(), &mut told)
        };
        Ok(pushed.map(|()| told))
    }

    fn extra_dependencies(
        &self,
        name: &PackageName,
        version: &Version,
        extra: &ExtraName,
    ) -> Result<Result<Told, Unusable>, IndexError> {
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
        into: &mut Told,
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

    /// The version of a project that is not held which is tried next.
    fn choose(
        &self,
        name: &PackageName,
        range: &VersionSet,
    ) -> Result<Option<Version>, IndexError> {
        let installed = self
            .installed(name)
            .map(|it| &it.version)
            .filter(|version| range.contains(version));
        let newest_first = self.terms.newest_first && self.is_requested(name);
        if let (Some(installed), false) = (installed, newest_first) {
            return Ok(Some(installed.clone()));
        }
        let candidates = self.candidates(name)?;
        let newcomer = self
            .newcomers(name, &candidates, range)
            .next()
            .map(|(version, _)| version.clone());
        // Stable versions first, as among candidates.
        let rank = |version: &Version| (!version.any_prerelease(), version.clone());
        Ok(newcomer
            .into_iter()
            .chain(installed.cloned())
            .max_by_key(rank))
    }

    /// Whether an installed distribution has to move and cannot. An index that cannot be asked is told of later.
    fn is_dead_end(&self, name: &PackageName, range: &VersionSet) -> bool {
        self.installed(name).is_some_and(|installed| {
            !range.contains(&installed.version)
                && self.terms.latitudes.contains_key(name)
                && self.candidates(name).is_ok_and(|candidates| {
                    self.newcomers(name, &candidates, range).next().is_none()
                })
        })
    }

    fn is_requested(&self, name: &PackageName) -> bool {
        self.request
            .requirements
            .iter()
            .any(|requested| requested.requirement.name == *name)
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
            self.question.index.prefetch_metadata(
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
    type Err = Interruption;
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
        if self.is_dead_end(name, range) {
            return (Urgency::DeadEnd, false, Reverse(order), is_project);
        }
        let urgency = if self.is_requested(name) {
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

    fn should_cancel(&self) -> Result<(), Interruption> {
        if self.question.is_spent() {
            return Err(Interruption::Spent);
        }
        Ok(())
    }

    fn choose_version(
        &self,
        package: &SolverPackage,
        range: &VersionSet,
    ) -> Result<Option<Version>, Interruption> {
        self.question.count_choice();
        let Some(name) = package.project() else {
            // The root's only version is the one that says that nothing is bound.
            let versions = [root_version(), bound()];
            return Ok(versions.into_iter().find(|version| range.contains(version)));
        };
        if let Some(distribution) = self.held(name) {
            return Ok(range
                .contains(&distribution.version)
                .then(|| distribution.version.clone()));
        }
        if package.extra().is_some()
            && let Some(version) = self.chosen.borrow().get(name)
            && range.contains(version)
        {
            return Ok(Some(version.clone()));
        }
        let version = self.choose(name, range)?;
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
    ) -> Result<Dependencies<SolverPackage, VersionSet, Unusable>, Interruption> {
        let dependencies = match package {
            SolverPackage::Root => Ok(self.root_dependencies()),
            SolverPackage::Binding(..) => Ok(Vec::new()),
            SolverPackage::Project(name) => self.project_dependencies(name, version)?,
            SolverPackage::Extra(name, extra) => self.extra_dependencies(name, version, extra)?,
            SolverPackage::ExtraInForce(name, extra) => {
                self.dependencies_in_force(name, version, extra)
            }
        };
        Ok(match dependencies {
            Ok(dependencies) => {
                Dependencies::Available(DependencyConstraints::from_iter(dependencies))
            }
            Err(unusable) => Dependencies::Unavailable(unusable),
        })
    }
}
