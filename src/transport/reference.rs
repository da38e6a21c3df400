//! References to bases: entries of the catalog (`tfx:1.16.0`, `tfx:1.x`), folders (`dir:PATH`), and images of every
//! transport.
//!
//! The catalog stands above this module, so the families that it has are handed in.

use std::cmp::Reverse;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use super::image_reference::{DockerSelector, ImageReference, OciSelector};

use super::image_reference::{TRANSPORTS, normalized};
use crate::packaging::Version;
use crate::packaging::requirement::presentable;

/// What a base can be; a refusal that knows nothing better ends with it.
const WHAT_WORKS: &str = "a base is an entry of the catalog (`imgtool catalog list`), an image (`docker://HOST/REPOSITORY:TAG`, \
                          `oci:FOLDER`, `oci-archive:FILE`, `docker-archive:FILE`, `docker-daemon:NAME`, \
                          `containers-storage:NAME`) or a folder (`dir:PATH`)";

/// A family of bases that a reference may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownFamily<'a> {
    /// Name of the family, such as `tfx`.
    pub name: &'a str,
    /// Repository of its images, host included.
    pub repository: &'a str,
}

/// The base that a user means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseReference {
    /// An entry of the catalog.
    Catalog {
        /// A family that the catalog has.
        family: String,
        /// Which version of it.
        version: VersionPattern,
    },
    /// A folder on this machine: an unpacked root, a conda prefix or a virtual environment.
    Directory(PathBuf),
    /// An image.
    Image(ImageReference),
}

/// Which of the known versions of a family is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionPattern {
    /// The newest: no version given, `latest`, `x` or `*`.
    Newest,
    /// The newest whose release begins with these numbers: `1.x`, `1.15.*`.
    Prefix(Vec<u64>),
    /// This tag; when there is no such tag, what it is a beginning of (`1.16`).
    Tag(String),
}

/// A text that names no base that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text breaks the grammar of references.
    #[error("`{text}` is not a base reference: {reason}")]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// A catalog name whose family the catalog does not have.
    #[error("the catalog has no base `{family}`")]
    UnknownFamily {
        /// The family that was asked for.
        family: String,
        /// A family with a similar name.
        similar: Option<String>,
        /// The families that the catalog has.
        known: Vec<String>,
        /// The same name as an image of Docker Hub, which is what an engine would take it for.
        image: Option<Box<ImageReference>>,
    },
    /// A folder with an image in it, where an unpacked one is meant.
    #[error("the folder `{path}` holds an image that is not unpacked, not its files")]
    PackedFolder {
        /// The folder.
        path: String,
        /// How the image in it is had.
        hint: String,
    },
}

impl ReferenceError {
    /// What to try instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Malformed { hint, .. } => hint.clone().unwrap_or_else(|| WHAT_WORKS.to_owned()),
            Self::UnknownFamily {
                similar: Some(similar),
                ..
            } => format!("did you mean `{similar}`?"),
            Self::UnknownFamily {
                known,
                image: Some(image),
                ..
            } => format!(
                "the catalog has {}; an image of a registry is written with its host: `{image}`",
                quoted(known)
            ),
            Self::UnknownFamily { known, .. } => format!("the catalog has {}", quoted(known)),
            Self::PackedFolder { hint, .. } => hint.clone(),
        })
    }
}

