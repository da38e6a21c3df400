//! Images that want to harm their reader: each is a clear error, or is read as the specification says.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imgtool::digest::sha256;
use imgtool::image_path::ImagePath;
use imgtool::rootfs::retention::Retention;
use imgtool::rootfs::{Entry, EntryKind, InventoryCache, Limits, RootFs, RootFsError, resolve};
use imgtool::transport::{Layer, LayerSource, OpenedImage, TransportError};
use tar::{EntryType, Header};

use crate::support::layers::{
    Archive, Reading, everything, gzip, image, image_of, overlay, told, tree,
};

fn refused(layers: &[Vec<u8>], limits: Limits) -> String {
    let reading = Reading {
        limits,
        ..Reading::default()
    };
    told(&reading.root(image(layers).0).expect_err("an error"))
}

#[test]
fn paths_that_climb_out_of_the_root_stay_inside() {
    let root = overlay(&[Archive::new()
        .file("../../etc/passwd", b"1")
        .file("/../absolute", b"2")
        .file("a/../../b", b"3")
        .symlink("out", "../../../etc")
        .file("out/shadow", b"4")
        .hard_link("linked", "../../etc/passwd")
        .file("x/.wh...", b"")
        .0[..512 * 10]
        .to_vec()]);
    let tree = tree(&root);
    let paths: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "absolute",
            "b",
            "etc",
            "etc/passwd",
            "etc/shadow",
            "linked",
            "out"
        ]
    );
    assert_eq!(tree["linked"], "f:1");
}

#[test]
fn links_in_a_circle_are_an_error_and_not_a_hang() {
    let archive = Archive::new().symlink("a", "b").symlink("b", "a");
    let error = refused(
        &[archive.clone().file("a/x", b"").finish()],
        Limits::default(),
    );
    assert!(error.contains("more than 40 symbolic links"), "{error}");
    assert!(error.contains("`a/x`"), "{error}");
    let root = overlay(&[archive.finish()]);
    let resolved = resolve::resolve(&root, &ImagePath::new("a/x"));
    assert!(matches!(resolved, Err(RootFsError::SymlinkLoop(_))));
    // Hard links between layers cannot go in circles either.
    let layers = [
        Archive::new()
            .hard_link("a", "b")
            .hard_link("b", "a")
            .finish(),
        Archive::new()
            .hard_link("b", "a")
            .hard_link("a", "b")
            .finish(),
    ];
    let tree = tree(&overlay(&layers));
    assert!(tree.values().all(|what| what == "o"), "{tree:?}");
}

#[test]
fn links_that_multiply_are_bounded() {
    // Each leads through the one before many times over: a billion steps for one path.
    let mut archive = Archive::new().folder("l0");
    for number in 1..30 {
        let target = format!("l{}/../", number - 1).repeat(300);
        archive = archive.symlink(&format!("l{number}"), &target);
    }
    let error = refused(&[archive.file("l29/x", b"").finish()], Limits::default());
    assert!(error.contains("symbolic links"), "{error}");
}

#[test]
fn hard_links_to_themselves_in_every_layer_are_followed_once() {
    let python = "usr/local/bin/python3";
    let link = Archive::new().hard_link(python, python);
    for count in [6, 10, 60, 400] {
        // Each layer differs, as equal ones would be one.
        let mut layers: Vec<Vec<u8>> = (0..count)
            .map(|number| link.clone().file(&format!("n{number}"), b"").finish())
            .collect();
        let path = ImagePath::new(python);
        let entry = overlay(&layers).entry(&path).expect("an answer");
        assert_eq!(entry, Some(Entry::Other), "{count} layers");
        // With a file below them, that is what all of them are.
        layers.insert(0, Archive::new().file(python, b"binary").finish());
        let root = overlay(&layers);
        assert_eq!(root.read(&path, 99).expect("a file"), b"binary");
        let facts = root.file_facts(&path).expect("an answer");
        assert_eq!(facts.and_then(|facts| facts.layer), Some(count));
    }
}

#[test]
fn hard_links_that_branch_in_every_layer_are_followed_once() {
    // Each of them can be one of two of the layer below, and of its own.
    let layers: Vec<Vec<u8>> = (0..60)
        .map(|number| {
            Archive::new()
                .hard_link("a/x", "b/x")
                .hard_link("b/x", "c/x")
                .hard_link("c/x", "a/x")
                .file(&format!("n{number}"), b"")
                .finish()
        })
        .collect();
    let tree = tree(&overlay(&layers));
    for path in ["a/x", "b/x", "c/x"] {
        assert_eq!(tree[path], "o", "{path}");
    }
}

