//! An explanation without superfluous facts.
//!
//! A proof of PubGrub rests on all of its leaves, and still a part of them may be enough: the proof is the one that was
//! met first, not the shortest. So each fact is left out once and the rest is solved again, in a world in which nothing
//! else is known: projects have the versions that they have, and require what the remaining facts say. Where that world
//! has a solution the fact is needed; where it has none the fact goes, and with it all that the new proof does not use.
//! What remains at the end is minimal: without any one of its facts there is a solution.
//!
//! In that world versions are numbers. The versions of a project that every leaf treats alike are one: the bounds that
//! leaves name cut the line of versions into points and gaps, numbered from the oldest.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

use pubgrub::{
    Dependencies, DependencyProvider, DerivationTree, External, Package,
    PackageResolutionStatistics, PubGrubError, Ranges,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::packaging::{ExtraName, PackageName, Requirement, Version, VersionSet};
use crate::resolution::package::SolverPackage;
use crate::resolution::provider::Provider;

use super::leaves::{Leaf, Statement, installable_in, meant, ruled_out_by, statement};

/// Proofs with more leaves are kept as they are.
const MOST_LEAVES: usize = 5_000;
/// What is spent on leaving facts out: leaves, summed over all solves. What is not tried for lack of it stays.
const BUDGET: usize = 300_000;
/// So many facts or fewer are left out one at a time, the clearest way to choose among them; of more whole bundles are
/// tried first.
const FEW: usize = 100;
/// Into how many bundles many facts are divided.
const BUNDLES: usize = 8;

/// A numbered version.
type Number = u32;
/// A set of numbered versions.
type Numbers = Ranges<Number>;

/// What the constraints of the request leave of a project that is held; `None` where there are none, or it is not held.
fn constrained(provider: &Provider<'_>, name: &PackageName) -> Option<VersionSet> {
    provider.held(name)?;
    let any: Requirement = name.as_ref().parse().ok()?;
    Some(provider.accepted(&any)).filter(|allowed| *allowed != VersionSet::full())
}

/// Whether a package is of a project that is held although constraints rule its version out.
fn is_held_against(provider: &Provider<'_>, package: &SolverPackage) -> bool {
    let held = package.project().and_then(|name| provider.held(name));
    held.is_some_and(|held| {
        constrained(provider, &held.name).is_some_and(|allowed| !allowed.contains(&held.version))
    })
}

/// A range as who requires it has written it, or wider: on a held project constraints narrow what each requirement
/// accepts, and that they do is a part of the fact about what is held.
fn widened(provider: &Provider<'_>, package: &SolverPackage, range: &VersionSet) -> VersionSet {
    match package
        .project()
        .and_then(|name| constrained(provider, name))
    {
        Some(allowed) => range.union(&allowed.complement()),
        None => range.clone(),
    }
}

/// What a leaf says where it stands for a requirement of the base that is turned around: versions that cannot be used.
/// Not only those of the leaf: the requirement is told as a whole.
fn ruled_out<'t>(
    provider: &Provider<'_>,
    leaf: &'t Leaf,
) -> Option<(&'t SolverPackage, VersionSet)> {
    let External::FromDependencyOf(of, versions, ..) = leaf else {
        return None;
    };
    match statement(provider, leaf) {
        Statement::BaseRequires(name, by) if of.project() == Some(name) => {
            Some((of, ruled_out_by(provider, name, by, versions)))
        }
        _ => None,
    }
}

/// What is left of a proof.
pub(super) struct Reduced<'t> {
    /// The leaves that are needed, without those about missing versions.
    pub(super) leaves: Vec<&'t Leaf>,
    /// The ranges without a candidate that the explanation has to speak of.
    pub(super) missing: BTreeMap<&'t PackageName, Vec<VersionSet>>,
    /// Projects whose versions do not matter: others of the leaves rule out every version that there might be.
    pub(super) any_version: BTreeSet<&'t PackageName>,
}

