//! Images into layouts and archives, and back through what reads them; bad days in the middle.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::time::Duration;

use imgtool::transport::outgoing::{Outgoing, Silent, Written};
use imgtool::transport::platform::OciPlatform;
use imgtool::transport::{TransportError, archive, layout};
use serde_json::{Value, json};

use super::{assert_is, assert_reads, chain, folder, open_with, opened};
use crate::support::image::{
    Packing, TestImage, TestLayer, file, layout_of, put, set_index, write_layout,
};
use crate::support::outgoing_image::{
    Mood, attach, honest, multi_platform, outgoing, paths, root_digest,
};

/// Every file below `folder`, with its bytes.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").display();
                files.insert(name.to_string(), fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

fn index_of(folder: &Path) -> Value {
    let bytes = fs::read(folder.join("index.json")).expect("an index");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn write(
    folder: &Path,
    name: Option<&str>,
    outgoing: &Outgoing,
) -> Result<Written, TransportError> {
    layout::write(folder, name, outgoing, &Silent)
}

/// An image that no other test image shares a layer with.
fn other() -> TestImage {
    TestImage::new(vec![TestLayer::new(
        &[file("etc/other", "something else")],
        Packing::Gzip,
    )])
}

#[test]
fn an_image_goes_into_a_new_layout_and_comes_back() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let image = TestImage::small(packing);
        let outgoing = honest(&image);
        let folder = folder();
        let place = folder.path().join("a/new/layout");
        let written = write(&place, Some("1"), &outgoing).expect("written");
        assert_eq!(written.digest.to_string(), root_digest(&outgoing));
        assert_eq!((written.written_blobs, written.existing_blobs), (4, 0));
        let sizes: usize = tree(&place.join("blobs")).values().map(Vec::len).sum();
        assert_eq!(written.written_bytes, sizes as u64);
        for selector in ["", ":1", ":@0"] {
            assert_reads(&format!("oci:{}{selector}", place.display()), &image);
        }
        let mut expected = paths(&outgoing);
        expected.extend(["index.json".to_owned(), "oci-layout".to_owned()]);
        assert_eq!(tree(&place).into_keys().collect::<Vec<_>>(), expected);
        // Once more, nothing is copied and nothing changes.
        let before = tree(&place);
        let (again, source) = again(&image);
        let written = write(&place, Some("1"), &again).expect("written");
        assert_eq!((written.written_blobs, written.written_bytes), (0, 0));
        assert_eq!(written.existing_blobs, 4);
        assert_eq!(
            source.opened.load(Ordering::Relaxed),
            0,
            "no layer is fetched"
        );
        assert_eq!(tree(&place), before);
    }
}

fn again(
    image: &TestImage,
) -> (
    Outgoing,
    std::sync::Arc<crate::support::outgoing_image::Source>,
) {
    outgoing(image, Mood::Honest)
}

#[test]
fn a_layout_keeps_what_it_has() {
    let (old, new) = (TestImage::small(Packing::Plain), other());
    let folder = folder();
    let mut before = layout_of(&[(&old, Some("old")), (&old, Some("moving"))]);
    let mut named = old.descriptor(Some("moving"));
    named["annotations"]["example.kept"] = "yes".into();
    named["x-entry"] = json!(7);
    set_index(&mut before, &[old.descriptor(Some("old")), named]);
    let mut index: Value = serde_json::from_slice(&before["index.json"]).expect("JSON");
    index["x-unknown"] = json!({ "of": ["another", 12_345_678_901_234_567_u64] });
    index["annotations"] = json!({ "example.index": "kept" });
    before.insert("index.json".to_owned(), index.to_string().into_bytes());
    before.insert("README".to_owned(), b"somebody's".to_vec());
    write_layout(&before, folder.path());

    write(folder.path(), Some("moving"), &honest(&new)).expect("written");
    let reference = format!("oci:{}", folder.path().display());
    assert_reads(&format!("{reference}:moving"), &new);
    assert_reads(&format!("{reference}:old"), &old);
    let after = index_of(folder.path());
    assert_eq!(after["x-unknown"], index["x-unknown"]);
    assert_eq!(after["annotations"], index["annotations"]);
    assert_eq!(after["manifests"][0], index["manifests"][0]);
    // What had the name is still there, with everything but the name.
    assert_eq!(after["manifests"][1]["x-entry"], 7);
    assert_eq!(
        after["manifests"][1]["annotations"],
        json!({ "example.kept": "yes" })
    );
    assert_eq!(after["manifests"].as_array().map(Vec::len), Some(3));
    let files = tree(folder.path());
    for (path, bytes) in before.iter().filter(|(path, _)| *path != "index.json") {
        assert_eq!(files.get(path), Some(bytes), "{path}");
    }
}

