//! The leaves of a derivation, and which fact of an explanation each belongs to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pubgrub::{DerivationTree, External};
use rustc_hash::FxHashSet;

use crate::packaging::{ExtraName, PackageName, Requirement, Version, VersionSet, specifiers};
use crate::resolution::base::BaseRequirement;
use crate::resolution::package::SolverPackage;
use crate::resolution::provider::{Derivation, Provider, Unusable};
use crate::resolution::request::Requested;

/// A leaf of a derivation.
pub(in crate::resolution) type Leaf = External<SolverPackage, VersionSet, Unusable>;

/// Who requires: a project, the extra of it, and what it requires.
pub(super) type Edge<'t> = (&'t PackageName, Option<&'t ExtraName>, &'t PackageName);

/// That versions of a project require another.
pub(super) struct Link<'t> {
    /// Versions of the one that requires.
    pub(super) of: &'t VersionSet,
    /// The extra that is required, if it is one.
    pub(super) extra: Option<&'t ExtraName>,
    /// The versions that will do.
    pub(super) range: &'t VersionSet,
}

/// What a leaf says, and so the fact that it is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Statement<'t> {
    /// The requirement of the request at this position.
    Asked(usize),
    /// The base has the distribution, in some version.
    Stays(&'t PackageName),
    /// The project (with its extra) requires another.
    Requires(Edge<'t>),
    /// The first, which may come in or change, is bound by the second, which the base has and holds.
    BaseRequires(&'t PackageName, &'t PackageName),
    /// Versions of the project cannot be used.
    Unusable(&'t PackageName, Option<&'t ExtraName>),
    /// The project has no version, or none but that of the base, in a range.
    NoVersions(&'t PackageName),
    /// Something about the solver, not about the world.
    Rule,
}

/// The leaves of `derivation`, in the order of the proof. Conclusions are shared: each node is visited once, whatever
/// the number of ways to it, and without recursion.
pub(in crate::resolution) fn leaves_of(derivation: &Derivation) -> Vec<&Leaf> {
    let mut leaves = Vec::new();
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
            DerivationTree::External(leaf) => leaves.push(leaf),
        }
    }
    leaves
}

/// The projects that `derivation` speaks of.
pub(in crate::resolution) fn projects_of(derivation: &Derivation) -> BTreeSet<PackageName> {
    let packages = leaves_of(derivation)
        .into_iter()
        .flat_map(|leaf| match leaf {
            External::NotRoot(package, _)
            | External::NoVersions(package, _)
            | External::Custom(package, ..) => [Some(package), None],
            External::FromDependencyOf(of, _, on, _) => [Some(of), Some(on)],
        });
    let names = packages.flatten().filter_map(SolverPackage::project);
    names.cloned().collect()
}

/// What `leaf` says.
pub(super) fn statement<'t>(provider: &Provider<'_>, leaf: &'t Leaf) -> Statement<'t> {
    match leaf {
        External::NotRoot(..) => Statement::Rule,
        External::NoVersions(package, _) => package
            .project()
            .map_or(Statement::Rule, Statement::NoVersions),
        External::Custom(package, ..) => match package {
            SolverPackage::Root | SolverPackage::Binding(..) => Statement::Rule,
            SolverPackage::Project(name) => Statement::Unusable(name, None),
            SolverPackage::Extra(name, extra) | SolverPackage::ExtraInForce(name, extra) => {
                Statement::Unusable(name, Some(extra))
            }
        },
        External::FromDependencyOf(
            SolverPackage::Project(name),
            _,
            SolverPackage::Binding(by, _),
            _,
        ) if name != by => Statement::BaseRequires(name, by),
        External::FromDependencyOf(dependent, _, dependency, range) => {
            let Some(required) = dependency.project() else {
                return Statement::Rule;
            };
            match dependent {
                SolverPackage::Root => of_root(provider, dependency, required, range),
                SolverPackage::Binding(..) => Statement::Rule,
                SolverPackage::Project(name) if is_turned_around(provider, required, range) => {
                    Statement::BaseRequires(name, required)
                }
                SolverPackage::Project(name) if provider.held(name).is_some() => {
                    Statement::BaseRequires(required, name)
                }
                SolverPackage::Project(name) => of_one(name, None, dependency, required),
                SolverPackage::Extra(name, extra) | SolverPackage::ExtraInForce(name, extra) => {
                    of_one(name, Some(extra), dependency, required)
                }
            }
        }
    }
}

/// Whether "requires another version of what is held" stands for "is ruled out by what is held": see the provider.
fn is_turned_around(provider: &Provider<'_>, required: &PackageName, range: &VersionSet) -> bool {
    provider
        .held(required)
        .is_some_and(|held| range.complement().as_singleton() == Some(&held.version))
}

