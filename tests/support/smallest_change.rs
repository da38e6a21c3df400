//! The meaning of "the smallest change", "the newest" and "the frontier" without any cleverness: every fate of the base
//! is tried, and for each of them everything that could come in.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use imgtool::packaging::Version;
use imgtool::resolution::Policy;

use super::brute_force::{Additions, Fates, Rigour, World, rank};

/// How good an answer is, the least the best: changes and removals, removals, downgrades.
pub type Cost = (usize, usize, usize);

/// A place in the order of preference.
type Rank = (bool, Reverse<Version>);

/// The best answer of a kind.
#[derive(Debug, Clone)]
pub struct Best {
    /// What it costs the base.
    pub cost: Cost,
    /// What becomes of the base.
    pub fates: Fates,
    /// What comes in.
    pub added: Additions,
    /// What is requested, in the order of the request.
    pub versions: Vec<Version>,
}

/// The search was given up.
#[derive(Debug)]
pub struct TooLarge;

impl World<'_> {
    /// What `fates` cost.
    pub fn cost(&self, fates: &Fates) -> Cost {
        let downgrades = fates.changed.iter();
        let downgrades = downgrades.filter(|(name, version)| self.base[*name].version > **version);
        (
            fates.changed.len() + fates.removed.len(),
            fates.removed.len(),
            downgrades.count(),
        )
    }

    /// Every fate of the base that `policy` allows, the cheapest first.
    fn all_fates(&self, policy: &Policy) -> Vec<Fates> {
        let mut all = vec![Fates::default()];
        for (name, installed) in &self.base {
            let mut more = Vec::new();
            if policy.lets_change(name) {
                let offered = self.offered.get(name).into_iter().flatten();
                let others = offered.filter(|it| {
                    it.version != installed.version && self.constraints_allow(name, &it.version)
                });
                for other in others {
                    more.extend(all.iter().cloned().map(|mut fates| {
                        fates.changed.insert(name.clone(), other.version.clone());
                        fates
                    }));
                }
            }
            if policy.lets_leave(name) {
                more.extend(all.iter().cloned().map(|mut fates| {
                    fates.removed.insert(name.clone());
                    fates
                }));
            }
            all.extend(more);
        }
        all.sort_by_key(|fates| self.cost(fates));
        all
    }

    /// The answers to the request, the cheapest first; of each fate of the base the one that is first in the order of
    /// preference.
    fn answers(
        &self,
        policy: &Policy,
        rigour: Rigour,
        steps: usize,
    ) -> impl Iterator<Item = Result<Best, TooLarge>> {
        let mut left = steps;
        let fates = self.all_fates(policy).into_iter();
        fates.filter_map(move |fates| {
            let found = self.search_after(&fates, rigour, &mut left);
            if left == 0 {
                return Some(Err(TooLarge));
            }
            let added = found?;
            let cost = self.cost(&fates);
            let versions = self.versions(&fates, &added);
            Some(Ok(Best {
                cost,
                fates,
                added,
                versions,
            }))
        })
    }

    /// The versions of what is requested, in the order of the request.
    pub fn versions(&self, fates: &Fates, added: &Additions) -> Vec<Version> {
        let requested = self.request.requirements.iter();
        requested
            .map(|requested| {
                let name = &requested.requirement.name;
                let chosen = fates.changed.get(name).or_else(|| added.get(name));
                chosen.unwrap_or_else(|| &self.base[name].version).clone()
            })
            .collect()
    }

    /// The answer with the smallest change of the base and, of those, the newest versions of what is requested. Exact
    /// in these versions for a request of one requirement.
    pub fn smallest(&self, policy: &Policy, steps: usize) -> Result<Option<Best>, TooLarge> {
        let mut smallest: Option<Best> = None;
        for answer in self.answers(policy, Rigour::AsBefore, steps) {
            let answer = answer?;
            match &smallest {
                Some(best) if best.cost < answer.cost => break,
                Some(best) if ranks(&best.versions) <= ranks(&answer.versions) => {}
                _ => smallest = Some(answer),
            }
        }
        Ok(smallest)
    }

    /// The answer with the newest versions of what is requested, whatever it costs, but that nothing leaves unless it
    /// must; with the rules that it keeps.
    pub fn newest(
        &self,
        policy: &Policy,
        steps: usize,
    ) -> Result<Option<(Best, Rigour)>, TooLarge> {
        let stay = |answer: &Best| answer.fates.removed.is_empty();
        for (rigour, leaves) in [
            (Rigour::Whole, false),
            (Rigour::Whole, true),
            (Rigour::AsBefore, false),
            (Rigour::AsBefore, true),
        ] {
            let mut newest: Option<Best> = None;
            for answer in self.answers(policy, rigour, steps) {
                let answer = answer?;
                if !leaves && !stay(&answer) {
                    continue;
                }
                if newest
                    .as_ref()
                    .is_none_or(|best| ranks(&answer.versions) < ranks(&best.versions))
                {
                    newest = Some(answer);
                }
            }
            if let Some(newest) = newest {
                return Ok(Some((newest, rigour)));
            }
        }
        Ok(None)
    }

    /// For a request of one requirement: the newest version for each number of changes, where more changes give a
    /// newer one.
    pub fn frontier(
        &self,
        policy: &Policy,
        steps: usize,
    ) -> Result<Vec<(usize, Version)>, TooLarge> {
        let mut newest: BTreeMap<usize, Version> = BTreeMap::new();
        for answer in self.answers(policy, Rigour::AsBefore, steps) {
            let answer = answer?;
            let [version] = answer.versions.as_slice() else {
                panic!("a frontier of several requirements is not searched for");
            };
            let known = newest.entry(answer.cost.0);
            let known = known.or_insert_with(|| version.clone());
            if rank(version) < rank(known) {
                *known = version.clone();
            }
        }
        let mut rows: Vec<(usize, Version)> = Vec::new();
        for (changes, version) in newest {
            if rows
                .last()
                .is_none_or(|(_, last)| rank(&version) < rank(last))
            {
                rows.push((changes, version));
            }
        }
        Ok(rows)
    }
}

fn ranks(versions: &[Version]) -> Vec<Rank> {
    versions.iter().map(rank).collect()
}
