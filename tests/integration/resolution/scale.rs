//! Universes far larger than any that is known: answered, and without an overflow of the stack.

use std::fmt::Write as _;
use std::sync::Arc;

use imgtool::packaging::{PackageName, Version, VersionSet};
use imgtool::report::text::facts::Speaker;
use imgtool::report::{BaseLabel, dot};
use imgtool::resolution::base::BaseFacts;
use imgtool::resolution::conflict::explain;
use imgtool::resolution::package::SolverPackage;
use imgtool::resolution::provider::{Derivation, Provider, root_version};
use imgtool::resolution::question::{Question, Terms};
use pubgrub::{DerivationTree, Derived, External};

use super::{added, base, facts, index, refuse, solve};
use crate::support::environments::environment;
use crate::support::universe::request;

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

#[test]
fn a_proof_of_ten_thousand_nodes_is_explained_without_recursion() {
    const LENGTH: usize = 5_000;
    let name = |position: usize| -> PackageName { format!("p{position}").parse().expect("a name") };
    let mut index = index();
    for position in 0..LENGTH {
        let next = match position + 1 {
            LENGTH => "h>=2".to_owned(),
            next => format!("p{next}"),
        };
        index = index.wheel(&format!("p{position}"), "1.0", &[&next]);
    }
    let environment = base(&[("h", "1.0", &["nothing"])]);
    let request = request(&environment, &["p0"]);
    let facts_of_base = BaseFacts::of(&environment);
    let question = Question::new(&environment, &facts_of_base, &index, &request);
    let provider = Provider::new(&question, Terms::default());

    // A leaf for each link, and a conclusion that stands on each leaf and the conclusion before.
    let at_least_two = VersionSet::higher_than("2".parse::<Version>().expect("a version"));
    let project = |position| SolverPackage::Project(name(position));
    let held = SolverPackage::Project("h".parse().expect("a name"));
    let leaf = |leaf| Arc::new(DerivationTree::External(leaf));
    let mut proof: Arc<Derivation> = leaf(External::NoVersions(held.clone(), at_least_two.clone()));
    let mut nodes = 1;
    let mut conclude = |proof: Arc<Derivation>, of: SolverPackage, of_set, on, range| {
        nodes += 2;
        Arc::new(DerivationTree::Derived(Derived {
            terms: pubgrub::Map::default(),
            shared_id: None,
            cause1: leaf(External::FromDependencyOf(of, of_set, on, range)),
            cause2: proof,
        }))
    };
    for position in (0..LENGTH).rev() {
        let (on, range) = match position + 1 {
            LENGTH => (held.clone(), at_least_two.clone()),
            next => (project(next), VersionSet::full()),
        };
        proof = conclude(proof, project(position), VersionSet::full(), on, range);
    }
    let root = VersionSet::singleton(root_version());
    proof = conclude(
        proof,
        SolverPackage::Root,
        root,
        project(0),
        VersionSet::full(),
    );
    assert_eq!(nodes, 2 * LENGTH + 3);

    let explanation = explain(&provider, &proof);
    let label = BaseLabel {
        reference: "base".to_owned(),
        asked: "base".to_owned(),
        layers: std::collections::BTreeMap::new(),
        index_end: None,
    };
    let speaker = Speaker {
        base: &label,
        environment: &environment,
    };
    let mut text = String::new();
    for sentence in speaker.sentences(&explanation.facts) {
        writeln!(text, "{sentence}").expect("written");
    }
    let graph = dot::conflict(&speaker, &explanation.facts);
    assert_eq!(explanation.facts.len(), LENGTH + 2);
    assert!(
        text.starts_with("you ask for p0\np0 1.0 needs p1\n"),
        "{}",
        &text[..100]
    );
    assert!(text.ends_with("p4999 1.0 needs h>=2\nthe base has h 1.0; nothing there needs it\n"));
    assert_eq!(graph.matches(" -> ").count(), LENGTH + 1);

    // Its drop would go as deep as it is.
    std::mem::forget(proof);
}
