//! The facts of an explanation as sentences.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::environment::Environment;
use crate::packaging::metadata::parse_requires_python;
use crate::packaging::{PackageName, Requirement, Version, VersionSet};
use crate::report::BaseLabel;
use crate::resolution::base::BaseRequirement;
use crate::resolution::candidates::Exclusion;
use crate::resolution::conflict::{Besides, Bound, Fact, Span};
use crate::resolution::source::SourceNeeds;

use super::conflict::exclusion_sentence;
use super::limits::{self, Limit, Side};
use super::words;

/// How many distributions of the base a sentence names.
const REQUIRERS_SHOWN: usize = 2;
/// How many different bounds of one project on another are spelled out.
const BOUNDS_SHOWN: usize = 3;
/// How many requirements of a version that would have to be built are spelled out.
const REQUIREMENTS_SHOWN: usize = 6;
/// How many reasons why versions are no candidates are spelled out.
const REASONS_SHOWN: usize = 4;

/// What sentences about a base need to know of it.
#[derive(Clone, Copy)]
pub struct Speaker<'a> {
    /// What the base is called, and which layers brought its distributions.
    pub base: &'a BaseLabel,
    /// What is installed in it.
    pub environment: &'a Environment,
}

impl Speaker<'_> {
    /// The facts of one explanation, a sentence each, without a full stop.
    #[must_use]
    pub fn sentences(&self, facts: &[Fact]) -> Vec<String> {
        let pins = pins(facts);
        facts
            .iter()
            .map(|fact| self.sentence(fact, &pins))
            .collect()
    }

    /// Something that rules out a version as well: "mlflow 2.1.0 needs pytz<2023; the base has …".
    #[must_use]
    pub fn besides(&self, besides: &Besides) -> String {
        let pins = pins(std::slice::from_ref(&besides.held));
        format!(
            "{}; {}",
            self.sentence(&besides.requires, &pins),
            self.sentence(&besides.held, &pins)
        )
    }

    fn sentence(&self, fact: &Fact, pins: &BTreeMap<&PackageName, &Version>) -> String {
        match fact {
            Fact::Asked {
                requirement,
                origin,
            } => asked(requirement, origin.as_deref()),
            Fact::Newest {
                name,
                extras,
                version,
                above,
            } => {
                let extras: Vec<String> = extras.iter().map(ToString::to_string).collect();
                let extras = if extras.is_empty() {
                    String::new()
                } else {
                    format!("[{}]", extras.join(","))
                };
                match above {
                    Some(above) => format!(
                        "the index has versions of {name}{extras} newer than {above}, up to {version}"
                    ),
                    None => format!("the newest version of {name}{extras} is {version}"),
                }
            }
            Fact::Stays { name, version } => format!(
                "the base has {name} {version}{}, which may change, but not leave",
                self.layer(name)
            ),
            Fact::Requires {
                project,
                extra,
                required,
                bounds,
                span,
            } => {
                let subject = match extra {
                    Some(extra) => format!("{project}[{extra}]"),
                    None => project.to_string(),
                };
                requires(
                    &subject,
                    required,
                    bounds,
                    *span,
                    pins.get(required).copied(),
                )
            }
            Fact::Held {
                name,
                version,
                required_by,
                wanted,
                constraints,
            } => self.held(name, version, required_by, wanted, constraints),
            Fact::BaseRequires {
                by,
                also,
                ruled_out,
            } => base_requires(by, also, ruled_out),
            Fact::UnknownProject { name } => {
                format!("no index has a project named {name}, and the base does not have it")
            }
            Fact::NoCandidate {
                name,
                excluded,
                newest,
                source,
            } => {
                let mut text = self.no_candidate(name, excluded, newest.as_ref());
                if let Some(source) = source {
                    let _ = write!(text, "; {}", would_require(name, source));
                }
                text
            }
            Fact::Unusable {
                name,
                versions,
                reason,
            } => {
                let (subject, _) = words::versions_of(name.as_ref(), versions, Span::Scattered);
                format!("{subject} cannot be used: {}", words::one_line(reason))
            }
        }
    }

    /// ` (layer 2)`, where that is known.
    fn layer(&self, name: &PackageName) -> String {
        self.base
            .layers
            .get(name)
            .map_or_else(String::new, |layer| format!(" (layer {layer})"))
    }

    fn held(
        &self,
        name: &PackageName,
        version: &Version,
        required_by: &[BaseRequirement],
        wanted: &VersionSet,
        constraints: &[String],
    ) -> String {
        let mut parts = vec![format!("the base has {name} {version}{}", self.layer(name))];
        for constraint in constraints {
            parts.push(format!("the constraint {constraint} rules that out"));
        }
        let (firm, loose): (Vec<&BaseRequirement>, Vec<&BaseRequirement>) = required_by
            .iter()
            .partition(|by| by.requirement.version_set().is_disjoint(wanted));
        if firm.is_empty() && constraints.is_empty() {
            parts.push(match loose.as_slice() {
                [] => "nothing there needs it".to_owned(),
                [one] => format!(
                    "{} {} needs it, but not this version of it",
                    one.requirer, one.requirer_version
                ),
                several => format!(
                    "{} need it, but not this version of it",
                    words::list(&requirers(several), REQUIRERS_SHOWN)
                ),
            });
        }
        parts.extend(needs(name, &firm, wanted));
        parts.join("; ")
    }

    fn no_candidate(
        &self,
        name: &PackageName,
        excluded: &[(Exclusion, Vec<Version>)],
        newest: Option<&Version>,
    ) -> String {
        if excluded.is_empty() {
            return match newest {
                Some(newest) => {
                    format!("the index has no such version of {name}; its newest is {newest}")
                }
                None => format!("the index has no files of {name}"),
            };
        }
        let (pythons, others): (Vec<_>, Vec<_>) = excluded
            .iter()
            .partition(|(exclusion, _)| matches!(exclusion, Exclusion::RequiresPython(_)));
        let mut others: Vec<(Exclusion, Vec<Version>)> = others.into_iter().cloned().collect();
        join_yanked(&mut others);
        let mut parts = self.other_pythons(name, &pythons, newest);
        let shown = REASONS_SHOWN.saturating_sub(parts.len()).max(1);
        for (exclusion, versions) in others.iter().take(shown) {
            parts.push(exclusion_sentence(
                name,
                exclusion,
                versions,
                self.environment,
            ));
        }
        if others.len() > shown {
            let rest: usize = others[shown..]
                .iter()
                .map(|(_, versions)| versions.len())
                .sum();
            parts.push(format!(
                "{} of {name} cannot be installed for reasons of the same kind",
                words::count(rest, "further version")
            ));
        }
        parts.join("; ")
    }

    /// Versions for another Python: what they ask for differs in ways that make no difference here.
    fn other_pythons(
        &self,
        name: &PackageName,
        excluded: &[&(Exclusion, Vec<Version>)],
        newest: Option<&Version>,
    ) -> Vec<String> {
        let python = &self.environment.interpreter.version;
        let installed = python.parse::<Version>().map(VersionSet::singleton).ok();
        let mut known: BTreeMap<Side, (Limit, Vec<Version>)> = BTreeMap::new();
        let mut parts = Vec::new();
        for (exclusion, versions) in excluded {
            let Exclusion::RequiresPython(text) = exclusion else {
                continue;
            };
            let limit = parse_requires_python(text)
                .zip(installed.as_ref())
                .map(|(bounds, installed)| Limit::against(&bounds, installed))
                .filter(|limit| limit.side != Side::Beside);
            let Some(limit) = limit else {
                parts.push(exclusion_sentence(
                    name,
                    exclusion,
                    versions,
                    self.environment,
                ));
                continue;
            };
            let (limit, versions) = match known.remove(&limit.side) {
                None => (limit, versions.clone()),
                Some((other, mut all)) => {
                    all.extend(versions.iter().cloned());
                    (other.clone().or(limit).unwrap_or(other), all)
                }
            };
            known.insert(limit.side, (limit, versions));
        }
        let mut said: Vec<String> = known
            .into_values()
            .map(|(limit, mut versions)| {
                versions.sort_by(|a, b| b.cmp(a));
                // What is excluded for its Python is the newest there is, as a rule, and all of that.
                let span = if newest == versions.first() && versions.len() > 1 {
                    Span::From
                } else {
                    Span::Between
                };
                let (subject, plural) = words::versions_of(name.as_ref(), &versions, span);
                let verb = if plural { "need" } else { "needs" };
                format!(
                    "{subject} {verb} Python{}; the base has {python}",
                    limit.text
                )
            })
            .collect();
        parts.truncate(1);
        said.extend(parts);
        said
    }
}

