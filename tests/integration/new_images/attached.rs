//! What is attached to an image: written, found again in layouts, archives and registries, and read.

use std::path::Path;
use std::time::{Duration, Instant};

use imgtool::http::HttpSettings;
use imgtool::image::{AttachmentKind, Changes, assemble_outgoing};
use imgtool::transport::outgoing::Outgoing;
use imgtool::transport::registry::{RegistryClient, RegistrySettings};
use imgtool::transport::{Image, OpenedImage, archive, layout, referrers};
use insta::assert_snapshot;
use oci_spec::image::Descriptor;
use serde_json::json;

use super::outgoing::built;
use super::{Base, CONFIG};
use crate::support::image::{archive_members, descriptor, put, put_blob, tar_of, write_layout};
use crate::support::new_image::{layout_of, lines, push};
use crate::support::registry::{Referrers, RegistryServer};

fn outgoing() -> Outgoing {
    let one = built(
        &Base::oci(CONFIG),
        &Changes::default(),
        &AttachmentKind::ALL,
    );
    assemble_outgoing(vec![one], None).expect("an image")
}

/// The kinds that a list has, sorted.
fn kinds(found: &[Descriptor]) -> Vec<&'static str> {
    let mut kinds: Vec<&str> = found
        .iter()
        .map(|referrer| AttachmentKind::of(referrer).map_or("other", AttachmentKind::name))
        .collect();
    kinds.sort_unstable();
    kinds
}

/// Lists and reads everything.
fn check(image: &Image) {
    let found = referrers::list(image, None)
        .expect("a list")
        .expect("a medium");
    assert_eq!(kinds(&found), ["lock", "provenance", "sbom"]);
    for referrer in &found {
        let kind = AttachmentKind::of(referrer).expect("ours");
        let document = referrers::read(image, referrer).expect("a document");
        let expected = format!("{{\"a\": \"{}\"}}", kind.name());
        assert_eq!(document.bytes, expected.as_bytes());
        assert_eq!(document.media_type, kind.artifact_type());
        let annotations = referrer.annotations().as_ref().expect("annotations");
        assert_eq!(
            annotations["org.opencontainers.image.created"],
            "2024-05-01T12:00:00.123456789Z"
        );
    }
    let sbom = referrers::list(image, Some("application/vnd.cyclonedx+json"));
    assert_eq!(kinds(&sbom.expect("a list").expect("a medium")), ["sbom"]);
}

fn client() -> RegistryClient {
    RegistryClient::new(RegistrySettings {
        http: HttpSettings {
            back_off: Duration::from_millis(1),
            ..HttpSettings::default()
        },
        ..RegistrySettings::default()
    })
}

fn open(registry: &RegistryServer) -> Image {
    let reference = format!("{}/team/new:1.0", registry.host());
    client()
        .open(&reference.parse().expect("a reference"))
        .expect("an image")
}

