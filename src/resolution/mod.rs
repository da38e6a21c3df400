//! Resolution: what must be added to a base, and what of it must change, so that a request is satisfied.
//!
//! Phases, each in a file of its own:
//!
//! 1. [`request`]: what is asked for; [`base`]: what the installed distributions say of each other, which of their
//!    requirements are broken already, and which bind projects that are not installed.
//! 2. [`candidates`]: the versions of a project that could be installed at all, in the order in which they are tried,
//!    and for every other version the reason why not.
//! 3. [`provider`]: the facts in the form that PubGrub asks for them, one package and version at a time. PubGrub
//!    chooses versions until all is decided, or derives that nothing can be. `binding`: those of them by which the base
//!    binds the rest. [`question`]: what all attempts at one request share, and the terms of one attempt.
//! 4. [`policy`]: what of the base may change; `minimal`: the smallest set of changes, with its proof, by way of
//!    [`latitude`] and [`hitting_set`]; [`frontier`]: what more changes would buy.
//! 5. [`solution`]: the decisions as a [`Resolution`]; [`conflict`]: the derivation as a [`Conflict`] in plain words,
//!    with the newest version that would have fitted, found by solving for it.
//!
//! Plain synchronous code: the index is a [`PackageIndex`] whose calls block.

pub mod base;
mod binding;
pub mod candidates;
pub mod conflict;
pub mod frontier;
pub mod hitting_set;
pub mod latitude;
mod minimal;
pub mod package;
pub mod policy;
pub mod provider;
pub mod question;
pub mod request;
pub mod solution;
pub mod source;
pub mod unusable;
pub mod urgency;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pubgrub::{DerivationTree, PubGrubError};

use crate::environment::Environment;
use crate::package_index::{Foresight, IndexError, PackageIndex};
use crate::packaging::requirement::presentable;
use crate::packaging::{PackageName, Version, VersionSet};

use base::BaseFacts;
pub use conflict::Conflict;
pub use frontier::Frontier;
use latitude::{Latitude, Latitudes};
use minimal::{Found, Refusal, Search};
use package::SolverPackage;
pub use policy::{Aim, Policy};
use provider::{Interruption, Provider};
use question::{Allowance, Question, Terms};
pub use request::Request;
pub use solution::Resolution;

/// The answer to a request. A conflict is an answer too, not an error.
#[derive(Debug)]
pub enum Outcome {
    /// The request can be satisfied.
    Resolution(Resolution),
    /// It cannot, and this is why.
    Conflict(Conflict),
}

/// What kept a resolution from an answer.
#[derive(Debug, thiserror::Error)]
pub enum ResolutionError {
    /// The index could not be asked.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A requirement of the request is a direct reference.
    #[error("the request `{0}` is a direct reference")]
    DirectReference(String),
    /// The solver broke one of its own rules.
    #[error("the solver failed: {0}")]
    Solver(String),
}

impl ResolutionError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DirectReference(_) => Some(
                "imgtool solves for wheels of an index; ask for the project by name and version, or publish the file \
                 to an index of your own and name that with `--extra-index-url`"
                    .to_owned(),
            ),
            Self::Index(_) | Self::Solver(_) => None,
        }
    }
}

/// How far the ways out of a "no" are searched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hints {
    /// Not at all.
    None,
    /// As far as they cost about as much as the "no" itself. [`Conflict::is_searched`] says whether that was enough.
    Brief,
    /// To the end, within the bounds that every search for the smallest change has.
    #[default]
    Full,
}

/// Resolutions of requests on one base: what is known of the base is worked out once.
pub struct Resolver<'a> {
    environment: &'a Environment,
    index: &'a dyn PackageIndex,
    base: BaseFacts<'a>,
    hints: Hints,
}

impl<'a> Resolver<'a> {
    /// A resolver on top of `environment`, with the candidates of `index`.
    #[must_use]
    pub fn new(environment: &'a Environment, index: &'a dyn PackageIndex) -> Self {
        Self {
            environment,
            index,
            base: BaseFacts::of(environment),
            hints: Hints::default(),
        }
    }

    /// The same resolver, which searches the ways out of a "no" so far.
    #[must_use]
    pub fn with_hints(mut self, hints: Hints) -> Self {
        self.hints = hints;
        self
    }

