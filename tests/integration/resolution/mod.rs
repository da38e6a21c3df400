//! The rules of resolution, one test for each, on an index in memory.

mod changes;
mod changes_found;
mod exclude_newer;
mod explanation;
mod scale;

use std::str::FromStr;

use imgtool::environment::Environment;
use imgtool::packaging::Requirement;
use imgtool::resolution::conflict::{Bound, Fact, Span};
use imgtool::resolution::request::{Request, Requested};
use imgtool::resolution::{Conflict, Outcome, Policy, Resolution, ResolutionError, Resolver};

use crate::support::environments::environment;
use crate::support::memory_index::{File, MemoryIndex};
use crate::support::universe::request;

type Installed<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

fn index() -> MemoryIndex {
    MemoryIndex::default()
}

/// CPython 3.10.4 with these distributions.
fn base(installed: Installed<'_>) -> Environment {
    environment("3.10.4", installed)
}

fn ask(environment: &Environment, index: &MemoryIndex, request: &Request) -> Outcome {
    let resolver = Resolver::new(environment, index);
    resolver
        .resolve(request, &Policy::default())
        .expect("an answer")
}

fn solve(environment: &Environment, index: &MemoryIndex, asked: &[&str]) -> Resolution {
    solution(ask(environment, index, &request(environment, asked)))
}

fn refuse(environment: &Environment, index: &MemoryIndex, asked: &[&str]) -> Conflict {
    conflict(ask(environment, index, &request(environment, asked)))
}

fn solution(outcome: Outcome) -> Resolution {
    match outcome {
        Outcome::Resolution(resolution) => resolution,
        Outcome::Conflict(conflict) => panic!("{:#?}", facts(&conflict)),
    }
}

fn conflict(outcome: Outcome) -> Conflict {
    match outcome {
        Outcome::Resolution(resolution) => panic!("{:#?}", added(&resolution)),
        Outcome::Conflict(conflict) => conflict,
    }
}

fn constrained(environment: &Environment, asked: &[&str], constraints: &[&str]) -> Request {
    let mut request = request(environment, asked);
    request.constraints = constraints
        .iter()
        .map(|text| Requested {
            requirement: Requirement::from_str(text).expect("a constraint"),
            origin: Some("c.txt:1".to_owned()),
        })
        .collect();
    request
}

/// `name==version` of everything that is added, with the extras.
fn added(resolution: &Resolution) -> Vec<String> {
    let additions = resolution.added.iter();
    additions
        .map(|added| {
            let extras: Vec<String> = added.extras.iter().map(ToString::to_string).collect();
            match extras.as_slice() {
                [] => format!("{}=={}", added.name, added.version),
                extras => format!("{}[{}]=={}", added.name, extras.join(","), added.version),
            }
        })
        .collect()
}

/// The facts of an explanation in short.
fn facts(conflict: &Conflict) -> Vec<String> {
    conflict.facts.iter().map(short).collect()
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(" ")
}

fn short(fact: &Fact) -> String {
    match fact {
        Fact::Asked {
            requirement,
            origin,
        } => match origin {
            None => format!("asked: {requirement}"),
            Some(origin) => format!("asked: {requirement} at {origin}"),
        },
        Fact::Requires {
            project,
            extra,
            required,
            bounds,
            ..
        } => {
            let extra = extra.as_ref().map_or(String::new(), |it| format!("[{it}]"));
            let bound = |bound: &Bound| {
                assert_eq!(bound.requirement.name, *required);
                let every = if bound.span == Span::Every {
                    "every: "
                } else {
                    ""
                };
                format!("{every}{} -> {}", list(&bound.versions), bound.requirement)
            };
            let bounds: Vec<String> = bounds.iter().map(bound).collect();
            format!("{project}{extra} {}", bounds.join(" | "))
        }
        Fact::Held {
            name,
            version,
            required_by,
            constraints,
            ..
        } => {
            let by = required_by
                .iter()
                .map(|by| format!("{}: {}", by.requirer, by.requirement));
            let by: Vec<String> = by.chain(constraints.iter().cloned()).collect();
            format!("held: {name} {version} ({})", by.join(", "))
        }
        Fact::Newest { name, version, .. } => format!("newest: {name} {version}"),
        Fact::Stays { name, version } => format!("stays: {name} {version}"),
        Fact::BaseRequires { by, ruled_out, .. } => format!(
            "base: {} {} -> {} rules out {}",
            by.requirer,
            by.requirer_version,
            by.requirement,
            list(ruled_out)
        ),
        Fact::UnknownProject { name } => format!("unknown: {name}"),
        Fact::NoCandidate {
            name,
            excluded,
            newest,
            ..
        } => {
            let reasons = excluded
                .iter()
                .map(|(reason, versions)| format!("{reason:?}: {}", list(versions)));
            let reasons: Vec<String> = reasons.collect();
            let newest = newest.as_ref().map_or("-".to_owned(), ToString::to_string);
            format!("none: {name} ({}) newest {newest}", reasons.join(", "))
        }
        Fact::Unusable {
            name,
            versions,
            reason,
        } => format!("unusable: {name} {}: {reason}", list(versions)),
    }
}

