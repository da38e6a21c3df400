//! From leaves of a derivation to facts in the order of an explanation.

use std::collections::{BTreeMap, BTreeSet};

use crate::packaging::requirement::is_confined_to_extras;
use crate::packaging::{PackageName, Requirement, Version, VersionSet, specifiers};
use crate::resolution::base::BaseRequirement;
use crate::resolution::candidates::Exclusion;
use crate::resolution::provider::{Derivation, Provider};
use crate::resolution::source;

use super::leaves::{Edge, Leaves, Link, cover, installable_in, leaves_of, meant};
use super::reduce::reduce;
use super::{Besides, Bound, Explanation, Fact, Span};

/// Reads the facts out of a derivation, each once, in the order of the explanation, without those that are not needed.
#[must_use]
pub fn explain(provider: &Provider<'_>, derivation: &Derivation) -> Explanation {
    let leaves = leaves_of(derivation);
    let (joined, missing, any_version) = if let Some(reduced) = reduce(provider, &leaves) {
        let joined = Leaves::of(provider, reduced.leaves);
        (joined, reduced.missing, reduced.any_version)
    } else {
        let joined = Leaves::of(provider, leaves);
        let missing = speaking(&joined);
        (joined, missing, BTreeSet::new())
    };
    let mut facts = in_order(&joined, &missing, &any_version);
    let mut besides = besides(&joined, &facts);
    prefer_firm_pins(&mut facts, &mut besides);
    besides.extend(also_asked(&joined, &facts));
    besides.sort_by_key(|one| std::cmp::Reverse(one.held.firmness()));
    Explanation { facts, besides }
}

/// The ranges without a candidate of which something has to be said.
///
/// What is left of a range once every candidate in it has been ruled out says nothing by itself: the facts about those
/// candidates do. Such a range has a gap, or ends, where a candidate was.
fn speaking<'t>(leaves: &Leaves<'t, '_>) -> BTreeMap<&'t PackageName, Vec<VersionSet>> {
    let spoken = leaves.spoken_of();
    let mut speaking: BTreeMap<&PackageName, Vec<VersionSet>> = BTreeMap::new();
    for (name, ranges) in &leaves.no_versions {
        let Ok(candidates) = leaves.provider.candidates(name) else {
            continue;
        };
        for range in ranges {
            let segments = range.iter().count();
            let is_gap = |version: &Version| {
                let filled = range.union(&VersionSet::singleton(version.clone()));
                filled.iter().count() <= segments
            };
            let is_explained =
                || (spoken.get(name)).is_some_and(|spoken| spoken.iter().any(is_gap));
            if candidates.count_in(range) > 0 || !is_explained() {
                speaking.entry(name).or_default().push((*range).clone());
            }
        }
    }
    speaking
}

fn in_order(
    leaves: &Leaves<'_, '_>,
    missing: &BTreeMap<&PackageName, Vec<VersionSet>>,
    any_version: &BTreeSet<&PackageName>,
) -> Vec<Fact> {
    let provider = leaves.provider;
    let depths = leaves.depths();
    let depth_of = |name: &PackageName| depths.get(name).copied().unwrap_or(usize::MAX);
    let mut outward: Vec<(usize, PackageName, Fact)> = Vec::new();
    let mut push =
        |name: &PackageName, fact: Fact| outward.push((depth_of(name), name.clone(), fact));
    for name in &leaves.stays {
        if let Some(distribution) = provider.environment.distributions.get(*name) {
            push(
                name,
                Fact::Stays {
                    name: (*name).clone(),
                    version: distribution.version.clone(),
                },
            );
        }
    }
    for (edge, links) in &leaves.requires {
        if let Some(fact) = requires(provider, *edge, links) {
            push(edge.0, fact);
        }
    }
    for ((name, requirer), ruled_out) in &leaves.bound {
        for fact in base_requires(leaves, name, requirer, ruled_out) {
            push(name, fact);
        }
    }
    for (name, fact) in unusable(leaves) {
        push(name, fact);
    }
    for (name, ranges) in missing {
        if let Some(fact) = no_candidate(provider, name, ranges) {
            push(name, fact);
        }
    }
    outward.sort_by(|a, b| (a.0, rank(&a.2), &a.1).cmp(&(b.0, rank(&b.2), &b.1)));
    let asked = leaves.asked.iter().map(|position| {
        let requested = &provider.request.requirements[*position];
        Fact::Asked {
            requirement: requested.requirement.without_marker(),
            origin: requested.origin.clone(),
        }
    });
    let facts: Vec<Fact> = asked
        .chain(outward.into_iter().map(|(_, _, fact)| fact))
        .collect();
    with_pins(leaves, facts, any_version)
}

