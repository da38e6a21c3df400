//! The command line. Doc comments of arguments are their help texts.

mod build;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::catalog::mlflow_server::ServerVersion;
use crate::command::base::Mirror;
use crate::package_index::parse_exclude_newer;
use crate::packaging::PackageName;
use crate::transport::platform::OciPlatform;

pub use build::{
    AttachmentName, BuildArguments, ConfigArguments, EngineName, LayerArguments, LayersName,
    ManifestName, TargetArguments,
};

const EXAMPLES: &str = "\
Examples:
  imgtool resolve tfx:1.16.0 mlflow-skinny                   what to add, and why
  imgtool resolve tfx:1.16.0 mlflow-skinny -o pins.txt       the same as a file for pip, with hashes
  imgtool resolve tfx:1.x 'mlflow>=3'                        on the newest TFX that is known
  imgtool resolve tfx:1.16.0 mlflow==2.1.0 --policy minimal  with the fewest changes of the base
  imgtool resolve tfx:1.16.0 mlflow --frontier               what more changes would buy
  imgtool resolve dir:/opt/venv -r requirements.txt          on what this machine has
  imgtool explain tfx:1.16.0 mlflow==2.1.0                   why it does not fit
  imgtool build tfx:1.16.0 mlflow-skinny --dry-run           what an image of it would be
  imgtool build tfx:1.16.0 mlflow-skinny --tag registry.example/team/trainer:1 --push
  imgtool build images/tfx-mlflow.toml --locked --push       a recipe, exactly as it is locked
  imgtool lock images/tfx-mlflow.toml                        lock what the recipe comes to
  imgtool inspect docker://registry.example/team/base:2.1    what is installed in an image
  imgtool catalog list                                       the bases that are known by name

Exit status: 0 done, or it fits; 1 it does not fit, and the reason is printed; 2 wrong usage or bad \
input; 3 a registry or the package index failed; 70 a bug in imgtool.";

const ABOUT: &str = "Add Python packages to a container image, changing nothing that it has, or as little as possible";

const LONG_ABOUT: &str = "\
Add Python packages to a container image, changing nothing that it has, or as little as possible.

`resolve` finds what must be added, `explain` says why something does not fit, `build` makes the image: one new layer on \
the base, without a daemon, the same bytes every time. Images are read where they are, and nothing of them is run.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "imgtool", version, about = ABOUT, long_about = LONG_ABOUT, after_help = EXAMPLES, max_term_width = 110)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    /// Options of every verb.
    #[command(flatten)]
    pub global: GlobalArguments,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
pub struct GlobalArguments {
    /// Say nothing on stderr but errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    pub quiet: bool,
    /// Say more on stderr
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub verbose: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = ColorWhen::Auto, help_heading = "Global options")]
    pub color: ColorWhen,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Find what must be added to a base, and what of it must change, so that requirements are met
    Resolve(Box<ResolveArguments>),
    /// Say why requirements do not fit a base, or why they come to just these versions
    Explain(Box<ExplainArguments>),
    /// Build an image: the base, and one new layer with what the requirements need
    Build(Box<BuildArguments>),
    /// Write down what recipes come to, so that every later build comes to the same
    Lock(Box<LockArguments>),
    /// Show the Python environment of a base: its interpreter, and what is installed
    Inspect(InspectArguments),
    /// List, show and make snapshots of bases that are known by name
    Catalog(CatalogArguments),
    /// Show, measure and clear what is kept between runs
    Cache(CacheArguments),
}

