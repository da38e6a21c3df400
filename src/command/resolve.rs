//! `imgtool resolve`: what must be added to a base, and changed in it, so that a request is satisfied.

use std::path::PathBuf;

use crate::package_index::IndexClient;
use crate::report::BaseLabel;
use crate::resolution::solution::Behind;
use crate::resolution::{Hints, Outcome, Resolution, Resolver};

use super::question::{Posed, QuestionSettings, pose, warnings};
pub use super::resolve_output::Format;
use super::resolve_output::{Forms, Found, Writer, left_to_do};
use super::{Answer, CommandError, Talk};

/// What `imgtool resolve` was asked.
#[derive(Clone)]
pub struct ResolveSettings {
    /// What is asked of which base.
    pub question: QuestionSettings,
    /// Whether all answers worth choosing among are wanted, by the changes that they take.
    pub frontier: bool,
    /// The form of the answer, where one is named: of the file where there is one, else of stdout.
    pub format: Option<Format>,
    /// The file that receives the answer; its name says the form where none is named.
    pub output: Option<PathBuf>,
    /// Whether each line of a file of pins says who needs it.
    pub annotate: bool,
    /// Width of the terminal in cells; `None` where there is none.
    pub width: Option<usize>,
}

/// Resolves.
///
/// # Errors
/// When something kept it from an answer. That nothing fits is an answer:
/// [`ExitStatus::No`](super::ExitStatus::No).
pub fn run(settings: &ResolveSettings) -> Result<Answer, CommandError> {
    let forms = Forms::choose(
        settings.format,
        settings.output.as_deref(),
        settings.frontier,
    )?;
    let posed = pose(&settings.question)?;
    let Posed {
        environment,
        request,
        policy,
        ..
    } = &posed;
    let index = posed.index(&settings.question.clock)?;
    let resolver = Resolver::new(environment, &index).with_hints(Hints::Brief);
    let mut found = if settings.frontier {
        Found::Frontier(resolver.frontier(request, policy)?)
    } else {
        Found::Outcome(resolver.resolve(request, policy)?)
    };
    for resolution in resolutions(&mut found) {
        hash_pins(resolution, &index)?;
    }
    let label = match &found {
        Found::Outcome(Outcome::Conflict(conflict)) => posed.label_for(conflict),
        Found::Outcome(Outcome::Resolution(_)) | Found::Frontier(_) => posed.label.clone(),
    };
    let mut talk = posed.talk(resolver.base(), &index, talk_of(&found, &label));
    let warnings = warnings(&talk);
    let writer = Writer {
        request,
        policy,
        invocation: &settings.question.invocation,
        label: &label,
        environment,
        base: resolver.base(),
        index: &index,
        warnings: &warnings,
        annotate: settings.annotate,
        width: settings.width,
    };
    let status = found.status();
    let data = writer.write(&found, forms.stdout)?;
    if data.is_empty() {
        talk.push(Talk::Answer(writer.write(&found, Format::Text)?));
    }
    if let Some(path) = &settings.output {
        talk.extend(writer.write_file(&found, forms.file, path)?);
    }
    talk.extend(left_to_do(&found, forms));
    drop(resolver);
    // The program ends here; what the kernel takes back anyway is not given back piece by piece.
    std::mem::forget(posed);
    Ok(Answer { data, talk, status })
}

/// Every resolution of an answer: a report may show the pins of each.
fn resolutions(found: &mut Found) -> Vec<&mut Resolution> {
    match found {
        Found::Outcome(Outcome::Resolution(resolution)) => vec![resolution],
        Found::Outcome(Outcome::Conflict(conflict)) => conflict
            .smallest_change
            .as_deref_mut()
            .into_iter()
            .collect(),
        Found::Frontier(frontier) => {
            let rows = frontier.rows.iter_mut();
            rows.map(|row| &mut row.resolution).collect()
        }
    }
}

/// Makes sure that wheels of this machine are pinned with a hash.
pub(super) fn hash_pins(
    resolution: &mut Resolution,
    index: &IndexClient,
) -> Result<(), CommandError> {
    for pin in resolution.pins_mut() {
        for wheel in &mut pin.compatible {
            index.hash_local(wheel)?;
        }
        if let Some(best) = pin.compatible.first() {
            pin.wheel = best.clone();
        }
    }
    Ok(())
}

/// What a person should know before using an answer.
fn talk_of(found: &Found, label: &BaseLabel) -> Vec<Talk> {
    match found {
        Found::Outcome(Outcome::Conflict(_)) | Found::Frontier(_) => Vec::new(),
        Found::Outcome(Outcome::Resolution(resolution)) => {
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
        "{name} {version} is the newest that fits; the index has {newest}, and `imgtool explain {} \
         '{name}{extras}'` says what keeps it out",
        label.reference
    ))
}
