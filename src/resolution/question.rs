//! What one question consists of, and the terms on which an attempt to answer it is made.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::environment::Environment;
use crate::package_index::{IndexError, PackageIndex};
use crate::packaging::metadata::CoreMetadata;
use crate::packaging::{PackageName, Requirement, Version, VersionSet};

use super::base::BaseFacts;
use super::candidates::{Admission, Candidates};
use super::latitude::Latitudes;
use super::provider::Told;
use super::request::Request;
use super::unusable::Unusable;

/// The metadata of one version of a project, or why it cannot be used.
type KnownMetadata = Result<Arc<CoreMetadata>, Unusable>;
/// What the solver is told of one version of a project, or why it cannot be used.
type KnownTold = Rc<Result<Told, Unusable>>;

/// A request on a base with an index to choose from, and what has been learned of the index on the way: attempts to
/// solve it share that.
pub struct Question<'a> {
    pub(super) environment: &'a Environment,
    pub(super) base: &'a BaseFacts<'a>,
    pub(super) index: &'a dyn PackageIndex,
    pub(super) request: &'a Request,
    pub(super) admission: Arc<Admission>,
    pub(super) python: Option<Version>,
    pub(super) overrides: BTreeMap<PackageName, Vec<Requirement>>,
    candidates: RefCell<FxHashMap<PackageName, Rc<Candidates>>>,
    metadata: RefCell<FxHashMap<PackageName, FxHashMap<Version, KnownMetadata>>>,
    told: RefCell<FxHashMap<PackageName, FxHashMap<Version, KnownTold>>>,
    allowance: Cell<Option<Allowance>>,
}

/// What may still be spent on attempts at something that is only a hint. Counted, not timed: a slow machine or an empty
/// cache gets the same hints as any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many versions the solver may still choose.
    pub choices: u32,
    /// How many pages and metadata, of which this question has not had need before, the index may still be asked for.
    pub lookups: u32,
}

impl Allowance {
    fn is_spent(self) -> bool {
        self.choices == 0 || self.lookups == 0
    }
}

impl<'a> Question<'a> {
    /// The question whether `request` can be satisfied.
    #[must_use]
    pub fn new(
        environment: &'a Environment,
        base: &'a BaseFacts<'a>,
        index: &'a dyn PackageIndex,
        request: &'a Request,
    ) -> Self {
        let mut overrides: BTreeMap<PackageName, Vec<Requirement>> = BTreeMap::new();
        for requested in &request.overrides {
            let requirement = &requested.requirement;
            let of_one = overrides.entry(requirement.name.clone()).or_default();
            if requirement.applies(&environment.markers) {
                of_one.push(requirement.without_marker());
            }
        }
        Self {
            environment,
            base,
            index,
            request,
            admission: Arc::new(Admission::new(environment, request)),
            python: environment.interpreter.version.parse().ok(),
            overrides,
            candidates: RefCell::default(),
            metadata: RefCell::default(),
            told: RefCell::default(),
            allowance: Cell::new(None),
        }
    }

    /// From here on attempts end when `allowance` is spent; with `None` they go on for as long as it takes.
    pub(super) fn allow(&self, allowance: Option<Allowance>) {
        self.allowance.set(allowance);
    }

    /// Whether nothing is left of what was allowed.
    pub(super) fn is_spent(&self) -> bool {
        self.allowance.get().is_some_and(Allowance::is_spent)
    }

    pub(super) fn count_choice(&self) {
        self.spend(|left| left.choices = left.choices.saturating_sub(1));
    }

    fn count_lookup(&self) {
        self.spend(|left| left.lookups = left.lookups.saturating_sub(1));
    }

    fn spend(&self, what: impl FnOnce(&mut Allowance)) {
        if let Some(mut left) = self.allowance.get() {
            what(&mut left);
            self.allowance.set(Some(left));
        }
    }

    /// The candidates of a project that the index offers.
    ///
    /// # Errors
    /// When the index cannot be asked.
    pub fn candidates(&self, name: &PackageName) -> Result<Rc<Candidates>, IndexError> {
        if let Some(candidates) = self.candidates.borrow().get(name) {
            return Ok(Rc::clone(candidates));
        }
        self.count_lookup();
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
    ///
    /// # Errors
    /// When the index cannot be asked.
    pub(super) fn metadata(
        &self,
        name: &PackageName,
        version: &Version,
    ) -> Result<KnownMetadata, IndexError> {
        if let Some(known) = self
            .metadata
            .borrow()
            .get(name)
            .and_then(|of_one| of_one.get(version))
        {
            return Ok(known.clone());
        }
        let Some(installable) = self.candidates(name)?.installable(version) else {
            return Ok(Err(Unusable::InvalidMetadata(
                "there is no such candidate".to_owned(),
            )));
        };
        self.count_lookup();
        let metadata = self
            .index
            .metadata(&installable.wheel)?
            .map_err(Unusable::InvalidMetadata);
        self.metadata
            .borrow_mut()
            .entry(name.clone())
            .or_default()
            .insert(version.clone(), metadata.clone());
        Ok(metadata)
    }

    /// What an attempt was told of a version that an index offers, if one was.
    pub(super) fn told(&self, name: &PackageName, version: &Version) -> Option<KnownTold> {
        self.told.borrow().get(name)?.get(version).cloned()
    }

    /// Keeps what an attempt was told for those that follow.
    pub(super) fn keep_told(&self, name: &PackageName, version: &Version, told: &KnownTold) {
        self.told
            .borrow_mut()
            .entry(name.clone())
            .or_default()
            .insert(version.clone(), Rc::clone(told));
    }

    /// What stands in the place of a requirement: itself, or the overrides of its project.
    pub(super) fn overridden(&self, requirement: Requirement) -> Vec<Requirement> {
        match self.overrides.get(&requirement.name) {
            Some(overrides) => overrides.clone(),
            None => vec![requirement],
        }
    }
}

/// On which terms one attempt is made.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// What of the base is not held, and how far it may move.
    pub latitudes: Latitudes,
    /// Those that may leave, but not change instead.
    pub unchangeable: BTreeSet<PackageName>,
    /// Versions that will do for requested projects, beside what the request says of them.
    pub bounds: BTreeMap<PackageName, VersionSet>,
    /// Whether what the base violates by itself must hold in the result.
    pub mends_base: bool,
    /// Whether requested distributions that may move are tried from the newest version, not from the installed one.
    pub newest_first: bool,
}
