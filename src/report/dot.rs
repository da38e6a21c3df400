//! An explanation as a graph in the language of Graphviz (<https://graphviz.org/doc/info/lang.html>).
//!
//! The request is an oval, projects are boxes, what the base has is a cylinder, and what cannot be had an octagon. A dashed
//! edge leads from what moves a distribution of the base to it. An
//! edge leads from who requires to what is required and bears the number of the fact that says so. Order and ids follow
//! the facts: the same explanation is the same text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::packaging::{PackageName, Version};
use crate::resolution::Resolution;
use crate::resolution::conflict::{Fact, KeptOut};
use crate::resolution::solution::Reason;

use super::BaseLabel;
use super::explanation::Answered;
use super::text::facts::Speaker;
use super::text::words::one_line;

/// How many characters a line of a label has before it is broken.
const LABEL_WIDTH: usize = 48;
/// How many distributions of the base that insist on a version are drawn.
const REQUIRERS_DRAWN: usize = 3;

/// The graph of why a request does not fit.
#[must_use]
pub fn conflict(speaker: &Speaker<'_>, facts: &[Fact]) -> String {
    let mut graph = Graph::new(speaker.base);
    graph.facts(speaker, facts, "");
    graph.end()
}

/// The graph of why an answer is what it is: what keeps newer versions out, a cluster each, and who needs what is added.
#[must_use]
pub fn answer(speaker: &Speaker<'_>, answered: &Answered<'_>) -> String {
    let mut graph = Graph::new(speaker.base);
    for (position, kept) in answered.kept.iter().enumerate() {
        let KeptOut::Facts(explanation) = &kept.out else {
            continue;
        };
        let behind = kept.behind;
        let title = format!("{} {}, not {}", behind.name, behind.version, behind.newest);
        let _ = writeln!(
            graph.text,
            "  subgraph cluster_{position} {{\n    label={};",
            quoted(&title)
        );
        graph.facts(speaker, &explanation.facts, &format!("{position}/"));
        graph.text.push_str("  }\n");
    }
    let resolution = answered.resolution;
    graph.node("request", "the request", "oval");
    let pins = resolution.pins();
    let known: BTreeSet<&PackageName> = pins.iter().map(|pin| &pin.name).collect();
    let from: BTreeMap<&PackageName, &Version> = resolution
        .changed
        .iter()
        .map(|change| (&change.to.name, &change.from))
        .collect();
    for pin in &pins {
        let id = format!("project {}", pin.name);
        match from.get(&pin.name) {
            Some(from) => {
                let label = format!("{} {from} -> {}\nin the base", pin.name, pin.version);
                graph.node(&id, &label, "cylinder");
            }
            None => graph.node(&id, &format!("{} {}", pin.name, pin.version), "box"),
        }
    }
    for removal in &resolution.removed {
        let label = format!("{} {} leaves\nthe base", removal.name, removal.version);
        graph.node(&format!("project {}", removal.name), &label, "cylinder");
    }
    for satisfied in resolution.requested.iter().filter(|it| it.held) {
        let name = &satisfied.requirement.name;
        if !known.contains(name) {
            graph.node(
                &format!("project {name}"),
                &format!("{name} {}\nin the base", satisfied.version),
                "cylinder",
            );
            graph.edge("request", &format!("project {name}"), "", "solid");
        }
    }
    for pin in &pins {
        for requirer in &pin.required_by {
            let from = match &requirer.name {
                None => "request".to_owned(),
                Some(name) if known.contains(name) => format!("project {name}"),
                Some(_) => continue,
            };
            let label = super::text::words::bounds(&requirer.requirement);
            graph.edge(&from, &format!("project {}", pin.name), &label, "solid");
        }
    }
    for change in &resolution.changed {
        graph.reasons(&change.to.name, &change.reasons, resolution);
    }
    for removal in &resolution.removed {
        graph.reasons(&removal.name, &removal.reasons, resolution);
    }
    graph.end()
}

/// A graph that is being written.
struct Graph {
    text: String,
    nodes: BTreeSet<String>,
}

impl Graph {
    fn new(base: &BaseLabel) -> Self {
        let mut text = String::from("digraph explanation {\n");
        let _ = writeln!(
            text,
            "  graph [rankdir=LR, label={}, labelloc=t, fontname=\"sans-serif\"];",
            quoted(&base.reference)
        );
        text.push_str("  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n");
        Self {
            text,
            nodes: BTreeSet::new(),
        }
    }

    fn end(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }

    fn node(&mut self, id: &str, label: &str, shape: &str) {
        if self.nodes.insert(id.to_owned()) {
            let _ = writeln!(
                self.text,
                "  {} [shape={shape}, label={}];",
                quoted(id),
                quoted(label)
            );
        }
    }

    fn edge(&mut self, from: &str, to: &str, label: &str, style: &str) {
        let _ = writeln!(
            self.text,
            "  {} -> {} [style={style}, label={}];",
            quoted(from),
            quoted(to),
            quoted(&broken(label))
        );
    }

