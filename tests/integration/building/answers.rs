//! What a build says, as text and as JSON.

use insta::assert_snapshot;

use super::{Built, Shop, short};
use crate::support::base_image::{self, pushed};
use crate::support::program::Run;
use crate::support::registry::Pushed;

/// The JSON of a run, with hashes by one word.
fn json(run: &Run) -> String {
    short(&serde_json::to_string_pretty(&run.json()).expect("JSON"))
}

fn text(run: &Run) -> String {
    short(&run.to_string())
}

#[test]
fn additions_are_planned_and_built() {
    let shop = Shop::new();
    let plan = |more: &[&str]| {
        let words = [&["oci:base:1.0", "alpha", "--dry-run"], more].concat();
        shop.desk.build(&words).expect(0)
    };
    assert_snapshot!(text(&plan(&[])));
    assert_snapshot!(json(&plan(&["--format", "json", "-o", "oci:out:1.0"])));
    assert_snapshot!(text(&plan(&[
        "-t",
        "registry.example/team/x:1",
        "--push",
        "--load=docker"
    ])));
    assert!(!shop.desk.path("out").exists(), "nothing is written");
    assert_snapshot!(text(&shop.out(&["alpha"])));
    assert_snapshot!(json(&shop.out(&["alpha", "--format", "json"])));
}

#[test]
fn a_minimal_plan_replaces_what_it_must() {
    let shop = Shop::new();
    let words = ["oci:base:1.0", "gamma", "--policy", "minimal"];
    let refused = shop.desk.build(&[&words[..2], &["-o", "oci:out"]].concat());
    assert_snapshot!(text(&refused.expect(1)));
    assert!(!shop.desk.path("out").exists(), "nothing is written");
    let words = [&words[..], &["--allow-remove", "tool"]].concat();
    let plan = |more: &[&str]| shop.desk.build(&[&words, more].concat()).expect(0);
    assert_snapshot!(text(&plan(&["--dry-run"])));
    assert_snapshot!(json(&plan(&["--dry-run", "--format", "json"])));
    assert_snapshot!(text(&plan(&["-o", "oci:out:1.0"])));
    assert_snapshot!(json(&plan(&["-o", "oci:out:1.0", "--format", "json"])));
}

#[test]
fn an_image_can_change_in_its_configuration_alone() {
    let shop = Shop::new();
    let words = ["-e", "MODE=prod", "--label", "org.example.team=ml"];
    let dry = [&["oci:base:1.0", "--dry-run"], &words[..]].concat();
    assert_snapshot!(text(&shop.desk.build(&dry)));
    assert_snapshot!(text(&shop.out(&words)));
    assert_snapshot!(json(
        &shop.out(&[&words[..], &["--format", "json"]].concat())
    ));
    let built = shop.image("out");
    assert_eq!(built.layers.len(), 2, "no layer of its own");
    assert_eq!(built.config["config"]["Env"][2], "MODE=prod");
    assert_eq!(built.config["config"]["Labels"]["org.example.team"], "ml");
}

#[test]
fn several_platforms_come_in_one_index() {
    let mut shop = Shop::new();
    let registry = shop.registry();
    let amd64 = pushed(&base_image::base());
    let arm64 = pushed(&base_image::base().for_architecture("arm64"));
    let both = Pushed::index(&[("amd64", &amd64), ("arm64", &arm64)]);
    registry.push("team/both", "1.0", &both);
    let base = format!("docker://{}/team/both:1.0", registry.host());
    let words = [
        &base,
        "alpha",
        "--platform",
        "linux/amd64",
        "--platform",
        "linux/arm64",
    ];
    let run = |more: &[&str]| shop.desk.build(&[&words[..], more].concat()).expect(0);
    assert_snapshot!(text(&run(&["--dry-run"])));
    assert_snapshot!(text(&run(&["-o", "oci:out:1.0"])));
    let built = json(&run(&["-o", "oci:out:1.0", "--format", "json"]));
    assert_snapshot!(built.replace(&registry.host(), "HOST"));
}

const RECIPE: &str = "\
base = \"oci:../base:1.0\"
requirements = [\"alpha\"]
tags = [\"registry.example/team/x:1\"]
environment = { MODE = \"prod\" }
labels = { \"org.example.team\" = \"ml\" }
";

#[test]
fn a_recipe_is_built_with_and_without_its_lock() {
    let shop = Shop::new();
    let desk = &shop.desk;
    desk.write("images/x.toml", &RECIPE.replace("../", ""));
    let build = |more: &[&str]| desk.build(&[&["images/x.toml", "-o", "oci:out"], more].concat());
    assert_snapshot!(text(&build(&["--locked"])));
    assert_snapshot!(text(&build(&[]).expect(0)));
    let free = Built::open(desk, "out").manifest;
    desk.run(&["lock", "images/x.toml"]).expect(0);
    assert_snapshot!(text(&build(&["--locked"]).expect(0)));
    assert_eq!(Built::open(desk, "out").manifest, free);
    // An index that has more by now changes nothing.
    shop.index.change_projects(|projects| {
        let newer = super::served(&super::wheel("beta-2.0", "").file("beta/__init__.py", "2\n"));
        projects.get_mut("beta").expect("beta").push(newer);
    });
    build(&["--locked"]).expect(0);
    assert_eq!(Built::open(desk, "out").manifest, free);
    let locked = Built::open(desk, "out");
    assert_eq!(locked.config["config"]["Env"][2], "MODE=prod");
    // What the command line says counts more.
    build(&["--locked", "-e", "MODE=test"]).expect(0);
    assert_eq!(shop.image("out").config["config"]["Env"][2], "MODE=test");
    desk.write(
        "images/x.toml",
        &RECIPE.replace("../", "").replace("alpha", "alpha>=1"),
    );
    assert_snapshot!(text(&build(&["--locked"])));
    assert_snapshot!(text(&build(&[]).expect(0)));
}

#[test]
fn pins_that_resolve_wrote_are_built() {
    let shop = Shop::new();
    let desk = &shop.desk;
    for file in ["pins.txt", "pylock.toml"] {
        desk.resolve(&["oci:base:1.0", "alpha", "-o", file])
            .expect(0);
        shop.index.change_projects(|projects| {
            let newer =
                super::served(&super::wheel("beta-2.0", "").file("beta/__init__.py", "2\n"));
            projects.get_mut("beta").expect("beta").push(newer);
        });
        let run = desk.build(&["oci:base:1.0", "-r", file, "-o", "oci:out:1.0"]);
        assert_snapshot!(text(&run.expect(0)));
        let built = shop.image("out");
        assert!(
            built
                .tree
                .contains_key(&format!("{}/beta-1.0.dist-info", base_image::SITE))
        );
        shop.index.change_projects(|projects| {
            projects.get_mut("beta").expect("beta").truncate(1);
        });
    }
}

#[test]
fn each_distribution_can_have_its_own_layer() {
    let shop = Shop::new();
    assert_snapshot!(text(&shop.out(&["alpha", "--layers", "per-distribution"])));
    let history = shop.image("out").config["history"].clone();
    let made: Vec<&str> = history
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["created_by"].as_str())
        .filter(|made| !made.is_empty())
        .collect();
    assert_eq!(
        made,
        ["imgtool build: alpha==1.0", "imgtool build: beta==1.0"]
    );
    let single = shop.out(&["alpha", "-o", "oci:single:1.0"]);
    drop(single);
    let apart = shop.image("out").tree;
    assert_eq!(apart, shop.image("single").tree, "the same files");
}
