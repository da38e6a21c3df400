//! Why an answer is what it is, for a person: what keeps newer versions out, and who needs each addition.

use std::fmt::Write as _;

use crate::environment::Environment;
use crate::report::BaseLabel;
use crate::report::explanation::{Answered, Kept};
use crate::resolution::conflict::KeptOut;
use crate::resolution::solution::{Reason, Requirer};

use super::conflict::{also, numbered};
use super::facts::Speaker;
use super::table::table;
use super::{GOOD, HEADING, footer, words};

/// How many requested projects a sentence names.
const REQUESTS_SHOWN: usize = 8;

/// Writes why a request that fits comes to just these versions. `width` is that of the terminal, in cells.
#[must_use]
pub fn explain(
    answered: &Answered<'_>,
    base: &BaseLabel,
    environment: &Environment,
    width: Option<usize>,
) -> String {
    let resolution = answered.resolution;
    let speaker = Speaker { base, environment };
    let mut asked: Vec<String> = Vec::new();
    for satisfied in &resolution.requested {
        let text = format!("{} {}", satisfied.requirement.name, satisfied.version);
        if !asked.contains(&text) {
            asked.push(text);
        }
    }
    let verb = if asked.len() == 1 { "fits" } else { "fit" };
    let changes = match resolution.changes() {
        0 => "nothing of the base changes".to_owned(),
        changes => format!("{} of the base", words::count(changes, "change")),
    };
    let mut text = format!(
        "{GOOD}{} {verb} {}:{GOOD:#} {} to add, {changes}\n",
        words::list(&asked, REQUESTS_SHOWN),
        base.reference,
        words::count(resolution.added.len(), "distribution"),
    );
    for kept in &answered.kept {
        text.push_str(&newer(&speaker, kept));
    }
    if answered.kept.is_empty() && !asked.is_empty() {
        let _ = writeln!(text, "\nNothing newer of what is asked for is to be had.");
    }
    let rows: Vec<[String; 3]> = resolution
        .added
        .iter()
        .map(|added| {
            [
                added.name.to_string(),
                added.version.to_string(),
                needed_by(&added.required_by),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(["Added", "Version", "Because"], &rows, width));
    }
    let moved = resolution.changed.iter().map(|change| {
        [
            change.to.name.to_string(),
            format!("{} -> {}", change.from, change.to.version),
            reasons(&change.reasons),
        ]
    });
    let removed = resolution.removed.iter().map(|removal| {
        [
            removal.name.to_string(),
            format!("{} leaves", removal.version),
            reasons(&removal.reasons),
        ]
    });
    let rows: Vec<[String; 3]> = moved.chain(removed).collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(["Changed", "Version", "Because"], &rows, width));
    }
    text.push_str(&footer(base, environment));
    text
}

/// Why a requested project is not the newest.
fn newer(speaker: &Speaker<'_>, kept: &Kept<'_>) -> String {
    let behind = kept.behind;
    match &kept.out {
        KeptOut::Facts(explanation) => format!(
            "\n{HEADING}{} {}, not {}, because{HEADING:#}\n\n{}{}",
            behind.name,
            behind.version,
            behind.newest,
            numbered(speaker, &explanation.facts),
            also(speaker, &explanation.besides),
        ),
        KeptOut::Others(others) => {
            let others: Vec<String> = others
                .iter()
                .map(|(name, version)| format!("{name} {version}"))
                .collect();
            let instead = if others.is_empty() {
                "would fit as well".to_owned()
            } else {
                format!("would fit beside {}", words::list(&others, REQUESTS_SHOWN))
            };
            format!(
                "\n{HEADING}{} {}, not {}{HEADING:#}: the newer one {instead}\n",
                behind.name, behind.version, behind.newest
            )
        }
    }
}

/// "mlflow-skinny needs fastapi<1".
fn needed_by(required_by: &[Requirer]) -> String {
    let reasons: Vec<String> = required_by
        .iter()
        .map(|requirer| match &requirer.name {
            Some(name) => format!("{name} needs {}", requirer.requirement),
            None => format!("you ask for {}", requirer.requirement),
        })
        .collect();
    words::list(&reasons, REQUESTS_SHOWN)
}

fn reasons(reasons: &[Reason]) -> String {
    let reasons: Vec<String> = reasons
        .iter()
        .map(|reason| match reason {
            Reason::Required { by, .. } => needed_by(std::slice::from_ref(by)),
            Reason::Requires {
                requirement,
                version: Some(version),
            } => format!("it needs {requirement}, and that is {version} now"),
            Reason::Requires {
                requirement,
                version: None,
            } => format!("it needs {requirement}, which leaves"),
        })
        .collect();
    words::list(&reasons, REQUESTS_SHOWN)
}
