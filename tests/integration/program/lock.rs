//! `imgtool lock`: recipes, their locks, and whether these are up to date.

use insta::assert_snapshot;

use crate::support::image::{Packing, write_layout};
use crate::support::index_server::IndexServer;
use crate::support::program::Desk;

use super::images::image;

fn server() -> IndexServer {
    IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta>=1")
        .project("beta")
        .wheel("1.0", "Requires-Dist: six")
        .wheel("2.0", "Requires-Dist: six>=2")
        .project("six")
        .wheel("2.0", "")
        .start()
}

const RECIPE: &str =
    "base = \"oci:layout:1.0\"\nplatforms = [\"linux/amd64\"]\nrequirements = [\"alpha\"]\n";

/// A desk with a base and the recipe `images/x.toml`.
fn desk(server: &IndexServer) -> Desk {
    let desk = Desk::at(server);
    write_layout(
        &image(Packing::Gzip).layout(Some("1.0")),
        &desk.path("layout"),
    );
    desk.write("images/x.toml", RECIPE);
    desk
}

fn text(desk: &Desk, name: &str) -> String {
    std::fs::read_to_string(desk.path(name)).expect("a file")
}

/// Digests and hashes, which depend on how the fixtures were made, by their first letters.
fn short(text: &str) -> String {
    let mut short = String::new();
    let mut run = 0;
    for character in text.chars() {
        run = if character.is_ascii_hexdigit() {
            run + 1
        } else {
            0
        };
        if run <= 40 {
            short.push(character);
        } else if run == 41 {
            short.truncate(short.len() - 40);
            short.push_str("HEX");
        }
    }
    short
}

