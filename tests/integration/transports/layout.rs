//! `oci:`, a folder.

use imgtool::digest::sha256;
use imgtool::transport::platform::OciPlatform;
use serde_json::json;

use super::{assert_is, assert_reads, chain, error_of, folder, open_with};
use crate::support::image::{
    INDEX, Layout, Packing, TestImage, descriptor, layout_of, layout_with, put_blob, set_index,
    write_layout,
};

/// Writes `layout` into a new folder.
fn laid(layout: &Layout) -> (tempfile::TempDir, String) {
    let folder = folder();
    write_layout(layout, folder.path());
    let reference = format!("oci:{}", folder.path().display());
    (folder, reference)
}

#[test]
fn a_layout_is_read_however_its_layers_are_packed() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let image = TestImage::small(packing);
        let (_folder, reference) = laid(&image.layout(Some("1")));
        let read = assert_reads(&reference, &image);
        assert_eq!(read.digest, Some(sha256(&image.manifest_bytes())));
        assert_eq!(read.manifest_bytes, Some(image.manifest_bytes()));
        assert_eq!(read.reference, reference);
        assert_reads(&format!("{reference}:1"), &image);
        assert_reads(&format!("{reference}:@0"), &image);
        let digest = sha256(&image.manifest_bytes());
        assert_reads(&format!("{reference}@{digest}"), &image);
    }
}

#[test]
fn one_of_several_images_is_named_by_tag_place_or_digest() {
    let (one, two) = (
        TestImage::small(Packing::Gzip),
        TestImage::small(Packing::Plain),
    );
    let mut layout = layout_of(&[(&one, Some("localhost/demo:1")), (&two, None)]);
    let mut named = two.descriptor(None);
    named["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/two:latest" });
    set_index(
        &mut layout,
        &[one.descriptor(Some("localhost/demo:1")), named],
    );
    let (_folder, reference) = laid(&layout);
    assert_reads(&format!("{reference}:localhost/demo:1"), &one);
    assert_reads(&format!("{reference}:docker.io/library/two:latest"), &two);
    assert_reads(&format!("{reference}:@1"), &two);
    for (selector, says) in [
        (
            "",
            "has 2 images, and the reference chooses none of them: it has `localhost/demo:1`, `docker.io/library/two:latest`",
        ),
        (
            ":3",
            "has no image `3`; it has `localhost/demo:1`, `docker.io/library/two:latest`",
        ),
        (
            ":@2",
            "has no image at the place 2, counted from 0; it has ",
        ),
    ] {
        let error = error_of(&format!("{reference}{selector}"));
        assert!(error.contains(says), "{error}");
    }
    let (_folder, twice) = laid(&layout_of(&[(&one, Some("1")), (&two, Some("1"))]));
    let error = error_of(&format!("{twice}:1"));
    assert!(
        error.contains("has 2 images with the name `1`: name one by its digest"),
        "{error}"
    );
    // One image under two names is no choice.
    let (_folder, both) = laid(&layout_of(&[(&one, Some("1")), (&one, Some("2"))]));
    assert_reads(&both, &one);
}

#[test]
fn a_platform_is_chosen_through_indexes_in_indexes() {
    let arm = TestImage::small(Packing::Plain).for_architecture("arm64");
    let intel = TestImage::small(Packing::Gzip);
    let entries = json!([arm.descriptor(None), intel.descriptor(None)]);
    let inner = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string();
    let mut layout = layout_with(&[descriptor(INDEX, inner.as_bytes())]);
    put_blob(&mut layout, inner.as_bytes());
    arm.put_blobs(&mut layout);
    intel.put_blobs(&mut layout);
    let (folder, reference) = laid(&layout);
    for (architecture, image) in [("arm64", &arm), ("amd64", &intel)] {
        let platform = OciPlatform::new("linux", architecture, "");
        let opened = open_with(&reference, Some(platform), folder.path()).expect("an image");
        assert_is(opened, image);
    }
    let platform = OciPlatform::new("linux", "s390x", "");
    let error = open_with(&reference, Some(platform), folder.path()).expect_err("no such image");
    assert!(chain(&error).contains("linux/s390x"), "{error}");
}