impl BaseReference {
    /// Reads a reference; `families` are those that the catalog has.
    ///
    /// A catalog name is one path component, so that it can never be taken for an image of a registry with a host.
    ///
    /// # Errors
    /// When the text is malformed or names a family that is not in the catalog.
    pub fn parse(text: &str, families: &[KnownFamily<'_>]) -> Result<Self, ReferenceError> {
        let malformed = |reason: &str, hint: Option<String>| ReferenceError::Malformed {
            text: presentable(text),
            reason: reason.to_owned(),
            hint,
        };
        if text.is_empty() {
            return Err(malformed("it is empty", None));
        }
        if let Some(path) = text.strip_prefix("dir:") {
            if path.is_empty() {
                return Err(malformed("`dir:` needs the path of a folder", None));
            }
            return Ok(Self::Directory(PathBuf::from(path)));
        }
        if TRANSPORTS
            .iter()
            .any(|transport| text.starts_with(transport))
        {
            return text.parse().map(Self::Image);
        }
        if let Some(at) = text.find("://") {
            let reason = format!("there is no transport `{}`", &text[..at + 3]);
            return Err(malformed(&reason, None));
        }
        if text.starts_with(['/', '.', '~']) {
            let is_archive = [".tar", ".tar.gz", ".tgz", ".tar.zst"]
                .iter()
                .any(|end| text.ends_with(end));
            let hint = if is_archive {
                format!(
                    "for an archive of `docker save` write `docker-archive:{text}`, for one of an OCI layout \
                     `oci-archive:{text}`"
                )
            } else {
                format!("for a folder write `dir:{text}`, for an OCI layout `oci:{text}`")
            };
            return Err(malformed("it looks like a path", Some(hint)));
        }
        if text.contains('/') {
            return text.parse().map(Self::Image);
        }
        Self::parse_catalog_name(text, families)
    }

    fn parse_catalog_name(
        text: &str,
        families: &[KnownFamily<'_>],
    ) -> Result<Self, ReferenceError> {
        let malformed = |reason: &str, hint: Option<String>| ReferenceError::Malformed {
            text: presentable(text),
            reason: reason.to_owned(),
            hint,
        };
        let end = text
            .find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
            .unwrap_or(text.len());
        let (family, rest) = text.split_at(end);
        if family.is_empty() {
            return Err(malformed("the name of the base is missing", None));
        }
        let is_known = |name: &str| families.iter().any(|known| known.name == name);
        let lower = family.to_ascii_lowercase();
        if lower != family && is_known(&lower) {
            let hint = format!("names of images are lower case: write `{lower}{rest}`");
            return Err(malformed("the name has upper-case letters", Some(hint)));
        }
        if rest.starts_with('@') {
            return Err(malformed(
                "the catalog knows bases by version, not by digest",
                None,
            ));
        }
        let tag = match rest.strip_prefix(':') {
            _ if rest.is_empty() => None,
            Some(tag) => Some(tag),
            None => {
                let version = rest.trim_start_matches(['=', ' ']);
                let hint = format!("write `{family}:VERSION`");
                let hint = if is_known(family) && is_tag(version) {
                    format!("write `{family}:{version}`")
                } else {
                    hint
                };
                return Err(malformed("the version stands after one colon", Some(hint)));
            }
        };
        if !is_known(family) {
            let known: Vec<String> = families.iter().map(|known| known.name.to_owned()).collect();
            return Err(ReferenceError::UnknownFamily {
                family: family.to_owned(),
                similar: nearest(&lower, known.iter().map(String::as_str)).map(str::to_owned),
                known,
                image: normalized(text).map(|reference| {
                    Box::new(ImageReference::Registry {
                        reference,
                        pattern: None,
                    })
                }),
            });
        }
        let version = match tag {
            None => VersionPattern::Newest,
            Some("") => {
                let hint = format!("write `{family}` for the newest version");
                return Err(malformed("there is no version after the colon", Some(hint)));
            }
            Some(tag) => tag.parse().map_err(|InvalidPattern(reason)| {
                let hint = format!("write `{family}:1.2.3`, `{family}:1.2.x` or `{family}`");
                malformed(reason, Some(hint))
            })?,
        };
        Ok(Self::Catalog {
            family: family.to_owned(),
            version,
        })
    }
}

impl fmt::Display for BaseReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog {
                family,
                version: VersionPattern::Newest,
            } => f.write_str(family),
            Self::Catalog { family, version } => write!(f, "{family}:{version}"),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
            Self::Image(image) => image.fmt(f),
        }
    }
}

/// A text that is neither a tag nor a tag with wildcards; the reason in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(&'static str);

impl FromStr for VersionPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "latest" {
            return Ok(Self::Newest);
        }
        let is_wildcard = |part: &str| matches!(part, "x" | "X" | "*");
        let parts: Vec<&str> = text.split('.').collect();
        let Some(first) = parts.iter().position(|part| is_wildcard(part)) else {
            return if is_tag(text) {
                Ok(Self::Tag(text.to_owned()))
            } else {
                Err(InvalidPattern("the version is not a tag"))
            };
        };
        if !parts[first..].iter().all(|part| is_wildcard(part)) {
            return Err(InvalidPattern("a wildcard stands at the end of a version"));
        }
        let prefix: Option<Vec<u64>> = parts[..first]
            .iter()
            .enumerate()
            .map(|(at, part)| {
                let digits = if at == 0 {
                    part.strip_prefix('v').unwrap_or(part)
                } else {
                    part
                };
                let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
                all_digits.then(|| digits.parse().ok()).flatten()
            })
            .collect();
        match prefix {
            Some(prefix) if prefix.is_empty() => Ok(Self::Newest),
            Some(prefix) => Ok(Self::Prefix(prefix)),
            None => Err(InvalidPattern("a wildcard stands after numbers")),
        }
    }
}

