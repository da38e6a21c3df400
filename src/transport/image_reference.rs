//! References to images: a transport and what it needs, in the grammar of containers/image
//! (`containers-transports(5)`), and the bare `host/repository` that every engine takes.
//!
//! Parsing looks at the text alone, never at the disk, so a text always means the same. Therefore a path ends at its
//! first colon, as it does in containers/image: a file with a colon in its name needs a link or another name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use oci_distribution::Reference;

use super::reference::{ReferenceError, VersionPattern};
use crate::digest::Digest;
use crate::packaging::requirement::presentable;

/// The transports, as they stand before what they need.
pub(super) const TRANSPORTS: [&str; 6] = [
    DOCKER,
    OCI_LAYOUT,
    OCI_ARCHIVE,
    DOCKER_ARCHIVE,
    DOCKER_DAEMON,
    CONTAINERS_STORAGE,
];
const DOCKER: &str = "docker://";
const OCI_LAYOUT: &str = "oci:";
const OCI_ARCHIVE: &str = "oci-archive:";
const DOCKER_ARCHIVE: &str = "docker-archive:";
const DOCKER_DAEMON: &str = "docker-daemon:";
const CONTAINERS_STORAGE: &str = "containers-storage:";

/// The longest reference that is looked at, in bytes: a repository has at most 255, a tag 128, a path 4,096.
const LONGEST: usize = 8192;

/// An image, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageReference {
    /// `docker://HOST/REPOSITORY[:TAG][@DIGEST]`: in a registry. The host may be left away for Docker Hub.
    Registry {
        /// Host, repository, tag and digest. Where there is a pattern, its tag is the pattern as it was written, or `x`
        /// for one that is no tag (`*`), and means nothing by itself.
        reference: Reference,
        /// Set where the tag is a wildcard (`1.x`, `1.*`, `x`, `*`) and no digest says more: the tag is then to be
        /// chosen from the registry's list.
        pattern: Option<VersionPattern>,
    },
    /// `oci:FOLDER[:TAG | :@POSITION | @DIGEST]`: in an OCI image layout.
    OciLayout {
        /// The folder.
        path: PathBuf,
        /// Which of its images.
        selector: Option<OciSelector>,
    },
    /// `oci-archive:FILE[:TAG | :@POSITION | @DIGEST]`: in a tar archive of an OCI image layout.
    OciArchive {
        /// The file; `-` for the standard input.
        path: PathBuf,
        /// Which of its images.
        selector: Option<OciSelector>,
    },
    /// `docker-archive:FILE[:NAME | :@POSITION]`: in an archive of `docker save`.
    DockerArchive {
        /// The file; `-` for the standard input.
        path: PathBuf,
        /// Which of its images.
        selector: Option<DockerSelector>,
    },
    /// `docker-daemon:NAME`: in the Docker engine, by name or by identifier (`sha256:…`).
    DockerDaemon {
        /// The image as the engine is asked for it.
        name: String,
    },
    /// `containers-storage:NAME`: in the storage of podman, by name or by identifier.
    ContainersStorage {
        /// The image as podman is asked for it.
        name: String,
    },
}

/// One of the images of an OCI layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OciSelector {
    /// By its annotation `org.opencontainers.image.ref.name`.
    Tag(String),
    /// By its place in `index.json`, from 0.
    Position(usize),
    /// By the digest of its manifest or index.
    Digest(Digest),
}

/// One of the images of an archive of `docker save`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerSelector {
    /// By a name with a tag, host and repository written out.
    Name(Reference),
    /// By its place in `manifest.json`, from 0.
    Position(usize),
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |f: &mut fmt::Formatter<'_>, selector: Option<String>| {
            f.write_str(&selector.unwrap_or_default())
        };
        match self {
            Self::Registry { reference, .. } => write!(f, "{DOCKER}{reference}"),
            Self::OciLayout { path, selector } => {
                write!(f, "{OCI_LAYOUT}{}", path.display())?;
                with(f, selector.as_ref().map(OciSelector::suffix))
            }
            Self::OciArchive { path, selector } => {
                write!(f, "{OCI_ARCHIVE}{}", path.display())?;
                with(f, selector.as_ref().map(OciSelector::suffix))
            }
            Self::DockerArchive { path, selector } => {
                write!(f, "{DOCKER_ARCHIVE}{}", path.display())?;
                with(f, selector.as_ref().map(DockerSelector::suffix))
            }
            Self::DockerDaemon { name } => write!(f, "{DOCKER_DAEMON}{name}"),
            Self::ContainersStorage { name } => write!(f, "{CONTAINERS_STORAGE}{name}"),
        }
    }
}

