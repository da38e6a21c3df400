//! From PubGrub's derivation to facts that a person can act on.
//!
//! The derivation is a graph of conclusions over facts. A person needs the facts: the conclusions follow. They are
//! collected in one pass (without recursion: a derivation may be thousands of steps deep), facts of the same project
//! about the same requirement are joined, and ordered from what was asked to where it meets the base.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pubgrub::{DerivationTree, External};
use rustc_hash::FxHashSet;

use crate::packaging::{ExtraName, PackageName, Requirement, Version, VersionSet};

use super::base::{BaseRequirement, BrokenRequirement};
use super::candidates::Exclusion;
use super::package::SolverPackage;
use super::provider::{Derivation, Provider, Unusable};
use super::request::Requested;

/// A request that cannot be satisfied on the base as it is.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// Why, from what was asked to where it meets the base. Together they rule the request out.
    pub facts: Vec<Fact>,
    /// What would fit, one for each requirement of the request.
    pub fitting: Vec<Fitting>,
    /// What the requested projects come to when the constraints of the request are dropped; empty where it has none,
    /// or where dropping them does not help.
    pub without_constraints: Vec<(PackageName, Version)>,
    /// What the base itself violates, whatever is asked for.
    pub broken_base: Vec<BrokenRequirement>,
}

/// The newest version of a requested project that fits the base, found by solving.
#[derive(Debug, Clone)]
pub struct Fitting {
    /// The requirement of the request.
    pub requested: Requirement,
    /// Whether the project is installed in the base.
    pub held: bool,
    /// The newest version that fits when the bounds on the project are dropped; `None` where no version does, or
    /// where there were no bounds to drop.
    pub version: Option<Version>,
}

/// One fact of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The request asks for something.
    Asked {
        /// What it asks for.
        requirement: Requirement,
        /// The file and line it stands in.
        origin: Option<String>,
    },
    /// A project requires another.
    Requires {
        /// The project that has the requirement.
        project: PackageName,
        /// The extra of it that has the requirement.
        extra: Option<ExtraName>,
        /// The project that is required.
        required: PackageName,
        /// What exactly is required, by groups of versions of `project`, newest group first.
        bounds: Vec<Bound>,
    },
    /// The base has a distribution at a version that does not satisfy what was said before.
    Held {
        /// The distribution.
        name: PackageName,
        /// The version that the base has.
        version: Version,
        /// Distributions of the base that require it: those that rule out a change first.
        required_by: Vec<BaseRequirement>,
        /// The constraints of the request that rule this version out.
        constraints: Vec<String>,
    },
    /// A distribution of the base binds a project that is not installed.
    BaseRequires {
        /// Who requires what.
        by: BaseRequirement,
        /// The versions of the project that it rules out, newest first.
        ruled_out: Vec<Version>,
    },
    /// No index knows the project.
    UnknownProject {
        /// The project.
        name: PackageName,
    },
    /// An index knows the project, but nothing in the range that is asked for can be installed.
    NoCandidate {
        /// The project.
        name: PackageName,
        /// The versions in the range, each with the reason why it is no candidate; groups of the same reason, newest
        /// first. Empty where the index has no version in the range.
        excluded: Vec<(Exclusion, Vec<Version>)>,
        /// The newest version that the index has.
        newest: Option<Version>,
    },
    /// Candidates that turned out to be unusable.
    Unusable {
        /// The project.
        name: PackageName,
        /// The versions, newest first.
        versions: Vec<Version>,
        /// Why.
        reason: String,
    },
}

/// What a group of versions of one project requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The versions that have this requirement, newest first.
    pub versions: Vec<Version>,
    /// Whether these are all versions of the project that could be installed.
    pub every_candidate: bool,
    /// The requirement as the newest of them states it.
    pub requirement: Requirement,
}

