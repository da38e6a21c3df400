//! What is attached to an image, as `inspect` shows and prints it.

use serde_json::{Value, json};

use super::images::{image, pushed};
use crate::support::image::{
    INDEX, MANIFEST, Packing, TestImage, descriptor, hash, put_blob, write_layout,
};
use crate::support::program::Desk;
use crate::support::registry::{Referrers, RegistryServer};

const SBOM: &str = "application/vnd.cyclonedx+json";

/// A manifest that attaches `document` to `image`.
fn referrer(image: &TestImage, artifact_type: &str, created: &str, document: &[u8]) -> Vec<u8> {
    let empty = descriptor("application/vnd.oci.empty.v1+json", b"{}");
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type, "config": empty,
        "layers": [descriptor(artifact_type, document)],
        "subject": descriptor(MANIFEST, &image.manifest_bytes()),
        "annotations": { "org.opencontainers.image.created": created },
    })
    .to_string()
    .into_bytes()
}

/// An SBOM, a newer one, a signature of somebody else.
fn attached(image: &TestImage) -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    [
        (SBOM, "2024-01-01T00:00:00Z", &b"{\"old\": true}\n"[..]),
        (SBOM, "2025-01-01T00:00:00Z", b"{\"new\": true}\n"),
        (
            "application/vnd.example.signature",
            "2025-01-01T00:00:00Z",
            b"s",
        ),
    ]
    .into_iter()
    .map(|(kind, created, document)| (kind, referrer(image, kind, created, document), document))
    .collect()
}

fn push_attached(registry: &RegistryServer, image: &TestImage) {
    registry.push("team/base", "1.0", &pushed(image));
    for (_, manifest, document) in attached(image) {
        let digest = crate::support::registry::digest(&manifest);
        registry.put_manifest("team/base", &digest, MANIFEST, &manifest);
        let digest = crate::support::registry::digest(document);
        registry.replace_blob("team/base", &digest, Some(document));
    }
    registry.change(|behaviour| behaviour.referrers = Some(Referrers::default()));
}

fn write_attached(desk: &Desk, image: &TestImage) {
    let mut layout = image.layout(Some("1.0"));
    let index = layout.get_mut("index.json").expect("an index");
    let mut document: Value = serde_json::from_slice(index).expect("JSON");
    let entries = document["manifests"].as_array_mut().expect("entries");
    for (kind, manifest, _) in attached(image) {
        let mut entry = descriptor(MANIFEST, &manifest);
        entry["artifactType"] = kind.into();
        entries.push(entry);
    }
    *index = document.to_string().into_bytes();
    for (_, manifest, document) in attached(image) {
        put_blob(&mut layout, &manifest);
        put_blob(&mut layout, document);
    }
    write_layout(&layout, &desk.path("base"));
}

#[test]
fn what_is_attached_is_shown_and_printed() {
    let desk = Desk::without_index();
    let registry = RegistryServer::start();
    let image = image(Packing::Plain);
    push_attached(&registry, &image);
    write_attached(&desk, &image);
    let in_registry = format!("{}/team/base:1.0", registry.host());
    for reference in ["oci:base", in_registry.as_str()] {
        let run = desk.run(&["inspect", reference]).expect(0);
        let newer = hash(&attached(&image)[1].1);
        let run = run
            .says("attached  digest")
            .says(&format!("sbom      {}  {SBOM}", &newer[..12]))
            .says("other     ");
        assert!(run.stderr.is_empty(), "{run}");
        let json = desk
            .run(&["inspect", reference, "--format", "json"])
            .expect(0)
            .json();
        let listed = json["attached"].as_array().expect("a list");
        assert_eq!(listed.len(), 3);
        assert_eq!(listed[0]["kind"], "sbom");
        assert_eq!(listed[0]["created"], "2024-01-01T00:00:00Z");
        assert_eq!(listed[1]["digest"], json!(format!("sha256:{newer}")));
        assert_eq!(listed[1]["size"], attached(&image)[1].1.len());
        assert_eq!(listed[2]["kind"], Value::Null);
        assert_eq!(
            listed[2]["artifact_type"],
            "application/vnd.example.signature"
        );

        // The newest of its kind.
        let run = desk
            .run(&["inspect", reference, "--attached", "sbom"])
            .expect(0);
        assert_eq!(run.bytes, b"{\"new\": true}\n");
        run.tells("2 documents of this kind are attached");
        desk.run(&[
            "inspect",
            reference,
            "--attached",
            "sbom",
            "-o",
            "a.cdx.json",
        ])
        .expect(0);
        assert_eq!(desk.read("a.cdx.json"), "{\"new\": true}\n");
        let error = desk
            .run(&["inspect", reference, "--attached", "lock"])
            .one_error(2);
        assert!(error.contains("no lock is attached to"), "{error}");
    }
}

