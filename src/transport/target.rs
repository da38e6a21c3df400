//! Where a new image goes: a registry, an OCI layout, an archive; written as the references of containers/image are
//! (`containers-transports(5)`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_distribution::Reference;

use super::image_reference::{DockerSelector, ImageReference, OciSelector};
use super::reference::ReferenceError;
use crate::packaging::requirement::presentable;

/// What a target can be; a refusal that knows nothing better ends with it.
const WHAT_WORKS: &str = "a target is `oci:FOLDER[:NAME]`, `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME:TAG]` \
                          or `docker://HOST/REPOSITORY:TAG`";

/// A place for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputTarget {
    /// `docker://HOST/REPOSITORY[:TAG]`: a registry.
    Registry(Reference),
    /// `oci:FOLDER[:NAME]`: an OCI image layout, made or added to.
    OciLayout {
        /// The folder.
        path: PathBuf,
        /// The image's name there (`org.opencontainers.image.ref.name`).
        name: Option<String>,
    },
    /// `oci-archive:FILE[:NAME]`: a tar archive of an OCI image layout.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// The image's name there.
        name: Option<String>,
    },
    /// `docker-archive:FILE[:NAME[:TAG]]`: an archive as `docker save` writes them.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// What `docker load` calls the image, host and tag written out.
        name: Option<Reference>,
    },
}

/// A text that names no place for an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no place for an image: {reason}")]
pub struct TargetError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead.
    pub hint: String,
}

impl fmt::Display for OutputTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with =
            |f: &mut fmt::Formatter<'_>, transport: &str, path: &Path, name: Option<String>| {
                write!(f, "{transport}:{}", path.display())?;
                name.map_or(Ok(()), |name| write!(f, ":{name}"))
            };
        match self {
            Self::Registry(reference) => write!(f, "docker://{reference}"),
            Self::OciLayout { path, name } => with(f, "oci", path, name.clone()),
            Self::OciArchive { path, name } => with(f, "oci-archive", path, name.clone()),
            Self::DockerArchive { path, name } => with(
                f,
                "docker-archive",
                path,
                name.as_ref().map(Reference::whole),
            ),
        }
    }
}

impl FromStr for OutputTarget {
    type Err = TargetError;

    /// Reads a target with its transport.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |reason: String, hint: String| TargetError {
            text: presentable(text),
            reason,
            hint,
        };
        let reference: ImageReference = text.parse().map_err(|error| match error {
            ReferenceError::Malformed { reason, hint, .. } => {
                refused(reason, hint.unwrap_or_else(|| WHAT_WORKS.to_owned()))
            }
            other => refused(other.to_string(), WHAT_WORKS.to_owned()),
        })?;
        let oci_name = |selector| match selector {
            None => Ok(None),
            Some(OciSelector::Tag(name)) if is_reference_name(&name) => Ok(Some(name)),
            Some(OciSelector::Tag(_)) => Err(refused(
                "its name has characters that names in a layout do not have".to_owned(),
                "a name is letters and digits, joined by `-`, `.`, `_`, `:`, `@`, `+` or `/`"
                    .to_owned(),
            )),
            Some(OciSelector::Position(_) | OciSelector::Digest(_)) => Err(refused(
                "a new image has no place or digest there yet".to_owned(),
                "name it: `oci:FOLDER:NAME`".to_owned(),
            )),
        };
        let file = |path: PathBuf| {
            if path == Path::new("-") {
                return Err(refused(
                    "standard output has the report".to_owned(),
                    "a pipe is written to as a file: `/dev/stdout` or `/dev/fd/3`".to_owned(),
                ));
            }
            Ok(path)
        };
        match reference {
            ImageReference::Registry { .. } if !text.starts_with("docker://") => Err(refused(
                "the transport is missing".to_owned(),
                format!(
                    "write `docker://{0}` for a registry, `oci:{0}` for a folder",
                    presentable(text)
                ),
            )),
            ImageReference::Registry {
                pattern: Some(_), ..
            } => Err(refused(
                "a wildcard is no tag".to_owned(),
                "write the tag that the image is to have".to_owned(),
            )),
            ImageReference::Registry { reference, .. } if reference.digest().is_some() => {
                Err(refused(
                    "the digest of a new image is not known beforehand".to_owned(),
                    "write a tag".to_owned(),
                ))
            }
            ImageReference::Registry { reference, .. } => Ok(Self::Registry(reference)),
            ImageReference::OciLayout { path, selector } => Ok(Self::OciLayout {
                path,
                name: oci_name(selector)?,
            }),
            ImageReference::OciArchive { path, selector } => Ok(Self::OciArchive {
                path: file(path)?,
                name: oci_name(selector)?,
            }),
            ImageReference::DockerArchive { path, selector } => Ok(Self::DockerArchive {
                path: file(path)?,
                name: match selector {
                    None => None,
                    Some(DockerSelector::Name(name)) => Some(name),
                    Some(DockerSelector::Position(_)) => {
                        return Err(refused(
                            "a new image has no place there yet".to_owned(),
                            "name it: `docker-archive:FILE:NAME:TAG`".to_owned(),
                        ));
                    }
                },
            }),
            ImageReference::DockerDaemon { .. } => Err(refused(
                "an engine is loaded into".to_owned(),
                "write `--load docker`".to_owned(),
            )),
            ImageReference::ContainersStorage { .. } => Err(refused(
                "an engine is loaded into".to_owned(),
                "write `--load podman`".to_owned(),
            )),
        }
    }
}

