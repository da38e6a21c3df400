//! What names a base: entries of the catalog, patterns, folders, and what is none of these.

use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use super::{SITE, lay_base};
use crate::support::index_server::IndexServer;
use crate::support::program::Desk;

/// A requirement that every TFX meets by itself, so that no index is asked.
const HELD: &str = "tfx";

#[test]
fn a_pattern_means_the_newest_that_matches() {
    let desk = Desk::without_index();
    for (asked, reference) in [
        ("tfx:1.16.0", "tfx:1.16.0"),
        ("tfx:1.x", "tfx:1.21.0"),
        ("tfx:1.*", "tfx:1.21.0"),
        ("tfx:1", "tfx:1.21.0"),
        ("tfx:1.15.x", "tfx:1.15.1"),
        ("tfx:1.15", "tfx:1.15.1"),
        ("tfx", "tfx:1.21.0"),
        ("tfx:latest", "tfx:1.21.0"),
    ] {
        let run = desk.resolve_json(&[asked, HELD]);
        assert_eq!(run.status, 0, "{asked}\n{run}");
        let base = &run.json()["base"];
        assert_eq!(base["reference"], reference, "{asked}");
        assert_eq!(base["asked"], asked);
        assert_eq!(base["source"], "snapshot");
        desk.resolve(&[asked, HELD])
            .says(&format!("fits {reference}: the base has all of it"))
            .says("not read from the image.");
    }
}

