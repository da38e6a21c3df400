//! `oci-archive:` and `docker-archive:`, plain and compressed, in the forms of every writer.

use imgtool::digest::sha256;
use imgtool::transport::OpenedImage;
use imgtool::transport::archive::{ArchiveFormat, ArchiveStream};
use imgtool::transport::platform::OciPlatform;
use serde_json::json;

use super::{assert_is, assert_reads, chain, error_of, folder, open_with, opened, written};
use crate::support::image::{
    Member, Node, Packing, TestImage, TestLayer, archive_members, file, gzip, hash, layout_of, put,
    symlink, tar_of, zstd,
};

const TAGS: [&str; 2] = ["demo:1", "localhost/demo:two"];

/// The archive in all of its coats: as it is, and compressed, of which only the first is no stream.
fn coats(members: &[Member]) -> [(Vec<u8>, bool); 3] {
    let tar = tar_of(members);
    let (gzipped, zstandard) = (gzip(&tar), zstd(&tar));
    [(tar, false), (gzipped, true), (zstandard, true)]
}

/// Reads an archive of `image` in every coat.
fn assert_archive(transport: &str, members: &[Member], selector: &str, image: &TestImage) {
    let folder = folder();
    for (bytes, is_stream) in coats(members) {
        let path = written(&folder, "image.tar", &bytes);
        let reference = format!("{transport}:{path}{selector}");
        let opened = opened(&reference).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(matches!(opened, OpenedImage::Stream(_)), is_stream);
        assert_is(opened, image);
    }
}

#[test]
fn an_oci_archive_is_read_in_any_order_and_coat() {
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let image = TestImage::small(packing);
        let mut members = archive_members(&image.layout(Some("1")));
        assert_archive("oci-archive", &members, "", &image);
        members.reverse();
        assert_archive("oci-archive", &members, ":1", &image);
        // As `tar -C layout .` writes it.
        for (name, _) in &mut members {
            *name = format!("./{name}");
        }
        members.insert(0, ("./".to_owned(), Node::Directory));
        let digest = sha256(&image.manifest_bytes());
        assert_archive("oci-archive", &members, &format!("@{digest}"), &image);
    }
}

#[test]
fn both_forms_of_docker_save_are_read() {
    for packing in [Packing::Plain, Packing::Gzip] {
        let image = TestImage::small(packing);
        for members in [
            image.old_docker_archive(&TAGS),
            image.new_docker_archive(&TAGS),
        ] {
            for selector in [
                "",
                ":demo:1",
                ":docker.io/library/demo:1",
                ":localhost/demo:two",
                ":@0",
            ] {
                assert_archive("docker-archive", &members, selector, &image);
            }
        }
    }
    // The blobs of the new form have a digest, the layers of the old one do not.
    let image = TestImage::small(Packing::Gzip);
    let folder = folder();
    let path = written(
        &folder,
        "new.tar",
        &tar_of(&image.new_docker_archive(&TAGS)),
    );
    let read = assert_reads(&format!("docker-archive:{path}"), &image);
    assert_eq!(read.layers[0].digest, Some(sha256(&image.layers[0].blob)));
    assert_eq!(read.digest, None);
    let path = written(
        &folder,
        "old.tar",
        &tar_of(&image.old_docker_archive(&TAGS)),
    );
    let read = assert_reads(&format!("docker-archive:{path}"), &image);
    assert_eq!(read.layers[0].digest, None);
    // The new form is an OCI layout as well.
    let path = written(
        &folder,
        "new.tar",
        &tar_of(&image.new_docker_archive(&TAGS)),
    );
    assert_reads(&format!("oci-archive:{path}"), &image);
}

#[test]
fn an_equal_layer_is_a_link_and_an_empty_one_a_tar_archive() {
    let layer = TestLayer::new(&[file("a", "a")], Packing::Plain);
    let empty = TestLayer::new(&[], Packing::Plain);
    let image = TestImage::new(vec![layer.clone(), empty, layer]);
    let members = image.old_docker_archive(&["demo:1"]);
    assert!(
        members
            .iter()
            .any(|(_, node)| matches!(node, Node::Symlink(_)))
    );
    assert_archive("docker-archive", &members, "", &image);
    // A hard link names a member from the root of the archive.
    let members: Vec<Member> = members
        .into_iter()
        .map(|(name, node)| match node {
            Node::Symlink(target) => (
                name,
                Node::Hardlink(target.trim_start_matches("../").to_owned()),
            ),
            node => (name, node),
        })
        .collect();
    assert_archive("docker-archive", &members, "", &image);
    assert_archive(
        "docker-archive",
        &image.new_docker_archive(&["demo:1"]),
        "",
        &image,
    );
}

