//! `--exclude-newer`: for a request with an end of time, what was uploaded later does not exist; and what versions
//! without a wheel would require.

use std::sync::Arc;

use imgtool::package_index::{PackageIndex as _, parse_exclude_newer};
use imgtool::packaging::VersionSet;
use imgtool::resolution::conflict::Fact;
use imgtool::resolution::foresight;
use imgtool::resolution::source::SourceNeeds;

use super::{
    MemoryIndex, Request, added, ask, base, conflict, constrained, facts, refuse, solution,
};
use crate::support::memory_index::File;

fn uploaded(time: &str) -> File<'_> {
    File {
        uploaded: Some(time),
        ..File::default()
    }
}

/// alpha 1.0 of 2020, 2.0 of 23 December 2025, 3.0 of the moment after.
fn alpha() -> MemoryIndex {
    let mut index = MemoryIndex::default();
    index.add_wheel("alpha", "1.0", &uploaded("2020-01-01T12:00:00Z"));
    index.add_wheel("alpha", "2.0", &uploaded("2025-12-23T23:59:59.999Z"));
    index.add_wheel("alpha", "3.0", &uploaded("2025-12-24T00:00:00Z"));
    index
}

fn until(time: &str, asked: &[&str]) -> Request {
    Request {
        exclude_newer: Some(parse_exclude_newer(time).expect("a time")),
        ..constrained(&base(&[]), asked, &[])
    }
}

#[test]
fn what_was_uploaded_at_the_end_or_later_does_not_exist() {
    let (environment, index) = (base(&[]), alpha());
    let newest = |time: &str| {
        let resolution = solution(ask(&environment, &index, &until(time, &["alpha"])));
        // What came later is no reason to call an answer old.
        assert!(resolution.behind.is_empty(), "{:?}", resolution.behind);
        added(&resolution)
    };
    assert_eq!(newest("2025-12-24"), ["alpha==3.0"]);
    assert_eq!(newest("2025-12-23"), ["alpha==2.0"]);
    assert_eq!(newest("2025-12-23T23:59:59.998Z"), ["alpha==1.0"]);
    assert_eq!(newest("2025-12-22"), ["alpha==1.0"]);
}

#[test]
fn an_explanation_names_the_end_and_the_newest_before_it() {
    let (environment, index) = (base(&[]), alpha());
    let refused = |time: &str, asked: &[&str]| {
        facts(&conflict(ask(&environment, &index, &until(time, asked))))
    };
    assert_eq!(
        refused("2025-12-20", &["alpha>=2"]),
        [
            "asked: alpha>=2",
            "none: alpha (TooNew(\"2025-12-21\"): 3.0 2.0) newest 1.0"
        ]
    );
    assert_eq!(
        refused("2020-01-01T12:00:00Z", &["alpha"]),
        [
            "asked: alpha",
            "none: alpha (TooNew(\"2020-01-01T12:00:00Z\"): 3.0 2.0 1.0) newest -"
        ]
    );
    // Nobody has this version at any time.
    assert_eq!(
        refused("2025-12-20", &["alpha>3"]),
        ["asked: alpha>3", "none: alpha () newest 1.0"]
    );
}

#[test]
fn a_file_of_unknown_age_is_left_out_and_an_older_file_of_the_version_counts() {
    let mut index = MemoryIndex::default().wheel("beta", "1.0", &[]);
    let environment = base(&[]);
    assert_eq!(
        facts(&conflict(ask(
            &environment,
            &index,
            &until("2025-12-23", &["beta"])
        ))),
        [
            "asked: beta",
            "none: beta (UploadTimeUnknown: 1.0) newest -"
        ]
    );
    // A source distribution was there in time, the wheel came later.
    index.add_wheel("gamma", "1.0", &uploaded("2026-01-01T00:00:00Z"));
    index.add_source("gamma", "1.0", &uploaded("2025-01-01T00:00:00Z"));
    assert_eq!(
        facts(&conflict(ask(
            &environment,
            &index,
            &until("2025-12-23", &["gamma"])
        ))),
        ["asked: gamma", "none: gamma (OnlySource: 1.0) newest 1.0"]
    );
    let later = File {
        tags: "py2.py3-none-any",
        ..uploaded("2026-01-01T00:00:00Z")
    };
    index.add_wheel("delta", "1.0", &uploaded("2025-01-01T00:00:00Z"));
    index.add_wheel("delta", "1.0", &later);
    let resolution = solution(ask(&environment, &index, &until("2025-12-23", &["delta"])));
    assert_eq!(resolution.added[0].compatible.len(), 1);
}

#[test]
fn who_looks_ahead_sees_no_further() {
    let index = alpha();
    let project = index.project(&"alpha".parse().expect("a name"));
    let project = project.expect("an answer").expect("a project");
    let likely = |request: &Request| {
        let outlook = foresight(&base(&[]), request);
        let wheel = Arc::clone(&outlook).likely_wheel(&project, &VersionSet::full());
        wheel.map(|wheel| wheel.filename)
    };
    assert_eq!(
        likely(&until("2025-12-23", &["alpha"])).as_deref(),
        Some("alpha-2.0-py3-none-any.whl")
    );
    assert_eq!(likely(&until("2019-12-23", &["alpha"])), None);
}

#[test]
fn a_version_without_a_wheel_says_what_it_would_require() {
    let mut index = MemoryIndex::default();
    let requires = File {
        requires: &["gamma<2", "beta>=1", "never; sys_platform == 'win32'"],
        ..File::default()
    };
    index.add_static_source("alpha", "2.0", &requires);
    index.add_source("alpha", "1.0", &File::default());
    let needs = |asked: &str| {
        let conflict = refuse(&base(&[]), &index, &[asked]);
        let source = conflict.facts.iter().find_map(|fact| match fact {
            Fact::NoCandidate { source, .. } => source.clone(),
            _ => None,
        });
        source.map(
            |SourceNeeds {
                 version,
                 requirements,
             }| {
                let requirements: Vec<String> =
                    requirements.iter().map(ToString::to_string).collect();
                format!("{version}: {}", requirements.join(", "))
            },
        )
    };
    assert_eq!(needs("alpha").as_deref(), Some("2.0: beta>=1, gamma<2"));
    assert_eq!(needs("alpha<2"), None, "this one promises nothing");
}
