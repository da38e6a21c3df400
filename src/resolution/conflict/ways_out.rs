//! What would fit instead, and why an answer is not newer: each found by solving.

use std::collections::BTreeSet;

use crate::packaging::{PackageName, Version, VersionSpecifiers};
use crate::resolution::policy::Policy;
use crate::resolution::request::Request;
use crate::resolution::solution::Behind;
use crate::resolution::{Hints, Outcome, ResolutionError, Resolver};

use super::{Explanation, Fact, Relaxed};

/// How many constraints are dropped, one at a time.
const CONSTRAINTS_TRIED: usize = 16;

/// How many facts are told about all newer versions rather than about the newest.
const SHORT_STORY: usize = 12;

/// What keeps the newest version of a requested project out of an answer.
#[derive(Debug, Clone)]
pub enum KeptOut {
    /// These facts do.
    Facts(Explanation),
    /// Nothing but the rest of the request: with the newest version of this project others come to these versions.
    Others(Vec<(PackageName, Version)>),
}

impl Resolver<'_> {
    /// The constraints of `request` without one of which it fits, of those on projects that the proof speaks of; each
    /// dropped by itself.
    pub(in crate::resolution) fn relaxed(
        &self,
        request: &Request,
        policy: &Policy,
        spoken_of: &BTreeSet<PackageName>,
    ) -> Result<Vec<Relaxed>, ResolutionError> {
        let mut relaxed = Vec::new();
        let positions = 0..request.constraints.len();
        let in_question = positions.filter(|position| {
            let constraint = &request.constraints[*position].requirement;
            spoken_of.contains(&constraint.name)
        });
        for position in in_question.take(CONSTRAINTS_TRIED) {
            let mut without = request.clone();
            let constraint = without.constraints.remove(position);
            let versions = self.versions(&without, policy)?;
            if !versions.is_empty() {
                relaxed.push(Relaxed {
                    constraint,
                    versions,
                });
            }
        }
        Ok(relaxed)
    }

    /// What keeps newer versions of a requested project out: `request` is solved again with newer ones asked for. Where
    /// what keeps all of them out is a long story, it is told of the newest alone.
    ///
    /// # Errors
    /// As [`Resolver::resolve`].
    pub fn kept_out(
        &self,
        request: &Request,
        policy: &Policy,
        behind: &Behind,
    ) -> Result<KeptOut, ResolutionError> {
        let version = &behind.version;
        let newer = self.kept_within(request, policy, behind, &format!(">{version}"))?;
        if let KeptOut::Facts(explanation) = &newer
            && explanation.facts.len() <= SHORT_STORY
        {
            return Ok(newer);
        }
        // Not `==`, which would let in a version that was yanked.
        let bounds = format!(">={0},<={0}", behind.newest);
        self.kept_within(request, policy, behind, &bounds)
    }

    fn kept_within(
        &self,
        request: &Request,
        policy: &Policy,
        behind: &Behind,
        bounds: &str,
    ) -> Result<KeptOut, ResolutionError> {
        let bounds: VersionSpecifiers = bounds
            .parse()
            .map_err(|_| ResolutionError::Solver(format!("`{bounds}` is no bound")))?;
        let mut newest = request.clone();
        for requested in &mut newest.requirements {
            let requirement = &mut requested.requirement;
            if requirement.name == behind.name {
                let both = requirement.specifiers.iter().chain(bounds.iter());
                requirement.specifiers = both.cloned().collect();
            }
        }
        let means_all = bounds.len() == 1;
        Ok(match self.resolve_with(&newest, policy, Hints::None)? {
            Outcome::Resolution(resolution) => KeptOut::Others(
                resolution
                    .requested
                    .into_iter()
                    .map(|satisfied| (satisfied.requirement.name, satisfied.version))
                    .filter(|(name, _)| *name != behind.name)
                    .collect(),
            ),
            Outcome::Conflict(conflict) => {
                let mut explanation = Explanation {
                    facts: conflict.facts,
                    besides: conflict.besides,
                };
                for fact in &mut explanation.facts {
                    if let Fact::Asked { requirement, .. } = fact
                        && requirement.name == behind.name
                    {
                        *fact = Fact::Newest {
                            name: behind.name.clone(),
                            extras: behind.extras.clone(),
                            version: behind.newest.clone(),
                            above: means_all.then(|| behind.version.clone()),
                        };
                    }
                }
                KeptOut::Facts(explanation)
            }
        })
    }
}