impl fmt::Display for VersionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("latest"),
            Self::Prefix(prefix) => {
                for number in prefix {
                    write!(f, "{number}.")?;
                }
                f.write_str("x")
            }
            Self::Tag(tag) => f.write_str(tag),
        }
    }
}

impl VersionPattern {
    /// Chooses among `known` tags, each with its version: the place of the one that is meant.
    ///
    /// A tag matches as it is written first, as an image's would; then as the version that it says; then as the
    /// beginning of one. Where several match, the newest does, and a pre-release only where nothing else does.
    #[must_use]
    pub fn select(&self, known: &[(&str, &Version)]) -> Option<usize> {
        let newest_with = |prefix: &[u64]| {
            (0..known.len())
                .filter(|at| known[*at].1.release().starts_with(prefix))
                .max_by_key(|at| (Reverse(known[*at].1.any_prerelease()), known[*at].1))
        };
        match self {
            Self::Newest => newest_with(&[]),
            Self::Prefix(prefix) => newest_with(prefix),
            Self::Tag(tag) => {
                if let Some(at) = known.iter().position(|(text, _)| text == tag) {
                    return Some(at);
                }
                let version = Version::from_str(tag).ok()?;
                // `1.16` would equal `1.16.0`; whoever leaves numbers away means the newest of them.
                let is_plain = version == Version::new(version.release()) && version.epoch() == 0;
                let same = || known.iter().position(|(_, known)| **known == version);
                if is_plain {
                    newest_with(version.release()).or_else(same)
                } else {
                    same()
                }
            }
        }
    }
}

