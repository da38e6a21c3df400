//! `entry_points.txt`: what a distribution offers by name, above all the scripts that an installer makes.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/entry-points/>.

use std::collections::BTreeMap;

/// The scripts of a distribution, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    /// The group `console_scripts`.
    pub console: BTreeMap<String, ObjectReference>,
    /// The group `gui_scripts`.
    pub gui: BTreeMap<String, ObjectReference>,
}

/// What a script calls: `module:attribute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectReference {
    /// Dotted name of the module.
    pub module: String,
    /// Dotted name of the object in the module, without parameters.
    pub attribute: String,
}

/// Entry points of which no scripts can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryPointsError {
    /// Bytes that are not UTF-8.
    #[error("entry_points.txt is not UTF-8")]
    NotUtf8,
    /// A line in a group of scripts without `=`.
    #[error("line {line} of entry_points.txt, `{text}`, has no `=`")]
    NoReference {
        /// Number of the line, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A name that is not that of one file in the folder of scripts.
    #[error("the script name `{0}` in entry_points.txt is not that of a file")]
    ScriptName(String),
    /// A reference to something that cannot be called.
    #[error(
        "the script `{name}` in entry_points.txt calls `{reference}`, which is not of the form `module:function`"
    )]
    Reference {
        /// Name of the script.
        name: String,
        /// What it shall call.
        reference: String,
    },
    /// One name for two scripts that call different things.
    #[error("entry_points.txt has two scripts with the name `{0}`")]
    Twice(String),
}

impl Scripts {
    /// Reads the groups `console_scripts` and `gui_scripts`; the other groups are not looked at.
    ///
    /// Lines are read as `importlib.metadata` reads them, comments begin with `#` or `;`. The extras behind a reference
    /// mean nothing any more and are passed over. A name that is given twice for the same thing is fine.
    ///
    /// # Errors
    /// [`EntryPointsError`]: what pip, pypa/installer or uv would not make a script of, and what they would not agree on.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryPointsError> {
        let text = std::str::from_utf8(bytes).map_err(|_| EntryPointsError::NotUtf8)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut scripts = Self::default();
        let mut group = "";
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                group = name;
                continue;
            }
            let (scripts, others) = match group {
                "console_scripts" => (&mut scripts.console, &scripts.gui),
                "gui_scripts" => (&mut scripts.gui, &scripts.console),
                _ => continue,
            };
            let (name, reference) =
                line.split_once('=')
                    .ok_or_else(|| EntryPointsError::NoReference {
                        line: number + 1,
                        text: line.to_owned(),
                    })?;
            let (name, reference) = (name.trim_end(), reference.trim_start());
            if !is_script_name(name) {
                return Err(EntryPointsError::ScriptName(name.to_owned()));
            }
            let reference =
                ObjectReference::parse(reference).ok_or_else(|| EntryPointsError::Reference {
                    name: name.to_owned(),
                    reference: reference.to_owned(),
                })?;
            if others.get(name).is_some_and(|other| *other != reference)
                || scripts
                    .insert(name.to_owned(), reference.clone())
                    .is_some_and(|before| before != reference)
            {
                return Err(EntryPointsError::Twice(name.to_owned()));
            }
        }
        Ok(scripts)
    }
}