#[test]
fn an_attachment_is_a_manifest_with_a_subject() {
    let outgoing = outgoing();
    let image = outgoing.manifests[0].descriptor.digest().to_string();
    let manifests: String = outgoing
        .referrers
        .iter()
        .map(|referrer| lines(&referrer.bytes) + "\n")
        .collect();
    assert_snapshot!(manifests.replace(&image, "[IMAGE]"), @r#"
    schemaVersion: 2
    mediaType: "application/vnd.oci.image.manifest.v1+json"
    artifactType: "application/vnd.cyclonedx+json"
    config: {"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2}
    layers: [{"annotations":{"org.opencontainers.image.title":"sbom.cdx.json"},"digest":"sha256:2a27e96dab9648e1a48d1297ee6e9e362f256137cc5d05354e8630b1e1f3ae78","mediaType":"application/vnd.cyclonedx+json","size":13}]
    annotations: {"org.opencontainers.image.created":"2024-05-01T12:00:00.123456789Z"}
    subject: {"digest":"[IMAGE]","mediaType":"application/vnd.oci.image.manifest.v1+json","size":970}

    schemaVersion: 2
    mediaType: "application/vnd.oci.image.manifest.v1+json"
    artifactType: "application/vnd.in-toto+json"
    config: {"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2}
    layers: [{"annotations":{"in-toto.io/predicate-type":"https://slsa.dev/provenance/v1","org.opencontainers.image.title":"provenance.intoto.json"},"digest":"sha256:a539028d41c7d062aabf17c9b4db2cdf80a85dfaeab21a1e9227958fbfeea4dc","mediaType":"application/vnd.in-toto+json","size":19}]
    annotations: {"in-toto.io/predicate-type":"https://slsa.dev/provenance/v1","org.opencontainers.image.created":"2024-05-01T12:00:00.123456789Z"}
    subject: {"digest":"[IMAGE]","mediaType":"application/vnd.oci.image.manifest.v1+json","size":970}

    schemaVersion: 2
    mediaType: "application/vnd.oci.image.manifest.v1+json"
    artifactType: "application/vnd.imgtool.lock.v1+toml"
    config: {"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2}
    layers: [{"annotations":{"org.opencontainers.image.title":"imgtool.lock"},"digest":"sha256:76b7fd0b151a44a1d1cf55e42ce6bc5bee68734b73da6e3efc832c794f0ce32d","mediaType":"application/vnd.imgtool.lock.v1+toml","size":13}]
    annotations: {"org.opencontainers.image.created":"2024-05-01T12:00:00.123456789Z"}
    subject: {"digest":"[IMAGE]","mediaType":"application/vnd.oci.image.manifest.v1+json","size":970}
    "#);
}

#[test]
fn layouts_and_archives_have_what_is_attached() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = layout_of(&outgoing(), "1.0");
    write_layout(&files, folder.path());
    check(&layout::open(folder.path(), None, None, "oci:new").expect("an image"));
    let file = folder.path().join("image.tar");
    put(&file, &tar_of(&archive_members(&files)));
    let opened = archive::open(
        &file,
        archive::ArchiveFormat::Oci(None),
        None,
        "oci-archive:new",
    );
    let OpenedImage::Image(image) = opened.expect("an image") else {
        panic!("a stream");
    };
    check(&image);
}

/// Changes the index of a layout.
fn change_index(folder: &Path, change: impl FnOnce(&mut Vec<serde_json::Value>)) {
    let path = folder.join("index.json");
    let bytes = std::fs::read(&path).expect("an index");
    let mut index: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    change(index["manifests"].as_array_mut().expect("entries"));
    put(&path, index.to_string().as_bytes());
}

#[test]
fn layouts_of_other_tools_say_it_in_other_ways() {
    let folder = tempfile::tempdir().expect("a folder");
    let outgoing = outgoing();
    let mut files = layout_of(&outgoing, "1.0");
    let image = outgoing.manifests[0].descriptor.digest().clone();
    // An index under the fallback tag.
    let list = json!({ "schemaVersion": 2, "mediaType": crate::support::image::INDEX, "manifests": outgoing
        .referrers
        .iter()
        .map(|referrer| serde_json::to_value(&referrer.descriptor).expect("JSON"))
        .collect::<Vec<_>>() })
    .to_string()
    .into_bytes();
    put_blob(&mut files, &list);
    write_layout(&files, folder.path());
    change_index(folder.path(), |entries| {
        entries.truncate(1);
        let mut entry = descriptor(crate::support::image::INDEX, &list);
        let tag = referrers::fallback_tag(&image);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        entries.push(entry);
    });
    let read = || layout::open(folder.path(), None, None, "oci:new").expect("an image");
    check(&read());

    // Descriptors that say nothing: the manifests are looked into. They might be images, so one must be named.
    change_index(folder.path(), |entries| {
        entries.truncate(1);
        for referrer in &outgoing.referrers {
            entries.push(descriptor(super::OCI_MANIFEST, &referrer.bytes));
        }
    });
    let selector = imgtool::transport::reference::OciSelector::Tag("1.0".to_owned());
    let named = layout::open(folder.path(), Some(&selector), None, "oci:new:1.0");
    check(&named.expect("an image"));

    // What belongs to another image is not this one's.
    change_index(folder.path(), |entries| {
        entries.truncate(1);
        let other = String::from_utf8(outgoing.referrers[0].bytes.clone()).expect("UTF-8");
        let other = other.replace(image.digest(), &"0".repeat(64)).into_bytes();
        let mut files = crate::support::image::Layout::new();
        put_blob(&mut files, &other);
        write_layout(&files, folder.path());
        let mut entry = descriptor(super::OCI_MANIFEST, &other);
        entry["artifactType"] = "application/vnd.cyclonedx+json".into();
        entries.push(entry);
    });
    let image = read();
    let found = referrers::list(&image, None)
        .expect("a list")
        .expect("a medium");
    assert_eq!(kinds(&found), [""; 0]);
}

#[test]
fn registries_list_what_is_attached_page_by_page() {
    let registry = RegistryServer::start();
    push(&registry, "team/new", "1.0", &outgoing());
    for (filters, page) in [
        (true, None),
        (false, None),
        (true, Some(1)),
        (false, Some(2)),
    ] {
        registry.change(|behaviour| {
            behaviour.referrers = Some(Referrers {
                filters,
                page,
                ..Referrers::default()
            });
        });
        check(&open(&registry));
    }
    registry.change(|behaviour| behaviour.referrers = Some(Referrers::default()));
    let before = registry.asked().len();
    let image = open(&registry);
    referrers::list(&image, None).expect("a list");
    let asked = registry.asked().split_off(before);
    assert_eq!(asked.len(), 3, "manifest, configuration, list: {asked:?}");
    let subject = image.digest.as_ref().expect("a digest");
    assert_eq!(asked[2], format!("GET /v2/team/new/referrers/{subject}"));
    let reference = format!("{}/team/new:1.0", registry.host());
    let found = client()
        .referrers(&reference.parse().expect("a reference"), subject, None)
        .expect("a list");
    assert_eq!(found.len(), 3);
}

#[test]
fn registries_without_the_api_have_a_tag() {
    let registry = RegistryServer::start();
    let outgoing = outgoing();
    push(&registry, "team/new", "1.0", &outgoing);
    let image = open(&registry);
    let found = referrers::list(&image, None).expect("a list");
    assert_eq!(found, Some(Vec::new()), "neither the API nor a tag");
    let subject = image.digest.as_ref().expect("a digest");
    let entries: Vec<serde_json::Value> = outgoing
        .referrers
        .iter()
        .map(|referrer| serde_json::to_value(&referrer.descriptor).expect("JSON"))
        .collect();
    let index = json!({ "schemaVersion": 2, "mediaType": crate::support::image::INDEX, "manifests": entries });
    registry.put_manifest(
        "team/new",
        &referrers::fallback_tag(subject),
        crate::support::image::INDEX,
        index.to_string().as_bytes(),
    );
    check(&open(&registry));
    // A registry that refuses the API may have the tag, too.
    registry.change(|behaviour| {
        behaviour.referrers = Some(Referrers {
            status: Some(403),
            ..Referrers::default()
        });
    });
    check(&open(&registry));
}

#[test]
fn lists_that_are_none_are_errors_and_end() {
    let registry = RegistryServer::start();
    push(&registry, "team/new", "1.0", &outgoing());
    let fails = |how: Referrers| {
        registry.change(|behaviour| behaviour.referrers = Some(how));
        let error = referrers::list(&open(&registry), None).expect_err("no list");
        error.with_cause()
    };
    let with_body = |body: &str| Referrers {
        body: Some(body.as_bytes().to_vec()),
        ..Referrers::default()
    };
    for body in [
        "<html>",
        "[]",
        "{}",
        r#"{"schemaVersion":2,"manifests":[{"digest":"x","size":1}]}"#,
        r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:1","size":-1}]}"#,
        r#"{"schemaVersion":2,"config":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#,
    ] {
        let error = fails(with_body(body));
        assert!(error.contains("is invalid"), "{body}: {error}");
    }
    let circle = fails(Referrers {
        page: Some(1),
        link: Some("<?from=0>; rel=\"next\"".to_owned()),
        ..Referrers::default()
    });
    assert!(circle.contains("in a circle"), "{circle}");
    let elsewhere = fails(Referrers {
        page: Some(1),
        link: Some("<http://elsewhere.example/v2/a>; rel=\"next\"".to_owned()),
        ..Referrers::default()
    });
    assert!(elsewhere.contains("another server"), "{elsewhere}");
    let entry = |at: usize| {
        let mut entry = descriptor(super::OCI_MANIFEST, &at.to_le_bytes());
        entry["artifactType"] = "a/b".into();
        entry
    };
    let many: Vec<_> = (0..1001).map(entry).collect();
    let many = json!({ "schemaVersion": 2, "manifests": many }).to_string();
    let error = fails(with_body(&many));
    assert!(error.contains("more than 1000"), "{error}");
    let error = fails(Referrers {
        status: Some(403),
        ..Referrers::default()
    });
    assert!(error.contains("refuses what is attached to"), "{error}");
}

#[test]
fn a_silent_registry_is_not_waited_for_long() {
    let registry = RegistryServer::start();
    push(&registry, "team/new", "1.0", &outgoing());
    registry.change(|behaviour| {
        behaviour.referrers = Some(Referrers {
            hangs: true,
            ..Referrers::default()
        });
    });
    let image = open(&registry);
    let begin = Instant::now();
    referrers::list(&image, None).expect_err("silence");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_a_list_promises_is_verified() {
    let registry = RegistryServer::start();
    let outgoing = outgoing();
    push(&registry, "team/new", "1.0", &outgoing);
    registry.change(|behaviour| behaviour.referrers = Some(Referrers::default()));
    let image = open(&registry);
    let found = referrers::list(&image, None)
        .expect("a list")
        .expect("a medium");
    let sbom = found
        .iter()
        .find(|referrer| AttachmentKind::of(referrer) == Some(AttachmentKind::Sbom))
        .expect("an SBOM");

    // Another document than the manifest names.
    let document = imgtool::digest::sha256(br#"{"a": "sbom"}"#).to_string();
    registry.replace_blob("team/new", &document, Some(br#"{"a": "sbob"}"#));
    let error = referrers::read(&image, sbom).expect_err("another document");
    assert!(
        error.with_cause().contains("its digest is sha256:"),
        "{}",
        error.with_cause()
    );

    // Another manifest than the list names.
    let digest = sbom.digest().to_string();
    registry.put_manifest("team/new", &digest, super::OCI_MANIFEST, b"{}");
    let error = referrers::read(&image, sbom).expect_err("another manifest");
    assert!(
        error
            .to_string()
            .contains("is not what its descriptor promises"),
        "{error}"
    );

    // One that belongs to another image.
    let odd = |manifest: serde_json::Value| {
        let bytes = manifest.to_string().into_bytes();
        let entry = descriptor(super::OCI_MANIFEST, &bytes);
        let digest = entry["digest"].as_str().expect("a digest").to_owned();
        registry.put_manifest("team/new", &digest, super::OCI_MANIFEST, &bytes);
        let entry: Descriptor = serde_json::from_value(entry).expect("a descriptor");
        referrers::read(&image, &entry)
            .expect_err("odd")
            .to_string()
    };
    let subject = descriptor("a/b", b"other");
    let error = odd(json!({ "schemaVersion": 2, "subject": subject, "layers": [] }));
    assert!(error.contains("does not belong to"), "{error}");
    let own = json!({ "mediaType": "a/b", "size": 1, "digest": image.digest.as_ref().expect("a digest").to_string() });
    let error = odd(json!({ "schemaVersion": 2, "subject": own, "layers": [] }));
    assert!(error.contains("it has 0 documents"), "{error}");
    let huge = json!({ "mediaType": "a/b", "size": u64::MAX, "digest": digest });
    let error = odd(json!({ "schemaVersion": 2, "subject": own, "layers": [huge] }));
    assert!(error.contains("such have at most"), "{error}");
}
