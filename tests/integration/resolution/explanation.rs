//! What an explanation says: the facts in their order, and what would fit instead.

use imgtool::packaging::Version;

use super::{base, facts, index, refuse};

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
    assert_eq!(
        facts(&refuse(&environment, &index, &["a"])),
        [
            "asked: a",
            "a 1.0 -> firm<1",
            "held: firm 1.0 (u: firm>=1, v: firm>=1)",
            "a 1.0 -> loose<1",
            "held: loose 1.0 (u: loose, v: loose, w: loose)",
            "a 1.0 -> weak<1",
            "held: weak 1.0 (v: weak>=1)",
        ]
    );
}