impl OciSelector {
    /// The selector as it stands behind a path.
    fn suffix(&self) -> String {
        match self {
            Self::Tag(tag) => format!(":{tag}"),
            Self::Position(at) => format!(":@{at}"),
            Self::Digest(digest) => format!("@{digest}"),
        }
    }
}

impl DockerSelector {
    /// The selector as it stands behind a path.
    fn suffix(&self) -> String {
        match self {
            Self::Name(name) => format!(":{name}"),
            Self::Position(at) => format!(":@{at}"),
        }
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    /// Reads a reference with its transport, or a bare one with at least two path components.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|Refusal { reason, hint }| ReferenceError::Malformed {
            text: presentable(text),
            reason,
            hint,
        })
    }
}

/// Why a text is no reference, and what was probably meant.
struct Refusal {
    reason: String,
    hint: Option<String>,
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
        }
    }

    fn hinting(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: Some(hint.into()),
        }
    }
}

fn parse(text: &str) -> Result<ImageReference, Refusal> {
    if text.len() > LONGEST {
        let reason = format!("it is longer than {LONGEST} bytes");
        return Err(Refusal::new(reason));
    }
    if text.contains(char::is_control) {
        return Err(Refusal::new("it has control characters"));
    }
    let transport = TRANSPORTS
        .into_iter()
        .find(|transport| text.starts_with(transport));
    let (transport, rest) = match transport {
        Some(transport) => (transport, &text[transport.len()..]),
        None if text.contains('/') => (DOCKER, text),
        None => {
            return Err(Refusal::new(
                "an image is named with its transport or its repository",
            ));
        }
    };
    if rest.is_empty() {
        let reason = format!("nothing stands after `{transport}`");
        return Err(Refusal::new(reason));
    }
    match transport {
        OCI_LAYOUT => {
            let (path, selector) = oci(transport, rest)?;
            Ok(ImageReference::OciLayout { path, selector })
        }
        OCI_ARCHIVE => {
            let (path, selector) = oci(transport, rest)?;
            Ok(ImageReference::OciArchive { path, selector })
        }
        DOCKER_ARCHIVE => docker_archive(rest),
        DOCKER_DAEMON => engine_name(rest).map(|name| ImageReference::DockerDaemon { name }),
        CONTAINERS_STORAGE => containers_storage(rest),
        _ => registry(rest),
    }
}

/// `HOST/REPOSITORY[:TAG][@DIGEST]`, where the tag may be a wildcard.
fn registry(text: &str) -> Result<ImageReference, Refusal> {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let tag_at = name
        .rfind(':')
        .filter(|at| !name[*at..].contains('/') && digest.is_none());
    let tag = tag_at.map(|at| &name[at + 1..]);
    let pattern = tag.and_then(wildcard);
    let written = match (tag_at, tag, &pattern) {
        // A `*` is no tag.
        (Some(at), Some(tag), Some(pattern)) if tag.contains('*') => {
            format!("{}:{}", &name[..at], as_tag(pattern))
        }
        (_, Some(tag), None) if tag.contains('*') => {
            return Err(Refusal::hinting(
                "a wildcard stands after numbers, at the end of a tag",
                "write `:1.2.x`, `:1.x` or `:x` for the newest such version",
            ));
        }
        _ => text.to_owned(),
    };
    let reference = repository(&written)?;
    Ok(ImageReference::Registry { reference, pattern })
}

/// The pattern that `tag` is; `None` for a plain tag, of which `latest` is one here.
fn wildcard(tag: &str) -> Option<VersionPattern> {
    match tag.parse() {
        Ok(VersionPattern::Newest) if tag == "latest" => None,
        Ok(VersionPattern::Tag(_)) | Err(_) => None,
        Ok(pattern) => Some(pattern),
    }
}

/// `pattern` in the letters of a tag.
fn as_tag(pattern: &VersionPattern) -> String {
    match pattern {
        VersionPattern::Newest => "x".to_owned(),
        other => other.to_string(),
    }
}

/// A name of a repository with tag or digest, host written out.
pub(super) fn normalized(text: &str) -> Option<Reference> {
    let parsed: Reference = text.parse().ok()?;
    // The grammar takes a host without a dot in capitals for a part of the repository, which may have none.
    let again: Reference = parsed.to_string().parse().ok()?;
    (again == parsed).then_some(parsed)
}

fn repository(text: &str) -> Result<Reference, Refusal> {
    normalized(text).ok_or_else(|| {
        let reason = match Reference::from_str(text) {
            Err(error) => error.to_string(),
            Ok(_) => "repository name must be lowercase".to_owned(),
        };
        let lower = text.to_lowercase();
        let hint = (lower != text && normalized(&lower).is_some())
            .then(|| "names of images are lower case".to_owned());
        Refusal { reason, hint }
    })
}