#[test]
fn the_base_is_held_and_older_versions_are_taken_for_its_sake() {
    let index = index()
        .wheel("a", "2.0", &["b>=2"])
        .wheel("a", "1.0", &["b<2", "c"])
        .wheel("b", "2.0", &[])
        .wheel("b", "1.0", &[])
        .wheel("c", "1.0", &[]);
    let resolution = solve(&base(&[("b", "1.0", &[])]), &index, &["a"]);
    assert_eq!(added(&resolution), ["a==1.0", "c==1.0"]);
    assert_eq!(resolution.held.len(), 1);
    assert_eq!(
        resolution.held[0].required_by[0].requirement.to_string(),
        "b<2"
    );
    assert_eq!(
        added(&solve(&base(&[]), &index, &["a"])),
        ["a==2.0", "b==2.0"]
    );
    // Of what is held, the index is not even asked.
    let asked = index.asked.lock().expect("the log");
    assert_eq!(asked[0], "a");
    assert_eq!(asked[1], "c");
}

#[test]
fn a_request_that_the_base_satisfies_adds_nothing() {
    let environment = base(&[("a", "1.0", &["b"]), ("b", "1.0", &[])]);
    let resolution = solve(&environment, &index(), &["a>=1", "b"]);
    assert!(resolution.added.is_empty());
    assert!(resolution.requested.iter().all(|satisfied| satisfied.held));
    assert!(solve(&environment, &index(), &[]).requested.is_empty());
}

#[test]
fn versions_that_no_index_has_are_held_as_well() {
    let index = index()
        .wheel("a", "1.0", &["torch==2.3.0", "inhouse>=7", "pre>=2.0.0a0"])
        .wheel("torch", "2.3.0", &[])
        .wheel("pre", "1.0", &[]);
    let environment = base(&[
        ("torch", "2.3.0+cu121", &[]),
        ("inhouse", "7.1", &[]),
        ("pre", "2.0.0a0+ebedce2", &[]),
    ]);
    assert_eq!(added(&solve(&environment, &index, &["a"])), ["a==1.0"]);
    assert_eq!(
        added(&solve(&environment, &index, &["a", "torch==2.3.0+cu121"])),
        ["a==1.0"]
    );
    refuse(&environment, &index, &["torch==2.3.0+cpu"]);
}

#[test]
fn extras_bring_in_their_requirements_recursively() {
    let mut index = index()
        .wheel("x", "1.0", &[])
        .wheel("y", "1.0", &["a[x]"])
        .wheel("z", "1.0", &[]);
    for (version, bound) in [("1.0", ""), ("2.0", ">=5")] {
        index.add_wheel(
            "a",
            version,
            &File {
                requires: &[
                    "a[x,y] ; extra == 'all'",
                    &format!("x{bound} ; extra == 'x'"),
                    "y ; extra == 'y'",
                    "z ; extra == 'z'",
                ],
                extras: &["all", "x", "y", "z"],
                ..File::default()
            },
        );
    }
    assert_eq!(added(&solve(&base(&[]), &index, &["a"])), ["a==2.0"]);
    // The newest version has an extra that cannot be had: extra and project are one version.
    let resolution = solve(&base(&[]), &index, &["a[all]"]);
    assert_eq!(added(&resolution), ["a[all,x,y]==1.0", "x==1.0", "y==1.0"]);
    assert_eq!(resolution.warnings, Vec::<String>::new());
    let resolution = solve(&base(&[]), &index, &["a[z]", "a", "y"]);
    assert_eq!(
        added(&resolution),
        ["a[x,z]==1.0", "x==1.0", "y==1.0", "z==1.0"]
    );
}