/// Puts what the base has right behind the last fact that meets it.
fn with_pins(
    leaves: &Leaves<'_, '_>,
    facts: Vec<Fact>,
    any_version: &BTreeSet<&PackageName>,
) -> Vec<Fact> {
    let mut last: BTreeMap<PackageName, usize> = BTreeMap::new();
    for (position, fact) in facts.iter().enumerate() {
        if let Some(name) = fact.brings_in() {
            last.insert(name.clone(), position);
        }
    }
    let mut behind: BTreeMap<usize, Vec<Fact>> = BTreeMap::new();
    let wanted = wanted(leaves);
    for name in leaves.pinned() {
        if !any_version.contains(name)
            && let Some(fact) = held(leaves, name, wanted.get(name).cloned())
        {
            let position = last.get(name).copied().unwrap_or(facts.len());
            behind.entry(position).or_default().push(fact);
        }
    }
    let end = behind.remove(&facts.len()).unwrap_or_default();
    let mut all = Vec::with_capacity(facts.len() + end.len());
    for (position, fact) in facts.into_iter().enumerate() {
        all.push(fact);
        all.extend(behind.remove(&position).unwrap_or_default());
    }
    all.extend(end);
    all
}

/// Facts about one project: first what it is or lacks, then what it requires.
fn rank(fact: &Fact) -> u8 {
    match fact {
        Fact::Asked { .. } | Fact::Newest { .. } => 0,
        Fact::Stays { .. } => 1,
        Fact::UnknownProject { .. } => 2,
        Fact::NoCandidate { .. } => 3,
        Fact::Unusable { .. } => 4,
        Fact::BaseRequires { .. } => 5,
        Fact::Requires { .. } => 6,
        Fact::Held { .. } => 7,
    }
}

/// The fact that versions of a project require another.
fn requires(
    provider: &Provider<'_>,
    (name, extra, required): Edge<'_>,
    links: &[Link<'_>],
) -> Option<Fact> {
    let all = installable_in(provider, name, &VersionSet::full());
    let mut by_requirement: BTreeMap<String, (Requirement, BTreeSet<Version>)> = BTreeMap::new();
    for link in links {
        for version in installable_in(provider, name, link.of) {
            let Ok(Ok(requirements)) = provider.requirements(name, &version, extra) else {
                continue;
            };
            let link = (required, link.extra, link.range);
            let requirement = meant(provider, name, &requirements, link);
            if let Some(requirement) = requirement {
                let requirement = requirement.without_marker();
                by_requirement
                    .entry(requirement.to_string())
                    .or_insert_with(|| (requirement, BTreeSet::new()))
                    .1
                    .insert(version);
            }
        }
    }
    let mut bounds: Vec<Bound> = by_requirement
        .into_values()
        .map(|(requirement, versions)| {
            let versions: Vec<Version> = versions.into_iter().rev().collect();
            Bound {
                span: Span::of(&versions, &all),
                versions,
                requirement,
            }
        })
        .collect();
    bounds.sort_by(|a, b| b.versions.cmp(&a.versions));
    let together: BTreeSet<&Version> = bounds.iter().flat_map(|it| &it.versions).collect();
    let together: Vec<Version> = together.into_iter().rev().cloned().collect();
    (!bounds.is_empty()).then(|| Fact::Requires {
        project: name.clone(),
        extra: extra.cloned(),
        required: required.clone(),
        bounds,
        span: Span::of(&together, &all),
    })
}

/// The facts that a distribution of the base, which is held, binds a project that comes in or changes.
fn base_requires(
    leaves: &Leaves<'_, '_>,
    name: &PackageName,
    requirer: &PackageName,
    ruled_out: &VersionSet,
) -> Vec<Fact> {
    let versions = installable_in(leaves.provider, name, ruled_out);
    // Requirements of extras that are in force within the base bind as well, and are known of what is absent.
    let absent = leaves.provider.base.on_absent.get(name);
    let of_project: Vec<&BaseRequirement> = absent
        .into_iter()
        .chain(leaves.requirers.get(name))
        .flatten()
        .collect();
    let of_requirer = || {
        of_project
            .iter()
            .copied()
            .filter(|by| by.requirer == *requirer)
    };
    let mut binding = cover(of_requirer(), &versions);
    if binding.is_empty() {
        binding.extend(of_requirer().next());
    }
    binding
        .into_iter()
        .map(|by| {
            let ruled_out: Vec<Version> = versions
                .iter()
                .filter(|version| !specifiers::allows(&by.requirement.specifiers, version))
                .cloned()
                .collect();
            let mut told: BTreeSet<&PackageName> = BTreeSet::from([requirer]);
            let rules_out_the_same = |other: &BaseRequirement| {
                let mut versions = ruled_out.iter();
                !ruled_out.is_empty()
                    && versions
                        .all(|version| !specifiers::allows(&other.requirement.specifiers, version))
            };
            let mut also: Vec<BaseRequirement> = of_project
                .iter()
                .filter(|other| rules_out_the_same(other) && told.insert(&other.requirer))
                .map(|other| (*other).clone())
                .collect();
            best_known_first(leaves.provider, &mut also);
            Fact::BaseRequires {
                by: by.clone(),
                also,
                ruled_out,
            }
        })
        .collect()
}

/// The facts that candidates cannot be used, those of one reason joined.
fn unusable<'t>(leaves: &Leaves<'t, '_>) -> Vec<(&'t PackageName, Fact)> {
    let mut by_reason: BTreeMap<(&PackageName, String), VersionSet> = BTreeMap::new();
    for (name, extra, set, reason) in &leaves.unusable {
        let reason = match extra {
            Some(extra) => format!("with its extra `{extra}` {reason}"),
            None => reason.to_string(),
        };
        by_reason
            .entry((name, reason))
            .and_modify(|known| *known = known.union(set))
            .or_insert_with(|| (*set).clone());
    }
    by_reason
        .into_iter()
        .map(|((name, reason), set)| {
            let fact = Fact::Unusable {
                name: name.clone(),
                versions: installable_in(leaves.provider, name, &set),
                reason,
            };
            (name, fact)
        })
        .collect()
}

