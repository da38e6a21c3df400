//! How an image was made: an in-toto statement with SLSA provenance.
//!
//! It follows from what went into the image alone: it has no times, no name of a machine and no number of a run, so that
//! the same build writes the same bytes. Addresses are written without credentials, queries and fragments, and those of
//! files of the building machine not at all.
//!
//! Specification: in-toto attestation framework, "Statement v1"; SLSA 1.0, "Provenance" (predicate type
//! `https://slsa.dev/provenance/v1`).

use std::collections::BTreeMap;

use oci_spec::image::Descriptor;
use serde::Serialize;
use serde_json::Value;
use url::Url;

use crate::digest::Digest;

/// What the statement is about.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// The kind of build; `docs/attachments.md` describes its parameters and dependencies.
pub const BUILD_TYPE: &str = "urn:imgtool:build:v1";
/// Who built, where nobody says it: imgtool by itself vouches for no machine.
pub const BUILDER: &str = "urn:imgtool:builder:local";

/// What went into an image.
#[derive(Debug, Clone)]
pub struct BuildFacts {
    /// The image: its manifest.
    pub subject: Descriptor,
    /// What the image is called, without its tag, where that is known.
    pub subject_name: Option<String>,
    /// What the base was asked for as, without credentials.
    pub base: String,
    /// Digest of the base's manifest, where it has one.
    pub base_digest: Option<Digest>,
    /// What was required, a requirement each.
    pub requirements: Vec<String>,
    /// What else the user asked for: policy, platform, compression, environment; by name.
    pub parameters: BTreeMap<String, Value>,
    /// The wheels that were installed.
    pub wheels: Vec<WheelFacts>,
    /// Addresses of the package indexes that were asked.
    pub indexes: Vec<Url>,
    /// Who built (a URI), where the user says it, such as the workflow of a service.
    pub builder: Option<String>,
}

/// An installed wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelFacts {
    /// Normalized name of the distribution.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Name of the file.
    pub file_name: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Package URL.
    pub purl: String,
    /// Where it was fetched from, where that is known.
    pub url: Option<Url>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [ResourceDescriptor<'a>; 1],
    predicate_type: &'static str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'a> {
    build_definition: BuildDefinition<'a>,
    run_details: RunDetails<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition<'a> {
    build_type: &'static str,
    external_parameters: BTreeMap<&'a str, Value>,
    resolved_dependencies: Vec<ResourceDescriptor<'a>>,
}

#[derive(Serialize)]
struct RunDetails<'a> {
    builder: Builder<'a>,
}

#[derive(Serialize)]
struct Builder<'a> {
    id: &'a str,
    version: BTreeMap<&'static str, &'static str>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceDescriptor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    digest: BTreeMap<String, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    download_location: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, &'a str>,
}

/// The statement, as one JSON document with a final newline.
///
/// # Panics
/// Never: what is written here is JSON.
#[must_use]
pub fn provenance(facts: &BuildFacts) -> Vec<u8> {
    let mut parameters: BTreeMap<&str, Value> = facts
        .parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    parameters.insert("base", Value::from(facts.base.as_str()));
    parameters.insert("requirements", Value::from(facts.requirements.clone()));
    let statement = Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject: [ResourceDescriptor {
            name: facts.subject_name.as_deref(),
            digest: digests(facts.subject.digest()),
            ..ResourceDescriptor::default()
        }],
        predicate_type: PREDICATE_TYPE,
        predicate: Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE,
                external_parameters: parameters,
                resolved_dependencies: dependencies(facts),
            },
            run_details: RunDetails {
                builder: Builder {
                    id: facts.builder.as_deref().unwrap_or(BUILDER),
                    version: BTreeMap::from([("imgtool", env!("CARGO_PKG_VERSION"))]),
                },
            },
        },
    };
    let mut bytes = serde_json::to_vec_pretty(&statement)
        .expect("texts, numbers, and lists and maps of them are JSON");
    bytes.push(b'\n');
    bytes
}

/// The base, the wheels by name, and the indexes in the order in which they were asked.
fn dependencies(facts: &BuildFacts) -> Vec<ResourceDescriptor<'_>> {
    let mut dependencies = vec![ResourceDescriptor {
        name: Some("base"),
        uri: Some(facts.base.clone()),
        digest: facts.base_digest.as_ref().map(digests).unwrap_or_default(),
        ..ResourceDescriptor::default()
    }];
    let mut wheels: Vec<&WheelFacts> = facts.wheels.iter().collect();
    wheels.sort_by(|a, b| (&a.name, &a.file_name).cmp(&(&b.name, &b.file_name)));
    dependencies.extend(wheels.into_iter().map(|wheel| ResourceDescriptor {
        name: Some(&wheel.file_name),
        uri: Some(wheel.purl.clone()),
        digest: BTreeMap::from([("sha256".to_owned(), wheel.sha256.as_str())]),
        download_location: wheel.url.as_ref().and_then(public_address),
        annotations: BTreeMap::from([
            ("distribution", wheel.name.as_str()),
            ("version", wheel.version.as_str()),
        ]),
    }));
    let indexes = facts.indexes.iter().filter_map(public_address);
    dependencies.extend(indexes.map(|index| ResourceDescriptor {
        name: Some("package index"),
        uri: Some(index),
        ..ResourceDescriptor::default()
    }));
    dependencies
}