#[test]
fn an_archive_of_ggcr_and_bazel_names_its_members_otherwise() {
    let image = TestImage::small(Packing::Gzip);
    let config = image.config_bytes();
    let name = format!("sha256:{}", hash(&config));
    let layers: Vec<String> = image
        .layers
        .iter()
        .map(|layer| format!("{}.tar.gz", hash(&layer.blob)))
        .collect();
    let mut members = vec![file(&name, &config)];
    members.extend(
        image
            .layers
            .iter()
            .zip(&layers)
            .map(|(layer, name)| file(name, &layer.blob)),
    );
    let entry = json!([{ "Config": name, "RepoTags": ["demo:1"], "Layers": layers }]);
    members.push(file("manifest.json", entry.to_string()));
    assert_archive("docker-archive", &members, "", &image);
}

#[test]
fn long_names_of_gnu_and_pax_are_read() {
    let image = TestImage::small(Packing::Gzip);
    let long = "layers/".repeat(30);
    let config = image.config_bytes();
    let mut archive = tar::Builder::new(Vec::new());
    let mut layers = Vec::new();
    for (at, layer) in image.layers.iter().enumerate() {
        let name = format!("{long}{at}.tar");
        let mut header = tar::Header::new_gnu();
        header.set_size(layer.blob.len() as u64);
        header.set_mode(0o644);
        if at == 0 {
            archive
                .append_data(&mut header, &name, layer.blob.as_slice())
                .expect("memory");
        } else {
            let size = layer.blob.len().to_string();
            archive
                .append_pax_extensions([
                    ("path", name.as_bytes()),
                    ("size", size.as_bytes()),
                    ("comment", b"x"),
                ])
                .expect("memory");
            // What the extended header says goes before what stands here.
            header.set_size(layer.blob.len() as u64);
            header.set_path("short").expect("a name");
            header.set_cksum();
            archive
                .append(&header, layer.blob.as_slice())
                .expect("memory");
        }
        layers.push(name);
    }
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": null, "Layers": layers }]).to_string();
    for (name, contents) in [
        ("config.json", config.as_slice()),
        ("manifest.json", manifest.as_bytes()),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        header.set_path(name).expect("a name");
        header.set_cksum();
        archive.append(&header, contents).expect("memory");
    }
    let bytes = archive.into_inner().expect("memory");
    let folder = folder();
    for bytes in [bytes.clone(), gzip(&bytes)] {
        let path = written(&folder, "long.tar", &bytes);
        assert_reads(&format!("docker-archive:{path}"), &image);
    }
}

#[test]
fn several_images_need_a_selector_and_one_name_a_platform() {
    let intel = TestImage::small(Packing::Gzip);
    let arm = TestImage::small(Packing::Plain).for_architecture("arm64");
    let mut members = archive_members(&layout_of(&[(&intel, None), (&arm, None)]));
    let entry = |image: &TestImage, tag: &str| {
        let blob = |bytes: &[u8]| format!("blobs/sha256/{}", hash(bytes));
        let layers: Vec<String> = image.layers.iter().map(|layer| blob(&layer.blob)).collect();
        json!({ "Config": blob(&image.config_bytes()), "RepoTags": [tag], "Layers": layers })
    };
    let manifest = |one: &str, two: &str| {
        file(
            "manifest.json",
            json!([entry(&intel, one), entry(&arm, two)]).to_string(),
        )
    };
    members.push(manifest("demo:1", "demo:2"));
    assert_archive("docker-archive", &members, ":demo:2", &arm);
    assert_archive("docker-archive", &members, ":@0", &intel);
    let folder = folder();
    let path = written(&folder, "two.tar", &tar_of(&members));
    for (selector, says) in [
        (
            "",
            "has 2 images, and the reference chooses none of them: it has `demo:1`, `demo:2`",
        ),
        (
            ":demo",
            "has no image `docker.io/library/demo:latest`; it has `demo:1`, `demo:2`",
        ),
        (
            ":@7",
            "has no image at the place 7, counted from 0; it has `demo:1`, `demo:2`",
        ),
    ] {
        let error = error_of(&format!("docker-archive:{path}{selector}"));
        assert!(error.contains(says), "{error}");
    }
    members.pop();
    members.push(manifest("demo:1", "demo:1"));
    let path = written(&folder, "two.tar", &tar_of(&members));
    for (architecture, image) in [("amd64", &intel), ("arm64", &arm)] {
        let platform = OciPlatform::new("linux", architecture, "");
        let opened = open_with(
            &format!("docker-archive:{path}:demo:1"),
            Some(platform),
            folder.path(),
        );
        assert_is(opened.expect("an image"), image);
    }
    let single = written(
        &folder,
        "one.tar",
        &tar_of(&intel.old_docker_archive(&TAGS)),
    );
    let platform = OciPlatform::new("linux", "arm64", "");
    let error = open_with(
        &format!("docker-archive:{single}"),
        Some(platform),
        folder.path(),
    );
    let error = chain(&error.expect_err("another platform"));
    assert!(
        error.contains("has no image for linux/arm64; it is one for linux/amd64"),
        "{error}"
    );
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    let image = TestImage::small(Packing::Gzip);
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let bytes = tar_of(&image.new_docker_archive(&TAGS));
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes));
    let stream = ArchiveStream::new(
        Box::new(reader),
        ArchiveFormat::Docker(None),
        None,
        "docker-archive:-",
    );
    assert_is(OpenedImage::Stream(Box::new(stream)), &image);
    sender
        .join()
        .expect("a sender")
        .expect("it was read to its end");
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_a_stream() {
    let image = TestImage::small(Packing::Gzip);
    let folder = folder();
    let path = folder.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .expect("mkfifo")
            .success()
    );
    let bytes = tar_of(&archive_members(&image.layout(None)));
    let sender = std::thread::spawn({
        let path = path.clone();
        move || put(&path, &bytes)
    });
    assert_reads(&format!("oci-archive:{}", path.display()), &image);
    sender.join().expect("it was read to its end");
}

