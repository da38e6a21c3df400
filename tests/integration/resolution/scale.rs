//! Universes far larger than any that is known: answered, and without an overflow of the stack.

use super::{added, base, facts, index, refuse, solve};
use crate::support::environments::environment;

#[test]
fn a_conflict_at_the_end_of_a_chain_of_thousands() {
    const LENGTH: usize = 3_000;
    let mut index = index();
    for position in 0..LENGTH {
        let next = if position + 1 == LENGTH {
            "h>=2".to_owned()
        } else {
            format!("p{}", position + 1)
        };
        index = index.wheel(&format!("p{position}"), "1.0", &[&next]);
    }
    let conflict = refuse(&base(&[("h", "1.0", &[])]), &index, &["p0"]);
    let facts = facts(&conflict);
    assert_eq!(facts.len(), LENGTH + 2);
    assert_eq!(facts[1], "p0 1.0 -> p1");
    assert_eq!(facts[LENGTH], "p2999 1.0 -> h>=2");
    assert_eq!(facts[LENGTH + 1], "held: h 1.0 ()");
}

#[test]
fn a_base_of_thousands_of_distributions() {
    const SIZE: usize = 2_000;
    let names: Vec<String> = (0..=SIZE).map(|position| format!("d{position}")).collect();
    let requires: Vec<String> = names.iter().map(|name| format!("{name}>=1,<2")).collect();
    let requires: Vec<[&str; 1]> = requires.iter().map(|text| [text.as_str()]).collect();
    let installed: Vec<(&str, &str, &[&str])> = (0..SIZE)
        .map(|at| (names[at].as_str(), "1.5", requires[at + 1].as_slice()))
        .collect();
    let environment = environment("3.12.0", &installed);
    let needs: Vec<&str> = requires[..SIZE].iter().map(|it| it[0]).collect();
    let index = index()
        .wheel("a", "1.0", &needs)
        .wheel("a", "2.0", &["d1999>=2"]);
    let resolution = solve(&environment, &index, &["a"]);
    assert_eq!(added(&resolution), ["a==1.0"]);
    assert_eq!(resolution.held.len(), SIZE);
    assert_eq!(resolution.broken_base.len(), 1);
    let conflict = refuse(&environment, &index, &["a>1"]);
    assert_eq!(
        facts(&conflict),
        [
            "asked: a>1",
            "a 2.0 -> d1999>=2",
            "held: d1999 1.5 (d1998: d1999>=1,<2)"
        ]
    );
}

#[test]
fn a_search_through_many_versions_of_many_projects() {
    const PROJECTS: usize = 8;
    const VERSIONS: usize = 120;
    let mut index = index();
    for project in 0..PROJECTS {
        for version in 1..=VERSIONS {
            // Every version wants its neighbours in the same version, and only the first suits the base.
            let next = format!("p{}=={version}", (project + 1) % PROJECTS);
            let held = format!("h<{}", if version == 1 { 9 } else { 1 });
            let requires: &[&str] = if project == PROJECTS - 1 {
                &[&next, &held]
            } else {
                &[&next]
            };
            index = index.wheel(&format!("p{project}"), &version.to_string(), requires);
        }
    }
    let resolution = solve(&base(&[("h", "5", &[])]), &index, &["p0"]);
    assert!(
        resolution
            .added
            .iter()
            .all(|added| added.version.to_string() == "1")
    );
    assert_eq!(resolution.added.len(), PROJECTS);
}