#[test]
fn a_chain_of_hard_links_as_long_as_a_layer_is_followed() {
    let count = 20_000;
    let mut archive = Archive::new();
    for number in 0..count {
        archive = archive.hard_link(&format!("f{number}"), &format!("f{}", number + 1));
    }
    let archive = archive.file(&format!("f{count}"), b"end").finish();
    let root = overlay(&[archive]);
    let contents = root.read(&ImagePath::new("f0"), 99).expect("a file");
    assert_eq!(contents, b"end");
    let listed = root.list(&ImagePath::root()).expect("a folder");
    assert_eq!(listed.len(), count + 1);
    assert!(listed.iter().all(|entry| entry.kind == EntryKind::File));
}

#[test]
fn a_folder_of_hard_links_to_nothing_over_many_layers_is_listed() {
    let count = 20_000;
    let mut archive = Archive::new();
    for number in 0..count {
        archive = archive.hard_link(&format!("links/f{number}"), &format!("gone/by/f{number}"));
    }
    let layer = |number: usize| Archive::new().file(&format!("gone/by/other{number}"), b"");
    let mut layers: Vec<Vec<u8>> = (0..59).map(|number| layer(number).finish()).collect();
    layers.push(archive.finish());
    let root = overlay(&layers);
    let listed = root.list(&ImagePath::new("links")).expect("a folder");
    assert_eq!(listed.len(), count);
    assert!(listed.iter().all(|entry| entry.kind == EntryKind::Other));
}

#[test]
fn names_of_any_length_are_refused_before_they_are_held() {
    let long = vec![b'a'; 100_000];
    let gnu = Archive::new()
        .entry(EntryType::Regular, &long, b"", b"")
        .finish();
    let link = Archive::new()
        .entry(EntryType::Symlink, b"x", &long, b"")
        .finish();
    let pax = Archive::new()
        .pax(&[("path", &long)])
        .file("x", b"")
        .finish();
    let pax_link = Archive::new()
        .pax(&[("linkpath", &long)])
        .symlink("x", "y")
        .finish();
    for archive in [gnu, link, pax, pax_link] {
        let error = refused(&[archive], Limits::default());
        assert!(error.contains("more than 4096 bytes of a path"), "{error}");
        assert!(error.len() < 2000, "an error is for people");
    }
    let size = u64::MAX >> 2;
    for kind in [
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
    ] {
        let archive = Archive::new().raw(kind, b"x", b"", size, b"").finish();
        let error = refused(&[archive], Limits::default());
        assert!(error.contains("more than"), "{error}");
    }
    let deep = Archive::new().file(&"d/".repeat(300), b"").finish();
    let error = refused(&[deep], Limits::default());
    assert!(
        error.contains("more than 256 folders inside one another"),
        "{error}"
    );
}

#[test]
fn too_many_entries_are_refused_in_a_layer_and_in_an_image() {
    let mut archive = Archive::new();
    for number in 0..100 {
        archive = archive.file(&format!("f{number}"), b"");
    }
    let archive = archive.finish();
    let layer_entries = Limits {
        layer_entries: 99,
        ..Limits::default()
    };
    let error = refused(std::slice::from_ref(&archive), layer_entries);
    assert!(error.contains("more than 99 entries"), "{error}");
    assert!(
        error.contains(&sha256(&gzip(&archive)).to_string()),
        "{error}"
    );
    // One entry that implies many folders, and one name many times over.
    let implied = Archive::new().file(&"d/".repeat(200), b"").finish();
    let repeated = "f"
        .repeat(100)
        .chars()
        .fold(Archive::new(), |archive, _| archive.file("f", b""));
    for archive in [implied, repeated.finish()] {
        let error = refused(&[archive], layer_entries);
        assert!(error.contains("more than 99 entries"), "{error}");
    }
    let other = Archive::new().file("other", b"").finish();
    let image_entries = Limits {
        image_entries: 102,
        ..Limits::default()
    };
    let error = refused(&[archive, other], image_entries);
    assert!(
        error.contains("the image has more than 102 entries"),
        "{error}"
    );
}

#[test]
fn too_much_that_would_be_kept_is_refused() {
    let archive = |name: &str| Archive::new().file(name, &[b'x'; 1000]).finish();
    let layer_retained = Limits {
        layer_retained: 1000,
        ..Limits::default()
    };
    let error = refused(&[archive("a")], layer_retained);
    assert!(
        error.contains("more than 1000 bytes of names and kept files"),
        "{error}"
    );
    let image_retained = Limits {
        image_retained: 1500,
        ..Limits::default()
    };
    let error = refused(&[archive("a"), archive("b")], image_retained);
    assert!(
        error.contains("the image has more than 1500 bytes of names and kept files"),
        "{error}"
    );
}