#[test]
fn the_list_costs_one_request_where_it_is_shown() {
    let desk = Desk::without_index();
    let registry = RegistryServer::start();
    push_attached(&registry, &image(Packing::Plain));
    let reference = format!("{}/team/base:1.0", registry.host());
    desk.run(&["inspect", &reference]).expect(0);
    for (arguments, requests) in [
        (&["inspect", reference.as_str()][..], 2),
        (&["inspect", &reference, "--format", "json"], 2),
        // These have no place for it.
        (&["inspect", &reference, "--format", "requirements"], 1),
        (&["inspect", &reference, "--format", "cyclonedx"], 1),
        // The manifest, the list, another manifest, the document; no layer.
        (&["inspect", &reference, "--attached", "sbom"], 4),
    ] {
        let before = registry.asked().len();
        desk.run(arguments).expect(0);
        let asked = registry.asked().split_off(before);
        assert_eq!(asked.len(), requests, "{arguments:?}: {asked:?}");
    }
}

#[test]
fn a_registry_that_does_not_tell_is_a_note() {
    let mut desk = Desk::without_index();
    let registry = RegistryServer::start();
    desk.scrub(&registry.host(), "[REGISTRY]");
    let image = image(Packing::Plain);
    push_attached(&registry, &image);
    registry.change(|behaviour| {
        behaviour.referrers = Some(Referrers {
            body: Some(b"<html>".to_vec()),
            ..Referrers::default()
        });
    });
    let reference = format!("{}/team/base:1.0", registry.host());
    desk.run(&["inspect", &reference]).expect(0).tells(
        "note: it is not known what is attached to the image: the list of what is attached to",
    );
    let run = desk
        .run(&["inspect", &reference, "--format", "json"])
        .expect(0);
    assert_eq!(run.json()["attached"], Value::Null);

    // Without the network nobody expects it.
    let digest = crate::support::registry::digest(&image.manifest_bytes());
    let by_digest = format!("{}/team/base@{digest}", registry.host());
    let run = desk
        .run(&["inspect", &by_digest, "--offline", "--format", "json"])
        .expect(0);
    assert_eq!(run.json()["attached"], Value::Null);
    assert!(run.stderr.is_empty(), "{run}");

    // A registry without such lists has none.
    registry.change(|behaviour| behaviour.referrers = None);
    let run = desk
        .run(&["inspect", &reference, "--format", "json"])
        .expect(0);
    assert_eq!(run.json()["attached"], json!([]));
}

#[test]
fn what_cannot_have_anything_attached_says_so() {
    let desk = Desk::without_index();
    let image = image(Packing::Plain);
    write_layout(&image.layout(Some("1.0")), &desk.path("base"));
    std::fs::create_dir(desk.path("folder")).expect("a folder");
    let error = desk
        .run(&["inspect", "dir:folder", "--attached", "sbom"])
        .one_error(2);
    assert!(
        error.contains("nothing is attached to dir:folder"),
        "{error}"
    );
    let error = desk
        .run(&["inspect", "oci:base", "--attached", "sbom", "--layers"])
        .one_error(2);
    assert!(error.contains("--layers"), "{error}");

    // Nobody's terminal is written to by what somebody attached.
    let odd = b"\x1b[31mred";
    let manifest = referrer(&image, SBOM, "2024-01-01T00:00:00Z", odd);
    let mut layout = image.layout(Some("1.0"));
    let mut entry = descriptor(MANIFEST, &manifest);
    entry["artifactType"] = SBOM.into();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [image.descriptor(None), entry] });
    layout.insert("index.json".to_owned(), index.to_string().into_bytes());
    put_blob(&mut layout, &manifest);
    put_blob(&mut layout, odd);
    write_layout(&layout, &desk.path("odd"));
    let error = desk
        .run(&["inspect", "oci:odd", "--attached", "sbom"])
        .one_error(2);
    assert!(error.contains("it has control characters"), "{error}");
}