/// A path up to its first colon and what stands behind it.
fn path_and_rest<'a>(
    transport: &str,
    text: &'a str,
) -> Result<(PathBuf, Option<&'a str>), Refusal> {
    let (path, rest) = match text.split_once(':') {
        Some((path, rest)) => (path, Some(rest)),
        None => (text, None),
    };
    if path.is_empty() {
        let reason = format!("the path after `{transport}` is missing");
        return Err(Refusal::new(reason));
    }
    if rest == Some("") {
        let hint = format!("write `{transport}{path}` for the only image there");
        return Err(Refusal::hinting("nothing stands after the colon", hint));
    }
    Ok((PathBuf::from(path), rest))
}

fn position(text: &str) -> Result<usize, Refusal> {
    // `+1` would be a number for the parser.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| {
            Refusal::hinting(
                "after `:@` stands the place of an image, a number from 0",
                "a digest stands directly behind the path: `oci:FOLDER@sha256:…`",
            )
        })
}

fn oci(transport: &str, text: &str) -> Result<(PathBuf, Option<OciSelector>), Refusal> {
    if let Some((path, digest)) = text
        .rsplit_once('@')
        .and_then(|(path, digest)| Some((path, digest.parse::<Digest>().ok()?)))
    {
        let (path, rest) = path_and_rest(transport, path)?;
        if rest.is_some() {
            return Err(Refusal::new(
                "an image of a layout is named by its tag or by its digest, not by both",
            ));
        }
        return Ok((path, Some(OciSelector::Digest(digest))));
    }
    let (path, rest) = path_and_rest(transport, text)?;
    let selector = match rest {
        None => None,
        Some(rest) => Some(match rest.strip_prefix('@') {
            Some(place) => OciSelector::Position(position(place)?),
            None => OciSelector::Tag(rest.to_owned()),
        }),
    };
    Ok((path, selector))
}

fn docker_archive(text: &str) -> Result<ImageReference, Refusal> {
    let (path, rest) = path_and_rest(DOCKER_ARCHIVE, text)?;
    let selector = match rest {
        None => None,
        Some(rest) => Some(if let Some(place) = rest.strip_prefix('@') {
            DockerSelector::Position(position(place)?)
        } else {
            let name = repository(rest)?;
            if name.digest().is_some() {
                return Err(Refusal::new(
                    "an image of such an archive has a name with a tag, and no digest",
                ));
            }
            DockerSelector::Name(name)
        }),
    };
    Ok(ImageReference::DockerArchive { path, selector })
}

/// A name or an identifier that an engine is asked for; it is handed to a program, so its grammar is checked.
fn engine_name(text: &str) -> Result<String, Refusal> {
    let is_identifier = text.starts_with("sha256:") && text.parse::<Digest>().is_ok();
    if !is_identifier {
        repository(text)?;
    }
    Ok(text.to_owned())
}

