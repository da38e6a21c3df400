//! What the base itself demands of what is installed in it: its constraints, honoured and said to be.

use std::collections::{BTreeMap, BTreeSet};

use crate::environment::{Environment, PipSettings};
use crate::packaging::PackageName;
use crate::resolution::request::{Request, Requested};

use super::Talk;

/// How many indexes a note names.
const MAX_NAMED: usize = 3;

/// Adds the constraints of `settings` that apply to `environment` to those of `request`, and tells what a person should
/// know. `owner` is what the base is called: `image` or `base`.
pub(super) fn honour(
    settings: &PipSettings,
    request: &mut Request,
    environment: &Environment,
    owner: &str,
) -> Vec<Talk> {
    let mut bound: BTreeMap<&str, BTreeSet<&PackageName>> = BTreeMap::new();
    for found in &settings.constraints {
        let requirement = &found.requirement;
        if !requirement.applies(&environment.markers) {
            continue;
        }
        bound
            .entry(&found.path)
            .or_default()
            .insert(&requirement.name);
        request.constraints.push(Requested {
            requirement: requirement.clone(),
            origin: Some(format!("the {owner}'s {}:{}", found.path, found.line)),
        });
    }
    let mut talk: Vec<Talk> = bound
        .iter()
        .map(|(path, names)| {
            let count = names.len();
            let projects = if count == 1 { "project" } else { "projects" };
            Talk::Note(format!(
                "the {owner}'s {path} binds {count} {projects} (`--no-image-config` leaves it out)"
            ))
        })
        .collect();
    talk.extend(settings.indexes.iter().map(|(by, hosts)| {
        let shown: Vec<&str> = hosts.iter().take(MAX_NAMED).map(String::as_str).collect();
        let more = match hosts.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Talk::Note(format!(
            "the {owner}'s {by} names the index {}{more}, which is not asked unless `--extra-index-url` names it",
            shown.join(", ")
        ))
    }));
    talk.extend(
        settings
            .notes
            .iter()
            .map(|note| Talk::Warning(format!("a constraint of the {owner}: {note}"))),
    );
    talk
}
