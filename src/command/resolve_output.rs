//! The forms that the answer of `imgtool resolve` has, and which of them goes where.

use std::collections::BTreeMap;
use std::path::Path;

use crate::environment::Environment;
use crate::package_index::IndexClient;
use crate::report::annotations::Annotations;
use crate::report::invocation::Invocation;
use crate::report::pylock::is_lock_name;
use crate::report::{BaseLabel, constraints, json, pylock, requirements, text};
use crate::resolution::base::BaseFacts;
use crate::resolution::{Frontier, Outcome, Policy, Request};

use super::file::write_text;
use super::{CommandError, ExitStatus, Talk};

/// A form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table for people.
    Text,
    /// JSON v1.
    Json,
    /// A requirements file with hashes.
    Requirements,
    /// A constraints file of the whole resulting environment.
    Constraints,
    /// A lock file, `pylock.toml`.
    Pylock,
}

impl Format {
    /// The form that the name of a file asks for: `.json` is JSON, `.toml` a lock file, `constraint….txt` constraints,
    /// and everything else a requirements file.
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().to_ascii_lowercase())
            .unwrap_or_default();
        match name.rsplit_once('.') {
            Some((_, "json")) => Self::Json,
            Some((_, "toml")) => Self::Pylock,
            Some((_, "txt")) if name.starts_with("constraint") => Self::Constraints,
            _ => Self::Requirements,
        }
    }

    /// Whether the form holds one answer and nothing else: a file that an installer takes.
    fn is_for_installers(self) -> bool {
        matches!(self, Self::Requirements | Self::Constraints | Self::Pylock)
    }
}

/// What goes to stdout, and what to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forms {
    /// The form on stdout.
    pub stdout: Format,
    /// The form in the file that is named, should one be.
    pub file: Format,
}

impl Forms {
    /// What was asked for: `format` says the form of the file where there is one, and of stdout where there is none.
    ///
    /// # Errors
    /// When the several answers of a frontier are to go into a file of pins.
    pub fn choose(
        format: Option<Format>,
        output: Option<&Path>,
        frontier: bool,
    ) -> Result<Self, CommandError> {
        if frontier && format.is_some_and(Format::is_for_installers) {
            return Err(CommandError::FrontierForm);
        }
        let Some(path) = output else {
            let stdout = format.unwrap_or(Format::Text);
            return Ok(Self {
                stdout,
                file: stdout,
            });
        };
        let file = match format.unwrap_or_else(|| Format::of_file(path)) {
            form if frontier && form.is_for_installers() => Format::Text,
            form => form,
        };
        Ok(Self {
            stdout: Format::Text,
            file,
        })
    }
}

/// The answer: to a request, or to the question what there is to have for more changes.
pub enum Found {
    /// Whether the request fits, and how.
    Outcome(Outcome),
    /// All answers worth choosing among.
    Frontier(Frontier),
}

impl Found {
    /// What the program exits with.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        let is_yes = match self {
            Self::Outcome(outcome) => matches!(outcome, Outcome::Resolution(_)),
            Self::Frontier(frontier) => !frontier.rows.is_empty(),
        };
        if is_yes {
            ExitStatus::Success
        } else {
            ExitStatus::No
        }
    }
}

/// What an answer is about, for every form of it.
pub struct Writer<'a> {
    /// What was asked for.
    pub request: &'a Request,
    /// The command line, for answers that name another.
    pub invocation: &'a Invocation,
    /// What of the base might change.
    pub policy: &'a Policy,
    /// What the base is called.
    pub label: &'a BaseLabel,
    /// What is installed in it.
    pub environment: &'a Environment,
    /// What its distributions say of each other.
    pub base: &'a BaseFacts<'a>,
    /// The index that was asked.
    pub index: &'a IndexClient,
    /// What a person should know before using the answer.
    pub warnings: &'a [String],
    /// Whether each line of a file of pins says who needs it.
    pub annotate: bool,
    /// Width of the terminal in cells; `None` where there is none.
    pub width: Option<usize>,
}

