//! Changes of the base against an exhaustive search: how many, which kind, how new the answer is, and whether a "no" is
//! true; over small random universes on random bases, parts of which are fixed, held, or may leave.
//!
//! `make universes` runs 10,000 of each.

use imgtool::environment::{Environment, Obstacle};
use imgtool::packaging::specifiers::allows;
use imgtool::packaging::{PackageName, Version};
use imgtool::resolution::request::{Request, Requested};
use imgtool::resolution::solution::{Reason, Resolution};
use imgtool::resolution::{Aim, Outcome, Policy, Resolver};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{EXTRAS, INSTALLED, PROJECTS, SPECIFIERS, asked, base, universe};
use crate::support::brute_force::{Additions, Fates, Rigour, World};
use crate::support::environments::environment;
use crate::support::smallest_change::TooLarge;
use crate::support::universe::{Universe, install, request};

/// Steps of an exhaustive search; universes that need more are passed over.
const STEPS: usize = 60_000;

/// A request that the base may well be in the way of: something installed in another version.
fn asked_of_base() -> impl Strategy<Value = String> {
    (
        0..PROJECTS.len(),
        0..EXTRAS.len(),
        0..INSTALLED.len(),
        0..3_usize,
    )
        .prop_map(|(project, extra, version, relation)| {
            let relation = ["!=", ">=", "<"][relation];
            let (version, _) = INSTALLED[version]
                .split_once('+')
                .unwrap_or((INSTALLED[version], ""));
            format!("{}{}{relation}{version}", PROJECTS[project], EXTRAS[extra])
        })
}

/// What becomes of each project's distribution, should it be installed.
#[derive(Debug, Clone, Copy)]
enum Treatment {
    Plain,
    /// `--allow-change`.
    MayChange,
    /// `--hold`.
    Held,
    /// `--allow-remove`.
    MayLeave,
    /// There is an obstacle.
    Fixed,
}

fn treatments() -> impl Strategy<Value = Vec<Treatment>> {
    let treatment = prop_oneof![
        6 => Just(Treatment::Plain),
        2 => Just(Treatment::MayChange),
        1 => Just(Treatment::Held),
        2 => Just(Treatment::MayLeave),
        1 => Just(Treatment::Fixed),
    ];
    vec(treatment, PROJECTS.len())
}

fn policy(aim: Aim, treatments: &[Treatment]) -> Policy {
    let mut policy = Policy::with_aim(aim);
    for (project, treatment) in PROJECTS.iter().zip(treatments) {
        let name: PackageName = project.parse().expect("a name");
        match treatment {
            Treatment::Plain => {}
            Treatment::MayChange => {
                policy.may_change.insert(name);
            }
            Treatment::Held => {
                policy.held.insert(name);
            }
            Treatment::MayLeave => {
                policy.may_leave.insert(name);
            }
            Treatment::Fixed => {
                policy.fixed.insert(name, Obstacle::NoRecord);
            }
        }
    }
    policy
}

/// One question.
#[derive(Clone)]
struct Question {
    environment: Environment,
    universe: Universe,
    request: Request,
    asked: Vec<String>,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "asked {:?}", self.asked)?;
        for constraint in &self.request.constraints {
            write!(f, " constrained by {}", constraint.requirement)?;
        }
        f.write_str("\n base:")?;
        for (name, it) in &self.environment.distributions {
            write!(f, "\n  {name} {} {:?}", it.version, it.requires_dist)?;
        }
        write!(f, "\n index:{:?}", self.universe)
    }
}

fn question() -> impl Strategy<Value = Question> {
    let request_of = prop_oneof![
        3 => vec(asked_of_base(), 1),
        1 => vec(asked(), 1),
        2 => vec(prop_oneof![asked(), asked_of_base()], 2),
    ];
    let constraint = proptest::option::weighted(0.15, (0..PROJECTS.len(), 0..SPECIFIERS.len()));
    (universe(), base(1..5), request_of, constraint).prop_map(
        |(universe, base, asked, constraint)| {
            let mut environment = environment("3.10.4", &[]);
            for (name, release) in base.releases() {
                install(&mut environment, name, release);
            }
            let mut request = request(&environment, &asked);
            if let Some((project, specifier)) = constraint {
                let text = format!("{}{}", PROJECTS[project], SPECIFIERS[specifier]);
                let constraint = text.parse().expect("a constraint");
                request
                    .constraints
                    .push(Requested::on_command_line(constraint));
            }
            Question {
                environment,
                universe,
                request,
                asked,
            }
        },
    )
}