/// Reads the facts out of a derivation, each once, in the order of the explanation.
#[must_use]
pub fn facts(provider: &Provider<'_>, derivation: &Derivation) -> Vec<Fact> {
    let mut leaves = Leaves::of(provider, derivation);
    leaves.name_all_pins();
    let asked = leaves.asked();
    let depths = leaves.depths(&asked);
    let depth_of = |name: &PackageName| depths.get(name).copied().unwrap_or(usize::MAX);

    let mut outward: Vec<(usize, PackageName, Fact)> = Vec::new();
    let mut push =
        |name: &PackageName, fact: Fact| outward.push((depth_of(name), name.clone(), fact));
    for ((name, extra, required), links) in &leaves.requires {
        if let Some(fact) = requires(provider, name, *extra, required, links) {
            push(name, fact);
        }
    }
    for ((name, requirer), set) in &leaves.ruled_out {
        let bounds = provider.base.on_absent.get(*name).into_iter().flatten();
        for by in bounds.filter(|bound| bound.requirer == **requirer) {
            push(
                name,
                Fact::BaseRequires {
                    by: by.clone(),
                    ruled_out: installable_in(provider, name, set),
                },
            );
        }
    }
    for (name, set, reason) in &leaves.unusable {
        push(
            name,
            Fact::Unusable {
                name: (*name).clone(),
                versions: installable_in(provider, name, set),
                reason: reason.clone(),
            },
        );
    }
    for (name, ranges) in &leaves.no_versions {
        if let Some(fact) = no_candidate(provider, name, ranges, &leaves.spoken_of(name)) {
            push(name, fact);
        }
    }
    outward.sort_by(|a, b| (a.0, rank(&a.2), &a.1).cmp(&(b.0, rank(&b.2), &b.1)));
    outward.dedup_by(|a, b| a.2 == b.2);
    let mut facts: Vec<Fact> = asked
        .iter()
        .map(|requested| Fact::Asked {
            requirement: requested.requirement.without_marker(),
            origin: requested.origin.clone(),
        })
        .chain(outward.into_iter().map(|(_, _, fact)| fact))
        .collect();
    // What the base has stands right behind the last fact that meets it.
    for name in leaves.pinned() {
        if let Some(fact) = held(provider, name, &leaves) {
            let meets = |fact: &Fact| match fact {
                Fact::Asked { requirement, .. } => requirement.name == *name,
                Fact::Requires { required, .. } => required == name,
                _ => false,
            };
            let position = facts
                .iter()
                .rposition(meets)
                .map_or(facts.len(), |at| at + 1);
            facts.insert(position, fact);
        }
    }
    facts
}

/// Facts about one project: first what it is or lacks, then what it requires.
fn rank(fact: &Fact) -> u8 {
    match fact {
        Fact::Asked { .. } => 0,
        Fact::UnknownProject { .. } => 1,
        Fact::NoCandidate { .. } => 2,
        Fact::Unusable { .. } => 3,
        Fact::BaseRequires { .. } => 4,
        Fact::Requires { .. } => 5,
        Fact::Held { .. } => 6,
    }
}

/// Who requires: a project, the extra of it, and what it requires.
type Edge<'t> = (&'t PackageName, Option<&'t ExtraName>, &'t PackageName);

/// That versions of a project require another.
struct Link<'t> {
    /// Versions of the one that requires.
    of: &'t VersionSet,
    /// The extra that is required, if it is one.
    extra: Option<&'t ExtraName>,
    /// The versions that will do.
    range: Cow<'t, VersionSet>,
}

/// The facts at the leaves of a derivation, joined by what they are about.
struct Leaves<'t> {
    provider: &'t Provider<'t>,
    /// What the root requires, and in which versions.
    of_root: Vec<(&'t SolverPackage, &'t VersionSet)>,
    /// Who requires whom.
    requires: BTreeMap<Edge<'t>, Vec<Link<'t>>>,
    /// Versions of a project that a distribution of the base rules out.
    ruled_out: BTreeMap<(&'t PackageName, &'t PackageName), VersionSet>,
    /// Ranges in which a project has no candidate.
    no_versions: BTreeMap<&'t PackageName, Vec<&'t VersionSet>>,
    /// Candidates that cannot be used.
    unusable: Vec<(&'t PackageName, &'t VersionSet, String)>,
    /// Who requires what within the base.
    requirers: BTreeMap<PackageName, Vec<BaseRequirement>>,
}