/// Find what must be added to a base, and what of it must change, so that requirements are met.
///
/// By default nothing of the base changes: every distribution keeps its exact version, and what is added must get along
/// with all of them. `--policy minimal` changes as few of them as possible, proven; `--policy upgrade` as many as the
/// newest of what is asked for takes. Whatever changes, nothing that the base does not violate already is violated in
/// the result. Only wheels that fit the base's Python and C library are candidates. If nothing fits, the reason is
/// printed as numbered facts, with what would fit, and the exit status is 1.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imgtool resolve tfx:1.16.0 mlflow-skinny
  imgtool resolve tfx:1.16.0 'mlflow>=3,<4' google-auth -c constraints.txt --format json
  imgtool resolve tfx:1.16.0 mlflow-skinny -o pins.txt && pip install --no-deps --require-hashes -r pins.txt
  imgtool resolve tfx:1.16.0 mlflow-skinny -o pylock.toml && uv pip install --no-deps -r pylock.toml
  imgtool resolve tfx:1.16.0 mlflow==2.1.0 --policy minimal   the fewest changes of the base
  imgtool resolve tfx:1.16.0 mlflow --frontier                what more changes would buy")]
pub struct ResolveArguments {
    /// Where the answer goes.
    #[command(flatten)]
    pub output: OutputArguments,
    /// What is asked of which base.
    #[command(flatten)]
    pub question: QuestionArguments,
    /// Show what there is to have for how many changes of the base, one row each, instead of one answer
    #[arg(long, help_heading = "Changes of the base")]
    pub frontier: bool,
}

