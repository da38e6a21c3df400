//! What more there is to have for more changes of the base.

use crate::packaging::{PackageName, Version, VersionSet};

use super::ResolutionError;
use super::latitude::Cost;
use super::minimal::{self, Answer, Found, Search};
use super::policy::Policy;
use super::question::Question;
use super::solution::{self, Resolution};

/// The answers among which a person can choose: each has newer versions of what is asked for than the one before, and
/// changes more of the base. Every row is solved, and proven to have the fewest changes for its versions.
#[derive(Debug, Clone)]
pub struct Frontier {
    /// The projects that are compared: those of the request, in its order.
    pub projects: Vec<PackageName>,
    /// Fewest changes first.
    pub rows: Vec<Row>,
    /// The newest stable version that the index has of each project, whether or not it is to be had.
    pub newest: Vec<Option<Version>>,
}

/// One answer of a [`Frontier`].
#[derive(Debug, Clone)]
pub struct Row {
    /// The version of each project, in the order of [`Frontier::projects`].
    pub versions: Vec<Version>,
    /// The answer.
    pub resolution: Resolution,
}

/// Finds the rows one after the other: what comes next is the cheapest answer with anything newer than the last.
pub(super) fn find<'a>(
    question: &'a Question<'a>,
    policy: &'a Policy,
) -> Result<Frontier, ResolutionError> {
    let projects = minimal::requested(question);
    let mut rows: Vec<Row> = Vec::new();
    let mut search = Search::new(question, policy);
    let mut next = answer(search.best(None)?);
    while let Some(found) = next {
        let versions: Vec<Version> = projects
            .iter()
            .filter_map(|name| found.version_of(name).cloned())
            .collect();
        let resolution = solution::describe(&found.provider, &found.decisions)?;
        // As many changes for something newer: the row before is not worth having.
        if rows
            .last()
            .is_some_and(|last| last.resolution.changes() >= resolution.changes())
        {
            rows.pop();
        }
        rows.push(Row {
            versions,
            resolution,
        });
        next = newer(&search, &projects, &found)?;
    }
    let newest = projects
        .iter()
        .map(|name| {
            let candidates = question.candidates(name)?;
            let newest = candidates
                .known_versions()
                .find(|version| !version.any_prerelease());
            Ok(newest.cloned())
        })
        .collect::<Result<_, ResolutionError>>()?;
    Ok(Frontier {
        projects,
        rows,
        newest,
    })
}

fn answer(found: Found<'_>) -> Option<Box<Answer<'_>>> {
    match found {
        Found::Answer(answer) => Some(answer),
        Found::Nothing(refusal) => {
            super::dismantle(*refusal.proof);
            None
        }
        Found::TooDear | Found::GivenUp => None,
    }
}

/// The cheapest answer in which the first project that differs from `last` is newer. Proofs of the searches are those of
/// narrower questions and say nothing about the next.
fn newer<'a>(
    search: &Search<'a>,
    projects: &[PackageName],
    last: &Answer<'_>,
) -> Result<Option<Box<Answer<'a>>>, ResolutionError> {
    let mut best: Option<Box<Answer<'a>>> = None;
    let mut same = search.clone();
    for name in projects {
        if let Some(versions) = minimal::newer_than(last, name)? {
            let limit: Option<Cost> = best.as_ref().map(|best| best.cost);
            let found = answer(same.within(name, versions).best(limit)?);
            // At the same cost, something newer of an earlier project is better.
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.cost < best.cost)
            {
                best = Some(found);
            }
        }
        if let Some(version) = last.version_of(name) {
            same = same.within(name, VersionSet::singleton(version.clone()));
        }
    }
    Ok(best)
}