impl<'t> Leaves<'t> {
    fn of(provider: &'t Provider<'t>, derivation: &'t Derivation) -> Self {
        let mut leaves = Self {
            provider,
            of_root: Vec::new(),
            requires: BTreeMap::new(),
            ruled_out: BTreeMap::new(),
            no_versions: BTreeMap::new(),
            unusable: Vec::new(),
            requirers: provider.base.requirers(),
        };
        // Conclusions are shared: each node is visited once, whatever the number of ways to it.
        let mut seen: FxHashSet<*const Derivation> = FxHashSet::default();
        let mut waiting = vec![derivation];
        while let Some(node) = waiting.pop() {
            if !seen.insert(std::ptr::from_ref(node)) {
                continue;
            }
            match node {
                DerivationTree::Derived(derived) => {
                    waiting.push(&derived.cause2);
                    waiting.push(&derived.cause1);
                }
                DerivationTree::External(leaf) => leaves.add(leaf),
            }
        }
        leaves
    }

    fn add(&mut self, leaf: &'t External<SolverPackage, VersionSet, Unusable>) {
        match leaf {
            External::NotRoot(..) => {}
            External::NoVersions(package, set) => {
                if let Some(name) = package.project() {
                    self.no_versions.entry(name).or_default().push(set);
                }
            }
            External::Custom(package, set, reason) => {
                if let Some(name) = package.project() {
                    let reason = match package {
                        SolverPackage::Extra(_, extra) => {
                            format!("with its extra `{extra}` {reason}")
                        }
                        _ => reason.to_string(),
                    };
                    self.unusable.push((name, set, reason));
                }
            }
            External::FromDependencyOf(dependent, versions, dependency, range) => {
                let Some(required) = dependency.project() else {
                    return;
                };
                let (name, extra) = match dependent {
                    SolverPackage::Root => {
                        self.of_root.push((dependency, range));
                        return;
                    }
                    SolverPackage::Project(name) => (name, None),
                    SolverPackage::Extra(name, extra) => (name, Some(extra)),
                };
                let link = Link {
                    of: versions,
                    extra: match dependency {
                        SolverPackage::Extra(_, extra) => Some(extra),
                        _ => None,
                    },
                    range: Cow::Borrowed(range),
                };
                // That an extra is of the version of its project is a fact about the solver, not about the world.
                if name == required && link.extra.is_none() {
                    return;
                }
                let turned_around = extra.is_none()
                    && self.provider.held(required).is_some_and(|held| {
                        VersionSet::singleton(held.version.clone()).complement() == *range
                    });
                if turned_around {
                    let known = self
                        .ruled_out
                        .entry((name, required))
                        .or_insert_with(VersionSet::empty);
                    *known = known.union(versions);
                } else {
                    self.requires
                        .entry((name, extra, required))
                        .or_default()
                        .push(link);
                }
            }
        }
    }

    /// A version that meets several pins of the base is ruled out by each, and a proof stops at any one of them. A person
    /// who means that version is told of all: mending the first would only lead to the next.
    fn name_all_pins(&mut self) {
        let provider = self.provider;
        let mut all = Vec::new();
        for ((name, extra, required), links) in &self.requires {
            let [link] = links.as_slice() else {
                continue;
            };
            let meets_pin = provider
                .held(required)
                .is_some_and(|held| !link.range.contains(&held.version));
            let versions = installable_in(provider, name, link.of);
            let ([version], true) = (versions.as_slice(), meets_pin) else {
                continue;
            };
            let Ok(Ok(requirements)) = provider.requirements(name, version, *extra) else {
                continue;
            };
            for requirement in &requirements {
                let Some(held) = provider.held(&requirement.name) else {
                    continue;
                };
                let range = provider.accepted(requirement);
                if !range.contains(&held.version) && held.name != **required {
                    all.push(((*name, *extra, &held.name), link.of, range));
                }
            }
        }
        for (edge, of, range) in all {
            self.requires.entry(edge).or_default().push(Link {
                of,
                extra: None,
                range: Cow::Owned(range),
            });
        }
    }

