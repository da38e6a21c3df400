//! Where the suites lie, how their rows are counted, and which differences are known.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;

/// The folder of all suites.
#[expect(
    clippy::disallowed_methods,
    reason = "the suites lie outside the project: whoever runs them says where"
)]
fn folder() -> PathBuf {
    let folder = std::env::var_os("IMGTOOL_SUITES")
        .expect("IMGTOOL_SUITES is not set: run the suites with `make suites SUITES=<folder>`");
    let folder = PathBuf::from(folder);
    assert!(
        folder.is_dir(),
        "IMGTOOL_SUITES is {}, which is not a folder",
        folder.display()
    );
    folder
}

/// The text of one file of the suites, gzip-compressed or plain. Bytes that are not UTF-8 do not occur; lone surrogates in JSON
/// escapes do (recorded from Python) and become U+FFFD, as they would in a file that is read.
fn read(path: &str) -> String {
    let path = folder().join(path);
    let mut file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    let read = if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_string(&mut text)
    } else {
        file.read_to_string(&mut text)
    };
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    replace_lone_surrogates(&text)
}

/// Python writes an undecodable byte as `\udcXX`, which is no character.
fn replace_lone_surrogates(text: &str) -> String {
    text.split("\\udc").enumerate().fold(
        String::with_capacity(text.len()),
        |mut done, (position, part)| {
            // After a high surrogate the low one is half of a character and stays.
            let paired = done
                .len()
                .checked_sub(6)
                .and_then(|start| done.get(start..start + 4))
                .is_some_and(|escape| matches!(escape, "\\ud8" | "\\ud9" | "\\uda" | "\\udb"));
            if position > 0 {
                done.push_str(if paired { "\\udc" } else { "\\ufffd" });
            }
            done.push_str(if position > 0 && !paired {
                part.get(2..).unwrap_or("")
            } else {
                part
            });
            done
        },
    )
}

/// Where one file of the suites lies.
pub fn path_of(path: &str) -> PathBuf {
    folder().join(path)
}

/// The bytes of one file of the suites.
pub fn bytes(path: &str) -> Vec<u8> {
    let path = folder().join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files in one folder of the suites, sorted.
pub fn files(path: &str) -> Vec<PathBuf> {
    let path = folder().join(path);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// The rows of one `.jsonl.gz` file.
pub fn rows(path: &str) -> Vec<Value> {
    read(path)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}: {error}: {line}"))
        })
        .collect()
}

/// One `.json` or `.json.gz` file.
pub fn document(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text in a field of a row.
pub fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field]
        .as_str()
        .unwrap_or_else(|| panic!("`{field}` is not a text in {row}"))
}

/// Differences on purpose, as `exceptions.toml` lists them.
#[derive(Deserialize)]
struct Exceptions {
    #[serde(default)]
    exception: Vec<Exception>,
}

/// One reason and the rows that it covers; `*` in a row stands for any text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    suite: String,
    reason: String,
    rows: Vec<String>,
}

/// One suite in progress.
pub struct Suite {
    name: &'static str,
    used: usize,
    skipped: usize,
    differences: BTreeMap<String, String>,
}

impl Suite {
    /// A suite of which no row has been looked at.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            used: 0,
            skipped: 0,
            differences: BTreeMap::new(),
        }
    }

    /// A row that asks something that imgtool has no answer to give.
    pub fn skip(&mut self) {
        self.skipped += 1;
    }

    /// A row that imgtool answers: `key` names it in `exceptions.toml`.
    pub fn compare<T: PartialEq + std::fmt::Debug>(&mut self, key: &str, expected: &T, found: &T) {
        self.used += 1;
        if expected != found {
            self.differences.insert(
                key.to_owned(),
                format!("expected {expected:?}, found {found:?}"),
            );
        }
    }

    /// Fails when a difference has no exception, when an exception has no difference, and when fewer than `minimum`
    /// rows were of use (a renamed field must not turn a suite into a silent success).
    pub fn finish(self, minimum: usize) {
        println!(
            "{}: {} rows compared, {} without a question for imgtool, {} known differences",
            self.name,
            self.used,
            self.skipped,
            self.differences.len()
        );
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suites/exceptions.toml");
        let listed = fs::read_to_string(path).expect("exceptions.toml");
        let listed: Exceptions = toml::from_str(&listed).expect("exceptions.toml");
        let listed: Vec<&str> = listed
            .exception
            .iter()
            .inspect(|exception| assert!(!exception.reason.is_empty(), "a reason must be given"))
            .filter(|exception| exception.suite == self.name)
            .flat_map(|exception| exception.rows.iter().map(String::as_str))
            .collect();
        let unexpected: Vec<String> = self
            .differences
            .iter()
            .filter(|(key, _)| !listed.iter().any(|pattern| matches(pattern, key)))
            .map(|(key, difference)| format!("{key:?}: {difference}"))
            .collect();
        let stale: Vec<&&str> = listed
            .iter()
            .filter(|pattern| !self.differences.keys().any(|key| matches(pattern, key)))
            .collect();
        assert!(
            unexpected.is_empty(),
            "{}: {} rows differ and are not in exceptions.toml:\n{}",
            self.name,
            unexpected.len(),
            unexpected
                .iter()
                .take(60)
                .cloned()
                .collect::<Vec<_>>()
                .join("\n")
        );
        assert!(
            stale.is_empty(),
            "{}: exceptions that no longer differ: {stale:#?}",
            self.name
        );
        assert!(
            self.used >= minimum,
            "{}: only {} rows were of use, at least {minimum} are expected",
            self.name,
            self.used
        );
    }
}

/// Whether `text` is `pattern`, in which each `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    text.strip_prefix(start).is_some_and(|text| {
        text.char_indices()
            .map(|(position, _)| position)
            .chain([text.len()])
            .any(|position| matches(rest, &text[position..]))
    })
}