#[test]
fn an_extra_of_a_held_distribution_brings_in_what_is_missing() {
    let index = index()
        .wheel("x", "1.0", &[])
        .wheel("y", "2.0", &[])
        .wheel("y", "1.0", &[]);
    let installed: Installed<'_> = &[
        (
            "a",
            "1.0",
            &[
                "x ; extra == 's'",
                "y<2 ; extra == 's'",
                "h>1 ; extra == 'n'",
            ],
        ),
        ("h", "1.0", &[]),
    ];
    let environment = base(installed);
    assert_eq!(
        added(&solve(&environment, &index, &["a[s]"])),
        ["x==1.0", "y==1.0"]
    );
    assert_eq!(
        facts(&refuse(&environment, &index, &["a[n]"])),
        ["asked: a[n]", "a[n] 1.0 -> h>1", "held: h 1.0 ()"]
    );
}

#[test]
fn an_extra_that_nobody_offers_is_a_warning() {
    let index = index().wheel("a", "1.0", &[]);
    let environment = base(&[("h", "1.0", &[])]);
    let resolution = solve(&environment, &index, &["a[nope]", "h[neither]"]);
    assert_eq!(added(&resolution), ["a[nope]==1.0"]);
    assert_eq!(
        resolution.warnings,
        ["a 1.0 has no extra `nope`", "h 1.0 has no extra `neither`"]
    );
}

#[test]
fn markers_are_those_of_the_image() {
    let index = index()
        .wheel(
            "a",
            "1.0",
            &[
                "old ; python_version < '3.10'",
                "new ; python_full_version >= '3.10.4'",
                "win ; sys_platform == 'win32'",
                "arm ; platform_machine == 'aarch64'",
            ],
        )
        .wheel("old", "1.0", &[])
        .wheel("new", "1.0", &[]);
    assert_eq!(
        added(&solve(&base(&[]), &index, &["a"])),
        ["a==1.0", "new==1.0"]
    );
    assert_eq!(
        added(&solve(&environment("3.9.2", &[]), &index, &["a"])),
        ["a==1.0", "old==1.0"]
    );
}

#[test]
fn requires_python_binds_from_below_and_from_above() {
    let mut index = index();
    for (version, requires_python) in [("3", ">=3.11"), ("2", ">=3.7,<3.10"), ("1", ">=3.6.*")] {
        index.add_wheel(
            "a",
            version,
            &File {
                requires_python: Some(requires_python),
                ..File::default()
            },
        );
    }
    assert_eq!(added(&solve(&base(&[]), &index, &["a"])), ["a==1"]);
    let conflict = refuse(&base(&[]), &index, &["a>=2"]);
    assert_eq!(
        facts(&conflict),
        [
            "asked: a>=2",
            "none: a (RequiresPython(\">=3.11\"): 3, RequiresPython(\">=3.7,<3.10\"): 2) newest 3"
        ]
    );
    assert_eq!(
        conflict.fitting[0].version,
        Some("1".parse().expect("a version"))
    );
}

#[test]
fn metadata_decides_where_the_page_says_less() {
    let mut index = index().wheel("a", "1.0", &[]);
    // `Requires-Python` in the metadata only, as an index without `data-requires-python` has it.
    index.add_wheel(
        "a",
        "2.0",
        &File {
            requires_python: Some(">=3.11"),
            ..File::default()
        },
    );
    index.forget_requires_python();
    assert_eq!(added(&solve(&base(&[]), &index, &["a"])), ["a==1.0"]);
    assert_eq!(
        facts(&refuse(&base(&[]), &index, &["a>1"])),
        ["asked: a>1", "unusable: a 2.0: it requires Python >=3.11"]
    );
}

#[test]
fn yanked_files_are_for_exact_pins_of_the_request_only() {
    let mut index = index()
        .wheel("a", "1.0", &[])
        .wheel("b", "1.0", &["a==2.0"]);
    index.add_wheel(
        "a",
        "2.0",
        &File {
            yanked: Some("broken"),
            ..File::default()
        },
    );
    let none = base(&[]);
    assert_eq!(added(&solve(&none, &index, &["a"])), ["a==1.0"]);
    assert_eq!(
        facts(&refuse(&none, &index, &["a>1"])),
        ["asked: a>1", "none: a (Yanked(\"broken\"): 2.0) newest 2.0"]
    );
    refuse(&none, &index, &["a==2.*"]);
    refuse(&none, &index, &["b"]);
    for pin in ["a==2.0", "a===2.0"] {
        let resolution = solve(&none, &index, &[pin]);
        assert_eq!(added(&resolution), ["a==2.0"]);
        assert_eq!(
            resolution.warnings,
            ["a 2.0 was yanked from the index: broken"]
        );
    }
    assert_eq!(added(&solve(&none, &index, &["b", "a==2.0"])).len(), 2);
    // What the base has, it has.
    let held = base(&[("a", "2.0", &[])]);
    assert_eq!(added(&solve(&held, &index, &["b"])), ["b==1.0"]);
}