/// Versions that were yanked, each for a reason of its own, are said together and without the reasons.
fn join_yanked(excluded: &mut Vec<(Exclusion, Vec<Version>)>) {
    let is_yanked = |exclusion: &Exclusion| matches!(exclusion, Exclusion::Yanked(_));
    let Some(first) = excluded.iter().position(|(it, _)| is_yanked(it)) else {
        return;
    };
    if excluded.iter().filter(|(it, _)| is_yanked(it)).count() == 1 {
        return;
    }
    let mut versions: Vec<Version> = Vec::new();
    excluded.retain(|(exclusion, of_one)| {
        if is_yanked(exclusion) {
            versions.extend(of_one.iter().cloned());
        }
        !is_yanked(exclusion)
    });
    versions.sort_by(|a, b| b.cmp(a));
    excluded.insert(first, (Exclusion::Yanked(String::new()), versions));
}

/// What the base has, of all that an explanation ends at.
fn pins(facts: &[Fact]) -> BTreeMap<&PackageName, &Version> {
    facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Held { name, version, .. } => Some((name, version)),
            _ => None,
        })
        .collect()
}

fn asked(requirement: &Requirement, origin: Option<&str>) -> String {
    let asks = match origin {
        Some(origin) => format!("{origin} asks for {requirement}"),
        None => format!("you ask for {requirement}"),
    };
    if requirement.version_set().is_empty() {
        format!("{asks}, which no version can satisfy")
    } else {
        asks
    }
}

