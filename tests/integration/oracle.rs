//! The resolver against an exhaustive search, over small random universes on random bases.
//!
//! `PROPTEST_CASES` raises the number of cases, which is small enough for every run of the tests.

mod changes;

use std::ops::Range;

use imgtool::environment::Environment;
use imgtool::packaging::specifiers::allows;
use imgtool::packaging::{PackageName, VersionSpecifiers};
use imgtool::resolution::conflict::Fact;
use imgtool::resolution::request::{Request, Requested};
use imgtool::resolution::{Conflict, Outcome, Policy, Resolver};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::support::brute_force::{Additions, Found, World};
use crate::support::environments::environment;
use crate::support::universe::{Release, Universe, install, request};

const PROJECTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// What an index may offer; the last but one is a pre-release.
const VERSIONS: [&str; 4] = ["1.0", "1.5", "2.0a1", "2.0"];
/// What may be installed: also what no index has.
const INSTALLED: [&str; 5] = ["1.0", "1.5", "2.0", "1.5+local", "3.0.dev1"];
const SPECIFIERS: [&str; 12] = [
    "", "", "", ">=1.5", "<2", "==1.0", "!=1.5", "~=1.0", ">1.0", "<=1.5", "==1.*", ">=2.0a1",
];
/// Every version that makes a difference to a specifier, and those between them.
const EVERY_VERSION: [&str; 14] = [
    "0.5",
    "1.0",
    "1.0+local",
    "1.0.post1",
    "1.2",
    "1.5",
    "1.5+local",
    "1.7",
    "2.0a1",
    "2.0b1",
    "2.0",
    "2.5",
    "3.0.dev1",
    "3.0",
];
/// Extras: `x` and `y` are offered by everything, `z` by nothing.
const EXTRAS: [&str; 5] = ["", "", "[x]", "[y]", "[x,z]"];
const MARKERS: [&str; 7] = [
    "",
    "",
    "",
    "; extra == 'x'",
    "; extra == 'y'",
    "; python_version < '3'",
    "; python_version >= '3' or extra == 'x'",
];
/// Steps of an exhaustive search; universes that need more are passed over.
const STEPS: usize = 30_000;

fn requirement() -> impl Strategy<Value = String> {
    (
        0..PROJECTS.len(),
        0..EXTRAS.len(),
        0..SPECIFIERS.len(),
        0..MARKERS.len(),
    )
        .prop_map(|(project, extra, specifier, marker)| {
            format!(
                "{}{}{}{}",
                PROJECTS[project], EXTRAS[extra], SPECIFIERS[specifier], MARKERS[marker]
            )
        })
}

fn release(version: &'static str) -> impl Strategy<Value = Release> {
    (vec(requirement(), 0..4), 0..20_u8).prop_map(move |(requires, rarity)| Release {
        extras: vec!["x".to_owned(), "y".to_owned()],
        requires,
        yanked: (rarity == 19).then(|| "a mistake".to_owned()),
        requires_python: (rarity == 18).then(|| "<3.10".to_owned()),
        ..Release::new(version, &[])
    })
}

fn universe() -> impl Strategy<Value = Universe> {
    let project = proptest::sample::subsequence(&VERSIONS[..], 1..=VERSIONS.len())
        .prop_flat_map(|versions| versions.into_iter().map(release).collect::<Vec<_>>());
    vec(project, PROJECTS.len()).prop_map(|projects| {
        let names = PROJECTS.iter().map(|name| (*name).to_owned());
        Universe(names.zip(projects).collect())
    })
}

/// What is installed: so many distributions.
fn base(size: Range<usize>) -> impl Strategy<Value = Universe> {
    let installed = (0..INSTALLED.len()).prop_flat_map(|version| release(INSTALLED[version]));
    btree_map(0..PROJECTS.len(), installed, size).prop_map(|installed| {
        let installed = installed.into_iter();
        Universe(
            installed
                .map(|(position, release)| (PROJECTS[position].to_owned(), vec![release]))
                .collect(),
        )
    })
}

fn asked() -> impl Strategy<Value = String> {
    (0..PROJECTS.len(), 0..EXTRAS.len(), 0..SPECIFIERS.len()).prop_map(
        |(project, extra, specifier)| {
            format!(
                "{}{}{}",
                PROJECTS[project], EXTRAS[extra], SPECIFIERS[specifier]
            )
        },
    )
}

fn solve(environment: &Environment, universe: &Universe, request: &Request) -> Outcome {
    let index = universe.memory_index();
    let resolver = Resolver::new(environment, &index);
    resolver
        .resolve(request, &Policy::default())
        .expect("an answer")
}