    /// What is known of the base.
    #[must_use]
    pub fn base(&self) -> &BaseFacts<'a> {
        &self.base
    }

    /// Resolves `request`, changing of the base what `policy` allows.
    ///
    /// # Errors
    /// When the index cannot be asked, or the request contains what no index can answer.
    pub fn resolve(&self, request: &Request, policy: &Policy) -> Result<Outcome, ResolutionError> {
        self.resolve_with(request, policy, self.hints)
    }

    fn resolve_with(
        &self,
        request: &Request,
        policy: &Policy,
        hints: Hints,
    ) -> Result<Outcome, ResolutionError> {
        refuse_direct_references(request)?;
        let question = Question::new(self.environment, &self.base, self.index, request);
        match policy.aim {
            Aim::Hold | Aim::Minimal => match Search::new(&question, policy).best(None)? {
                Found::Answer(answer) => Ok(Outcome::Resolution(solution::describe(
                    &answer.provider,
                    &answer.decisions,
                )?)),
                Found::Nothing(refusal) => Ok(Outcome::Conflict(
                    self.conflict(*refusal, &question, policy, hints)?,
                )),
                Found::TooDear | Found::GivenUp => Err(no_limit()),
            },
            Aim::Upgrade => self.upgrade(&question, policy, hints),
        }
    }

    /// What more there is to have for more changes of the base, whether or not `policy` lets it change.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn frontier(
        &self,
        request: &Request,
        policy: &Policy,
    ) -> Result<Frontier, ResolutionError> {
        refuse_direct_references(request)?;
        let question = Question::new(self.environment, &self.base, self.index, request);
        let policy = Policy {
            aim: Aim::Minimal,
            ..policy.clone()
        };
        frontier::find(&question, &policy)
    }

    /// The newest versions of what is asked for, and for these the fewest changes that can be found within
    /// [`ATTEMPTS`].
    fn upgrade<'q>(
        &'q self,
        question: &'q Question<'q>,
        policy: &'q Policy,
        hints: Hints,
    ) -> Result<Outcome, ResolutionError> {
        let installed = || self.environment.distributions.keys().cloned();
        let changing: Latitudes = installed()
            .filter(|name| policy.lets_change(name))
            .map(|name| (name, Latitude::Any))
            .collect();
        let leaving: Latitudes = installed()
            .filter(|name| policy.lets_leave(name))
            .map(|name| (name, Latitude::Gone))
            .collect();
        let unchangeable: BTreeSet<PackageName> = leaving
            .keys()
            .filter(|name| !policy.lets_change(name))
            .cloned()
            .collect();
        // What the base violates is mended where that is possible; where it is not, it is no reason to give up. Nothing
        // leaves unless it must.
        let broken = !self.base.broken.is_empty();
        let mut refusal = None;
        for (mends_base, leaves) in [(true, false), (true, true), (false, false), (false, true)] {
            if (!mends_base && !broken) || (leaves && leaving.is_empty()) {
                continue;
            }
            let mut terms = Terms {
                latitudes: changing.clone(),
                mends_base: mends_base && broken,
                newest_first: true,
                ..Terms::default()
            };
            if leaves {
                terms.latitudes.extend(leaving.clone());
                terms.unchangeable.clone_from(&unchangeable);
            }
            let provider = Provider::new(question, terms);
            match solve(&provider) {
                Ok(decisions) => {
                    let mut search = Search::new(question, policy)
                        .mending_the_base(mends_base && broken)
                        .with_attempts(ATTEMPTS);
                    for name in minimal::requested(question) {
                        if let Some(version) = decisions.get(&SolverPackage::Project(name.clone()))
                        {
                            search = search.within(&name, VersionSet::singleton(version.clone()));
                        }
                    }
                    return Ok(Outcome::Resolution(match search.cheapest(None)? {
                        Found::Answer(fewest) => {
                            solution::describe(&fewest.provider, &fewest.decisions)?
                        }
                        _ => Resolution {
                            proven_smallest: false,
                            ..solution::describe(&provider, &decisions)?
                        },
                    }));
                }
                Err(Failure::Unsolvable(proof)) => {
                    refusal = Some(Refusal::without_grounds(provider, proof));
                }
                Err(Failure::GivenUp) => return Err(no_limit()),
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        let Some(refusal) = refusal else {
            return Err(no_limit());
        };
        Ok(Outcome::Conflict(
            self.conflict(refusal, question, policy, hints)?,
        ))
    }

    /// Explains why there is no answer, and looks for what would be one.
    fn conflict(
        &self,
        refusal: Refusal<'_>,
        question: &Question<'_>,
        policy: &Policy,
        hints: Hints,
    ) -> Result<Conflict, ResolutionError> {
        let explanation = conflict::explain(&refusal.provider, &refusal.proof);
        let mut conflict = Conflict {
            facts: explanation.facts,
            besides: explanation.besides,
            broken_base: self.base.broken.clone(),
            ..Conflict::default()
        };
        if hints == Hints::None {
            dismantle(*refusal.proof);
            return Ok(conflict);
        }
        let request = question.request;
        // What the proof does not speak of has no part in it: to relax that would leave the proof standing.
        let spoken_of = conflict::projects_of(&refusal.proof);
        dismantle(*refusal.proof);
        conflict.fitting = self.fitting(request, policy, &spoken_of)?;
        conflict.relaxed = self.relaxed(request, policy, &spoken_of)?;
        if conflict.relaxed.is_empty() {
            conflict.without_constraints = self.without_constraints(request, policy, &spoken_of)?;
        }
        if hints == Hints::Brief {
            question.allow(Some(BRIEF));
        }
        let way_out = if policy.aim == Aim::Hold {
            let policy = Policy {
                aim: Aim::Minimal,
                ..policy.clone()
            };
            unless_unknown(way_out_by_changes(question, &policy))?
        } else {
            Some(WayOut {
                bound: refusal.bound,
                staying: refusal.staying,
                ..WayOut::default()
            })
        };
        let Some(way_out) = way_out else {
            return Ok(conflict);
        };
        conflict.is_searched = true;
        if way_out.smallest_change.is_none() {
            match unless_unknown(removals(question, policy, &way_out.staying))? {
                Some(removals) => conflict.removals = removals,
                None => conflict.is_searched = false,
            }
        }
        let obstacle = |name: &PackageName| Some((name.clone(), policy.fixed.get(name)?.clone()));
        conflict.obstacles = way_out.bound.iter().filter_map(obstacle).collect();
        conflict.smallest_change = way_out.smallest_change;
        Ok(conflict)
    }

    /// For each requested project, the newest version that does fit when its own bounds are dropped and everything
    /// else of the request stands. Found by solving.
    fn fitting(
        &self,
        request: &Request,
        policy: &Policy,
        spoken_of: &BTreeSet<PackageName>,
    ) -> Result<Vec<conflict::Fitting>, ResolutionError> {
        let mut fitting = Vec::new();
        for position in 0..request.requirements.len() {
            let asked = &request.requirements[position].requirement;
            let relaxed = request.with_any_version_of(position);
            let version = if asked.specifiers.is_empty() || !spoken_of.contains(&asked.name) {
                None
            } else {
                self.versions(&relaxed, policy)?
                    .into_iter()
                    .find(|(name, _)| *name == asked.name)
                    .map(|(_, version)| version)
            };
            fitting.push(conflict::Fitting {
                requested: asked.clone(),
                held: self.environment.distributions.contains_key(&asked.name),
                version,
            });
        }
        Ok(fitting)
    }

    /// What the requested projects come to when the constraints of the request are dropped.
    fn without_constraints(
        &self,
        request: &Request,
        policy: &Policy,
        spoken_of: &BTreeSet<PackageName>,
    ) -> Result<Vec<(PackageName, Version)>, ResolutionError> {
        let mut constraints = request.constraints.iter();
        if !constraints.any(|it| spoken_of.contains(&it.requirement.name)) {
            return Ok(Vec::new());
        }
        let relaxed = Request {
            constraints: Vec::new(),
            ..request.clone()
        };
        self.versions(&relaxed, policy)
    }

    /// The versions that the requested projects come to; empty where there is no answer, or none was found within
    /// [`ATTEMPTS`].
    fn versions(
        &self,
        request: &Request,
        policy: &Policy,
    ) -> Result<Vec<(PackageName, Version)>, ResolutionError> {
        let question = Question::new(self.environment, &self.base, self.index, request);
        let mut search = Search::new(&question, policy).with_attempts(ATTEMPTS);
        let found = search.best(None)?;
        Ok(match found {
            Found::Answer(answer) => minimal::requested(&question)
                .into_iter()
                .filter_map(|name| {
                    let version = answer.version_of(&name)?.clone();
                    Some((name, version))
                })
                .collect(),
            Found::Nothing(refusal) => {
                dismantle(*refusal.proof);
                Vec::new()
            }
            Found::TooDear | Found::GivenUp => Vec::new(),
        })
    }
}

/// What would let a request fit that does not.
#[derive(Default)]
struct WayOut {
    smallest_change: Option<Box<Resolution>>,
    /// Distributions that stand in the way and may not change.
    bound: Vec<PackageName>,
    /// Distributions that stand in the way however they change.
    staying: Vec<PackageName>,
}

/// The smallest change of the base with which the request fits, or what stands in the way of any; `None` where the search
/// was given up.
fn way_out_by_changes(
    question: &Question<'_>,
    policy: &Policy,
) -> Result<Option<WayOut>, ResolutionError> {
    let mut search = Search::new(question, policy).with_attempts(ATTEMPTS);
    let mut way_out = WayOut::default();
    match search.best(None)? {
        Found::Answer(answer) => {
            let resolution = solution::describe(&answer.provider, &answer.decisions)?;
            way_out.smallest_change = Some(Box::new(resolution));
        }
        Found::Nothing(refusal) => {
            dismantle(*refusal.proof);
            way_out.bound = refusal.bound;
            way_out.staying = refusal.staying;
        }
        Found::TooDear | Found::GivenUp => return Ok(None),
    }
    Ok(Some(way_out))
}

/// The distributions, of those that stand in the way, whose removal alone lets the request fit, whatever else changes;
/// `None` where the search was given up.
fn removals(
    question: &Question<'_>,
    policy: &Policy,
    in_the_way: &[PackageName],
) -> Result<Option<Vec<PackageName>>, ResolutionError> {
    let in_the_way = &in_the_way[..in_the_way.len().min(REMOVALS_TRIED)];
    let without = |names: &[PackageName]| {
        let policy = Policy {
            aim: Aim::Minimal,
            may_leave: policy.may_leave.iter().chain(names).cloned().collect(),
            ..policy.clone()
        };
        Search::new(question, &policy).is_solvable()
    };
    // Where nothing fits without all of them, nothing does without one.
    if in_the_way.is_empty() || without(in_the_way)? == Some(false) {
        return Ok(Some(Vec::new()));
    }
    let mut removals = Vec::new();
    for name in in_the_way {
        match without(std::slice::from_ref(name))? {
            Some(true) => removals.push(name.clone()),
            Some(false) => {}
            None => return Ok(None),
        }
    }
    Ok(Some(removals))
}

/// A hint that the index could not be asked for is none: the "no" stands without it.
fn unless_unknown<T>(
    hint: Result<Option<T>, ResolutionError>,
) -> Result<Option<T>, ResolutionError> {
    match hint {
        Err(ResolutionError::Index(_)) => Ok(None),
        other => other,
    }
}

/// A search without a limit ended by one.
fn no_limit() -> ResolutionError {
    ResolutionError::Solver("a search without a limit ran into one".to_owned())
}

fn refuse_direct_references(request: &Request) -> Result<(), ResolutionError> {
    let direct = request
        .requirements
        .iter()
        .find(|requested| requested.requirement.url.is_some());
    match direct {
        Some(direct) => Err(ResolutionError::DirectReference(presentable(
            &direct.requirement.to_string(),
        ))),
        None => Ok(()),
    }
}

/// Looks ahead for an index that fetches on other threads: see [`Foresight`].
#[must_use]
pub fn foresight(environment: &Environment, request: &Request) -> Arc<dyn Foresight> {
    Arc::new(candidates::Outlook::new(environment, request))
}

/// Attempts at an answer that nobody asked for, only a hint, or something to be improved: in practice a few dozen suffice.
const ATTEMPTS: usize = 100;

/// What [`Hints::Brief`] spends on changes of the base. Enough for a change of a few distributions.
const BRIEF: Allowance = Allowance {
    choices: 1_000,
    lookups: 24,
};

/// How many distributions that stand in the way are tried to be removed, one at a time.
const REMOVALS_TRIED: usize = 5;

/// Why there are no decisions.
enum Failure {
    Unsolvable(Box<provider::Derivation>),
    /// What might be spent was spent.
    GivenUp,
    Error(ResolutionError),
}

/// Drops a proof node by node. Left to itself the drop of one node drops those below it, as deep as the proof is, and
/// a proof can be deeper than a stack.
fn dismantle(proof: provider::Derivation) {
    let mut waiting = vec![Arc::new(proof)];
    while let Some(node) = waiting.pop() {
        // A node that is shared is taken apart by the last who has it.
        if let Some(DerivationTree::Derived(derived)) = Arc::into_inner(node) {
            waiting.push(derived.cause1);
            waiting.push(derived.cause2);
        }
    }
}

/// The chosen version of every package.
type Decisions = BTreeMap<SolverPackage, Version>;

fn solve(provider: &Provider<'_>) -> Result<Decisions, Failure> {
    let mut promoted = Vec::new();
    loop {
        let answer = match pubgrub::resolve(provider, SolverPackage::Root, provider::root_version())
        {
            Ok(decisions) => decisions.into_iter().collect(),
            // A proof stands whatever the order of decisions.
            Err(PubGrubError::NoSolution(tree)) => return Err(Failure::Unsolvable(Box::new(tree))),
            Err(
                PubGrubError::ErrorRetrievingDependencies { source, .. }
                | PubGrubError::ErrorChoosingVersion { source, .. }
                | PubGrubError::ErrorInShouldCancel(source),
            ) => {
                return Err(match source {
                    Interruption::Index(error) => Failure::Error(error.into()),
                    Interruption::Spent => Failure::GivenUp,
                });
            }
        };
        if !provider.promote_contested(&mut promoted) {
            return Ok(answer);
        }
    }
}