#[test]
fn what_is_attached_lies_beside_the_image_and_is_not_taken_for_one() {
    let image = TestImage::small(Packing::Gzip);
    let mut outgoing = honest(&image);
    attach(&mut outgoing, b"{\"bomFormat\":\"CycloneDX\"}");
    let folder = folder();
    for _ in 0..2 {
        write(folder.path(), Some("1"), &outgoing).expect("written");
        let index = index_of(folder.path());
        let entries = index["manifests"].as_array().expect("entries");
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1]["artifactType"], "application/vnd.cyclonedx+json");
        assert_eq!(entries[1].get("annotations"), None);
    }
    assert_reads(&format!("oci:{}", folder.path().display()), &image);
    let path = folder.path().join("out.tar");
    archive::write_oci(&path, Some("1"), &outgoing, &Silent).expect("written");
    assert_reads(&format!("oci-archive:{}", path.display()), &image);
    let alone = outgoing.without_referrers().expect("manifests");
    assert_eq!(paths(&alone), paths(&honest(&image)));
}

#[test]
fn an_index_leads_to_the_image_of_each_platform() {
    let amd = TestImage::small(Packing::Gzip);
    let arm = other().for_architecture("arm64");
    let outgoing = multi_platform(&[&amd, &arm]);
    let folder = folder();
    write(&folder.path().join("layout"), Some("1"), &outgoing).expect("written");
    let path = folder.path().join("out.tar");
    archive::write_oci(&path, Some("1"), &outgoing, &Silent).expect("written");
    for reference in [
        format!("oci:{}:1", folder.path().join("layout").display()),
        format!("oci-archive:{}:1", path.display()),
    ] {
        for (platform, image) in [("linux/amd64", &amd), ("linux/arm64", &arm)] {
            let platform: OciPlatform = platform.parse().expect("a platform");
            let opened = open_with(&reference, Some(platform), Path::new("/nonexistent"));
            assert_is(opened.expect("an image"), image);
        }
    }
    let error = archive::write_docker(&path, &[], &outgoing, &Silent).expect_err("two platforms");
    assert!(error.to_string().contains("--platform"), "{error}");
    assert_reads(
        &format!("oci-archive:{}", path.display()),
        if OciPlatform::of_this_machine().to_string().contains("arm64") {
            &arm
        } else {
            &amd
        },
    );
}

#[test]
fn archives_come_back_whole_or_through_a_pipe() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let image = TestImage::small(packing);
        let outgoing = honest(&image);
        let folder = folder();
        let path = folder.path().join("out.tar");
        archive::write_oci(&path, Some("v1"), &outgoing, &Silent).expect("written");
        let read = assert_reads(&format!("oci-archive:{}:v1", path.display()), &image);
        assert_eq!(read.manifest_bytes, Some(image.manifest_bytes()));
        through_gzip(&path, "oci-archive", &image);
        let tags = ["registry.example/demo:1".parse().expect("a reference")];
        archive::write_docker(&path, &tags, &outgoing, &Silent).expect("written");
        let reference = format!("docker-archive:{}:registry.example/demo:1", path.display());
        let read = assert_reads(&reference, &image);
        let digests: Vec<_> = read
            .layers
            .iter()
            .filter_map(|it| it.digest.clone())
            .collect();
        assert_eq!(digests.len(), 2, "layers keep their digest");
        through_gzip(&path, "docker-archive", &image);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }
}

/// The same archive, compressed as a whole, is read as a stream.
fn through_gzip(path: &Path, transport: &str, image: &TestImage) {
    let gzip = path.with_extension("tar.gz");
    put(
        &gzip,
        &crate::support::image::gzip(&fs::read(path).expect("a file")),
    );
    let opened = opened(&format!("{transport}:{}", gzip.display())).expect("an image");
    assert_is(opened, image);
}

#[test]
fn the_same_image_has_the_same_bytes_later_and_under_another_umask() {
    let mut outgoing = honest(&TestImage::small(Packing::Gzip));
    attach(&mut outgoing, b"{}");
    let folder = folder();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    if let Some(place) = told_place() {
        let place = Path::new(&place);
        archive::write_oci(&place.join("oci.tar"), Some("1"), &outgoing, &Silent).expect("oci");
        archive::write_docker(&place.join("docker.tar"), &[], &outgoing, &Silent).expect("docker");
        write(&place.join("layout"), Some("1"), &outgoing).expect("layout");
        return;
    }
    for (place, umask) in [(&one, "077"), (&two, "002")] {
        fs::create_dir(place).expect("a folder");
        let status = this_test_again(
            "transports::writing::the_same_image_has_the_same_bytes_later_and_under_another_umask",
            &format!("umask {umask}"),
            place,
        );
        assert!(status, "under umask {umask}");
        std::thread::sleep(Duration::from_millis(1100));
    }
    let (one, two) = (tree(&one), tree(&two));
    assert_eq!(one.len(), 10);
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        two.keys().collect::<Vec<_>>()
    );
    assert!(one == two, "the bytes differ");
    // No owner, no time, no difference of permissions.
    let mut archive = tar::Archive::new(one["oci.tar"].as_slice());
    for entry in archive.entries().expect("an archive") {
        let entry = entry.expect("a member");
        let header = entry.header();
        assert_eq!(
            (header.uid().ok(), header.gid().ok(), header.mtime().ok()),
            (Some(0), Some(0), Some(0))
        );
        assert!(matches!(header.mode(), Ok(0o644 | 0o755)));
    }
}