/// Compares one answer; `None` where the search was given up.
fn compare(environment: &Environment, universe: &Universe, request: &Request) -> Option<()> {
    let world = World::new(environment, universe, request);
    let best = match world.search(STEPS) {
        Found::TooLarge => return None,
        Found::Solution(additions) => Some(additions),
        Found::Nothing => None,
    };
    match (solve(environment, universe, request), best) {
        (Outcome::Resolution(resolution), Some(best)) => {
            let added: Additions = resolution
                .added
                .iter()
                .map(|added| (added.name.clone(), added.version.clone()))
                .collect();
            assert_eq!(world.violations(&added), Vec::<String>::new());
            if let [only] = request.requirements.as_slice() {
                let name = &only.requirement.name;
                assert_eq!(added.get(name), best.get(name), "not the newest {name}");
            }
        }
        (Outcome::Conflict(conflict), None) => {
            explains(&conflict, environment);
            assert_eq!(
                refuted(&conflict.facts, None, environment, universe, request),
                Found::Nothing,
                "the facts are not enough: {:?}",
                conflict.facts
            );
            are_needed(&conflict, environment, universe, request);
            fits(&conflict, environment, universe, request)?;
        }
        (Outcome::Resolution(resolution), None) => {
            panic!("there is no solution, but {:?}", resolution.added)
        }
        (Outcome::Conflict(conflict), Some(best)) => {
            panic!("{best:?} is a solution, but {:?}", conflict.facts)
        }
    }
    Some(())
}

/// What holds for every explanation: it begins with what was asked, every project in it but those was brought in by a
/// fact before, and it ends where nothing can give way.
fn explains(conflict: &Conflict, environment: &Environment) {
    let facts = &conflict.facts;
    assert!(matches!(facts[0], Fact::Asked { .. }), "{facts:?}");
    let mut introduced: Vec<&PackageName> = Vec::new();
    for fact in facts {
        match fact {
            Fact::Asked { requirement, .. } => introduced.push(&requirement.name),
            Fact::Requires {
                project,
                required,
                bounds,
                ..
            } => {
                assert!(introduced.contains(&project), "{project}: {facts:?}");
                introduced.extend(bounds.iter().map(|_| required));
            }
            Fact::Held { name, version, .. } => {
                assert!(introduced.contains(&name), "{name}: {facts:?}");
                assert_eq!(environment.distributions[name].version, *version);
            }
            Fact::BaseRequires { by, .. } => {
                assert!(introduced.contains(&&by.requirement.name), "{facts:?}");
            }
            Fact::Newest { .. } => panic!("nobody asked why nothing is newer: {facts:?}"),
            Fact::Stays { name, .. } => introduced.push(name),
            Fact::UnknownProject { name }
            | Fact::NoCandidate { name, .. }
            | Fact::Unusable { name, .. } => {
                assert!(introduced.contains(&name), "{name}: {facts:?}");
            }
        }
    }
    // Two requests, or two requirements of one project, can exclude each other without a further fact.
    let ends = facts
        .iter()
        .any(|fact| !matches!(fact, Fact::Asked { .. } | Fact::Requires { .. }));
    let meets = introduced
        .iter()
        .any(|name| introduced.iter().filter(|other| other == &name).count() > 1);
    assert!(ends || meets, "{facts:?}");
}

/// A search in a world of which no more is known than the facts say: projects have the versions that they have, but
/// require nothing, and are not installed, unless a fact says so. A project of which no fact says anything has any
/// version. If there is a solution, the explanation is none.
///
/// The project in `any` is not held, and the index has every version of it that there might be.
fn refuted(
    facts: &[Fact],
    any: Option<&PackageName>,
    environment: &Environment,
    universe: &Universe,
    request: &Request,
) -> Found {
    let subjects: Vec<&PackageName> = facts.iter().filter_map(Fact::subject).collect();
    let mut known = universe.clone();
    if let Some(name) = any {
        open_up(&mut known, name);
    }
    for (name, releases) in &mut known.0 {
        let is_meant = |project: &PackageName| *project.as_ref() == **name;
        if !subjects.iter().copied().chain(any).any(is_meant) {
            *releases = VERSIONS.iter().map(|it| Release::new(it, &[])).collect();
        }
        for release in releases {
            release.requires.clear();
        }
    }
    let mut base = self::environment("3.10.4", &[]);
    let mut asked = Request {
        requirements: Vec::new(),
        ..request.clone()
    };
    let hold = |base: &mut Environment, name: &PackageName| {
        if Some(name) != any
            && let Some(installed) = environment.distributions.get(name)
        {
            let mut installed = installed.clone();
            installed.requires_dist.clear();
            let entry = base.distributions.entry(name.clone());
            entry.or_insert(installed);
        }
    };
    for (position, fact) in facts.iter().enumerate() {
        match fact {
            Fact::Asked { requirement, .. } => {
                asked
                    .requirements
                    .push(Requested::on_command_line(requirement.clone()));
            }
            Fact::Requires {
                project,
                extra,
                bounds,
                ..
            } => {
                hold(&mut base, project);
                let marker = extra
                    .as_ref()
                    .map_or(String::new(), |extra| format!(" ; extra == '{extra}'"));
                for bound in bounds {
                    let text = format!("{}{marker}", bound.requirement);
                    if let Some(installed) = base.distributions.get_mut(project) {
                        installed.requires_dist.push(text);
                        continue;
                    }
                    let releases = known.0.get_mut(project.as_ref()).expect("a project");
                    for release in releases {
                        if bound
                            .versions
                            .contains(&release.version.parse().expect("a version"))
                        {
                            release.requires.push(text.clone());
                        }
                    }
                }
            }
            Fact::Held { name, .. } => hold(&mut base, name),
            Fact::BaseRequires { by, .. } => {
                // It binds others even where its own version is of no account.
                let mut binding = environment.distributions[&by.requirer].clone();
                binding.requires_dist = vec![by.requirement.to_string()];
                let stand_in: PackageName = format!("stand-in-{position}").parse().expect("a name");
                base.distributions.insert(stand_in, binding);
            }
            Fact::Unusable {
                name,
                versions,
                reason,
            } => {
                let extra = reason.strip_prefix("with its extra `");
                let text = match extra.and_then(|rest| rest.split_once('`')) {
                    Some((extra, _)) => format!("nowhere ; extra == '{extra}'"),
                    None => "nowhere".to_owned(),
                };
                hold(&mut base, name);
                if let Some(installed) = base.distributions.get_mut(name) {
                    installed.requires_dist.push(text);
                    continue;
                }
                let releases = known.0.get_mut(name.as_ref()).expect("a project");
                for release in releases {
                    if versions.contains(&release.version.parse().expect("a version")) {
                        release.requires.push(text.clone());
                    }
                }
            }
            Fact::Newest { .. }
            | Fact::Stays { .. }
            | Fact::UnknownProject { .. }
            | Fact::NoCandidate { .. } => {}
        }
    }
    World::new(&base, &known, &asked).search(STEPS)
}

