//! Who needs each line of a file of pins, as comments: `# via mlflow`, as pip-compile and uv write them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::packaging::PackageName;
use crate::packaging::requirement::presentable;
use crate::resolution::base::BaseFacts;
use crate::resolution::solution::Requirer;
use crate::resolution::{Request, Resolution};

/// Who requires each distribution of a result.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    by: BTreeMap<PackageName, BTreeSet<String>>,
}

impl Annotations {
    /// Who, of the request and of what is there in the end, requires each distribution.
    #[must_use]
    pub fn of(resolution: &Resolution, request: &Request, base: &BaseFacts<'_>) -> Self {
        let mut by: BTreeMap<PackageName, BTreeSet<String>> = BTreeMap::new();
        let pins = resolution
            .pins()
            .into_iter()
            .map(|pin| (&pin.name, &pin.required_by));
        let held = resolution
            .held
            .iter()
            .map(|held| (&held.name, &held.required_by));
        for (name, required_by) in pins.chain(held) {
            by.entry(name.clone())
                .or_default()
                .extend(required_by.iter().map(|requirer| who(requirer, request)));
        }
        // What another version requires is told with that version; what the installed one required is the past.
        let gone: BTreeSet<&PackageName> = resolution
            .changed
            .iter()
            .map(|change| &change.to.name)
            .chain(resolution.removed.iter().map(|removal| &removal.name))
            .collect();
        for (name, requirers) in base.requirers() {
            by.entry(name).or_default().extend(
                requirers
                    .iter()
                    .filter(|by| !gone.contains(&by.requirer))
                    .map(|by| by.requirer.to_string()),
            );
        }
        Self { by }
    }

    /// The comment that follows the line of `name`; empty where nobody requires it.
    #[must_use]
    pub fn comment(&self, name: &PackageName) -> String {
        let mut text = String::new();
        let requirers: Vec<&String> = self.by.get(name).into_iter().flatten().collect();
        match requirers.as_slice() {
            [] => {}
            [one] => {
                let _ = writeln!(text, "    # via {one}");
            }
            several => {
                text.push_str("    # via\n");
                for requirer in several {
                    let _ = writeln!(text, "    #   {requirer}");
                }
            }
        }
        text
    }
}

/// A requirer by name; the request by the file that the requirement stands in, where it stands in one.
fn who(requirer: &Requirer, request: &Request) -> String {
    if let Some(name) = &requirer.name {
        return name.to_string();
    }
    let file = request
        .requirements
        .iter()
        .find(|requested| requested.requirement.without_marker() == requirer.requirement)
        .and_then(|requested| requested.origin.as_deref())
        .and_then(|origin| origin.rsplit_once(':'));
    match file {
        Some((file, _)) => format!("-r {}", presentable(file)),
        None => "the request".to_owned(),
    }
}