#[test]
fn a_prerelease_is_taken_only_where_no_stable_version_will_do() {
    let index = index()
        .wheel("a", "1.0", &[])
        .wheel("a", "2.0rc1", &[])
        .wheel("b", "1.0.dev3", &[]);
    let none = base(&[]);
    for (asked, answer) in [
        ("a", "a==1.0"),
        ("a>=1.0rc1", "a==1.0"),
        ("a>=2.0rc1", "a==2.0rc1"),
        ("a>1", "a==2.0rc1"),
        ("b", "b==1.0.dev3"),
    ] {
        assert_eq!(added(&solve(&none, &index, &[asked])), [answer]);
    }
    refuse(&none, &index, &["a>=2.0"]);
}

#[test]
fn constraints_bind_what_comes_in_and_bring_nothing_in() {
    let index = index()
        .wheel("a", "1.0", &["b"])
        .wheel("b", "2.0", &[])
        .wheel("b", "1.0", &[]);
    let none = base(&[]);
    let asked = constrained(&none, &["a"], &["b<2", "unheard-of==3"]);
    let resolution = solution(ask(&none, &index, &asked));
    assert_eq!(added(&resolution), ["a==1.0", "b==1.0"]);
    let asked = constrained(&none, &["a"], &["b<1"]);
    assert_eq!(
        facts(&conflict(ask(&none, &index, &asked))),
        [
            "asked: a",
            "a 1.0 -> b",
            "none: b (Constraint(\"b<1 (c.txt:1)\"): 2.0 1.0) newest 2.0"
        ]
    );
}

#[test]
fn a_constraint_against_a_held_distribution_matters_where_somebody_needs_it() {
    let index = index().wheel("a", "1.0", &["h"]).wheel("b", "1.0", &[]);
    let environment = base(&[("h", "3.0", &[])]);
    let fine = constrained(&environment, &["b"], &["h<2"]);
    assert_eq!(
        added(&solution(ask(&environment, &index, &fine))),
        ["b==1.0"]
    );
    for (asked, requires) in [("a", Some("a 1.0 -> h")), ("h", None)] {
        let request = constrained(&environment, &[asked], &["h<2"]);
        let found = facts(&conflict(ask(&environment, &index, &request)));
        let asked = format!("asked: {asked}");
        let expected = [
            Some(asked.as_str()),
            requires,
            Some("held: h 3.0 (h<2 (c.txt:1))"),
        ];
        assert_eq!(found, expected.into_iter().flatten().collect::<Vec<_>>());
    }
}

#[test]
fn what_the_base_lacks_binds_what_comes_in() {
    let index = index()
        .wheel("a", "1.0", &["m"])
        .wheel("m", "2.0", &[])
        .wheel("m", "1.0", &[]);
    let environment = base(&[("h", "1.0", &["m<2", "gone"])]);
    let resolution = solve(&environment, &index, &["a"]);
    assert_eq!(added(&resolution), ["a==1.0", "m==1.0"]);
    // What comes in anyway mends what was missing.
    let missing: Vec<String> = resolution
        .broken_base
        .iter()
        .map(|broken| broken.by.requirement.to_string())
        .collect();
    assert_eq!(missing, ["gone"]);
    let conflict = refuse(&environment, &index, &["m>=2"]);
    assert_eq!(
        facts(&conflict),
        ["asked: m>=2", "base: h 1.0 -> m<2 rules out 2.0"]
    );
    assert_eq!(
        conflict.fitting[0].version,
        Some("1.0".parse().expect("a version"))
    );
}

#[test]
fn what_the_base_violates_is_reported_and_harmless() {
    let index = index().wheel("a", "1.0", &["h", "k"]);
    let environment = base(&[
        (
            "h",
            "1.0",
            &[
                "k>=2",
                "k<9 ; python_version < '3'",
                "what is this",
                "k (>=0.*)",
            ],
        ),
        ("k", "1.0", &[]),
        (
            "l",
            "1.0",
            &["h<1 ; extra == 'never' or python_version >= '3'"],
        ),
    ]);
    let resolution = solve(&environment, &index, &["a"]);
    assert_eq!(added(&resolution), ["a==1.0"]);
    let broken: Vec<String> = resolution
        .broken_base
        .iter()
        .map(|it| format!("{} -> {}", it.by.requirer, it.by.requirement))
        .collect();
    assert_eq!(broken, ["h -> k>=2", "l -> h<1"]);
    let resolver = Resolver::new(&environment, &index);
    assert_eq!(resolver.base().unreadable.len(), 1);
}

