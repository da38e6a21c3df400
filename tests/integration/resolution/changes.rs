//! What happens when distributions of the base may change: policies, the smallest change, the frontier.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use imgtool::environment::{Environment, Obstacle};
use imgtool::packaging::{PackageName, Requirement};
use imgtool::resolution::request::Requested;
use imgtool::resolution::solution::Reason;
use imgtool::resolution::{Aim, Outcome, Policy, Resolution, Resolver};

use super::{added, base, conflict, index, solution};
use crate::support::memory_index::{File, MemoryIndex};
use crate::support::universe::request;

pub(super) fn names(names: &[&str]) -> BTreeSet<PackageName> {
    names
        .iter()
        .map(|name| PackageName::from_str(name).expect("a name"))
        .collect()
}

pub(super) fn ask(
    environment: &Environment,
    index: &MemoryIndex,
    asked: &[&str],
    policy: &Policy,
) -> Outcome {
    Resolver::new(environment, index)
        .resolve(&request(environment, asked), policy)
        .expect("an answer")
}

pub(super) fn minimal(
    environment: &Environment,
    index: &MemoryIndex,
    asked: &[&str],
) -> Resolution {
    solution(ask(
        environment,
        index,
        asked,
        &Policy::with_aim(Aim::Minimal),
    ))
}

/// `name from -> to` of everything that changes, `name from -> ` of what leaves.
pub(super) fn changes(resolution: &Resolution) -> Vec<String> {
    let changed = resolution.changed.iter().map(|change| {
        format!(
            "{} {} -> {}",
            change.to.name, change.from, change.to.version
        )
    });
    let removed = resolution
        .removed
        .iter()
        .map(|removal| format!("{} {} ->", removal.name, removal.version));
    changed.chain(removed).collect()
}

fn reasons(resolution: &Resolution, name: &str) -> Vec<String> {
    let changed = resolution
        .changed
        .iter()
        .find(|change| change.to.name.as_ref() == name)
        .expect("it changes");
    let reasons = changed.reasons.iter().map(|reason| match reason {
        Reason::Required { by, version } => match (&by.name, version) {
            (Some(name), Some(version)) => format!("{name} {version} needs {}", by.requirement),
            _ => format!("the request needs {}", by.requirement),
        },
        Reason::Requires {
            requirement,
            version,
        } => format!(
            "needs {requirement}, which becomes {}",
            version
                .as_ref()
                .map_or("nothing".to_owned(), ToString::to_string)
        ),
    });
    reasons.collect()
}

/// A base in which `old` bounds `proto`, and an index where everything has moved on.
fn bound_base() -> (Environment, MemoryIndex) {
    let environment = base(&[
        ("proto", "3", &[]),
        ("old", "1", &["proto<4"]),
        ("aside", "1", &["proto"]),
    ]);
    let index = index()
        .wheel("proto", "3", &[])
        .wheel("proto", "4", &[])
        .wheel("proto", "5", &[])
        .wheel("old", "1", &["proto<4"])
        .wheel("old", "2", &["proto<5"])
        .wheel("old", "3", &["proto<6"])
        .wheel("app", "1", &["proto<4"])
        .wheel("app", "2", &["proto>=4"])
        .wheel("app", "3", &["proto>=5"]);
    (environment, index)
}

#[test]
fn nothing_changes_where_nothing_has_to() {
    let (environment, index) = bound_base();
    let resolution = minimal(&environment, &index, &["app"]);
    assert_eq!(added(&resolution), ["app==1"]);
    assert_eq!(changes(&resolution), [""; 0]);
}

#[test]
fn who_is_bound_to_what_moves_moves_along_and_says_why() {
    let (environment, index) = bound_base();
    let resolution = minimal(&environment, &index, &["app==2"]);
    assert_eq!(added(&resolution), ["app==2"]);
    assert_eq!(changes(&resolution), ["old 1 -> 3", "proto 3 -> 5"]);
    assert_eq!(reasons(&resolution, "proto"), ["app 2 needs proto>=4"]);
    assert_eq!(
        reasons(&resolution, "old"),
        ["needs proto<4, which becomes 5"]
    );
    let required_by: Vec<String> = resolution.changed[1]
        .to
        .required_by
        .iter()
        .map(|by| by.name.as_ref().map_or(String::new(), ToString::to_string))
        .collect();
    assert_eq!(required_by, ["app", "old", "aside"]);
    assert!(resolution.proven_smallest);
    assert_eq!(resolution.changes(), 2);
    let pins: Vec<&str> = resolution
        .pins()
        .iter()
        .map(|pin| pin.name.as_ref())
        .collect();
    assert_eq!(pins, ["app", "old", "proto"]);
}