fn containers_storage(text: &str) -> Result<ImageReference, Refusal> {
    if text.starts_with('[') {
        return Err(Refusal::hinting(
            "another store than podman's own cannot be named here",
            "podman's `CONTAINERS_STORAGE_CONF` chooses the store",
        ));
    }
    // `@IDENTIFIER` is how containers/image writes what podman takes bare.
    let name = engine_name(text.strip_prefix('@').unwrap_or(text))?;
    Ok(ImageReference::ContainersStorage { name })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(text: &str) -> ImageReference {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn each_transport_prints_as_it_would_be_written() {
        let digest = |before: &str| format!("{before}@{HASH}");
        for (text, canonical) in [
            (
                "docker://python",
                "docker://docker.io/library/python:latest",
            ),
            (
                "docker://python:3.12",
                "docker://docker.io/library/python:3.12",
            ),
            ("a/b", "docker://docker.io/a/b:latest"),
            ("localhost:5000/a", "docker://localhost:5000/a:latest"),
            ("registry.example/a/b:1", "docker://registry.example/a/b:1"),
            ("oci:layout", "oci:layout"),
            (
                "oci:/a/layout:localhost/demo:1",
                "oci:/a/layout:localhost/demo:1",
            ),
            ("oci:layout:@2", "oci:layout:@2"),
            ("oci:a@b", "oci:a@b"),
            ("oci-archive:-", "oci-archive:-"),
            ("oci-archive:a.tar:1", "oci-archive:a.tar:1"),
            ("docker-archive:a.tar", "docker-archive:a.tar"),
            (
                "docker-archive:a.tar:python",
                "docker-archive:a.tar:docker.io/library/python:latest",
            ),
            ("docker-archive:a.tar:@10", "docker-archive:a.tar:@10"),
            ("docker-daemon:a:1", "docker-daemon:a:1"),
            (
                "containers-storage:localhost/demo:1",
                "containers-storage:localhost/demo:1",
            ),
            (
                "containers-storage:@e94de665e5e8",
                "containers-storage:e94de665e5e8",
            ),
        ] {
            assert_eq!(image(text).to_string(), canonical);
        }
        for text in [
            digest("docker://registry.example/a/b:1"),
            digest("docker://registry.example/a/b"),
            digest("oci:layout"),
            digest("oci-archive:a.tar"),
            format!("docker-daemon:{HASH}"),
        ] {
            assert_eq!(image(&text).to_string(), text);
        }
    }

    #[test]
    fn a_wildcard_is_a_pattern_and_every_other_tag_is_itself() {
        let pattern = |text: &str| match image(text) {
            ImageReference::Registry { reference, pattern } => {
                (reference.tag().map(str::to_owned), pattern)
            }
            other => panic!("{other} is not in a registry"),
        };
        for (text, tag, expected) in [
            (
                "docker://r.example/a:1.x",
                "1.x",
                VersionPattern::Prefix(vec![1]),
            ),
            (
                "docker://r.example/a:1.15.*",
                "1.15.x",
                VersionPattern::Prefix(vec![1, 15]),
            ),
            ("docker://r.example/a:*", "x", VersionPattern::Newest),
            ("docker://r.example:5000/a:x", "x", VersionPattern::Newest),
        ] {
            assert_eq!(pattern(text), (Some(tag.to_owned()), Some(expected)));
        }
        for tag in ["latest", "1.16", "1.x-gpu", "1.x.2", "main.x"] {
            let text = format!("docker://r.example/a:{tag}");
            assert_eq!(pattern(&text), (Some(tag.to_owned()), None));
        }
        assert_eq!(
            pattern(&format!("r.example/a:1.x@{HASH}")).1,
            None,
            "the digest says more"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_reason() {
        let both = format!("oci:a:tag@{HASH}");
        let named = format!("docker-archive:a.tar:b@{HASH}");
        for (text, reason) in [
            ("docker://", "nothing stands after `docker://`"),
            ("oci:", "nothing stands after `oci:`"),
            ("docker://a b", "invalid reference format"),
            ("a/B:1", "invalid reference format"),
            ("A/b:1", "repository name must be lowercase"),
            (
                "docker://r.example/a:1.*.2",
                "a wildcard stands after numbers, at the end of a tag",
            ),
            ("oci::tag", "the path after `oci:` is missing"),
            ("oci:a:", "nothing stands after the colon"),
            (
                "oci:a:@",
                "after `:@` stands the place of an image, a number from 0",
            ),
            (
                "oci:a:@+1",
                "after `:@` stands the place of an image, a number from 0",
            ),
            (
                &both,
                "an image of a layout is named by its tag or by its digest, not by both",
            ),
            (
                &named,
                "an image of such an archive has a name with a tag, and no digest",
            ),
            ("docker-daemon:--output=x", "invalid reference format"),
            (
                "containers-storage:[vfs@/a]b",
                "another store than podman's own cannot be named here",
            ),
            (
                "python:3.12",
                "an image is named with its transport or its repository",
            ),
            ("oci:a\u{1b}[m", "it has control characters"),
        ] {
            match text.parse::<ImageReference>() {
                Err(ReferenceError::Malformed { reason: found, .. }) => {
                    assert_eq!(found, reason, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!("oci:".repeat(5000).parse::<ImageReference>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_printed_means_the_same(
            transport in prop::sample::select(vec![
                "", "docker://", "oci:", "oci-archive:", "docker-archive:", "docker-daemon:", "containers-storage:",
            ]),
            rest in prop_oneof![
                any::<String>(),
                "[a-zA-Z0-9_./:@x*+-]{0,40}",
                "[a-z.]{1,8}(:[0-9]{1,4})?(/[a-z]{1,4}){1,3}(:[a-z0-9.x*]{1,8})?",
                "[a-z/]{1,8}(:@[0-9]{1,30})?",
            ],
        ) {
            if let Ok(parsed) = format!("{transport}{rest}").parse::<ImageReference>() {
                let printed = parsed.to_string();
                let again = printed.parse::<ImageReference>();
                prop_assert_eq!(again, Ok(parsed), "{}", printed);
            }
        }
    }
}