impl Question {
    fn world(&self) -> World<'_> {
        World::new(&self.environment, &self.universe, &self.request)
    }

    /// The only project that is requested, where there is only one.
    fn single_requirement(&self) -> Option<&PackageName> {
        match self.request.requirements.as_slice() {
            [only] => Some(&only.requirement.name),
            _ => None,
        }
    }

    fn resolve(&self, policy: &Policy) -> Outcome {
        let index = self.universe.memory_index();
        Resolver::new(&self.environment, &index)
            .resolve(&self.request, policy)
            .expect("an answer")
    }
}

/// What an answer does to the base, and what it adds; that it says the truth about it is checked.
fn read(resolution: &Resolution, environment: &Environment, policy: &Policy) -> (Fates, Additions) {
    let mut fates = Fates::default();
    for change in &resolution.changed {
        let name = &change.to.name;
        assert!(policy.lets_change(name), "{name} may not change");
        assert_eq!(change.from, environment.distributions[name].version);
        assert_eq!(change.is_downgrade(), change.to.version < change.from);
        fates
            .changed
            .insert(name.clone(), change.to.version.clone());
    }
    for removal in &resolution.removed {
        let name = &removal.name;
        assert!(policy.lets_leave(name), "{name} may not leave");
        assert_eq!(removal.version, environment.distributions[name].version);
        fates.removed.insert(name.clone());
    }
    assert_eq!(
        resolution.changes(),
        fates.changed.len() + fates.removed.len(),
        "twice the same"
    );
    let added: Additions = resolution
        .added
        .iter()
        .map(|added| (added.name.clone(), added.version.clone()))
        .collect();
    assert_eq!(added.len(), resolution.added.len(), "twice the same");
    for satisfied in &resolution.requested {
        let name = &satisfied.requirement.name;
        let version = fates.changed.get(name).or_else(|| added.get(name));
        let installed = || environment.distributions[name].version.clone();
        assert_eq!(satisfied.held, version.is_none(), "{name}");
        assert_eq!(
            satisfied.version,
            version.cloned().unwrap_or_else(installed)
        );
    }
    (fates, added)
}

/// Every reason for a change is a true one: what is said to require something does, and what is installed, or what is
/// there in the end, does not satisfy it.
fn reasons_hold(question: &Question, resolution: &Resolution, fates: &Fates, added: &Additions) {
    let environment = &question.environment;
    let at = |name: &PackageName| {
        let chosen = fates.changed.get(name).or_else(|| added.get(name));
        let stays = !fates.removed.contains(name);
        chosen.cloned().or_else(|| {
            let installed = environment.distributions.get(name).filter(|_| stays)?;
            Some(installed.version.clone())
        })
    };
    let constrained = |name: &PackageName, version: &Version| {
        let mut constraints = question.request.constraints.iter();
        constraints
            .all(|it| it.requirement.name != *name || allows(&it.requirement.specifiers, version))
    };
    let changed = resolution
        .changed
        .iter()
        .map(|it| (&it.to.name, &it.from, &it.reasons));
    let removed = resolution
        .removed
        .iter()
        .map(|it| (&it.name, &it.version, &it.reasons));
    for (name, from, reasons) in changed.chain(removed) {
        for reason in reasons {
            match reason {
                Reason::Required { by, version } => {
                    assert_eq!(by.requirement.name, *name, "{reason:?}");
                    assert!(
                        !allows(&by.requirement.specifiers, from) || !constrained(name, from),
                        "{name} {from} satisfies {reason:?}"
                    );
                    match &by.name {
                        None => assert_eq!(*version, None, "{reason:?}"),
                        Some(requirer) => assert_eq!(*version, at(requirer), "{reason:?}"),
                    }
                }
                Reason::Requires {
                    requirement,
                    version,
                } => {
                    assert_eq!(*version, at(&requirement.name), "{reason:?}");
                    assert!(
                        version
                            .as_ref()
                            .is_none_or(|version| !allows(&requirement.specifiers, version)),
                        "{name} {from} is satisfied: {reason:?}"
                    );
                    let states = environment.distributions[name].requires_dist.iter();
                    assert!(
                        states
                            .filter_map(|it| it.parse().ok())
                            .any(|it: imgtool::packaging::Requirement| it.without_marker()
                                == requirement.without_marker()),
                        "{name} {from} does not require {requirement}"
                    );
                }
            }
        }
    }
}