/// "mlflow 2.1.0 needs docker<7", "every version of mlflow from 2.13.0 needs …".
fn requires(
    subject: &str,
    required: &PackageName,
    bounds: &[Bound],
    span: Span,
    pin: Option<&Version>,
) -> String {
    let needs = |versions: &[Version], span: Span, text: &str| {
        let (subject, plural) = words::versions_of(subject, versions, span);
        let verb = if plural { "need" } else { "needs" };
        format!("{subject} {verb} {text}")
    };
    // Of bounds that meet what the base has, what they have against that is enough.
    if let Some(pin) = pin
        && bounds
            .iter()
            .all(|bound| bound.requirement.extras.is_empty())
    {
        let pin = VersionSet::singleton(pin.clone());
        let limits = bounds
            .iter()
            .map(|bound| Some(Limit::against(&bound.requirement.specifiers, &pin)));
        if let Some(Some(together)) = limits.reduce(|a, b| a?.or(b?))
            && !bounds
                .iter()
                .any(|bound| bound.requirement.specifiers.is_empty())
        {
            let text = format!("{required}{}", together.text);
            return needs(&all_versions(bounds), span, &text);
        }
    }
    if bounds.len() <= BOUNDS_SHOWN {
        let parts: Vec<String> = bounds
            .iter()
            .map(|bound| needs(&bound.versions, bound.span, &bound.requirement.to_string()))
            .collect();
        return parts.join("; ");
    }
    let around = limits::around(bounds.iter().map(|bound| &bound.requirement.specifiers));
    needs(
        &all_versions(bounds),
        span,
        &format!(
            "{required}{}, in {} different bounds",
            around.unwrap_or_default(),
            bounds.len()
        ),
    )
}

/// The versions of all groups, newest first.
fn all_versions(bounds: &[Bound]) -> Vec<Version> {
    let mut versions: Vec<Version> = bounds
        .iter()
        .flat_map(|bound| bound.versions.iter().cloned())
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.dedup();
    versions
}

/// `tensorflow 2.16.2` of each.
fn requirers(by: &[&BaseRequirement]) -> Vec<String> {
    by.iter()
        .map(|by| format!("{} {}", by.requirer, by.requirer_version))
        .collect()
}

/// "tensorflow 2.16.2, apache-beam 2.59.0 and 26 more need protobuf<5": who of the base does not let `name` be one of the
/// `unwanted` versions, one sentence for each direction.
fn needs(name: &PackageName, by: &[&BaseRequirement], unwanted: &VersionSet) -> Vec<String> {
    let mut groups: Vec<(Limit, Vec<&BaseRequirement>)> = Vec::new();
    for one in by {
        let limit = Limit::against(&one.requirement.specifiers, unwanted);
        let joined = groups.iter_mut().find_map(|(known, members)| {
            let together = known.clone().or(limit.clone())?;
            Some((known, members, together))
        });
        match joined {
            Some((known, members, together)) => {
                *known = together;
                members.push(one);
            }
            None => groups.push((limit, vec![one])),
        }
    }
    groups
        .into_iter()
        .map(|(limit, members)| {
            let verb = if members.len() == 1 { "needs" } else { "need" };
            format!(
                "{} {verb} {name}{}",
                words::list(&requirers(&members), REQUIRERS_SHOWN),
                limit.text
            )
        })
        .collect()
}

/// "tensorflow 2.16.2 and apache-beam 2.59.0 of the base need protobuf<5".
fn base_requires(by: &BaseRequirement, also: &[BaseRequirement], ruled_out: &[Version]) -> String {
    let unwanted = ruled_out.iter().fold(VersionSet::empty(), |set, version| {
        set.union(&VersionSet::singleton(version.clone()))
    });
    let mut members: Vec<&BaseRequirement> = vec![by];
    let mut limit = Limit::against(&by.requirement.specifiers, &unwanted);
    for one in also {
        let other = Limit::against(&one.requirement.specifiers, &unwanted);
        if let Some(together) = limit.clone().or(other) {
            limit = together;
            members.push(one);
        }
    }
    let verb = if members.len() == 1 { "needs" } else { "need" };
    format!(
        "{} of the base {verb} {}{}",
        words::list(&requirers(&members), REQUIRERS_SHOWN),
        by.requirement.name,
        limit.text
    )
}

/// What a version that would have to be built would require.
fn would_require(name: &PackageName, source: &SourceNeeds) -> String {
    let requirements: Vec<String> = source
        .requirements
        .iter()
        .map(ToString::to_string)
        .collect();
    let requirements = if requirements.is_empty() {
        "nothing else".to_owned()
    } else {
        words::list(&requirements, REQUIREMENTS_SHOWN)
    };
    format!("{name} {} would require {requirements}", source.version)
}