/// Where this run of a test is to write: set by [`this_test_again`].
#[expect(
    clippy::disallowed_methods,
    reason = "a test that runs itself once more tells that run so"
)]
fn told_place() -> Option<std::ffi::OsString> {
    std::env::var_os("IMGTOOL_TEST_WRITE_INTO")
}

/// Runs one test of this program in a shell that does `first`, and says whether it passes.
fn this_test_again(name: &str, first: &str, place: &Path) -> bool {
    let program = std::env::current_exe().expect("a program");
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("{first} && exec \"$0\" --exact \"$1\""))
        .arg(program)
        .arg(name)
        .env("IMGTOOL_TEST_WRITE_INTO", place)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("1 passed") || said.contains("1 failed"),
        "{said}"
    );
    output.status.success()
}

#[test]
fn two_writers_of_one_layout_both_succeed() {
    const WRITERS: usize = 8;
    let folder = folder();
    let shared = TestImage::small(Packing::Gzip);
    let images: Vec<TestImage> = (0..WRITERS)
        .map(|at| {
            let mut layers = shared.layers.clone();
            let own = file("etc/own", format!("image {at}"));
            layers.push(TestLayer::new(&[own], Packing::Gzip));
            TestImage::new(layers)
        })
        .collect();
    let place = folder.path().join("layout");
    let barrier = Barrier::new(WRITERS);
    std::thread::scope(|scope| {
        for (at, image) in images.iter().enumerate() {
            let (place, barrier) = (&place, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for tag in [format!("own-{at}"), "shared".to_owned()] {
                    write(place, Some(&tag), &honest(image)).expect("written");
                }
            });
        }
    });
    for (at, image) in images.iter().enumerate() {
        assert_reads(&format!("oci:{}:own-{at}", place.display()), image);
    }
    let index = index_of(&place);
    let entries = index["manifests"].as_array().expect("entries");
    let shared = entries
        .iter()
        .filter(|it| it["annotations"]["org.opencontainers.image.ref.name"] == "shared");
    assert_eq!(shared.count(), 1);
    assert!(
        !tree(&place)
            .keys()
            .any(|path| path.starts_with(".imgtool-"))
    );
}

