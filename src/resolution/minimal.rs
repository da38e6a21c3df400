//! The smallest set of changes of the base, with the proof that there is no smaller one.
//!
//! Every attempt lets some distributions of the base move and holds the others. Where it fails, the solver's proof says
//! on which held distributions it rests: one of them must move, or the proof stands (a [`Core`]). The next attempt lets
//! the cheapest set move that takes account of every proof so far. The first that succeeds is the best there is: whatever
//! costs less leaves some proof standing. See [`hitting_set`].

use std::collections::{BTreeMap, BTreeSet};

use pubgrub::{DerivationTree, External};
use rustc_hash::FxHashSet;

use crate::packaging::{PackageName, Version, VersionSet};

use super::hitting_set::{self, Core};
use super::latitude::{Cost, Latitude, Latitudes};
use super::package::SolverPackage;
use super::policy::Policy;
use super::provider::{Derivation, Provider, Unusable};
use super::question::{Question, Terms};
use super::{Decisions, Failure, ResolutionError, dismantle, solve};

/// What a search came to.
pub(super) enum Found<'a> {
    /// The cheapest answer.
    Answer(Box<Answer<'a>>),
    /// There is none, whatever of the base that may change does.
    Nothing(Box<Refusal<'a>>),
    /// There is none that costs no more than the limit.
    TooDear,
    /// The search took more attempts than it was given.
    GivenUp,
}

/// An answer, and the attempt that found it.
pub(super) struct Answer<'a> {
    pub(super) provider: Provider<'a>,
    pub(super) decisions: Decisions,
    /// What the hitting set costs: no answer costs less, and this one no more.
    pub(super) cost: Cost,
}

/// The proof that there is no answer, and the attempt that it is of.
pub(super) struct Refusal<'a> {
    pub(super) provider: Provider<'a>,
    pub(super) proof: Box<Derivation>,
    /// The distributions of the base that the proof rests on and that the policy does not let go.
    pub(super) bound: Vec<PackageName>,
    /// The distributions of the base that the proof needs to be there, and that may change but not leave.
    pub(super) staying: Vec<PackageName>,
}

