//! `imgtool catalog`: what is known by name, and snapshots that are made.

use imgtool::catalog::snapshot::Snapshot;
use insta::assert_snapshot;

use super::{SITE, lay_base};
use crate::support::index_server::IndexServer;
use crate::support::program::{Desk, Run};

fn snapshot(run: &Run) -> Snapshot {
    serde_json::from_slice(&run.bytes).expect("a snapshot")
}

#[test]
fn the_catalog_lists_its_bases() {
    let mut desk = Desk::without_index();
    let json = desk
        .run(&["catalog", "list", "--format", "json"])
        .expect(0)
        .json();
    let repository = json["families"][0]["repository"].as_str().expect("text");
    desk.scrub(repository, "[REPOSITORY]");
    assert_snapshot!(desk.run(&["catalog", "list"]), @"
    status: 0
    ----- stdout
    tfx: TensorFlow Extended (TFX), the image that Kubeflow and Vertex pipelines run components in
    [REPOSITORY], amd64, /opt/conda

    base        python  c library   note
    tfx:1.21.0  3.10    glibc 2.39  pins of the release that no longer resolve are left out; the published image upgrades protobuf and cryptography past them
    tfx:1.17.0  3.10    glibc 2.39  resolved with the release's docker requirements.txt as constraints
    tfx:1.16.0  3.10    glibc 2.35  resolved with the release's docker requirements.txt as constraints; the image's final stage does not apply them
    tfx:1.15.1  3.10    glibc 2.35  resolved with the release's test_constraints.txt and the index as of a few days after the release
    tfx:1.14.0  3.10    glibc 2.35  resolved with the release's test_constraints.txt and the index as of a few days after the release; its wheel builder runs Python 3.8, its final image 3.10
    tfx:1.13.0  3.8     glibc 2.31  resolved with the release's test_constraints.txt and the index as of a few days after the release
    tfx:1.12.0  3.7     glibc 2.31  resolved with the release's test_constraints.txt and the index as of a few days after the release
    ----- stderr
    note: each snapshot was made as `imgtool catalog show` says of it, and none was read from an image
    ");
    let versions = json["families"][0]["versions"].as_array().expect("a list");
    assert_eq!(versions.len(), 7);
    for version in versions {
        let reference = version["reference"].as_str().expect("text");
        desk.run(&["catalog", "show", reference, "--format", "json"])
            .expect(0);
    }
}

#[test]
fn a_base_of_the_catalog_is_shown() {
    let desk = Desk::without_index();
    let run = desk.run(&["catalog", "show", "tfx:1.16.x"]).expect(0);
    for part in [
        "tfx:1.16.0",
        "protobuf",
        "3.20.3",
        "not read from the image",
    ] {
        assert!(run.stdout.contains(part), "no `{part}` in\n{run}");
    }
    let json = desk
        .run(&["catalog", "show", "tfx:1.16.0", "--format", "json"])
        .json();
    assert_eq!(json["distributions"].as_array().map(Vec::len), Some(246));
    assert_snapshot!(desk.run(&["catalog", "show", "tfx:7"]).one_error(2), @"
    error: the catalog has no version `7` of the base `tfx`
    hint: the catalog has tfx 1.21.0, 1.17.0, 1.16.0, 1.15.1, 1.14.0, 1.13.0, 1.12.0
    ");
    assert_snapshot!(desk.run(&["catalog"]).expect(2).stderr, @"
    List, show and make snapshots of bases that are known by name

    Usage: imgtool catalog [OPTIONS] <COMMAND>

    Commands:
      list      List the bases that are known by name
      show      Show what is installed in a base
      snapshot  Make a snapshot of a base, from an environment or from a list of pins
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help (see more with '--help')

    Global options:
      -q, --quiet          Say nothing on stderr but errors
      -v, --verbose        Say more on stderr
          --color <COLOR>  When to use colours [default: auto] [possible values: auto, always, never]
    ");
}

#[test]
fn a_folder_is_shown_as_a_base_is() {
    let desk = Desk::without_index();
    lay_base(&desk, &[("six", "1.16.0", "Requires-Python: >=2.7")]);
    assert_snapshot!(desk.run(&["catalog", "show", "dir:base"]), @"
    status: 0
    ----- stdout
    dir:base: 1 distribution
    Python 3.10.13 at /opt/conda, x86_64, glibc 2.31
    read from the folder base

    distribution  version  requirements  metadata   imports
    six           1.16.0   0             installed
    ");
}

#[test]
fn a_snapshot_is_made_from_pins_and_the_index() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel(
            "1.0",
            "Requires-Python: >=3.8\nRequires-Dist: beta>=1\nProvides-Extra: fast",
        )
        .project("beta")
        .wheel("1.0", "")
        .start();
    let mut desk = Desk::at(&index);
    desk.set("SOURCE_DATE_EPOCH", "86400");
    desk.write("pins.txt", "# pins\nbeta==1.0\nAlpha==1.0\n");
    let run = desk
        .run(&["catalog", "snapshot", "pins.txt", "--base", "tfx:1.16.0"])
        .expect(0);
    assert_eq!(run.stderr, "");
    assert_snapshot!(run.stdout, @r#"
    {
    "format": 1,
    "base": "tfx:1.16.0",
    "made_from": "the pin list pins.txt (2 distributions) and the package index on 1970-01-02, with Python 3.10.13 and glibc 2.35 assumed",
    "python": "3.10",
    "python_full_version": "3.10.13",
    "libc": "glibc 2.35",
    "architecture": "x86_64",
    "prefix": "/opt/conda",
    "distributions": [
    {"name":"alpha","version":"1.0","metadata_from":"wheel","requires_python":">=3.8","requires_dist":["beta>=1"],"provides_extra":["fast"],"import_names":["alpha"]},
    {"name":"beta","version":"1.0","metadata_from":"wheel","import_names":["beta"]}
    ]
    }
    "#);
    let made = snapshot(&run);
    assert_eq!(made.distributions[0].import_names, ["alpha"]);
    assert_eq!(made.to_json().as_bytes(), run.bytes, "JSON and back");
    let again = desk.run(&["catalog", "snapshot", "pins.txt", "--base", "tfx:1.16.0"]);
    assert_eq!(again.bytes, run.bytes);

    let own = [
        "catalog",
        "snapshot",
        "pins.txt",
        "--base",
        "own:2",
        "--python",
        "3.12.4",
        "--libc",
        "musl:1.2",
        "--prefix",
        "/usr/local",
        "-o",
        "own.json",
    ];
    let run = desk.run(&own).expect(0);
    assert_eq!(run.stdout, "");
    let made: Snapshot = serde_json::from_str(&desk.read("own.json")).expect("a snapshot");
    assert_eq!(made.base, "own:2");
    assert_eq!(made.python, "3.12");
    assert_eq!(made.libc.as_deref(), Some("musl 1.2"));
    assert_eq!(made.prefix, "/usr/local");
}

#[test]
fn a_snapshot_of_what_cannot_be_known_is_an_error_or_says_its_doubt() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "")
        .start();
    let desk = Desk::at(&index);
    let make =
        |source: &str, base: &str| desk.run(&["catalog", "snapshot", source, "--base", base]);
    desk.write("range.txt", "alpha>=1\n");
    desk.write("empty.txt", "\n");
    desk.write("twice.txt", "alpha==1.0\nalpha==1.1\n");
    desk.write(
        "unknown.txt",
        "alpha==1.0\nin-house==1.0+local\nalphas==2\n",
    );
    assert_snapshot!(make("range.txt", "tfx:1.16.0").one_error(2), @"
    error: line 1 of the pin list is not `name==version`: `alpha>=1`
    hint: a pin list has one `name==version` a line, as `pip freeze` prints it
    ");
    assert_snapshot!(make("empty.txt", "tfx:1.16.0").one_error(2), @"error: the pin list has no pins");
    assert_snapshot!(make("twice.txt", "tfx:1.16.0").one_error(2), @"error: line 2 of the pin list names `alpha` a second time");
    assert_snapshot!(make("absent.txt", "tfx:1.16.0").one_error(2), @"error: cannot read `absent.txt`: No such file or directory (os error 2)");
    assert_snapshot!(make("unknown.txt", "own:1").one_error(2), @"
    error: the catalog does not know `own:1`, so the Python that a snapshot of it is for is not known
    hint: give `--python 3.10.13` and `--libc glibc:2.35`, as they are in the base
    ");
    assert_snapshot!(make("tfx:1.16.0", "tfx:1.16.0").one_error(2), @"
    error: cannot read `tfx:1.16.0`: No such file or directory (os error 2)
    hint: a file is meant here, or a folder as `dir:PATH`; what the catalog has is shown by `imgtool catalog show`
    ");
    assert_snapshot!(make("dir:absent", "own:1").one_error(2), @"
    error: the folder `absent` does not exist
    hint: `dir:` takes the root of an unpacked image, a conda prefix or a virtual environment
    ");
    let run = make("unknown.txt", "tfx:1.16.0").expect(0);
    assert_snapshot!(run.stderr, @"
    warning: alphas 2: the package index does not have it; only its name and version are known
    warning: in-house 1.0+local: the package index does not have it; only its name and version are known
    ");
    assert_eq!(snapshot(&run).distributions.len(), 3);
}

#[test]
fn a_snapshot_of_a_folder_is_that_folder() {
    let mut desk = Desk::without_index();
    desk.set("SOURCE_DATE_EPOCH", "86400");
    let root = lay_base(
        &desk,
        &[
            ("six", "1.16.0", "Requires-Python: >=2.7"),
            (
                "torch",
                "2.8.0+cu126",
                "Requires-Dist: six ; extra == 'x'\nProvides-Extra: x",
            ),
        ],
    );
    root.write(&format!("{SITE}/six-1.16.0.dist-info/RECORD"), "six.py,,\n");
    let run = desk
        .run(&["catalog", "snapshot", "dir:base", "--base", "own:1"])
        .expect(0);
    assert_snapshot!(run.stdout, @r#"
    {
    "format": 1,
    "base": "own:1",
    "made_from": "the folder `base` (2 distributions) as it was on 1970-01-02",
    "python": "3.10",
    "python_full_version": "3.10.13",
    "libc": "glibc 2.31",
    "architecture": "x86_64",
    "prefix": "/opt/conda",
    "distributions": [
    {"name":"six","version":"1.16.0","metadata_from":"environment","requires_python":">=2.7","import_names":["six"]},
    {"name":"torch","version":"2.8.0+cu126","metadata_from":"environment","requires_dist":["six ; extra == 'x'"],"provides_extra":["x"]}
    ]
    }
    "#);
    assert_eq!(run.stderr, "");
    assert_eq!(snapshot(&run).to_json().as_bytes(), run.bytes);
}
