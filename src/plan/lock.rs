//! Locks: what a recipe came to, so that every later build comes to the same.
//!
//! A lock lies beside its recipe and is meant to be read in a diff: TOML, one table for each pin, sorted. It has the digest
//! of the base for each platform, and the name and the SHA-256 of every wheel, but no address of a wheel: an index that is
//! mirrored or moved has the same files. Bytes depend on what is locked and on nothing else.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml_writer::ToTomlValue as _;
use url::Url;

use crate::environment::{Environment, Provenance};
use crate::package_index::{IndexFile, default_index_url};
use crate::packaging::toml_place::{Place, TomlError};
use crate::packaging::{PackageName, Version};
use crate::resolution::Resolution;
use crate::resolution::solution::Addition;
use crate::transport::platform::OciPlatform;

use super::pins::{Pin, Pins, exactly};
use super::pins_error::PinsError;

/// The version of the format that is written and read.
pub const VERSION: u32 = 1;

/// How the index is called that everybody means who names none.
const DEFAULT_INDEX: &str = "default";

/// What a recipe came to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lock {
    /// [`VERSION`].
    version: u32,
    /// Digest of what the recipe asks, so that a recipe that has changed since is noticed.
    pub question: String,
    /// The base as the recipe names it.
    pub base: String,
    /// What was asked for, for people.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// What it came to, for each platform, in the order of the recipe.
    #[serde(default, rename = "platform")]
    pub platforms: Vec<LockedPlatform>,
}

/// What a recipe came to on one platform.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockedPlatform {
    /// `OS/ARCH` or `OS/ARCH/VARIANT`.
    pub platform: String,
    /// Digest of the base's manifest; `None` for a snapshot, which is not the image.
    pub digest: Option<String>,
    /// Full version of the base's Python.
    pub python: String,
    /// The C library of the base, such as `glibc 2.35`, where it is known.
    pub libc: Option<String>,
    /// What leaves the base, by name.
    #[serde(default)]
    pub removed: Vec<Removed>,
    /// What is installed, by name.
    #[serde(default, rename = "pin")]
    pub pins: Vec<LockedPin>,
}

/// A distribution that leaves the base.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removed {
    /// Normalized name.
    pub name: PackageName,
    /// The version that the base has.
    pub version: String,
}

/// A distribution that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPin {
    /// Normalized name.
    pub name: PackageName,
    /// The version.
    pub version: String,
    /// Name of the wheel.
    pub wheel: String,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Its size in bytes, where it is known.
    pub size: Option<u64>,
    /// The index that it came from: `default`, or the address that the user gave, without credentials.
    pub index: Option<String>,
    /// Where it lies, relative to the folder of the lock, for a wheel of this machine.
    pub path: Option<String>,
    /// Whether it was asked for.
    #[serde(default)]
    pub requested: bool,
    /// The version that the base has, where it takes its place.
    pub replaces: Option<String>,
}

/// A lock that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// No lock at all.
    #[error("the lock `{}` {error}", path.display())]
    Toml {
        /// The lock.
        path: PathBuf,
        /// What is wrong with it, and where.
        error: TomlError,
    },
    /// A wheel without a SHA-256.
    #[error("the index gives no sha256 for {0}, so it cannot be locked")]
    MissingHash(String),
}

/// In what a lock is not up to date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockDifference {
    /// The recipe asks something else.
    #[error("what the recipe asks has changed since it was locked")]
    Question,
    /// A platform that was not locked.
    #[error("the platform {0} is not locked")]
    Platform(String),
    /// The base has moved.
    #[error("the base for {platform} was {locked} when it was locked, and is {found} now")]
    Digest {
        /// The platform.
        platform: String,
        /// What was locked.
        locked: String,
        /// What there is.
        found: String,
    },
    /// What was locked is a snapshot.
    #[error("the base for {0} was locked from a snapshot, without a digest")]
    Snapshot(String),
    /// The base is a snapshot now, or has no digest.
    #[error("the base for {0} has no digest that could be compared with the lock")]
    NoDigest(String),
    /// Another Python.
    #[error(
        "the Python of the base for {platform} was {locked} when it was locked, and is {found} now"
    )]
    Python {
        /// The platform.
        platform: String,
        /// What was locked.
        locked: String,
        /// What there is.
        found: String,
    },
}

impl LockDifference {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Question | Self::Platform(_) | Self::Digest { .. } | Self::Python { .. } => {
                "`imgtool lock RECIPE` locks anew, and a diff shows what that changes"
            }
            Self::Snapshot(_) | Self::NoDigest(_) => {
                "`imgtool lock RECIPE` without `--snapshot`, where the image can be read, locks its digest"
            }
        }
    }
}

