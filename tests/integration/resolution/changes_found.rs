//! Changes of the base that an exhaustive search once knew better: each was a wrong answer.

use imgtool::resolution::request::Requested;
use imgtool::resolution::{Aim, Policy, Resolver};

use super::changes::{ask, changes, minimal, names};
use super::{added, base, conflict, index, solution};
use crate::support::universe::request;

/// Lets one distribution leave, and nothing change.
fn may_leave(name: &str) -> Policy {
    Policy {
        may_leave: names(&[name]),
        ..Policy::default()
    }
}

#[test]
fn what_may_leave_does_not_come_back_as_the_index_has_it() {
    let environment = {
        let mut environment = base(&[("c", "1.0", &["b<2 ; extra == 'y'"])]);
        let installed = environment.distributions.values_mut().next();
        installed.expect("one").provides_extra = vec!["y".to_owned()];
        environment
    };
    // The index has the same version, and it requires nothing.
    let index = index().wheel("b", "2.0", &[]).wheel("c", "1.0", &[]);
    conflict(ask(&environment, &index, &["c[y]"], &may_leave("c")));
}

#[test]
fn what_may_leave_still_binds_as_long_as_it_is_there() {
    let environment = base(&[("c", "1.0", &["x<2"])]);
    let index = index()
        .wheel("x", "2.0", &[])
        .wheel("app", "1.0", &["x", "c"])
        .wheel("other", "1.0", &["x"]);
    conflict(ask(&environment, &index, &["app"], &may_leave("c")));
    let resolution = solution(ask(&environment, &index, &["other"], &may_leave("c")));
    assert_eq!(changes(&resolution), ["c 1.0 ->"]);
    assert_eq!(added(&resolution), ["other==1.0", "x==2.0"]);
}

#[test]
fn one_that_leaves_is_less_than_two_that_change() {
    let environment = base(&[("d", "1.0", &["a>1.0"]), ("e", "1.0", &["c<2"])]);
    let index = index()
        .wheel("a", "1.0", &[])
        .wheel("c", "2.0", &[])
        .wheel("d", "2.0", &["c"])
        .wheel("e", "2.0", &[]);
    let policy = Policy {
        aim: Aim::Minimal,
        ..may_leave("d")
    };
    let resolution = solution(ask(&environment, &index, &["a<1.5"], &policy));
    assert_eq!(changes(&resolution), ["d 1.0 ->"]);
    let resolution = minimal(&environment, &index, &["a<1.5"]);
    assert_eq!(changes(&resolution), ["d 1.0 -> 2.0", "e 1.0 -> 2.0"]);
}

#[test]
fn an_extra_is_in_force_no_longer_than_somebody_asks_for_it() {
    // What c[x] requires is not there, and binds what comes in.
    let environment = base(&[
        ("c", "1.0", &["b<2 ; extra == 'x'"]),
        ("d", "1.5", &["c[x]"]),
    ]);
    let index = index().wheel("b", "2.0", &[]).wheel("d", "2.0", &["c"]);
    let resolution = minimal(&environment, &index, &["b"]);
    assert_eq!(changes(&resolution), ["d 1.5 -> 2.0"]);
    conflict(ask(&environment, &index, &["b"], &Policy::default()));
}

#[test]
fn an_extra_that_a_distribution_asks_for_of_itself_holds_on() {
    let environment = base(&[
        ("a", "1.0", &["a[x]", "b<2", "c<2 ; extra == 'x'"]),
        ("b", "1.0", &[]),
        ("c", "1.0", &[]),
    ]);
    let index = index()
        .wheel("a", "2.0", &["b<3", "c<3"])
        .wheel("b", "2.0", &[])
        .wheel("c", "2.0", &[])
        .wheel("app", "1.0", &["c>=2"]);
    let resolution = minimal(&environment, &index, &["app"]);
    assert_eq!(changes(&resolution), ["a 1.0 -> 2.0", "c 1.0 -> 2.0"]);
}

#[test]
fn a_requirement_that_is_violated_brings_no_extra_into_force() {
    let environment = base(&[
        ("a", "2.0", &["d==1.0 ; extra == 'y'"]),
        ("c", "1.0", &["a[y]<2"]),
    ]);
    let index = index().wheel("d", "1.5", &[]);
    let resolution = minimal(&environment, &index, &["d"]);
    assert_eq!(added(&resolution), ["d==1.5"]);
    assert_eq!(resolution.broken_base.len(), 1);
}

#[test]
fn an_upgrade_moves_what_contradicts_itself() {
    let environment = base(&[("a", "2.0", &["a<2"])]);
    let index = index().wheel("a", "1.5", &[]);
    let upgrade = Policy::with_aim(Aim::Upgrade);
    let resolution = solution(ask(&environment, &index, &["a"], &upgrade));
    assert_eq!(changes(&resolution), ["a 2.0 -> 1.5"]);
    // Where nothing else is to be had it stays, and is said to be broken.
    let lonely = super::index().wheel("b", "1.0", &[]);
    let resolution = solution(ask(&environment, &lonely, &["b"], &upgrade));
    assert_eq!(changes(&resolution), [""; 0]);
    assert_eq!(resolution.broken_base.len(), 1);
}

#[test]
fn an_upgrade_mends_the_base_by_a_removal_where_nothing_less_does() {
    let environment = base(&[("f", "2.0", &["b<2"])]);
    let index = index().wheel("a", "1.5", &[]).wheel("b", "2.0", &[]);
    let policy = Policy {
        aim: Aim::Upgrade,
        ..may_leave("f")
    };
    let resolution = solution(ask(&environment, &index, &["a"], &policy));
    assert_eq!(changes(&resolution), ["f 2.0 ->"]);
}

#[test]
fn what_is_installed_and_on_no_index_is_preferred_to_a_pre_release() {
    let mut environment = base(&[
        ("a", "1.5", &["b>1.0 ; extra == 'y'"]),
        ("b", "1.0", &["d<2"]),
    ]);
    let installed = environment.distributions.values_mut().next();
    installed.expect("one").provides_extra = vec!["y".to_owned()];
    let index = index().wheel("a", "2.0a1", &[]).wheel("b", "2.0", &[]);
    let resolution = minimal(&environment, &index, &["a[y]"]);
    assert_eq!(changes(&resolution), ["b 1.0 -> 2.0"]);
}

#[test]
fn a_constraint_against_what_is_held_does_not_explain_away_a_conflict() {
    let environment = base(&[
        ("b", "1.5", &["f[x]", "b", "f[x]>=1.5"]),
        ("f", "3.0.dev1", &["e[x]>1.0", "b>=1.5"]),
    ]);
    let index = index()
        .wheel("c", "1.0", &["e!=1.5 ; extra == 'y'", "e"])
        .wheel("e", "1.0", &[])
        .wheel("e", "1.5", &[])
        .wheel("e", "2.0a1", &["f"]);
    let mut request = request(&environment, &["c[y]==1.*"]);
    let constraint = "f<2".parse().expect("a constraint");
    request
        .constraints
        .push(Requested::on_command_line(constraint));
    let outcome = Resolver::new(&environment, &index).resolve(&request, &Policy::default());
    assert!(conflict(outcome.expect("an answer")).facts.len() > 3);
}
