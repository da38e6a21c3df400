//! A snapshot: what is installed in one base, as a document that a person can compare with another.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The version of the format that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// What is installed in one base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Version of the format; see [`FORMAT`].
    pub format: u32,
    /// The base, such as `tfx:1.16.0`.
    pub base: String,
    /// What the snapshot was made from and what is assumed in it, as a sentence fragment.
    pub made_from: String,
    /// Digest of the image's manifest (or index, as the tag names it), where the snapshot was read from an image: the
    /// snapshot is exact as long as the tag still leads there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Minor version of Python, such as `3.10`.
    pub python: String,
    /// Full version of Python that markers are evaluated with.
    pub python_full_version: String,
    /// Suffix of the interpreter's ABI, as in `packaging::tags::TagPlatform`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub abi_flags: String,
    /// The C library that wheel tags are made for, such as `glibc 2.35`; absent where it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libc: Option<String>,
    /// Machine name as `uname -m` prints it, such as `x86_64`.
    pub architecture: String,
    /// Installation prefix inside the base, such as `/opt/conda`.
    pub prefix: String,
    /// What is doubtful, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The distributions in the order of their names.
    pub distributions: Vec<SnapshotDistribution>,
}

/// One distribution of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotDistribution {
    /// Normalized name.
    pub name: String,
    /// Version.
    pub version: String,
    /// The version as it is written, where that is another text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_text: Option<String>,
    /// Where the fields below come from.
    pub metadata_from: MetadataSource,
    /// `Requires-Python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    /// `Requires-Dist`, as it is written and in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires_dist: Vec<String>,
    /// `Provides-Extra`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides_extra: Vec<String>,
    /// Top-level import names, sorted, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub import_names: Vec<String>,
    /// Contents of `INSTALLER`, where the distribution was read from an environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installer: Option<String>,
}

/// Where the metadata of a distribution comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetadataSource {
    /// A wheel of the package index.
    Wheel,
    /// A source distribution of the package index: what it was built into may say more.
    Sdist,
    /// The environment itself.
    Environment,
    /// Nothing: only name and version are known.
    None,
}

/// A text that is not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is not JSON, or not of the shape.
    #[error("line {line}, column {column}: {message}")]
    Malformed {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// It was written by another version of the program.
    #[error("format {found} is not known (this program reads format {FORMAT})")]
    UnknownFormat {
        /// The format that it says it has.
        found: u32,
    },
}

impl Snapshot {
    /// Reads a snapshot.
    ///
    /// # Errors
    /// When the text is not a snapshot of the format that this program knows.
    pub fn parse(text: &str) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        let malformed = |error: &serde_json::Error| {
            let message = error.to_string();
            // The library repeats the place at the end of its message.
            let end = message.rfind(" at line ").unwrap_or(message.len());
            SnapshotError::Malformed {
                line: error.line(),
                column: error.column(),
                message: message[..end].to_owned(),
            }
        };
        match serde_json::from_str::<Self>(text) {
            Ok(snapshot) if snapshot.format == FORMAT => Ok(snapshot),
            Ok(snapshot) => Err(SnapshotError::UnknownFormat {
                found: snapshot.format,
            }),
            // A snapshot of another format fails on its fields first; its format is the better answer.
            Err(error) => match serde_json::from_str::<Header>(text) {
                Ok(header) if header.format != FORMAT => Err(SnapshotError::UnknownFormat {
                    found: header.format,
                }),
                _ => Err(malformed(&error)),
            },
        }
    }

    /// The snapshot as a document: one field or distribution a line, so that two of them can be compared by line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut fields: Vec<(&str, String)> = vec![
            ("format", self.format.to_string()),
            ("base", json(&self.base)),
            ("made_from", json(&self.made_from)),
        ];
        if let Some(digest) = &self.digest {
            fields.push(("digest", json(digest)));
        }
        fields.push(("python", json(&self.python)));
        fields.push(("python_full_version", json(&self.python_full_version)));
        if !self.abi_flags.is_empty() {
            fields.push(("abi_flags", json(&self.abi_flags)));
        }
        if let Some(libc) = &self.libc {
            fields.push(("libc", json(libc)));
        }
        fields.push(("architecture", json(&self.architecture)));
        fields.push(("prefix", json(&self.prefix)));
        if !self.notes.is_empty() {
            fields.push(("notes", json_lines(&self.notes)));
        }
        fields.push(("distributions", json_lines(&self.distributions)));

        let mut text = String::from("{\n");
        for (at, (name, value)) in fields.iter().enumerate() {
            let comma = if at + 1 < fields.len() { "," } else { "" };
            let _ = writeln!(text, "\"{name}\": {value}{comma}");
        }
        text.push_str("}\n");
        text
    }
}