/// Leaves out what is superfluous; `None` where the proof is too large for that.
pub(super) fn reduce<'t>(provider: &Provider<'_>, leaves: &[&'t Leaf]) -> Option<Reduced<'t>> {
    if leaves.len() > MOST_LEAVES {
        return None;
    }
    let mut world = World::of(provider, leaves);
    let mut left = BUDGET;
    let mut proof = world.solve(&mut left)?;
    world.keep(&proof);
    // What is asked goes first: the fewer requirements of the request are involved, the clearer.
    let statements: BTreeSet<Statement<'_>> = world.rules.iter().map(|it| it.statement).collect();
    let of_statements: Vec<Vec<usize>> = statements
        .into_iter()
        .map(|statement| world.active_rules(|rule| rule.statement == statement))
        .collect();
    leave_out(&mut world, &of_statements, &mut proof, &mut left);
    // Of a fact with several parts, those that are not needed.
    let of_leaves: Vec<Vec<usize>> = (0..leaves.len())
        .map(|leaf| {
            world.active_rules(|rule| rule.leaf == Some(leaf) && rule.statement != Statement::Rule)
        })
        .filter(|rules| !rules.is_empty())
        .collect();
    leave_out(&mut world, &of_leaves, &mut proof, &mut left);
    let names: Vec<usize> = world.closed.iter().copied().collect();
    for position in names {
        world.closed.remove(&position);
        match world.solve(&mut left) {
            Some(other) => {
                proof = other;
                world.keep(&proof);
            }
            None => {
                world.closed.insert(position);
            }
        }
    }
    Some(world.reduced(provider, &proof))
}

/// Leaves out what is superfluous among `facts`, each a set of rules: each of those that stay was tried by itself.
fn leave_out(world: &mut World<'_>, facts: &[Vec<usize>], proof: &mut Proof, left: &mut usize) {
    let size = if facts.len() <= FEW {
        1
    } else {
        facts.len().div_ceil(BUNDLES)
    };
    for bundle in facts.chunks(size) {
        leave_out_bundle(world, bundle, proof, left);
    }
}

/// A bundle at once, or where some of it is needed, its halves.
fn leave_out_bundle(
    world: &mut World<'_>,
    bundle: &[Vec<usize>],
    proof: &mut Proof,
    left: &mut usize,
) {
    if !try_without(world, &bundle.concat(), proof, left) && bundle.len() > 1 {
        let (first, second) = bundle.split_at(bundle.len() / 2);
        leave_out_bundle(world, first, proof, left);
        leave_out_bundle(world, second, proof, left);
    }
}

/// Whether the proof does without `rules`; then they are gone.
fn try_without(
    world: &mut World<'_>,
    rules: &[usize],
    proof: &mut Proof,
    left: &mut usize,
) -> bool {
    if !rules.iter().any(|rule| world.active.contains(rule)) {
        return true;
    }
    let before = world.active.clone();
    for rule in rules {
        world.active.remove(rule);
    }
    if let Some(other) = world.solve(left) {
        *proof = other;
        world.keep(proof);
        return true;
    }
    world.active = before;
    false
}

/// The line of versions of a project, cut where leaves draw a line.
struct Line {
    /// The cuts, ascending: the cut at `i` has number `2i + 1`, the gap before it `2i`.
    cuts: Vec<Version>,
    /// The numbers that stand for a version that can be installed.
    real: BTreeSet<Number>,
}

impl Line {
    fn number(&self, version: &Version) -> Number {
        let (at, is_cut) = match self.cuts.binary_search(version) {
            Ok(at) => (at, true),
            Err(at) => (at, false),
        };
        Number::try_from(2 * at).unwrap_or(Number::MAX - 1) + Number::from(is_cut)
    }

    fn numbers(&self, set: &VersionSet) -> Numbers {
        let number = |bound: &Bound<Version>| match bound {
            Bound::Included(version) => Bound::Included(self.number(version)),
            Bound::Excluded(version) => Bound::Excluded(self.number(version)),
            Bound::Unbounded => Bound::Unbounded,
        };
        set.iter().fold(Numbers::empty(), |numbers, (start, end)| {
            numbers.union(&Numbers::from_range_bounds((number(start), number(end))))
        })
    }

    /// The versions that `numbers` stand for.
    fn versions(&self, numbers: &Numbers) -> VersionSet {
        let cut = |number: Number| self.cuts.get(number as usize / 2).cloned();
        let before = |number: Number| {
            let at = (number as usize / 2).checked_sub(1)?;
            self.cuts.get(at).cloned()
        };
        let start = |bound: &Bound<Number>| match *bound {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(number) if number % 2 == 1 => {
                cut(number).map_or(Bound::Unbounded, Bound::Included)
            }
            Bound::Excluded(number) if number % 2 == 1 => {
                cut(number).map_or(Bound::Unbounded, Bound::Excluded)
            }
            Bound::Included(number) => before(number).map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Excluded(number) => cut(number).map_or(Bound::Unbounded, Bound::Included),
        };
        let end = |bound: &Bound<Number>| match *bound {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(number) if number % 2 == 1 => {
                cut(number).map_or(Bound::Unbounded, Bound::Included)
            }
            Bound::Excluded(number) if number % 2 == 1 => {
                cut(number).map_or(Bound::Unbounded, Bound::Excluded)
            }
            Bound::Included(number) => cut(number).map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Excluded(number) => before(number).map_or(Bound::Unbounded, Bound::Included),
        };
        numbers.iter().fold(VersionSet::empty(), |set, (from, to)| {
            set.union(&VersionSet::from_range_bounds((start(from), end(to))))
        })
    }

    fn last(&self) -> Number {
        Number::try_from(2 * self.cuts.len()).unwrap_or(Number::MAX)
    }
}

/// What a leaf, or the nature of an extra, says about numbered versions.
struct Rule<'t> {
    statement: Statement<'t>,
    /// The leaf that it comes from.
    leaf: Option<usize>,
    package: SolverPackage,
    of: Numbers,
    /// What these versions require; `None` where they cannot be used.
    requires: Option<(SolverPackage, Numbers)>,
}

