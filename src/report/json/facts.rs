//! The facts of an explanation in JSON.

use serde::Serialize;

use crate::packaging::Version;
use crate::report::text::facts::Speaker;
use crate::resolution::base::BaseRequirement;
use crate::resolution::conflict::{Besides, Fact, follows};

/// One fact.
#[derive(Debug, Default, Serialize)]
pub struct FactLine {
    /// Number of the fact in its explanation, from 1.
    number: usize,
    kind: &'static str,
    /// The fact as a sentence.
    text: String,
    /// The project that it is about.
    project: String,
    /// The extra of the project, where the fact is about one.
    extra: Option<String>,
    /// The versions of the project that it is about, newest first; of a held one, that of the base.
    versions: Vec<String>,
    /// What is required, one for each group of versions.
    requirements: Vec<String>,
    /// The distributions of the base that have a requirement on the project, or rule it out.
    required_by: Vec<FactBy>,
    /// The layer of the image that brought the project, where it is known; from 0, lowest first.
    layer: Option<usize>,
    /// Numbers of the facts that bring the project into play.
    follows: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct FactBy {
    name: Option<String>,
    requirement: String,
}

/// Something that would rule out the same.
#[derive(Debug, Serialize)]
pub struct BesidesLine {
    /// The whole as a sentence.
    text: String,
    /// What a version requires.
    requires: FactLine,
    /// What the base has instead.
    held: FactLine,
}

/// The facts of one explanation.
#[must_use]
pub fn lines(speaker: &Speaker<'_>, facts: &[Fact]) -> Vec<FactLine> {
    let sentences = speaker.sentences(facts);
    let follows = follows(facts);
    facts
        .iter()
        .zip(sentences)
        .zip(follows)
        .enumerate()
        .map(|(position, ((fact, text), follows))| FactLine {
            number: position + 1,
            text,
            follows: follows.into_iter().map(|position| position + 1).collect(),
            ..line(speaker, fact)
        })
        .collect()
}

/// What would rule out the same besides.
#[must_use]
pub fn besides(speaker: &Speaker<'_>, besides: &[Besides]) -> Vec<BesidesLine> {
    besides
        .iter()
        .map(|one| {
            let both = [one.requires.clone(), one.held.clone()];
            let mut lines = lines(speaker, &both).into_iter();
            let (requires, held) = (lines.next(), lines.next());
            BesidesLine {
                text: speaker.besides(one),
                requires: requires.unwrap_or_default(),
                held: held.unwrap_or_default(),
            }
        })
        .collect()
}

fn line(speaker: &Speaker<'_>, fact: &Fact) -> FactLine {
    let texts = |versions: &[Version]| versions.iter().map(ToString::to_string).collect();
    let of_base = |by: &BaseRequirement| FactBy {
        name: Some(by.requirer.to_string()),
        requirement: by.requirement.to_string(),
    };
    let line = FactLine {
        kind: kind(fact),
        project: fact
            .subject()
            .or_else(|| fact.brings_in())
            .map_or_else(String::new, ToString::to_string),
        ..FactLine::default()
    };
    match fact {
        Fact::Asked { requirement, .. } => FactLine {
            requirements: vec![requirement.to_string()],
            ..line
        },
        Fact::Newest { version, .. } => FactLine {
            versions: vec![version.to_string()],
            ..line
        },
        Fact::Stays { name, version } => FactLine {
            versions: vec![version.to_string()],
            layer: speaker.base.layers.get(name).copied(),
            ..line
        },
        Fact::Requires { extra, bounds, .. } => FactLine {
            extra: extra.as_ref().map(ToString::to_string),
            versions: bounds
                .iter()
                .flat_map(|bound| bound.versions.iter().map(ToString::to_string))
                .collect(),
            requirements: bounds
                .iter()
                .map(|bound| bound.requirement.to_string())
                .collect(),
            ..line
        },
        Fact::Held {
            name,
            version,
            required_by,
            ..
        } => FactLine {
            versions: vec![version.to_string()],
            required_by: required_by.iter().map(of_base).collect(),
            layer: speaker.base.layers.get(name).copied(),
            ..line
        },
        Fact::BaseRequires {
            by,
            also,
            ruled_out,
        } => FactLine {
            versions: texts(ruled_out),
            required_by: std::iter::once(by).chain(also).map(of_base).collect(),
            ..line
        },
        Fact::UnknownProject { .. } => line,
        Fact::NoCandidate {
            excluded, source, ..
        } => FactLine {
            requirements: source
                .iter()
                .flat_map(|source| &source.requirements)
                .map(ToString::to_string)
                .collect(),
            versions: excluded
                .iter()
                .flat_map(|(_, versions)| versions.iter().map(ToString::to_string))
                .collect(),
            ..line
        },
        Fact::Unusable { versions, .. } => FactLine {
            versions: texts(versions),
            ..line
        },
    }
}

fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Asked { .. } => "asked",
        Fact::Newest { .. } => "newest",
        Fact::Stays { .. } => "stays",
        Fact::Requires { .. } => "requires",
        Fact::Held { .. } => "held",
        Fact::BaseRequires { .. } => "base-requires",
        Fact::UnknownProject { .. } => "unknown-project",
        Fact::NoCandidate { .. } => "no-candidate",
        Fact::Unusable { .. } => "unusable",
    }
}