#[test]
fn a_version_that_cannot_be_used_gives_way_to_an_older_one() {
    for (requirement, reason) in [
        (
            "b @ https://example.org/b.whl",
            "it requires `b @ https://example.org/b.whl`, which is not a version on an index",
        ),
        ("a<2", "it requires `a<2`, another version of itself"),
        (
            "b >= banana",
            "its metadata is invalid: `b >= banana` is not a requirement",
        ),
    ] {
        let index = index()
            .wheel("a", "2.0", &[requirement])
            .wheel("a", "1.0", &[]);
        assert_eq!(added(&solve(&base(&[]), &index, &["a"])), ["a==1.0"]);
        let found = facts(&refuse(&base(&[]), &index, &["a>=2"]));
        assert_eq!(found.len(), 2, "{found:?}");
        let expected = format!("unusable: a 2.0: {reason}");
        assert!(found[1].starts_with(&expected), "{found:?}");
    }
}

#[test]
fn a_direct_reference_in_the_request_is_an_error() {
    let environment = base(&[]);
    let request = request(&environment, &["a @ https://example.org/a.whl"]);
    let index = index();
    let error = Resolver::new(&environment, &index).resolve(&request, &Policy::default());
    let error = error.expect_err("an error");
    assert!(matches!(error, ResolutionError::DirectReference(_)));
    assert!(error.hint().is_some());
}

#[test]
fn cycles_and_requirements_on_oneself_are_no_obstacle() {
    let index = index()
        .wheel("a", "1.0", &["b", "a>=1", "a"])
        .wheel("b", "1.0", &["c"])
        .wheel("c", "1.0", &["a[x]"]);
    assert_eq!(
        added(&solve(&base(&[]), &index, &["a"])),
        ["a[x]==1.0", "b==1.0", "c==1.0"]
    );
}

#[test]
fn source_distributions_and_foreign_wheels_are_no_candidates() {
    let mut index = index().wheel("a", "1.0", &[]);
    index.add_source("a", "3.0", &File::default());
    for tags in ["cp310-cp310-win_amd64", "cp39-cp39-manylinux_2_17_x86_64"] {
        index.add_wheel(
            "a",
            "2.0",
            &File {
                tags,
                ..File::default()
            },
        );
    }
    index.add_source("a", "2.0", &File::default());
    assert_eq!(added(&solve(&base(&[]), &index, &["a"])), ["a==1.0"]);
    assert_eq!(
        facts(&refuse(&base(&[]), &index, &["a>1"])),
        [
            "asked: a>1",
            "none: a (OnlySource: 3.0, NoCompatibleWheel { source: true }: 2.0) newest 3.0"
        ]
    );
}

#[test]
fn a_project_may_be_required_twice() {
    let index = index()
        .wheel("a", "1.0", &["b>=1", "b<3"])
        .wheel("b", "3.0", &[])
        .wheel("b", "2.0", &[])
        .wheel("b", "1.0", &[]);
    assert_eq!(
        added(&solve(&base(&[]), &index, &["a", "b!=2.0"])),
        ["a==1.0", "b==1.0"]
    );
    assert_eq!(
        facts(&refuse(&base(&[]), &index, &["b>=2", "b<2"])),
        ["asked: b>=2", "asked: b<2"]
    );
}

#[test]
fn a_later_request_is_not_searched_down_to_a_version_without_opinions() {
    let mut index = index()
        .wheel("x", "2.0", &["lib<2"])
        .wheel("x", "1.0", &["lib"])
        .wheel("lib", "2.0", &[])
        .wheel("lib", "1.0", &[])
        .wheel("y", "0.1", &[]);
    for version in 1..40 {
        let file = File {
            requires: &["lib>=2"],
            ..File::default()
        };
        index.add_wheel("y", &version.to_string(), &file);
    }
    assert_eq!(
        added(&solve(&base(&[]), &index, &["x", "y"])),
        ["lib==2.0", "x==1.0", "y==39"]
    );
}
