//! Images whose every blob is read and compared.

use imgtool::transport::outgoing::Silent;
use imgtool::transport::verify::{Part, verify};
use imgtool::transport::{Image, OpenedImage, archive};

use super::{folder, opened};
use crate::support::image::{
    Layout, Packing, TestImage, TestLayer, file, gzip, hash, write_layout,
};
use crate::support::outgoing_image::honest;

fn image_of(reference: &str) -> Image {
    match opened(reference) {
        Ok(OpenedImage::Image(image)) => image,
        other => panic!("{reference}: {other:?}"),
    }
}

fn faults(layout: &Layout) -> Vec<(Part, String)> {
    let folder = folder();
    write_layout(layout, folder.path());
    verify(&image_of(&format!("oci:{}", folder.path().display())))
        .into_iter()
        .map(|fault| (fault.part.clone(), fault.to_string()))
        .collect()
}

#[test]
fn an_honest_image_has_no_fault() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let image = TestImage::small(packing);
        assert_eq!(faults(&image.layout(Some("1"))), []);
        let folder = folder();
        let path = folder.path().join("docker.tar");
        archive::write_docker(&path, &[], &honest(&image), &Silent).expect("written");
        let image = image_of(&format!("docker-archive:{}", path.display()));
        assert!(verify(&image).is_empty());
    }
}

#[test]
fn every_layer_that_is_another_one_is_told() {
    let image = TestImage::small(Packing::Gzip);
    let path = |at: usize| format!("blobs/sha256/{}", hash(&image.layers[at].blob));
    let mut layout = image.layout(Some("1"));
    let middle = image.layers[0].blob.len() / 2;
    layout.get_mut(&path(0)).expect("a blob")[middle] ^= 1;
    layout.remove(&path(1));
    let found = faults(&layout);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].0, Part::Layer(0));
    assert!(
        found[0]
            .1
            .contains("is not what its descriptor promises: its digest is"),
        "{found:?}"
    );
    assert_eq!(found[1].0, Part::Layer(1));
    assert!(found[1].1.contains("lacks the blob"), "{found:?}");
}

#[test]
fn a_layer_that_unpacks_to_something_else_is_told() {
    // The blob is what the manifest promises, and not what the configuration does.
    let mut image = TestImage::small(Packing::Gzip);
    image.layers[1].blob = gzip(&TestLayer::new(&[file("etc/c", "c")], Packing::Plain).tar);
    let found = faults(&image.layout(Some("1")));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, Part::Layer(1));
    assert!(
        found[0]
            .1
            .contains(&format!("not {}", image.layers[1].diff_id())),
        "{found:?}"
    );
    // One whose compression is broken off, with a digest that promises just that.
    let mut image = TestImage::small(Packing::Gzip);
    image.layers[0].blob.truncate(30);
    let found = faults(&image.layout(Some("1")));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].1.contains("gzip data ends before its end"),
        "{found:?}"
    );
}
