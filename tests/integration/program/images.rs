//! Images of every transport as the program's users name them, and names of the catalog that mean images.

use insta::assert_snapshot;
use serde_json::json;

use crate::support::image::{
    Packing, TestImage, TestLayer, archive_members, file, gzip, put, symlink, tar_of, write_layout,
};
use crate::support::program::Desk;
use crate::support::registry::{Pushed, RegistryServer};
use crate::support::root::{LOADER, executable};

const SITE: &str = "opt/conda/lib/python3.10/site-packages";

fn metadata(name: &str, version: &str) -> crate::support::image::Member {
    file(
        &format!("{SITE}/{name}-{version}.dist-info/METADATA"),
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n"),
    )
}

/// Debian with a Python in /opt/conda and, above, a layer that removes one distribution and lifts another.
pub(super) fn image(packing: Packing) -> TestImage {
    let root = [
        file("lib/x86_64-linux-gnu/libc-2.31.so", ""),
        symlink("lib/x86_64-linux-gnu/libc.so.6", "libc-2.31.so"),
        symlink(&LOADER[1..], "/lib/x86_64-linux-gnu/ld-2.31.so"),
        file("lib/x86_64-linux-gnu/ld-2.31.so", executable(62, "", "")),
        file(
            "opt/conda/bin/python3.10",
            executable(62, LOADER, "3.10.13"),
        ),
        symlink("opt/conda/bin/python3", "python3.10"),
        file("opt/conda/lib/python3.10/os.py", ""),
    ];
    let below = [
        metadata("protobuf", "3.20.3"),
        metadata("six", "1.16.0"),
        metadata("blinker", "1.4"),
    ];
    let above = [
        file(&format!("{SITE}/.wh.blinker-1.4.dist-info"), ""),
        file(&format!("{SITE}/.wh.six-1.16.0.dist-info"), ""),
        metadata("six", "1.17.0"),
    ];
    let mut image = TestImage::new(vec![
        TestLayer::new(&root, packing),
        TestLayer::new(&below, packing),
        TestLayer::new(&above, packing),
    ]);
    image.config["config"] = json!({ "Env": ["PATH=/opt/conda/bin:/usr/bin"] });
    image
}

/// The image as a registry takes it.
pub(super) fn pushed(image: &TestImage) -> Pushed {
    let mut blobs = vec![image.config_bytes()];
    blobs.extend(image.layers.iter().map(|layer| layer.blob.clone()));
    Pushed {
        manifest: (
            crate::support::image::MANIFEST.to_owned(),
            image.manifest_bytes(),
        ),
        others: Vec::new(),
        blobs,
    }
}

const PINS: &str = "protobuf==3.20.3\nsix==1.17.0\n";

/// The lines of a freeze that are no comments.
fn pins(text: &str) -> String {
    text.split_inclusive('\n')
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .collect()
}

#[test]
fn every_transport_gives_the_same_environment() {
    let desk = Desk::without_index();
    let registry = RegistryServer::start();
    for (name, packing) in [
        ("plain", Packing::Plain),
        ("gzip", Packing::Gzip),
        ("zstd", Packing::Zstd),
    ] {
        let image = image(packing);
        registry.push("team/base", name, &pushed(&image));
        let layout = image.layout(Some("1.0"));
        write_layout(&layout, &desk.path(&format!("{name}-layout")));
        let archive = tar_of(&archive_members(&layout));
        put(&desk.path(&format!("{name}.oci.tar")), &archive);
        put(&desk.path(&format!("{name}.oci.tar.gz")), &gzip(&archive));
        let old = tar_of(&image.old_docker_archive(&["team/base:1.0"]));
        put(&desk.path(&format!("{name}.old.tar")), &old);
        put(&desk.path(&format!("{name}.old.tar.gz")), &gzip(&old));
        let new = tar_of(&image.new_docker_archive(&["team/base:1.0"]));
        put(&desk.path(&format!("{name}.new.tar")), &new);
        for reference in [
            format!("oci:{name}-layout:1.0"),
            format!("oci:{name}-layout"),
            format!("oci-archive:{name}.oci.tar:1.0"),
            format!("oci-archive:{name}.oci.tar.gz"),
            format!("docker-archive:{name}.old.tar"),
            format!("docker-archive:{name}.old.tar.gz:team/base:1.0"),
            format!("docker-archive:{name}.new.tar"),
            format!("docker://{}/team/base:{name}", registry.host()),
            format!("{}/team/base:{name}", registry.host()),
        ] {
            let run = desk
                .run(&["inspect", &reference, "--format", "requirements"])
                .expect(0);
            assert_eq!(pins(&run.stdout), PINS, "{reference}\n{run}");
        }
    }
}