    /// The versions of `name` that other facts of the proof rule out.
    fn spoken_of(&self, name: &PackageName) -> Vec<Version> {
        let requires = self.requires.iter().filter(|(edge, _)| edge.0 == name);
        let requires = requires.flat_map(|(_, links)| links.iter().map(|link| link.of));
        let ruled_out = self.ruled_out.iter().filter(|(edge, _)| edge.0 == name);
        let unusable = self.unusable.iter().filter(|(of, ..)| *of == name);
        requires
            .chain(ruled_out.map(|(_, set)| set))
            .chain(unusable.map(|(_, set, _)| *set))
            .flat_map(|set| installable_in(self.provider, name, set))
            .collect()
    }

    /// The requirements of the request that the proof rests on.
    ///
    /// A requirement is found by the versions that it accepts. That of a held project counts where the base does not
    /// satisfy it.
    fn asked(&self) -> Vec<&'t Requested> {
        let provider = self.provider;
        let requested = || provider.request.requirements.iter().enumerate();
        let positions: BTreeSet<usize> = self
            .of_root
            .iter()
            .filter_map(|(package, range)| {
                let name = package.project()?;
                let held = provider.held(name);
                let (position, _) = requested().find(|(_, requested)| {
                    let requirement = &requested.requirement;
                    let is_meant = match package {
                        SolverPackage::Extra(_, extra) => requirement.extras.contains(extra),
                        _ => held.is_none_or(|held| !range.contains(&held.version)),
                    };
                    is_meant
                        && requirement.name == *name
                        && provider.accepted(requirement) == **range
                })?;
                Some(position)
            })
            .collect();
        positions
            .into_iter()
            .map(|position| &provider.request.requirements[position])
            .collect()
    }

    /// The held projects at which the proof ends: those that somebody requires in other versions.
    fn pinned(&self) -> BTreeSet<&'t PackageName> {
        let ranges = self.requires.iter().flat_map(|((_, _, required), links)| {
            links.iter().map(move |link| (*required, &*link.range))
        });
        let of_root = self.of_root.iter();
        of_root
            .filter_map(|(package, range)| Some((package.project()?, *range)))
            .chain(ranges)
            .filter(|(name, range)| {
                let held = self.provider.held(name);
                held.is_some_and(|held| !range.contains(&held.version))
            })
            .map(|(name, _)| name)
            .collect()
    }

    /// How far each project is from what was asked: a project's facts stand after those of who brings it in.
    fn depths(&self, asked: &[&'t Requested]) -> BTreeMap<&'t PackageName, usize> {
        let mut next_to: BTreeMap<&PackageName, Vec<&Edge<'t>>> = BTreeMap::new();
        for edge in self.requires.keys() {
            next_to.entry(edge.0).or_default().push(edge);
        }
        let mut depths = BTreeMap::new();
        let mut waiting: VecDeque<&PackageName> = VecDeque::new();
        for requested in asked {
            depths.insert(&requested.requirement.name, 0);
            waiting.push_back(&requested.requirement.name);
        }
        while let Some(name) = waiting.pop_front() {
            let next = depths[name] + 1;
            for (_, _, required) in next_to.get(name).into_iter().flatten() {
                depths.entry(required).or_insert_with(|| {
                    waiting.push_back(required);
                    next
                });
            }
        }
        depths
    }
}

/// The versions in `set` that could be installed, newest first; that of the base for a held distribution.
fn installable_in(provider: &Provider<'_>, name: &PackageName, set: &VersionSet) -> Vec<Version> {
    if let Some(held) = provider.held(name) {
        return vec![held.version.clone()];
    }
    let Ok(candidates) = provider.candidates(name) else {
        return Vec::new();
    };
    let mut versions: Vec<Version> = candidates
        .in_order(set)
        .map(|(version, _)| version.clone())
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions
}

fn requires(
    provider: &Provider<'_>,
    name: &PackageName,
    extra: Option<&ExtraName>,
    required: &PackageName,
    links: &[Link<'_>],
) -> Option<Fact> {
    let all = installable_in(provider, name, &VersionSet::full()).len();
    let mut by_requirement: BTreeMap<String, Bound> = BTreeMap::new();
    for link in links {
        for version in installable_in(provider, name, link.of) {
            let Ok(Ok(requirements)) = provider.requirements(name, &version, extra) else {
                continue;
            };
            // A project may state several requirements on another: the proof says which one it rests on.
            let requirement = requirements.iter().find(|requirement| {
                requirement.name == *required
                    && link
                        .extra
                        .is_none_or(|extra| requirement.extras.contains(extra))
                    && (name == required || provider.accepted(requirement) == *link.range.as_ref())
            });
            if let Some(requirement) = requirement {
                let requirement = requirement.without_marker();
                by_requirement
                    .entry(requirement.to_string())
                    .or_insert_with(|| Bound {
                        versions: Vec::new(),
                        every_candidate: false,
                        requirement,
                    })
                    .versions
                    .push(version);
            }
        }
    }
    let mut bounds: Vec<Bound> = by_requirement.into_values().collect();
    for bound in &mut bounds {
        bound.versions.sort_by(|a, b| b.cmp(a));
        bound.versions.dedup();
        bound.every_candidate = bound.versions.len() == all && all > 1;
    }
    bounds.sort_by(|a, b| b.versions.cmp(&a.versions));
    (!bounds.is_empty()).then(|| Fact::Requires {
        project: name.clone(),
        extra: extra.cloned(),
        required: required.clone(),
        bounds,
    })
}

fn no_candidate(
    provider: &Provider<'_>,
    name: &PackageName,
    ranges: &[&VersionSet],
    spoken_of: &[Version],
) -> Option<Fact> {
    if provider.held(name).is_some() {
        return None;
    }
    let candidates = provider.candidates(name).ok()?;
    if !candidates.is_known() {
        return Some(Fact::UnknownProject { name: name.clone() });
    }
    // What is left of a range once every candidate in it has been ruled out says nothing by itself: the facts about
    // those candidates do. Such a range has a gap, or ends, where a candidate was.
    let says_something = |range: &VersionSet| {
        let segments = range.iter().count();
        let is_gap = |version: &Version| {
            let filled = range.union(&VersionSet::singleton(version.clone()));
            filled.iter().count() <= segments
        };
        candidates.count_in(range) > 0 || !spoken_of.iter().any(is_gap)
    };
    let range = ranges
        .iter()
        .filter(|range| says_something(range))
        .fold(VersionSet::empty(), |known, range| known.union(range));
    if range.is_empty() {
        return None;
    }
    let mut by_reason: BTreeMap<Exclusion, Vec<Version>> = BTreeMap::new();
    for (version, exclusion) in candidates.excluded(&range) {
        by_reason.entry(exclusion).or_default().push(version);
    }
    let mut excluded: Vec<(Exclusion, Vec<Version>)> = by_reason.into_iter().collect();
    excluded.sort_by(|a, b| b.1.cmp(&a.1));
    Some(Fact::NoCandidate {
        name: name.clone(),
        excluded,
        newest: candidates.known_versions().next().cloned(),
    })
}

fn held(provider: &Provider<'_>, name: &PackageName, leaves: &Leaves<'_>) -> Option<Fact> {
    let distribution = provider.held(name)?;
    // What would be acceptable to those who do not accept the installed version.
    let mut wanted = VersionSet::full();
    for requested in &provider.request.requirements {
        if requested.requirement.name == *name {
            wanted = wanted.intersection(&requested.requirement.version_set());
        }
    }
    for ((requirer, extra, required), links) in &leaves.requires {
        if *required == name
            && let Some(version) = links
                .iter()
                .flat_map(|link| installable_in(provider, requirer, link.of))
                .max()
            && let Ok(Ok(requirements)) = provider.requirements(requirer, &version, *extra)
        {
            for requirement in requirements
                .iter()
                .filter(|requirement| requirement.name == *name)
            {
                wanted = wanted.intersection(&requirement.version_set());
            }
        }
    }
    let mut required_by = leaves.requirers.get(name).cloned().unwrap_or_default();
    // Those that would not follow a change are the reason why a change is no way out.
    required_by.sort_by_key(|by| {
        (
            !by.requirement.version_set().is_disjoint(&wanted),
            by.requirer.clone(),
        )
    });
    Some(Fact::Held {
        name: name.clone(),
        version: distribution.version.clone(),
        required_by,
        constraints: provider.constraints_against(name, &distribution.version),
    })
}
