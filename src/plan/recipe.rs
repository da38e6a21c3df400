//! Recipes: an image as a file. What it is built on, what is required of it, and what its configuration says.
//!
//! TOML, version 1.0. A key that is not known is an error: one that is misspelt must not be passed over. Paths are relative
//! to the folder of the recipe.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use crate::catalog::mlflow_server::ServerVersion;
use crate::package_index::parse_exclude_newer;
use crate::packaging::requirement::presentable;
use crate::packaging::toml_place::{Place, TomlError};
use crate::packaging::wheel_name::WheelName;
use crate::packaging::{PackageName, Requirement};
use crate::resolution::{Aim, Policy};
use crate::transport::platform::OciPlatform;

/// What a recipe says.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Where it lies.
    pub path: PathBuf,
    /// The base, as on the command line.
    pub base: String,
    /// The platforms to build for; of none, the one that is chosen where nothing is said.
    pub platforms: Vec<OciPlatform>,
    /// The interpreter, by version or path, where the base has several.
    pub python: Option<String>,
    /// What must be there in the end.
    pub requirements: Vec<String>,
    /// Files with more of it.
    pub requirement_files: Vec<PathBuf>,
    /// Files of constraints.
    pub constraint_files: Vec<PathBuf>,
    /// Files of overrides.
    pub override_files: Vec<PathBuf>,
    /// Wheels of this machine that are installed, too.
    pub wheels: Vec<PathBuf>,
    /// What of the base may change.
    pub policy: Policy,
    /// The MLflow server that the clients in the image speak to.
    pub server_version: Option<ServerVersion>,
    /// The package index.
    pub index_url: Option<String>,
    /// Further indexes, asked before it.
    pub extra_index_urls: Vec<String>,
    /// The end of time for files of the index.
    pub exclude_newer: Option<jiff::Timestamp>,
    /// What the image's configuration says.
    pub image: ImageChanges,
    /// References that the image gets.
    pub tags: Vec<String>,
    /// How the layer is compressed.
    pub compression: Option<Compression>,
    /// Into how many layers it goes.
    pub layers: Option<Layers>,
    /// Whether byte code is written.
    pub compile_bytecode: bool,
}

/// What the configuration of the image says other than that of the base.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageChanges {
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// The entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// The command, or the arguments of the entrypoint.
    pub cmd: Option<Vec<String>>,
    /// The user.
    pub user: Option<String>,
    /// The working directory.
    pub workdir: Option<String>,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// gzip: every engine reads it.
    Gzip,
    /// zstd: smaller and faster, for engines of today.
    Zstd,
}

/// Into how many layers what is new goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layers {
    /// All into one.
    Single,
    /// One for each distribution.
    PerDistribution,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AimText {
    #[default]
    Hold,
    Minimal,
    Upgrade,
}

/// A recipe that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recipe `{}` {error}", path.display())]
pub struct RecipeError {
    /// The recipe.
    pub path: PathBuf,
    /// What is wrong with it, and where.
    pub error: TomlError,
}

/// The keys of a recipe, in the order of the documentation.
const KEYS: &[&str] = &[
    "base",
    "platform",
    "platforms",
    "python",
    "requirements",
    "requirement-files",
    "constraints",
    "overrides",
    "wheels",
    "policy",
    "allow-change",
    "hold",
    "allow-remove",
    "server-version",
    "index-url",
    "extra-index-url",
    "exclude-newer",
    "environment",
    "labels",
    "annotations",
    "entrypoint",
    "cmd",
    "user",
    "workdir",
    "tags",
    "compression",
    "layers",
    "compile-bytecode",
];

/// How different a key may be from one that is meant: shares of the longer one.
const SIMILAR: f64 = 0.7;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    base: Spanned<String>,
    platform: Option<Spanned<String>>,
    #[serde(default)]
    platforms: Vec<Spanned<String>>,
    python: Option<String>,
    #[serde(default)]
    requirements: Vec<Spanned<String>>,
    #[serde(default)]
    requirement_files: Vec<PathBuf>,
    #[serde(default)]
    constraints: Vec<PathBuf>,
    #[serde(default)]
    overrides: Vec<PathBuf>,
    #[serde(default)]
    wheels: Vec<Spanned<PathBuf>>,
    #[serde(default)]
    policy: AimText,
    #[serde(default)]
    allow_change: Vec<Spanned<String>>,
    #[serde(default)]
    hold: Vec<Spanned<String>>,
    #[serde(default)]
    allow_remove: Vec<Spanned<String>>,
    server_version: Option<Spanned<String>>,
    index_url: Option<String>,
    #[serde(default)]
    extra_index_url: Vec<String>,
    exclude_newer: Option<Spanned<String>>,
    #[serde(default)]
    environment: BTreeMap<Spanned<String>, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
    workdir: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    compression: Option<Compression>,
    layers: Option<Layers>,
    #[serde(default)]
    compile_bytecode: bool,
}

