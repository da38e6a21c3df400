//! The command line of `imgtool build`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{PlainFormatName, QuestionArguments, REQUEST};

/// Build an image: the base, and one new layer with what the requirements need.
///
/// The request is solved as `resolve` does it; the wheels are fetched and put where the base's own pip would have put
/// them; what is replaced leaves through whiteouts made from its own record. No daemon is needed, nothing is run, and the
/// base's layers are neither fetched for it nor sent to a registry that has them. The same input gives the same bytes,
/// on any machine.
///
/// Instead of a base, a recipe can be named: a file such as images/tfx-mlflow.toml that holds base, requirements,
/// environment and tags. Of several platforms (`--platform linux/amd64,linux/arm64`) one index is made.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  imgtool build tfx:1.16.0 mlflow-skinny --dry-run
      what would be added, replaced and removed
  imgtool build tfx:1.16.0 mlflow-skinny --tag registry.example/team/trainer:1 --push
  imgtool build oci:base -r pins.txt --output oci:trainer
      from pins that `resolve` wrote, into a folder
  imgtool build docker://registry.example/team/base:2 mlflow --load --tag trainer:dev
      for podman or docker on this machine
  imgtool build images/tfx-mlflow.toml --locked --push
      from a recipe, exactly as it is locked")]
pub struct BuildArguments {
    /// Where the image goes.
    #[command(flatten)]
    pub target: TargetArguments,
    /// What the image says of itself.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// How the layer is made.
    #[command(flatten)]
    pub layer: LayerArguments,
    /// What is asked of which base.
    #[command(flatten)]
    pub question: QuestionArguments,
    /// Build exactly what the lock beside the recipe says, or fail
    #[arg(long, help_heading = REQUEST)]
    pub locked: bool,
}

/// Where an image goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArguments {
    /// A name of the image: where `--push` pushes it to, what `--load` and `--output` call it; may be given several times
    #[arg(short, long = "tag", value_name = "HOST/NAME:TAG")]
    pub tags: Vec<String>,
    /// Push the image to the registries of its names
    #[arg(long)]
    pub push: bool,
    /// Write the image to a layout or an archive; may be given several times
    #[arg(
        short,
        long = "output",
        value_name = "oci:DIR|oci-archive:FILE|docker-archive:FILE"
    )]
    pub outputs: Vec<String>,
    /// Hand the image to an engine of this machine [default engine: podman, else docker]
    #[arg(long, value_name = "ENGINE", num_args = 0..=1, require_equals = true, default_missing_value = "any")]
    pub load: Option<EngineName>,
    /// Show what would be added, replaced and removed, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What is attached to the image, between commas: documents that registries and layouts keep beside it
    #[arg(long, value_name = "KIND", value_delimiter = ',', default_values_t = [AttachmentName::Sbom, AttachmentName::Provenance, AttachmentName::Lock])]
    pub attach: Vec<AttachmentName>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = PlainFormatName::Text)]
    pub format: PlainFormatName,
    /// Write what was built to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Write the digest of the image to a file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
}

/// An engine that images are handed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// podman, else docker
    Any,
    /// podman
    Podman,
    /// docker
    Docker,
}

/// What is attached to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AttachmentName {
    /// Nothing
    None,
    /// A CycloneDX bill of materials of the result, base and added told apart
    Sbom,
    /// A statement of what it was made from (in-toto, SLSA provenance v1)
    Provenance,
    /// The lock: base digest, pins, hashes
    Lock,
}

impl std::fmt::Display for AttachmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Sbom => "sbom",
            Self::Provenance => "provenance",
            Self::Lock => "lock",
        })
    }
}

/// What an image says of itself: all of it is the base's unless it is given here.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Configuration of the image")]
pub struct ConfigArguments {
    /// Set an environment variable; may be given several times
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// Set a label; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
    /// Set an annotation of the manifest; may be given several times
    #[arg(long = "annotation", value_name = "NAME=VALUE", value_parser = pair)]
    pub annotations: Vec<(String, String)>,
    /// Set the entrypoint: a JSON list, or words apart by spaces; empty for none
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// Set the default arguments: a JSON list, or words apart by spaces; empty for none
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Set the user
    #[arg(long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// The family of the manifest: that of a Docker base stays Docker's, unless OCI is asked for or the image goes to OCI
    /// layouts and to no registry
    #[arg(long, value_enum, default_value_t = ManifestName::AsBase)]
    pub manifest: ManifestName,
    /// Set the folder that programs start in
    #[arg(long, value_name = "PATH")]
    pub workdir: Option<String>,
}

/// The family of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ManifestName {
    /// That of the base
    AsBase,
    /// OCI
    Oci,
}

/// How the new layer is made.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Layer")]
pub struct LayerArguments {
    /// How the new layer is compressed, with a level if need be, such as zstd:9 [default: gzip]
    #[arg(long, value_name = "gzip|zstd[:LEVEL]")]
    pub compression: Option<String>,
    /// Whether everything comes in one layer, or each distribution in its own [default: single]
    #[arg(long, value_enum, value_name = "HOW")]
    pub layers: Option<LayersName>,
    /// Compile the modules, so that they need not be compiled at every start of a container; needs a Python of the image's
    /// version on this machine
    #[arg(long)]
    pub compile_bytecode: bool,
    /// The Python that compiles the modules, of the image's minor version [default: `pythonX.Y` in PATH, else of pyenv or uv]
    #[arg(long, value_name = "PATH")]
    pub bytecode_python: Option<PathBuf>,
    /// Install a wheel of this machine, too; may be given several times
    #[arg(long = "wheel", value_name = "FILE")]
    pub wheels: Vec<PathBuf>,
    /// Install although the base's Python belongs to the base's package manager (EXTERNALLY-MANAGED)
    #[arg(long)]
    pub break_system_packages: bool,
}

/// How many layers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayersName {
    /// One for everything
    Single,
    /// One for each distribution
    PerDistribution,
}

/// A name and its value, as `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it is written as NAME=VALUE".to_owned()),
    }
}
