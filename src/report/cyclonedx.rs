//! An environment as a CycloneDX bill of materials.
//!
//! Specification: CycloneDX 1.6 (ECMA-424), JSON. Same environment, same bytes: the serial number follows from the
//! content, and a time is written only where it does, too, or is prescribed (SOURCE_DATE_EPOCH).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::environment::{InstalledDistribution, Provenance};
use crate::packaging::PackageName;
use crate::packaging::requirement::presentable;

use super::bill_of_materials::{Composition, Created, WheelOrigin, uuid_of};
use super::inspection::{Inspection, LayerFacts};
use super::{purl, snapshot_note};

/// What the component of the inspected base is called within the document.
const BASE_REFERENCE: &str = "base";
/// What that of a new image is called.
const RESULT_REFERENCE: &str = "image";
/// Whether a component of a new image is the base's (`base`), is new (`added`), or stands where the base had another version
/// (`replaced`).
const ORIGIN: &str = "imgtool:origin";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    lifecycles: [Lifecycle; 1],
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Lifecycle {
    phase: &'static str,
}

#[derive(Serialize)]
struct Tools {
    components: [Component; 1],
}

#[derive(Default, Serialize)]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(rename = "externalReferences", skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<ExternalReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pedigree: Option<Pedigree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct ExternalReference {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
}

#[derive(Serialize)]
struct Pedigree {
    ancestors: Vec<Component>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Evidence {
    occurrences: [Occurrence; 1],
}

#[derive(Serialize)]
struct Occurrence {
    location: String,
}

#[derive(Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
}

/// Writes the bill of materials as one JSON document with a final newline.
#[must_use]
pub fn cyclonedx(found: &Inspection, created: &Created) -> String {
    write(found, None, created)
}

/// Writes the bill of materials of a new image, of which `found` and `composition` are made by
/// [`compose`](super::bill_of_materials::compose): every component says whether it is the base's, the base itself is the
/// image's ancestor, and what has left it is named.
#[must_use]
pub fn cyclonedx_of_result(
    found: &Inspection,
    composition: &Composition,
    created: &Created,
) -> String {
    write(found, Some(composition), created)
}

fn write(found: &Inspection, composition: Option<&Composition>, created: &Created) -> String {
    let (components, references) = components(found, composition);
    let subject = match composition {
        None => of_base_image(found),
        Some(composition) => of_result(found, composition),
    };
    let mut dependencies = vec![Dependency {
        reference: subject.reference.clone().unwrap_or_default(),
        depends_on: components
            .iter()
            .filter_map(|component| component.reference.clone())
            .collect(),
    }];
    let edges = found.dependencies();
    for (name, reference) in &references {
        let mut depends_on: Vec<String> = edges
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|required| references.get(required).cloned())
            .collect();
        depends_on.sort();
        dependencies.push(Dependency {
            reference: reference.clone(),
            depends_on,
        });
    }

    let mut document = Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: None,
        version: 1,
        metadata: Metadata {
            timestamp: created.is_repeatable.then(|| created.time.clone()),
            lifecycles: [Lifecycle {
                phase: if composition.is_some() {
                    "build"
                } else {
                    "post-build"
                },
            }],
            tools: Tools {
                components: [Component {
                    kind: "application",
                    name: "imgtool".to_owned(),
                    version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                    ..Component::default()
                }],
            },
            component: subject,
        },
        components,
        dependencies,
    };
    let content = serde_json::to_vec(&document).unwrap_or_default();
    document.serial_number = Some(format!("urn:uuid:{}", uuid_of(&content)));
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// What is installed, and what its distributions are called within the document.
fn components<'a>(
    found: &'a Inspection,
    composition: Option<&Composition>,
) -> (Vec<Component>, BTreeMap<&'a PackageName, String>) {
    let conda = found.conda_records();
    let mut components = Vec::new();
    let mut references: BTreeMap<&PackageName, String> = BTreeMap::new();
    for (name, installed) in &found.environment.distributions {
        let mut component = of_distribution(installed, found.layer_of(name));
        let of_conda = conda.get(name);
        if let Some(package) = of_conda.filter(|package| package.version == installed.version_text)
        {
            component
                .properties
                .push(property("imgtool:conda", &purl::of_conda_package(package)));
        }
        if let Some(bytes) = found.footprint(name).and_then(|footprint| footprint.bytes) {
            component
                .properties
                .push(property("imgtool:size", &bytes.to_string()));
        }
        if let Some(composition) = composition {
            tell_origin(&mut component, name, composition);
        }
        references.insert(name, component.reference.clone().unwrap_or_default());
        components.push(component);
    }
    // All others are as the base has them.
    let of_base = |component: &mut Component| {
        if composition.is_some() {
            component.properties.push(property(ORIGIN, "base"));
        }
    };
    for hidden in &found.environment.shadowed {
        let mut component = of_distribution(hidden, None);
        // The same version may be installed in two places.
        component.reference = Some(format!(
            "{}#{}",
            purl::of_distribution(hidden),
            presentable(&hidden.location)
        ));
        component
            .properties
            .push(property("imgtool:shadowed", "true"));
        of_base(&mut component);
        components.push(component);
    }
    for package in found.conda_only() {
        let purl = purl::of_conda_package(package);
        let mut component = Component {
            kind: "library",
            reference: Some(purl.clone()),
            name: package.name.clone(),
            version: Some(package.version.clone()),
            purl: Some(purl),
            ..Component::default()
        };
        of_base(&mut component);
        components.push(component);
    }

    // A reference stands for one component, whatever a broken prefix records twice.
    let mut seen = BTreeSet::new();
    components.retain(|component| seen.insert(component.reference.clone()));
    (components, references)
}

