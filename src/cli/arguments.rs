//! The command line. Doc comments of arguments are their help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  imgtool resolve tfx:1.16.0 mlflow-skinny                   what to add, and why
  imgtool resolve tfx:1.16.0 mlflow-skinny -o pins.txt       the same as a file for pip, with hashes
  imgtool resolve tfx:1.x 'mlflow>=3'                        on the newest TFX that is known
  imgtool resolve dir:/opt/venv -r requirements.txt          on what is installed on this machine
  imgtool catalog list                                       the bases that are known by name

Exit status: 0 it fits; 1 it does not, and the reason is printed; 2 wrong usage or bad input; \
3 the package index failed; 70 a bug in imgtool.";

/// Resolve Python requirements on top of a container image, holding every package that the image has.
#[derive(Debug, Parser)]
#[command(name = "imgtool", version, about, after_help = EXAMPLES, max_term_width = 110)]
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
    /// Find what must be added to a base so that requirements are met and nothing in the base changes
    Resolve(ResolveArguments),
    /// List, show and make snapshots of bases that are known by name
    Catalog(CatalogArguments),
}

/// Find what must be added to a base so that requirements are met and nothing in the base changes.
///
/// Every distribution of the base keeps its exact version; what is added must get along with all of them. Only wheels
/// that fit the base's Python and C library are candidates. If nothing fits, the reason is printed as numbered facts,
/// with the newest version that would fit, and the exit status is 1.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imgtool resolve tfx:1.16.0 mlflow-skinny
  imgtool resolve tfx:1.16.0 'mlflow>=3,<4' google-auth -c constraints.txt --format json
  imgtool resolve tfx:1.16.0 mlflow-skinny -o pins.txt && pip install --no-deps --require-hashes -r pins.txt")]
pub struct ResolveArguments {
    /// The base: tfx:1.16.0, tfx:1.x, tfx (newest), dir:PATH (an unpacked root, a conda prefix or a venv)
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// What must be there in the end, such as mlflow-skinny or `mlflow[extras]>=3,<4`
    #[arg(value_name = "REQUIREMENT")]
    pub requirements: Vec<String>,
    /// Read requirements from a file
    #[arg(short = 'r', long = "requirement", value_name = "FILE")]
    pub requirement_files: Vec<PathBuf>,
    /// Bound the versions of what comes in by a constraints file
    #[arg(short = 'c', long = "constraint", value_name = "FILE")]
    pub constraint_files: Vec<PathBuf>,
    /// The form of the answer on stdout
    #[arg(long, value_enum, default_value_t = FormatName::Text)]
    pub format: FormatName,
    /// Write the pins to a file: a requirements file with hashes, or JSON where the name ends in .json
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The interpreter, by version or path, where the base has several
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<String>,
    /// Options of the package index.
    #[command(flatten)]
    pub index: IndexArguments,
}

/// A form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// A table.
    Text,
    /// JSON, version 1.
    Json,
    /// A requirements file with hashes.
    Requirements,
}

/// Options of the package index.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Package index")]
pub struct IndexArguments {
    /// The package index [from: UV_DEFAULT_INDEX, PIP_INDEX_URL, pip.conf]
    #[arg(short = 'i', long, value_name = "URL")]
    pub index_url: Option<String>,
    /// One more package index, asked before the main one; the first that has a project wins
    #[arg(long, value_name = "URL")]
    pub extra_index_url: Vec<String>,
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
    #[arg(long, conflicts_with_all = ["cache_dir", "offline"])]
    pub no_cache: bool,
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
/// From `dir:PATH` the installed metadata is taken. From a list of pins (one `name==version` a line) the metadata of
/// each is asked of the package index: its wheel, or its source distribution where there is no wheel.
#[derive(Debug, Args)]
pub struct SnapshotArguments {
    /// Where the snapshot comes from: dir:PATH, or a file of pins
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
}