impl Writer<'_> {
    /// The answer in the form `format`; empty where that form has no place for it. May carry ANSI styles.
    ///
    /// # Errors
    /// When the index has not told what the form must have.
    pub fn write(&self, found: &Found, format: Format) -> Result<String, CommandError> {
        match found {
            Found::Outcome(outcome) => self.write_outcome(outcome, format),
            Found::Frontier(frontier) => Ok(self.write_frontier(frontier, format)),
        }
    }

    fn write_outcome(&self, outcome: &Outcome, format: Format) -> Result<String, CommandError> {
        let (label, environment) = (self.label, self.environment);
        let resolution = match outcome {
            Outcome::Resolution(resolution) => resolution,
            Outcome::Conflict(conflict) => {
                return Ok(match format {
                    Format::Json => self.json(outcome),
                    Format::Text => text::conflict::conflict(
                        conflict,
                        self.request,
                        self.policy,
                        self.invocation,
                        label,
                        environment,
                    ),
                    // Whoever expects a file of pins must not get prose in it.
                    Format::Requirements | Format::Constraints | Format::Pylock => String::new(),
                });
            }
        };
        let annotations = self
            .annotate
            .then(|| Annotations::of(resolution, self.request, self.base));
        Ok(match format {
            Format::Json => self.json(outcome),
            Format::Text => {
                text::resolution::resolution(resolution, label, environment, self.width)
            }
            Format::Requirements => {
                requirements::requirements(resolution, label, environment, annotations.as_ref())?
            }
            Format::Constraints => {
                constraints::constraints(resolution, label, environment, annotations.as_ref())
            }
            Format::Pylock => {
                let indexes: BTreeMap<_, _> = resolution
                    .pins()
                    .into_iter()
                    .filter_map(|pin| Some((pin.name.clone(), self.index.index_of(&pin.name)?)))
                    .collect();
                pylock::pylock(resolution, label, environment, &indexes)?
            }
        })
    }

    fn json(&self, outcome: &Outcome) -> String {
        let requested: Vec<String> = self
            .request
            .requirements
            .iter()
            .map(|requested| requested.requirement.without_marker().to_string())
            .collect();
        json::v1::resolve(
            outcome,
            &requested,
            self.policy,
            self.label,
            self.environment,
            self.warnings,
        )
    }

    fn write_frontier(&self, frontier: &Frontier, format: Format) -> String {
        if format == Format::Json {
            json::frontier::frontier(
                frontier,
                self.policy,
                self.label,
                self.environment,
                &self.base.broken,
                self.warnings,
            )
        } else {
            text::frontier::frontier(frontier, self.label, self.environment, self.width)
        }
    }

    /// Writes the answer to a file, whole; a "no" leaves the file as it was. Gives back what is to be told of it.
    ///
    /// # Errors
    /// When the file cannot be written, or as [`Writer::write`].
    pub fn write_file(
        &self,
        found: &Found,
        format: Format,
        path: &Path,
    ) -> Result<Vec<Talk>, CommandError> {
        if found.status() != ExitStatus::Success {
            return Ok(vec![nothing_written(path)]);
        }
        let without_width = Writer {
            width: None,
            ..*self
        };
        let data = without_width.write(found, format)?;
        // A file is no terminal.
        write_text(path, &anstream::adapter::strip_str(&data).to_string())?;
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut talk = Vec::new();
        if format == Format::Pylock && !is_lock_name(&name) {
            talk.push(Talk::Warning(format!(
                "installers do not take `{name}` for a lock file: the name is `pylock.toml` or `pylock.NAME.toml`"
            )));
        }
        Ok(talk)
    }
}

/// What the forms of an answer cannot carry out by themselves.
#[must_use]
pub fn left_to_do(found: &Found, forms: Forms) -> Vec<Talk> {
    let Found::Outcome(Outcome::Resolution(resolution)) = found else {
        return Vec::new();
    };
    let is_written = |format| forms.stdout == format || forms.file == format;
    let mut talk = Vec::new();
    if !resolution.removed.is_empty()
        && (is_written(Format::Requirements) || is_written(Format::Pylock))
    {
        let names: Vec<String> = resolution
            .removed
            .iter()
            .map(|removal| removal.name.to_string())
            .collect();
        talk.push(Talk::Warning(format!(
            "no such file removes anything: run `pip uninstall -y {}` first",
            names.join(" ")
        )));
    }
    if is_written(Format::Pylock) {
        talk.extend(pylock::taken_for_new(resolution).map(|change| {
            Talk::Warning(format!(
                "pip takes {} {} for {} in a lock file: it needs `--force-reinstall` to change it, uv does not",
                change.to.name, change.from, change.to.version
            ))
        }));
    }
    talk
}

fn nothing_written(path: &Path) -> Talk {
    let left = if path.exists() {
        "left as it was"
    } else {
        "not written"
    };
    Talk::Note(format!(
        "`{}` is {left}: there is nothing to install",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_ask_for_a_form() {
        for (name, format) in [
            ("a/answer.json", Format::Json),
            ("ANSWER.JSON", Format::Json),
            ("pylock.toml", Format::Pylock),
            ("out/pylock.tfx.toml", Format::Pylock),
            ("lock.toml", Format::Pylock),
            ("constraints.txt", Format::Constraints),
            ("constraint-tfx.txt", Format::Constraints),
            ("constraints/pins.txt", Format::Requirements),
            ("constraints.in", Format::Requirements),
            ("pins.txt", Format::Requirements),
            ("pins", Format::Requirements),
            ("", Format::Requirements),
        ] {
            assert_eq!(Format::of_file(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn a_form_that_is_named_is_that_of_the_file_where_there_is_one() {
        let choose = |format, output: Option<&str>, frontier| {
            Forms::choose(format, output.map(Path::new), frontier)
                .map(|forms| (forms.stdout, forms.file))
                .ok()
        };
        for (format, output, stdout, file) in [
            (None, None, Format::Text, Format::Text),
            (Some(Format::Json), None, Format::Json, Format::Json),
            (None, Some("x.json"), Format::Text, Format::Json),
            (
                Some(Format::Pylock),
                Some("x.json"),
                Format::Text,
                Format::Pylock,
            ),
        ] {
            assert_eq!(choose(format, output, false), Some((stdout, file)));
        }
        assert_eq!(choose(Some(Format::Pylock), None, true), None);
        let table = Some((Format::Text, Format::Text));
        assert_eq!(choose(None, Some("table.txt"), true), table);
        let json = Some((Format::Text, Format::Json));
        assert_eq!(choose(None, Some("x.json"), true), json);
    }
}
