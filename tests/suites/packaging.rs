//! Calls recorded from pypa/packaging's own tests, against `imgtool::packaging`.

use std::cmp::Ordering;
use std::str::FromStr;

use imgtool::packaging::metadata::{CoreMetadata, RawMetadata, parse_requires_python};
use imgtool::packaging::specifiers::{self, allows, version_set};
use imgtool::packaging::tags::{Libc, TagPlatform, WheelTags};
use imgtool::packaging::wheel_name::{SourceDistributionName, WheelName};
use imgtool::packaging::{
    ExtraName, MarkerEnvironment, PackageName, Requirement, Version, VersionSpecifiers,
};
use pep508_rs::{MarkerEnvironmentBuilder, MarkerTree};
use serde_json::{Value, json};

use crate::harness::{Suite, document, rows, text};

#[test]
fn versions_are_read_and_written_as_packaging_does() {
    let mut suite = Suite::new("version");
    for row in rows("packaging/version.jsonl.gz") {
        let input = text(&row, "input");
        let found = match Version::from_str(input) {
            Err(_) => json!({"ok": false}),
            Ok(version) => json!({
                "ok": true,
                "normalized": version.to_string(),
                "epoch": version.epoch(),
                "release": version.release(),
                "is_prerelease": version.any_prerelease(),
                "is_postrelease": version.is_post(),
                "is_devrelease": version.is_dev(),
                "post": version.post(),
                "dev": version.dev(),
                "public": version.clone().without_local().to_string(),
            }),
        };
        let expected: Value = found
            .as_object()
            .expect("an object")
            .keys()
            .map(|key| (key.clone(), row[key].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        suite.compare(input, &expected, &found);
    }
    suite.finish(700);
}

#[test]
fn versions_are_ordered_as_packaging_orders_them() {
    let mut suite = Suite::new("compare");
    for row in rows("packaging/compare.jsonl.gz") {
        let (a, b) = (text(&row, "a"), text(&row, "b"));
        let (Ok(left), Ok(right)) = (Version::from_str(a), Version::from_str(b)) else {
            suite.skip();
            continue;
        };
        let order = left.cmp(&right);
        let op = text(&row, "op");
        let found = match op {
            "lt" => order == Ordering::Less,
            "le" => order != Ordering::Greater,
            "eq" => order == Ordering::Equal,
            "ne" => order != Ordering::Equal,
            "ge" => order != Ordering::Less,
            "gt" => order == Ordering::Greater,
            other => panic!("unknown comparison `{other}`"),
        };
        suite.compare(
            &format!("{a} {op} {b}"),
            &row["result"].as_bool(),
            &Some(found),
        );
    }
    suite.finish(7_000);
}

#[test]
fn specifiers_are_refused_where_packaging_refuses_them() {
    let mut suite = Suite::new("specifier");
    for row in rows("packaging/specifier.jsonl.gz") {
        let input = text(&row, "input");
        suite.compare(
            input,
            &row["ok"].as_bool(),
            &Some(specifiers::parse(input).is_ok()),
        );
    }
    suite.finish(400);
}

/// Whether a version satisfies a specifier is one question to imgtool; whether a pre-release may be chosen is another,
/// answered by the solver's policy. Rows are of use where the second does not decide: the version is no pre-release, or
/// pre-releases are asked for (in the call, in the set, or because one is installed).
#[test]
fn versions_satisfy_specifiers_as_they_do_for_packaging() {
    let mut suite = Suite::new("contains");
    for row in rows("packaging/contains.jsonl.gz") {
        let (spec, version) = (text(&row, "spec"), text(&row, "version"));
        let Ok(version) = Version::from_str(version) else {
            suite.skip();
            continue;
        };
        let Ok(specifiers) = specifiers::parse(spec) else {
            suite.compare(&format!("{spec} unreadable"), &true, &false);
            continue;
        };
        let admitted = row["prereleases"]
            .as_bool()
            .or(row["installed"].as_bool().filter(|installed| *installed))
            .or(row["spec_prereleases"].as_bool());
        if version.any_prerelease() && admitted != Some(true) {
            suite.skip();
            continue;
        }
        let found = version_set(&specifiers).contains(&version);
        assert_eq!(found, allows(&specifiers, &version), "{spec} {version}");
        let key = format!("{spec} contains {}", text(&row, "version"));
        suite.compare(&key, &row["result"].as_bool(), &Some(found));
    }
    suite.finish(6_000);
}

/// `filter` with pre-releases admitted is membership, version by version.
#[test]
fn lists_are_filtered_as_packaging_filters_them() {
    let mut suite = Suite::new("filter");
    for row in rows("packaging/filter.jsonl.gz") {
        let spec = text(&row, "spec");
        let input: Vec<&str> = row["input"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let versions: Result<Vec<Version>, _> =
            input.iter().map(|version| version.parse()).collect();
        let admitted = row["prereleases"]
            .as_bool()
            .or(row["spec_prereleases"].as_bool());
        let (Ok(versions), Ok(specifiers)) = (versions, specifiers::parse(spec)) else {
            suite.skip();
            continue;
        };
        if admitted != Some(true) && versions.iter().any(Version::any_prerelease) {
            suite.skip();
            continue;
        }
        let found: Vec<&str> = input
            .iter()
            .zip(&versions)
            .filter(|(_, version)| allows(&specifiers, version))
            .map(|(text, _)| *text)
            .collect();
        suite.compare(
            &format!("{spec} filters {}", input.join(" ")),
            &row["output"],
            &json!(found),
        );
    }
    suite.finish(50);
}

#[test]
fn requirements_are_read_as_packaging_reads_them() {
    let mut suite = Suite::new("requirement");
    for row in rows("packaging/requirement.jsonl.gz") {
        let input = text(&row, "input");
        let found = Requirement::from_str(input);
        if row["ok"] == json!(false) {
            suite.compare(input, &false, &found.is_ok());
            continue;
        }
        let normalized = |name: &str| PackageName::from_str(name).expect("a name").to_string();
        let mut extras: Vec<String> = row["extras"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .map(normalized)
            .collect();
        extras.sort();
        let expected = Some((
            normalized(text(&row, "name")),
            extras,
            sorted(
                &specifiers::parse(text(&row, "specifier"))
                    .expect("a specifier that packaging wrote"),
            ),
            row["url"].as_str().map(str::to_owned),
            row["marker"]
                .as_str()
                .map(|text| marker(text).expect("a marker that packaging wrote")),
        ));
        let found = found.ok().map(|found| {
            (
                found.name.to_string(),
                found.extras.iter().map(ToString::to_string).collect(),
                sorted(&found.specifiers),
                found.url,
                row["marker"].as_str().map(|_| found.marker),
            )
        });
        suite.compare(input, &expected, &found);
    }
    suite.finish(1_500);
}

/// A marker as it comes to us: behind a requirement.
fn marker(text: &str) -> Option<MarkerTree> {
    Requirement::from_str(&format!("name ; {text}"))
        .ok()
        .map(|requirement| requirement.marker)
}

fn sorted(specifiers: &VersionSpecifiers) -> Vec<String> {
    let mut texts: Vec<String> = specifiers.iter().map(ToString::to_string).collect();
    texts.sort();
    texts.dedup();
    texts
}

/// Markers of lock files name sets (`extras`, `dependency_groups`) that core metadata does not have; not yet ours.
#[test]
fn markers_are_refused_where_packaging_refuses_them() {
    let mut suite = Suite::new("marker");
    for row in rows("packaging/marker.jsonl.gz") {
        let input = text(&row, "input");
        if input.contains("extras") || input.contains("dependency_groups") {
            suite.skip();
            continue;
        }
        suite.compare(input, &row["ok"].as_bool(), &Some(marker(input).is_some()));
    }
    suite.finish(700);
}

/// Markers of lock files name sets (`extras`, `dependency_groups`) that core metadata does not have; not yet ours.
#[test]
fn markers_are_evaluated_as_packaging_evaluates_them() {
    let mut suite = Suite::new("marker_eval");
    for row in rows("packaging/marker_eval.jsonl.gz") {
        let text = text(&row, "marker");
        if text.contains("extras")
            || text.contains("dependency_groups")
            || row["ok"] == json!(false)
        {
            suite.skip();
            continue;
        }
        let environment = &row["environment"];
        let Some(markers) = marker_environment(environment) else {
            suite.skip();
            continue;
        };
        let found = self::marker(text).map(|marker| {
            let extras: Vec<ExtraName> = environment["extra"]
                .as_str()
                .and_then(|extra| extra.parse().ok())
                .into_iter()
                .collect();
            marker.evaluate(&markers, &extras)
        });
        suite.compare(text, &row["result"].as_bool(), &found);
    }
    suite.finish(25);
}

fn marker_environment(values: &Value) -> Option<MarkerEnvironment> {
    MarkerEnvironment::try_from(MarkerEnvironmentBuilder {
        implementation_name: text(values, "implementation_name"),
        implementation_version: text(values, "implementation_version"),
        os_name: text(values, "os_name"),
        platform_machine: text(values, "platform_machine"),
        platform_python_implementation: text(values, "platform_python_implementation"),
        platform_release: text(values, "platform_release"),
        platform_system: text(values, "platform_system"),
        platform_version: text(values, "platform_version"),
        python_full_version: text(values, "python_full_version"),
        python_version: text(values, "python_version"),
        sys_platform: text(values, "sys_platform"),
    })
    .ok()
}

#[test]
fn names_are_normalized_as_packaging_normalizes_them() {
    let mut suite = Suite::new("name");
    for row in rows("packaging/name.jsonl.gz") {
        let input = text(&row, "input");
        let found = PackageName::from_str(input)
            .ok()
            .map(|name| name.to_string());
        suite.compare(input, &row["canonical"].as_str().map(str::to_owned), &found);
    }
    for row in rows("packaging/name_is_normalized.jsonl.gz") {
        let input = text(&row, "input");
        let found = PackageName::from_str(input).is_ok_and(|name| name.as_ref() == input);
        suite.compare(
            &format!("{input} is normalized"),
            &row["result"].as_bool(),
            &Some(found),
        );
    }
    suite.finish(30);
}

#[test]
fn wheel_names_are_taken_apart_as_packaging_does() {
    let mut suite = Suite::new("wheel_filename");
    for row in rows("packaging/wheel_filename.jsonl.gz") {
        let input = text(&row, "input");
        let found = match WheelName::from_str(input) {
            Err(_) => json!({"ok": false}),
            Ok(wheel) => {
                let mut tags = Vec::new();
                for python in wheel.python.split('.') {
                    for abi in wheel.abi.split('.') {
                        for platform in wheel.platform.split('.') {
                            tags.push(format!("{python}-{abi}-{platform}"));
                        }
                    }
                }
                tags.sort();
                tags.dedup();
                json!({
                    "ok": true,
                    "name": wheel.name.to_string(),
                    "version": wheel.version.to_string(),
                    "build": wheel.build.map_or_else(|| json!([]), |(number, rest)| json!([number, rest])),
                    "tags": tags,
                })
            }
        };
        let expected: Value = found
            .as_object()
            .expect("an object")
            .keys()
            .map(|key| (key.clone(), row[key].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        suite.compare(input, &expected, &found);
    }
    suite.finish(15);
}

#[test]
fn source_distribution_names_are_taken_apart_as_packaging_does() {
    let mut suite = Suite::new("sdist_filename");
    for row in rows("packaging/sdist_filename.jsonl.gz") {
        let input = text(&row, "input");
        let found = SourceDistributionName::from_str(input)
            .ok()
            .map(|sdist| (sdist.name.to_string(), sdist.version.to_string()));
        let expected = row["ok"].as_bool().filter(|ok| *ok).map(|_| {
            (
                text(&row, "name").to_owned(),
                text(&row, "version").to_owned(),
            )
        });
        suite.compare(input, &expected, &found);
    }
    suite.finish(5);
}

/// Of metadata only the fields that decide about installation are kept.
#[test]
fn metadata_is_read_as_packaging_reads_it() {
    let mut suite = Suite::new("metadata_raw");
    for row in rows("packaging/metadata_raw.jsonl.gz") {
        let input = text(&row, "input");
        let raw = RawMetadata::parse(input.as_bytes());
        let found = json!({
            "metadata_version": raw.metadata_version,
            "name": raw.name,
            "version": raw.version,
            "requires_python": raw.requires_python,
            "requires_dist": raw.requires_dist,
            "provides_extra": raw.provides_extra,
            "dynamic": raw.dynamic,
        });
        let mut expected = json!({
            "metadata_version": row["raw"]["metadata_version"],
            "name": row["raw"]["name"],
            "version": row["raw"]["version"],
            "requires_python": row["raw"]["requires_python"],
        });
        for field in ["requires_dist", "provides_extra", "dynamic"] {
            expected[field] = match &row["raw"][field] {
                Value::Null => json!([]),
                values => values.clone(),
            };
        }
        // Kept in lower case, as fields are compared that way.
        for dynamic in expected["dynamic"].as_array_mut().expect("a list") {
            *dynamic = json!(dynamic.as_str().map(str::to_lowercase));
        }
        suite.compare(input, &expected, &found);
    }
    suite.finish(50);
}

#[test]
fn wheel_tags_are_those_of_a_real_interpreter_in_order() {
    let mut suite = Suite::new("tags");
    for row in document("packaging/tags.json.gz")
        .as_array()
        .expect("a list")
    {
        let number =
            |value: &Value| u16::try_from(value.as_u64().expect("a number")).expect("small");
        let pair = |value: &Value| (number(&value[0]), number(&value[1]));
        let (major, minor) = pair(&row["libc_version"]);
        let libc = match text(row, "libc") {
            "glibc" => Libc::Glibc(major, minor),
            "musl" => Libc::Musl(major, minor),
            other => panic!("unknown C library `{other}`"),
        };
        let tags = WheelTags::for_cpython(&TagPlatform {
            python: pair(&row["python"]),
            abi_flags: String::new(),
            architecture: text(row, "arch").to_owned(),
            libc: Some(libc),
        });
        let key = format!("{} {libc} {}", row["python"], text(row, "arch"));
        suite.compare(&key, &row["tags"], &json!(tags.to_list()));
    }
    suite.finish(16);
}

/// Metadata, requirement files and index pages come from strangers: whatever stands in them, reading it ends in a value or
/// an error. Rows are cut, joined and sprinkled with the characters that the grammars live on, always in the same way.
#[test]
fn no_text_ends_the_process() {
    const PIECES: [&str; 40] = [
        "===",
        "==",
        "~=",
        "!=",
        ">=",
        "<",
        ",",
        ";",
        "(",
        ")",
        "[",
        "]",
        "@",
        "'",
        "\"",
        ".*",
        "!",
        "+",
        "-",
        "_",
        ".",
        " ",
        "\t",
        "extra",
        "in ",
        "not in ",
        "and ",
        "or ",
        "os_name",
        "python_version",
        "platform.version",
        "é",
        "\u{0}",
        "99999999999999999999",
        "18446744073709551615",
        "dev",
        "post",
        "rc1",
        "file:",
        "https://[",
    ];
    let mut texts: Vec<String> = Vec::new();
    for file in [
        "requirement",
        "marker",
        "specifier",
        "version",
        "wheel_filename",
        "sdist_filename",
        "metadata_raw",
    ] {
        for row in rows(&format!("packaging/{file}.jsonl.gz")) {
            let input = text(&row, "input");
            if input.len() < 400 {
                texts.push(input.to_owned());
                texts.push(format!("name ; {input}"));
                texts.push(format!("name {input}"));
            }
        }
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).expect("below a usize")
    };
    let boundary = |text: &str, mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let project = PackageName::from_str("name").expect("a name");
    for _ in 0..60_000 {
        let mut made = texts[below(texts.len())].clone();
        for _ in 0..=below(3) {
            let at = boundary(&made, below(made.len() + 1));
            match below(4) {
                0 => made.truncate(at),
                1 => made.insert_str(at, PIECES[below(PIECES.len())]),
                2 => {
                    let end = boundary(&made, (at + below(6)).min(made.len()));
                    made.replace_range(at..end.max(at), PIECES[below(PIECES.len())]);
                }
                _ => {
                    let other = &texts[below(texts.len())];
                    made.push_str(&other[boundary(other, below(other.len() + 1))..]);
                }
            }
        }
        let survived = std::panic::catch_unwind(|| read_in_every_way(&made, &project));
        assert!(survived.is_ok(), "panic on {made:?}");
    }
}

fn read_in_every_way(text: &str, project: &PackageName) {
    if let Ok(requirement) = Requirement::parse_lenient(text) {
        let written = requirement.to_string();
        let _ = requirement.version_set();
        // What we write we can read; a quotation mark in a marker's text cannot be written.
        if requirement.url.is_none() && !(text.contains('"') && text.contains('\'')) {
            assert!(
                Requirement::from_str(&written).is_ok(),
                "written as `{written}`"
            );
        }
    }
    let _ = CoreMetadata::parse(text.as_bytes());
    let _ = parse_requires_python(text);
    let _ = WheelName::from_str(text);
    let _ = SourceDistributionName::from_str(text);
    let _ = SourceDistributionName::parse_for(text, project);
}