/// A value as JSON on one line.
fn json<T: Serialize>(value: &T) -> String {
    // Nothing in a snapshot can fail: it has neither maps with other keys than strings nor numbers that JSON lacks.
    serde_json::to_string(value).unwrap_or_default()
}

/// A list as JSON, one item a line.
fn json_lines<T: Serialize>(items: &[T]) -> String {
    if items.is_empty() {
        return "[]".to_owned();
    }
    let lines: Vec<String> = items.iter().map(json).collect();
    format!("[\n{}\n]", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            format: FORMAT,
            base: "toy:1.0".to_owned(),
            made_from: "a \"test\"".to_owned(),
            digest: Some("sha256:00".to_owned()),
            python: "3.10".to_owned(),
            python_full_version: "3.10.13".to_owned(),
            abi_flags: String::new(),
            libc: Some("glibc 2.35".to_owned()),
            architecture: "x86_64".to_owned(),
            prefix: "/opt/conda".to_owned(),
            notes: vec!["one thing is doubtful".to_owned()],
            distributions: vec![
                SnapshotDistribution {
                    name: "a".to_owned(),
                    version: "1.0".to_owned(),
                    version_text: None,
                    metadata_from: MetadataSource::Wheel,
                    requires_python: Some(">=3.8".to_owned()),
                    requires_dist: vec!["b>=1; extra == \"x\"".to_owned()],
                    provides_extra: vec!["x".to_owned()],
                    import_names: vec!["a".to_owned()],
                    installer: None,
                },
                SnapshotDistribution {
                    name: "b".to_owned(),
                    version: "1.0".to_owned(),
                    version_text: Some("1.0-patched-".to_owned()),
                    metadata_from: MetadataSource::None,
                    requires_python: None,
                    requires_dist: Vec::new(),
                    provides_extra: Vec::new(),
                    import_names: Vec::new(),
                    installer: Some("conda".to_owned()),
                },
            ],
        }
    }

    #[test]
    fn a_snapshot_is_written_by_line_and_read_back() {
        let text = snapshot().to_json();
        insta::assert_snapshot!(text, @r#"
        {
        "format": 1,
        "base": "toy:1.0",
        "made_from": "a \"test\"",
        "digest": "sha256:00",
        "python": "3.10",
        "python_full_version": "3.10.13",
        "libc": "glibc 2.35",
        "architecture": "x86_64",
        "prefix": "/opt/conda",
        "notes": [
        "one thing is doubtful"
        ],
        "distributions": [
        {"name":"a","version":"1.0","metadata_from":"wheel","requires_python":">=3.8","requires_dist":["b>=1; extra == \"x\""],"provides_extra":["x"],"import_names":["a"]},
        {"name":"b","version":"1.0","version_text":"1.0-patched-","metadata_from":"none","installer":"conda"}
        ]
        }
        "#);
        assert_eq!(Snapshot::parse(&text), Ok(snapshot()));
    }

    #[test]
    fn a_document_of_another_kind_is_refused() {
        assert_eq!(
            Snapshot::parse("{\"format\": 2, \"novelty\": true}"),
            Err(SnapshotError::UnknownFormat { found: 2 })
        );
        let error = Snapshot::parse("{\n\"format\": 1,\n\"bas\": 0}").expect_err("a wrong field");
        assert!(
            error
                .to_string()
                .starts_with("line 3, column 5: unknown field `bas`"),
            "{error}"
        );
        assert!(Snapshot::parse("").is_err());
    }
}
