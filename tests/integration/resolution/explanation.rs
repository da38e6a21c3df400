//! What an explanation says: the facts in their order, and what would fit instead.

use imgtool::packaging::Version;
use imgtool::resolution::conflict::{KeptOut, follows};
use imgtool::resolution::{Policy, Resolver};

use super::{ask, base, conflict, constrained, facts, index, refuse, short, solution};
use crate::support::universe::request;

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

#[test]
fn facts_lead_from_the_request_to_the_pin_and_the_real_requirers_come_first() {
    let index = index()
        .wheel("mlflow", "3.0", &["skinny==3.0", "other"])
        .wheel("mlflow", "2.0", &[])
        .wheel("skinny", "3.0", &["protobuf>=5"])
        .wheel("other", "1.0", &[]);
    let environment = base(&[
        ("aaa", "1.0", &["protobuf"]),
        ("protobuf", "3.20.3", &[]),
        ("tfx", "1.16", &["protobuf<4,>=3.20", "aaa"]),
        ("zzz", "1.0", &["protobuf>=3 ; extra == 'grpc'"]),
    ]);
    let conflict = refuse(&environment, &index, &["mlflow>=3"]);
    assert_eq!(
        facts(&conflict),
        [
            "asked: mlflow>=3",
            "mlflow 3.0 -> skinny==3.0",
            "skinny 3.0 -> protobuf>=5",
            "held: protobuf 3.20.3 (tfx: protobuf>=3.20,<4, aaa: protobuf)",
        ]
    );
    assert_eq!(conflict.fitting[0].version, Some(version("2.0")));
    assert!(!conflict.fitting[0].held);
}

#[test]
fn a_pin_that_the_request_itself_contradicts() {
    let environment = base(&[("a", "1.0", &["h<2"]), ("h", "1.5", &[])]);
    let conflict = refuse(&environment, &index(), &["h>=2"]);
    assert_eq!(facts(&conflict), ["asked: h>=2", "held: h 1.5 (a: h<2)"]);
    assert!(conflict.fitting[0].held);
    assert_eq!(conflict.fitting[0].version, Some(version("1.5")));
}

#[test]
fn versions_with_the_same_requirement_are_one_group() {
    let index = index()
        .wheel("a", "4", &["h>=3"])
        .wheel("a", "3", &["h>=3"])
        .wheel("a", "2", &["h>=2"])
        .wheel("a", "1", &[]);
    let environment = base(&[("h", "1.0", &[])]);
    let conflict = refuse(&environment, &index, &["a>1"]);
    assert_eq!(
        facts(&conflict),
        ["asked: a>1", "a 4 3 -> h>=3 | 2 -> h>=2", "held: h 1.0 ()"]
    );
    assert_eq!(conflict.fitting[0].version, Some(version("1")));

    let every = super::index()
        .wheel("a", "2", &["h>=3"])
        .wheel("a", "1", &["h>=3"]);
    let conflict = refuse(&environment, &every, &["a"]);
    assert_eq!(
        facts(&conflict),
        ["asked: a", "a every: 2 1 -> h>=3", "held: h 1.0 ()"]
    );
    assert_eq!(conflict.fitting[0].version, None);
}

#[test]
fn what_is_not_there() {
    let index = index()
        .wheel("a", "1.0", &["nowhere"])
        .wheel("b", "1.0", &["a>=2"]);
    assert_eq!(
        facts(&refuse(&base(&[]), &index, &["nothing"])),
        ["asked: nothing", "unknown: nothing"]
    );
    assert_eq!(
        facts(&refuse(&base(&[]), &index, &["a"])),
        ["asked: a", "a 1.0 -> nowhere", "unknown: nowhere"]
    );
    assert_eq!(
        facts(&refuse(&base(&[]), &index, &["b"])),
        ["asked: b", "b 1.0 -> a>=2", "none: a () newest 1.0"]
    );
}

#[test]
fn two_requests_that_exclude_each_other() {
    let index = index()
        .wheel("a", "1.0", &["c<2"])
        .wheel("b", "2.0", &["c>=2"])
        .wheel("b", "1.0", &["c"])
        .wheel("c", "2.0", &[])
        .wheel("c", "1.0", &[])
        .wheel("d", "1.0", &[]);
    let conflict = refuse(&base(&[]), &index, &["d", "a", "b>=2"]);
    assert_eq!(
        facts(&conflict),
        ["asked: a", "asked: b>=2", "a 1.0 -> c<2", "b 2.0 -> c>=2"]
    );
    let fitting: Vec<Option<Version>> = conflict
        .fitting
        .iter()
        .map(|fitting| fitting.version.clone())
        .collect();
    assert_eq!(fitting, [None, None, Some(version("1.0"))]);
}

