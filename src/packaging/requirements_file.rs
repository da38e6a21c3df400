//! Requirements files, as pip reads them.
//!
//! Format: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>. No I/O: files that a file includes are
//! named, and whoever reads files reads them. Options that would change the answer and that imgtool does not have are
//! errors, never passed over in silence.

use std::str::FromStr;

use super::requirement::{Requirement, RequirementError, presentable};

/// One meaningful line of a requirements file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A requirement. Its `--hash` options, if it has any, are in `hashes` as `algorithm:hex`.
    Requirement {
        /// The requirement.
        requirement: Requirement,
        /// What the file allows its files to hash to.
        hashes: Vec<String>,
    },
    /// `-r FILE`: more requirements, relative to this file.
    Include(String),
    /// `-c FILE`: constraints, relative to this file.
    Constraints(String),
    /// `-i URL`: the index to use.
    IndexUrl(String),
    /// `--extra-index-url URL`: one more index.
    ExtraIndexUrl(String),
    /// `-f DIR` or `-f URL`: files beside the indexes, a folder relative to this file.
    FindLinks(String),
    /// `--no-index`: only files beside the indexes.
    NoIndex,
    /// An option that asks for what imgtool does anyway, or for what has no bearing on the answer.
    Ignored(String),
}

/// A line that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LineError {
    /// Not a requirement.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
    /// An option that imgtool does not have.
    #[error("the option `{0}` is not supported in a requirements file")]
    Option(String),
    /// An option without the value that it needs.
    #[error("the option `{0}` needs a value")]
    MissingValue(String),
    /// Something that is installed from where it lies, not from an index.
    #[error("`{0}` is a path or an address, not a version on an index")]
    Direct(String),
}

/// Parses the text of a requirements file into its meaningful lines, each with its line number (from 1; of a continued
/// line, the first).
///
/// # Errors
/// The first line that cannot be used, with its number.
pub fn parse(text: &str) -> Result<Vec<(usize, Line)>, (usize, LineError)> {
    parse_each(text)
        .into_iter()
        .map(|(number, line)| match line {
            Ok(line) => Ok((number, line)),
            Err(error) => Err((number, error)),
        })
        .collect()
}

/// The same where a line that cannot be used does not spoil the others.
#[must_use]
pub fn parse_each(text: &str) -> Vec<(usize, Result<Line, LineError>)> {
    let mut lines = Vec::new();
    let mut physical = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate();
    while let Some((number, first)) = physical.next() {
        let mut logical = String::new();
        let mut part = first;
        // A comment line inside a continued line ends nothing; a backslash in a comment continues nothing.
        loop {
            if part.trim_start().starts_with('#') {
                if logical.is_empty() {
                    break;
                }
            } else if let Some(continued) = part.strip_suffix('\\') {
                logical.push_str(continued);
            } else {
                logical.push_str(part);
                break;
            }
            match physical.next() {
                Some((_, next)) => part = next,
                None => break,
            }
        }
        let logical = without_comment(&logical).trim();
        if logical.is_empty() {
            continue;
        }
        lines.push((number + 1, parse_line(logical)));
    }
    lines
}

/// Cuts a comment: a `#` at the beginning or after white space.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (position, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            return &line[..position];
        }
        before = character;
    }
    line
}

fn parse_line(line: &str) -> Result<Line, LineError> {
    if !line.starts_with('-') {
        return parse_requirement(line);
    }
    let (option, value) = line
        .split_once(|character: char| character == '=' || character.is_whitespace())
        .map_or((line, ""), |(option, value)| (option, value.trim()));
    // Short options may be written together with their value.
    let (option, value) = match option.get(..2) {
        Some(short) if !option.starts_with("--") && option.len() > 2 => (short, option[2..].trim()),
        _ => (option, value),
    };
    let with_value = |make: fn(String) -> Line| {
        if value.is_empty() {
            Err(LineError::MissingValue(option.to_owned()))
        } else {
            Ok(make(value.trim_matches(['"', '\'']).to_owned()))
        }
    };
    match option {
        "-r" | "--requirement" => with_value(Line::Include),
        "-c" | "--constraint" => with_value(Line::Constraints),
        "-i" | "--index-url" | "--pypi-url" => with_value(Line::IndexUrl),
        "--extra-index-url" => with_value(Line::ExtraIndexUrl),
        "-f" | "--find-links" => with_value(Line::FindLinks),
        "--no-index" => Ok(Line::NoIndex),
        // Only wheels are installed anyway; hashes are checked anyway; the rest concerns the transport.
        "--only-binary" | "--prefer-binary" | "--require-hashes" | "--trusted-host"
        | "--use-feature" => Ok(Line::Ignored(line.to_owned())),
        "-e" | "--editable" => Err(LineError::Direct(presentable(value))),
        _ => Err(LineError::Option(option.to_owned())),
    }
}