#[test]
fn the_wrong_transport_is_told_the_right_one() {
    let image = TestImage::small(Packing::Gzip);
    let folder = folder();
    let mut without_manifest = image.old_docker_archive(&TAGS);
    without_manifest.retain(|(name, _)| name != "manifest.json");
    let oci = archive_members(&image.layout(None));
    for coat in [false, true] {
        let write = |name: &str, members: &[Member]| {
            let tar = tar_of(members);
            written(&folder, name, &if coat { gzip(&tar) } else { tar })
        };
        let docker = write("docker.tar", &image.old_docker_archive(&TAGS));
        let old = write("old.tar", &without_manifest);
        let oci = write("oci.tar", &oci);
        for (reference, says) in [
            (
                format!("oci-archive:{docker}"),
                "one of `docker save` is read with `docker-archive:`",
            ),
            (
                format!("docker-archive:{oci}"),
                "an OCI archive is read with `oci-archive:`",
            ),
            (
                format!("docker-archive:{old}"),
                "it is of a Docker before 1.10",
            ),
        ] {
            let error = error_of(&reference);
            assert!(error.contains(says), "{error}");
        }
    }
    let error = error_of(&format!("oci-archive:{}", folder.path().display()));
    assert!(error.ends_with("it is a folder, not an archive"), "{error}");
    let path = written(&folder, "image.tar.xz", b"\xfd7zXZ\0....................");
    let error = error_of(&format!("oci-archive:{path}"));
    assert!(error.contains("it is compressed with xz"), "{error}");
    let error = error_of("docker-archive:/nonexistent/image.tar");
    assert_eq!(error, "the file `/nonexistent/image.tar` does not exist");
}

#[test]
fn layers_are_read_by_several_threads_at_once() {
    let layers = (0..6)
        .map(|at| TestLayer::new(&[file("a", vec![at; 300_000])], Packing::Plain))
        .collect();
    let image = TestImage::new(layers);
    let folder = folder();
    let path = written(
        &folder,
        "image.tar",
        &tar_of(&image.old_docker_archive(&TAGS)),
    );
    let OpenedImage::Image(read) = opened(&format!("docker-archive:{path}")).expect("an image")
    else {
        panic!("a plain file is no stream");
    };
    std::thread::scope(|scope| {
        for (layer, expected) in read.layers.iter().zip(&image.layers) {
            let source = &read.source;
            scope.spawn(move || {
                let mut bytes = Vec::new();
                let mut reader = source.open(layer).expect("a layer");
                std::io::Read::read_to_end(&mut reader, &mut bytes).expect("its bytes");
                assert!(bytes == expected.tar);
            });
        }
    });
}

#[test]
fn a_link_out_of_the_archive_leads_nowhere() {
    let image = TestImage::small(Packing::Plain);
    let folder = folder();
    let mut members = image.old_docker_archive(&TAGS);
    let place = members
        .iter()
        .position(|(name, _)| name.ends_with("layer.tar"))
        .expect("a layer");
    members[place] = symlink(&members[place].0.clone(), "../../../../etc/passwd");
    for coat in coats(&members) {
        let path = written(&folder, "image.tar", &coat.0);
        let error = error_of(&format!("docker-archive:{path}"));
        assert!(
            error.contains("is no regular file and leads to none"),
            "{error}"
        );
    }
}