#[test]
fn a_decompression_bomb_ends_at_the_limit() {
    let limits = Limits {
        layer_uncompressed: 1 << 20,
        ..Limits::default()
    };
    let archive = Archive::new().file("zeros", &vec![0; 8 << 20]).finish();
    let zstd = zstd::encode_all(archive.as_slice(), 3).expect("a frame");
    for blob in [gzip(&archive), zstd] {
        let reading = Reading {
            limits,
            ..Reading::default()
        };
        let (image, _) = image_of(vec![(blob, sha256(&archive))]);
        let error = told(&reading.root(image).expect_err("an error"));
        assert!(
            error.contains("more than 1048576 bytes once it is uncompressed"),
            "{error}"
        );
    }
}

#[test]
fn layers_that_are_small_alone_are_a_bomb_together() {
    let limits = Limits {
        image_uncompressed: 1 << 20,
        ..Limits::default()
    };
    let layer = |name: &str| Archive::new().file(name, &vec![0; 600 << 10]).finish();
    let error = refused(&[layer("a"), layer("b")], limits);
    assert_eq!(
        error,
        "the image has more than 1048576 bytes once its layers are uncompressed"
    );
    // One alone is none, and neither is one that comes twice: it is unpacked once.
    let (image, _) = image(&[layer("a"), layer("a")]);
    let reading = Reading {
        limits,
        ..Reading::default()
    };
    reading.root(image).expect("an image");
}

#[test]
fn what_the_cache_has_is_not_unpacked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = InventoryCache::new(folder.path(), Duration::ZERO);
    let layer = |name: &str| Archive::new().file(name, &vec![0; 600 << 10]).finish();
    let layers = [layer("a"), layer("b")];
    let read = |image_uncompressed| {
        Reading {
            cache: Some(&cache),
            limits: Limits {
                image_uncompressed,
                ..Limits::default()
            },
            retention: |_| Retention::Nothing,
            ..Reading::default()
        }
        .root(image(&layers).0)
    };
    read(2 << 20).expect("an image");
    read(1 << 20).expect("an image that is known");
}

/// Layers that go on after their entries: with a file that does not end for a minute, so that whoever waits for a layer's
/// end fails.
#[derive(Debug)]
struct Unending(Vec<Vec<u8>>);

impl LayerSource for Unending {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        let entries = std::io::Cursor::new(self.0[layer.index].clone());
        let deadline = Instant::now() + Duration::from_secs(60);
        Ok(Box::new(entries.chain(Zeros(deadline))))
    }
}

struct Zeros(Instant);

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if Instant::now() > self.0 {
            return Err(std::io::Error::other("nobody stopped the layer"));
        }
        buffer.fill(0);
        Ok(buffer.len())
    }
}

/// Reads two unending layers at once, each of which begins with `entries` and ends, where an end is seen, with an error
/// of its own.
fn refused_unended(entries: impl Fn(Archive) -> Archive, limits: Limits) -> String {
    let archives: Vec<Vec<u8>> = ["a", "b"]
        .iter()
        .map(|name| {
            entries(Archive::new().file(name, b""))
                .raw(EntryType::Regular, b"unending", b"", 1 << 62, b"")
                .0
        })
        .collect();
    let (mut image, _) = image(&archives);
    for layer in &mut image.layers {
        layer.size = None;
    }
    image.source = Arc::new(Unending(archives));
    let reading = Reading {
        limits,
        ..Reading::default()
    };
    told(&reading.root(image).expect_err("an error"))
}

#[test]
fn layers_in_flight_share_what_their_image_may_have() {
    let many = |archive: Archive| {
        (0..100).fold(archive, |archive, number| {
            archive.file(&format!("f{number}"), b"")
        })
    };
    let limits = Limits {
        image_entries: 150,
        ..Limits::default()
    };
    assert_eq!(
        refused_unended(many, limits),
        "the image has more than 150 entries"
    );
    let large = |archive: Archive| archive.file("large", &[b'x'; 1000]);
    let limits = Limits {
        image_retained: 1500,
        ..Limits::default()
    };
    assert_eq!(
        refused_unended(large, limits),
        "the image has more than 1500 bytes of names and kept files"
    );
    let limits = Limits {
        image_uncompressed: 3 << 20,
        ..Limits::default()
    };
    assert_eq!(
        refused_unended(|archive| archive, limits),
        "the image has more than 3145728 bytes once its layers are uncompressed"
    );
}

#[test]
fn a_large_file_of_zeros_is_legal() {
    let archive = Archive::new()
        .file("zeros", &vec![0; 8 << 20])
        .file("x", b"1")
        .finish();
    let root = overlay(&[archive]);
    let facts = root
        .file_facts(&ImagePath::new("zeros"))
        .expect("an answer");
    assert_eq!(facts.map(|facts| facts.size), Some(8 << 20));
}

