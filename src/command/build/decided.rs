//! What decides which versions an image gets: the request, which is solved; pins that were decided before and stand in
//! files; or a recipe, with its lock where that is up to date.

use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::plan::{Lock, PinFile, Pins, Recipe};
use crate::report::pylock::is_lock_name;
use crate::transport::platform::OciPlatform;

use super::super::file::read_text;
use super::super::question::{Posed, QuestionSettings};
use super::super::recipe::{
    RecipeSettings, found_base, found_platform, question_digest, question_of, read_lock,
    read_recipe,
};
use super::super::{CommandError, Talk};

/// A recipe to build from.
#[derive(Clone)]
pub struct RecipeSource {
    /// The file.
    pub path: PathBuf,
    /// How what it names is opened and asked.
    pub opening: RecipeSettings,
    /// Whether its lock must be there and up to date.
    pub locked: bool,
}

/// What decides which versions come in.
pub(super) enum Decided {
    /// The request, solved; these wheels of this machine are what their projects mean.
    Request {
        question: Box<QuestionSettings>,
        wheels: Pins,
    },
    /// Files of pins.
    Files {
        question: Box<QuestionSettings>,
        files: Vec<PinFile>,
    },
    /// A recipe.
    Recipe(Box<DecidedByRecipe>),
}

/// A recipe, and what it comes with.
pub(super) struct DecidedByRecipe {
    pub recipe: Recipe,
    /// Digest of what it asks.
    question: String,
    wheels: Pins,
    lock: Option<Lock>,
    source: RecipeSource,
}

/// What is installed of whom, once the base is known.
pub(super) enum Choice {
    /// What the solver finds; these wheels are what their projects mean.
    Solved(Pins),
    /// These and no others.
    Pinned(Pins),
}

impl Decided {
    /// What a question means: files of pins, where nothing but such files is asked for, else a request. `wheels` are wheels of
    /// this machine to be installed, too.
    ///
    /// # Errors
    /// When a file cannot be read, or is no file of pins where it says that it is one.
    pub fn of_question(
        mut question: QuestionSettings,
        wheels: &[PathBuf],
    ) -> Result<Self, CommandError> {
        let wheels = Pins::of_wheels(wheels)?;
        question.may_be_nothing = true;
        if question.requirements.is_empty() && wheels.pins.is_empty() {
            let files: Vec<Option<PinFile>> = question
                .requirement_files
                .iter()
                .map(|path| pin_file(path))
                .collect::<Result<_, _>>()?;
            let all: Option<Vec<PinFile>> = files.into_iter().collect();
            if let Some(files) = all.filter(|files| !files.is_empty()) {
                // They are read once more for the indexes that they name.
                question.requirement_files.retain(|path| !is_lock(path));
                return Ok(Self::Files {
                    question: Box::new(question),
                    files,
                });
            }
        } else if let Some(lock) = question.requirement_files.iter().find(|path| is_lock(path)) {
            return Err(CommandError::LockBesideOthers(lock.clone()));
        }
        question
            .requirements
            .extend(wheels.pins.values().map(|pin| pin.requirement.to_string()));
        Ok(Self::Request {
            question: Box::new(question),
            wheels,
        })
    }

    /// What the recipe at `source` says.
    ///
    /// # Errors
    /// When it or its lock cannot be read.
    pub fn of_recipe(source: &RecipeSource) -> Result<Self, CommandError> {
        let recipe = read_recipe(&source.path)?;
        let wheels = Pins::of_wheels(&recipe.wheels)?;
        let question = question_digest(&recipe, &wheels, &source.opening.variables)?.to_string();
        let lock = read_lock(&recipe)?;
        if source.locked && lock.is_none() {
            return Err(CommandError::NoLock(recipe.lock_path()));
        }
        Ok(Self::Recipe(Box::new(DecidedByRecipe {
            recipe,
            question,
            wheels,
            lock,
            source: source.clone(),
        })))
    }

    /// What the base is asked.
    pub fn question(&self, platform: Option<&OciPlatform>) -> QuestionSettings {
        let mut question = match self {
            Self::Request { question, .. } | Self::Files { question, .. } => {
                QuestionSettings::clone(question)
            }
            Self::Recipe(by) => {
                let opening = &by.source.opening;
                question_of(&by.recipe, &by.wheels, platform, opening)
            }
        };
        question.may_be_nothing = true;
        question.base.needs_image = true;
        if platform.is_some() {
            question.base.registry.platform = platform.cloned();
        }
        question
    }

    /// What is installed on the base that `posed` is about.
    ///
    /// # Errors
    /// When pins are for another environment, or a lock that must be up to date is not.
    pub fn choose(&self, posed: &Posed, talk: &mut Vec<Talk>) -> Result<Choice, CommandError> {
        match self {
            Self::Request { wheels, .. } => Ok(Choice::Solved(wheels.clone())),
            Self::Files { files, .. } => {
                Ok(Choice::Pinned(pins_of_files(files, &posed.environment)?))
            }
            Self::Recipe(by) => by.choose(posed, talk),
        }
    }
}

impl DecidedByRecipe {
    fn choose(&self, posed: &Posed, talk: &mut Vec<Talk>) -> Result<Choice, CommandError> {
        let Some(lock) = &self.lock else {
            return Ok(Choice::Solved(self.wheels.clone()));
        };
        let path = self.recipe.lock_path();
        let platform = found_platform(posed);
        match lock.matches(&self.question, found_base(posed, &platform)) {
            Ok(locked) => Ok(Choice::Pinned(locked.to_pins(&path)?)),
            Err(differences) if self.source.locked => {
                Err(CommandError::LockDiffers { path, differences })
            }
            Err(differences) => {
                let reasons: Vec<String> = differences.iter().map(ToString::to_string).collect();
                talk.push(Talk::Warning(format!(
                    "`{}` is not up to date and was passed over: {} (`imgtool lock` mends it, `--locked` insists on it)",
                    path.display(),
                    reasons.join("; ")
                )));
                Ok(Choice::Solved(self.wheels.clone()))
            }
        }
    }
}

fn is_lock(path: &Path) -> bool {
    let is_toml = path
        .extension()
        .is_some_and(|extension| extension == "toml");
    is_toml
        || path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(is_lock_name)
}

/// The pins that a file holds; `None` for a requirements file that is not one of pins with hashes.
fn pin_file(path: &Path) -> Result<Option<PinFile>, CommandError> {
    // Standard input can be read once.
    if path == Path::new("-") {
        return Ok(None);
    }
    let text = read_text(path)?;
    if is_lock(path) {
        return Ok(Some(PinFile::of_pylock(path, &text)?));
    }
    let name = path.display().to_string();
    Ok(PinFile::of_requirements(&name, &text).filter(PinFile::has_hashes))
}

fn pins_of_files(files: &[PinFile], environment: &Environment) -> Result<Pins, CommandError> {
    let mut all = Pins::default();
    for file in files {
        let pins = file.on(environment)?;
        for pin in pins.pins.into_values() {
            all.add(pin)?;
        }
        all.leaving.extend(pins.leaving);
    }
    Ok(all)
}
