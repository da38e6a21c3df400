//! What one question consists of, and the terms on which an attempt to answer it is made.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::environment::Environment;
use crate::package_index::{IndexError, PackageIndex};
use crate::packaging::{PackageName, Requirement, Version, VersionSet};

use super::base::BaseFacts;
use super::candidates::{Admission, Candidates};
use super::latitude::Latitudes;
use super::request::Request;

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
            let requirement = requested.requirement.without_marker();
            let of_one = overrides.entry(requirement.name.clone()).or_default();
            of_one.push(requirement);
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