    /// Why an installed distribution cannot stay as it is, as dashed edges: from what moves it to it. That a new version is
    /// required by what comes in is drawn already.
    fn reasons(&mut self, name: &PackageName, reasons: &[Reason], resolution: &Resolution) {
        let to = format!("project {name}");
        for reason in reasons {
            match reason {
                Reason::Required { by, version } => {
                    let Some(by_name) = &by.name else {
                        continue;
                    };
                    if resolution.pins().iter().any(|pin| pin.name == *by_name) {
                        continue;
                    }
                    let from = format!("project {by_name}");
                    let version = version
                        .as_ref()
                        .map_or_else(String::new, Version::to_string);
                    self.node(
                        &from,
                        &format!("{by_name} {version}\nin the base"),
                        "cylinder",
                    );
                    self.edge(
                        &from,
                        &to,
                        &super::text::words::bounds(&by.requirement),
                        "dashed",
                    );
                }
                Reason::Requires { requirement, .. } => {
                    let from = format!("project {}", requirement.name);
                    self.node(&from, requirement.name.as_ref(), "box");
                    self.edge(
                        &from,
                        &to,
                        &format!("{name} needed {requirement}"),
                        "dashed",
                    );
                }
            }
        }
    }

    /// The facts of one explanation; `prefix` keeps the ids of several apart.
    fn facts(&mut self, speaker: &Speaker<'_>, facts: &[Fact], prefix: &str) {
        let sentences = speaker.sentences(facts);
        let project = |name: &PackageName| format!("{prefix}project {name}");
        let request = format!("{prefix}request");
        self.node(&request, "the request", "oval");
        // What the base has is known before it is met.
        let pins: BTreeMap<&PackageName, String> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Held { name, version, .. } | Fact::Stays { name, version } => {
                    let layer = speaker.base.layers.get(name);
                    let layer = layer.map_or_else(String::new, |layer| format!(", layer {layer}"));
                    Some((name, format!("{name} {version}\nin the base{layer}")))
                }
                _ => None,
            })
            .collect();
        let names: BTreeSet<&PackageName> = facts
            .iter()
            .flat_map(|fact| [fact.subject(), fact.brings_in()])
            .flatten()
            .collect();
        for name in names {
            match pins.get(name) {
                Some(label) => self.node(&project(name), label, "cylinder"),
                None => self.node(&project(name), name.as_ref(), "box"),
            }
        }
        for (position, (fact, sentence)) in facts.iter().zip(&sentences).enumerate() {
            let number = position + 1;
            let label = format!("{number}. {sentence}");
            match fact {
                Fact::Asked { requirement, .. } => {
                    self.edge(&request, &project(&requirement.name), &label, "solid");
                }
                Fact::Newest { name, .. } => self.edge(&request, &project(name), &label, "solid"),
                Fact::Requires {
                    project: from,
                    required,
                    ..
                } => self.edge(&project(from), &project(required), &label, "solid"),
                Fact::Held {
                    name, required_by, ..
                } => {
                    let firm = fact.firmness();
                    for by in required_by.iter().take(firm.min(REQUIRERS_DRAWN)) {
                        let id = format!("{prefix}base {}", by.requirer);
                        let title = format!("{} {}\nin the base", by.requirer, by.requirer_version);
                        self.node(&id, &title, "cylinder");
                        let label = super::text::words::bounds(&by.requirement);
                        self.edge(&id, &project(name), &format!("{number}. {label}"), "bold");
                    }
                    if firm > REQUIRERS_DRAWN {
                        let id = format!("{prefix}base requirers of {name}");
                        let title = format!("{} more\nin the base", firm - REQUIRERS_DRAWN);
                        self.node(&id, &title, "cylinder");
                        self.edge(&id, &project(name), &format!("{number}."), "bold");
                    }
                }
                Fact::BaseRequires { by, .. } => {
                    let id = format!("{prefix}base {}", by.requirer);
                    let title = format!("{} {}\nin the base", by.requirer, by.requirer_version);
                    self.node(&id, &title, "cylinder");
                    self.edge(&id, &project(&by.requirement.name), &label, "bold");
                }
                Fact::Stays { .. } => {}
                Fact::UnknownProject { name }
                | Fact::NoCandidate { name, .. }
                | Fact::Unusable { name, .. } => {
                    let id = format!("{prefix}fact {number}");
                    self.node(&id, &broken(&label), "octagon");
                    self.edge(&project(name), &id, "", "dashed");
                }
            }
        }
    }
}

/// A text with lines that are not too long.
fn broken(text: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.chars().count() + word.len() < LABEL_WIDTH => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// A quoted string of the language: within it a quote has a backslash, and a backslash would begin an escape.
fn quoted(text: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| one_line(line).replace('\\', "\\\\").replace('"', "\\\""))
        .collect();
    format!("\"{}\"", lines.join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"]; b\\\nc\u{7}d"), "\"a\\\"]; b\\\\\\nc d\"");
    }

    #[test]
    fn long_labels_are_broken_between_words() {
        let text = "word ".repeat(30);
        let broken = broken(text.trim());
        assert!(broken.lines().all(|line| line.len() <= LABEL_WIDTH));
        assert_eq!(broken.replace('\n', " "), text.trim());
    }
}