fn of_distribution(installed: &InstalledDistribution, layer: Option<&LayerFacts>) -> Component {
    let purl = purl::of_distribution(installed);
    let mut properties = Vec::new();
    if let Some(installer) = &installed.installer {
        properties.push(property("imgtool:installer", installer));
    }
    if let Some(source) = &installed.editable {
        properties.push(property("imgtool:editable", source));
    }
    if let Some(layer) = layer {
        properties.push(property("imgtool:layer:index", &layer.index.to_string()));
        if let Some(digest) = &layer.digest {
            properties.push(property("imgtool:layer:digest", digest));
        }
        properties.push(property("imgtool:layer:diffID", &layer.diff_id));
    }
    Component {
        kind: "library",
        reference: Some(purl.clone()),
        name: installed.name.to_string(),
        version: Some(installed.version_text.clone()),
        purl: Some(purl),
        evidence: (!installed.location.is_empty()).then(|| Evidence {
            occurrences: [Occurrence {
                location: installed.location.clone(),
            }],
        }),
        properties,
        ..Component::default()
    }
}

/// Says of a distribution of a new image whose it is, and of one that is new which wheel it was.
fn tell_origin(component: &mut Component, name: &PackageName, composition: &Composition) {
    let Some(wheel) = composition.added.get(name) else {
        component.properties.push(property(ORIGIN, "base"));
        return;
    };
    let replaced = composition.left.get(name);
    let origin = if replaced.is_some() {
        "replaced"
    } else {
        "added"
    };
    component.properties.push(property(ORIGIN, origin));
    if let Some(version) = replaced {
        component
            .properties
            .push(property("imgtool:replaces", version));
    }
    let WheelOrigin {
        file_name,
        sha256,
        url,
        index,
    } = wheel;
    component
        .properties
        .push(property("imgtool:wheel", file_name));
    if let Some(index) = index {
        component.properties.push(property("imgtool:index", index));
    }
    let hash = || Hash {
        alg: "SHA-256",
        content: sha256.clone(),
    };
    component.hashes.push(hash());
    component
        .external_references
        .extend(url.as_ref().map(|url| ExternalReference {
            kind: "distribution",
            url: url.clone(),
            hashes: vec![hash()],
        }));
}

/// A new image: what it runs, which base it was made from, and what of that one is gone.
fn of_result(found: &Inspection, composition: &Composition) -> Component {
    let mut component = of_base_image(found);
    component.kind = "container";
    component.reference = Some(RESULT_REFERENCE.to_owned());
    component.pedigree = composition.base.as_ref().map(|base| {
        let digest = base.manifest_digest.as_deref();
        Pedigree {
            ancestors: vec![Component {
                kind: "container",
                name: base.reference.clone(),
                version: digest.map(str::to_owned),
                hashes: Vec::from_iter(digest.and_then(hash)),
                purl: purl::of_image(base),
                ..Component::default()
            }],
        }
    });
    let gone = composition
        .left
        .iter()
        .filter(|(name, _)| !composition.added.contains_key(*name));
    component.properties.extend(
        gone.map(|(name, version)| property("imgtool:removed", &format!("{name}=={version}"))),
    );
    component
}

fn of_base_image(found: &Inspection) -> Component {
    let environment = &found.environment;
    let mut properties = vec![
        property("imgtool:python:version", &environment.interpreter.version),
        property("imgtool:python:prefix", &environment.interpreter.prefix),
    ];
    if let Some(executable) = &environment.interpreter.executable {
        properties.push(property("imgtool:python:executable", executable));
    }
    if let Some(libc) = environment.platform.libc {
        properties.push(property("imgtool:libc", &libc.to_string()));
    }
    if let Some(note) = snapshot_note(environment) {
        properties.push(property("imgtool:provenance", &note));
    }
    let digest = found
        .image
        .as_ref()
        .and_then(|image| image.manifest_digest.as_deref());
    if let Some(image) = &found.image {
        properties.push(property("imgtool:platform", &image.platform));
    }
    Component {
        kind: match &environment.provenance {
            Provenance::Directory { .. } => "file",
            Provenance::Image { .. } | Provenance::Snapshot { .. } => "container",
        },
        reference: Some(BASE_REFERENCE.to_owned()),
        name: found
            .image
            .as_ref()
            .map_or(&found.label.reference, |image| &image.reference)
            .clone(),
        version: digest.map(str::to_owned),
        hashes: Vec::from_iter(digest.and_then(hash)),
        purl: found.image.as_ref().and_then(purl::of_image),
        properties,
        ..Component::default()
    }
}

/// A digest as CycloneDX writes hashes.
fn hash(digest: &str) -> Option<Hash> {
    let (algorithm, content) = digest.split_once(':')?;
    let alg = match algorithm {
        "sha256" => "SHA-256",
        "sha512" => "SHA-512",
        _ => return None,
    };
    Some(Hash {
        alg,
        content: content.to_owned(),
    })
}

fn property(name: &'static str, value: &str) -> Property {
    Property {
        name,
        value: value.to_owned(),
    }
}