fn of_one<'t>(
    name: &'t PackageName,
    extra: Option<&'t ExtraName>,
    dependency: &SolverPackage,
    required: &'t PackageName,
) -> Statement<'t> {
    // That an extra is of the version of its project is a fact about the solver, not about the world.
    if name == required && matches!(dependency, SolverPackage::Project(_)) {
        Statement::Rule
    } else {
        Statement::Requires((name, extra, required))
    }
}

/// A requirement of the request is found by the versions that it accepts. That of a held project counts where the base
/// does not satisfy it.
fn of_root<'t>(
    provider: &Provider<'_>,
    dependency: &SolverPackage,
    name: &'t PackageName,
    range: &VersionSet,
) -> Statement<'t> {
    let held = provider.held(name);
    let installed = provider.environment.distributions.contains_key(name);
    let is_meant = |requested: &Requested| {
        let requirement = &requested.requirement;
        requirement.name == *name
            && match dependency {
                SolverPackage::Extra(_, extra) => requirement.extras.contains(extra),
                _ => held.is_none_or(|held| !range.contains(&held.version)),
            }
            && provider.accepted(requirement) == *range
    };
    // That what the base has stays in some version is not something that the user asks for.
    let is_presence = installed
        && *range == VersionSet::full()
        && matches!(dependency, SolverPackage::Project(_));
    let position = provider.request.requirements.iter().position(is_meant);
    match position {
        Some(position) if !is_presence => Statement::Asked(position),
        _ if held.is_some() => Statement::Rule,
        _ if installed => Statement::Stays(name),
        _ => position.map_or(Statement::Rule, Statement::Asked),
    }
}

/// Leaves, joined by what they are about.
pub(super) struct Leaves<'t, 'p> {
    pub(super) provider: &'t Provider<'p>,
    /// Positions of what is asked.
    pub(super) asked: BTreeSet<usize>,
    /// What the base has and what has to stay in some version.
    pub(super) stays: BTreeSet<&'t PackageName>,
    /// What the root requires, and in which versions.
    pub(super) of_root: Vec<(&'t PackageName, &'t VersionSet)>,
    /// Who requires whom.
    pub(super) requires: BTreeMap<Edge<'t>, Vec<Link<'t>>>,
    /// Projects that distributions of the base bind; for each such distribution the versions that it rules out.
    pub(super) bound: BTreeMap<(&'t PackageName, &'t PackageName), VersionSet>,
    /// Ranges in which a project has no candidate.
    pub(super) no_versions: BTreeMap<&'t PackageName, Vec<&'t VersionSet>>,
    /// Candidates that cannot be used.
    pub(super) unusable: Vec<(
        &'t PackageName,
        Option<&'t ExtraName>,
        &'t VersionSet,
        &'t Unusable,
    )>,
    /// Who requires what within the base.
    pub(super) requirers: BTreeMap<PackageName, Vec<BaseRequirement>>,
}

impl<'t, 'p> Leaves<'t, 'p> {
    pub(super) fn of(
        provider: &'t Provider<'p>,
        leaves: impl IntoIterator<Item = &'t Leaf>,
    ) -> Self {
        let mut joined = Self {
            provider,
            asked: BTreeSet::new(),
            stays: BTreeSet::new(),
            of_root: Vec::new(),
            requires: BTreeMap::new(),
            bound: BTreeMap::new(),
            no_versions: BTreeMap::new(),
            unusable: Vec::new(),
            requirers: provider.base.requirers(),
        };
        for leaf in leaves {
            joined.add(leaf);
        }
        joined
    }

    fn add(&mut self, leaf: &'t Leaf) {
        let said = statement(self.provider, leaf);
        match (said, leaf) {
            (Statement::Asked(position), External::FromDependencyOf(_, _, dependency, range)) => {
                self.asked.insert(position);
                self.of_root
                    .extend(dependency.project().map(|name| (name, range)));
            }
            (Statement::Stays(name), _) => {
                self.stays.insert(name);
            }
            (Statement::Requires(edge), External::FromDependencyOf(_, of, dependency, range)) => {
                self.requires.entry(edge).or_default().push(Link {
                    of,
                    extra: dependency.extra(),
                    range,
                });
            }
            (
                Statement::BaseRequires(name, by),
                External::FromDependencyOf(dependent, of, _, range),
            ) => {
                let ruled_out = if dependent.project() == Some(by) {
                    range.complement()
                } else {
                    of.clone()
                };
                self.bound
                    .entry((name, by))
                    .and_modify(|known| *known = known.union(&ruled_out))
                    .or_insert(ruled_out);
            }
            (Statement::NoVersions(name), External::NoVersions(_, set)) => {
                self.no_versions.entry(name).or_default().push(set);
            }
            (Statement::Unusable(name, extra), External::Custom(_, set, reason)) => {
                self.unusable.push((name, extra, set, reason));
            }
            _ => {}
        }
    }

