//! Whether the facts of a conflict are enough: a search in a world of which no more is known than they say.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use imgtool::environment::Environment;
use imgtool::packaging::{PackageName, Requirement, Version};
use imgtool::resolution::Conflict;
use imgtool::resolution::conflict::Fact;
use imgtool::resolution::request::{Request, Requested};

use super::brute_force::{Found, World};
use super::environments;
use super::universe::{Release, Universe};

/// What is known, as far as the facts tell.
struct Told<'a> {
    environment: &'a Environment,
    known: BTreeMap<PackageName, Vec<Release>>,
    base: Environment,
}

/// Searches in a world in which projects have the versions that they have, but require nothing, and are not installed,
/// unless a fact says so. A project of which no fact says anything has any version. If there is a solution, the
/// explanation is none.
pub fn refuted(
    conflict: &Conflict,
    environment: &Environment,
    universe: &Universe,
    request: &Request,
    steps: usize,
) -> Found {
    let mut told = Told {
        environment,
        known: BTreeMap::new(),
        base: environments::environment(&environment.interpreter.version, &[]),
    };
    for (name, release) in universe.releases() {
        let releases = told.known.entry(project(name)).or_default();
        releases.push(Release {
            requires: Vec::new(),
            ..release.clone()
        });
    }
    let subjects: BTreeSet<&PackageName> =
        conflict.facts.iter().filter_map(Fact::subject).collect();
    let mut named: BTreeMap<&PackageName, BTreeSet<String>> = BTreeMap::new();
    for requirement in conflict.facts.iter().flat_map(requirements) {
        let versions = named.entry(&requirement.name).or_default();
        versions.extend(["0.0.1".to_owned(), "9999".to_owned()]);
        for specifier in requirement.specifiers.iter() {
            let version = specifier.version();
            versions.extend([version.to_string(), format!("{version}.0.1")]);
        }
    }
    for (name, versions) in named {
        if subjects.contains(name) {
            continue;
        }
        let releases = told.known.entry(name.clone()).or_default();
        for release in releases.iter_mut() {
            *release = Release::new(&release.version, &[]);
        }
        let others = versions.iter().filter(|it| Version::from_str(it).is_ok());
        releases.extend(others.map(|version| Release::new(version, &[])));
    }
    let mut asked = Request {
        requirements: Vec::new(),
        ..request.clone()
    };
    for fact in &conflict.facts {
        if let Fact::Asked { requirement, .. } = fact {
            let requested = Requested::on_command_line(requirement.clone());
            asked.requirements.push(requested);
        } else {
            told.learn(fact);
        }
    }
    let known = told.known.into_iter();
    let known = Universe(known.map(|(name, it)| (name.to_string(), it)).collect());
    World::new(&told.base, &known, &asked).search(steps)
}

impl Told<'_> {
    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Asked { .. }
            | Fact::Newest { .. }
            | Fact::Stays { .. }
            | Fact::UnknownProject { .. }
            | Fact::NoCandidate { .. } => {}
            Fact::Requires {
                project,
                extra,
                bounds,
                ..
            } => {
                let marker = extra
                    .as_ref()
                    .map_or(String::new(), |extra| format!(" ; extra == '{extra}'"));
                for bound in bounds {
                    let text = format!("{}{marker}", bound.requirement);
                    self.requires(project, &bound.versions, &text);
                }
            }
            Fact::Held { name, .. } => self.hold(name),
            Fact::BaseRequires { by, .. } => {
                self.requires(&by.requirer, &[], &by.requirement.to_string());
            }
            Fact::Unusable {
                name,
                versions,
                reason,
            } => {
                let extra = reason.strip_prefix("with its extra `");
                let text = match extra.and_then(|rest| rest.split_once('`')) {
                    Some((extra, _)) => format!("nowhere ; extra == '{extra}'"),
                    None => "nowhere".to_owned(),
                };
                self.requires(name, versions, &text);
            }
        }
    }

    /// The base has a distribution, of whose requirements nothing is known so far.
    fn hold(&mut self, name: &PackageName) {
        if let Some(installed) = self.environment.distributions.get(name) {
            let mut installed = installed.clone();
            installed.requires_dist.clear();
            let entry = self.base.distributions.entry(name.clone());
            entry.or_insert(installed);
        }
    }

    /// These versions of `name`, or the one that is installed, have a requirement.
    fn requires(&mut self, name: &PackageName, versions: &[Version], text: &str) {
        self.hold(name);
        if let Some(installed) = self.base.distributions.get_mut(name) {
            installed.requires_dist.push(text.to_owned());
            return;
        }
        for release in self.known.get_mut(name).expect("a project") {
            if Version::from_str(&release.version).is_ok_and(|it| versions.contains(&it)) {
                release.requires.push(text.to_owned());
            }
        }
    }
}

fn project(name: &str) -> PackageName {
    PackageName::from_str(name).expect("a name")
}

/// The requirements in a fact.
fn requirements(fact: &Fact) -> Vec<&Requirement> {
    match fact {
        Fact::Asked { requirement, .. } => vec![requirement],
        Fact::Requires { bounds, .. } => bounds.iter().map(|bound| &bound.requirement).collect(),
        _ => Vec::new(),
    }
}
