//! `imgtool explain`: why a request does not fit a base; of one that fits, why it comes to just these versions.

use crate::report::explanation::{Answered, Kept};
use crate::report::text::facts::Speaker;
use crate::report::{dot, json, text};
use crate::resolution::conflict::KeptOut;
use crate::resolution::{Outcome, Resolver};

use super::question::{Posed, QuestionSettings, pose, warnings};
use super::{Answer, CommandError, ExitStatus, Talk};

/// What `imgtool explain` was asked.
#[derive(Clone)]
pub struct ExplainSettings {
    /// What is asked of which base.
    pub question: QuestionSettings,
    /// What is written to stdout.
    pub format: Format,
    /// Width of the terminal in cells; `None` where there is none.
    pub width: Option<usize>,
}

/// A form of the explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Numbered sentences for people.
    Text,
    /// JSON, `imgtool.explain/v1`.
    Json,
    /// A graph for Graphviz.
    Dot,
}

/// Explains.
///
/// # Errors
/// When something kept it from an answer. That nothing fits is an answer: [`ExitStatus::No`].
pub fn run(settings: &ExplainSettings) -> Result<Answer, CommandError> {
    let posed = pose(&settings.question)?;
    let Posed {
        environment,
        request,
        policy,
        ..
    } = &posed;
    let invocation = &settings.question.invocation;
    let index = posed.index(&settings.question.clock)?;
    let resolver = Resolver::new(environment, &index);
    let outcome = resolver.resolve(request, policy)?;
    let mut kept: Vec<Kept<'_>> = Vec::new();
    if let Outcome::Resolution(resolution) = &outcome {
        for behind in &resolution.behind {
            let out = resolver.kept_out(request, policy, behind)?;
            kept.push(Kept { behind, out });
        }
    }

    let (label, of_answer) = match &outcome {
        Outcome::Conflict(conflict) => (posed.label_for(conflict), Vec::new()),
        Outcome::Resolution(resolution) => {
            let facts = kept.iter().flat_map(|kept| match &kept.out {
                KeptOut::Facts(explanation) => explanation.facts.as_slice(),
                KeptOut::Others(_) => &[],
            });
            (posed.label_with(facts, []), resolution.warnings.clone())
        }
    };
    let of_answer = of_answer.into_iter().map(Talk::Warning);
    let talk = posed.talk(resolver.base(), &index, of_answer);
    let warnings = warnings(&talk);
    let requested: Vec<String> = request
        .requirements
        .iter()
        .map(|requested| requested.requirement.without_marker().to_string())
        .collect();
    let speaker = Speaker {
        base: &label,
        environment,
    };
    let (data, status) = match &outcome {
        Outcome::Conflict(conflict) => {
            let data = match settings.format {
                Format::Text => text::conflict::conflict(
                    conflict,
                    request,
                    policy,
                    invocation,
                    &label,
                    environment,
                ),
                Format::Json => json::explain::conflict(
                    conflict, policy, invocation, &requested, &speaker, &warnings,
                ),
                Format::Dot => dot::conflict(&speaker, &conflict.facts),
            };
            (data, ExitStatus::No)
        }
        Outcome::Resolution(resolution) => {
            let answered = &Answered { resolution, kept };
            let data = match settings.format {
                Format::Text => {
                    text::explain::explain(answered, &label, environment, settings.width)
                }
                Format::Json => json::explain::answer(answered, &requested, &speaker, &warnings),
                Format::Dot => dot::answer(&speaker, answered),
            };
            (data, ExitStatus::Success)
        }
    };
    Ok(Answer { data, talk, status })
}