#[test]
fn a_broken_layout_says_what_is_wrong() {
    let image = TestImage::small(Packing::Gzip);
    let whole = image.layout(None);
    let layer = format!("blobs/sha256/{}", sha256(&image.layers[1].blob).digest());
    let config = format!("blobs/sha256/{}", sha256(&image.config_bytes()).digest());
    let manifest = format!("blobs/sha256/{}", sha256(&image.manifest_bytes()).digest());
    let changed = |change: &dyn Fn(&mut Layout)| {
        let mut layout = whole.clone();
        change(&mut layout);
        let (_folder, reference) = laid(&layout);
        error_of(&reference)
    };
    let put = |path: &str, contents: &[u8]| {
        let (path, contents) = (path.to_owned(), contents.to_vec());
        changed(&move |layout| drop(layout.insert(path.clone(), contents.clone())))
    };
    let without = |path: &str| {
        let path = path.to_owned();
        changed(&move |layout| drop(layout.remove(&path)))
    };
    for (error, says) in [
        (
            without("oci-layout"),
            "it has no file `oci-layout`, so it is no OCI image layout",
        ),
        (without("index.json"), "it has no `index.json`"),
        (without(&layer), "lacks the blob sha256:"),
        (without(&config), "lacks the blob sha256:"),
        (without(&manifest), "lacks the blob sha256:"),
        (
            put("oci-layout", b"{\"imageLayoutVersion\":\"2.0.0\"}"),
            "its layout has the version `2.0.0`, and only 1.0 is known",
        ),
        (put("oci-layout", b"1"), "`oci-layout` of oci:"),
        (put("index.json", b"[]"), "`index.json` of oci:"),
        (
            put("index.json", &image.manifest_bytes()),
            "it is a manifest where an index belongs",
        ),
        (
            put(&layer, b"short"),
            "is not what its descriptor promises: it has 5 bytes, not ",
        ),
        (
            put(&config, b"{}"),
            "is not what its descriptor promises: it has 2 bytes, not ",
        ),
        (
            put(&manifest, b"{}"),
            "is not what its descriptor promises: it has 2 bytes, not ",
        ),
        (
            put("index.json", &vec![b' '; 5 << 20]),
            "it has 5242880 bytes, and documents have at most 4194304",
        ),
        (changed(&|layout| set_index(layout, &[])), "has no image"),
    ] {
        assert!(error.contains(says), "{error}");
    }
    let flipped = {
        let mut blob = image.layers[1].blob.clone();
        let last = blob.len() - 1;
        blob[last] ^= 1;
        put(&layer, &blob)
    };
    assert!(flipped.contains("its digest is sha256:"), "{flipped}");
    let mut copied = Layout::new();
    copied.insert(
        "version".to_owned(),
        b"Directory Transport Version: 1.1".to_vec(),
    );
    copied.insert("manifest.json".to_owned(), image.manifest_bytes());
    let (_folder, reference) = laid(&copied);
    let error = error_of(&reference);
    assert!(
        error.contains("it is no OCI image layout: `skopeo copy dir:"),
        "{error}"
    );
    assert_eq!(
        error_of("oci:/nonexistent/layout"),
        "the folder `/nonexistent/layout` does not exist"
    );
}

#[cfg(unix)]
#[test]
fn a_blob_that_is_no_regular_file_is_not_opened() {
    let image = TestImage::small(Packing::Gzip);
    let (folder, reference) = laid(&image.layout(None));
    let blob = folder
        .path()
        .join("blobs/sha256")
        .join(sha256(&image.layers[0].blob).digest());
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&blob, &elsewhere).expect("a rename");
    std::os::unix::fs::symlink(&elsewhere, &blob).expect("a link");
    let error = error_of(&reference);
    assert!(error.ends_with("it is a symbolic link"), "{error}");

    std::fs::remove_file(&blob).expect("a removal");
    let made = std::process::Command::new("mkfifo").arg(&blob).status();
    assert!(made.expect("mkfifo").success());
    let error = error_of(&reference);
    assert!(error.ends_with("it is no regular file"), "{error}");

    std::fs::remove_file(&blob).expect("a removal");
    std::fs::create_dir(&blob).expect("a folder");
    let error = error_of(&reference);
    assert!(error.ends_with("it is no regular file"), "{error}");
}

#[test]
fn an_index_that_points_to_itself_or_on_and_on_ends() {
    // A digest cannot be of a document that holds it; so the entry lies, and is found out.
    let entry =
        json!({ "mediaType": INDEX, "digest": format!("sha256:{}", "a".repeat(64)), "size": 100 });
    let looping =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    let mut layout = layout_with(&[entry]);
    layout.insert(
        format!("blobs/sha256/{}", "a".repeat(64)),
        looping.into_bytes(),
    );
    let (_folder, reference) = laid(&layout);
    let error = error_of(&reference);
    assert!(
        error.contains("is not what its descriptor promises"),
        "{error}"
    );

    let image = TestImage::small(Packing::Plain);
    let mut layout = image.layout(None);
    let mut entry = image.descriptor(None);
    for _ in 0..20 {
        let index =
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
        put_blob(&mut layout, index.as_bytes());
        entry = descriptor(INDEX, index.as_bytes());
    }
    set_index(&mut layout, &[entry]);
    let (_folder, reference) = laid(&layout);
    let error = error_of(&reference);
    assert!(
        error.contains("indexes lie in one another more than"),
        "{error}"
    );
}

#[test]
fn a_hundred_thousand_images_or_layers_are_refused_or_listed_in_part() {
    let image = TestImage::small(Packing::Plain);
    let entry = json!({ "digest": sha256(b"").to_string(), "size": 0, "mediaType": "a" });
    let mut layout = image.layout(None);
    // As many as fit into a document, and more.
    set_index(&mut layout, &vec![entry.clone(); 100_000]);
    let (_folder, reference) = laid(&layout);
    let error = error_of(&reference);
    assert!(error.contains("documents have at most 4194304"), "{error}");

    let different: Vec<_> = (0..20_000)
        .map(|at: u32| json!({ "digest": sha256(&at.to_le_bytes()).to_string(), "size": 0, "mediaType": "a" }))
        .collect();
    set_index(&mut layout, &different);
    let (_folder, reference) = laid(&layout);
    let error = error_of(&reference);
    assert!(error.len() < 4000, "{} bytes of error", error.len());

    let mut many = image.clone();
    many.layers = vec![image.layers[0].clone(); 3000];
    let (_folder, reference) = laid(&many.layout(None));
    let error = error_of(&reference);
    assert!(error.contains("layers"), "{error}");
}