/// Write down what recipes come to, so that every later build comes to the same.
///
/// A recipe is a TOML file: a base, what is required of it, and what the image's configuration says. What it comes to is
/// written beside it, as NAME.lock for NAME.toml: the digest of the base, and version, name and SHA-256 of every wheel.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imgtool lock images/tfx-mlflow.toml
  imgtool lock --check images/*.toml                          whether all locks are up to date, for CI")]
pub struct LockArguments {
    /// The recipes
    #[arg(value_name = "RECIPE", required = true)]
    pub recipes: Vec<PathBuf>,
    /// Write nothing; say whether the locks are up to date, with exit status 1 where one is not
    #[arg(long)]
    pub check: bool,
    /// Pass over the constraints that live in the base: PIP_CONSTRAINT, UV_CONSTRAINT, pip.conf
    #[arg(long)]
    pub no_image_config: bool,
    /// Options of images.
    #[command(flatten)]
    pub image: ImageArguments,
    /// Options of the package index.
    #[command(flatten)]
    pub index: IndexArguments,
}

/// Where the answer goes, and in which form.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArguments {
    /// The form of the answer: of FILE with `--output`, else of stdout [default: text, or what the name of FILE asks for]
    #[arg(long, value_enum)]
    pub format: Option<FormatName>,
    /// Write the answer to a file, and the table to stdout. By its name: .json is JSON, pylock.toml and pylock.NAME.toml a
    /// lock file, constraint*.txt constraints, anything else requirements with hashes
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Say below each line of requirements and constraints who needs it (`# via mlflow-skinny`)
    #[arg(long)]
    pub annotate: bool,
}

/// Say why requirements do not fit a base, or why they come to just these versions.
///
/// Of requirements that do not fit: the facts that rule them out, numbered, from what was asked to where it meets the
/// base, none of them superfluous; then what would fit, found by solving. The exit status is 1. Of requirements that
/// fit: what keeps out the newest version of each project that is not the newest, then who needs each addition.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imgtool explain tfx:1.16.0 mlflow==2.1.0
  imgtool explain tfx:1.13.0 mlflow                           why it is not the newest
  imgtool explain tfx:1.16.0 mlflow==2.1.0 --format dot | dot -Tsvg > why.svg")]
pub struct ExplainArguments {
    /// The form of the explanation
    #[arg(long, value_enum, default_value_t = ExplainFormatName::Text)]
    pub format: ExplainFormatName,
    /// What is asked of which base.
    #[command(flatten)]
    pub question: QuestionArguments,
}

/// A form of an explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormatName {
    /// Numbered sentences.
    Text,
    /// JSON, version 1.
    Json,
    /// A graph for Graphviz: `dot -Tsvg` draws it.
    Dot,
}

/// Heading of the options that say what is asked for.
const REQUEST: &str = "Request";

/// For arguments that stand below no heading, wherever they come from.
const NO_HEADING: Option<&'static str> = None;

/// What is asked of which base: the options of every verb that solves.
#[derive(Debug, Clone, Args)]
pub struct QuestionArguments {
    /// The base: tfx:1.16.0, tfx:1.x, tfx (newest); docker://HOST/NAME:TAG, oci:DIR, oci-archive:FILE, docker-archive:FILE,
    /// docker-daemon:NAME, containers-storage:NAME; dir:PATH (an unpacked root, a conda prefix or a venv)
    #[arg(value_name = "REFERENCE", help_heading = NO_HEADING)]
    pub reference: String,
    /// What must be there in the end, such as mlflow-skinny or `mlflow[extras]>=3,<4`
    #[arg(value_name = "REQUIREMENT", help_heading = NO_HEADING)]
    pub requirements: Vec<String>,
    /// Read requirements from a file; may be given several times
    #[arg(short = 'r', long = "requirement", value_name = "FILE", help_heading = REQUEST)]
    pub requirement_files: Vec<PathBuf>,
    /// Bound the versions of what comes in by a constraints file
    #[arg(short = 'c', long = "constraint", value_name = "FILE", help_heading = REQUEST)]
    pub constraint_files: Vec<PathBuf>,
    /// Let a requirement stand in the place of what the base and the index require of its project
    #[arg(long = "override", value_name = "FILE", help_heading = REQUEST)]
    pub override_files: Vec<PathBuf>,
    /// Pass over the constraints that live in the base: PIP_CONSTRAINT, UV_CONSTRAINT, pip.conf
    #[arg(long, help_heading = REQUEST)]
    pub no_image_config: bool,
    /// Bound mlflow, mlflow-skinny and mlflow-tracing to what works with an MLflow server of this version, such as 2.19
    #[arg(long, value_name = "VERSION", help_heading = REQUEST)]
    pub server_version: Option<ServerVersion>,
    /// What of the base may change.
    #[command(flatten)]
    pub policy: PolicyArguments,
    /// The interpreter, by version or path, where the base has several
    #[arg(long, value_name = "PYTHON", help_heading = REQUEST)]
    pub python: Option<String>,
    /// Options of images.
    #[command(flatten)]
    pub image: ImageArguments,
    /// Options of the package index.
    #[command(flatten)]
    pub index: IndexArguments,
}

/// What of the base may change.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Changes of the base")]
pub struct PolicyArguments {
    /// What of the base may change for the request
    #[arg(long, value_enum, default_value_t = AimName::Hold)]
    pub policy: AimName,
    /// Let distributions of the base change that the policy would hold
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub allow_change: Vec<PackageName>,
    /// Hold distributions of the base that the policy would let change
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub hold: Vec<PackageName>,
    /// Let distributions of the base be removed, where nothing less will do
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub allow_remove: Vec<PackageName>,
}

/// What is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AimName {
    /// Nothing of the base changes
    Hold,
    /// As little as possible changes, proven
    Minimal,
    /// Whatever changes, the newest of what is asked for; nothing in the result is broken
    Upgrade,
}

/// A form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// A table.
    Text,
    /// JSON, version 1.
    Json,
    /// A requirements file with hashes: what must be installed.
    Requirements,
    /// A constraints file: the whole environment that comes out.
    Constraints,
    /// A lock file, pylock.toml (PEP 751): what must be installed.
    Pylock,
}

/// Which of several indexes answers for a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IndexStrategyName {
    /// The first that has it, so that nobody can slip in a higher version
    FirstIndex,
    /// All that have it, every version of an earlier one before those of a later one
    UnsafeFirstMatch,
    /// All that have it, the newest version first
    UnsafeBestMatch,
}

/// Options of the package index.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of a command line"
)]
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Package index")]
pub struct IndexArguments {
    /// The package index [from: UV_DEFAULT_INDEX, PIP_INDEX_URL, pip.conf]
    #[arg(short = 'i', long, value_name = "URL")]
    pub index_url: Option<String>,
    /// One more package index, asked before the main one; the first that has a project wins
    #[arg(long, value_name = "URL")]
    pub extra_index_url: Vec<String>,
    /// Ask no package index: only what `--find-links` names is offered [from: PIP_NO_INDEX, pip.conf]
    #[arg(long, conflicts_with_all = ["index_url", "extra_index_url"])]
    pub no_index: bool,
    /// Offer also the files of a folder, or those that an HTML page links to; may be given several times [from:
    /// UV_FIND_LINKS, PIP_FIND_LINKS, pip.conf]
    #[arg(short = 'f', long, value_name = "DIR|URL")]
    pub find_links: Vec<String>,
    /// Which of several indexes answers for a project [from: UV_INDEX_STRATEGY] [default: first-index]
    #[arg(long, value_enum)]
    pub index_strategy: Option<IndexStrategyName>,
    /// Leave out files that were uploaded at a time or later; a date means the end of that day, in UTC [from:
    /// IMGTOOL_EXCLUDE_NEWER, UV_EXCLUDE_NEWER]
    #[arg(long, value_name = "DATE", value_parser = parse_exclude_newer)]
    pub exclude_newer: Option<jiff::Timestamp>,
    /// Use only what is cached
    #[arg(long, conflicts_with = "refresh")]
    pub offline: bool,
    /// Ask the index again for pages that are still fresh
    #[arg(long)]
    pub refresh: bool,
    /// Where pages and metadata are cached [from: IMGTOOL_CACHE_DIR, XDG_CACHE_HOME]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Keep no cache
    #[arg(long, conflicts_with = "cache_dir")]
    pub no_cache: bool,
}

/// Show the Python environment of a base: its interpreter, and what is installed.
///
/// The base is read, never run. Of several interpreters the one that the image's PATH would start is meant, unless
/// `--python` says another; all of them are listed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imgtool inspect docker://registry.example/team/train:2.1        an image of a registry
  imgtool inspect oci:layout --layers --size                      which layer brought what
  imgtool inspect dir:/srv/root --python 3.10                     one of several interpreters
  imgtool inspect oci-archive:image.tar -o image.cdx.json         a CycloneDX bill of materials
  imgtool inspect oci:layout --attached sbom                      the one that was attached when it was built
  imgtool inspect tfx:1.16.0 --format requirements -o held.txt    for `pip install -c held.txt`")]
pub struct InspectArguments {
    /// The base: tfx:1.16.0, docker://HOST/NAME:TAG, oci:DIR, oci-archive:FILE, docker-archive:FILE, docker-daemon:NAME,
    /// containers-storage:NAME, dir:PATH
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// The form of the answer [default: text, or what the name of FILE asks for: .cdx.json, .spdx.json, .json]
    #[arg(long, value_enum)]
    pub format: Option<InspectFormatName>,
    /// Show the layers, and which of them brought each distribution
    #[arg(long)]
    pub layers: bool,
    /// Show sizes of distributions
    #[arg(long)]
    pub size: bool,
    /// Print a document that is attached to the image, as it is, instead of inspecting it
    #[arg(long, value_enum, value_name = "KIND", conflicts_with_all = ["format", "layers", "size", "python", "snapshot"])]
    pub attached: Option<AttachedName>,
    /// Write the answer to a file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The interpreter, by version or path, where the base has several
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<String>,
    /// Options of images.
    #[command(flatten)]
    pub image: ImageArguments,
    /// Options of the cache.
    #[command(flatten)]
    pub cache: LayerCacheArguments,
}

/// A document that is attached to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AttachedName {
    /// The bill of materials, CycloneDX.
    Sbom,
    /// How the image was made, an in-toto statement.
    Provenance,
    /// The lock that the image was made from.
    Lock,
}

/// A form of what was inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InspectFormatName {
    /// A table.
    Text,
    /// JSON, version 1.
    Json,
    /// A requirements file that holds every version.
    Requirements,
    /// A CycloneDX 1.6 bill of materials, JSON.
    Cyclonedx,
    /// An SPDX 2.3 document, JSON.
    Spdx,
}

/// Options of images, for every verb that reads one.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Images")]
pub struct ImageArguments {
    /// Which image of an index is meant, such as linux/arm64; `build` takes several [default: linux and this machine's
    /// architecture]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_delimiter = ',')]
    pub platform: Vec<OciPlatform>,
    /// For a name of the catalog, take its snapshot and do not ask the registry [from: IMGTOOL_SNAPSHOT]
    #[arg(long)]
    pub snapshot: bool,
    /// Ask another registry in place of one; may be given several times [from: IMGTOOL_REGISTRY_MIRRORS]
    #[arg(long = "registry-mirror", value_name = "REGISTRY=LOCATION", value_parser = mirror)]
    pub mirrors: Vec<Mirror>,
    /// Speak to a registry without TLS; may be given several times
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    pub insecure_registries: Vec<String>,
}

/// What the options of a verb say of the cache.
#[derive(Debug, Clone, Copy)]
pub struct CacheChoice<'a> {
    /// The folder that is named.
    pub folder: Option<&'a Path>,
    /// Whether there is to be none.
    pub none: bool,
    /// Whether to do without the network.
    pub offline: bool,
}

impl IndexArguments {
    /// What these options say of the cache.
    #[must_use]
    pub fn cache(&self) -> CacheChoice<'_> {
        CacheChoice {
            folder: self.cache_dir.as_deref(),
            none: self.no_cache,
            offline: self.offline,
        }
    }
}

impl LayerCacheArguments {
    /// What these options say of the cache.
    #[must_use]
    pub fn cache(&self) -> CacheChoice<'_> {
        CacheChoice {
            folder: self.cache_dir.as_deref(),
            none: self.no_cache,
            offline: self.offline,
        }
    }
}

/// Options of the cache of layers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cache")]
pub struct LayerCacheArguments {
    /// Use only what is cached or lies on this machine
    #[arg(long)]
    pub offline: bool,
    /// Where inventories of layers are cached [from: IMGTOOL_CACHE_DIR, XDG_CACHE_HOME]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Keep no cache
    #[arg(long, conflicts_with = "cache_dir")]
    pub no_cache: bool,
}

/// A registry and the one that stands in for it, as `REGISTRY=LOCATION`.
pub(super) fn mirror(text: &str) -> Result<Mirror, String> {
    match text.split_once('=') {
        Some((registry, location)) if !registry.is_empty() && !location.is_empty() => Ok(Mirror {
            registry: registry.to_owned(),
            location: location.to_owned(),
        }),
        _ => Err(
            "a mirror is REGISTRY=LOCATION, such as registry.example=mirror.example:5000/cache"
                .to_owned(),
        ),
    }
}

/// Show, measure and clear what is kept between runs.
///
/// Pages and metadata of the package index, and inventories of layers. All of it can be had again: clearing costs time,
/// nothing else.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imgtool cache size
  imgtool cache prune --days 7
  imgtool cache clean")]
pub struct CacheArguments {
    /// What to do with the cache.
    #[command(subcommand)]
    pub verb: CacheVerb,
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub enum CacheVerb {
    /// Print where the cache lies
    Dir {
        /// Which cache, and the form of the answer.
        #[command(flatten)]
        options: CacheOptions,
    },
    /// Show how large the cache is
    Size {
        /// Which cache, and the form of the answer.
        #[command(flatten)]
        options: CacheOptions,
    },
    /// Remove what this version does not read, what was left half-written, and what nobody has used for long
    Prune {
        /// How many days an entry may lie unused
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        days: u32,
        /// Which cache, and the form of the answer.
        #[command(flatten)]
        options: CacheOptions,
    },
    /// Remove all that imgtool has written to the cache, and nothing else
    Clean {
        /// Which cache, and the form of the answer.
        #[command(flatten)]
        options: CacheOptions,
    },
}

/// Which cache, and the form of the answer.
#[derive(Debug, Clone, Args)]
pub struct CacheOptions {
    /// The cache [from: IMGTOOL_CACHE_DIR, XDG_CACHE_HOME]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = PlainFormatName::Text)]
    pub format: PlainFormatName,
}

/// List, show and make snapshots of bases that are known by name.
#[derive(Debug, Args)]
pub struct CatalogArguments {
    /// What to do with the catalog.
    #[command(subcommand)]
    pub verb: CatalogVerb,
}

/// What to do with the catalog.
#[derive(Debug, Subcommand)]
pub enum CatalogVerb {
    /// List the bases that are known by name
    List {
        /// The form of the answer
        #[arg(long, value_enum, default_value_t = PlainFormatName::Text)]
        format: PlainFormatName,
    },
    /// Show what is installed in a base
    Show {
        /// The base, such as tfx:1.16.0
        #[arg(value_name = "REFERENCE")]
        reference: String,
        /// The form of the answer
        #[arg(long, value_enum, default_value_t = PlainFormatName::Text)]
        format: PlainFormatName,
        /// Options of images.
        #[command(flatten)]
        image: Box<ImageArguments>,
        /// Options of the cache.
        #[command(flatten)]
        cache: LayerCacheArguments,
    },
    /// Make a snapshot of a base, from an environment or from a list of pins
    Snapshot(Box<SnapshotArguments>),
}

/// A form of an answer that is no resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlainFormatName {
    /// A table.
    Text,
    /// JSON.
    Json,
}

/// Make a snapshot of a base, from an environment or from a list of pins.
///
/// Of an image or a folder (`docker://…`, `dir:PATH`) the installed metadata is taken. From a list of pins (one `name==version` a line) the metadata of
/// each is asked of the package index: its wheel, or its source distribution where there is no wheel.
#[derive(Debug, Args)]
pub struct SnapshotArguments {
    /// Where the snapshot comes from: an image or a folder with its transport (docker://…, oci:PATH, dir:PATH), or a file of pins
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The base that the snapshot is of, such as tfx:1.16.0; one of the catalog brings its Python, C library and prefix
    #[arg(long, value_name = "NAME:VERSION")]
    pub base: String,
    /// What the snapshot is made from, as a sentence fragment [default: the source, its size and the date]
    #[arg(long, value_name = "TEXT")]
    pub made_from: Option<String>,
    /// Full version of Python to evaluate markers with, for a base that is not in the catalog
    #[arg(long, value_name = "VERSION")]
    pub python: Option<String>,
    /// The C library, such as glibc:2.35, for a base that is not in the catalog
    #[arg(long, value_name = "NAME:VERSION")]
    pub libc: Option<String>,
    /// Machine name, such as x86_64, for a base that is not in the catalog
    #[arg(long, value_name = "NAME", default_value = "x86_64")]
    pub architecture: String,
    /// Installation prefix, for a base that is not in the catalog
    #[arg(long, value_name = "PATH", default_value = "/usr")]
    pub prefix: String,
    /// Write the snapshot to a file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Options of images.
    #[command(flatten)]
    pub image: ImageArguments,
    /// Options of the package index.
    #[command(flatten)]
    pub index: IndexArguments,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }

    #[test]
    fn a_mirror_has_two_sides() {
        let mirror = super::mirror("a.example=b.example:5000/x").expect("a mirror");
        assert_eq!(mirror.registry, "a.example");
        assert_eq!(mirror.location, "b.example:5000/x");
        for text in ["a.example", "=b", "a=", ""] {
            assert!(super::mirror(text).is_err(), "{text}");
        }
    }
}