/// Parses values and tells where one stands that cannot be parsed.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn at(&self, offset: usize, reason: String) -> TomlError {
        TomlError {
            place: Place::of(self.text, offset),
            reason,
        }
    }

    fn value<T: FromStr>(&self, written: &Spanned<String>, what: &str) -> Result<T, TomlError> {
        written.get_ref().parse().map_err(|_| {
            let reason = format!("`{}` is not {what}", presentable(written.get_ref()));
            self.at(written.span().start, reason)
        })
    }

    fn values<T: FromStr>(&self, all: &[Spanned<String>], what: &str) -> Result<Vec<T>, TomlError> {
        all.iter().map(|one| self.value(one, what)).collect()
    }

    fn names<C: FromIterator<PackageName>>(&self, all: &[Spanned<String>]) -> Result<C, TomlError> {
        let names: Vec<PackageName> = self.values(all, "the name of a project")?;
        Ok(names.into_iter().collect())
    }

    /// A key that a recipe does not have, if there is one.
    fn check_keys(&self) -> Result<(), TomlError> {
        let table = DeTable::parse(self.text).map_err(|error| TomlError::of(self.text, &error))?;
        let table = table.get_ref();
        let has = |name: &str| table.iter().any(|(key, _)| key.get_ref() == name);
        if !has("base") && has("repository") && has("version") {
            let reason = "it describes bases of the catalog; a recipe names one with `base`";
            return Err(self.at(0, reason.to_owned()));
        }
        let mut unknown: Vec<(usize, String)> = Vec::new();
        for (key, _) in table {
            let name: &str = key.get_ref();
            if KEYS.contains(&name) {
                continue;
            }
            let similar = KEYS
                .iter()
                .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known))
                .filter(|(similarity, _)| *similarity >= SIMILAR)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let mut reason = format!("a recipe has no key `{}`", presentable(name));
            if let Some((_, known)) = similar {
                let _ = write!(reason, "; did you mean `{known}`?");
            }
            unknown.push((key.span().start, reason));
        }
        match unknown.into_iter().min() {
            Some((offset, reason)) => Err(self.at(offset, reason)),
            None => Ok(()),
        }
    }
}

impl Recipe {
    /// Reads the text of the recipe at `path`.
    ///
    /// # Errors
    /// The first thing in it that cannot be used, with its place.
    pub fn parse(path: &Path, text: &str) -> Result<Self, RecipeError> {
        Self::read(path, text).map_err(|error| RecipeError {
            path: path.to_owned(),
            error,
        })
    }

