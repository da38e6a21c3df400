//! Resolution: what must be added to a base so that a request is satisfied and nothing of the base changes.
//!
//! Phases, each in a file of its own:
//!
//! 1. [`request`]: what is asked for; [`base`]: what the installed distributions say of each other, which of their
//!    requirements are broken already, and which bind projects that are not installed.
//! 2. [`candidates`]: the versions of a project that could be installed at all, in the order in which they are tried,
//!    and for every other version the reason why not.
//! 3. [`provider`]: the facts in the form that PubGrub asks for them, one package and version at a time. PubGrub
//!    chooses versions until all is decided, or derives that nothing can be.
//! 4. [`solution`]: the decisions as a [`Resolution`]; [`conflict`]: the derivation as a [`Conflict`] in plain words,
//!    with the newest version that would have fitted, found by solving for it.
//!
//! Plain synchronous code: the index is a [`PackageIndex`] whose calls block.

pub mod base;
pub mod candidates;
pub mod conflict;
pub mod package;
pub mod provider;
pub mod request;
pub mod solution;

use std::collections::BTreeMap;
use std::sync::Arc;

use pubgrub::{DerivationTree, PubGrubError};

use crate::environment::Environment;
use crate::package_index::{Foresight, IndexError, PackageIndex};
use crate::packaging::requirement::presentable;
use crate::packaging::{PackageName, Version};

use base::BaseFacts;
use candidates::Admission;
pub use conflict::Conflict;
use package::SolverPackage;
use provider::Provider;
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

/// Resolutions of requests on one base: what is known of the base is worked out once.
pub struct Resolver<'a> {
    environment: &'a Environment,
    index: &'a dyn PackageIndex,
    base: BaseFacts<'a>,
}

impl<'a> Resolver<'a> {
    /// A resolver on top of `environment`, with the candidates of `index`.
    #[must_use]
    pub fn new(environment: &'a Environment, index: &'a dyn PackageIndex) -> Self {
        Self {
            environment,
            index,
            base: BaseFacts::of(environment),
        }
    }

    /// What is known of the base.
    #[must_use]
    pub fn base(&self) -> &BaseFacts<'a> {
        &self.base
    }

    /// Resolves `request` with every distribution of the base held at its version.
    ///
    /// # Errors
    /// When the index cannot be asked, or the request contains what no index can answer.
    pub fn resolve(&self, request: &Request) -> Result<Outcome, ResolutionError> {
        if let Some(direct) = request
            .requirements
            .iter()
            .find(|requested| requested.requirement.url.is_some())
        {
            return Err(ResolutionError::DirectReference(presentable(
                &direct.requirement.to_string(),
            )));
        }
        let provider = self.provider(request);
        match solve(&provider) {
            Ok(decisions) => Ok(Outcome::Resolution(solution::describe(
                &provider, &decisions,
            )?)),
            Err(Failure::Unsolvable(proof)) => {
                let facts = conflict::facts(&provider, &proof);
                dismantle(*proof);
                Ok(Outcome::Conflict(Conflict {
                    facts,
                    fitting: self.fitting(request)?,
                    without_constraints: self.without_constraints(request)?,
                    broken_base: self.base.broken.clone(),
                }))
            }
            Err(Failure::Error(error)) => Err(error),
        }
    }

    fn provider<'r>(&'r self, request: &'r Request) -> Provider<'r> {
        Provider::new(
            self.environment,
            &self.base,
            self.index,
            request,
            Arc::new(Admission::new(self.environment, request)),
        )
    }

    /// For each requested project, the newest version that does fit when its own bounds are dropped and everything
    /// else of the request stands. Found by solving.
    fn fitting(&self, request: &Request) -> Result<Vec<conflict::Fitting>, ResolutionError> {
        let mut fitting = Vec::new();
        for position in 0..request.requirements.len() {
            let asked = &request.requirements[position].requirement;
            let relaxed = request.with_any_version_of(position);
            let version = if asked.specifiers.is_empty() {
                None
            } else {
                self.decisions(&relaxed)?.and_then(|decisions| {
                    decisions
                        .get(&SolverPackage::Project(asked.name.clone()))
                        .cloned()
                })
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
    ) -> Result<Vec<(PackageName, Version)>, ResolutionError> {
        if request.constraints.is_empty() {
            return Ok(Vec::new());
        }
        let relaxed = Request {
            constraints: Vec::new(),
            ..request.clone()
        };
        let decisions = self.decisions(&relaxed)?.unwrap_or_default();
        Ok(relaxed
            .requirements
            .iter()
            .filter_map(|requested| {
                let name = &requested.requirement.name;
                let version = decisions.get(&SolverPackage::Project(name.clone()))?;
                Some((name.clone(), version.clone()))
            })
            .collect())
    }

    /// The solver's decisions for a request; `None` where there are none.
    fn decisions(
        &self,
        request: &Request,
    ) -> Result<Option<BTreeMap<SolverPackage, Version>>, ResolutionError> {
        match solve(&self.provider(request)) {
            Ok(decisions) => Ok(Some(decisions)),
            Err(Failure::Unsolvable(proof)) => {
                dismantle(*proof);
                Ok(None)
            }
            Err(Failure::Error(error)) => Err(error),
        }
    }
}

/// Looks ahead for an index that fetches on other threads: see [`Foresight`].
#[must_use]
pub fn foresight(environment: &Environment, request: &Request) -> Arc<dyn Foresight> {
    Arc::new(candidates::Outlook::new(environment, request))
}

/// Why there are no decisions.
enum Failure {
    Unsolvable(Box<provider::Derivation>),
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

fn solve(provider: &Provider<'_>) -> Result<BTreeMap<SolverPackage, Version>, Failure> {
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
            ) => return Err(Failure::Error(ResolutionError::Index(source))),
        };
        if !provider.promote_contested(&mut promoted) {
            return Ok(answer);
        }
    }
}
