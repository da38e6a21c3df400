//! Resolver scenarios of packse, pip and resolvelib: what they expect, for one environment, is what imgtool answers,
//! whether the index lies in memory or behind HTTP, and with any one version of them installed in the base.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use imgtool::environment::Environment;
use imgtool::package_index::{IndexClient, IndexSettings, PackageIndex};
use imgtool::packaging::{PackageName, Version};
use imgtool::resolution::request::Request;
use imgtool::resolution::{Aim, Outcome, Policy, Resolver};
use serde::Deserialize;

use crate::harness::{Suite, document};
use crate::support::brute_force::{Additions, Fates, Found, Rigour, World};
use crate::support::environments::environment;
use crate::support::index_server::Behaviour;
use crate::support::refutation::refuted;
use crate::support::smallest_change::{Cost, TooLarge};
use crate::support::universe::{Release, Universe, install, request};

/// The collections, and how many of their scenarios are strict.
const COLLECTIONS: [(&str, usize); 3] = [
    ("resolver/packse-scenarios.json", 104),
    ("resolver/pip-yaml-scenarios.json", 43),
    ("resolver/resolvelib-scenarios.json.gz", 8),
];

/// Bytes that make a wheel too large to be fetched whole for its metadata.
const PADDING: usize = 100_000;
/// Of universes with more releases than this only some versions are installed in turn,
const SMALL: usize = 60;
/// about so many, and those of the expected solution.
const SAMPLE: usize = 40;
/// Steps of an exhaustive search.
const STEPS: usize = 200_000;

#[derive(Deserialize)]
struct Collection {
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    id: String,
    root: Root,
    environment: PythonOf,
    #[serde(default)]
    resolver_options: Options,
    packages: BTreeMap<String, BTreeMap<String, Offered>>,
    single_env_class: String,
    single_env_expected: Option<Expected>,
}

#[derive(Deserialize)]
struct Root {
    #[serde(default)]
    requires: Vec<String>,
}

#[derive(Deserialize)]
struct PythonOf {
    python: String,
}

#[derive(Deserialize, Default)]
struct Options {
    python: Option<String>,
}

#[derive(Deserialize)]
struct Offered {
    requires_python: Option<String>,
    #[serde(default)]
    requires: Vec<String>,
    #[serde(default)]
    extras: BTreeMap<String, Vec<String>>,
    sdist: bool,
    wheel: bool,
    yanked: bool,
    #[serde(default)]
    wheel_tags: Vec<String>,
}

#[derive(Deserialize)]
struct Expected {
    satisfiable: bool,
    #[serde(default)]
    packages: BTreeMap<String, String>,
}

impl Offered {
    fn release(&self, version: &str) -> Release {
        let mut requires = self.requires.clone();
        for (extra, of_extra) in &self.extras {
            requires.extend(
                of_extra
                    .iter()
                    .map(|requirement| match requirement.split_once(';') {
                        Some((requirement, marker)) => {
                            format!("{requirement} ; ({marker}) and extra == '{extra}'")
                        }
                        None => format!("{requirement} ; extra == '{extra}'"),
                    }),
            );
        }
        Release {
            version: version.to_owned(),
            requires,
            extras: self.extras.keys().cloned().collect(),
            requires_python: self.requires_python.clone(),
            yanked: self.yanked.then(|| "a mistake".to_owned()),
            wheels: match (self.wheel, self.wheel_tags.as_slice()) {
                (false, _) => Vec::new(),
                (true, []) => vec!["py3-none-any".to_owned()],
                (true, tags) => tags.to_vec(),
            },
            source: self.sdist,
        }
    }
}

impl Scenario {
    fn universe(&self) -> Universe {
        let releases = |versions: &BTreeMap<String, Offered>| {
            let releases = versions.iter();
            releases
                .map(|(version, offered)| offered.release(version))
                .collect()
        };
        let projects = self.packages.iter();
        Universe(
            projects
                .map(|(name, versions)| (name.clone(), releases(versions)))
                .collect(),
        )
    }