    fn read(path: &Path, text: &str) -> Result<Self, TomlError> {
        let reader = Reader { text };
        reader.check_keys()?;
        let file: File = toml::from_str(text).map_err(|error| TomlError::of(text, &error))?;
        if file.base.get_ref().trim().is_empty() {
            return Err(reader.at(file.base.span().start, "the base is empty".to_owned()));
        }
        let mut platforms = file.platforms;
        if let Some(platform) = file.platform {
            if !platforms.is_empty() {
                let reason = "`platform` is one, `platforms` are several; not both".to_owned();
                return Err(reader.at(platform.span().start, reason));
            }
            platforms.push(platform);
        }
        for written in &file.requirements {
            Requirement::from_str(written.get_ref())
                .map_err(|error| reader.at(written.span().start, error.to_string()))?;
        }
        for wheel in &file.wheels {
            let name = wheel
                .get_ref()
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            WheelName::from_str(&name)
                .map_err(|error| reader.at(wheel.span().start, error.to_string()))?;
        }
        let mut environment = BTreeMap::new();
        for (name, value) in file.environment {
            let is_name = |text: &String| !text.is_empty() && !text.contains(['=', '\0']);
            if !is_name(name.get_ref()) {
                let reason = format!(
                    "`{}` is not the name of a variable",
                    presentable(name.get_ref())
                );
                return Err(reader.at(name.span().start, reason));
            }
            environment.insert(name.into_inner(), value);
        }
        let exclude_newer = file.exclude_newer.as_ref().map(|written| {
            parse_exclude_newer(written.get_ref())
                .map_err(|reason| reader.at(written.span().start, reason))
        });
        let server = file.server_version.as_ref();
        let server = server.map(|written| reader.value(written, "a version of an MLflow server"));
        let folder = path.parent().unwrap_or(Path::new(""));
        let beside = |paths: Vec<PathBuf>| -> Vec<PathBuf> {
            paths.iter().map(|path| folder.join(path)).collect()
        };
        Ok(Self {
            path: path.to_owned(),
            base: file.base.into_inner(),
            platforms: reader.values(&platforms, "a platform such as linux/amd64")?,
            python: file.python,
            requirements: file
                .requirements
                .into_iter()
                .map(Spanned::into_inner)
                .collect(),
            requirement_files: beside(file.requirement_files),
            constraint_files: beside(file.constraints),
            override_files: beside(file.overrides),
            wheels: beside(file.wheels.into_iter().map(Spanned::into_inner).collect()),
            policy: Policy {
                aim: match file.policy {
                    AimText::Hold => Aim::Hold,
                    AimText::Minimal => Aim::Minimal,
                    AimText::Upgrade => Aim::Upgrade,
                },
                may_change: reader.names(&file.allow_change)?,
                held: reader.names(&file.hold)?,
                may_leave: reader.names(&file.allow_remove)?,
                ..Policy::default()
            },
            server_version: server.transpose()?,
            index_url: file.index_url,
            extra_index_urls: file.extra_index_url,
            exclude_newer: exclude_newer.transpose()?,
            image: ImageChanges {
                environment,
                labels: file.labels,
                annotations: file.annotations,
                entrypoint: file.entrypoint,
                cmd: file.cmd,
                user: file.user,
                workdir: file.workdir,
            },
            tags: file.tags,
            compression: file.compression,
            layers: file.layers,
            compile_bytecode: file.compile_bytecode,
        })
    }