/// The base that a lock is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundBase<'a> {
    /// `OS/ARCH` or `OS/ARCH/VARIANT`.
    pub platform: &'a str,
    /// Digest of its manifest, where it has one.
    pub digest: Option<&'a str>,
    /// Full version of its Python.
    pub python: &'a str,
}

impl Lock {
    /// A lock without platforms.
    #[must_use]
    pub fn new(question: String, base: String, requirements: Vec<String>) -> Self {
        Self {
            version: VERSION,
            question,
            base,
            requirements,
            platforms: Vec::new(),
        }
    }

    /// Reads the text of the lock at `path`.
    ///
    /// # Errors
    /// When it is none, or one of another version.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LockError> {
        #[derive(Deserialize)]
        struct Version {
            version: toml::Spanned<u32>,
        }
        let failed = |error| LockError::Toml {
            path: path.to_owned(),
            error,
        };
        let unreadable = |error: toml::de::Error| failed(TomlError::of(text, &error));
        let Version { version } = toml::from_str(text).map_err(unreadable)?;
        if *version.get_ref() != VERSION {
            return Err(failed(TomlError {
                place: Place::of(text, version.span().start),
                reason: format!(
                    "it is of version {}; this imgtool reads version {VERSION}",
                    version.get_ref()
                ),
            }));
        }
        toml::from_str(text).map_err(unreadable)
    }

    /// The text of the lock of the recipe called `recipe`.
    #[must_use]
    pub fn to_text(&self, recipe: &str) -> String {
        let mut text = format!(
            "# What {recipe} came to. Written by `imgtool lock`; it changes with the recipe, not by hand.\n"
        );
        let _ = writeln!(text, "version = {}", self.version);
        let _ = writeln!(text, "question = {}", self.question.to_toml_value());
        let _ = writeln!(text, "base = {}", self.base.to_toml_value());
        let _ = writeln!(text, "requirements = {}", self.requirements.to_toml_value());
        for platform in &self.platforms {
            text.push_str("\n[[platform]]\n");
            let mut line = |key: &str, value: Option<&str>| {
                if let Some(value) = value {
                    let _ = writeln!(text, "{key} = {}", value.to_toml_value());
                }
            };
            line("platform", Some(&platform.platform));
            line("digest", platform.digest.as_deref());
            line("python", Some(&platform.python));
            line("libc", platform.libc.as_deref());
            for removed in &platform.removed {
                text.push_str("\n[[platform.removed]]\n");
                let _ = writeln!(text, "name = {}", removed.name.as_ref().to_toml_value());
                let _ = writeln!(text, "version = {}", removed.version.to_toml_value());
            }
            for pin in &platform.pins {
                pin.write(&mut text);
            }
        }
        text
    }

    /// Compares the lock with what the recipe asks now (see [`Self::question`]) and with the base that was found.
    ///
    /// # Errors
    /// All differences for which a build that must keep to the lock cannot go on.
    pub fn matches(
        &self,
        question: &str,
        base: FoundBase<'_>,
    ) -> Result<&LockedPlatform, Vec<LockDifference>> {
        self.matches_with(question, base, false)
    }

    /// As [`Self::matches`], where `snapshots` may stand on both sides: good enough to say whether a lock is up to date, not to
    /// build with it.
    ///
    /// # Errors
    /// As [`Self::matches`].
    pub fn matches_with(
        &self,
        question: &str,
        base: FoundBase<'_>,
        snapshots: bool,
    ) -> Result<&LockedPlatform, Vec<LockDifference>> {
        let name = || base.platform.to_owned();
        let mut differences = Vec::new();
        if self.question != question {
            differences.push(LockDifference::Question);
        }
        let Some(locked) = self
            .platforms
            .iter()
            .find(|locked| locked.platform == base.platform)
        else {
            differences.push(LockDifference::Platform(name()));
            return Err(differences);
        };
        match (&locked.digest, base.digest) {
            (None, None) if snapshots => {}
            (None, _) => differences.push(LockDifference::Snapshot(name())),
            (Some(_), None) => differences.push(LockDifference::NoDigest(name())),
            (Some(locked), Some(found)) if locked != found => {
                differences.push(LockDifference::Digest {
                    platform: name(),
                    locked: locked.clone(),
                    found: found.to_owned(),
                });
            }
            _ => {}
        }
        if locked.python != base.python {
            differences.push(LockDifference::Python {
                platform: name(),
                locked: locked.python.clone(),
                found: base.python.to_owned(),
            });
        }
        if differences.is_empty() {
            Ok(locked)
        } else {
            Err(differences)
        }
    }
}

impl LockedPin {
    fn write(&self, text: &mut String) {
        text.push_str("\n[[platform.pin]]\n");
        let mut line = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {}", value.to_toml_value());
            }
        };
        line("name", Some(self.name.as_ref()));
        line("version", Some(&self.version));
        line("replaces", self.replaces.as_deref());
        line("wheel", Some(&self.wheel));
        line("sha256", Some(&self.sha256));
        if let Some(size) = self.size {
            let _ = writeln!(text, "size = {size}");
        }
        let mut line = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {}", value.to_toml_value());
            }
        };
        line("index", self.index.as_deref());
        line("path", self.path.as_deref());
        if self.requested {
            text.push_str("requested = true\n");
        }
    }
}