/// A search for the cheapest answer to one question. Proofs are kept: what they say also holds for a narrower question.
#[derive(Clone)]
pub(super) struct Search<'a> {
    question: &'a Question<'a>,
    policy: &'a Policy,
    mends_base: bool,
    bounds: BTreeMap<PackageName, VersionSet>,
    cores: Vec<Core>,
    /// How many attempts may still be made; `None` for as many as it takes.
    attempts: Option<usize>,
    /// Whether it is known that there is an answer, whatever it costs.
    is_solvable: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(question: &'a Question<'a>, policy: &'a Policy) -> Self {
        Self {
            question,
            policy,
            mends_base: false,
            bounds: BTreeMap::new(),
            cores: Vec::new(),
            attempts: None,
            is_solvable: false,
        }
    }

    /// What the base violates must hold in the result.
    pub(super) fn mending_the_base(mut self, mends_base: bool) -> Self {
        self.mends_base = mends_base;
        self
    }

    /// Gives up after so many attempts.
    pub(super) fn with_attempts(mut self, attempts: usize) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// The same search where only these versions of `name` will do.
    pub(super) fn within(&self, name: &PackageName, versions: VersionSet) -> Self {
        let mut narrower = self.clone();
        let bound = match narrower.bounds.remove(name) {
            Some(known) => known.intersection(&versions),
            None => versions,
        };
        narrower.bounds.insert(name.clone(), bound);
        narrower.is_solvable = false;
        narrower
    }

    /// The cheapest answer; among answers that cost the same that with the newest requested versions, the first
    /// requested project first.
    pub(super) fn best(&mut self, limit: Option<Cost>) -> Result<Found<'a>, ResolutionError> {
        let mut answer = match self.cheapest(limit)? {
            Found::Answer(answer) => answer,
            other => return Ok(other),
        };
        if answer.cost == Cost::default() {
            // There is one attempt that costs nothing, and the solver tries the newest versions first.
            return Ok(Found::Answer(answer));
        }
        let mut narrowed = self.clone();
        for name in requested(self.question) {
            while let Some(newer) = newer_than(&answer, &name)? {
                let mut search = narrowed.within(&name, newer);
                match search.cheapest(Some(answer.cost))? {
                    Found::Answer(better) => answer = better,
                    // Out of attempts: the answer stands, the newest it may not be.
                    Found::GivenUp | Found::TooDear | Found::Nothing(_) => break,
                }
            }
            if let Some(version) = answer.version_of(&name) {
                let exactly = VersionSet::singleton(version.clone());
                narrowed = narrowed.within(&name, exactly);
            }
        }
        Ok(Found::Answer(answer))
    }

    /// An answer of the lowest cost.
    pub(super) fn cheapest(&mut self, limit: Option<Cost>) -> Result<Found<'a>, ResolutionError> {
        loop {
            let Some((latitudes, cost)) = hitting_set::cheapest(&self.cores, limit) else {
                return Ok(Found::TooDear);
            };
            if !self.may_try() {
                return Ok(Found::GivenUp);
            }
            let (provider, proof) = match self.attempt(latitudes)? {
                (provider, Ok(decisions)) => {
                    return Ok(Found::Answer(Box::new(Answer {
                        provider,
                        decisions,
                        cost,
                    })));
                }
                (provider, Err(proof)) => (provider, proof),
            };
            let (core, bound, staying) = self.core(grounds(&provider, &proof));
            if core.is_empty() {
                return Ok(Found::Nothing(Box::new(Refusal {
                    provider,
                    proof,
                    bound,
                    staying,
                })));
            }
            dismantle(*proof);
            self.cores.push(core);
            // Where there is no answer at all, the search would find that out set by set: one attempt in which
            // everything moves that may says it at once.
            if !self.is_solvable && limit.is_none() {
                if let Some(refusal) = self.refusal_of_everything()? {
                    return Ok(Found::Nothing(Box::new(refusal)));
                }
                self.is_solvable = true;
            }
        }
    }

    /// Whether another attempt may be made.
    fn may_try(&mut self) -> bool {
        match &mut self.attempts {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    fn attempt(
        &self,
        latitudes: Latitudes,
    ) -> Result<(Provider<'a>, Result<Decisions, Box<Derivation>>), ResolutionError> {
        let may_leave = latitudes.iter().filter(|it| *it.1 == Latitude::Gone);
        let unchangeable = may_leave
            .map(|(name, _)| name.clone())
            .filter(|name| !self.policy.lets_change(name))
            .collect();
        let provider = Provider::new(
            self.question,
            Terms {
                latitudes,
                unchangeable,
                bounds: self.bounds.clone(),
                mends_base: self.mends_base,
                newest_first: false,
            },
        );
        match solve(&provider) {
            Ok(decisions) => Ok((provider, Ok(decisions))),
            Err(Failure::Unsolvable(proof)) => Ok((provider, Err(proof))),
            Err(Failure::Error(error)) => Err(error),
        }
    }

    /// The proof that there is no answer even where everything moves that may; `None` where there is one.
    fn refusal_of_everything(&mut self) -> Result<Option<Refusal<'a>>, ResolutionError> {
        if !self.may_try() {
            return Ok(None);
        }
        let latitude = |name: &PackageName| {
            if self.policy.lets_leave(name) {
                Some(Latitude::Gone)
            } else {
                self.policy.lets_change(name).then_some(Latitude::Any)
            }
        };
        let names = self.question.environment.distributions.keys();
        let latitudes = names
            .filter_map(|name| Some((name.clone(), latitude(name)?)))
            .collect();
        let (provider, answer) = self.attempt(latitudes)?;
        let Err(proof) = answer else {
            return Ok(None);
        };
        let (_, bound, staying) = self.core(grounds(&provider, &proof));
        Ok(Some(Refusal {
            provider,
            proof,
            bound,
            staying,
        }))
    }

    /// What of the grounds of a proof the policy lets go; then the distributions that it does not let go at all, and
    /// those that it lets change, but not leave.
    fn core(
        &self,
        grounds: Vec<(PackageName, Latitude)>,
    ) -> (Core, Vec<PackageName>, Vec<PackageName>) {
        let mut alternatives = Vec::new();
        let mut bound = BTreeSet::new();
        let mut staying = BTreeSet::new();
        for (name, least) in grounds {
            let lets_change = self.policy.lets_change(&name);
            if least < Latitude::Gone && lets_change {
                alternatives.push((name, least));
            } else if self.policy.lets_leave(&name) {
                alternatives.push((name, Latitude::Gone));
            } else if lets_change {
                staying.insert(name);
            } else {
                bound.insert(name);
            }
        }
        (
            Core::new(alternatives),
            bound.into_iter().collect(),
            staying.into_iter().collect(),
        )
    }
}

impl Answer<'_> {
    /// The version of a project in the answer.
    pub(super) fn version_of(&self, name: &PackageName) -> Option<&Version> {
        self.decisions.get(&SolverPackage::Project(name.clone()))
    }
}

