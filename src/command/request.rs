//! From arguments and files to a request.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::environment::Environment;
use crate::package_index::IndexSettings;
use crate::packaging::Requirement;
use crate::packaging::requirement::presentable;
use crate::packaging::requirements_file::{self, Line};
use crate::resolution::request::{Request, Requested};

use super::file::read_text;
use super::{CommandError, Talk};

/// How deep requirements files may include one another.
const DEEPEST_INCLUDE: usize = 64;

/// What the user asked for, before markers are evaluated.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    requirements: Vec<Requested>,
    constraints: Vec<Requested>,
    overrides: Vec<Requested>,
    /// Files that were read, and what for: a second time they would say the same.
    read: BTreeSet<(PathBuf, Role)>,
    /// Indexes that requirements files name: the last `--index-url`, and every `--extra-index-url`.
    pub index_url: Option<String>,
    /// See `index_url`.
    pub extra_index_urls: Vec<String>,
    /// Places with files beside the indexes that requirements files name.
    pub find_links: Vec<String>,
    /// Whether a requirements file says that no index is to be asked.
    pub no_index: bool,
    /// What a person should know about how the files were read.
    pub talk: Vec<Talk>,
}

/// Environment variables by name, handed in.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Puts the values of variables in the place of `${NAME}`, as pip does: names in upper case only, and what is not set
/// stays as it is. So credentials of an index need not stand in a file.
fn expand(text: &str, variables: &Variables) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let name = &rest[start + 2..];
        let length = name
            .bytes()
            .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
            .count();
        let value = (length > 0 && name[length..].starts_with('}'))
            .then(|| variables(&name[..length]))
            .flatten();
        let end = start + 2 + length;
        if let Some(value) = value {
            expanded.push_str(&rest[..start]);
            expanded.push_str(&value);
            rest = &rest[end + 1..];
        } else {
            expanded.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    expanded.push_str(rest);
    expanded
}

/// What kind of lines a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Requirements,
    Constraints,
    Overrides,
}

impl Asked {
    /// Reads requirements from the command line, then from files (`-r`), then constraints from files (`-c`).
    ///
    /// # Errors
    /// The first thing that cannot be read.
    pub fn read(
        arguments: &[String],
        requirement_files: &[PathBuf],
        constraint_files: &[PathBuf],
        variables: &Variables,
    ) -> Result<Self, CommandError> {
        let mut asked = Self::default();
        for argument in arguments {
            asked
                .requirements
                .push(Requested::on_command_line(Requirement::from_str(argument)?));
        }
        for path in requirement_files {
            asked.read_file(path, Role::Requirements, &mut Vec::new(), variables)?;
        }
        for path in constraint_files {
            asked.read_file(path, Role::Constraints, &mut Vec::new(), variables)?;
        }
        Ok(asked)
    }

    /// Whether nothing is required.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Reads overrides from files (`--override`): each stands in the place of every requirement on its project.
    ///
    /// # Errors
    /// The first thing that cannot be read.
    pub fn read_overrides(
        &mut self,
        files: &[PathBuf],
        variables: &Variables,
    ) -> Result<(), CommandError> {
        for path in files {
            self.read_file(path, Role::Overrides, &mut Vec::new(), variables)?;
        }
        Ok(())
    }

    fn read_file(
        &mut self,
        path: &Path,
        role: Role,
        above: &mut Vec<PathBuf>,
        variables: &Variables,
    ) -> Result<(), CommandError> {
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if above.contains(&real) {
            return Err(CommandError::IncludeLoop(path.to_owned()));
        }
        if above.len() >= DEEPEST_INCLUDE {
            return Err(CommandError::IncludeDepth(path.to_owned()));
        }
        if !self.read.insert((real.clone(), role)) {
            return Ok(());
        }
        above.push(real);
        let at = |line, reason: String| CommandError::Line {
            path: path.to_owned(),
            line,
            reason,
        };
        let text = expand(&read_text(path)?, variables);
        let lines =
            requirements_file::parse(&text).map_err(|(line, error)| at(line, error.to_string()))?;
        let beside = |name: &str| path.parent().unwrap_or(Path::new("")).join(name);
        let mut with_hashes = 0;
        for (number, line) in lines {
            match line {
                Line::Requirement {
                    requirement,
                    hashes,
                } => {
                    with_hashes += usize::from(!hashes.is_empty());
                    if role == Role::Constraints && !requirement.extras.is_empty() {
                        return Err(at(
                            number,
                            format!("`{requirement}`: a constraint cannot have extras"),
                        ));
                    }
                    if role == Role::Overrides && requirement.url.is_some() {
                        return Err(at(
                            number,
                            format!(
                                "`{}`: an override cannot be a direct reference",
                                requirement.name
                            ),
                        ));
                    }
                    let requested = Requested {
                        requirement,
                        origin: Some(format!("{}:{number}", path.display())),
                    };
                    match role {
                        Role::Requirements => self.requirements.push(requested),
                        Role::Constraints => self.constraints.push(requested),
                        Role::Overrides => self.overrides.push(requested),
                    }
                }
                Line::Include(name) => self
                    .read_file(&beside(&name), role, above, variables)
                    .map_err(|error| included(error, &at, number))?,
                Line::Constraints(name) => self
                    .read_file(&beside(&name), Role::Constraints, above, variables)
                    .map_err(|error| included(error, &at, number))?,
                Line::IndexUrl(url) => self.index_url = Some(url),
                Line::ExtraIndexUrl(url) => self.extra_index_urls.push(url),
                Line::NoIndex => self.no_index = true,
                // As pip has it: relative to this file where it is there, else to the working folder.
                Line::FindLinks(place) => self.find_links.push(match beside(&place).to_str() {
                    Some(beside) if !place.contains(':') && Path::new(beside).exists() => {
                        beside.to_owned()
                    }
                    _ => place,
                }),
                Line::Ignored(_) => {}
            }
        }
        if with_hashes > 0 {
            self.talk.push(Talk::Warning(format!(
                "`{}` has hashes for {with_hashes} of its requirements: they are not compared, those of the index are written",
                path.display()
            )));
        }
        above.pop();
        Ok(())
    }