fn parse_requirement(line: &str) -> Result<Line, LineError> {
    let mut hashes = Vec::new();
    let requirement = match line.find(" --") {
        None => line,
        Some(start) => {
            let mut options = line[start..].split_whitespace();
            while let Some(option) = options.next() {
                let (name, value) = option.split_once('=').unwrap_or((option, ""));
                if name != "--hash" {
                    return Err(LineError::Option(name.to_owned()));
                }
                let value = if value.is_empty() {
                    options.next().unwrap_or_default()
                } else {
                    value
                };
                if value.is_empty() {
                    return Err(LineError::MissingValue(name.to_owned()));
                }
                hashes.push(value.to_owned());
            }
            line[..start].trim_end()
        }
    };
    let looks_like_a_place = requirement.starts_with(['.', '/', '~'])
        || requirement.starts_with("file:")
        || [".whl", ".tar.gz", ".zip"]
            .iter()
            .any(|suffix| requirement.ends_with(suffix))
        || (requirement.contains("://") && !requirement.contains('@'))
        || requirement.starts_with("git+");
    if looks_like_a_place {
        return Err(LineError::Direct(presentable(requirement)));
    }
    Ok(Line::Requirement {
        requirement: Requirement::from_str(requirement)?,
        hashes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_pip_reads_it() {
        let text = "\u{feff}# a comment \\\nmlflow-skinny>=3 \\\n  # inside\n  ,<4 # why\n\n-r more.txt\n--constraint=c.txt\n\
                    -cd.txt\n-i https://user@host.invalid/simple\nflask==1.0 \\\n --hash=sha256:aa \\\n --hash sha256:bb\n--prefer-binary\n-f ./wheels\n--find-links=https://h.invalid/l\n--no-index\nfoo[bar]#not-a-comment\n";
        let error = parse(text).expect_err("the last line is no requirement");
        assert_eq!(error.0, 17);
        let lines = parse(
            text.strip_suffix("foo[bar]#not-a-comment\n")
                .expect("a suffix"),
        )
        .expect("lines");
        let shown: Vec<String> = lines
            .iter()
            .map(|(number, line)| match line {
                Line::Requirement {
                    requirement,
                    hashes,
                } => format!("{number} {requirement} {hashes:?}"),
                other => format!("{number} {other:?}"),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "2 mlflow-skinny>=3,<4 []",
                "6 Include(\"more.txt\")",
                "7 Constraints(\"c.txt\")",
                "8 Constraints(\"d.txt\")",
                "9 IndexUrl(\"https://user@host.invalid/simple\")",
                "10 flask==1.0 [\"sha256:aa\", \"sha256:bb\"]",
                "13 Ignored(\"--prefer-binary\")",
                "14 FindLinks(\"./wheels\")",
                "15 FindLinks(\"https://h.invalid/l\")",
                "16 NoIndex",
            ]
        );
    }

    #[test]
    fn what_would_change_the_answer_is_refused() {
        for (text, message) in [
            (
                "--no-binary :all:",
                "the option `--no-binary` is not supported in a requirements file",
            ),
            (
                "--pre",
                "the option `--pre` is not supported in a requirements file",
            ),
            ("-r", "the option `-r` needs a value"),
            (
                "-e .",
                "`.` is a path or an address, not a version on an index",
            ),
            (
                "./wheels/a-1.whl",
                "`./wheels/a-1.whl` is a path or an address, not a version on an index",
            ),
            (
                "a --global-option=x",
                "the option `--global-option` is not supported in a requirements file",
            ),
        ] {
            let (number, error) = parse(&format!("\n{text}\n")).expect_err(text);
            assert_eq!((number, error.to_string().as_str()), (2, message));
        }
    }
}