#[test]
fn the_fewest_changes_come_before_newer_versions_and_these_before_older_ones() {
    // One change of `b`, or two of `c` and `d`.
    let environment = base(&[("b", "1", &[]), ("c", "1", &[]), ("d", "1", &[])]);
    let index = index()
        .wheel("app", "3", &["c>=2", "d>=2"])
        .wheel("app", "2", &["b<1"])
        .wheel("app", "1", &["b>=2"])
        .wheel("b", "0", &[])
        .wheel("b", "2", &[])
        .wheel("c", "2", &[])
        .wheel("d", "2", &[]);
    // Going up counts less than going down.
    let resolution = minimal(&environment, &index, &["app"]);
    assert_eq!(added(&resolution), ["app==1"]);
    assert_eq!(changes(&resolution), ["b 1 -> 2"]);
    let resolution = minimal(&environment, &index, &["app>1"]);
    assert_eq!(added(&resolution), ["app==2"]);
    assert_eq!(changes(&resolution), ["b 1 -> 0"]);
    assert!(resolution.changed[0].is_downgrade());
}

#[test]
fn of_changes_that_cost_the_same_the_one_with_the_newest_request_is_taken() {
    let environment = base(&[("b", "1", &[]), ("c", "1", &[])]);
    let index = index()
        .wheel("app", "3", &["c>=3"])
        .wheel("app", "2", &["c>=2"])
        .wheel("app", "1", &["b>=2"])
        .wheel("b", "2", &[])
        .wheel("c", "2", &[]);
    let resolution = minimal(&environment, &index, &["app"]);
    assert_eq!(added(&resolution), ["app==2"]);
    assert_eq!(changes(&resolution), ["c 1 -> 2"]);
}

#[test]
fn single_distributions_are_let_go_and_held() {
    let (environment, index) = bound_base();
    let only = |allowed: &[&str]| Policy {
        may_change: names(allowed),
        ..Policy::default()
    };
    conflict(ask(&environment, &index, &["app==2"], &only(&["proto"])));
    let both = only(&["proto", "old"]);
    let resolution = solution(ask(&environment, &index, &["app==2"], &both));
    assert_eq!(changes(&resolution), ["old 1 -> 3", "proto 3 -> 5"]);
    for held in ["old", "proto"] {
        let policy = Policy {
            held: names(&[held]),
            ..Policy::with_aim(Aim::Minimal)
        };
        conflict(ask(&environment, &index, &["app==2"], &policy));
        let policy = Policy {
            held: names(&[held]),
            ..Policy::with_aim(Aim::Upgrade)
        };
        conflict(ask(&environment, &index, &["app==2"], &policy));
    }
}

#[test]
fn what_cannot_be_replaced_in_an_image_is_not_offered_to_be() {
    let (environment, index) = bound_base();
    let old = PackageName::from_str("old").expect("a name");
    for aim in [Aim::Minimal, Aim::Hold] {
        let policy = Policy {
            fixed: BTreeMap::from([(old.clone(), Obstacle::Distutils)]),
            may_leave: names(&["old"]),
            ..Policy::with_aim(aim)
        };
        let conflict = conflict(ask(&environment, &index, &["app==2"], &policy));
        assert!(conflict.smallest_change.is_none());
        assert_eq!(conflict.obstacles, [(old.clone(), Obstacle::Distutils)]);
    }
}

#[test]
fn a_conflict_offers_the_smallest_change() {
    let (environment, index) = bound_base();
    let conflict = conflict(ask(&environment, &index, &["app==2"], &Policy::default()));
    let change = conflict.smallest_change.expect("there is one");
    assert_eq!(changes(&change), ["old 1 -> 3", "proto 3 -> 5"]);
}

#[test]
fn what_is_in_the_way_leaves_only_when_it_is_allowed_to() {
    let environment = base(&[("proto", "3", &[]), ("last", "1", &["proto<4"])]);
    let index = index()
        .wheel("proto", "4", &[])
        .wheel("last", "1", &["proto<4"])
        .wheel("app", "1", &["proto>=4"]);
    let refused = conflict(ask(
        &environment,
        &index,
        &["app"],
        &Policy::with_aim(Aim::Minimal),
    ));
    assert_eq!(
        refused.removals,
        names(&["last"]).into_iter().collect::<Vec<_>>()
    );
    let policy = Policy {
        may_leave: names(&["last"]),
        ..Policy::with_aim(Aim::Minimal)
    };
    let resolution = solution(ask(&environment, &index, &["app"], &policy));
    assert_eq!(changes(&resolution), ["proto 3 -> 4", "last 1 ->"]);
    assert_eq!(
        resolution.removed[0].reasons.len(),
        1,
        "{:?}",
        resolution.removed[0].reasons
    );
}

#[test]
fn what_the_base_violates_is_left_alone_and_listed() {
    let environment = base(&[
        ("proto", "3", &[]),
        ("torn", "1", &["proto>=9", "absent"]),
        ("lib", "1", &[]),
    ]);
    let index = index()
        .wheel("proto", "9", &[])
        .wheel("absent", "1", &[])
        .wheel("lib", "2", &["proto"])
        .wheel("app", "1", &["lib>=2"]);
    let resolution = minimal(&environment, &index, &["app"]);
    assert_eq!(changes(&resolution), ["lib 1 -> 2"]);
    assert_eq!(resolution.broken_base.len(), 2);
    // An upgrade leaves nothing broken behind.
    let upgrade = Policy::with_aim(Aim::Upgrade);
    let resolution = solution(ask(&environment, &index, &["app"], &upgrade));
    assert_eq!(changes(&resolution), ["lib 1 -> 2", "proto 3 -> 9"]);
    assert_eq!(added(&resolution), ["absent==1", "app==1"]);
    assert_eq!(resolution.broken_base, []);
}