fn no_candidate(
    provider: &Provider<'_>,
    name: &PackageName,
    ranges: &[VersionSet],
) -> Option<Fact> {
    if provider.held(name).is_some() {
        return None;
    }
    let candidates = provider.candidates(name).ok()?;
    if !candidates.is_known() {
        return Some(Fact::UnknownProject { name: name.clone() });
    }
    let range = ranges
        .iter()
        .fold(VersionSet::empty(), |known, range| known.union(range));
    let mut by_reason: BTreeMap<Exclusion, Vec<Version>> = BTreeMap::new();
    for (version, exclusion) in candidates.excluded(&range) {
        by_reason.entry(exclusion).or_default().push(version);
    }
    let mut excluded: Vec<(Exclusion, Vec<Version>)> = by_reason.into_iter().collect();
    excluded.sort_by(|a, b| b.1.cmp(&a.1));
    Some(Fact::NoCandidate {
        source: source::needs(provider, name, &candidates, &excluded),
        name: name.clone(),
        excluded,
        newest: candidates.known_versions().next().cloned(),
    })
}

/// What would be acceptable, of each project, to those who require it: as the newest version of each in the proof says.
fn wanted<'t>(leaves: &Leaves<'t, '_>) -> BTreeMap<&'t PackageName, VersionSet> {
    let provider = leaves.provider;
    let mut wanted: BTreeMap<&PackageName, VersionSet> = BTreeMap::new();
    let mut add = |name: &'t PackageName, set: VersionSet| {
        let known = wanted.entry(name).or_insert_with(VersionSet::full);
        let both = known.intersection(&set);
        // Where they do not agree among themselves, the first of them speaks.
        if !both.is_empty() {
            *known = both;
        }
    };
    for (name, _) in &leaves.of_root {
        for position in &leaves.asked {
            let requirement = &provider.request.requirements[*position].requirement;
            if requirement.name == **name {
                add(name, requirement.version_set());
            }
        }
    }
    for ((requirer, extra, required), links) in &leaves.requires {
        if provider.held(required).is_none() {
            continue;
        }
        let versions = links
            .iter()
            .flat_map(|link| installable_in(provider, requirer, link.of));
        if let Some(version) = versions.max()
            && let Ok(Ok(requirements)) = provider.requirements(requirer, &version, *extra)
        {
            for requirement in &requirements {
                if requirement.name == **required {
                    add(required, requirement.version_set());
                }
            }
        }
    }
    wanted
}

/// The fact that the base has a distribution at its version.
fn held(leaves: &Leaves<'_, '_>, name: &PackageName, wanted: Option<VersionSet>) -> Option<Fact> {
    let provider = leaves.provider;
    let distribution = provider.held(name)?;
    let wanted =
        wanted.unwrap_or_else(|| VersionSet::singleton(distribution.version.clone()).complement());
    let mut required_by: Vec<BaseRequirement> = leaves
        .requirers
        .get(name)
        .into_iter()
        .flatten()
        // What the base has violated already is no reason for anything.
        .filter(|by| specifiers::allows(&by.requirement.specifiers, &distribution.version))
        .cloned()
        .collect();
    best_known_first(provider, &mut required_by);
    // Those that would not follow a change are the reason why a change is no way out.
    required_by.sort_by_key(|by| !by.requirement.version_set().is_disjoint(&wanted));
    Some(Fact::Held {
        name: name.clone(),
        version: distribution.version.clone(),
        required_by,
        wanted,
        constraints: provider.constraints_against(name, &distribution.version),
    })
}