#[test]
fn a_source_that_fails_leaves_everything_as_it_was() {
    let (old, image) = (other(), TestImage::small(Packing::Gzip));
    let folder = folder();
    let place = folder.path().join("layout");
    write(&place, Some("1"), &honest(&old)).expect("written");
    let path = folder.path().join("out.tar");
    archive::write_oci(&path, Some("1"), &honest(&old), &Silent).expect("written");
    let (layout_before, archive_before) = (tree(&place), fs::read(&path).expect("a file"));
    for (mood, says) in [
        (Mood::Breaks, "the registry is gone"),
        (
            Mood::Corrupts,
            "is not what its descriptor promises: its digest is sha256:",
        ),
        (Mood::Cuts, "is not what its descriptor promises: it has "),
        (Mood::Refuses, "the layer is gone"),
    ] {
        let (outgoing, _) = outgoing(&image, mood);
        let mut bytes = Vec::new();
        let errors = [
            write(&place, Some("1"), &outgoing),
            archive::write_oci(&path, Some("1"), &outgoing, &Silent),
            archive::write_docker(&path, &[], &outgoing, &Silent),
            archive::write_oci_to(&mut bytes, None, &outgoing, &Silent),
        ]
        .map(|result| chain(&result.expect_err("a failure")));
        for error in errors {
            assert!(error.contains(says), "{mood:?}: {error}");
        }
        // The old image is what there is; blobs that were complete may stay, for the next run.
        let after = tree(&place);
        for (path, bytes) in &layout_before {
            assert_eq!(after.get(path), Some(bytes), "{mood:?} {path}");
        }
        let known = paths(&outgoing);
        for path in after.keys().filter(|it| !layout_before.contains_key(*it)) {
            assert!(known.contains(path), "{mood:?} leaves {path}");
        }
        assert_reads(&format!("oci:{}:1", place.display()), &old);
        assert!(fs::read(&path).expect("a file") == archive_before);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    // A second run finishes the job.
    write(&place, Some("1"), &honest(&image)).expect("written");
    assert_reads(&format!("oci:{}:1", place.display()), &image);
}

#[test]
fn a_full_disk_is_one_error() {
    let image = TestImage::new(vec![TestLayer::new(
        &[file("etc/large", vec![7; 1 << 20])],
        Packing::Plain,
    )]);
    if let Some(place) = told_place() {
        let place = Path::new(&place);
        for result in [
            write(place, Some("1"), &honest(&image)),
            archive::write_oci(&place.join("../out.tar"), None, &honest(&image), &Silent),
        ] {
            let error = result.expect_err("no file may be as large");
            assert!(
                matches!(error, TransportError::Write { .. }),
                "{}",
                chain(&error)
            );
            assert!(
                chain(&error).starts_with("cannot write `"),
                "{}",
                chain(&error)
            );
        }
        return;
    }
    let folder = folder();
    let place = folder.path().join("layout");
    let old = other();
    write(&place, Some("1"), &honest(&old)).expect("written");
    let before = tree(&place);
    // A limit of the size of files, in blocks of 512 bytes, stands for a disk that is full; without the signal that goes
    // with it, it is an error of the write.
    let passed = this_test_again(
        "transports::writing::a_full_disk_is_one_error",
        "trap '' XFSZ && ulimit -f 600",
        &place,
    );
    assert!(passed);
    let mut after = tree(&place);
    let known = paths(&honest(&image));
    after.retain(|path, _| !known.contains(path));
    assert_eq!(after, before);
    assert_reads(&format!("oci:{}:1", place.display()), &old);
    assert!(!folder.path().join("out.tar").exists());
    if Path::new("/dev/full").exists() {
        let full = Path::new("/dev/full");
        let error = archive::write_oci(full, None, &honest(&image), &Silent).expect_err("full");
        assert!(
            chain(&error).starts_with("cannot write `/dev/full`: No space left"),
            "{error}"
        );
    }
}

#[test]
fn blobs_that_are_damaged_are_replaced() {
    let image = TestImage::small(Packing::Gzip);
    let folder = folder();
    write(folder.path(), Some("1"), &honest(&image)).expect("written");
    let blob = |at: usize| {
        let hash = crate::support::image::hash(&image.layers[at].blob);
        folder.path().join(format!("blobs/sha256/{hash}"))
    };
    let mut damaged = image.layers[0].blob.clone();
    damaged[20] ^= 1;
    put(&blob(0), &damaged);
    put(&blob(1), b"short");
    let written = write(folder.path(), Some("1"), &honest(&image)).expect("written");
    assert_eq!((written.written_blobs, written.existing_blobs), (2, 2));
    assert_reads(&format!("oci:{}:1", folder.path().display()), &image);
}

#[test]
fn what_a_killed_run_left_behind_is_no_hindrance() {
    let image = TestImage::small(Packing::Gzip);
    let folder = folder();
    // Stopped before the index: the layout's own file, a blob, and half of another.
    put(
        &folder.path().join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    );
    let stale = folder.path().join(".imgtool-stale");
    put(&stale, b"half");
    let old = fs::metadata(&stale)
        .and_then(|it| it.modified())
        .expect("a time");
    fs::OpenOptions::new()
        .write(true)
        .open(&stale)
        .and_then(|file| file.set_modified(old - Duration::from_secs(7200)))
        .expect("a time");
    put(&folder.path().join(".imgtool-at-work"), b"another run's");
    write(folder.path(), None, &honest(&image)).expect("written");
    assert_reads(&format!("oci:{}", folder.path().display()), &image);
    assert!(!stale.exists());
    assert!(folder.path().join(".imgtool-at-work").exists());
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let image = honest(&TestImage::small(Packing::Gzip));
    let with = |name: &str, bytes: &[u8]| {
        let folder = folder();
        put(&folder.path().join(name), bytes);
        let before = tree(folder.path());
        let error = write(folder.path(), None, &image).expect_err("no layout");
        assert_eq!(tree(folder.path()), before);
        chain(&error)
    };
    assert!(with("notes.txt", b"x").contains("it has files and is no OCI image layout"));
    assert!(with("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#).contains("version `2.0.0`"));
    let folder = folder();
    let path = folder.path().join("file");
    put(&path, b"x");
    let error = chain(&write(&path, None, &image).expect_err("a file"));
    assert!(
        error.contains("a file is written with `oci-archive:`"),
        "{error}"
    );
    put(
        &folder.path().join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    );
    put(&folder.path().join("index.json"), b"[]");
    let error = chain(&write(folder.path(), None, &image).expect_err("no index"));
    assert!(error.contains("`index.json` of"), "{error}");
    assert!(
        !folder.path().join("blobs").exists(),
        "nothing is copied for it"
    );
}