    /// All that is asked, in lines that are the same for the same question wherever it was read from.
    #[must_use]
    pub fn to_lines(&self) -> String {
        let mut text = String::new();
        for (kind, list) in [
            ("requirement", &self.requirements),
            ("constraint", &self.constraints),
            ("override", &self.overrides),
        ] {
            for requested in list {
                let _ = writeln!(text, "{kind}: {}", requested.requirement);
            }
        }
        let index = self.index_url.iter().map(|url| ("index-url", url));
        let extra = self.extra_index_urls.iter();
        let extra = extra.map(|url| ("extra-index-url", url));
        let links = self.find_links.iter().map(|place| ("find-links", place));
        for (kind, place) in index.chain(extra).chain(links) {
            let _ = writeln!(text, "{kind}: {}", presentable(place));
        }
        if self.no_index {
            text.push_str("no-index\n");
        }
        text
    }

    /// `settings`, and beside what they name what requirements files do; an `--index-url` of these takes the place of
    /// the other.
    #[must_use]
    pub fn indexes(&self, settings: &IndexSettings) -> IndexSettings {
        let mut settings = settings.clone();
        if let Some(url) = &self.index_url {
            settings.index_url = Some(url.clone());
        }
        let extra = self.extra_index_urls.iter().cloned();
        settings.extra_index_urls.extend(extra);
        settings.find_links.extend(self.find_links.iter().cloned());
        if self.no_index {
            settings.index_url = None;
            settings.extra_index_urls.clear();
        }
        settings
    }

    /// The request for `environment`: requirements whose markers do not hold there are left out, and said to be.
    #[must_use]
    pub fn on(&self, environment: &Environment) -> (Request, Vec<Talk>) {
        let mut talk = Vec::new();
        let mut left_out = Vec::new();
        let requirements: Vec<Requested> = self
            .requirements
            .iter()
            .flat_map(|requested| self.overridden(requested, environment, &mut left_out))
            .filter(|requested| {
                let applies = requested.requirement.applies(&environment.markers);
                if !applies {
                    talk.push(Talk::Note(format!(
                        "`{}` does not apply to Python {} on this base and is left out",
                        requested.requirement, environment.interpreter.version
                    )));
                }
                applies
            })
            .collect();
        talk.extend(left_out);
        let applying = |list: &[Requested]| {
            list.iter()
                .filter(|requested| requested.requirement.applies(&environment.markers))
                .cloned()
                .collect()
        };
        (
            Request {
                requirements,
                constraints: applying(&self.constraints),
                overrides: self.overrides.clone(),
                ..Request::default()
            },
            talk,
        )
    }
}

impl Asked {
    /// What stands in the place of a requirement of the request: itself, or the overrides of its project, as uv has it.
    /// One whose marker does not hold stays as it is, to be left out for that.
    fn overridden(
        &self,
        requested: &Requested,
        environment: &Environment,
        talk: &mut Vec<Talk>,
    ) -> Vec<Requested> {
        let requirement = &requested.requirement;
        let mut overrides = self
            .overrides
            .iter()
            .filter(|other| other.requirement.name == requirement.name)
            .peekable();
        if overrides.peek().is_none() || !requirement.applies(&environment.markers) {
            return vec![requested.clone()];
        }
        let standing: Vec<Requested> = overrides
            .filter(|other| other.requirement.applies(&environment.markers))
            .cloned()
            .collect();
        let texts: Vec<String> = standing
            .iter()
            .map(|other| format!("`{}`", other.requirement.without_marker()))
            .collect();
        talk.push(Talk::Note(if texts.is_empty() {
            format!(
                "`{requirement}` is overridden by what does not apply to this base, and left out"
            )
        } else {
            format!("`{requirement}` is overridden by {}", texts.join(" and "))
        }));
        standing
    }
}

