//! What happens to a build when something goes wrong outside of it.

use serde_json::json;

use super::{Shop, short};
use crate::support::base_image;
use crate::support::image::write_layout;
use crate::support::registry::{Access, Fault};

#[test]
fn a_wheel_that_is_not_the_announced_one_is_refused() {
    let shop = Shop::new();
    shop.index
        .change(|behaviour| behaviour.wrong_file_hash = true);
    let error = shop
        .desk
        .build(&["oci:base:1.0", "beta", "-o", "oci:out:1.0"])
        .one_error(3);
    assert!(
        error.contains("beta-1.0-py3-none-any.whl"),
        "{}",
        short(&error)
    );
    assert!(!shop.desk.path("out").exists());
    shop.index
        .change(|behaviour| behaviour.wrong_file_hash = false);
    // What the page said is in the cache.
    shop.out(&["beta", "--refresh"]);
}

#[test]
fn a_base_that_moved_since_the_lock_stops_a_locked_build() {
    let shop = Shop::new();
    shop.desk.write(
        "x.toml",
        "base = \"oci:base:1.0\"\nrequirements = [\"alpha\"]\n",
    );
    shop.desk.run(&["lock", "x.toml"]).expect(0);
    let mut moved = base_image::base();
    moved.config["config"]["Labels"] = json!({ "moved": "yes" });
    std::fs::remove_dir_all(shop.desk.path("base")).expect("removed");
    write_layout(&moved.layout(Some("1.0")), &shop.desk.path("base"));
    let error = shop
        .desk
        .build(&["x.toml", "--locked", "-o", "oci:out"])
        .one_error(2);
    assert!(
        error.contains("the base for linux/amd64 was sha256:"),
        "{error}"
    );
    assert!(!shop.desk.path("out").exists());
}

#[test]
fn a_disk_that_is_full_leaves_the_old_image() {
    let shop = Shop::new();
    shop.out(&["beta"]);
    let before = shop.image("out").manifest;
    let command = shop
        .desk
        .command(&["build", "oci:base:1.0", "alpha", "-o", "oci:out:1.0"]);
    let mut limited = std::process::Command::new("/bin/sh");
    // No file may be larger than one block of 512 bytes; the signal that says so is passed over.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.current_dir(shop.desk.path(".")).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(name, value);
        }
    }
    let output = limited.output().expect("the program starts");
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors = told
        .lines()
        .filter(|line| line.starts_with("error: "))
        .count();
    assert_eq!(errors, 1, "{told}");
    assert_eq!(shop.image("out").manifest, before);
    shop.out(&["alpha"]);
    assert!(shop.image("out").tree.contains_key("opt/conda/bin/alpha"));
}

#[test]
fn a_token_that_ends_during_the_push_is_renewed() {
    let mut shop = Shop::new();
    let registry = shop.registry();
    registry.change(|behaviour| {
        behaviour.access = Access::Bearer {
            realm: None,
            anonymous: true,
        };
        behaviour.token_uses = Some(12);
    });
    let base = format!("docker://{}/team/base:1.0", registry.host());
    let tag = format!("{}/team/new:1.0", registry.host());
    shop.desk
        .build(&[&base, "alpha", "-t", &tag, "--push"])
        .expect(0);
    assert!(registry.manifest("team/new", "1.0").is_some());
}

#[test]
fn a_registry_that_goes_away_leaves_the_old_tag_and_a_second_run_finishes() {
    let mut shop = Shop::new();
    let registry = shop.registry();
    let base = format!("docker://{}/team/base:1.0", registry.host());
    let tag = format!("{}/team/new:1.0", registry.host());
    shop.desk
        .build(&[&base, "beta", "-t", &tag, "--push"])
        .expect(0);
    let old = registry.manifest("team/new", "1.0").expect("an image");
    let words = [base.as_str(), "alpha", "-t", &tag, "--push"];
    registry.change(|behaviour| {
        behaviour.uploads.faults_of = vec![("PUT", Fault::Status(507)); 20];
    });
    let run = shop.desk.build(&words);
    assert_ne!(run.status, 0, "{run}");
    assert_eq!(registry.manifest("team/new", "1.0").expect("an image"), old);
    registry.change(|behaviour| behaviour.uploads.faults_of.clear());
    shop.desk.build(&words).expect(0);
    assert_ne!(registry.manifest("team/new", "1.0").expect("an image"), old);
}

#[test]
fn two_builds_at_once_leave_one_of_their_images_whole() {
    let shop = Shop::new();
    let mut running: Vec<_> = ["alpha", "beta"]
        .iter()
        .map(|name| {
            shop.desk
                .command(&["build", "oci:base:1.0", name, "-o", "oci:out:1.0"])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("the program starts")
        })
        .collect();
    for child in running.drain(..) {
        let output = child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
    }
    let beta = format!("{}/beta/__init__.py", base_image::SITE);
    assert!(shop.image("out").tree.contains_key(&beta));
}