/// Gives a project every version that there might be.
fn open_up(known: &mut Universe, name: &PackageName) {
    let releases = known.0.entry(name.to_string()).or_default();
    for version in EVERY_VERSION {
        match releases.iter_mut().find(|it| it.version == version) {
            Some(release) if usable(release) => {}
            Some(release) => *release = Release::new(version, &[]),
            None => releases.push(Release::new(version, &[])),
        }
    }
}

/// Whether a release can be installed, whatever it requires.
fn usable(release: &Release) -> bool {
    release.yanked.is_none() && release.requires_python.is_none()
}

/// No fact is superfluous: without any one of them there is a solution.
fn are_needed(
    conflict: &Conflict,
    environment: &Environment,
    universe: &Universe,
    request: &Request,
) {
    for position in 0..conflict.facts.len() {
        let mut others = conflict.facts.clone();
        let without = others.remove(position);
        let any = match &without {
            Fact::NoCandidate { name, .. }
            | Fact::UnknownProject { name }
            | Fact::Held { name, .. } => Some(name),
            _ => None,
        };
        // That a constraint rules versions out is a part of the facts that they are no candidates, or are held.
        let mut request = request.clone();
        request.constraints.retain(|constraint| {
            without.subject() != Some(&constraint.requirement.name)
                || matches!(without, Fact::Requires { .. })
        });
        assert!(
            !matches!(
                refuted(&others, any, environment, universe, &request),
                Found::Nothing
            ),
            "{without:?} is superfluous in {:#?}",
            conflict.facts
        );
    }
}

/// What is said to fit is what an exhaustive search finds when the bounds are dropped.
fn fits(
    conflict: &Conflict,
    environment: &Environment,
    universe: &Universe,
    request: &Request,
) -> Option<()> {
    for (position, fitting) in conflict.fitting.iter().enumerate() {
        let asked = &request.requirements[position].requirement;
        assert_eq!(fitting.requested, *asked);
        if asked.specifiers.is_empty() {
            assert_eq!(fitting.version, None);
            continue;
        }
        let relaxed = request.with_any_version_of(position);
        let best = match World::new(environment, universe, &relaxed).search(STEPS) {
            Found::TooLarge => return None,
            Found::Nothing => None,
            Found::Solution(additions) => match environment.distributions.get(&asked.name) {
                Some(held) => Some(held.version.clone()),
                None => additions.get(&asked.name).cloned(),
            },
        };
        if request.requirements.len() == 1 {
            assert_eq!(fitting.version, best);
        } else {
            assert_eq!(fitting.version.is_some(), best.is_some());
        }
        if let Some(version) = &fitting.version {
            let pin: VersionSpecifiers = format!("=={version}").parse().expect("a pin");
            assert!(allows(&pin, version));
        }
    }
    Some(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_an_exhaustive_search(
        universe in universe(),
        base in base(0..4),
        asked in vec(asked(), 1..3),
        constraint in proptest::option::weighted(0.2, (0..PROJECTS.len(), 0..SPECIFIERS.len())),
    ) {
        let mut environment = environment("3.10.4", &[]);
        for (name, release) in base.releases() {
            install(&mut environment, name, release);
        }
        let mut request = request(&environment, &asked);
        if let Some((project, specifier)) = constraint {
            let text = format!("{}{}", PROJECTS[project], SPECIFIERS[specifier]);
            let constraint = text.parse().expect("a constraint");
            request.constraints.push(Requested::on_command_line(constraint));
        }
        if compare(&environment, &universe, &request).is_none() {
            return Err(TestCaseError::reject("too large to search"));
        }
    }
}