/// The candidate that `word` is most likely a misspelling of; `None` where nothing is near.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        // One slip for a short word, more for a long one; with more changes than that it is another word.
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether `text` is a tag as the OCI distribution specification has it.
fn is_tag(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty()
        && text.len() <= 128
        && text.chars().all(allowed)
        && !text.starts_with(['.', '-'])
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [KnownFamily<'static>; 2] = [
        KnownFamily {
            name: "tfx",
            repository: "registry.example/tfx-oss-public/tfx",
        },
        KnownFamily {
            name: "jupyter",
            repository: "registry.example/jupyter/base",
        },
    ];

    fn parse(text: &str) -> Result<BaseReference, ReferenceError> {
        BaseReference::parse(text, &FAMILIES)
    }

    fn pattern(text: &str) -> VersionPattern {
        match parse(text).expect("a reference") {
            BaseReference::Catalog { version, .. } => version,
            other => panic!("{other} is not in the catalog"),
        }
    }

    #[test]
    fn a_catalog_name_is_a_family_and_a_version() {
        assert_eq!(pattern("tfx"), VersionPattern::Newest);
        for newest in ["tfx:latest", "tfx:x", "tfx:*", "tfx:*.*"] {
            assert_eq!(pattern(newest), VersionPattern::Newest, "{newest}");
        }
        for prefix in ["tfx:1.x", "tfx:1.*", "tfx:v1.X", "tfx:1.x.x"] {
            assert_eq!(pattern(prefix), VersionPattern::Prefix(vec![1]), "{prefix}");
        }
        assert_eq!(pattern("tfx:1.15.x"), VersionPattern::Prefix(vec![1, 15]));
        assert_eq!(
            pattern("tfx:1.16.0"),
            VersionPattern::Tag("1.16.0".to_owned())
        );
    }

    #[test]
    fn a_reference_prints_as_it_is_written() {
        for text in ["tfx", "tfx:1.16.0", "tfx:1.15.x", "dir:a/b", "dir:/"] {
            assert_eq!(parse(text).expect("a reference").to_string(), text);
        }
    }

    #[test]
    fn a_folder_needs_its_prefix() {
        assert_eq!(
            parse("dir:venv:1"),
            Ok(BaseReference::Directory(PathBuf::from("venv:1")))
        );
        for path in ["/opt/conda", "./venv", "../venv", "~/venv", "."] {
            let error = parse(path).expect_err("a path");
            assert!(
                error
                    .hint()
                    .expect("a hint")
                    .contains(&format!("dir:{path}"))
            );
        }
        assert!(parse("dir:").is_err());
    }

    #[test]
    fn an_image_has_a_transport_or_a_slash() {
        for (text, canonical) in [
            (
                "docker://python:3.10",
                "docker://docker.io/library/python:3.10",
            ),
            ("registry.example/a/b:1", "docker://registry.example/a/b:1"),
            ("localhost:5000/a", "docker://localhost:5000/a:latest"),
            ("tfx/tfx", "docker://docker.io/tfx/tfx:latest"),
            ("oci:layout:tag", "oci:layout:tag"),
            ("oci-archive:a.tar", "oci-archive:a.tar"),
            ("docker-archive:a.tar", "docker-archive:a.tar"),
            ("docker-daemon:a:1", "docker-daemon:a:1"),
            ("containers-storage:a:1", "containers-storage:a:1"),
        ] {
            let parsed = parse(text).expect("an image");
            assert!(matches!(parsed, BaseReference::Image(_)), "{text}");
            assert_eq!(parsed.to_string(), canonical);
        }
        for text in [
            "https://u:secret@a.invalid/b",
            "docker://u:secret@a.invalid/b",
        ] {
            let error = parse(text).expect_err("no base").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        for text in ["docker://", "oci:", "docker://a b", "a/B:1", "ftp://a/b"] {
            let error = parse(text).expect_err("malformed");
            assert!(
                matches!(error, ReferenceError::Malformed { .. }),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn every_refusal_has_a_message_and_a_hint() {
        for (text, message, hint) in [
            (
                "TFX:1.16.0",
                "`TFX:1.16.0` is not a base reference: the name has upper-case letters",
                "names of images are lower case: write `tfx:1.16.0`",
            ),
            (
                "tfx==1.16.0",
                "`tfx==1.16.0` is not a base reference: the version stands after one colon",
                "write `tfx:1.16.0`",
            ),
            (
                "tfx:",
                "`tfx:` is not a base reference: there is no version after the colon",
                "write `tfx` for the newest version",
            ),
            (
                "tfx:1.x.2",
                "`tfx:1.x.2` is not a base reference: a wildcard stands at the end of a version",
                "write `tfx:1.2.3`, `tfx:1.2.x` or `tfx`",
            ),
            (
                "tfx:>=1",
                "`tfx:>=1` is not a base reference: the version is not a tag",
                "write `tfx:1.2.3`, `tfx:1.2.x` or `tfx`",
            ),
            (
                "tfx@sha256:00",
                "`tfx@sha256:00` is not a base reference: the catalog knows bases by version, not by digest",
                WHAT_WORKS,
            ),
            (
                "tfz:1.16.0",
                "the catalog has no base `tfz`",
                "did you mean `tfx`?",
            ),
            (
                "ubuntu:22.04",
                "the catalog has no base `ubuntu`",
                "the catalog has `tfx`, `jupyter`; an image of a registry is written with its host: \
                 `docker://docker.io/library/ubuntu:22.04`",
            ),
            ("", "`` is not a base reference: it is empty", WHAT_WORKS),
            (
                ":1",
                "`:1` is not a base reference: the name of the base is missing",
                WHAT_WORKS,
            ),
        ] {
            let error = parse(text).expect_err("no reference");
            assert_eq!(error.to_string(), message);
            assert_eq!(error.hint().as_deref(), Some(hint), "{text}");
        }
    }

    #[test]
    fn the_newest_match_is_chosen_in_the_order_of_versions() {
        let tags = [
            "1.9.0",
            "1.16.1",
            "1.16.0",
            "1.17.0rc1",
            "1.15.1",
            "2.0.0-gpu",
        ];
        let versions: Vec<Version> = ["1.9.0", "1.16.1", "1.16.0", "1.17.0rc1", "1.15.1", "0.1"]
            .iter()
            .map(|text| text.parse().expect("a version"))
            .collect();
        let known: Vec<(&str, &Version)> = tags.into_iter().zip(&versions).collect();
        let select = |text: &str| {
            let pattern: VersionPattern = text.parse().expect("a pattern");
            pattern.select(&known).map(|at| known[at].0)
        };
        assert_eq!(select("latest"), Some("1.16.1"));
        assert_eq!(select("1.x"), Some("1.16.1"));
        assert_eq!(select("1.16"), Some("1.16.1"));
        assert_eq!(select("1.16.0"), Some("1.16.0"));
        assert_eq!(select("v1.16.0"), Some("1.16.0"));
        assert_eq!(select("1.16.0.0"), Some("1.16.0"));
        assert_eq!(select("1"), Some("1.16.1"));
        assert_eq!(select("1.17.x"), Some("1.17.0rc1"), "nothing else fits");
        assert_eq!(select("1.17.0-rc1"), Some("1.17.0rc1"));
        assert_eq!(select("2.0.0-gpu"), Some("2.0.0-gpu"));
        assert_eq!(select("1.1.x"), None, "numbers, not letters");
        assert_eq!(select("3.x"), None);
        assert_eq!(select("1.16.0-gpu"), None);
    }
}
