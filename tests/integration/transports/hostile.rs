//! Archives that lie, in every coat: each ends in a sentence that says what is wrong, soon, and in little memory.

use std::io::Write as _;

use imgtool::digest::sha256;
use serde_json::json;

use super::{error_of, folder, written};
use crate::support::image::{
    Layout, Member, Node, Packing, TestImage, TestLayer, archive_members, file, gzip, hash,
    set_index, symlink, tar_of,
};

/// The errors that an archive of `docker save` or of a layout ends in, plain and streamed.
fn errors(transport: &str, tar: &[u8]) -> Vec<String> {
    let folder = folder();
    [tar.to_vec(), gzip(tar)]
        .iter()
        .map(|bytes| {
            let path = written(&folder, "image.tar", bytes);
            error_of(&format!("{transport}:{path}"))
        })
        .collect()
}

fn assert_refused(transport: &str, tar: &[u8], says: &str) {
    for error in errors(transport, tar) {
        assert!(error.contains(says), "{error}");
        assert!(error.len() < 2000, "{} bytes of error", error.len());
    }
}

fn old() -> Vec<Member> {
    TestImage::small(Packing::Plain).old_docker_archive(&["demo:1"])
}

/// The archive with another member of that name.
fn with(mut members: Vec<Member>, member: Member) -> Vec<Member> {
    members.retain(|(name, _)| *name != member.0);
    members.push(member);
    members
}

#[test]
fn a_cut_off_archive_breaks_off_wherever_it_is_cut() {
    let image = TestImage::small(Packing::Plain);
    for (transport, members) in [
        ("docker-archive", image.old_docker_archive(&["demo:1"])),
        ("oci-archive", archive_members(&image.layout(None))),
    ] {
        let tar = tar_of(&members);
        // The end of the archive is two empty blocks, which some writers leave away.
        let end = tar.len() - 1024;
        for cut in (0..end).step_by(331) {
            let folder = folder();
            for bytes in [
                &tar[..cut],
                &gzip(&tar[..cut]),
                &gzip(&tar)[..gzip(&tar).len() * cut / tar.len()],
            ] {
                let path = written(&folder, "image.tar", bytes);
                assert!(!error_of(&format!("{transport}:{path}")).is_empty());
            }
        }
        assert_refused(transport, &tar[..700], "it breaks off before its end");
        assert_refused(transport, b"no archive at all", "it is no tar archive");
        assert_refused(transport, &[b'a'; 4096], "it is no tar archive");
        assert_refused(transport, b"", "it is empty");
    }
}

#[test]
fn a_lying_layer_is_a_mismatch() {
    let image = TestImage::small(Packing::Plain);
    let other = tar_of(&[file("etc/a", "other")]);
    let member = image
        .old_docker_archive(&[])
        .iter()
        .find(|(name, _)| name.ends_with("layer.tar"))
        .expect("a layer")
        .0
        .clone();
    let tar = tar_of(&with(image.old_docker_archive(&[]), file(&member, &other)));
    let folder = folder();
    let path = written(&folder, "image.tar.gz", &gzip(&tar));
    let error = error_of(&format!("docker-archive:{path}"));
    assert!(error.contains("layer 0 ("), "{error}");
    assert!(
        error.contains(&format!("its digest is {}", sha256(&other))),
        "{error}"
    );

    let mut layout = image.layout(None);
    let blob = format!("blobs/sha256/{}", hash(&image.layers[0].blob));
    layout.insert(blob.clone(), other);
    assert_refused(
        "oci-archive",
        &tar_of(&archive_members(&layout)),
        "is not what its descriptor promises",
    );
    layout.insert(blob.clone(), b"short".to_vec());
    for error in errors("oci-archive", &tar_of(&archive_members(&layout))) {
        let says = [
            "it has 5 bytes, not ",
            "it is no tar archive, plain or compressed",
        ];
        assert!(says.iter().any(|says| error.contains(says)), "{error}");
    }
    layout.remove(&blob);
    assert_refused(
        "oci-archive",
        &tar_of(&archive_members(&layout)),
        "lacks the blob sha256:",
    );
    let members: Vec<Member> = old()
        .into_iter()
        .filter(|(name, _)| *name != member)
        .collect();
    assert_refused("docker-archive", &tar_of(&members), "lacks its member `");
}

