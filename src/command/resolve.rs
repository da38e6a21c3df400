//! `imgtool resolve`: what must be added to a base so that a request is satisfied and nothing of the base changes.

use std::path::{Path, PathBuf};

use crate::package_index::{Clock, IndexClient, IndexSettings, PackageIndex as _};
use crate::report::{BaseLabel, json, requirements, text};
use crate::resolution::base::{BaseFacts, BrokenRequirement};
use crate::resolution::solution::Behind;
use crate::resolution::{Outcome, Resolver, foresight};

use super::base::{self, BaseSettings, OpenBase};
use super::file::write_text;
use super::request::{Asked, Variables};
use super::{Answer, CommandError, ExitStatus, Talk};

/// How many violations of the base are named one by one.
const VIOLATIONS_SHOWN: usize = 5;

/// What `imgtool resolve` was asked.
#[derive(Clone)]
pub struct ResolveSettings {
    /// The base.
    pub reference: String,
    /// How it is opened.
    pub base: BaseSettings,
    /// Requirements of the command line.
    pub requirements: Vec<String>,
    /// Files of requirements.
    pub requirement_files: Vec<PathBuf>,
    /// Files of constraints.
    pub constraint_files: Vec<PathBuf>,
    /// What is written to stdout.
    pub format: Format,
    /// The file that receives the pins; by its name JSON or a requirements file.
    pub output: Option<PathBuf>,
    /// The index, before what requirements files say of it.
    pub index: IndexSettings,
    /// Environment variables that requirements files may name as `${NAME}`.
    pub variables: Variables,
    /// The time, for the freshness of cached pages.
    pub clock: Clock,
    /// Width of the terminal in cells; `None` where there is none.
    pub width: Option<usize>,
}

/// A form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for people.
    Text,
    /// JSON v1.
    Json,
    /// A requirements file with hashes.
    Requirements,
}

/// Resolves.
///
/// # Errors
/// When something kept it from an answer. That nothing fits is an answer: [`ExitStatus::No`].
pub fn run(settings: &ResolveSettings) -> Result<Answer, CommandError> {
    let asked = Asked::read(
        &settings.requirements,
        &settings.requirement_files,
        &settings.constraint_files,
        &settings.variables,
    )?;
    let OpenBase {
        label,
        environment,
        talk: opening_talk,
        ..
    } = base::open(&settings.reference, &settings.base)?;
    let (request, markers_talk) = asked.on(&environment);
    let mut index_settings = settings.index.clone();
    if let Some(url) = &asked.index_url {
        index_settings.index_url = Some(url.clone());
    }
    index_settings
        .extra_index_urls
        .extend(asked.extra_index_urls.iter().cloned());
    let index = IndexClient::new(index_settings, settings.clock.clone())?
        .with_foresight(foresight(&environment, &request));

    // The index can set out while the requirements of the base are still being worked out.
    for requested in &request.requirements {
        let requirement = &requested.requirement;
        if !environment.distributions.contains_key(&requirement.name) {
            index.prefetch(&requirement.name, &requirement.version_set());
        }
    }
    let resolver = Resolver::new(&environment, &index);
    let outcome = resolver.resolve(&request)?;

    let mut talk = asked.talk;
    talk.extend(opening_talk);
    talk.extend(markers_talk);
    talk.extend(environment.notes.iter().cloned().map(Talk::Note));
    talk.extend(base_talk(resolver.base()));
    talk.extend(index.warnings().into_iter().map(Talk::Warning));
    talk.extend(outcome_talk(&outcome, &label));
    talk.push(Talk::Detail(format!(
        "http requests: {}",
        index.requests_made()
    )));

    let warnings: Vec<String> = talk
        .iter()
        .filter_map(|line| match line {
            Talk::Warning(text) | Talk::Note(text) => Some(text.clone()),
            Talk::Detail(_) | Talk::Answer(_) => None,
        })
        .collect();
    let requested: Vec<String> = request
        .requirements
        .iter()
        .map(|requested| requested.requirement.without_marker().to_string())
        .collect();
    let write = |format| -> Result<String, CommandError> {
        Ok(match (format, &outcome) {
            (Format::Json, _) => {
                json::v1::resolve(&outcome, &requested, &label, &environment, &warnings)
            }
            (Format::Requirements, Outcome::Resolution(resolution)) => {
                requirements::requirements(resolution, &label, &environment)?
            }
            (Format::Text, Outcome::Resolution(resolution)) => {
                text::resolution::resolution(resolution, &label, &environment, settings.width)
            }
            // Whoever expects a file of pins must not get prose in it.
            (Format::Requirements, Outcome::Conflict(_)) => String::new(),
            (Format::Text, Outcome::Conflict(conflict)) => {
                text::conflict::conflict(conflict, &request, &label, &environment)
            }
        })
    };
    let status = match &outcome {
        Outcome::Resolution(_) => ExitStatus::Success,
        Outcome::Conflict(_) => ExitStatus::No,
    };
    let data = write(settings.format)?;
    if data.is_empty() {
        talk.push(Talk::Answer(write(Format::Text)?));
    }
    if let Some(path) = &settings.output {
        let json = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if status == ExitStatus::Success {
            let format = if json {
                Format::Json
            } else {
                Format::Requirements
            };
            write_text(path, &write(format)?)?;
        } else {
            talk.push(nothing_written(path));
        }
    }
    drop(resolver);
    // The program ends here; what the kernel takes back anyway is not given back piece by piece.
    std::mem::forget(environment);
    Ok(Answer { data, talk, status })
}

