//! Package URLs.
//!
//! Specification: ECMA-427 (<https://github.com/package-url/purl-spec>), and its definitions of the types `pypi`, `conda`
//! and `oci`.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::environment::{CondaPackage, InstalledDistribution};
use crate::packaging::{PackageName, Version};

use super::inspection::ImageFacts;

/// What is encoded in names and versions: all but letters, digits, `.`, `-`, `_`, `~`, and the colon, which never is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// Values of qualifiers keep their slashes, too.
const QUALIFIER: &AsciiSet = &SEGMENT.remove(b'/');

/// An installed distribution: `pkg:pypi/torch@2.3.0%2Bcu121`.
#[must_use]
pub fn of_distribution(distribution: &InstalledDistribution) -> String {
    compose(
        "pypi",
        distribution.name.as_ref(),
        &distribution.version_text,
        &[],
    )
}

/// A wheel: `pkg:pypi/mlflow-skinny@3.1.0`.
#[must_use]
pub fn of_wheel(name: &PackageName, version: &Version) -> String {
    compose("pypi", name.as_ref(), &version.to_string(), &[])
}

/// A package of conda: `pkg:conda/openssl@3.0.13?build=h7f8727e_0&channel=defaults`.
#[must_use]
pub fn of_conda_package(package: &CondaPackage) -> String {
    compose(
        "conda",
        &package.name,
        &package.version,
        &[
            ("build", Some(&package.build)),
            ("channel", package.channel.as_deref()),
        ],
    )
}

/// An image: `pkg:oci/tfx@sha256:…?arch=amd64&repository_url=registry.example/team/tfx&tag=1.16.0`. `None` for one whose
/// manifest has no digest, as the type demands it.
#[must_use]
pub fn of_image(image: &ImageFacts) -> Option<String> {
    let digest = image.manifest_digest.as_deref()?;
    let (transport, rest) = divide_transport(&image.reference);
    let rest = rest.split('@').next().unwrap_or(rest);
    let (repository, tag) = match rest.rsplit_once(':') {
        // A colon before the last slash begins a port.
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (rest, None),
    };
    let is_remote = transport == "docker://";
    let name = repository
        .trim_end_matches('/')
        .rsplit('/')
        .find(|part| !part.is_empty() && *part != ".")
        .unwrap_or("image")
        .to_lowercase();
    let architecture = image.platform.split('/').nth(1);
    let tag = tag.filter(|tag| !tag.is_empty());
    let purl = compose(
        "oci",
        &name,
        digest,
        &[
            ("arch", architecture),
            ("repository_url", is_remote.then_some(repository)),
            ("tag", tag),
        ],
    );
    Some(purl)
}

/// The transport of a reference, and what follows it; a reference without one means a registry.
fn divide_transport(reference: &str) -> (&str, &str) {
    const OTHERS: [&str; 5] = [
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "docker-daemon:",
        "containers-storage:",
    ];
    if let Some(rest) = reference.strip_prefix("docker://") {
        return ("docker://", rest);
    }
    OTHERS
        .iter()
        .find_map(|transport| Some((*transport, reference.strip_prefix(transport)?)))
        .unwrap_or(("docker://", reference))
}

/// Puts a package URL together; `qualifiers` stand in the order of their names, and those without a value are left out.
fn compose(kind: &str, name: &str, version: &str, qualifiers: &[(&str, Option<&str>)]) -> String {
    let mut purl = format!("pkg:{kind}/{}", utf8_percent_encode(name, SEGMENT));
    if !version.is_empty() {
        let _ = write!(purl, "@{}", utf8_percent_encode(version, SEGMENT));
    }
    let given = qualifiers
        .iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    for (position, (name, value)) in given.enumerate() {
        let separator = if position == 0 { '?' } else { '&' };
        let value = utf8_percent_encode(value, QUALIFIER);
        let _ = write!(purl, "{separator}{name}={value}");
    }
    purl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_encoded_as_the_specification_says() {
        for (name, version, purl) in [
            ("torch", "2.3.0+cu121", "pkg:pypi/torch@2.3.0%2Bcu121"),
            ("a", "1!2.0", "pkg:pypi/a@1%212.0"),
            ("b", "1~2 é/3", "pkg:pypi/b@1~2%20%C3%A9%2F3"),
            ("c", "", "pkg:pypi/c"),
        ] {
            assert_eq!(compose("pypi", name, version, &[]), purl);
        }
        let package = CondaPackage {
            name: "_libgcc_mutex".to_owned(),
            version: "0.1".to_owned(),
            build: "conda_forge".to_owned(),
            channel: Some("conda-forge/label/main dev".to_owned()),
        };
        assert_eq!(
            of_conda_package(&package),
            "pkg:conda/_libgcc_mutex@0.1?build=conda_forge&channel=conda-forge/label/main%20dev"
        );
    }

    #[test]
    fn images_are_named_by_their_manifest() {
        let purl = |reference: &str| {
            of_image(&ImageFacts {
                reference: reference.to_owned(),
                manifest_digest: Some("sha256:0a".to_owned()),
                platform: "linux/arm64/v8".to_owned(),
                ..ImageFacts::default()
            })
            .expect("a digest")
        };
        for (reference, expected) in [
            (
                "docker://registry.example:5000/Team/tfx:1.16.0@sha256:0a",
                "pkg:oci/tfx@sha256:0a?arch=arm64&repository_url=registry.example:5000/Team/tfx&tag=1.16.0",
            ),
            (
                "registry.example:5000/tfx",
                "pkg:oci/tfx@sha256:0a?arch=arm64&repository_url=registry.example:5000/tfx",
            ),
            (
                "oci:some/Layout:v1",
                "pkg:oci/layout@sha256:0a?arch=arm64&tag=v1",
            ),
            ("oci:./", "pkg:oci/image@sha256:0a?arch=arm64"),
            (
                "docker-daemon:team/tfx:1",
                "pkg:oci/tfx@sha256:0a?arch=arm64&tag=1",
            ),
        ] {
            assert_eq!(purl(reference), expected);
        }
        assert_eq!(of_image(&ImageFacts::default()), None);
    }
}