    /// The base: nothing is installed.
    fn environment(&self) -> Environment {
        let python = self.resolver_options.python.as_ref();
        let python = python.unwrap_or(&self.environment.python);
        match python.matches('.').count() {
            1 => environment(&format!("{python}.0"), &[]),
            _ => environment(python, &[]),
        }
    }

    /// Whether uv and pip agree on it.
    fn is_strict(&self) -> bool {
        self.single_env_class == "strict"
    }

    /// What they agree on; `None` where it cannot be satisfied, or where they do not agree.
    fn solution(&self) -> Option<Additions> {
        let expected = self.single_env_expected.as_ref()?;
        expected.satisfiable.then(|| {
            let packages = expected.packages.iter();
            packages
                .map(|(name, version)| (project(name), parse(version)))
                .collect()
        })
    }
}

fn project(name: &str) -> PackageName {
    PackageName::from_str(name).expect("a name")
}

fn parse(version: &str) -> Version {
    Version::from_str(version).expect("a version")
}

fn scenarios(path: &str) -> Vec<Scenario> {
    let collection: Collection = serde_json::from_value(document(path)).expect("a collection");
    collection.scenarios
}

/// imgtool's answer: what is added, or `None` for a conflict, which must say something.
fn answer(
    environment: &Environment,
    index: &dyn PackageIndex,
    request: &Request,
) -> Option<Additions> {
    match Resolver::new(environment, index).resolve(request, &Policy::default()) {
        Ok(Outcome::Resolution(resolution)) => Some(
            resolution
                .added
                .into_iter()
                .map(|added| (added.name, added.version))
                .collect(),
        ),
        Ok(Outcome::Conflict(conflict)) => {
            assert!(!conflict.facts.is_empty(), "a conflict without a fact");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn scenarios_are_answered_as_uv_and_pip_both_answer_them() {
    let mut suite = Suite::new("resolver-strict");
    for (path, _) in COLLECTIONS {
        for scenario in scenarios(path) {
            if !scenario.is_strict() {
                continue;
            }
            let environment = scenario.environment();
            let request = request(&environment, &scenario.root.requires);
            let found = answer(&environment, &scenario.universe().memory_index(), &request);
            suite.compare(
                &format!("{path} {}", scenario.id),
                &scenario.solution(),
                &found,
            );
        }
    }
    suite.finish(COLLECTIONS.iter().map(|(_, strict)| strict).sum());
}

/// Where uv and pip differ, our rules decide (those of `brute_force`): the answer keeps them, there is one whenever the
/// rules allow one, and what is requested first is as new as they let it be.
#[test]
fn scenarios_on_which_uv_and_pip_differ_are_answered_by_our_rules() {
    let mut suite = Suite::new("resolver-policy");
    for (path, _) in COLLECTIONS {
        for scenario in scenarios(path) {
            if scenario.is_strict() {
                continue;
            }
            let environment = scenario.environment();
            let universe = scenario.universe();
            let request = request(&environment, &scenario.root.requires);
            let world = World::new(&environment, &universe, &request);
            let found = answer(&environment, &universe.memory_index(), &request);
            let first = |additions: &Additions| {
                let first = &request.requirements[0].requirement.name;
                additions.get(first).cloned()
            };
            let expected = match world.search(STEPS) {
                Found::Solution(additions) => Some(first(&additions)),
                Found::Nothing => None,
                Found::TooLarge => panic!("{}: too large", scenario.id),
            };
            suite.compare(&scenario.id, &expected, &found.as_ref().map(first));
            let violations = found.map(|found| world.violations(&found));
            assert_eq!(
                violations.unwrap_or_default(),
                Vec::<String>::new(),
                "{}",
                scenario.id
            );
        }
    }
    suite.finish(14);
}

/// Ways in which an index may serve: name, padding of the wheels, behaviour.
type Mode = (&'static str, usize, fn(&mut Behaviour));

#[test]
fn scenarios_have_the_same_answers_over_http() {
    let modes: [Mode; 6] = [
        ("JSON and metadata files", 0, |it| it.pep658 = true),
        ("HTML and metadata files", 0, |it| {
            it.pep658 = true;
            it.html_only = true;
        }),
        ("metadata files announced but missing", PADDING, |it| {
            it.pep658_missing = true;
        }),
        ("metadata from ranges of wheels", PADDING, |_| {}),
        ("HTML, ranges", PADDING, |it| it.html_only = true),
        ("Range ignored", PADDING, |it| it.ignore_range = true),
    ];
    let mut suite = Suite::new("resolver-http");
    for scenario in scenarios(COLLECTIONS[0].0) {
        let universe = scenario.universe();
        let environment = scenario.environment();
        let request = request(&environment, &scenario.root.requires);
        let expected = answer(&environment, &universe.memory_index(), &request);
        for padding in [0, PADDING] {
            let server = universe.server(padding).start();
            for (mode, _, behave) in modes.iter().filter(|(_, it, _)| *it == padding) {
                server.change(|behaviour| {
                    *behaviour = Behaviour::default();
                    behave(behaviour);
                });
                let settings = IndexSettings {
                    index_url: Some(server.index_url()),
                    back_off: Duration::from_millis(1),
                    ..IndexSettings::default()
                };
                let client = IndexClient::new(settings, Arc::new(|| 1_000_000)).expect("a client");
                client.set_foresight(imgtool::resolution::foresight(&environment, &request));
                let found = answer(&environment, &client, &request);
                suite.compare(&format!("{} over {mode}", scenario.id), &expected, &found);
            }
        }
    }
    suite.finish(118 * modes.len());
}

/// What an answer does to the base and what it adds; `None` for a conflict.
fn answer_of(outcome: &Outcome) -> Option<(Fates, Additions)> {
    let Outcome::Resolution(resolution) = outcome else {
        return None;
    };
    let changed = resolution.changed.iter();
    let removed = resolution.removed.iter();
    let added = resolution.added.iter();
    let fates = Fates {
        changed: changed
            .map(|it| (it.to.name.clone(), it.to.version.clone()))
            .collect(),
        removed: removed.map(|it| it.name.clone()).collect(),
    };
    let added = added.map(|it| (it.name.clone(), it.version.clone()));
    Some((fates, added.collect()))
}

/// What is compared of an answer.
#[derive(Debug, PartialEq)]
struct Verdict {
    /// What it costs the base, where it can be had at all.
    cost: Option<Cost>,
    /// What is requested, where that is one project.
    version: Option<Version>,
    /// What is wrong with it.
    violations: Vec<String>,
}

impl Verdict {
    const NO: Self = Self {
        cost: None,
        version: None,
        violations: Vec::new(),
    };

    fn new(world: &World<'_>, request: &Request, fates: &Fates, added: &Additions) -> Self {
        let violations = world.violations_after(fates, added, Rigour::AsBefore);
        let mut versions = if violations.is_empty() {
            world.versions(fates, added)
        } else {
            Vec::new()
        };
        Self {
            cost: Some(world.cost(fates)),
            version: match request.requirements.len() {
                1 => versions.pop(),
                _ => None,
            },
            violations,
        }
    }
}

/// The versions that are installed in turn, by project: all of a small universe; of a larger one as many as
/// `SAMPLE`, evenly spread, and what the expected solution has.
fn to_install<'u>(
    universe: &'u Universe,
    solution: Option<&Additions>,
) -> Vec<(&'u str, Version, &'u Release)> {
    let mut installed = BTreeSet::new();
    let all: Vec<(&str, Version, &Release)> = universe
        .releases()
        .filter_map(|(name, release)| {
            let version = Version::from_str(&release.version).ok()?;
            Some((name, version, release))
        })
        .filter(|(name, version, _)| installed.insert((*name, version.clone())))
        .collect();
    if all.len() <= SMALL {
        return all;
    }
    let step = all.len().div_ceil(SAMPLE);
    all.into_iter()
        .enumerate()
        .filter(|(position, (name, version, _))| {
            position % step == 0
                || solution.is_some_and(|it| it.get(&project(name)) == Some(version))
        })
        .map(|(_, it)| it)
        .collect()
}

/// Each scenario again, with one version of one project installed, held or free to change: what an exhaustive search
/// says is right. Where that is too large: the answer keeps all rules, what a solution has anyway leaves it solvable,
/// the base changes only where it must, and the facts of a "no" leave no way out.
#[test]
fn scenarios_are_right_with_any_one_version_installed() {
    let mut suite = Suite::new("resolver-base");
    for (path, _) in COLLECTIONS {
        for scenario in scenarios(path) {
            let universe = scenario.universe();
            let index = universe.memory_index();
            let solution = scenario.solution();
            for (name, version, release) in to_install(&universe, solution.as_ref()) {
                let mut environment = scenario.environment();
                install(&mut environment, name, release);
                let request = request(&environment, &scenario.root.requires);
                let case = Case {
                    key: format!("{} with {name} {version}", scenario.id),
                    environment: &environment,
                    universe: &universe,
                    request: &request,
                    is_of_solution: solution
                        .as_ref()
                        .is_some_and(|it| it.get(&project(name)) == Some(&version)),
                };
                case.compare(&index, &mut suite);
            }
        }
    }
    suite.finish(2300);
}

/// One scenario with one version installed.
struct Case<'a> {
    key: String,
    environment: &'a Environment,
    universe: &'a Universe,
    request: &'a Request,
    /// Whether a solution without a base has this version.
    is_of_solution: bool,
}

impl Case<'_> {
    fn compare(&self, index: &dyn PackageIndex, suite: &mut Suite) {
        let resolver = Resolver::new(self.environment, index);
        let world = World::new(self.environment, self.universe, self.request);
        let mut held_fits = false;
        for (aim, said) in [(Aim::Hold, "held"), (Aim::Minimal, "free")] {
            let key = format!("{}, {said}", self.key);
            let policy = Policy::with_aim(aim);
            let outcome = resolver.resolve(self.request, &policy);
            let outcome = outcome.unwrap_or_else(|error| panic!("{key}: {error}"));
            let found = answer_of(&outcome);
            let fits = found.is_some();
            let found = found.map_or(Verdict::NO, |(fates, added)| {
                Verdict::new(&world, self.request, &fates, &added)
            });
            let expected = match world.smallest(&policy, STEPS) {
                Ok(None) => Verdict::NO,
                Ok(Some(best)) => Verdict::new(&world, self.request, &best.fates, &best.added),
                Err(TooLarge) => Verdict {
                    // What is not searched is taken from the answer, but for what must be so.
                    cost: match (self.is_of_solution || held_fits, found.cost) {
                        (true, _) => Some((0, 0, 0)),
                        (false, cost) => cost,
                    },
                    version: found.version.clone(),
                    violations: Vec::new(),
                },
            };
            suite.compare(&key, &expected, &found);
            match &outcome {
                Outcome::Conflict(conflict) if aim == Aim::Hold => {
                    let (environment, universe) = (self.environment, self.universe);
                    match refuted(conflict, environment, universe, self.request, STEPS) {
                        Found::TooLarge => suite.skip(),
                        other => {
                            let key = format!("{}, proof", self.key);
                            suite.compare(&key, &Found::Nothing, &other);
                        }
                    }
                }
                Outcome::Conflict(_) => {
                    suite.compare(&format!("{key}, unlike held"), &false, &held_fits);
                }
                Outcome::Resolution(_) => {}
            }
            held_fits = fits;
        }
    }
}