/// Compares the smallest change with that of an exhaustive search.
fn compare_smallest(question: &Question, policy: &Policy) -> Result<(), TooLarge> {
    let world = question.world();
    let best = world.smallest(policy, STEPS)?;
    match (question.resolve(policy), best) {
        (Outcome::Resolution(resolution), Some(best)) => {
            let (fates, added) = read(&resolution, &question.environment, policy);
            assert_eq!(
                world.violations_after(&fates, &added, Rigour::AsBefore),
                Vec::<String>::new(),
                "{fates:?} {added:?}"
            );
            assert_eq!(
                world.cost(&fates),
                best.cost,
                "{fates:?} {added:?}, but {best:?} (changes, removals, downgrades)"
            );
            if question.single_requirement().is_some() {
                assert_eq!(
                    world.versions(&fates, &added),
                    best.versions,
                    "{fates:?} {added:?}, but {best:?}"
                );
            }
            assert!(resolution.proven_smallest);
            reasons_hold(question, &resolution, &fates, &added);
        }
        (Outcome::Conflict(conflict), None) => {
            assert!(!conflict.facts.is_empty(), "a conflict without a fact");
        }
        (Outcome::Resolution(resolution), None) => panic!(
            "there is no solution, but {:?}",
            read(&resolution, &question.environment, policy)
        ),
        (Outcome::Conflict(conflict), Some(best)) => {
            panic!("{best:?} is a solution, but {:?}", conflict.facts)
        }
    }
    Ok(())
}

/// Compares the newest answer with that of an exhaustive search.
fn compare_newest(question: &Question, policy: &Policy) -> Result<(), TooLarge> {
    let world = question.world();
    match (question.resolve(policy), world.newest(policy, STEPS)?) {
        (Outcome::Resolution(resolution), Some((best, rigour))) => {
            let (fates, added) = read(&resolution, &question.environment, policy);
            assert_eq!(
                world.violations_after(&fates, &added, rigour),
                Vec::<String>::new(),
                "{rigour:?}: {fates:?} {added:?}"
            );
            if question.single_requirement().is_some() {
                assert_eq!(
                    world.versions(&fates, &added),
                    best.versions,
                    "{rigour:?}: {fates:?} {added:?}, but {best:?}"
                );
            }
            reasons_hold(question, &resolution, &fates, &added);
        }
        (Outcome::Conflict(conflict), None) => {
            assert!(!conflict.facts.is_empty(), "a conflict without a fact");
        }
        (Outcome::Resolution(resolution), None) => panic!(
            "there is no solution, but {:?}",
            read(&resolution, &question.environment, policy)
        ),
        (Outcome::Conflict(conflict), Some(best)) => {
            panic!("{best:?} is a solution, but {:?}", conflict.facts)
        }
    }
    Ok(())
}

/// Compares what more there is to have for more changes with an exhaustive search.
fn compare_frontier(question: &Question, policy: &Policy) -> Result<(), TooLarge> {
    let world = question.world();
    let expected = world.frontier(policy, STEPS)?;
    let index = question.universe.memory_index();
    let resolver = Resolver::new(&question.environment, &index);
    let frontier = resolver
        .frontier(&question.request, policy)
        .expect("an answer");
    let name = question.single_requirement().expect("one requirement");
    assert_eq!(frontier.projects, std::slice::from_ref(name));
    let mut found = Vec::new();
    for row in &frontier.rows {
        let (fates, added) = read(&row.resolution, &question.environment, policy);
        assert_eq!(
            world.violations_after(&fates, &added, Rigour::AsBefore),
            Vec::<String>::new(),
            "{fates:?} {added:?}"
        );
        assert_eq!(world.versions(&fates, &added), row.versions);
        assert!(row.resolution.proven_smallest);
        reasons_hold(question, &row.resolution, &fates, &added);
        found.push((row.resolution.changes(), row.versions[0].clone()));
    }
    assert_eq!(found, expected, "changes and versions");
    Ok(())
}

fn judge(compared: Result<(), TooLarge>) -> Result<(), TestCaseError> {
    compared.map_err(|TooLarge| TestCaseError::reject("too large to search"))
}

fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        failure_persistence: None,
        // Some are too large to search, and some of no use to one of the tests.
        max_global_rejects: 4 * config.cases.max(1024),
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_smallest_change_is_that_of_an_exhaustive_search(
        question in question(),
        treatments in treatments(),
    ) {
        judge(compare_smallest(&question, &policy(Aim::Minimal, &treatments)))?;
    }

    #[test]
    fn what_is_allowed_to_change_changes_as_little_as_it_can(
        question in question(),
        treatments in treatments(),
    ) {
        judge(compare_smallest(&question, &policy(Aim::Hold, &treatments)))?;
    }

    #[test]
    fn an_upgrade_is_the_newest_of_an_exhaustive_search(
        question in question(),
        treatments in treatments(),
    ) {
        judge(compare_newest(&question, &policy(Aim::Upgrade, &treatments)))?;
    }

    #[test]
    fn a_frontier_is_that_of_an_exhaustive_search(
        question in question(),
        treatments in treatments(),
    ) {
        prop_assume!(question.single_requirement().is_some());
        let policy = policy(Aim::Minimal, &treatments);
        judge(compare_frontier(&question, &policy))?;
    }
}