    /// Where the lock of the recipe lies: beside it, `NAME.lock` for `NAME.toml`.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// The part of the recipe that decides what is installed, in lines: what else stands in a recipe changes the image's
    /// configuration and no lock. Addresses are without credentials; files are named, and not read.
    #[must_use]
    pub fn question(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{key}: {}", presentable(&value.to_string()));
        };
        line("base", &self.base);
        for platform in &self.platforms {
            line("platform", platform);
        }
        if let Some(python) = &self.python {
            line("python", python);
        }
        for requirement in &self.requirements {
            line("requirement", requirement);
        }
        let aim = match self.policy.aim {
            Aim::Hold => "hold",
            Aim::Minimal => "minimal",
            Aim::Upgrade => "upgrade",
        };
        line("policy", &aim);
        for (key, names) in [
            ("allow-change", &self.policy.may_change),
            ("hold", &self.policy.held),
            ("allow-remove", &self.policy.may_leave),
        ] {
            for name in names {
                line(key, name);
            }
        }
        if let Some(server) = &self.server_version {
            line("server-version", server);
        }
        if let Some(url) = &self.index_url {
            line("index-url", url);
        }
        for url in &self.extra_index_urls {
            line("extra-index-url", url);
        }
        if let Some(end) = &self.exclude_newer {
            line("exclude-newer", end);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Recipe, RecipeError> {
        Recipe::parse(Path::new("images/x.toml"), text)
    }

    #[test]
    fn every_key_is_read() {
        let recipe = parse(
            r#"
base = "tfx:1.16.0"
platforms = ["linux/amd64", "linux/arm64"]
python = "3.10"
requirements = ["mlflow-skinny>=3"]
requirement-files = ["more.txt"]
constraints = ["c.txt"]
overrides = ["/o.txt"]
wheels = ["dist/plugin-1.0-py3-none-any.whl"]
policy = "minimal"
allow-change = ["Six"]
hold = ["a"]
allow-remove = ["b"]
server-version = "2.19"
index-url = "https://u:secret@example.org/simple/"
extra-index-url = ["https://extra.example.org/simple/"]
exclude-newer = "2025-12-23"
entrypoint = ["python"]
cmd = ["-m", "x"]
user = "1000:1000"
workdir = "/w"
tags = ["registry.example/team/trainer:1"]
compression = "zstd"
layers = "per-distribution"
compile-bytecode = true
[environment]
GIT_PYTHON_REFRESH = "quiet"
[labels]
a = "b"
[annotations]
"org.opencontainers.image.title" = "t"
"#,
        )
        .expect("a recipe");
        assert_eq!(recipe.platforms.len(), 2);
        assert_eq!(recipe.requirement_files, [Path::new("images/more.txt")]);
        assert_eq!(recipe.constraint_files, [Path::new("images/c.txt")]);
        assert_eq!(recipe.override_files, [Path::new("/o.txt")]);
        assert_eq!(
            recipe.wheels,
            [Path::new("images/dist/plugin-1.0-py3-none-any.whl")]
        );
        assert_eq!(recipe.image.environment["GIT_PYTHON_REFRESH"], "quiet");
        assert_eq!(recipe.image.cmd.as_deref().expect("a command").len(), 2);
        assert_eq!(recipe.compression, Some(Compression::Zstd));
        assert_eq!(recipe.layers, Some(Layers::PerDistribution));
        assert_eq!(recipe.lock_path(), Path::new("images/x.lock"));
        let question = recipe.question();
        assert_eq!(
            question,
            "base: tfx:1.16.0\nplatform: linux/amd64\nplatform: linux/arm64\npython: 3.10\nrequirement: mlflow-skinny>=3\n\
             policy: minimal\nallow-change: six\nhold: a\nallow-remove: b\nserver-version: 2.19\n\
             index-url: https://***@example.org/simple/\nextra-index-url: https://extra.example.org/simple/\n\
             exclude-newer: 2025-12-24T00:00:00Z\n"
        );
        // What only the configuration of the image says is no part of the question.
        let plain = parse("base = \"b\"").expect("a recipe").question();
        let dressed = parse("base = \"b\"\nuser = \"x\"\ntags = [\"y\"]").expect("a recipe");
        assert_eq!(dressed.question(), plain);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, message) in [
            (
                "requirements = []",
                "line 1, column 1: missing field `base`",
            ),
            ("base = \"\"", "line 1, column 8: the base is empty"),
            (
                "base = \"a\"\nrequirement = [\"x\"]",
                "line 2, column 1: a recipe has no key `requirement`; did you mean `requirements`?",
            ),
            (
                "base = \"a\"\nallow_change = []",
                "line 2, column 1: a recipe has no key `allow_change`; did you mean `allow-change`?",
            ),
            (
                "base = \"a\"\n\n[nonsense]\nx = 1",
                "line 3, column 2: a recipe has no key `nonsense`",
            ),
            (
                "base = \"a\"\nrequirements = [\"a\", \"b >= banana\"]",
                "line 2, column 22: `b >= banana` is not a requirement",
            ),
            (
                "base = \"a\"\npolicy = \"yes\"",
                "line 2, column 10: unknown variant `yes`, expected one of `hold`, `minimal`, `upgrade`",
            ),
            (
                "base = \"a\"\nplatforms = [\"a/b/c/d\"]",
                "line 2, column 14: `a/b/c/d` is not a platform such as linux/amd64",
            ),
            (
                "base = \"a\"\nplatforms = [\"linux/amd64\"]\nplatform = \"linux/arm64\"",
                "line 3, column 12: `platform` is one, `platforms` are several; not both",
            ),
            (
                "base = \"a\"\nhold = [\"a b\"]",
                "line 2, column 9: `a b` is not the name of a project",
            ),
            (
                "base = \"a\"\nwheels = [\"x.tar.gz\"]",
                "line 2, column 11: `x.tar.gz` is not the name of a wheel",
            ),
            (
                "base = \"a\"\nexclude-newer = \"soon\"",
                "line 2, column 17: `soon` is neither a date",
            ),
            (
                "base = \"a\"\n[environment]\n\"A=B\" = \"x\"",
                "line 3, column 1: `A=B` is not the name of a variable",
            ),
            (
                "base = \"a\"\n[environment]\nA = 1",
                "line 3, column 5: invalid type: integer `1`, expected a string",
            ),
            ("base = ", "line 1, column 8: "),
            (
                "name = \"x\"\nrepository = \"y\"\n[[version]]\n",
                "line 1, column 1: it describes bases of the catalog; a recipe names one with `base`",
            ),
        ] {
            let error = parse(text).expect_err(message).to_string();
            let told = error
                .strip_prefix("the recipe `images/x.toml` ")
                .expect("the path");
            assert!(told.starts_with(message), "{told}\n{message}");
        }
    }
}