#[test]
fn a_recipe_is_locked_and_the_lock_is_the_same_the_next_time() {
    let server = server();
    let desk = desk(&server);
    let run = desk.run(&["lock", "images/x.toml"]).expect(0);
    assert_snapshot!(short(&run.to_string()), @"
    status: 0
    ----- stdout
    images/x.lock: linux/amd64, Python 3.10.13 on oci:layout:1.0 (sha256:HEX): 2 added, 0 replaced, 0 removed
    ");
    let lock = text(&desk, "images/x.lock");
    assert_snapshot!(short(&lock).replace(&server.origin(), "[INDEX]"), @r#"
    # What x.toml came to. Written by `imgtool lock`; it changes with the recipe, not by hand.
    version = 1
    question = "sha256:HEX"
    base = "oci:layout:1.0"
    requirements = ["alpha"]

    [[platform]]
    platform = "linux/amd64"
    digest = "sha256:HEX"
    python = "3.10.13"
    libc = "glibc 2.31"

    [[platform.pin]]
    name = "alpha"
    version = "1.0"
    wheel = "alpha-1.0-py3-none-any.whl"
    sha256 = "HEX"
    size = 765
    index = "[INDEX]/simple/"
    requested = true

    [[platform.pin]]
    name = "beta"
    version = "1.0"
    wheel = "beta-1.0-py3-none-any.whl"
    sha256 = "HEX"
    size = 752
    index = "[INDEX]/simple/"
    "#);
    desk.run(&["lock", "images/x.toml"])
        .expect(0)
        .tells("`images/x.lock` was up to date");
    assert_eq!(text(&desk, "images/x.lock"), lock);
    desk.run(&["lock", "--check", "images/x.toml"])
        .expect(0)
        .says("images/x.lock: up to date");
}

#[test]
fn a_lock_that_is_not_up_to_date_is_told() {
    let server = server();
    let desk = desk(&server);
    let check = || desk.run(&["lock", "--check", "images/x.toml", "--refresh"]);
    check()
        .expect(1)
        .says("images/x.lock: not up to date: there is none");
    desk.run(&["lock", "images/x.toml"]).expect(0);
    // What only the configuration of the image says is no part of the lock.
    desk.write("images/x.toml", &format!("{RECIPE}user = \"1000\"\n"));
    check().expect(0);
    desk.write("images/x.toml", &RECIPE.replace("alpha", "alpha>=1"));
    check()
        .expect(1)
        .says("not up to date: what the recipe asks has changed since it was locked");
    // So is what a file says that it names.
    desk.write("images/more.txt", "alpha\n");
    desk.write(
        "images/x.toml",
        &format!("{RECIPE}requirement-files = [\"more.txt\"]\n"),
    );
    desk.run(&["lock", "images/x.toml"]).expect(0);
    check().expect(0);
    desk.write("images/more.txt", "# the same\nalpha\n");
    check().expect(0);
    desk.write("images/more.txt", "alpha<2\n");
    check().expect(1).says("has changed");
    desk.write("images/more.txt", "alpha\n");
    // A file of the index that is another now.
    server.change_projects(|projects| {
        let beta = projects.get_mut("beta").expect("beta");
        beta[0].bytes.as_mut().expect("bytes").push(0);
    });
    check()
        .expect(1)
        .says("beta 1.0 is pinned (images/x.lock) to files with sha256:");
}

#[test]
fn a_base_that_moved_is_told() {
    let server = server();
    let desk = desk(&server);
    desk.run(&["lock", "images/x.toml"]).expect(0);
    let mut moved = image(Packing::Gzip);
    moved.config["config"]["Labels"] = serde_json::json!({"moved": "yes"});
    std::fs::remove_dir_all(desk.path("layout")).expect("removed");
    write_layout(&moved.layout(Some("1.0")), &desk.path("layout"));
    desk.run(&["lock", "--check", "images/x.toml"])
        .expect(1)
        .says("the base for linux/amd64 was sha256:");
}

#[test]
fn wheels_of_this_machine_are_locked_by_their_path() {
    let server = server();
    let desk = desk(&server);
    let wheel = crate::support::wheel::synthesize(
        "local_one-1.0-py3-none-any.whl",
        &crate::support::wheel::metadata("local-one", "1.0", "Requires-Dist: beta"),
        0,
        false,
    );
    desk.write("images/dist/readme", "");
    crate::support::image::put(
        &desk.path("images/dist/local_one-1.0-py3-none-any.whl"),
        &wheel,
    );
    desk.write(
        "images/x.toml",
        "base = \"oci:layout:1.0\"\nwheels = [\"dist/local_one-1.0-py3-none-any.whl\"]\n",
    );
    desk.run(&["lock", "images/x.toml"]).expect(0);
    let lock = text(&desk, "images/x.lock");
    let (_, pin) = lock.split_once("name = \"local-one\"").expect("a pin");
    assert_snapshot!(short(pin), @r#"

    version = "1.0"
    wheel = "local_one-1.0-py3-none-any.whl"
    sha256 = "HEX"
    path = "dist/local_one-1.0-py3-none-any.whl"
    requested = true
    "#);
    desk.run(&["lock", "--check", "images/x.toml"]).expect(0);
    crate::support::image::put(
        &desk.path("images/dist/local_one-1.0-py3-none-any.whl"),
        b"x",
    );
    desk.run(&["lock", "--check", "images/x.toml"])
        .expect(1)
        .says("what the recipe asks has changed since it was locked");
}

#[test]
fn what_cannot_be_locked_is_told() {
    let server = server();
    let mut desk = desk(&server);
    desk.write(
        "bad.toml",
        "base = \"oci:layout:1.0\"\nrequirement = [\"alpha\"]\n",
    );
    desk.write(
        "no.toml",
        "base = \"oci:layout:1.0\"\nrequirements = [\"beta>=2\"]\n",
    );
    desk.write(
        "folder.toml",
        "base = \"dir:base\"\nrequirements = [\"alpha\"]\n",
    );
    desk.write(
        "tfx.toml",
        "base = \"tfx:1.16.0\"\nrequirements = [\"alpha\"]\n",
    );
    super::lay_base(&desk, &[("six", "1.16.0", "")]);
    assert_snapshot!(desk.run(&["lock", "bad.toml"]), @"
    status: 2
    ----- stderr
    error: the recipe `bad.toml` line 2, column 1: a recipe has no key `requirement`; did you mean `requirements`?
    ");
    desk.run(&["lock", "no.toml"])
        .expect(1)
        .says("does not fit");
    assert!(!desk.path("no.lock").exists());
    assert_snapshot!(desk.run(&["lock", "folder.toml"]).one_error(2), @"
    error: `dir:base` cannot be locked: it has no digest
    hint: an image of a registry, a layout or an archive has a digest, and only images can be built on
    ");
    // With the switch of these tests a name of the catalog means its snapshot.
    desk.run(&["lock", "tfx.toml"])
        .expect(0)
        .says("(a snapshot)");
    desk.run(&["lock", "--check", "tfx.toml"]).expect(0);
    desk.set("IMGTOOL_SNAPSHOT", "0");
    assert_snapshot!(desk.run(&["lock", "--offline", "tfx.toml"]).one_error(2), @"
    error: `tfx:1.16.0` cannot be locked: the image was not read, only the catalog's snapshot, which has no digest
    hint: lock where the image's registry can be reached; `--snapshot` locks without a digest, with which `build --locked` builds nothing
    ");
    desk.write("tfx.lock", "version = 3\n");
    assert_snapshot!(desk.run(&["lock", "--check", "tfx.toml"]).one_error(2), @"error: the lock `tfx.lock` line 1, column 11: it is of version 3; this imgtool reads version 1");
}

#[test]
fn the_recipes_of_this_project_are_recipes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
    let mut recipes = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = std::fs::read_to_string(&path).expect("text");
            match imgtool::plan::Recipe::parse(&path, &text) {
                Ok(_) => recipes += 1,
                Err(error) => assert!(
                    error
                        .to_string()
                        .contains("it describes bases of the catalog"),
                    "{error}"
                ),
            }
        }
    }
    assert!(recipes > 0);
}