#[test]
fn an_upgrade_that_cannot_mend_the_base_says_what_stays_broken() {
    let environment = base(&[("torn", "1", &["nowhere"]), ("lib", "1", &[])]);
    let index = index()
        .wheel("lib", "2", &[])
        .wheel("app", "1", &["lib>=2"]);
    let upgrade = Policy::with_aim(Aim::Upgrade);
    let resolution = solution(ask(&environment, &index, &["app"], &upgrade));
    assert_eq!(changes(&resolution), ["lib 1 -> 2"]);
    assert_eq!(resolution.broken_base.len(), 1);
}

#[test]
fn an_upgrade_takes_the_newest_request_and_no_more_changes_than_that_costs() {
    let (environment, index) = bound_base();
    let upgrade = Policy::with_aim(Aim::Upgrade);
    let resolution = solution(ask(&environment, &index, &["app"], &upgrade));
    assert_eq!(added(&resolution), ["app==3"]);
    assert_eq!(changes(&resolution), ["old 1 -> 3", "proto 3 -> 5"]);
    // What is installed and asked for goes up, too.
    let resolution = solution(ask(&environment, &index, &["aside", "proto"], &upgrade));
    assert_eq!(changes(&resolution), ["old 1 -> 3", "proto 3 -> 5"]);
}

#[test]
fn extras_that_the_base_asks_for_stay_in_force() {
    let environment = base(&[
        ("whole", "1", &["part[fast]"]),
        ("part", "1", &["speed<2; extra == 'fast'"]),
        ("speed", "1", &[]),
    ]);
    let extras = &["fast"];
    let mut index = index()
        .wheel("speed", "2", &[])
        .wheel("app", "1", &["speed>=2"]);
    let refused = ask(
        &environment,
        &index,
        &["app"],
        &Policy::with_aim(Aim::Minimal),
    );
    if let Outcome::Resolution(resolution) = &refused {
        panic!("{resolution:#?}");
    }
    index.add_wheel(
        "part",
        "2",
        &File {
            requires: &["speed>=2; extra == 'fast'", "more; extra == 'fast'"],
            extras,
            ..File::default()
        },
    );
    let index = index.wheel("more", "1", &[]);
    let resolution = minimal(&environment, &index, &["app"]);
    assert_eq!(changes(&resolution), ["part 1 -> 2", "speed 1 -> 2"]);
    assert_eq!(added(&resolution), ["app==1", "more==1"]);
    // Who asks for the extra can also be the one that moves.
    let index = index.wheel("whole", "2", &["part"]);
    let policy = Policy {
        held: names(&["part"]),
        ..Policy::with_aim(Aim::Minimal)
    };
    let resolution = solution(ask(&environment, &index, &["app"], &policy));
    assert_eq!(changes(&resolution), ["speed 1 -> 2", "whole 1 -> 2"]);
}

#[test]
fn overrides_stand_in_the_place_of_what_others_say() {
    let (environment, index) = bound_base();
    let mut request = request(&environment, &["app==2"]);
    request.overrides = vec![Requested::on_command_line(
        Requirement::from_str("proto>=3").expect("a requirement"),
    )];
    let outcome = Resolver::new(&environment, &index)
        .resolve(&request, &Policy::default())
        .expect("an answer");
    assert_eq!(changes(&solution(outcome)), [""; 0]);
}

#[test]
fn the_frontier_says_what_more_changes_buy() {
    let environment = base(&[("a", "1", &[]), ("b", "1", &[]), ("c", "1", &[])]);
    let index = index()
        .wheel("app", "1", &[])
        .wheel("app", "2", &["a>=2"])
        .wheel("app", "3", &["b>=2"])
        .wheel("app", "4", &["a>=2", "b>=2", "c>=2"])
        .wheel("app", "5", &["a>=3"])
        .wheel("a", "2", &[])
        .wheel("b", "2", &[])
        .wheel("c", "2", &[]);
    let request = request(&environment, &["app"]);
    let frontier = Resolver::new(&environment, &index)
        .frontier(&request, &Policy::default())
        .expect("an answer");
    let rows: Vec<(usize, String)> = frontier
        .rows
        .iter()
        .map(|row| (row.resolution.changes(), row.versions[0].to_string()))
        .collect();
    assert_eq!(
        rows,
        [
            (0, "1".to_owned()),
            (1, "3".to_owned()),
            (3, "4".to_owned())
        ]
    );
    assert_eq!(
        frontier.newest[0]
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("5")
    );
}