#[test]
fn a_base_that_is_not_there_says_what_is() {
    let desk = Desk::without_index();
    let error = |reference: &str| desk.resolve(&[reference, HELD]).one_error(2);
    assert_snapshot!(error("tfx:1.11.0"), @"
    error: the catalog has no version `1.11.0` of the base `tfx`
    hint: did you mean `tfx:1.21.0`? The catalog has tfx 1.21.0, 1.17.0, 1.16.0, 1.15.1, 1.14.0, 1.13.0, 1.12.0
    ");
    assert_snapshot!(error("tfx:9.x"), @"
    error: the catalog has no version `9.x` of the base `tfx`
    hint: the catalog has tfx 1.21.0, 1.17.0, 1.16.0, 1.15.1, 1.14.0, 1.13.0, 1.12.0
    ");
    assert_snapshot!(error("tfx:1.16.0.1"), @"
    error: the catalog has no version `1.16.0.1` of the base `tfx`
    hint: did you mean `tfx:1.16.0`? The catalog has tfx 1.21.0, 1.17.0, 1.16.0, 1.15.1, 1.14.0, 1.13.0, 1.12.0
    ");
    assert_snapshot!(error("tfx:"), @"
    error: `tfx:` is not a base reference: there is no version after the colon
    hint: write `tfx` for the newest version
    ");
    assert_snapshot!(error("tfx:banana"), @"
    error: the catalog has no version `banana` of the base `tfx`
    hint: the catalog has tfx 1.21.0, 1.17.0, 1.16.0, 1.15.1, 1.14.0, 1.13.0, 1.12.0
    ");
    assert_snapshot!(error("TFX:1.16.0"), @"
    error: `TFX:1.16.0` is not a base reference: the name has upper-case letters
    hint: names of images are lower case: write `tfx:1.16.0`
    ");
    assert_snapshot!(error("txf:1.16.0"), @"
    error: the catalog has no base `txf`
    hint: did you mean `tfx`?
    ");
    assert_snapshot!(error("kubeflow:1.0"), @"
    error: the catalog has no base `kubeflow`
    hint: the catalog has `tfx`; an image of a registry is written with its host: `docker://docker.io/library/kubeflow:1.0`
    ");
    assert_snapshot!(error(""), @"
    error: `` is not a base reference: it is empty
    hint: a base is an entry of the catalog (`imgtool catalog list`), an image (`docker://HOST/REPOSITORY:TAG`, `oci:FOLDER`, `oci-archive:FILE`, `docker-archive:FILE`, `docker-daemon:NAME`, `containers-storage:NAME`) or a folder (`dir:PATH`)
    ");
}

#[test]
fn an_image_that_is_malformed_is_told_apart_from_a_folder() {
    let desk = Desk::without_index();
    let error = |reference: &str| desk.resolve(&[reference, HELD]).one_error(2);
    assert_snapshot!(error("docker://example.invalid/TFX:1.16.0"), @"
    error: `docker://example.invalid/TFX:1.16.0` is not a base reference: invalid reference format
    hint: names of images are lower case
    ");
    assert_snapshot!(error("oci:layout:"), @"
    error: `oci:layout:` is not a base reference: nothing stands after the colon
    hint: write `oci:layout` for the only image there
    ");
    assert_snapshot!(error("./image.tar"), @"
    error: `./image.tar` is not a base reference: it looks like a path
    hint: for an archive of `docker save` write `docker-archive:./image.tar`, for one of an OCI layout `oci-archive:./image.tar`
    ");
    assert_snapshot!(error("./folder"), @"
    error: `./folder` is not a base reference: it looks like a path
    hint: for a folder write `dir:./folder`, for an OCI layout `oci:./folder`
    ");
}

#[test]
fn a_folder_that_cannot_be_read_is_bad_input() {
    let mut desk = Desk::without_index();
    desk.write("empty/readme.txt", "");
    desk.write("file", "");
    let here = desk.path("").canonicalize().expect("a folder");
    desk.scrub(&here.display().to_string(), "[DESK]");
    let error = |reference: &str| desk.resolve(&[reference, HELD]).one_error(2);
    assert_snapshot!(error("dir:absent"), @"
    error: the folder `absent` does not exist
    hint: `dir:` takes the root of an unpacked image, a conda prefix or a virtual environment
    ");
    assert_snapshot!(error("dir:empty"), @"error: `empty` holds no Python: looked for a virtual environment (pyvenv.cfg), a prefix (bin/python3, lib/python3.*), and python3 in the folders of PATH, /opt/conda/bin, /usr/local/bin, /usr/bin, /bin, the versions of a pyenv, /opt/*/bin, and the virtual environments of applications");
    desk.write("layout/oci-layout", "{}");
    desk.write("layout/index.json", "{}");
    assert_snapshot!(error("dir:layout"), @"
    error: the folder `layout` holds an image that is not unpacked, not its files
    hint: it is an OCI layout: write `oci:layout`
    ");
    desk.write("copied/version", "Directory Transport Version: 1.1");
    desk.write("copied/manifest.json", "{}");
    assert_snapshot!(error("dir:copied"), @"
    error: the folder `copied` holds an image that is not unpacked, not its files
    hint: `skopeo copy dir:copied oci:LAYOUT` makes an OCI layout of it, which is read as `oci:LAYOUT`
    ");
    assert_snapshot!(error("dir:file"), @"
    error: `file` is not a folder
    hint: `dir:` takes the root of an unpacked image, a conda prefix or a virtual environment
    ");
    assert_snapshot!(error("dir:"), @"
    error: `dir:` is not a base reference: `dir:` needs the path of a folder
    hint: a base is an entry of the catalog (`imgtool catalog list`), an image (`docker://HOST/REPOSITORY:TAG`, `oci:FOLDER`, `oci-archive:FILE`, `docker-archive:FILE`, `docker-daemon:NAME`, `containers-storage:NAME`) or a folder (`dir:PATH`)
    ");
    lay_base(&desk, &[]);
    assert_snapshot!(desk.resolve(&["dir:base", HELD, "--python", "3.12"]).one_error(2), @"
    error: `base` holds no Python `3.12`: found Python 3.10 at /opt/conda/bin/python3
    hint: `--python` takes a version, such as 3.10, or a path inside the root
    ");
    assert_snapshot!(desk.resolve(&["tfx:1.16.0", HELD, "--python", "3.12"]).one_error(2), @"
    error: `tfx:1.16.0` holds no Python `3.12`: found Python 3.10.13 at /opt/conda
    hint: `--python` takes a version, such as 3.10, or a path inside the root
    ");
    let locked = desk.path("locked");
    std::fs::create_dir(&locked).expect("a folder");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).expect("set");
    desk.resolve(&["dir:locked", HELD]).one_error(2);
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o700)).expect("set");
}

#[test]
fn a_virtual_environment_is_a_base() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: six>=1.15")
        .start();
    let desk = Desk::at(&index);
    let root = lay_base(&desk, &[("outside", "1.0", "")]);
    let home = root.on_disk("/opt/conda/bin");
    root.write(
        "/srv/venv/pyvenv.cfg",
        format!("home = {}\nversion = 3.10.13\n", home.display()),
    );
    root.link(
        &home.join("python3").display().to_string(),
        "/srv/venv/bin/python",
    );
    root.installed(
        "/srv/venv/lib/python3.10/site-packages",
        "six",
        "1.16.0",
        "",
    );
    let run = desk.resolve_json(&["dir:base/srv/venv", "alpha"]).expect(0);
    assert_eq!(run.pins(), ["alpha==1.0"]);
    let json = run.json();
    assert_eq!(json["base"]["source"], "directory");
    assert_eq!(json["base"]["made_from"], serde_json::Value::Null);
    assert_eq!(json["base"]["note"], serde_json::Value::Null);
    assert_eq!(json["base"]["distributions"], 1);
    assert_eq!(json["base"]["python"], "3.10.13");
    assert_eq!(json["held"][0]["name"], "six");
}

#[test]
fn one_bad_distribution_is_a_note_beside_the_answer() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "")
        .start();
    let desk = Desk::at(&index);
    let root = lay_base(
        &desk,
        &[
            ("odd", "1.0", "Requires-Dist: ???\nRequires-Dist: six>=1.*"),
            ("six", "1.16.0", ""),
        ],
    );
    root.folder(&format!("{SITE}/~ix-1.15.0.dist-info"));
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]).expect(0).stderr, @"
    note: `/opt/conda/lib/python3.10/site-packages/~ix-1.15.0.dist-info` is what an interrupted pip left behind and is passed over
    warning: a requirement of odd in the base is passed over: `???` is not a requirement: expected package name starting with an alphanumeric character, found `?`
    ");
}
