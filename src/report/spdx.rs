//! An environment as an SPDX document.
//!
//! Specification: SPDX 2.3 (<https://spdx.github.io/spdx-spec/v2.3/>), JSON. The document's namespace follows from the
//! content. What the specification demands and an image does not tell is `NOASSERTION`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::environment::{InstalledDistribution, Provenance};
use crate::packaging::PackageName;

use super::bill_of_materials::{Created, uuid_of};
use super::inspection::{Inspection, LayerFacts};
use super::{purl, snapshot_note};

const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const BASE: &str = "SPDXRef-Base";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    #[serde(rename = "documentNamespace")]
    namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: [String; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_info: Option<String>,
    supplier: &'static str,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    license_concluded: &'static str,
    license_declared: &'static str,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalReference>,
    primary_package_purpose: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
struct ExternalReference {
    #[serde(rename = "referenceCategory")]
    category: &'static str,
    #[serde(rename = "referenceType")]
    kind: &'static str,
    #[serde(rename = "referenceLocator")]
    locator: String,
}

#[derive(Serialize)]
struct Relationship {
    #[serde(rename = "spdxElementId")]
    from: String,
    #[serde(rename = "relationshipType")]
    kind: &'static str,
    #[serde(rename = "relatedSpdxElement")]
    to: String,
}

/// Writes the document as JSON with a final newline.
#[must_use]
pub fn spdx(found: &Inspection, created: &Created) -> String {
    let mut packages = vec![of_base(found)];
    let mut ids: BTreeMap<&PackageName, String> = BTreeMap::new();
    for (name, installed) in &found.environment.distributions {
        // Normalized names have letters, digits and hyphens alone, all of which an identifier may have.
        let id = format!("SPDXRef-Python-{name}");
        packages.push(of_distribution(
            id.clone(),
            installed,
            found.layer_of(name),
            None,
        ));
        ids.insert(name, id);
    }
    for (position, hidden) in found.environment.shadowed.iter().enumerate() {
        let id = format!("SPDXRef-Shadowed-{position}-{}", hidden.name);
        let comment =
            "Python does not import it: a distribution of the same name comes before it".to_owned();
        packages.push(of_distribution(id, hidden, None, Some(comment)));
    }
    for (position, package) in found.conda_only().enumerate() {
        packages.push(Package {
            source_info: Some("recorded by conda".to_owned()),
            ..package_of(
                format!("SPDXRef-Conda-{position}"),
                package.name.clone(),
                Some(package.version.clone()),
                Some(purl::of_conda_package(package)),
                "LIBRARY",
            )
        });
    }

    let mut relationships = vec![relation(DOCUMENT, "DESCRIBES", BASE)];
    for package in &packages[1..] {
        relationships.push(relation(BASE, "CONTAINS", &package.id));
    }
    for (name, required) in found.dependencies() {
        for required in required {
            if let (Some(from), Some(to)) = (ids.get(name), ids.get(required)) {
                relationships.push(relation(from, "DEPENDS_ON", to));
            }
        }
    }

    let name = packages[0].name.clone();
    let mut document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: name.clone(),
        namespace: String::new(),
        creation_info: CreationInfo {
            created: created.time.clone(),
            creators: [concat!("Tool: imgtool-", env!("CARGO_PKG_VERSION")).to_owned()],
        },
        packages,
        relationships,
    };
    let content = serde_json::to_vec(&document).unwrap_or_default();
    document.namespace = format!(
        "https://spdx.org/spdxdocs/imgtool-{}-{}",
        slug(&name),
        uuid_of(&content)
    );
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn package_of(
    id: String,
    name: String,
    version: Option<String>,
    purl: Option<String>,
    purpose: &'static str,
) -> Package {
    Package {
        id,
        name,
        version_info: version,
        supplier: UNKNOWN,
        download_location: UNKNOWN,
        files_analyzed: false,
        checksums: Vec::new(),
        source_info: None,
        license_concluded: UNKNOWN,
        license_declared: UNKNOWN,
        copyright_text: UNKNOWN,
        comment: None,
        external_refs: Vec::from_iter(purl.map(|purl| ExternalReference {
            category: "PACKAGE-MANAGER",
            kind: "purl",
            locator: purl,
        })),
        primary_package_purpose: purpose,
    }
}

fn of_distribution(
    id: String,
    installed: &InstalledDistribution,
    layer: Option<&LayerFacts>,
    comment: Option<String>,
) -> Package {
    let mut source = String::new();
    if !installed.location.is_empty() {
        let _ = write!(source, "read from {}", installed.location);
        if let Some(layer) = layer {
            let digest = layer.digest.as_ref().unwrap_or(&layer.diff_id);
            let _ = write!(source, " in layer {} ({digest})", layer.index);
        }
    }
    if let Some(editable) = &installed.editable {
        let separator = if source.is_empty() { "" } else { "; " };
        let _ = write!(source, "{separator}in development at {editable}");
    }
    Package {
        source_info: (!source.is_empty()).then_some(source),
        comment,
        ..package_of(
            id,
            installed.name.to_string(),
            Some(installed.version_text.clone()),
            Some(purl::of_distribution(installed)),
            "LIBRARY",
        )
    }
}

fn of_base(found: &Inspection) -> Package {
    let environment = &found.environment;
    let image = found.image.as_ref();
    let digest = image.and_then(|image| image.manifest_digest.as_deref());
    let checksum = digest.and_then(|digest| {
        let (algorithm, value) = digest.split_once(':')?;
        let algorithm = match algorithm {
            "sha256" => "SHA256",
            "sha512" => "SHA512",
            _ => return None,
        };
        Some(Checksum {
            algorithm,
            checksum_value: value.to_owned(),
        })
    });
    let purpose = match &environment.provenance {
        Provenance::Directory { .. } => "INSTALL",
        Provenance::Image { .. } | Provenance::Snapshot { .. } => "CONTAINER",
    };
    let mut comment = format!(
        "Python {} at {}",
        environment.interpreter.version, environment.interpreter.prefix
    );
    if let Some(libc) = environment.platform.libc {
        let _ = write!(comment, ", {libc}");
    }
    if let Some(image) = image {
        let _ = write!(comment, ", {}", image.platform);
    }
    if let Some(note) = snapshot_note(environment) {
        let _ = write!(comment, "; {note}");
    }
    Package {
        checksums: Vec::from_iter(checksum),
        comment: Some(comment),
        ..package_of(
            BASE.to_owned(),
            image
                .map_or(&found.label.reference, |image| &image.reference)
                .clone(),
            digest.map(str::to_owned),
            image.and_then(purl::of_image),
            purpose,
        )
    }
}

fn relation(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship {
        from: from.to_owned(),
        kind,
        to: to.to_owned(),
    }
}

/// A name as a part of an address: letters, digits, dots and hyphens.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || character == '.' {
            slug.push(character);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}