impl LockedPlatform {
    /// What `resolution` came to on `environment`, which is that of `platform`. `index_of` tells from which index a project
    /// came, without credentials; local wheels are told relative to `folder`, that of the lock, where they lie below it.
    ///
    /// # Errors
    /// When a wheel has no SHA-256.
    pub fn of(
        resolution: &Resolution,
        environment: &Environment,
        platform: String,
        index_of: &dyn Fn(&PackageName) -> Option<String>,
        folder: &Path,
    ) -> Result<Self, LockError> {
        let digest = digest_of(environment).map(str::to_owned);
        let pins = resolution.pins().into_iter().map(|pin| {
            let change = resolution.changed.iter();
            let replaced = change.filter(|change| change.to.name == pin.name);
            Ok(LockedPin {
                replaces: replaced.map(|change| change.from.to_string()).next(),
                ..locked_pin(pin, index_of, folder)?
            })
        });
        Ok(Self {
            platform,
            digest,
            python: environment.interpreter.version.clone(),
            libc: environment.platform.libc.map(|libc| libc.to_string()),
            removed: resolution
                .removed
                .iter()
                .map(|removal| Removed {
                    name: removal.name.clone(),
                    version: removal.version.to_string(),
                })
                .collect(),
            pins: pins.collect::<Result<_, LockError>>()?,
        })
    }

    /// The pins of the lock at `lock`, to be resolved as any others.
    ///
    /// # Errors
    /// When a version in it is none, or a project is in it twice.
    pub fn to_pins(&self, lock: &Path) -> Result<Pins, PinsError> {
        let mut pins = Pins {
            leaving: self
                .removed
                .iter()
                .map(|removed| removed.name.clone())
                .collect(),
            ..Pins::default()
        };
        let folder = std::path::absolute(lock.parent().unwrap_or(Path::new("")));
        for pin in &self.pins {
            let version = pin.version.parse::<Version>().ok();
            let parsed = version.and_then(|version| Some((exactly(&pin.name, &version)?, version)));
            let Some((requirement, version)) = parsed else {
                return Err(PinsError::NotInstallable {
                    name: pin.name.clone(),
                    version: pin.version.clone(),
                    origin: lock.display().to_string(),
                    reason: "that is no version".to_owned(),
                });
            };
            let local = pin.path.as_ref().and_then(|path| {
                let path = folder.as_ref().ok()?.join(path);
                Some(IndexFile {
                    filename: pin.wheel.clone(),
                    url: Url::from_file_path(path).ok()?.into(),
                    sha256: Some(pin.sha256.clone()),
                    size: pin.size,
                    requires_python: None,
                    yanked: None,
                    core_metadata: None,
                    upload_time: None,
                })
            });
            pins.add(Pin {
                requirement,
                version,
                sha256s: [pin.sha256.clone()].into(),
                wheels: local.into_iter().collect(),
                index: pin.index.clone().filter(|index| index != DEFAULT_INDEX),
                requested: pin.requested,
                origin: lock.display().to_string(),
            })?;
        }
        Ok(pins)
    }
}

/// The digest of the image that `environment` was read from, where it was read from one that has a digest.
#[must_use]
pub fn digest_of(environment: &Environment) -> Option<&str> {
    match &environment.provenance {
        Provenance::Image { digest, .. } => digest.as_deref(),
        Provenance::Directory { .. } | Provenance::Snapshot { .. } => None,
    }
}

/// The platform of `environment`, as `OS/ARCH`.
#[must_use]
pub fn platform_of(environment: &Environment) -> String {
    OciPlatform::new("linux", &environment.platform.architecture, "").to_string()
}

