//! From a recipe to the question that it puts to its base.

use std::fmt::Write as _;
use std::path::Path;

use crate::digest::{self, Digest};
use crate::package_index::IndexSettings;
use crate::plan::lock::platform_of;
use crate::plan::{FoundBase, Lock, Pins, Recipe};
use crate::report::invocation::Invocation;
use crate::transport::platform::OciPlatform;

use super::CommandError;
use super::base::BaseSettings;
use super::file::read_text;
use super::question::{Posed, QuestionSettings};
use super::request::{Asked, Variables};
use crate::package_index::Clock;

/// How what a recipe names is opened and asked.
#[derive(Clone)]
pub struct RecipeSettings {
    /// How bases are opened.
    pub base: BaseSettings,
    /// The index, where the recipe names none.
    pub index: IndexSettings,
    /// Whether the command line names an index: then that of a recipe does not count.
    pub names_index: bool,
    /// Environment variables that requirements files may name as `${NAME}`.
    pub variables: Variables,
    /// The time, for the freshness of cached pages.
    pub clock: Clock,
}

/// Reads the recipe at `path`.
///
/// # Errors
/// When it cannot be read, or something in it cannot be used.
pub fn read_recipe(path: &Path) -> Result<Recipe, CommandError> {
    Ok(Recipe::parse(path, &read_text(path)?)?)
}

/// Reads the lock of `recipe`; `None` where there is none.
///
/// # Errors
/// When it cannot be read.
pub fn read_lock(recipe: &Recipe) -> Result<Option<Lock>, CommandError> {
    let path = recipe.lock_path();
    match read_text(&path) {
        Ok(text) => Ok(Some(Lock::parse(&path, &text)?)),
        Err(CommandError::ReadFile { error, .. })
            if error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What `recipe` asks of its base on `platform`, wheels of this machine (see [`Pins::of_wheels`]) among the requirements.
#[must_use]
pub fn question_of(
    recipe: &Recipe,
    wheels: &Pins,
    platform: Option<&OciPlatform>,
    settings: &RecipeSettings,
) -> QuestionSettings {
    let mut base = settings.base.clone();
    if let Some(platform) = platform {
        base.registry.platform = Some(platform.clone());
    }
    if let Some(python) = &recipe.python {
        base.python = Some(python.clone());
    }
    let mut index = settings.index.clone();
    if !settings.names_index {
        if let Some(url) = &recipe.index_url {
            index.index_url = Some(url.clone());
        }
        if !recipe.extra_index_urls.is_empty() {
            index.extra_index_urls.clone_from(&recipe.extra_index_urls);
        }
    }
    index.exclude_newer = recipe.exclude_newer.or(index.exclude_newer);
    QuestionSettings {
        reference: recipe.base.clone(),
        base,
        requirements: requirements_of(recipe, wheels),
        requirement_files: recipe.requirement_files.clone(),
        constraint_files: recipe.constraint_files.clone(),
        override_files: recipe.override_files.clone(),
        server_version: recipe.server_version.clone(),
        policy: recipe.policy.clone(),
        index,
        variables: settings.variables.clone(),
        clock: settings.clock.clone(),
        may_be_nothing: true,
        invocation: Invocation::default(),
    }
}

fn requirements_of(recipe: &Recipe, wheels: &Pins) -> Vec<String> {
    let of_wheels = wheels.pins.values().map(|pin| pin.requirement.to_string());
    let written = recipe.requirements.iter().cloned();
    written.chain(of_wheels).collect()
}

/// The digest of what `recipe` asks, with all that the files say that it names: for [`Lock::matches`].
///
/// # Errors
/// When one of the files cannot be read.
pub fn question_digest(
    recipe: &Recipe,
    wheels: &Pins,
    variables: &Variables,
) -> Result<Digest, CommandError> {
    let mut asked = Asked::read(
        &requirements_of(recipe, wheels),
        &recipe.requirement_files,
        &recipe.constraint_files,
        variables,
    )?;
    asked.read_overrides(&recipe.override_files, variables)?;
    let mut text = recipe.question();
    text.push_str(&asked.to_lines());
    for path in &recipe.wheels {
        let mut file = std::fs::File::open(path).map_err(|error| unreadable(path, error))?;
        let mut hasher = digest::Hasher::sha256();
        std::io::copy(&mut file, &mut Hashing(&mut hasher))
            .map_err(|error| unreadable(path, error))?;
        let _ = writeln!(text, "wheel: {}", hasher.finish());
    }
    Ok(digest::sha256(text.as_bytes()))
}

/// The base of a question as a lock knows it.
#[must_use]
pub(super) fn found_base<'p>(posed: &'p Posed, platform: &'p str) -> FoundBase<'p> {
    FoundBase {
        platform,
        digest: crate::plan::lock::digest_of(&posed.environment),
        python: &posed.environment.interpreter.version,
    }
}

/// The platform of the base of a question.
#[must_use]
pub(super) fn found_platform(posed: &Posed) -> String {
    platform_of(&posed.environment)
}

fn unreadable(path: &Path, error: std::io::Error) -> CommandError {
    CommandError::ReadFile {
        path: path.to_owned(),
        error,
    }
}

/// Bytes on their way into a hash.
struct Hashing<'h>(&'h mut digest::Hasher);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
