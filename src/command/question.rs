//! The question that a request puts to a base: what every verb that solves is asked, and how it is posed.

use std::path::PathBuf;

use tempfile::TempPath;

use crate::catalog::mlflow_server::ServerVersion;
use crate::environment::Environment;
use crate::package_index::{Clock, IndexClient, IndexSettings, PackageIndex as _};
use crate::packaging::PackageName;
use crate::report::BaseLabel;
use crate::report::invocation::Invocation;
use crate::resolution::base::{BaseFacts, BrokenRequirement};
use crate::resolution::conflict::Fact;
use crate::resolution::request::Request;
use crate::resolution::{Conflict, Policy, foresight};
use crate::rootfs::RootFs;
use crate::transport::Image;

use super::base::{self, BaseSettings, OpenBase};
use super::explained_layers::explained_layers;
use super::image_config;
use super::mlflow;
use super::preflight::{check_options, preflight};
use super::request::{Asked, Variables};
use super::{CommandError, Talk};

/// How many violations of the base are named one by one.
const VIOLATIONS_SHOWN: usize = 5;

/// What is asked of which base: all that poses the question, and nothing of how it is answered.
#[derive(Clone)]
pub struct QuestionSettings {
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
    /// Files of overrides.
    pub override_files: Vec<PathBuf>,
    /// The MLflow server that the clients of the result speak to.
    pub server_version: Option<ServerVersion>,
    /// What of the base may change.
    pub policy: Policy,
    /// The index, before what requirements files say of it.
    pub index: IndexSettings,
    /// Environment variables that requirements files may name as `${NAME}`.
    pub variables: Variables,
    /// The command line, for answers that name another.
    pub invocation: Invocation,
    /// The time, for the freshness of cached pages.
    pub clock: Clock,
    /// Whether nothing may be asked: a build may change an image's configuration alone.
    pub may_be_nothing: bool,
}

/// A question, and the base that it is put to.
pub(super) struct Posed {
    /// What reports call the base.
    pub label: BaseLabel,
    /// What is installed there.
    pub environment: Environment,
    /// Its files, where it has any.
    pub root: Option<Box<dyn RootFs>>,
    /// The image, where it is one.
    pub image: Option<Image>,
    /// The file that its layers are read from, where they would have come only once.
    pub spooled: Option<TempPath>,
    /// What is asked for, and what binds it: by the user, by the base, by a server.
    pub request: Request,
    /// What of the base may change, and what cannot.
    pub policy: Policy,
    /// The indexes, those that requirements files name among them.
    index: IndexSettings,
    /// What a person should know by now.
    pub talk: Vec<Talk>,
}

/// Reads what is asked, opens the base, and takes in what the base has to say to it.
///
/// # Errors
/// What cannot be read or opened, or contradicts itself or the base.
pub(super) fn pose(settings: &QuestionSettings) -> Result<Posed, CommandError> {
    check_options(&settings.policy)?;
    let mut asked = Asked::read(
        &settings.requirements,
        &settings.requirement_files,
        &settings.constraint_files,
        &settings.variables,
    )?;
    if asked.is_empty() && !settings.may_be_nothing {
        return Err(CommandError::NothingAsked);
    }
    asked.read_overrides(&settings.override_files, &settings.variables)?;
    let OpenBase {
        label,
        environment,
        root,
        opened: image,
        spooled,
        pip_settings,
        talk: opening_talk,
        ..
    } = base::open(&settings.reference, &settings.base)?;
    let label = BaseLabel {
        index_end: settings.index.exclude_newer,
        ..label
    };
    let mut talk = std::mem::take(&mut asked.talk);
    talk.extend(opening_talk);
    let (policy, preflight_talk) =
        preflight(&settings.policy, &label, &environment, root.as_deref())?;
    talk.extend(preflight_talk);
    let (mut request, markers_talk) = asked.on(&environment);
    request.exclude_newer = settings.index.exclude_newer;
    talk.extend(markers_talk);
    if let Some(server) = &settings.server_version {
        talk.extend(mlflow::bind_clients(server, &mut request, &environment));
    }
    if let Some(found) = &pip_settings {
        let owner = if image.is_some() { "image" } else { "base" };
        talk.extend(image_config::honour(
            found,
            &mut request,
            &environment,
            owner,
        ));
    }
    Ok(Posed {
        label,
        environment,
        root,
        image,
        spooled,
        index: asked.indexes(&settings.index),
        request,
        policy,
        talk,
    })
}

impl Posed {
    /// The index that answers, on its way already for what is asked: so it can set out while the requirements of the
    /// base are still being worked out.
    ///
    /// # Errors
    /// When the settings of the index cannot be used.
    pub fn index(&self, clock: &Clock) -> Result<IndexClient, CommandError> {
        let index = IndexClient::new(self.index.clone(), clock.clone())?
            .with_foresight(foresight(&self.environment, &self.request));
        for requested in &self.request.requirements {
            let requirement = &requested.requirement;
            if !self
                .environment
                .distributions
                .contains_key(&requirement.name)
            {
                index.prefetch(&requirement.name, &requirement.version_set());
            }
        }
        Ok(index)
    }

    /// What reports call the base, with the layers that brought what `facts` and `obstacles` name.
    pub fn label_with<'f>(
        &self,
        facts: impl IntoIterator<Item = &'f Fact>,
        obstacles: impl IntoIterator<Item = &'f PackageName>,
    ) -> BaseLabel {
        let mut label = self.label.clone();
        if let Some(root) = self.root.as_deref() {
            label.layers = explained_layers(facts, obstacles, &self.environment, root);
        }
        label
    }

    /// [`Self::label_with`] what `conflict` names.
    pub fn label_for(&self, conflict: &Conflict) -> BaseLabel {
        let obstacles = conflict.obstacles.iter().map(|(name, _)| name);
        self.label_with(&conflict.facts, obstacles)
    }

    /// What a person should know once the question is answered; `of_answer` is what belongs to the answer alone.
    pub fn talk(
        &self,
        base: &BaseFacts<'_>,
        index: &IndexClient,
        of_answer: impl IntoIterator<Item = Talk>,
    ) -> Vec<Talk> {
        let mut talk = self.talk.clone();
        talk.extend(self.environment.all_notes().map(Talk::Note));
        talk.extend(base_talk(base));
        talk.extend(index.warnings().into_iter().map(Talk::Warning));
        talk.extend(of_answer);
        talk.push(Talk::Detail(format!(
            "http requests: {}",
            index.requests_made()
        )));
        talk
    }
}

/// The warnings and notes among `talk`, for reports that carry them.
pub(super) fn warnings(talk: &[Talk]) -> Vec<String> {
    talk.iter()
        .filter_map(|line| match line {
            Talk::Warning(text) | Talk::Note(text) => Some(text.clone()),
            Talk::Detail(_) | Talk::Answer(_) => None,
        })
        .collect()
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