/// Whether `name` may stand in `org.opencontainers.image.ref.name`: OCI image-spec, `annotations.md`.
fn is_reference_name(name: &str) -> bool {
    name.split('/').all(|component| {
        let mut was_separator = true;
        let mut rest = component;
        while let Some(character) = rest.chars().next() {
            let length = if character.is_ascii_alphanumeric() {
                was_separator = false;
                1
            } else if was_separator {
                return false;
            } else if rest.starts_with("--") {
                was_separator = true;
                2
            } else if "-._:@+".contains(character) {
                was_separator = true;
                1
            } else {
                return false;
            };
            rest = &rest[length..];
        }
        !was_separator
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_print_as_they_would_be_written() {
        for (text, canonical) in [
            ("oci:out", "oci:out"),
            ("oci:/a/out:1.16-mlflow", "oci:/a/out:1.16-mlflow"),
            (
                "oci:out:registry.example:5000/a/b:1",
                "oci:out:registry.example:5000/a/b:1",
            ),
            ("oci-archive:out.tar", "oci-archive:out.tar"),
            ("oci-archive:/dev/stdout:1", "oci-archive:/dev/stdout:1"),
            ("docker-archive:out.tar", "docker-archive:out.tar"),
            (
                "docker-archive:out.tar:demo",
                "docker-archive:out.tar:docker.io/library/demo:latest",
            ),
            (
                "docker-archive:out.tar:localhost:5000/a:1",
                "docker-archive:out.tar:localhost:5000/a:1",
            ),
            (
                "docker://registry.example/a/b:1",
                "docker://registry.example/a/b:1",
            ),
        ] {
            let target: OutputTarget = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(target.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(target));
        }
    }

    #[test]
    fn what_is_no_target_has_a_way_out() {
        for (text, reason, hint) in [
            (
                "docker-daemon:demo:1",
                "an engine is loaded into",
                "--load docker",
            ),
            (
                "containers-storage:demo:1",
                "an engine is loaded into",
                "--load podman",
            ),
            ("a/b:1", "the transport is missing", "docker://a/b:1"),
            (
                "out",
                "an image is named with its transport",
                "a target is `oci:FOLDER",
            ),
            ("oci:", "nothing stands after `oci:`", "a target is"),
            (
                "oci:out:@0",
                "no place or digest there yet",
                "oci:FOLDER:NAME",
            ),
            (
                "oci:out:a b",
                "characters that names in a layout do not have",
                "letters and digits",
            ),
            ("oci:out:-a", "characters", "letters and digits"),
            (
                "oci-archive:-",
                "standard output has the report",
                "/dev/stdout",
            ),
            (
                "docker-archive:out.tar:@1",
                "no place there yet",
                "FILE:NAME:TAG",
            ),
            (
                "docker://registry.example/a:1.x",
                "a wildcard is no tag",
                "the tag",
            ),
            (
                "docker://registry.example/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "the digest of a new image is not known",
                "write a tag",
            ),
        ] {
            let error = text.parse::<OutputTarget>().expect_err(text);
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert!(error.hint.contains(hint), "{text}: {}", error.hint);
        }
    }

    #[test]
    fn names_in_a_layout_follow_their_grammar() {
        for name in ["1", "v1.0", "a--b", "a+b", "host:5000/a/b:1", "a@b", "A_b"] {
            assert!(is_reference_name(name), "{name}");
        }
        for name in ["", "a//b", "-a", "a-", "a..b", "a---b", "a b", "ä", "a/"] {
            assert!(!is_reference_name(name), "{name}");
        }
    }
}