/// All that is known.
struct World<'t> {
    leaves: Vec<&'t Leaf>,
    rules: Vec<Rule<'t>>,
    by_package: FxHashMap<SolverPackage, Vec<usize>>,
    lines: Vec<(&'t PackageName, Line)>,
    line_of: FxHashMap<PackageName, usize>,
    /// The rules that hold.
    active: BTreeSet<usize>,
    /// The projects that have no versions but those that can be installed.
    closed: BTreeSet<usize>,
    root: Number,
}

/// What a proof of the world rests on.
struct Proof {
    /// Rules.
    rules: BTreeSet<usize>,
    /// Ranges in which nothing can be installed.
    missing: Vec<(usize, Numbers)>,
}

impl<'t> World<'t> {
    fn of(provider: &Provider<'_>, leaves: &[&'t Leaf]) -> Self {
        let mut cuts: BTreeMap<&PackageName, BTreeSet<Version>> = BTreeMap::new();
        for leaf in leaves {
            let sets = match leaf {
                External::NotRoot(..) => continue,
                External::NoVersions(package, set) | External::Custom(package, set, _) => {
                    vec![(package, set)]
                }
                External::FromDependencyOf(of, versions, on, range) => {
                    vec![(of, versions), (on, range)]
                }
            };
            let wide = match leaf {
                External::FromDependencyOf(_, _, on, range) => {
                    Some((on, widened(provider, on, range)))
                }
                _ => None,
            };
            let wide = wide.iter().map(|(package, set)| (*package, set));
            let whole = ruled_out(provider, leaf);
            let whole = whole.iter().map(|(package, set)| (*package, set));
            for (package, set) in sets.into_iter().chain(wide).chain(whole) {
                let Some(name) = package.project() else {
                    continue;
                };
                let cuts = cuts.entry(name).or_default();
                for bound in set.iter().flat_map(|(start, end)| [start, end]) {
                    if let Bound::Included(version) | Bound::Excluded(version) = bound {
                        cuts.insert(version.clone());
                    }
                }
            }
        }
        let lines: Vec<(&PackageName, Line)> = cuts
            .into_iter()
            .map(|(name, cuts)| {
                let mut line = Line {
                    cuts: cuts.into_iter().collect(),
                    real: BTreeSet::new(),
                };
                let allowed = constrained(provider, name).unwrap_or_else(VersionSet::full);
                for version in installable_in(provider, name, &allowed) {
                    // One that is held is there whatever is allowed.
                    if !allowed.contains(&version) {
                        continue;
                    }
                    let number = line.number(&version);
                    line.real.insert(number);
                }
                (name, line)
            })
            .collect();
        let line_of = lines
            .iter()
            .enumerate()
            .map(|(position, (name, _))| ((*name).clone(), position))
            .collect();
        let mut world = Self {
            leaves: leaves.to_vec(),
            rules: Vec::new(),
            by_package: FxHashMap::default(),
            closed: (0..lines.len()).collect(),
            lines,
            line_of,
            active: BTreeSet::new(),
            root: 1,
        };
        world.add_leaves(provider);
        world.add_nature_of_extras();
        for (position, rule) in world.rules.iter().enumerate() {
            let of_one = world.by_package.entry(rule.package.clone()).or_default();
            of_one.push(position);
        }
        world.active = (0..world.rules.len()).collect();
        world
    }

    fn add_leaves(&mut self, provider: &Provider<'_>) {
        for (position, leaf) in self.leaves.clone().into_iter().enumerate() {
            let statement = statement(provider, leaf);
            let (package, of, requires) = match leaf {
                // That versions are missing is known without a leaf.
                External::NotRoot(..) | External::NoVersions(..) => continue,
                External::Custom(package, set, _) => (package, set, None),
                // How the solver is told of what is bound, which the statement about who is bound says in full.
                External::FromDependencyOf(of, _, on, _)
                    if statement == Statement::Rule && is_binding(of, on) =>
                {
                    continue;
                }
                External::FromDependencyOf(of, versions, on, range) => {
                    (of, versions, Some((on, range)))
                }
            };
            // That what is held is there is known; in which version is a fact of its own.
            let is_presence =
                statement == Statement::Rule && matches!(package, SolverPackage::Root);
            // Constraints do not rule out what is held, only what is required of it.
            if is_presence && requires.is_some_and(|(on, _)| is_held_against(provider, on)) {
                continue;
            }
            let full = VersionSet::full();
            let requires =
                requires.map(|(on, range)| (on, if is_presence { &full } else { range }));
            let whole = ruled_out(provider, leaf);
            let (of, requires) = match &whole {
                Some((_, set)) => (set, None),
                None => (of, requires),
            };
            let rule = Rule {
                statement,
                leaf: Some(position),
                package: package.clone(),
                of: self.numbers(package, of),
                requires: requires.map(|(on, range)| {
                    let range = widened(provider, on, range);
                    (on.clone(), self.numbers(on, &range))
                }),
            };
            self.rules.push(rule);
            self.add_extras_of(provider, position, statement, leaf);
        }
    }

    /// A requirement with extras requires more than the one thing that a leaf says of it, and it is told as a whole.
    fn add_extras_of(
        &mut self,
        provider: &Provider<'_>,
        position: usize,
        statement: Statement<'t>,
        leaf: &'t Leaf,
    ) {
        let External::FromDependencyOf(of, versions, on, range) = leaf else {
            return;
        };
        let mut told: Vec<(Numbers, Vec<ExtraName>)> = Vec::new();
        match statement {
            Statement::Asked(asked) => {
                let requirement = &provider.request.requirements[asked].requirement;
                told.push((Numbers::full(), requirement.extras.clone()));
            }
            Statement::Requires((name, extra, required)) => {
                let required_extra = on.extra();
                for version in installable_in(provider, name, versions) {
                    let known = provider.requirements(name, &version, extra);
                    let known = known.ok().and_then(Result::ok).unwrap_or_default();
                    let wanted = (required, required_extra, range);
                    if let Some(requirement) = meant(provider, name, &known, wanted) {
                        let line = &self.lines[self.line_of[name]].1;
                        let number = Numbers::singleton(line.number(&version));
                        told.push((number, requirement.extras.clone()));
                    }
                }
            }
            _ => {}
        }
        let Some(name) = on.project().cloned() else {
            return;
        };
        let wide = widened(provider, on, range);
        for (numbers, extras) in told.into_iter().filter(|(_, extras)| !extras.is_empty()) {
            let extras = extras.into_iter();
            let extras = extras.map(|extra| SolverPackage::Extra(name.clone(), extra));
            let all = extras.chain([SolverPackage::Project(name.clone())]);
            for package in all.filter(|package| package != of) {
                self.rules.push(Rule {
                    statement,
                    leaf: Some(position),
                    package: of.clone(),
                    of: numbers.clone(),
                    requires: Some((package, self.numbers(on, &wide))),
                });
            }
        }
    }

    /// An extra is of the version of its project.
    fn add_nature_of_extras(&mut self) {
        let mut extras: BTreeSet<SolverPackage> = BTreeSet::new();
        for rule in &self.rules {
            let required = rule.requires.iter().map(|(package, _)| package);
            for package in required.chain([&rule.package]) {
                if package.extra().is_some() {
                    extras.insert(package.clone());
                }
            }
        }
        for extra in extras {
            let Some(name) = extra.project() else {
                continue;
            };
            for number in 0..=self.lines[self.line_of[name]].1.last() {
                self.rules.push(Rule {
                    statement: Statement::Rule,
                    leaf: None,
                    package: extra.clone(),
                    of: Numbers::singleton(number),
                    requires: Some((
                        SolverPackage::Project(name.clone()),
                        Numbers::singleton(number),
                    )),
                });
            }
        }
    }

    /// The rules that hold and that `is_meant`.
    fn active_rules(&self, is_meant: impl Fn(&Rule<'t>) -> bool) -> Vec<usize> {
        let active = self.active.iter().copied();
        active.filter(|rule| is_meant(&self.rules[*rule])).collect()
    }

    fn numbers(&self, package: &SolverPackage, set: &VersionSet) -> Numbers {
        match package.project() {
            None => Numbers::full(),
            Some(name) => self.lines[self.line_of[name]].1.numbers(set),
        }
    }

    /// A proof that there is no solution; `None` where there is one, and where the budget is spent.
    fn solve(&self, left: &mut usize) -> Option<Proof> {
        *left = left.checked_sub(self.active.len())?;
        let view = View { world: self };
        match pubgrub::resolve(&view, SolverPackage::Root, self.root) {
            Err(PubGrubError::NoSolution(tree)) => Some(self.read(tree)),
            Ok(_) | Err(_) => None,
        }
    }

    fn read(&self, tree: DerivationTree<SolverPackage, Numbers, String>) -> Proof {
        let mut proof = Proof {
            rules: BTreeSet::new(),
            missing: Vec::new(),
        };
        let tree = Arc::new(tree);
        let mut seen: FxHashSet<*const DerivationTree<SolverPackage, Numbers, String>> =
            FxHashSet::default();
        let mut waiting = vec![&tree];
        while let Some(node) = waiting.pop() {
            if !seen.insert(Arc::as_ptr(node)) {
                continue;
            }
            match &**node {
                DerivationTree::Derived(derived) => {
                    waiting.push(&derived.cause2);
                    waiting.push(&derived.cause1);
                }
                DerivationTree::External(leaf) => self.note(leaf, &mut proof),
            }
        }
        dismantle(tree);
        proof
    }

    fn note(&self, leaf: &External<SolverPackage, Numbers, String>, proof: &mut Proof) {
        match leaf {
            External::NotRoot(..) | External::Custom(..) => {}
            External::FromDependencyOf(package, of, on, range) => {
                let rules = self.by_package.get(package).into_iter().flatten();
                proof.rules.extend(rules.filter(|position| {
                    let rule = &self.rules[**position];
                    self.active.contains(position)
                        && !rule.of.is_disjoint(of)
                        && matches!(&rule.requires, Some((to, set)) if to == on && set == range)
                }));
            }
            External::NoVersions(package, set) => {
                let Some(name) = package.project() else {
                    return;
                };
                proof.missing.push((self.line_of[name], set.clone()));
                let rules = self.by_package.get(package).into_iter().flatten();
                proof.rules.extend(rules.filter(|position| {
                    let rule = &self.rules[**position];
                    self.active.contains(position)
                        && rule.requires.is_none()
                        && !rule.of.is_disjoint(set)
                }));
            }
        }
    }

    /// Forgets what `proof` does not need. What goes without saying stays.
    fn keep(&mut self, proof: &Proof) {
        let rules = &self.rules;
        let used: BTreeSet<usize> = proof
            .rules
            .iter()
            .filter_map(|position| rules[*position].leaf)
            .collect();
        self.active.retain(|position| {
            let rule = &rules[*position];
            rule.statement == Statement::Rule || rule.leaf.is_some_and(|leaf| used.contains(&leaf))
        });
    }

    fn reduced(&self, provider: &Provider<'_>, proof: &Proof) -> Reduced<'t> {
        // What other facts rule out leaves gaps of which nothing has to be said.
        let mut spoken: BTreeMap<usize, BTreeSet<Number>> = BTreeMap::new();
        for rule in self.active.iter().map(|position| &self.rules[*position]) {
            let (Statement::Requires((subject, ..))
            | Statement::Unusable(subject, _)
            | Statement::BaseRequires(subject, _)) = rule.statement
            else {
                continue;
            };
            let line = self.line_of[subject];
            let ruled_out = if rule.package.project() == Some(subject) {
                rule.of.clone()
            } else {
                let range = rule.requires.as_ref().map(|(_, range)| range.complement());
                range.unwrap_or_else(Numbers::empty)
            };
            let real = self.lines[line].1.real.iter().copied();
            let spoken = spoken.entry(line).or_default();
            spoken.extend(real.filter(|number| ruled_out.contains(number)));
        }
        let mut missing: BTreeMap<&PackageName, Vec<VersionSet>> = BTreeMap::new();
        for (position, numbers) in &proof.missing {
            let (name, line) = &self.lines[*position];
            if !self.closed.contains(position) || provider.held(name).is_some() {
                continue;
            }
            // Of what cannot be used other facts speak.
            let rules = self.active.iter().map(|position| &self.rules[*position]);
            let unusable = rules
                .filter(|rule| rule.requires.is_none() && rule.package.project() == Some(*name))
                .fold(Numbers::empty(), |set, rule| set.union(&rule.of));
            let numbers = numbers.intersection(&unusable.complement());
            if numbers.is_empty() {
                continue;
            }
            let versions = line.versions(&numbers);
            let known = provider
                .candidates(name)
                .map_or(0, |candidates| candidates.excluded(&versions).len());
            let is_gap = |number: &Number| {
                let beside = |other: Option<Number>| other.is_some_and(|it| numbers.contains(&it));
                !numbers.contains(number)
                    && (beside(number.checked_sub(1)) || beside(number.checked_add(1)))
            };
            let spoken = spoken.get(position);
            if known > 0 || !spoken.is_some_and(|spoken| spoken.iter().any(is_gap)) {
                missing.entry(name).or_default().push(versions);
            }
        }
        let leaves: BTreeSet<usize> = self
            .active
            .iter()
            .filter_map(|position| self.rules[*position].leaf)
            .collect();
        Reduced {
            leaves: leaves.into_iter().map(|leaf| self.leaves[leaf]).collect(),
            missing,
            any_version: self
                .lines
                .iter()
                .enumerate()
                .filter(|(position, _)| !self.closed.contains(position))
                .map(|(_, (name, _))| *name)
                .collect(),
        }
    }
}

/// The world as the solver sees it.
struct View<'w, 't> {
    world: &'w World<'t>,
}

impl DependencyProvider for View<'_, '_> {
    type P = SolverPackage;
    type V = Number;
    type VS = Numbers;
    type M = String;
    type Err = Infallible;
    type Priority = ();

    // Among equals, what is met first is decided first.
    fn prioritize(&self, _: &SolverPackage, _: &Numbers, _: &PackageResolutionStatistics) {}

    fn choose_version(
        &self,
        package: &SolverPackage,
        range: &Numbers,
    ) -> Result<Option<Number>, Infallible> {
        let Some(name) = package.project() else {
            return Ok(Some(self.world.root));
        };
        let position = self.world.line_of[name];
        let line = &self.world.lines[position].1;
        let rules = self.world.by_package.get(package).into_iter().flatten();
        let out: Vec<&Numbers> = rules
            .filter(|position| self.world.active.contains(position))
            .map(|position| &self.world.rules[*position])
            .filter(|rule| rule.requires.is_none())
            .map(|rule| &rule.of)
            .collect();
        let fits =
            |number: &Number| range.contains(number) && !out.iter().any(|out| out.contains(number));
        Ok(if self.world.closed.contains(&position) {
            line.real.iter().rev().copied().find(fits)
        } else {
            (0..=line.last()).rev().find(fits)
        })
    }

    fn get_dependencies(
        &self,
        package: &SolverPackage,
        version: &Number,
    ) -> Result<Dependencies<SolverPackage, Numbers, String>, Infallible> {
        let rules = self.world.by_package.get(package).into_iter().flatten();
        let required = rules
            .filter(|position| self.world.active.contains(position))
            .map(|position| &self.world.rules[*position])
            .filter(|rule| rule.of.contains(version))
            .filter_map(|rule| rule.requires.clone());
        Ok(Dependencies::Available(required.collect()))
    }
}

/// Drops a proof node by node. Left to itself the drop of one node drops those below it, as deep as the proof is, and
/// a proof can be deeper than a stack.
fn dismantle<P: Package>(proof: Arc<DerivationTree<P, Numbers, String>>) {
    let mut waiting = vec![proof];
    while let Some(node) = waiting.pop() {
        // A node that is shared is taken apart by the last who has it.
        if let Some(DerivationTree::Derived(derived)) = Arc::into_inner(node) {
            waiting.push(derived.cause1);
            waiting.push(derived.cause2);
        }
    }
}

fn is_binding(of: &SolverPackage, on: &SolverPackage) -> bool {
    [of, on]
        .iter()
        .any(|package| matches!(package, SolverPackage::Binding(..)))
}