#[test]
fn an_extra_is_named_where_it_is_the_one_that_requires() {
    let mut index = index().wheel("b", "1.0", &["a[s]>=1"]);
    for number in ["1", "2"] {
        let file = super::File {
            requires: &["h>=3 ; extra == 's'", "h"],
            extras: &["s"],
            ..super::File::default()
        };
        index.add_wheel("a", number, &file);
    }
    let environment = base(&[("h", "1.0", &[])]);
    assert_eq!(
        facts(&refuse(&environment, &index, &["b"])),
        [
            "asked: b",
            "b 1.0 -> a[s]>=1",
            "a[s] every: 2 1 -> h>=3",
            "held: h 1.0 ()"
        ]
    );
    assert_eq!(
        facts(&refuse(&environment, &index, &["a", "a[s]"])),
        ["asked: a[s]", "a[s] every: 2 1 -> h>=3", "held: h 1.0 ()"]
    );
}

#[test]
fn two_requirements_of_one_version_are_both_named() {
    let index = index()
        .wheel("a", "1.0", &["b>=2", "b<2"])
        .wheel("b", "2.0", &[])
        .wheel("b", "1.0", &[]);
    assert_eq!(
        facts(&refuse(&base(&[]), &index, &["a"])),
        ["asked: a", "a 1.0 -> b<2 | 1.0 -> b>=2"]
    );
}

#[test]
fn that_there_is_no_such_version_is_said_beside_what_other_versions_require() {
    let index = index()
        .wheel("b", "2.0", &["a>=2"])
        .wheel("b", "1.0", &["a"])
        .wheel("a", "1.0", &["h>=2"]);
    assert_eq!(
        facts(&refuse(&base(&[("h", "1.0", &[])]), &index, &["b"])),
        [
            "asked: b",
            "b 2.0 -> a>=2 | 1.0 -> a",
            "none: a () newest 1.0",
            "a 1.0 -> h>=2",
            "held: h 1.0 ()"
        ]
    );
}

#[test]
fn extras_that_bring_in_extras_are_links_of_the_chain() {
    let index = index().wheel(
        "a",
        "1.0",
        &["a[x] ; extra == 'all'", "h>=3 ; extra == 'x'", "a[y]"],
    );
    assert_eq!(
        facts(&refuse(&base(&[("h", "1.0", &[])]), &index, &["a[all]"])),
        [
            "asked: a[all]",
            "a[all] 1.0 -> a[x]",
            "a[x] 1.0 -> h>=3",
            "held: h 1.0 ()"
        ]
    );
}

#[test]
fn every_pin_that_a_version_meets_is_named() {
    let index = index().wheel("a", "1.0", &["weak<1", "firm<1", "loose<1"]);
    let environment = base(&[
        ("firm", "1.0", &[]),
        ("loose", "1.0", &[]),
        ("u", "1.0", &["firm>=1", "loose"]),
        ("v", "1.0", &["firm>=1", "weak>=1", "loose"]),
        ("w", "1.0", &["loose"]),
        ("weak", "1.0", &[]),
    ]);
    let conflict = refuse(&environment, &index, &["a"]);
    assert_eq!(
        facts(&conflict),
        [
            "asked: a",
            "a 1.0 -> firm<1",
            "held: firm 1.0 (v: firm>=1, u: firm>=1)",
        ]
    );
    let besides: Vec<[String; 2]> = conflict
        .besides
        .iter()
        .map(|one| [short(&one.requires), short(&one.held)])
        .collect();
    assert_eq!(
        besides,
        [
            ["a 1.0 -> weak<1", "held: weak 1.0 (v: weak>=1)"],
            [
                "a 1.0 -> loose<1",
                "held: loose 1.0 (v: loose, u: loose, w: loose)"
            ],
        ]
    );
}

#[test]
fn another_request_that_the_base_contradicts_is_told_of_besides() {
    let environment = base(&[("h", "1.0", &[]), ("i", "1.0", &["h<2"])]);
    let conflict = refuse(&environment, &index(), &["i>=2", "h>=2"]);
    assert_eq!(facts(&conflict), ["asked: i>=2", "held: i 1.0 ()"]);
    let [one] = conflict.besides.as_slice() else {
        panic!("{:?}", conflict.besides);
    };
    assert_eq!(short(&one.requires), "asked: h>=2");
    assert_eq!(short(&one.held), "held: h 1.0 (i: h<2)");
}