fn nothing_written(path: &Path) -> Talk {
    let left = if path.exists() {
        "left as it was"
    } else {
        "not written"
    };
    Talk::Note(format!(
        "`{}` is {left}: there is nothing to install",
        path.display()
    ))
}

/// What a person should know before using an answer.
fn outcome_talk(outcome: &Outcome, label: &BaseLabel) -> Vec<Talk> {
    match outcome {
        Outcome::Conflict(_) => Vec::new(),
        Outcome::Resolution(resolution) => {
            let warnings = resolution.warnings.iter().cloned().map(Talk::Warning);
            let behind = resolution
                .behind
                .iter()
                .map(|behind| behind_note(behind, label));
            warnings.chain(behind).collect()
        }
    }
}

/// That a requested project is not the newest that there is, and how to learn why.
fn behind_note(behind: &Behind, label: &BaseLabel) -> Talk {
    let Behind {
        name,
        extras,
        version,
        newest,
    } = behind;
    let extras: Vec<String> = extras.iter().map(ToString::to_string).collect();
    let extras = if extras.is_empty() {
        String::new()
    } else {
        format!("[{}]", extras.join(","))
    };
    Talk::Note(format!(
        "{name} {version} is the newest that fits; the index has {newest}, and `imgtool resolve {} \
         '{name}{extras}=={newest}'` says what keeps it out",
        label.reference
    ))
}

/// What is wrong with the base by itself.
fn base_talk(base: &BaseFacts<'_>) -> Vec<Talk> {
    let mut talk: Vec<Talk> = base
        .unreadable
        .iter()
        .map(|(name, error)| {
            Talk::Warning(format!(
                "a requirement of {name} in the base is passed over: {error}"
            ))
        })
        .collect();
    for broken in base.broken.iter().take(VIOLATIONS_SHOWN) {
        talk.push(Talk::Warning(format!(
            "already broken in the base: {}",
            violation(broken)
        )));
    }
    if base.broken.len() > VIOLATIONS_SHOWN {
        talk.push(Talk::Warning(format!(
            "already broken in the base: {} more requirements (`--format json` has them all)",
            base.broken.len() - VIOLATIONS_SHOWN
        )));
    }
    talk
}

fn violation(broken: &BrokenRequirement) -> String {
    let by = &broken.by;
    match &broken.installed {
        Some(version) => format!(
            "{} {} requires {}, but {} {version} is installed",
            by.requirer, by.requirer_version, by.requirement, by.requirement.name
        ),
        None => format!(
            "{} {} requires {}, which is not installed",
            by.requirer, by.requirer_version, by.requirement
        ),
    }
}