#[test]
fn without_network_and_without_cache_what_lies_here_is_read() {
    let desk = Desk::without_index();
    write_layout(
        &image(Packing::Gzip).layout(Some("1.0")),
        &desk.path("layout"),
    );
    let words = ["--offline", "--no-cache"];
    let inspect = |reference: &str| {
        desk.run(
            &[
                &["inspect", reference, "--format", "requirements"][..],
                &words,
            ]
            .concat(),
        )
    };
    assert_eq!(pins(&inspect("oci:layout").expect(0).stdout), PINS);
    inspect("tfx:1.16.0").expect(0).says("tfx==1.16.0");
    desk.run(&[&["catalog", "show", "tfx:1.16.0"][..], &words].concat())
        .expect(0);
    let error = inspect("registry.example/team/base:1.0").one_error(3);
    assert!(
        error.contains("cannot be asked while offline")
            && error.contains("layouts, archives and the catalog's snapshots can be read"),
        "{error}"
    );
    desk.resolve(&[&["oci:layout", "six==1.17.0"][..], &words].concat())
        .expect(0);
    let error = desk
        .resolve(&[&["oci:layout", "alpha"][..], &words].concat())
        .one_error(2);
    assert!(
        error.contains("hint: run the same once without `--offline` and `--no-cache`"),
        "{error}"
    );
    // Nothing was kept.
    assert!(!desk.path("home/cache").exists());
}

