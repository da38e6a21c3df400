//! The same input gives the same bytes.

use super::{Shop, index, served, wheels};
use crate::support::base_image::{CREATED, base, pushed};
use crate::support::image::put;
use crate::support::program::Run;
use crate::support::registry::RegistryServer;

fn digest(run: &Run) -> String {
    run.json()["digest"].as_str().expect("a digest").to_owned()
}

/// What the image of `shop` is called by its digest.
fn built(shop: &Shop, more: &[&str]) -> String {
    let words = ["oci:base:1.0", "alpha", "--format", "json"];
    digest(&shop.desk.build(&[&words, more].concat()).expect(0))
}

#[test]
fn neither_the_machine_nor_the_cache_nor_the_target_changes_a_byte() {
    let plain = Shop::new();
    let expected = built(&plain, &["-o", "oci:out:1.0"]);
    assert_eq!(
        built(&plain, &["-o", "oci:warm:1.0"]),
        expected,
        "a warm cache"
    );
    assert_eq!(
        built(&plain, &["-o", "oci:none:1.0", "--no-cache"]),
        expected
    );
    assert_eq!(built(&plain, &["-o", "oci-archive:a.tar:1.0"]), expected);
    assert_eq!(built(&plain, &["-o", "docker-archive:d.tar:x:1"]), expected);

    let mut other = Shop::with(
        &base(),
        index(&wheels()).behaviour(|behaviour| {
            behaviour.html_only = true;
        }),
    );
    other.desk.set_umask("077");
    for (name, value) in [("TZ", "Asia/Kathmandu"), ("LC_ALL", "tr_TR.UTF-8")] {
        other.desk.set(name, value);
    }
    assert_eq!(built(&other, &["-o", "oci:out:1.0"]), expected);
    // Wheels of a folder instead of an index.
    std::fs::create_dir(other.desk.path("wheels")).expect("a folder");
    for wheel in wheels() {
        let file = served(&wheel);
        let path = other.desk.path("wheels").join(&file.filename);
        put(&path, &file.bytes.expect("a wheel"));
    }
    let words = ["--no-index", "-f", "wheels", "-o", "oci:folder:1.0"];
    assert_eq!(built(&other, &words), expected);
    for name in ["out", "warm", "none"] {
        assert_eq!(plain.image(name).manifest, other.image("folder").manifest);
    }
}

#[test]
fn the_number_of_cores_changes_no_byte() {
    let mut wheels = wheels();
    let noise = crate::support::outgoing::noise(7, 5_000_000);
    wheels[0] = wheels[0].clone().file("alpha/noise.bin", noise);
    let shop = Shop::with(&base(), index(&wheels));
    let expected = built(&shop, &["-o", "oci:out:1.0"]);
    let mut command = std::process::Command::new("taskset");
    let program = shop.desk.command(&[
        "build",
        "oci:base:1.0",
        "alpha",
        "--format",
        "json",
        "-o",
        "oci:one:1.0",
    ]);
    command.args(["-c", "0"]).arg(program.get_program());
    command
        .args(program.get_args())
        .current_dir(shop.desk.path("."));
    command.env_clear().env("PATH", "/usr/bin:/bin");
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    // Not every machine has it.
    let Ok(output) = command.output() else {
        return;
    };
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["digest"], expected);
}

#[test]
fn the_time_is_that_of_the_base_or_the_one_that_is_given() {
    let mut shop = Shop::new();
    built(&shop, &["-o", "oci:out:1.0"]);
    let plain = shop.image("out");
    assert_eq!(plain.config["created"], CREATED.0);
    shop.desk.set("SOURCE_DATE_EPOCH", "1000000000");
    built(&shop, &["-o", "oci:dated:1.0"]);
    let dated = shop.image("dated");
    assert_eq!(dated.config["created"], "2001-09-09T01:46:40Z");
    for (path, entry) in dated.last() {
        assert_eq!(entry.modified, 1_000_000_000, "{path}");
    }
}

#[test]
fn registries_and_layouts_get_the_same_image() {
    let shop = Shop::new();
    let registry = RegistryServer::start();
    registry.push("team/base", "1.0", &pushed(&base()));
    let tag = format!("{}/team/new:1.0", registry.host());
    let words = [
        "-t",
        &tag,
        "--push",
        "-o",
        "oci:out:1.0",
        "-o",
        "oci-archive:a.tar:1.0",
    ];
    let expected = built(&shop, &words);
    let (_, bytes) = registry.manifest("team/new", "1.0").expect("an image");
    assert_eq!(imgtool::digest::sha256(&bytes).to_string(), expected);
    assert_eq!(built(&shop, &["-o", "oci:again:1.0"]), expected);
}