fn locked_pin(
    pin: &Addition,
    index_of: &dyn Fn(&PackageName) -> Option<String>,
    folder: &Path,
) -> Result<LockedPin, LockError> {
    let wheel = &pin.wheel;
    let local = Url::parse(&wheel.url)
        .ok()
        .filter(|url| url.scheme() == "file")
        .and_then(|url| url.to_file_path().ok());
    let path = local.as_ref().map(|path| {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let below = path.strip_prefix(&folder).unwrap_or(path);
        below.display().to_string()
    });
    let index = if local.is_some() {
        None
    } else {
        index_of(&pin.name).map(|url| {
            if url == default_index_url() {
                DEFAULT_INDEX.to_owned()
            } else {
                url
            }
        })
    };
    Ok(LockedPin {
        name: pin.name.clone(),
        version: pin.version.to_string(),
        wheel: wheel.filename.clone(),
        sha256: wheel
            .sha256
            .clone()
            .ok_or_else(|| LockError::MissingHash(wheel.filename.clone()))?,
        size: wheel.size,
        index,
        path,
        requested: pin.required_by.iter().any(|by| by.name.is_none()),
        replaces: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let mut lock = Lock::new(
            "sha256:1".to_owned(),
            "oci:base".to_owned(),
            vec!["a>=1".to_owned()],
        );
        lock.platforms.push(LockedPlatform {
            platform: "linux/amd64".to_owned(),
            digest: Some("sha256:2".to_owned()),
            python: "3.10.13".to_owned(),
            libc: Some("glibc 2.35".to_owned()),
            removed: vec![Removed {
                name: "old".parse().expect("a name"),
                version: "1".to_owned(),
            }],
            pins: vec![
                LockedPin {
                    name: "a".parse().expect("a name"),
                    version: "1.0+\"l".to_owned(),
                    wheel: "a-1.0-py3-none-any.whl".to_owned(),
                    sha256: "ab".repeat(32),
                    size: Some(7),
                    index: Some("default".to_owned()),
                    path: None,
                    requested: true,
                    replaces: Some("0.9".to_owned()),
                },
                LockedPin {
                    name: "b".parse().expect("a name"),
                    version: "2".to_owned(),
                    wheel: "b-2-py3-none-any.whl".to_owned(),
                    sha256: "cd".repeat(32),
                    size: None,
                    index: None,
                    path: Some("dist/b-2-py3-none-any.whl".to_owned()),
                    requested: false,
                    replaces: None,
                },
            ],
        });
        lock
    }

    #[test]
    fn what_is_written_is_read_again() {
        let lock = lock();
        let text = lock.to_text("x.toml");
        let read = Lock::parse(Path::new("x.lock"), &text).expect("a lock");
        assert_eq!(read, lock);
        assert_eq!(read.to_text("x.toml"), text);
        let error = read.platforms[0]
            .to_pins(Path::new("dir/x.lock"))
            .expect_err("no version");
        assert!(error.to_string().contains("that is no version"), "{error}");
        let mut lock = lock;
        lock.platforms[0].pins[0].version = "1.0".to_owned();
        let pins = lock.platforms[0]
            .to_pins(Path::new("dir/x.lock"))
            .expect("pins");
        let url = &pins.pins.values().nth(1).expect("b").wheels[0].url;
        assert!(url.ends_with("/dir/dist/b-2-py3-none-any.whl"), "{url}");
        assert_eq!(pins.leaving.len(), 1);
    }

    #[test]
    fn what_is_no_lock_is_told_with_its_place() {
        for (text, message) in [
            (
                "version = 2\n",
                "line 1, column 11: it is of version 2; this imgtool reads version 1",
            ),
            ("", "line 1, column 1: missing field `version`"),
            (
                "version = 1\n",
                "line 1, column 1: missing field `question`",
            ),
            (
                "version = 1\nquestion = \"\"\nbase = \"\"\nnew = 1\n",
                "line 4, column 1: unknown field `new`, expected one of",
            ),
        ] {
            let error = Lock::parse(Path::new("x.lock"), text).expect_err(message);
            let expected = format!("the lock `x.lock` {message}");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn every_difference_is_told() {
        let mut lock = lock();
        let base = FoundBase {
            platform: "linux/amd64",
            digest: Some("sha256:2"),
            python: "3.10.13",
        };
        assert!(lock.matches("sha256:1", base).is_ok());
        let moved = FoundBase {
            digest: Some("sha256:3"),
            python: "3.10.14",
            ..base
        };
        let told = |lock: &Lock, question: &str, base| -> Vec<String> {
            let differences = lock.matches(question, base).expect_err("differences");
            differences.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            told(&lock, "sha256:9", moved),
            [
                "what the recipe asks has changed since it was locked",
                "the base for linux/amd64 was sha256:2 when it was locked, and is sha256:3 now",
                "the Python of the base for linux/amd64 was 3.10.13 when it was locked, and is 3.10.14 now",
            ]
        );
        let other = FoundBase {
            platform: "linux/arm64",
            ..base
        };
        assert_eq!(
            told(&lock, "sha256:1", other),
            ["the platform linux/arm64 is not locked"]
        );
        let none = FoundBase {
            digest: None,
            ..base
        };
        assert_eq!(
            told(&lock, "sha256:1", none),
            ["the base for linux/amd64 has no digest that could be compared with the lock"]
        );
        lock.platforms[0].digest = None;
        assert_eq!(
            told(&lock, "sha256:1", base),
            ["the base for linux/amd64 was locked from a snapshot, without a digest"]
        );
        assert!(
            LockDifference::Snapshot(String::new())
                .hint()
                .contains("--snapshot")
        );
    }
}