#[test]
fn a_lying_configuration_is_a_mismatch() {
    let members = old();
    let name = members
        .iter()
        .find(|(name, _)| name.len() == 69)
        .expect("a configuration")
        .0
        .clone();
    let tar = tar_of(&with(members.clone(), file(&name, "{}")));
    assert_refused(
        "docker-archive",
        &tar,
        "is not what its descriptor promises: its digest is ",
    );
    let tar = tar_of(&with(members, file(&name, vec![b' '; 5 << 20])));
    assert_refused("docker-archive", &tar, "documents have at most 4194304");
}

#[test]
fn links_in_a_circle_are_not_followed_for_ever() {
    let layer = TestLayer::new(&[file("a", "a")], Packing::Plain);
    let image = TestImage::new(vec![layer]);
    let members = image.old_docker_archive(&[]);
    let name = members
        .iter()
        .find(|(name, _)| name.ends_with("layer.tar"))
        .expect("a layer")
        .0
        .clone();
    let folder = name.trim_end_matches("/layer.tar").to_owned();
    let itself = with(members.clone(), symlink(&name, "layer.tar"));
    assert_refused("docker-archive", &tar_of(&itself), "lead in a circle");
    let mut both = with(members.clone(), symlink(&name, "other.tar"));
    both.push(symlink(
        &format!("{folder}/other.tar"),
        &format!("../{name}"),
    ));
    assert_refused("docker-archive", &tar_of(&both), "lead in a circle");
    let mut chain = with(members, symlink(&name, "../0"));
    chain.extend((0..1000).map(|at| symlink(&at.to_string(), &(at + 1).to_string())));
    assert_refused("docker-archive", &tar_of(&chain), "lead in a circle");
    let manifest = with(old(), symlink("manifest.json", "manifest.json"));
    assert_refused("docker-archive", &tar_of(&manifest), "lead in a circle");
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let twice = |member: Member| {
        let mut members = old();
        members.push(member);
        tar_of(&members)
    };
    for (tar, says) in [
        (
            twice(file("manifest.json", "[]")),
            "it has two members `manifest.json`",
        ),
        (
            twice(file("./manifest.json", "[]")),
            "it has two members `manifest.json`",
        ),
        (
            twice(file("/manifest.json", "[]")),
            "it has two members `manifest.json`",
        ),
        (
            twice(symlink("manifest.json", "other")),
            "it has two members `manifest.json`",
        ),
        (
            twice(file("a/../manifest.json", "[]")),
            "the name of the member `a/../manifest.json` has a `..`",
        ),
        (
            twice(file("../outside", "x")),
            "the name of the member `../outside` has a `..`",
        ),
    ] {
        assert_refused("docker-archive", &tar, says);
    }
    let device = with(old(), ("manifest.json".to_owned(), Node::Fifo));
    assert_refused(
        "docker-archive",
        &tar_of(&device),
        "its member `manifest.json` is no regular file",
    );
}

#[test]
fn sparse_members_and_broken_headers_are_refused() {
    let mut sparse = tar::Header::new_gnu();
    sparse.set_entry_type(tar::EntryType::GNUSparse);
    sparse.set_path("manifest.json").expect("a name");
    sparse.set_size(0);
    sparse.set_cksum();
    assert_refused(
        "docker-archive",
        sparse.as_bytes(),
        "the member `manifest.json` is sparse",
    );

    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_pax_extensions([("GNU.sparse.realsize", &b"1000000000000"[..])])
        .expect("memory");
    let pax = archive.into_inner().expect("memory");
    assert_refused("docker-archive", &pax, "is sparse");

    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_pax_extensions([("size", &b"many"[..])])
        .expect("memory");
    assert_refused(
        "docker-archive",
        &archive.into_inner().expect("memory"),
        "the size of a member is no number",
    );

    let header = |size: u64, kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.set_path("a").expect("a name");
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    // A name of as many bytes as the archive says would fill the memory.
    for kind in [
        tar::EntryType::GNULongName,
        tar::EntryType::GNULongLink,
        tar::EntryType::XHeader,
    ] {
        assert_refused(
            "oci-archive",
            &header(8 << 30, kind),
            "an extended header has 8589934592 bytes",
        );
    }
    assert_refused(
        "oci-archive",
        &header(1 << 60, tar::EntryType::Regular),
        "it breaks off before its end",
    );
    assert_refused(
        "oci-archive",
        &header(u64::MAX, tar::EntryType::Regular),
        "the size of a member is absurd",
    );
    let mut broken = tar_of(&[file("a", "a")]);
    broken.truncate(1024);
    broken.extend([b'x'; 512]);
    assert_refused("oci-archive", &broken, "the header of a member is broken");
}