/// The requested projects, each once, in the order of the request.
pub(super) fn requested(question: &Question<'_>) -> Vec<PackageName> {
    let mut names: Vec<PackageName> = Vec::new();
    for requested in &question.request.requirements {
        if !names.contains(&requested.requirement.name) {
            names.push(requested.requirement.name.clone());
        }
    }
    names
}

/// The versions of a requested project that come before the one in the answer; `None` where there are none, or where
/// the base has the one in the answer.
pub(super) fn newer_than(
    answer: &Answer<'_>,
    name: &PackageName,
) -> Result<Option<VersionSet>, ResolutionError> {
    let Some(version) = answer.version_of(name) else {
        return Ok(None);
    };
    let candidates = answer.provider.candidates(name)?;
    let mut asked = VersionSet::full();
    for requested in &answer.provider.request.requirements {
        if requested.requirement.name == *name {
            asked = asked.intersection(&answer.provider.accepted(&requested.requirement));
        }
    }
    let is_better =
        |other: &Version| (!other.any_prerelease(), other) > (!version.any_prerelease(), version);
    // What is installed may be what no index has.
    let installed = answer.provider.installed(name).map(|it| &it.version);
    let better = candidates
        .in_order(&asked)
        .map(|(version, _)| version)
        .chain(installed.filter(|version| asked.contains(version)))
        .filter(|other| is_better(other))
        .fold(VersionSet::empty(), |set, version| {
            set.union(&VersionSet::singleton(version.clone()))
        });
    Ok((!better.is_empty()).then_some(better))
}

/// On which facts about the base a proof rests, and how far a distribution must be let go for the fact to fall.
///
/// That a version of a distribution requires something is no such fact: it goes on to do so wherever it is. But that no
/// other version of it is to be had is one.
fn grounds(provider: &Provider<'_>, proof: &Derivation) -> Vec<(PackageName, Latitude)> {
    let mut grounds = Vec::new();
    let mut seen: FxHashSet<*const Derivation> = FxHashSet::default();
    let mut waiting = vec![proof];
    while let Some(node) = waiting.pop() {
        if !seen.insert(std::ptr::from_ref(node)) {
            continue;
        }
        match node {
            DerivationTree::Derived(derived) => {
                waiting.push(&derived.cause2);
                waiting.push(&derived.cause1);
            }
            DerivationTree::External(leaf) => add_grounds(provider, leaf, &mut grounds),
        }
    }
    grounds
}

fn add_grounds(
    provider: &Provider<'_>,
    leaf: &External<SolverPackage, VersionSet, Unusable>,
    grounds: &mut Vec<(PackageName, Latitude)>,
) {
    match leaf {
        External::NoVersions(package, set) => {
            let Some(installed) = package.project().and_then(|name| provider.installed(name))
            else {
                return;
            };
            let name = &installed.name;
            match provider.terms.latitudes.get(name) {
                None => grounds.push((name.clone(), Latitude::Upward)),
                Some(Latitude::Upward) => {
                    let older = VersionSet::strictly_lower_than(installed.version.clone());
                    // Only where there is an older one does it matter that none may be chosen.
                    let is_barred = provider.candidates(name).is_ok_and(|candidates| {
                        candidates
                            .in_order(&set.intersection(&older))
                            .next()
                            .is_some()
                    });
                    if is_barred {
                        grounds.push((name.clone(), Latitude::Any));
                    }
                }
                Some(Latitude::Any | Latitude::Gone) => {}
            }
        }
        External::FromDependencyOf(SolverPackage::Root, _, package, _) => {
            let Some(installed) = package.project().and_then(|name| provider.installed(name))
            else {
                return;
            };
            if !provider.may_leave(&installed.name) {
                grounds.push((installed.name.clone(), Latitude::Gone));
            }
            add_askers(provider, package, grounds);
        }
        External::FromDependencyOf(SolverPackage::Project(_), _, package, range) => {
            add_askers(provider, package, grounds);
            // What the installed version of a distribution rules out can come in where that leaves.
            if let SolverPackage::Project(name) = package
                && !provider.may_leave(name)
                && let Some(installed) = provider.installed(name)
                && VersionSet::singleton(installed.version.clone()).complement() == *range
            {
                grounds.push((name.clone(), Latitude::Gone));
            }
        }
        External::FromDependencyOf(..) | External::NotRoot(..) | External::Custom(..) => {}
    }
}

/// That an extra is in force rests on those that ask for it.
fn add_askers(
    provider: &Provider<'_>,
    package: &SolverPackage,
    grounds: &mut Vec<(PackageName, Latitude)>,
) {
    if let SolverPackage::ExtraInForce(name, extra) = package {
        let askers = provider.askers(name, extra);
        grounds.extend(askers.map(|asker| (asker.clone(), Latitude::Upward)));
    }
}
