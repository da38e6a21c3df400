//! The smallest set of changes of the base, with the proof that there is no smaller one.
//!
//! Every attempt lets some distributions of the base move and holds the others. Where it fails, the solver's proof says
//! on which held distributions it rests: one of them must move, or the proof stands (a [`Core`]). The next attempt lets
//! the cheapest set move that takes account of every proof so far. The first that succeeds is the best there is: whatever
//! costs less leaves some proof standing. See [`hitting_set`].
//!
//! Where a few attempts do not find it, one in which everything moves that may tells whether there is an answer at all.
//! If there is, the search walks towards it: what it does not move is held, and of what it moves only that is let go
//! which the proofs on the way ask for. That ends at an answer which is often as cheap as the proofs allow, and then no
//! cheaper one has to be looked for.

use std::collections::{BTreeMap, BTreeSet};

use pubgrub::External;

use crate::environment::InstalledDistribution;
use crate::packaging::{PackageName, Version, VersionSet};

use super::conflict::leaves_of;
use super::hitting_set::{self, Core};
use super::latitude::{Cost, Latitude, Latitudes};
use super::package::SolverPackage;
use super::policy::Policy;
use super::provider::{Derivation, Provider};
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
    /// The search took more attempts than it was given, or spent what it was allowed.
    GivenUp,
}

/// What an attempt came to.
enum Attempt<'a> {
    Answer(Box<Answer<'a>>),
    Refuted(Box<Provider<'a>>, Box<Derivation>),
    GivenUp,
}

/// How many attempts fail before it is asked whether there is an answer at all.
const MISSES: usize = 8;

/// An answer, and the attempt that found it.
pub(super) struct Answer<'a> {
    pub(super) provider: Provider<'a>,
    pub(super) decisions: Decisions,
    /// What its changes cost.
    pub(super) cost: Cost,
}