#[test]
fn sparse_files_are_as_large_as_they_say_and_take_no_room() {
    let mut header = Header::new_gnu();
    header.set_path("sparse").expect("a name");
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(0);
    let gnu = header.as_gnu_mut().expect("a header of GNU");
    gnu.set_real_size(1 << 62);
    let archive = Archive::new().with_header(header, b"").finish();
    for retention in [everything, |_: &str| Retention::Executable] {
        let reading = Reading {
            retention,
            ..Reading::default()
        };
        let started = Instant::now();
        let root = reading
            .root(image(std::slice::from_ref(&archive)).0)
            .expect("an image");
        assert!(started.elapsed() < Duration::from_secs(20));
        let error = root
            .read(&ImagePath::new("sparse"), 100)
            .expect_err("too large");
        assert!(matches!(error, RootFsError::TooLarge { .. }));
    }
}

#[test]
fn sizes_that_lie_are_an_error() {
    for size in [600, 1 << 40, u64::MAX >> 1] {
        let archive = Archive::new()
            .raw(EntryType::Regular, b"liar", b"", size, b"short")
            .0;
        let error = refused(&[archive], Limits::default());
        assert!(
            error.contains("it ends in the middle, at or behind its entry `liar`"),
            "{error}"
        );
    }
    let pax = Archive::new()
        .pax(&[("size", b"99999999999999999999999")])
        .file("x", b"");
    assert!(refused(&[pax.finish()], Limits::default()).contains("a number that is none"));
}

#[test]
fn a_hundred_thousand_layers_are_refused_unread() {
    let layer = (gzip(b""), sha256(b""));
    let (image, blobs) = image_of(vec![layer; 100_000]);
    let error = Reading::default().root(image).expect_err("an error");
    assert_eq!(told(&error), "the image has more than 500 layers");
    assert_eq!(blobs.opened(), 0);
}

#[test]
fn a_layer_that_comes_a_hundred_times_is_read_once() {
    let archive = Archive::new().file("x", b"1").finish();
    let (image, blobs) = image(&vec![archive; 100]);
    let root = Reading::default().root(image).expect("an image");
    assert_eq!(blobs.opened(), 1);
    let facts = root.file_facts(&ImagePath::new("x")).expect("an answer");
    assert_eq!(facts.and_then(|facts| facts.layer), Some(99));
}

#[test]
fn layers_that_nobody_can_read_are_told_apart() {
    for (media_type, says) in [
        (
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "it is encrypted",
        ),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "its contents are not stored with the image",
        ),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "its contents are not stored with the image",
        ),
    ] {
        let (mut image, _) = image(&[Vec::new()]);
        media_type.clone_into(&mut image.layers[0].media_type);
        let error = told(&Reading::default().root(image).expect_err("an error"));
        assert!(
            error.contains(says) && error.contains(media_type),
            "{error}"
        );
    }
}

/// Zeros without end.
#[derive(Debug)]
struct Endless;

impl LayerSource for Endless {
    fn open(&self, _: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        Ok(Box::new(std::io::repeat(0)))
    }
}

#[test]
fn a_blob_without_an_end_is_read_as_far_as_it_was_promised() {
    let (mut image, _) = image(&[Archive::new().finish()]);
    image.source = Arc::new(Endless);
    let error = told(&Reading::default().root(image).expect_err("an error"));
    assert!(
        error.contains("is not what its descriptor promises"),
        "{error}"
    );
}

#[test]
fn one_broken_layer_stops_the_others() {
    let (mut image, _) = image(&[Archive::new().finish(), b"broken".repeat(500)]);
    let broken = image.layers[1].clone();
    // The first would never end: its size is not known.
    image.layers[0].size = None;
    image.source = Arc::new(OneEndless(gzip(&b"broken".repeat(500))));
    let error = Reading::default()
        .read(OpenedImage::Image(image))
        .expect_err("an error");
    let digest = broken.digest.expect("a digest").to_string();
    assert!(told(&error).contains(&digest), "{}", told(&error));
    assert!(told(&error).contains("it is not a tar archive"));
}

#[derive(Debug)]
struct OneEndless(Vec<u8>);

impl LayerSource for OneEndless {
    fn open(&self, layer: &Layer) -> Result<Box<dyn Read + Send>, TransportError> {
        if layer.index == 0 {
            Ok(Box::new(std::io::repeat(0)))
        } else {
            Ok(Box::new(std::io::Cursor::new(self.0.clone())))
        }
    }
}
