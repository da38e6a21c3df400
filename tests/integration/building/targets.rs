//! Where the image goes, and what goes there with it.

use serde_json::Value;

use super::Shop;
use crate::support::registry::{Mounts, Referrers, RegistryServer, Uploads};

/// Bytes of the bodies that the registry was sent as blobs.
fn sent(registry: &RegistryServer) -> usize {
    registry
        .requests()
        .iter()
        .filter(|request| request.target.contains("/blobs/uploads"))
        .map(|request| request.bytes.len())
        .sum()
}

fn base_blobs(registry: &RegistryServer) -> Vec<(String, usize)> {
    let (_, bytes) = registry.manifest("team/base", "1.0").expect("the base");
    let manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers");
    layers
        .iter()
        .map(|layer| {
            let size = layer["size"].as_u64().expect("a size");
            let digest = layer["digest"].as_str().expect("a digest").to_owned();
            (digest, usize::try_from(size).expect("a size"))
        })
        .collect()
}

#[test]
fn layers_of_a_base_in_the_same_registry_are_neither_sent_nor_fetched_again() {
    let mut shop = Shop::new();
    let registry = shop.registry();
    let base = format!("docker://{}/team/base:1.0", registry.host());
    let tag = format!("{}/team/new:1.0", registry.host());
    let words = [
        base.as_str(),
        "alpha",
        "-t",
        &tag,
        "--push",
        "--format",
        "json",
    ];
    // The base's inventory is in the cache from now on.
    shop.desk.run(&["inspect", &base]).expect(0);
    registry.forget_requests();
    let run = shop.desk.build(&words).expect(0).json();
    let target = &run["targets"][0];
    assert_eq!(
        (&target["state"], &target["mounted"]),
        (&"pushed".into(), &2.into())
    );
    for (digest, _) in base_blobs(&registry) {
        assert!(registry.blob("team/new", &digest).is_some());
        let asked = registry.asked();
        assert!(
            !asked
                .iter()
                .any(|asked| asked.starts_with("GET") && asked.contains(&digest)),
            "{asked:?}"
        );
    }
    assert_eq!(target["sent"], sent(&registry));
    // The second time there is nothing to do.
    let run = shop.desk.build(&words).expect(0).json();
    assert_eq!(run["targets"][0]["sent"], 0);
}

#[test]
fn layers_that_cannot_be_mounted_are_sent_once() {
    let mut shop = Shop::new();
    let source = shop.registry();
    let base = format!("docker://{}/team/base:1.0", source.host());
    let target = RegistryServer::start();
    // A small blob may come with the request that begins its upload; then it is not sent again.
    target.change(|behaviour| behaviour.uploads.single_post = true);
    let tag = format!("{}/team/new:1.0", target.host());
    shop.desk
        .build(&[&base, "alpha", "-t", &tag, "--push"])
        .expect(0);
    for (digest, size) in base_blobs(&source) {
        assert_eq!(
            target.blob("team/new", &digest).expect("a layer").len(),
            size
        );
    }
    let all: usize = target.blobs().iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(sent(&target), all, "each blob once");

    // A registry that mounts nothing.
    source.change(|behaviour| {
        behaviour.uploads = Uploads {
            mounts: Mounts::Never,
            ..Uploads::default()
        };
    });
    let tag = format!("{}/team/other:1.0", source.host());
    let run = shop
        .desk
        .build(&[&base, "alpha", "-t", &tag, "--push", "--format", "json"]);
    let run = run.expect(0).json();
    assert_eq!(run["targets"][0]["mounted"], 0);
    for (digest, _) in base_blobs(&source) {
        assert!(source.blob("team/other", &digest).is_some());
    }
}

#[test]
fn attachments_are_found_where_they_can_be() {
    let mut shop = Shop::new();
    let registry = shop.registry();
    for (repository, knows) in [("with", true), ("without", false)] {
        registry.change(|behaviour| {
            behaviour.uploads.referrers = knows;
            behaviour.referrers = knows.then(Referrers::default);
        });
        let tag = format!("{}/team/{repository}:1.0", registry.host());
        let run = shop.desk.build(&[
            "oci:base:1.0",
            "alpha",
            "-t",
            &tag,
            "--push",
            "-o",
            "oci:out:1.0",
            "-o",
            "oci-archive:a.tar:1.0",
            "--format",
            "json",
        ]);
        let digest = run.expect(0).json()["digest"]
            .as_str()
            .expect("a digest")
            .to_owned();
        let fallback = registry.manifest(&format!("team/{repository}"), &digest.replace(':', "-"));
        assert_eq!(fallback.is_none(), knows);
        for reference in [format!("docker://{tag}"), "oci:out:1.0".to_owned()] {
            for kind in ["sbom", "provenance"] {
                let found = shop.desk.run(&["inspect", &reference, "--attached", kind]);
                let document = found.expect(0).json();
                assert!(document.to_string().contains("alpha"), "{reference} {kind}");
            }
        }
        // An engine loads no archive with more than the image in it.
        shop.desk
            .run(&["inspect", "oci-archive:a.tar:1.0"])
            .expect(0);
        let archive = std::fs::read(shop.desk.path("a.tar")).expect("an archive");
        let mut archive = tar::Archive::new(archive.as_slice());
        let names: Vec<String> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .path()
                    .expect("a path")
                    .display()
                    .to_string()
            })
            .collect();
        let blobs = names
            .iter()
            .filter(|name| name.starts_with("blobs/sha256/") && name.len() > 20);
        assert_eq!(
            blobs.count(),
            5,
            "three layers, a configuration, a manifest: {names:?}"
        );
    }
    let run = shop.desk.build(&[
        "oci:base:1.0",
        "alpha",
        "--attach",
        "none",
        "-o",
        "oci:bare:1.0",
        "--format",
        "json",
    ]);
    assert_eq!(
        run.expect(0).json()["images"][0]["attached"],
        serde_json::json!([])
    );
}

#[test]
fn files_for_ci_say_what_was_built_and_are_not_there_when_nothing_was() {
    let shop = Shop::new();
    let files = ["--iidfile", "iid", "--metadata-file", "meta.json"];
    let words = [
        &[
            "oci:base:1.0",
            "alpha",
            "-o",
            "oci:out:1.0",
            "--format",
            "json",
        ],
        &files[..],
    ];
    let run = shop.desk.build(&words.concat()).expect(0);
    assert_eq!(shop.desk.read("meta.json"), run.stdout);
    assert_eq!(shop.desk.read("iid").trim(), run.json()["digest"]);
    for file in ["iid", "meta.json"] {
        std::fs::remove_file(shop.desk.path(file)).expect("removed");
    }
    let words = [&["oci:base:1.0", "gamma", "-o", "oci:out:1.0"], &files[..]];
    shop.desk.build(&words.concat()).expect(1);
    // A push that fails.
    let registry = RegistryServer::start();
    registry.change(|behaviour| {
        behaviour.uploads.faults_of = vec![("PUT", crate::support::registry::Fault::Status(403))];
    });
    let tag = format!("{}/team/new:1.0", registry.host());
    let words = [&["oci:base:1.0", "alpha", "-t", &tag, "--push"], &files[..]];
    let run = shop.desk.build(&words.concat());
    assert_ne!(run.status, 0);
    assert!(registry.manifest("team/new", "1.0").is_none());
    for file in ["iid", "meta.json"] {
        assert!(!shop.desk.path(file).exists(), "{file}");
    }
}