#[test]
fn a_hundred_thousand_members_are_too_many() {
    // Built by hand: the same header with another name each.
    let mut tar = Vec::new();
    for at in 0..100_000 {
        let mut header = tar::Header::new_gnu();
        header.set_path(format!("{at}")).expect("a name");
        header.set_size(0);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
    }
    assert_refused("docker-archive", &tar, "it has more than 65536 members");
}

#[test]
fn a_hundred_thousand_images_or_layers_are_too_many() {
    let entry = json!({ "Config": "c", "RepoTags": ["a:1"], "Layers": [] });
    let many = json!(vec![entry; 50_000]).to_string();
    let tar = tar_of(&with(old(), file("manifest.json", many)));
    assert_refused(
        "docker-archive",
        &tar,
        "has 50000 images, and the reference chooses none of them",
    );

    let members = old();
    let config = members
        .iter()
        .find(|(name, _)| name.len() == 69)
        .expect("a configuration")
        .0
        .clone();
    let layers =
        json!([{ "Config": config, "RepoTags": null, "Layers": vec!["a"; 100_000] }]).to_string();
    let tar = tar_of(&with(members, file("manifest.json", layers)));
    assert_refused(
        "docker-archive",
        &tar,
        "the image has 100000 layers, more than the 1000",
    );
}

#[test]
fn absurd_json_is_an_error() {
    let deep = "[".repeat(200_000);
    for manifest in [
        "",
        "null",
        "{}",
        "[{}]",
        "[",
        "[1]",
        "\u{0}",
        "[{\"Config\":1,\"Layers\":[]}]",
        &deep,
    ] {
        let tar = tar_of(&with(old(), file("manifest.json", manifest)));
        for error in errors("docker-archive", &tar) {
            assert!(error.contains("`manifest.json` of"), "{error}");
        }
    }
    assert_refused(
        "docker-archive",
        &tar_of(&with(old(), file("manifest.json", "[]"))),
        "has no image; it has none",
    );
    let mut layout: Layout = TestImage::small(Packing::Plain).layout(None);
    for index in [
        "",
        "null",
        "[]",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":2,\"manifests\":7}",
        &deep,
    ] {
        layout.insert("index.json".to_owned(), index.as_bytes().to_vec());
        for error in errors("oci-archive", &tar_of(&archive_members(&layout))) {
            assert!(error.contains("`index.json` of"), "{error}");
        }
    }
    set_index(
        &mut layout,
        &[json!({ "mediaType": "a", "digest": "sha256:../../etc/passwd", "size": 1 })],
    );
    assert_refused(
        "oci-archive",
        &tar_of(&archive_members(&layout)),
        "`index.json` of",
    );
    set_index(
        &mut layout,
        &[
            json!({ "mediaType": "a", "digest": format!("sha256:{}", "a".repeat(64)), "size": 1u64 << 62 }),
        ],
    );
    for error in errors("oci-archive", &tar_of(&archive_members(&layout))) {
        assert!(!error.is_empty());
    }
}

#[test]
fn a_bomb_around_an_archive_goes_by_in_little_memory() {
    // 6 GiB of one member that is nothing, behind an honest header, in a few megabytes of gzip.
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb").expect("a name");
    header.set_size(6 << 30);
    header.set_cksum();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(header.as_bytes()).expect("memory");
    encoder.write_all(&vec![b'x'; 1 << 20]).expect("memory");
    let bytes = encoder.finish().expect("memory");
    let folder = folder();
    let path = written(&folder, "bomb.tar.gz", &bytes);
    let error = error_of(&format!("oci-archive:{path}"));
    assert!(
        error.contains("bytes that are neither documents nor layers"),
        "{error}"
    );

    // Documents without end are not collected.
    let members: Vec<Member> = (0..10)
        .map(|at| {
            file(
                &format!("{at}.json"),
                [&b"{"[..], &vec![b' '; 3 << 20]].concat(),
            )
        })
        .collect();
    let path = written(&folder, "documents.tar.gz", &gzip(&tar_of(&members)));
    let error = error_of(&format!("docker-archive:{path}"));
    assert!(
        error.contains("its JSON documents have more than 16777216 bytes"),
        "{error}"
    );

    // And what follows the end of an archive is not read for ever.
    let mut tar = tar_of(&old());
    tar.extend(vec![0; 3 << 20]);
    let path = written(&folder, "trailer.tar.gz", &gzip(&tar));
    let error = error_of(&format!("docker-archive:{path}"));
    assert!(error.contains("bytes follow its end"), "{error}");
}