#[test]
fn an_image_is_shown_with_its_layers() {
    let mut desk = Desk::without_index();
    let image = image(Packing::Gzip);
    write_layout(&image.layout(Some("1.0")), &desk.path("base"));
    for layer in &image.layers {
        // Compressed bytes are the library's, and differ with its version.
        let digest = crate::support::image::hash(&layer.blob);
        desk.scrub(&digest[..12], "[LAYER]");
    }
    desk.scrub(
        &crate::support::image::hash(&image.manifest_bytes()),
        "[MANIFEST]",
    );
    let run = desk.run(&["inspect", "oci:base:1.0", "--layers"]).expect(0);
    assert_snapshot!(run, @"
    status: 0
    ----- stdout
    oci:base:1.0: 2 distributions

      digest     sha256:[MANIFEST]
      platform   linux/amd64, glibc 2.31
      python     3.10.13, cp310, /opt/conda/bin/python3
      prefix     /opt/conda
      layers     3, 975 B

    layer  digest         size  distributions  created by
        0  [LAYER]  399 B              -
        1  [LAYER]  308 B              1
        2  [LAYER]  268 B              1

    name      version  layer
    protobuf  3.20.3       1
    six       1.17.0       2
    ");
    let json = desk
        .run(&[
            "inspect",
            "oci:base:1.0",
            "--layers",
            "--size",
            "--format",
            "json",
        ])
        .expect(0)
        .json();
    assert_eq!(json["layers"].as_array().map(Vec::len), Some(3));
    let six = &json["distributions"][1];
    assert_eq!((&six["name"], &six["layer"]), (&json!("six"), &json!(2)));
    assert_eq!(json["distributions"][0]["layer"], 1);
    assert_eq!(json["interpreter"]["executable"], "/opt/conda/bin/python3");
}

#[test]
fn the_second_read_of_an_image_costs_one_manifest_request() {
    let desk = Desk::without_index();
    let registry = RegistryServer::start();
    let first = image(Packing::Gzip);
    registry.push("team/base", "1.0", &pushed(&first));
    let inspect = |tag: &str| {
        let before = registry.asked().len();
        let reference = format!("{}/team/base:{tag}", registry.host());
        let run = desk
            .run(&["inspect", &reference, "--format", "requirements"])
            .expect(0);
        (pins(&run.stdout), registry.asked().split_off(before))
    };
    let (read, asked) = inspect("1.0");
    assert_eq!(read, PINS);
    assert_eq!(
        asked.len(),
        5,
        "manifest, configuration, three layers: {asked:?}"
    );
    let (read, asked) = inspect("1.0");
    assert_eq!(read, PINS);
    assert_eq!(asked, ["GET /v2/team/base/manifests/1.0"]);

    // A tag that shares layers reads the new ones alone.
    let mut second = first.clone();
    second
        .layers
        .push(TestLayer::new(&[metadata("mlflow", "2.0")], Packing::Gzip));
    registry.push("team/base", "1.1", &pushed(&second));
    let (read, asked) = inspect("1.1");
    assert_eq!(read, format!("mlflow==2.0\n{PINS}"));
    assert_eq!(
        asked.len(),
        3,
        "manifest, configuration, one layer: {asked:?}"
    );

    // What is named by its digest needs nobody.
    let digest = crate::support::registry::digest(&first.manifest_bytes());
    let reference = format!("{}/team/base@{digest}", registry.host());
    let before = registry.asked().len();
    desk.run(&["inspect", &reference, "--offline"]).expect(0);
    assert_eq!(registry.asked().len(), before);
    let reference = format!("{}/team/base:1.0", registry.host());
    desk.run(&["inspect", &reference, "--offline"])
        .expect(3)
        .tells("cannot be asked while offline");
}

/// A desk at which names of the catalog are asked for at `registry`.
fn desk_with_mirror(registry: &RegistryServer) -> Desk {
    let mut desk = Desk::without_index();
    desk.set("IMGTOOL_SNAPSHOT", "0");
    desk.set(
        "IMGTOOL_REGISTRY_MIRRORS",
        &format!("gcr.io={}/mirror", registry.host()),
    );
    desk.scrub(&registry.host(), "[REGISTRY]");
    desk
}

#[test]
fn a_name_of_the_catalog_means_the_image_where_it_can_be_read() {
    let registry = RegistryServer::start();
    let image = image(Packing::Gzip);
    for tag in ["1.16.0", "1.17.2", "2.0.0rc1", "latest"] {
        registry.push("mirror/tfx-oss-public/tfx", tag, &pushed(&image));
    }
    let desk = desk_with_mirror(&registry);
    for (asked, reference) in [
        ("tfx:1.16.0", "tfx:1.16.0"),
        ("tfx:1.x", "tfx:1.17.2"),
        ("tfx", "tfx:1.17.2"),
        ("tfx:1.16", "tfx:1.16.0"),
    ] {
        let run = desk.resolve_json(&[asked, "six"]).expect(0);
        let base = &run.json()["base"];
        assert_eq!(base["reference"], reference, "{asked}\n{run}");
        assert_eq!(base["source"], "image", "{asked}\n{run}");
        let run = desk
            .run(&["inspect", asked, "--format", "requirements"])
            .expect(0);
        assert_eq!(pins(&run.stdout), PINS, "{asked}");
    }
    let error = desk.run(&["inspect", "tfx:3.x"]).one_error(2);
    assert!(error.contains("has no tag `3.x`"), "{error}");
    // The user's word counts for more.
    let run = desk
        .resolve_json(&["--snapshot", "tfx:1.16.0", "tfx"])
        .expect(0);
    assert_eq!(run.json()["base"]["source"], "snapshot");
}

#[test]
fn a_registry_that_is_out_of_reach_leaves_the_snapshot_and_a_word() {
    let registry = RegistryServer::start();
    let mut desk = desk_with_mirror(&registry);
    desk.set("IMGTOOL_REGISTRY_MIRRORS", "gcr.io=127.0.0.1:1");
    let run = desk.resolve(&["tfx:1.16.0", "tfx"]).expect(0);
    assert!(run.stdout.contains("not read from the image"), "{run}");
    let run = run.tells("the image cannot be asked for, so the snapshot stands in for it");
    assert!(run.stderr.contains("--snapshot"), "{run}");
    // Without the network nobody is asked, and nobody misses it.
    let run = desk.resolve(&["tfx:1.16.0", "tfx", "--offline"]).expect(0);
    assert!(!run.stderr.contains("cannot be asked"), "{run}");
}

#[test]
fn a_registry_that_answers_otherwise_is_an_error_and_no_reason_for_the_snapshot() {
    let registry = RegistryServer::start();
    let desk = desk_with_mirror(&registry);
    let error = desk.resolve(&["tfx:1.16.0", "tfx"]).one_error(2);
    assert!(error.contains("hint: `--snapshot` takes"), "{error}");
    registry.change(|behaviour| {
        behaviour.fail_first = 9;
        behaviour.fail_status = Some(403);
    });
    let error = desk.resolve(&["tfx:1.16.0", "tfx"]).one_error(3);
    assert!(error.contains("hint: `--snapshot` takes"), "{error}");
    let run = desk.run(&[
        "inspect",
        "tfx:1.16.0",
        "--snapshot",
        "--platform",
        "linux/arm64",
    ]);
    let error = run.one_error(2);
    assert!(
        error.contains("is for linux/amd64, not for linux/arm64"),
        "{error}"
    );
}

#[test]
fn a_snapshot_of_an_image_knows_what_it_was_made_of() {
    let registry = RegistryServer::start();
    let image = image(Packing::Gzip);
    registry.push("mirror/tfx-oss-public/tfx", "1.16.0", &pushed(&image));
    let desk = desk_with_mirror(&registry);
    let source = format!(
        "docker://{}/mirror/tfx-oss-public/tfx:1.16.0",
        registry.host()
    );
    let run = desk
        .run(&["catalog", "snapshot", &source, "--base", "tfx:1.16.0"])
        .expect(0);
    let snapshot = run.json();
    let digest = crate::support::registry::digest(&image.manifest_bytes());
    assert_eq!(snapshot["digest"], json!(digest));
    assert_eq!(snapshot["python_full_version"], "3.10.13");
    assert_eq!(snapshot["distributions"].as_array().map(Vec::len), Some(2));
}

#[test]
fn layers_that_are_not_what_was_promised_are_errors() {
    let desk = Desk::without_index();
    let image = image(Packing::Gzip);
    let mut layout = image.layout(Some("1.0"));
    let blob = format!(
        "blobs/sha256/{}",
        crate::support::image::hash(&image.layers[1].blob)
    );
    let bytes = layout.get_mut(&blob).expect("the blob");
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    write_layout(&layout, &desk.path("base"));
    let run = desk.run(&["inspect", "oci:base"]);
    let error = run.one_error(2);
    assert!(
        error.contains("is not what its descriptor promises"),
        "{error}"
    );
    assert!(error.contains("nothing of it was used"), "{error}");
    // Nothing of it is kept, so it is an error the second time as well.
    desk.run(&["inspect", "oci:base"]).expect(2);
}

#[test]
fn a_requirement_is_resolved_on_an_image() {
    let desk = Desk::recorded();
    write_layout(
        &image(Packing::Gzip).layout(Some("1.0")),
        &desk.path("base"),
    );
    let run = desk.resolve_json(&["oci:base:1.0", "six"]).expect(0);
    assert!(run.pins().is_empty(), "{run}");
    let base = &run.json()["base"];
    assert_eq!(base["source"], "image");
    let run = desk.resolve(&["oci:base:1.0", "six>=2"]).expect(1);
    assert!(run.stdout.contains("six 1.17.0"), "{run}");
}

#[test]
fn an_image_without_a_path_has_that_of_the_engines() {
    let desk = Desk::without_index();
    let mut image = image(Packing::Plain);
    let local = [
        file("usr/local/bin/python3.12", executable(62, LOADER, "3.12.1")),
        symlink("usr/local/bin/python3", "python3.12"),
        file("usr/local/lib/python3.12/os.py", ""),
        file(
            "usr/local/lib/python3.12/site-packages/local-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: local\nVersion: 1.0\n\n",
        ),
    ];
    image.layers.push(TestLayer::new(&local, Packing::Plain));
    let mut read = |name: &str, config: serde_json::Value| {
        image.config["config"] = config;
        write_layout(&image.layout(Some("1.0")), &desk.path(name));
        let reference = format!("oci:{name}");
        let run = desk
            .run(&["inspect", &reference, "--format", "requirements"])
            .expect(0);
        pins(&run.stdout)
    };
    let conda = json!({ "Env": ["PATH=/opt/conda/bin:/usr/local/bin"] });
    assert_eq!(read("conda", conda), PINS);
    assert_eq!(read("none", json!({ "Env": ["A=b"] })), "local==1.0\n");
    assert_eq!(read("empty", json!({})), "local==1.0\n");
}

#[test]
fn a_wrapper_in_an_image_is_followed() {
    let desk = Desk::without_index();
    let mut image = image(Packing::Gzip);
    let wrapper = [file(
        "usr/local/bin/python3",
        "#!/bin/sh\nexec /opt/conda/bin/python3 \"$@\"\n",
    )];
    image.layers.push(TestLayer::new(&wrapper, Packing::Gzip));
    image.config["config"] = json!({ "Env": ["PATH=/usr/local/bin:/usr/bin"] });
    write_layout(&image.layout(Some("1.0")), &desk.path("base"));
    let run = desk.run(&["inspect", "oci:base:1.0"]).expect(0);
    assert!(run.stdout.contains("/opt/conda/bin/python3"), "{run}");
    assert!(!run.to_string().contains("is a script"), "{run}");
}