/// The names of the scripts of a distribution that is installed: what somebody else made of its `entry_points.txt`, so that
/// lines of which [`Scripts::parse`] would make none are passed over.
#[must_use]
pub fn script_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_scripts = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']').trim();
            is_scripts = matches!(section, "console_scripts" | "gui_scripts");
        } else if is_scripts
            && !line.starts_with(['#', ';'])
            && let Some((name, _)) = line.split_once('=')
        {
            let name = name.trim();
            // A name with a slash is none of a script, and could be anything.
            if !matches!(name, "" | "." | "..") && !name.contains('/') {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// Whether `name` is that of one file: of no folder, of nothing that a shell could not start.
fn is_script_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= 255
        && !name.starts_with('[')
        && !name.contains(|character: char| {
            matches!(character, '/' | '\\') || character.is_whitespace() || character.is_control()
        })
}

impl ObjectReference {
    /// Reads `module:attribute`, with or without extras in brackets behind; `None` where either half is missing.
    fn parse(text: &str) -> Option<Self> {
        let reference = match text.split_once('[') {
            None => text,
            Some((reference, extras)) => {
                let extras = extras.strip_suffix(']')?;
                // The names are of no use here; brackets inside would mean that this is something else.
                if extras.contains(['[', ']']) {
                    return None;
                }
                reference.trim_end()
            }
        };
        let (module, attribute) = reference.split_once(':')?;
        (is_dotted_name(module) && is_dotted_name(attribute)).then(|| Self {
            module: module.to_owned(),
            attribute: attribute.to_owned(),
        })
    }
}

/// Whether `text` is names of Python with dots between.
fn is_dotted_name(text: &str) -> bool {
    text.split('.').all(|name| {
        name.chars()
            .next()
            .is_some_and(|first| first.is_alphabetic() || first == '_')
            && name
                .chars()
                .all(|character| character.is_alphanumeric() || character == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(module: &str, attribute: &str) -> ObjectReference {
        ObjectReference {
            module: module.to_owned(),
            attribute: attribute.to_owned(),
        }
    }

    #[test]
    fn entry_points_name_scripts() {
        let text = "[other]\nx = a:b\n[console_scripts]\n# y = a:b\none=a:b\n two = a:b [extra]\n../up = a:b\n\n\
                    [ gui_scripts ]\nthree = a:b\n";
        assert_eq!(script_names(text), ["one", "two", "three"]);
    }

    #[test]
    fn scripts_are_read_and_other_groups_are_not() {
        let scripts = Scripts::parse(
            b"\xef\xbb\xbf# made by hand\r\n[console_scripts]\r\nmlflow = mlflow.cli:cli\r\n ; old\n  tool=a.b:C.run [extra, more]\n\n\
              [mlflow.app]\nbasic auth = not looked at\n[gui_scripts]\nwindow = a:main\n[console_scripts]\nmlflow = mlflow.cli:cli\n",
        )
        .expect("entry points");
        assert_eq!(
            scripts.console,
            BTreeMap::from([
                ("mlflow".to_owned(), reference("mlflow.cli", "cli")),
                ("tool".to_owned(), reference("a.b", "C.run")),
            ])
        );
        assert_eq!(
            scripts.gui,
            BTreeMap::from([("window".to_owned(), reference("a", "main"))])
        );
        assert_eq!(Scripts::parse(b"").expect("none"), Scripts::default());
    }

    #[test]
    fn what_is_no_script_is_refused_and_named() {
        let error = |line: &str| {
            Scripts::parse(format!("[console_scripts]\n{line}\n").as_bytes())
                .expect_err(line)
                .to_string()
        };
        for name in [
            "../../etc/cron.d/x",
            "a/b",
            "..",
            "a\\b",
            "two words",
            "nul\0",
            "",
            "[x",
        ] {
            assert_eq!(
                error(&format!("{name} = a:b")),
                format!("the script name `{name}` in entry_points.txt is not that of a file")
            );
        }
        for reference in [
            "module",
            "a:b:c",
            "a-b:c",
            "a:b()",
            "a: b",
            "a:",
            ":b",
            "a..b:c",
            "a:b [x",
            "a:b [x] y",
            "os; import x:y",
            "1a:b",
        ] {
            assert_eq!(
                error(&format!("x = {reference}")),
                format!(
                    "the script `x` in entry_points.txt calls `{reference}`, which is not of the form `module:function`"
                )
            );
        }
        assert_eq!(
            error("alone"),
            "line 2 of entry_points.txt, `alone`, has no `=`"
        );
        assert_eq!(
            error("x = a:b\nx = a:c"),
            "entry_points.txt has two scripts with the name `x`"
        );
        assert_eq!(
            error("x = a:b\n[gui_scripts]\nx = a:c"),
            "entry_points.txt has two scripts with the name `x`"
        );
        assert_eq!(Scripts::parse(b"\xff"), Err(EntryPointsError::NotUtf8));
    }
}