#[test]
fn what_the_base_violates_already_is_no_reason() {
    let environment = base(&[
        ("broken", "1.0", &["h<1"]),
        ("h", "1.0", &[]),
        ("i", "1.0", &["h<2"]),
    ]);
    let conflict = refuse(&environment, &index(), &["h>=2"]);
    assert_eq!(facts(&conflict), ["asked: h>=2", "held: h 1.0 (i: h<2)"]);
}

#[test]
fn what_is_not_needed_is_not_said() {
    // `a` would fail over `x` in both of its versions, and over the base in both of them.
    let index = index()
        .wheel("a", "2.0", &["x", "h>=2"])
        .wheel("a", "1.0", &["h>=2", "x"])
        .wheel("x", "1.0", &["y>=2"])
        .wheel("y", "1.0", &[]);
    let conflict = refuse(&base(&[("h", "1.0", &[])]), &index, &["a", "y<2"]);
    assert_eq!(
        facts(&conflict),
        ["asked: a", "a every: 2.0 1.0 -> h>=2", "held: h 1.0 ()"]
    );
}

#[test]
fn a_constraint_without_which_it_fits_is_named() {
    let index = index()
        .wheel("a", "1.0", &["b>=2", "c"])
        .wheel("b", "2.0", &[])
        .wheel("c", "1.0", &[]);
    let environment = base(&[]);
    let request = constrained(&environment, &["a"], &["c<9", "b<2"]);
    let conflict = conflict(ask(&environment, &index, &request));
    let relaxed: Vec<String> = conflict
        .relaxed
        .iter()
        .map(|it| format!("{}: {:?}", it.constraint.requirement, it.versions.len()))
        .collect();
    assert_eq!(relaxed, ["b<2: 1"]);
    assert!(conflict.without_constraints.is_empty());

    // Neither alone is enough.
    let request = constrained(&environment, &["a"], &["c>9", "b<2"]);
    let conflict = super::conflict(ask(&environment, &index, &request));
    assert!(conflict.relaxed.is_empty());
    assert_eq!(conflict.without_constraints.len(), 1);
}

#[test]
fn why_an_answer_is_not_newer() {
    let index = index()
        .wheel("a", "3.0", &["h>=3"])
        .wheel("a", "2.0", &["h>=2"])
        .wheel("a", "1.0", &["b"])
        .wheel("b", "2.0", &["c<2"])
        .wheel("b", "1.0", &[])
        .wheel("c", "2.0", &[])
        .wheel("c", "1.0", &[]);
    let environment = base(&[("h", "1.0", &[])]);
    let resolver = Resolver::new(&environment, &index);
    let kept_out = |asked: &[&str]| {
        let request = request(&environment, asked);
        let resolution = solution(ask(&environment, &index, &request));
        let [behind] = resolution.behind.as_slice() else {
            panic!("{:?}", resolution.behind);
        };
        let out = resolver.kept_out(&request, &Policy::default(), behind);
        (behind.clone(), out.expect("an answer"))
    };
    let (_, out) = kept_out(&["a"]);
    let KeptOut::Facts(explanation) = out else {
        panic!("{out:?}");
    };
    let facts: Vec<String> = explanation.facts.iter().map(short).collect();
    assert_eq!(
        facts,
        [
            "newest: a 3.0",
            "a 3.0 -> h>=3 | 2.0 -> h>=2",
            "held: h 1.0 ()"
        ]
    );

    let (behind, out) = kept_out(&["c>=2", "b"]);
    assert_eq!(behind.name.to_string(), "b");
    let KeptOut::Facts(explanation) = out else {
        panic!("{out:?}");
    };
    assert_eq!(
        explanation.facts.iter().map(short).collect::<Vec<_>>(),
        ["asked: c>=2", "newest: b 2.0", "b 2.0 -> c<2"]
    );
    let (_, out) = kept_out(&["c", "b"]);
    let KeptOut::Others(others) = out else {
        panic!("{out:?}");
    };
    assert_eq!(others, [("c".parse().expect("a name"), version("1.0"))]);
}

#[test]
fn facts_follow_upon_those_that_bring_their_project_in() {
    let index = index()
        .wheel("a", "1.0", &["c<2"])
        .wheel("b", "2.0", &["c>=2"])
        .wheel("c", "2.0", &[])
        .wheel("c", "1.0", &[]);
    let conflict = refuse(&base(&[]), &index, &["a", "b"]);
    assert_eq!(follows(&conflict.facts), [vec![], vec![], vec![0], vec![1]]);
}