/// A digest as in-toto writes it: algorithm and hash apart.
fn digests(digest: &Digest) -> BTreeMap<String, &str> {
    BTreeMap::from([(digest.algorithm().to_string(), digest.digest())])
}

/// An address as everybody may see it; `None` for what only the building machine has.
#[must_use]
pub fn public_address(url: &Url) -> Option<String> {
    if url.scheme() == "file" {
        return None;
    }
    let mut public = url.clone();
    // These setters fail only for addresses that cannot have user information in the first place.
    let _ = public.set_username("");
    let _ = public.set_password(None);
    public.set_query(None);
    public.set_fragment(None);
    Some(public.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;
    use oci_spec::image::MediaType;

    fn facts() -> BuildFacts {
        let url = |text: &str| Url::parse(text).expect("an address");
        let wheel = |name: &str, address: &str| WheelFacts {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            file_name: format!("{name}-1.0-py3-none-any.whl"),
            sha256: "ab".repeat(32),
            purl: format!("pkg:pypi/{name}@1.0"),
            url: Some(url(address)),
        };
        BuildFacts {
            subject: Descriptor::new(MediaType::ImageManifest, 3, sha256(b"abc")),
            subject_name: Some("registry.example/team/trainer".to_owned()),
            base: "docker://registry.example/team/base:1.0".to_owned(),
            base_digest: Some(sha256(b"base")),
            requirements: vec!["mlflow-skinny>=3".to_owned()],
            parameters: BTreeMap::from([("policy".to_owned(), Value::from("hold"))]),
            wheels: vec![
                wheel(
                    "b",
                    "https://user:secret@files.example/b.whl?token=secret#sha256=1",
                ),
                wheel("a", "file:///home/somebody/wheels/a.whl"),
            ],
            indexes: vec![
                url("https://user:secret@index.example/simple/"),
                url("file:///home/somebody/wheels"),
            ],
            builder: None,
        }
    }

    #[test]
    fn provenance_tells_what_went_in_and_nothing_of_the_machine() {
        let bytes = provenance(&facts());
        let text = String::from_utf8(bytes.clone()).expect("UTF-8");
        assert!(
            !text.contains("secret") && !text.contains("somebody"),
            "{text}"
        );
        let document: Value = serde_json::from_slice(&bytes).expect("JSON");
        insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "[VERSION]"), @r#"
        {
          "_type": "https://in-toto.io/Statement/v1",
          "subject": [
            {
              "name": "registry.example/team/trainer",
              "digest": {
                "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
              }
            }
          ],
          "predicateType": "https://slsa.dev/provenance/v1",
          "predicate": {
            "buildDefinition": {
              "buildType": "urn:imgtool:build:v1",
              "externalParameters": {
                "base": "docker://registry.example/team/base:1.0",
                "policy": "hold",
                "requirements": [
                  "mlflow-skinny>=3"
                ]
              },
              "resolvedDependencies": [
                {
                  "name": "base",
                  "uri": "docker://registry.example/team/base:1.0",
                  "digest": {
                    "sha256": "cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2"
                  }
                },
                {
                  "name": "a-1.0-py3-none-any.whl",
                  "uri": "pkg:pypi/a@1.0",
                  "digest": {
                    "sha256": "abababababababababababababababababababababababababababababababab"
                  },
                  "annotations": {
                    "distribution": "a",
                    "version": "1.0"
                  }
                },
                {
                  "name": "b-1.0-py3-none-any.whl",
                  "uri": "pkg:pypi/b@1.0",
                  "digest": {
                    "sha256": "abababababababababababababababababababababababababababababababab"
                  },
                  "downloadLocation": "https://files.example/b.whl",
                  "annotations": {
                    "distribution": "b",
                    "version": "1.0"
                  }
                },
                {
                  "name": "package index",
                  "uri": "https://index.example/simple/"
                }
              ]
            },
            "runDetails": {
              "builder": {
                "id": "urn:imgtool:builder:local",
                "version": {
                  "imgtool": "[VERSION]"
                }
              }
            }
          }
        }
        "#);
        assert_eq!(document["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(
            document["subject"][0]["digest"]["sha256"],
            sha256(b"abc").digest()
        );
        let definition = &document["predicate"]["buildDefinition"];
        assert_eq!(definition["externalParameters"]["policy"], "hold");
        assert_eq!(
            definition["externalParameters"]["requirements"][0],
            "mlflow-skinny>=3"
        );
        assert_eq!(
            document["predicate"]["runDetails"]["builder"]["id"],
            BUILDER
        );
        assert!(
            document["predicate"]["runDetails"]
                .get("metadata")
                .is_none()
        );
    }

    #[test]
    fn the_order_of_the_wheels_does_not_matter() {
        let mut reversed = facts();
        reversed.wheels.reverse();
        assert_eq!(provenance(&facts()), provenance(&reversed));
    }
}