/// Where the name of a file that cannot be read stands.
fn included(
    error: CommandError,
    at: &impl Fn(usize, String) -> CommandError,
    line: usize,
) -> CommandError {
    match error {
        CommandError::ReadFile { .. } => at(line, error.to_string()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::file::write_text;

    fn none() -> Variables {
        Arc::new(|_| None)
    }

    #[test]
    fn variables_are_expanded_as_pip_does() {
        let variables: Variables =
            Arc::new(|name| (name == "TOKEN_1").then(|| "s3cret".to_owned()));
        assert_eq!(
            expand(
                "-i https://u:${TOKEN_1}@h/ ${OTHER} ${lower} ${TOKEN_1 $TOKEN_1 ${",
                &variables
            ),
            "-i https://u:s3cret@h/ ${OTHER} ${lower} ${TOKEN_1 $TOKEN_1 ${"
        );
    }

    #[test]
    fn files_include_files_and_a_loop_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            write_text(&path, text).expect("written");
            path
        };
        let main = write(
            "main.txt",
            "a>=1\n-r more.txt\n-c bounds.txt\n--extra-index-url https://x.invalid/\n",
        );
        write("more.txt", "b\n");
        write("bounds.txt", "c<2\n");
        let asked = Asked::read(&["z".to_owned()], std::slice::from_ref(&main), &[], &none())
            .expect("read");
        let names: Vec<String> = asked
            .requirements
            .iter()
            .map(|requested| requested.requirement.to_string())
            .collect();
        assert_eq!(names, ["z", "a>=1", "b"]);
        assert_eq!(asked.constraints[0].requirement.to_string(), "c<2");
        assert_eq!(asked.extra_index_urls, ["https://x.invalid/"]);
        let folder_of_it = folder.path().join("wheels");
        std::fs::create_dir(&folder_of_it).expect("a folder");
        let links = write(
            "links.txt",
            "a\n-f wheels\n-f elsewhere\n-f https://x.invalid/l\n",
        );
        let asked_too = Asked::read(&[], &[links], &[], &none()).expect("read");
        let beside = folder_of_it.display().to_string();
        assert_eq!(
            asked_too.find_links,
            [beside.as_str(), "elsewhere", "https://x.invalid/l"]
        );
        let settings = asked_too.indexes(&IndexSettings {
            find_links: vec!["first".to_owned()],
            ..IndexSettings::default()
        });
        assert_eq!(settings.find_links[0], "first");
        assert_eq!(settings.find_links.len(), 4);
        assert!(settings.index_url.is_some());
        let alone = write("alone.txt", "a\n--no-index\n");
        let settings = Asked::read(&[], &[alone], &[], &none())
            .expect("read")
            .indexes(&IndexSettings::default());
        assert_eq!(settings.index_url, None);

        write("more.txt", "-r main.txt\n");
        let error = Asked::read(&[], &[main], &[], &none()).expect_err("a loop");
        assert!(matches!(error, CommandError::IncludeLoop(_)), "{error}");

        for depth in 1..=DEEPEST_INCLUDE {
            let below = depth - 1;
            write(
                &format!("deep-{depth}.txt"),
                &format!("-r deep-{below}.txt\n"),
            );
        }
        write("deep-0.txt", "a\n");
        let deepest = |depth: usize| {
            Asked::read(
                &[],
                &[folder.path().join(format!("deep-{depth}.txt"))],
                &[],
                &none(),
            )
        };
        let asked = deepest(DEEPEST_INCLUDE - 1).expect("deep enough");
        assert_eq!(asked.requirements.len(), 1);
        let error = deepest(DEEPEST_INCLUDE).expect_err("too deep");
        assert!(matches!(error, CommandError::IncludeDepth(_)), "{error}");

        let bad = write("bad.txt", "a\nb >= banana\n");
        let error = Asked::read(&[], std::slice::from_ref(&bad), &[], &none()).expect_err("bad");
        assert!(
            error
                .to_string()
                .contains("line 2: `b >= banana` is not a requirement"),
            "{error}"
        );
        let error = Asked::read(
            &["a".to_owned()],
            &[],
            &[folder.path().join("absent.txt")],
            &none(),
        )
        .expect_err("absent");
        assert!(error.to_string().contains("absent.txt"), "{error}");
        let nothing = Asked::read(&[], &[], &[], &none()).expect("nothing");
        assert!(nothing.is_empty());
    }
}