/// Distributions of the base that require much are those that a person has heard of.
fn best_known_first(provider: &Provider<'_>, requirers: &mut [BaseRequirement]) {
    let distributions = &provider.environment.distributions;
    requirers.sort_by_cached_key(|by| {
        let requirements = distributions
            .get(&by.requirer)
            .into_iter()
            .flat_map(|distribution| &distribution.requires_dist)
            .filter(|text| !is_confined_to_extras(text))
            .count();
        (std::cmp::Reverse(requirements), by.requirer.clone())
    });
}

/// A version that meets several pins of the base is ruled out by each, and a proof stops at any one of them. A person
/// who means that version is told of all: mending the first would only lead to the next.
fn besides(leaves: &Leaves<'_, '_>, facts: &[Fact]) -> Vec<Besides> {
    let provider = leaves.provider;
    let known: BTreeSet<&PackageName> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Held { name, .. } => Some(name),
            _ => None,
        })
        .collect();
    let mut besides = Vec::new();
    for fact in facts {
        let Fact::Requires {
            project,
            extra,
            required,
            bounds,
            span,
        } = fact
        else {
            continue;
        };
        let [bound] = bounds.as_slice() else { continue };
        let ([version], true) = (bound.versions.as_slice(), known.contains(required)) else {
            continue;
        };
        let requirements = provider.requirements(project, version, extra.as_ref());
        for requirement in requirements.ok().and_then(Result::ok).unwrap_or_default() {
            let name = &requirement.name;
            let meets = provider
                .held(name)
                .is_some_and(|held| !provider.accepted(&requirement).contains(&held.version));
            if !meets || known.contains(name) {
                continue;
            }
            if let Some(held) = held(leaves, name, Some(requirement.version_set())) {
                let one = Besides {
                    requires: Fact::Requires {
                        project: project.clone(),
                        extra: extra.clone(),
                        required: name.clone(),
                        bounds: vec![Bound {
                            requirement: requirement.without_marker(),
                            ..bound.clone()
                        }],
                        span: *span,
                    },
                    held,
                };
                if !besides.contains(&one) {
                    besides.push(one);
                }
            }
        }
    }
    besides
}

/// Of several pins that one version meets, the proof takes the one that most of the base insists on: what nothing there
/// insists on looks as if it could just be changed.
fn prefer_firm_pins(facts: &mut [Fact], besides: &mut [Besides]) {
    for position in 0..facts.len().saturating_sub(1) {
        let Fact::Requires { required, .. } = &facts[position] else {
            continue;
        };
        let is_pinned = matches!(&facts[position + 1], Fact::Held { name, .. } if name == required);
        let uses = facts.iter().filter_map(Fact::brings_in);
        if !is_pinned || uses.filter(|name| *name == required).count() > 1 {
            continue;
        }
        let subject = facts[position].subject().cloned();
        let best = besides
            .iter_mut()
            .filter(|one| one.requires.subject() == subject.as_ref())
            .max_by_key(|one| one.held.firmness())
            .filter(|one| one.held.firmness() > facts[position + 1].firmness());
        if let Some(best) = best {
            std::mem::swap(&mut best.requires, &mut facts[position]);
            std::mem::swap(&mut best.held, &mut facts[position + 1]);
        }
    }
}

/// Other requirements of the request that the base itself does not satisfy.
fn also_asked(leaves: &Leaves<'_, '_>, facts: &[Fact]) -> Vec<Besides> {
    let provider = leaves.provider;
    let requirements = provider.request.requirements.iter().enumerate();
    requirements
        .filter(|(position, _)| !leaves.asked.contains(position))
        .filter_map(|(_, requested)| {
            let requirement = requested.requirement.without_marker();
            let installed = provider.held(&requirement.name)?;
            let fits = provider.accepted(&requirement).contains(&installed.version);
            let known =
                |fact: &Fact| matches!(fact, Fact::Held { name, .. } if *name == requirement.name);
            if fits || facts.iter().any(known) {
                return None;
            }
            Some(Besides {
                held: held(leaves, &requirement.name, Some(requirement.version_set()))?,
                requires: Fact::Asked {
                    requirement,
                    origin: requested.origin.clone(),
                },
            })
        })
        .collect()
}