/// The proof that there is no answer, and the attempt that it is of.
pub(super) struct Refusal<'a> {
    pub(super) provider: Provider<'a>,
    pub(super) proof: Box<Derivation>,
    /// What of the base the proof rests on and the policy lets go; empty where nothing helps.
    core: Core,
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
    /// What a known answer changes: of sets that cost the same, those that are nearer to it are tried first.
    favourites: BTreeSet<PackageName>,
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
            favourites: BTreeSet::new(),
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
        let mut known: Option<Box<Answer<'a>>> = None;
        let mut detours = Latitudes::new();
        let mut misses = 0;
        loop {
            let Some((latitudes, cost)) =
                hitting_set::cheapest(&self.cores, limit, &self.favourites)
            else {
                return Ok(Found::TooDear);
            };
            // What is known already costs no more than every answer must.
            if let Some(answer) = known.take_if(|answer| answer.cost <= cost) {
                return Ok(Found::Answer(answer));
            }
            match self.attempt(with(&latitudes, &detours))? {
                Attempt::Answer(answer) if answer.cost <= cost => {
                    return Ok(Found::Answer(answer));
                }
                // Only by a detour: whether it can be had for what it must cost is still to be seen.
                Attempt::Answer(answer) => {
                    detours.clear();
                    if known.as_ref().is_none_or(|known| answer.cost < known.cost) {
                        known = Some(answer);
                    }
                    continue;
                }
                Attempt::GivenUp => return Ok(Found::GivenUp),
                Attempt::Refuted(provider, proof) => {
                    let refusal = self.refusal(*provider, proof);
                    if refusal.core.is_empty() {
                        return Ok(Found::Nothing(Box::new(refusal)));
                    }
                    if known.is_some() {
                        self.open_detours(&refusal.core, &mut detours);
                    }
                    self.learn(refusal);
                }
            }
            misses += 1;
            if misses == MISSES {
                match self.everything()? {
                    // Where there is no answer at all, the search would find that out set by set.
                    Attempt::Refuted(provider, proof) => {
                        return Ok(Found::Nothing(Box::new(self.refusal(*provider, proof))));
                    }
                    Attempt::GivenUp => return Ok(Found::GivenUp),
                    Attempt::Answer(answer) => match self.walk_towards(*answer)? {
                        Some(answer) => known = Some(Box::new(answer)),
                        None => return Ok(Found::GivenUp),
                    },
                }
            }
        }
    }

    /// Lets go, of what `known` changes, only what proofs ask for, until that is enough: an answer that changes no more
    /// than `known`; `None` where the search is given up.
    fn walk_towards(&mut self, known: Answer<'a>) -> Result<Option<Answer<'a>>, ResolutionError> {
        let changes = known.changes();
        self.favourites = changes.keys().cloned().collect();
        let mut latitudes = Latitudes::new();
        let mut detours = Latitudes::new();
        for core in &self.cores {
            take_up(core, &changes, &mut latitudes);
        }
        loop {
            match self.attempt(with(&latitudes, &detours))? {
                Attempt::Answer(_) if !detours.is_empty() => detours.clear(),
                Attempt::Answer(answer) => {
                    self.favourites = answer.changes().into_keys().collect();
                    return Ok(Some(*answer));
                }
                Attempt::GivenUp => return Ok(None),
                Attempt::Refuted(provider, proof) => {
                    let refusal = self.refusal(*provider, proof);
                    let is_nearer = take_up(&refusal.core, &changes, &mut latitudes);
                    self.open_detours(&refusal.core, &mut detours);
                    self.learn(refusal);
                    // An answer takes account of every proof; this is only how the walk surely ends.
                    if !is_nearer {
                        return Ok(Some(known));
                    }
                }
            }
        }
    }

    /// Lets go, altogether, what `core` offers in the place of what the known answer changes. As long as that leads nowhere,
    /// proofs need not speak of it again: they say more with fewer alternatives.
    fn open_detours(&self, core: &Core, detours: &mut Latitudes) {
        for (name, _) in core.alternatives() {
            if !self.favourites.contains(name) {
                detours.extend(self.furthest(name).map(|latitude| (name.clone(), latitude)));
            }
        }
    }

    /// Keeps what a proof rests on.
    fn learn(&mut self, refusal: Refusal<'a>) {
        self.cores.push(refusal.core);
        dismantle(*refusal.proof);
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

    fn attempt(&mut self, latitudes: Latitudes) -> Result<Attempt<'a>, ResolutionError> {
        if !self.may_try() {
            return Ok(Attempt::GivenUp);
        }
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
            Ok(decisions) => {
                let mut answer = Answer {
                    provider,
                    decisions,
                    cost: Cost::default(),
                };
                let changes = answer.changes();
                answer.cost = changes
                    .values()
                    .fold(Cost::default(), |cost, it| cost.plus(Cost::of(*it)));
                Ok(Attempt::Answer(Box::new(answer)))
            }
            Err(Failure::Unsolvable(proof)) => Ok(Attempt::Refuted(Box::new(provider), proof)),
            Err(Failure::GivenUp) => Ok(Attempt::GivenUp),
            Err(Failure::Error(error)) => Err(error),
        }
    }

    /// An attempt in which everything moves that may.
    fn everything(&mut self) -> Result<Attempt<'a>, ResolutionError> {
        let names = self.question.environment.distributions.keys();
        let latitudes = names
            .filter_map(|name| Some((name.clone(), self.furthest(name)?)))
            .collect();
        self.attempt(latitudes)
    }

    /// How far the policy lets an installed distribution go; `None` where it is held.
    fn furthest(&self, name: &PackageName) -> Option<Latitude> {
        if self.policy.lets_leave(name) {
            Some(Latitude::Gone)
        } else {
            self.policy.lets_change(name).then_some(Latitude::Any)
        }
    }

    /// Whether there is an answer at all, whatever it costs; `None` where that did not come out.
    pub(super) fn is_solvable(&mut self) -> Result<Option<bool>, ResolutionError> {
        Ok(match self.everything()? {
            Attempt::Answer(_) => Some(true),
            Attempt::Refuted(_, proof) => {
                dismantle(*proof);
                Some(false)
            }
            Attempt::GivenUp => None,
        })
    }

    /// What a failed attempt says about the base.
    fn refusal(&self, provider: Provider<'a>, proof: Box<Derivation>) -> Refusal<'a> {
        let (core, bound, staying) = self.core(self.grounds(&provider, &proof));
        Refusal {
            provider,
            proof,
            core,
            bound,
            staying,
        }
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

    /// On which facts about the base a proof rests, and how far a distribution must be let go at least for the fact to fall.
    ///
    /// That a version of a distribution requires something is no such fact: it goes on to do so wherever it is. But that no
    /// other version of it is to be had is one.
    fn grounds(&self, provider: &Provider<'_>, proof: &Derivation) -> Vec<(PackageName, Latitude)> {
        let mut grounds = Vec::new();
        for leaf in leaves_of(proof) {
            match leaf {
                External::NoVersions(package, set) => {
                    let installed = package.project().and_then(|name| provider.installed(name));
                    if let Some(installed) = installed
                        && let Some(least) = self.least_for(provider, installed, set)
                    {
                        grounds.push((installed.name.clone(), least));
                    }
                }
                External::FromDependencyOf(of, _, package, range) => {
                    add_grounds_of_told(provider, of, package, range, &mut grounds);
                }
                External::NotRoot(..) | External::Custom(..) => {}
            }
        }
        grounds
    }

    /// How far an installed distribution must be let go so that there is a version of it in `set`, which has none on the
    /// terms of the attempt; `None` where there is none however far it is.
    fn least_for(
        &self,
        provider: &Provider<'_>,
        installed: &InstalledDistribution,
        set: &VersionSet,
    ) -> Option<Latitude> {
        let has = provider.terms.latitudes.get(&installed.name).copied();
        if has >= Some(Latitude::Any) {
            return None;
        }
        let next = match has {
            None => Latitude::Upward,
            Some(_) => Latitude::Any,
        };
        // What is held for good need not be looked up.
        if !self.policy.lets_change(&installed.name) {
            return Some(next);
        }
        let Ok(candidates) = provider.candidates(&installed.name) else {
            return Some(next);
        };
        let version = &installed.version;
        let newer = VersionSet::strictly_higher_than(version.clone());
        let older = VersionSet::strictly_lower_than(version.clone());
        let has_some = |range: &VersionSet| {
            let range = set.intersection(range);
            candidates.in_order(&range).next().is_some()
        };
        if next == Latitude::Upward && has_some(&newer) {
            return Some(Latitude::Upward);
        }
        has_some(&older).then_some(Latitude::Any)
    }
}

impl<'a> Refusal<'a> {
    /// A proof of which it does not matter on what of the base it rests.
    pub(super) fn without_grounds(provider: Provider<'a>, proof: Box<Derivation>) -> Self {
        Self {
            provider,
            proof,
            core: Core::default(),
            bound: Vec::new(),
            staying: Vec::new(),
        }
    }
}

impl Answer<'_> {
    /// What of the base it changes, and how far that moved.
    fn changes(&self) -> Latitudes {
        let distributions = &self.provider.environment.distributions;
        let moved = distributions.values().filter_map(|installed| {
            let name = &installed.name;
            let latitude = match self.version_of(name) {
                Some(version) if *version > installed.version => Latitude::Upward,
                Some(version) if *version < installed.version => Latitude::Any,
                None if self.provider.may_leave(name) => Latitude::Gone,
                Some(_) | None => return None,
            };
            Some((name.clone(), latitude))
        });
        moved.collect()
    }

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

/// Both: of what each lets go, the further.
fn with(latitudes: &Latitudes, others: &Latitudes) -> Latitudes {
    let mut both = latitudes.clone();
    for (name, latitude) in others {
        let has = both.entry(name.clone()).or_insert(*latitude);
        *has = (*has).max(*latitude);
    }
    both
}

/// Of the alternatives of `core` the cheapest that is among `changes` is let go, unless one is already; whether there is
/// one.
fn take_up(core: &Core, changes: &Latitudes, latitudes: &mut Latitudes) -> bool {
    let offered = |name: &PackageName, least: Latitude| {
        changes.get(name).copied().filter(|known| *known >= least)
    };
    let is_hit = core
        .alternatives()
        .any(|(name, least)| latitudes.get(name).is_some_and(|has| *has >= least));
    if is_hit {
        return true;
    }
    let cheapest = core
        .alternatives()
        .filter_map(|(name, least)| Some((offered(name, least)?, name)))
        .min();
    if let Some((latitude, name)) = cheapest {
        latitudes.insert(name.clone(), latitude);
    }
    cheapest.is_some()
}

/// The grounds of a leaf by which `of` requires `package` in `range`.
fn add_grounds_of_told(
    provider: &Provider<'_>,
    of: &SolverPackage,
    package: &SolverPackage,
    range: &VersionSet,
    grounds: &mut Vec<(PackageName, Latitude)>,
) {
    let required = package.project().and_then(|name| provider.installed(name));
    match of {
        SolverPackage::Root => {
            let Some(installed) = required else {
                return;
            };
            if !provider.may_leave(&installed.name) {
                grounds.push((installed.name.clone(), Latitude::Gone));
            }
            add_askers(provider, package, grounds);
        }
        SolverPackage::Project(_) => {
            add_askers(provider, package, grounds);
            // What the installed version of a distribution rules out can come in where that leaves.
            if let SolverPackage::Project(name) = package
                && !provider.may_leave(name)
                && let Some(installed) = required
                && VersionSet::singleton(installed.version.clone()).complement() == *range
            {
                grounds.push((name.clone(), Latitude::Gone));
            }
        }
        SolverPackage::Extra(..) | SolverPackage::ExtraInForce(..) | SolverPackage::Binding(..) => {
        }
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
