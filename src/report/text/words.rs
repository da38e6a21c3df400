//! Small pieces of sentences: lists, counts, ranges of versions.

use std::fmt::Display;

use crate::packaging::{Requirement, Version};
use crate::resolution::conflict::Span;

/// `one`, `one and two`, `one, two and three`, `one, two and 5 more`: at most `most` items by name.
#[must_use]
pub fn list<T: Display>(items: &[T], most: usize) -> String {
    let shown = if items.len() > most {
        most
    } else {
        items.len()
    };
    let mut parts: Vec<String> = items[..shown].iter().map(ToString::to_string).collect();
    if items.len() > shown {
        parts.push(format!("{} more", items.len() - shown));
    }
    match parts.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `1 distribution`, `2 distributions`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// A number of bytes for people, in decimal units as registries count: `999 B`, `1.2 kB`, `34.5 MB`, `1.1 GB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // In tenths of a unit, rounded; what rounds up to a thousand is one of the next unit.
    let mut tenths = (u128::from(bytes) * 10 + 500) / 1000;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        unit += 1;
        let divisor = 1000_u128.pow(u32::try_from(unit + 1).unwrap_or(u32::MAX));
        tenths = (u128::from(bytes) * 10 + divisor / 2) / divisor;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A number with a comma before each three digits: `58,123`.
#[must_use]
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A text of strangers as a part of one line that cannot steer a terminal: control characters become spaces.
#[must_use]
pub fn one_line(text: &str) -> String {
    let printable: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    printable.trim().to_owned()
}

/// Versions as a person would say them; `versions` newest first: `2.1.0`, `2.0.1 and 2.1.0`,
/// `2.0.1 to 2.1.0 (5 versions)`.
#[must_use]
pub fn versions(versions: &[Version]) -> String {
    match versions {
        [] => "no version".to_owned(),
        [one] => one.to_string(),
        [new, old] => format!("{old} and {new}"),
        [new, .., old] => format!("{old} to {new} ({} versions)", versions.len()),
    }
}

/// Some versions of a project as the subject of a sentence, and whether it is a plural: `mlflow 2.1.0`, `every version of
/// mlflow from 2.13.0`, `mlflow 2.0.1 to 2.1.0`, `12 versions of mlflow between 1.0 and 2.1.0`. `versions` newest first;
/// at the ends stand stable ones where there are any.
#[must_use]
pub fn versions_of(project: &str, versions: &[Version], span: Span) -> (String, bool) {
    let stable: Vec<&Version> = versions
        .iter()
        .filter(|version| !version.any_prerelease())
        .collect();
    let named: Vec<&Version> = if stable.is_empty() {
        versions.iter().collect()
    } else {
        stable
    };
    let (Some(new), Some(old)) = (named.first(), named.last()) else {
        return (format!("no version of {project}"), false);
    };
    match (span, named.len()) {
        (Span::Every, _) => (format!("every version of {project}"), false),
        (_, 1) => (format!("{project} {new}"), false),
        (Span::From, _) => (format!("every version of {project} from {old}"), false),
        (Span::UpTo, _) => (format!("every version of {project} up to {new}"), false),
        (_, 2) => (format!("{project} {old} and {new}"), true),
        (Span::Between, _) => (format!("{project} {old} to {new}"), true),
        (Span::Scattered, count) => (
            format!("{count} versions of {project} between {old} and {new}"),
            true,
        ),
    }
}

/// The bounds of a requirement: `>=3,<4`, or `in any version`.
#[must_use]
pub fn bounds(requirement: &Requirement) -> String {
    if requirement.specifiers.is_empty() {
        return "in any version".to_owned();
    }
    requirement
        .specifiers
        .iter()
        .map(|specifier| specifier.to_string().replace(' ', ""))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_never_run_to_pages() {
        assert_eq!(list(&["a"], 3), "a");
        assert_eq!(list(&["a", "b"], 3), "a and b");
        assert_eq!(list(&["a", "b", "c", "d", "e"], 2), "a, b and 3 more");
        let parsed: Vec<Version> = ["3.0", "2.5", "2.0"]
            .iter()
            .map(|text| text.parse().expect("a version"))
            .collect();
        assert_eq!(versions(&parsed), "2.0 to 3.0 (3 versions)");
        assert_eq!(versions(&parsed[..2]), "2.5 and 3.0");
        assert_eq!(count(1, "version"), "1 version");
    }

    #[test]
    fn versions_are_said_as_a_person_would() {
        let parse = |texts: &[&str]| -> Vec<Version> {
            let versions = texts.iter();
            versions
                .map(|text| text.parse().expect("a version"))
                .collect()
        };
        let all = parse(&["3.0rc1", "2.5", "2.0", "1.5", "1.0"]);
        let say = |versions: &[&str]| {
            let versions = parse(versions);
            versions_of("a", &versions, Span::of(&versions, &all))
        };
        assert_eq!(say(&["2.0"]), ("a 2.0".to_owned(), false));
        let every = ("every version of a".to_owned(), false);
        assert_eq!(say(&["3.0rc1", "2.5", "2.0", "1.5", "1.0"]), every);
        assert_eq!(say(&["2.5", "2.0", "1.5", "1.0"]), every);
        assert_eq!(say(&["2.5", "2.0"]).0, "every version of a from 2.0");
        assert_eq!(
            say(&["2.0", "1.5", "1.0"]).0,
            "every version of a up to 2.0"
        );
        assert_eq!(say(&["2.0", "1.5"]), ("a 1.5 and 2.0".to_owned(), true));
        assert_eq!(say(&["2.5", "1.0"]), ("a 1.0 and 2.5".to_owned(), true));
        assert_eq!(
            say(&["2.5", "2.0", "1.0"]).0,
            "3 versions of a between 1.0 and 2.5"
        );
        assert_eq!(say(&["3.0rc1"]).0, "a 3.0rc1");
    }

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1249, "1.2 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (1_100_000_000, "1.1 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(58_123), "58,123");
        assert_eq!(thousands(1_000_000), "1,000,000");
    }
}