    /// The versions of each project that other facts of the proof rule out.
    pub(super) fn spoken_of(&self) -> BTreeMap<&'t PackageName, BTreeSet<Version>> {
        let mut spoken: BTreeMap<&PackageName, BTreeSet<Version>> = BTreeMap::new();
        let requires = self.requires.iter();
        let requires = requires.flat_map(|(edge, links)| links.iter().map(|it| (edge.0, it.of)));
        let bound = self.bound.iter().map(|((name, _), set)| (*name, set));
        let unusable = self.unusable.iter().map(|(name, _, set, _)| (*name, *set));
        for (name, set) in requires.chain(bound).chain(unusable) {
            spoken
                .entry(name)
                .or_default()
                .extend(installable_in(self.provider, name, set));
        }
        spoken
    }

    /// The held projects at which the proof ends: those that somebody requires in other versions.
    pub(super) fn pinned(&self) -> BTreeSet<&'t PackageName> {
        let ranges = self.requires.iter().flat_map(|((_, _, required), links)| {
            links.iter().map(move |link| (*required, link.range))
        });
        let of_root = self.of_root.iter().copied();
        of_root
            .chain(ranges)
            .filter(|(name, range)| {
                let held = self.provider.held(name);
                held.is_some_and(|held| !range.contains(&held.version))
            })
            .map(|(name, _)| name)
            .collect()
    }

    /// How far each project is from what was asked: a project's facts stand after those of who brings it in.
    pub(super) fn depths(&self) -> BTreeMap<&'t PackageName, usize> {
        let mut next_to: BTreeMap<&PackageName, Vec<&PackageName>> = BTreeMap::new();
        for (from, _, to) in self.requires.keys() {
            next_to.entry(from).or_default().push(to);
        }
        let mut depths = BTreeMap::new();
        let mut waiting: VecDeque<&PackageName> = VecDeque::new();
        let requirements = &self.provider.request.requirements;
        let asked = self.asked.iter();
        let asked = asked.map(|position| &requirements[*position].requirement.name);
        for name in asked.chain(self.stays.iter().copied()) {
            depths.insert(name, 0);
            waiting.push_back(name);
        }
        while let Some(name) = waiting.pop_front() {
            let next = depths[name] + 1;
            for required in next_to.get(name).into_iter().flatten() {
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
pub(super) fn installable_in(
    provider: &Provider<'_>,
    name: &PackageName,
    set: &VersionSet,
) -> Vec<Version> {
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

/// Of the `requirements` of a version of `name` the one that a link stands for: what is required, which extra of it, in
/// which versions. A project may state several requirements on another: the proof says which one it rests on.
pub(super) fn meant<'q>(
    provider: &Provider<'_>,
    name: &PackageName,
    requirements: &'q [Requirement],
    (required, extra, range): (&PackageName, Option<&ExtraName>, &VersionSet),
) -> Option<&'q Requirement> {
    requirements.iter().find(|requirement| {
        requirement.name == *required
            && extra.is_none_or(|extra| requirement.extras.contains(extra))
            && (name == required || provider.accepted(requirement) == *range)
    })
}

/// Of the requirements of one distribution on a project, those that rule out all of `versions` together, none of them
/// superfluous; of what nothing rules out nothing is said.
pub(super) fn cover<'b>(
    of_requirer: impl Iterator<Item = &'b BaseRequirement>,
    versions: &[Version],
) -> Vec<&'b BaseRequirement> {
    let rules_out = |by: &BaseRequirement, version: &Version| {
        !specifiers::allows(&by.requirement.specifiers, version)
    };
    let mut chosen: Vec<&BaseRequirement> = of_requirer
        .filter(|by| versions.iter().any(|version| rules_out(by, version)))
        .collect();
    let mut position = 0;
    while position < chosen.len() {
        let is_needed = versions.iter().any(|version| {
            let mut ruling = chosen.iter().enumerate();
            rules_out(chosen[position], version)
                && ruling.all(|(other, by)| other == position || !rules_out(by, version))
        });
        if is_needed {
            position += 1;
        } else {
            chosen.remove(position);
        }
    }
    chosen
}

/// All that a distribution of the base rules out, of a project that is not installed, where it rules out `versions`.
pub(super) fn ruled_out_by(
    provider: &Provider<'_>,
    name: &PackageName,
    requirer: &PackageName,
    versions: &VersionSet,
) -> VersionSet {
    let bounds = provider.base.on_absent.get(name).into_iter().flatten();
    let of_requirer = bounds.filter(|by| by.requirer == *requirer);
    cover(of_requirer, &installable_in(provider, name, versions))
        .into_iter()
        .fold(versions.clone(), |set, by| {
            set.union(&by.requirement.version_set().complement())
        })
}
