//! What goes out: blobs each once, an index of several platforms.

use std::collections::BTreeMap;
use std::sync::Arc;

use imgtool::image::{
    Attachment, AttachmentKind, BuiltImage, Changes, ImageError, ManifestFormat, append,
    assemble_outgoing,
};
use imgtool::transport::layout;
use imgtool::transport::outgoing::BlobContent;
use insta::assert_snapshot;

use super::{Base, CONFIG, gzip_layer};
use crate::support::image::write_layout;
use crate::support::new_image::{layout_of, lines};

/// A new image on `base`.
pub(super) fn built(base: &Base, changes: &Changes, attached: &[AttachmentKind]) -> BuiltImage {
    let base = base.read();
    let image = append(&base, &[gzip_layer()], changes).expect("an image");
    BuiltImage {
        image,
        base_layers: base.layers.clone(),
        base_source: base.source,
        base_repository: None,
        new_layers: vec![BlobContent::Bytes(Arc::from(&b"new"[..]))],
        attached: attached
            .iter()
            .map(|kind| Attachment {
                kind: *kind,
                document: format!("{{\"a\": \"{}\"}}", kind.name()).into_bytes(),
            })
            .collect(),
    }
}

fn for_architecture(architecture: &str) -> Base {
    let config = CONFIG.replace(r#""arm64","variant":"v8""#, &format!("\"{architecture}\""));
    Base::oci(&config)
}

#[test]
fn one_image_goes_out_with_every_blob_once() {
    let one = built(
        &Base::oci(CONFIG),
        &Changes::default(),
        &AttachmentKind::ALL,
    );
    let outgoing = assemble_outgoing(vec![one], None).expect("an image");
    let blobs: Vec<String> = outgoing
        .blobs
        .iter()
        .map(|blob| blob.descriptor.media_type().to_string())
        .collect();
    assert_eq!(
        blobs,
        [
            super::OCI_CONFIG,
            super::OCI_LAYER,
            super::OCI_LAYER,
            super::OCI_LAYER,
            "application/vnd.oci.empty.v1+json",
            "application/vnd.cyclonedx+json",
            "application/vnd.in-toto+json",
            "application/vnd.imgtool.lock.v1+toml",
        ]
    );
    assert_eq!(outgoing.manifests.len(), 1);
    assert_eq!(outgoing.referrers.len(), 3);
    // What it is, an image reader says.
    let folder = tempfile::tempdir().expect("a folder");
    write_layout(&layout_of(&outgoing, "1.0"), folder.path());
    let image = layout::open(folder.path(), None, None, "oci:new").expect("an image");
    assert_eq!(image.layers.len(), 3);
    assert_eq!(
        image.digest.as_ref(),
        Some(outgoing.manifests[0].descriptor.digest())
    );
}

#[test]
fn platforms_become_an_index() {
    let images = || {
        vec![
            built(&for_architecture("amd64"), &Changes::default(), &[]),
            built(&Base::oci(CONFIG), &Changes::default(), &[]),
        ]
    };
    let annotations = BTreeMap::from([
        ("b".to_owned(), "1".to_owned()),
        ("a".to_owned(), "2".to_owned()),
    ]);
    let outgoing = assemble_outgoing(images(), Some(&annotations)).expect("an index");
    assert_eq!(outgoing.manifests.len(), 3);
    // Both have the same layers; only their configurations differ.
    assert_eq!(outgoing.blobs.len(), 5);
    assert_snapshot!(lines(&outgoing.manifests[2].bytes), @r#"
    schemaVersion: 2
    mediaType: "application/vnd.oci.image.index.v1+json"
    manifests: [{"digest":"sha256:ca89bdd36e41d0e0854f6aadff5f99e937ace0fcd25c9bb0569167a9509d2b75","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{"architecture":"amd64","os":"linux"},"size":970},{"digest":"sha256:0357f64f8d06bb3fe9d56514b3ec9a64d6a9899f6471a68cf8833b7f42c6aaed","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{"architecture":"arm64","os":"linux","variant":"v8"},"size":970}]
    annotations: {"a":"2","b":"1"}
    "#);
    let again = assemble_outgoing(images(), Some(&annotations)).expect("an index");
    assert_eq!(again.manifests[2].bytes, outgoing.manifests[2].bytes);
    let folder = tempfile::tempdir().expect("a folder");
    write_layout(&layout_of(&outgoing, "1.0"), folder.path());
    for (platform, manifest) in ["linux/amd64", "linux/arm64"]
        .iter()
        .zip(&outgoing.manifests)
    {
        let platform = platform.parse().expect("a platform");
        let image =
            layout::open(folder.path(), None, Some(&platform), "oci:new").expect("an image");
        assert_eq!(image.digest.as_ref(), Some(manifest.descriptor.digest()));
    }
}

#[test]
fn dockers_images_become_a_list_and_nothing_is_mixed() {
    let amd64 = CONFIG.replace(r#""arm64","variant":"v8""#, "\"amd64\"");
    let docker = |config: &str| built(&Base::docker(config), &Changes::default(), &[]);
    let outgoing = assemble_outgoing(vec![docker(&amd64), docker(CONFIG)], None).expect("a list");
    let list = outgoing.manifests.last().expect("a list");
    assert_eq!(
        list.descriptor.media_type().to_string(),
        "application/vnd.docker.distribution.manifest.list.v2+json"
    );
    let oci = || built(&Base::oci(CONFIG), &Changes::default(), &[]);
    let error = assemble_outgoing(vec![docker(&amd64), oci()], None).expect_err("a mixture");
    assert_eq!(
        error.to_string(),
        "an index of linux/arm64/v8 and linux/amd64 would mix OCI and Docker manifests"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("--manifest oci"))
    );
    let changes = Changes {
        format: ManifestFormat::Oci,
        ..Changes::default()
    };
    let translated = built(&Base::docker(&amd64), &changes, &[]);
    assemble_outgoing(vec![translated, oci()], None).expect("an index");
    let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let error = assemble_outgoing(vec![docker(CONFIG)], Some(&annotations)).expect_err("no place");
    assert!(
        matches!(error, ImageError::AnnotationInDocker { .. }),
        "{error}"
    );
}

#[test]
fn what_cannot_be_put_together_is_an_error() {
    let one = || built(&Base::oci(CONFIG), &Changes::default(), &[]);
    assert!(matches!(
        assemble_outgoing(Vec::new(), None),
        Err(ImageError::NoImage)
    ));
    let error = assemble_outgoing(vec![one(), one()], None).expect_err("the same");
    assert!(
        error
            .to_string()
            .starts_with("two images of the index are for linux/arm64/v8")
    );
    let mut empty = one();
    empty.new_layers.clear();
    assert!(matches!(
        assemble_outgoing(vec![empty], None),
        Err(ImageError::Contents {
            layers: 1,
            contents: 0
        })
    ));
}

#[test]
fn foreign_layers_are_not_carried_along() {
    let mut base = Base::oci(CONFIG);
    base.layer_types[0] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let outgoing =
        assemble_outgoing(vec![built(&base, &Changes::default(), &[])], None).expect("an image");
    let digest = imgtool::digest::sha256(super::BELOW[0]);
    assert!(
        outgoing
            .blobs
            .iter()
            .all(|blob| *blob.descriptor.digest() != digest)
    );
    let text = String::from_utf8(outgoing.manifests[0].bytes.clone()).expect("UTF-8");
    assert!(text.contains(digest.digest()));
}
