//! What a base itself demands: distributions that cannot be changed, constraints that live in it; and what the user says
//! against it or beside it.

use insta::assert_snapshot;
use serde_json::json;

use super::{SITE, lay_base};
use crate::support::image::{
    Packing, TestImage, TestLayer, archive_members, file, put, symlink, tar_of, write_layout,
};
use crate::support::index_server::IndexServer;
use crate::support::program::Desk;
use crate::support::root::{LOADER, executable};

fn index() -> IndexServer {
    IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta")
        .wheel("2.0", "Requires-Dist: beta")
        .project("beta")
        .wheel("1.0", "")
        .wheel("2.0", "")
        .wheel("3.0", "")
        .project("mlflow-skinny")
        .wheel("2.19.0", "")
        .wheel("2.20.1", "")
        .wheel("3.1.0", "")
        .start()
}

/// An image whose Env is `variables`, and that has these files beside Python.
fn image(variables: &[&str], files: &[(&str, &str)]) -> TestImage {
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
        file(
            &format!("{}/six-1.16.0.dist-info/METADATA", &SITE[1..]),
            "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n\n",
        ),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| file(name, text)).collect();
    let mut image = TestImage::new(vec![
        TestLayer::new(&root, Packing::Gzip),
        TestLayer::new(&files, Packing::Gzip),
    ]);
    let mut variables: Vec<&str> = variables.to_vec();
    variables.push("PATH=/opt/conda/bin:/usr/bin");
    image.config["config"] = json!({ "Env": variables, "WorkingDir": "/srv" });
    image
}

#[test]
fn constraints_of_the_image_are_honoured_and_told() {
    let index = index();
    let mut desk = Desk::at(&index);
    let image = image(
        &[
            "PIP_CONSTRAINT=/opt/rules/vendor pins.list",
            "UV_INDEX_URL=https://u:secret@vendor.invalid/simple",
        ],
        &[
            (
                "opt/rules/vendor",
                "beta<2\n-c more.txt\nnever; os_name == 'nt'\n",
            ),
            ("opt/rules/more.txt", "gamma<1\nbeta!=1.5\n"),
            ("srv/pins.list", "alpha<2\n"),
            (
                "etc/pip.conf",
                "[global]\nconstraint = /never\nindex-url = https://vendor.invalid/simple\n",
            ),
        ],
    );
    write_layout(&image.layout(Some("1")), &desk.path("layout"));
    let archive = tar_of(&archive_members(&image.layout(Some("1"))));
    put(&desk.path("image.tar"), &archive);
    desk.scrub(&manifest_digest(&image), "sha256:[DIGEST]");
    let run = desk.resolve(&["oci:layout", "alpha"]).expect(0);
    assert_snapshot!(run, @"
    status: 0
    ----- stdout
    alpha 1.0 fits oci:layout: 2 distributions to add, nothing of the base changes

    Added  Version  Required by
    alpha  1.0      the request
    beta   1.0      alpha

    Base: oci:layout, Python 3.10.13, 1 distribution
    Read from the image oci:layout, which is sha256:[DIGEST].
    ----- stderr
    note: the image's /opt/rules/more.txt binds 2 projects (`--no-image-config` leaves it out)
    note: the image's /opt/rules/vendor binds 1 project (`--no-image-config` leaves it out)
    note: the image's /srv/pins.list binds 1 project (`--no-image-config` leaves it out)
    note: the image's /etc/pip.conf names the index vendor.invalid, which is not asked unless `--extra-index-url` names it
    note: the image's UV_INDEX_URL names the index vendor.invalid, which is not asked unless `--extra-index-url` names it
    note: alpha 1.0 is the newest that fits; the index has 2.0, and `imgtool explain oci:layout 'alpha'` says what keeps it out
    ");
    for reference in ["oci:layout", "oci-archive:image.tar"] {
        let run = desk.resolve_json(&[reference, "alpha"]).expect(0);
        assert_eq!(run.pins(), ["alpha==1.0", "beta==1.0"], "{reference}");
        let run = desk
            .resolve_json(&[reference, "alpha", "--no-image-config"])
            .expect(0);
        assert_eq!(run.pins(), ["alpha==2.0", "beta==3.0"], "{reference}");
        assert!(!run.stderr.contains("the image's"), "{run}");
    }
    desk.resolve(&["oci:layout", "alpha==2.0"])
        .expect(1)
        .says("alpha<2 (the image's /srv/pins.list:1)");
}

fn manifest_digest(image: &TestImage) -> String {
    format!(
        "sha256:{}",
        crate::support::index_server::sha256(&image.manifest_bytes())
    )
}

#[test]
fn constraints_of_a_folder_are_those_of_its_places() {
    let index = index();
    let desk = Desk::at(&index);
    let root = lay_base(&desk, &[("six", "1.16.0", "")]);
    root.write(
        "/opt/conda/pip.conf",
        "[install]\nconstraint = /etc/pip/constraint.txt\n",
    );
    root.write("/etc/pip/constraint.txt", "beta<3\n");
    let run = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
    assert_eq!(run.pins(), ["alpha==2.0", "beta==2.0"]);
    run.tells(
        "note: the base's /etc/pip/constraint.txt binds 1 project (`--no-image-config` leaves it out)",
    );
}

#[test]
fn what_cannot_be_changed_is_refused_with_its_reason() {
    let index = index();
    let desk = Desk::at(&index);
    let root = lay_base(&desk, &[("six", "1.16.0", ""), ("beta", "1.0", "")]);
    root.distribution(SITE, "bare", "1.0");
    let error = |arguments: &[&str]| {
        desk.resolve(&[&["dir:base", "alpha"], arguments].concat())
            .one_error(2)
    };
    let errors = [
        error(&["--allow-change", "bare"]),
        error(&["--allow-remove", "bare"]),
        error(&["--allow-change", "bte"]),
        error(&["--hold", "nothing-like-it"]),
        error(&["--hold", "six,beta", "--allow-change", "beta"]),
    ];
    assert_snapshot!(errors.join("\n"), @"
    error: `--allow-change bare`: bare 1.0 of dir:base cannot be changed: it has no RECORD of its files
    hint: nobody knows which files to remove: install bare from a wheel where the base is built, or into a virtual environment on top

    error: `--allow-remove bare`: bare 1.0 of dir:base cannot be changed: it has no RECORD of its files
    hint: nobody knows which files to remove: install bare from a wheel where the base is built, or into a virtual environment on top

    error: `--allow-change bte`: dir:base has no distribution bte
    hint: did you mean `bare`?

    error: `--hold nothing-like-it`: dir:base has no distribution nothing-like-it
    hint: `imgtool inspect dir:base` lists what it has

    error: `beta` is named by `--hold` and by `--allow-change`
    hint: leave beta to one of the two
    ");
    desk.resolve(&["dir:base", "alpha", "--hold", "bare"])
        .expect(0);
    desk.resolve(&["dir:base", "alpha", "--policy", "minimal"])
        .expect(0)
        .tells("note: held, as they cannot be changed in an image: bare (it has no RECORD of its files)");
    desk.resolve(&["tfx:1.16.0", "alpha", "--policy", "minimal"])
        .tells("note: that every distribution of tfx:1.16.0 can be changed is assumed");
}

#[test]
fn an_override_is_read_like_other_files() {
    let index = index();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    desk.write("direct.txt", "\nbeta @ https://x.invalid/beta.whl\n");
    let error = desk
        .resolve(&["dir:base", "alpha", "--override", "direct.txt"])
        .one_error(2);
    assert_snapshot!(error, @"error: `direct.txt` line 2: `beta @ https://x.invalid/beta.whl` is a path or an address, not a version on an index");
    let error = desk
        .resolve(&["dir:base", "alpha", "--override", "missing.txt"])
        .one_error(2);
    assert!(error.contains("missing.txt"), "{error}");
}

#[test]
fn clients_of_mlflow_are_bound_to_their_server() {
    let index = index();
    let desk = Desk::at(&index);
    lay_base(
        &desk,
        &[("six", "1.16.0", ""), ("mlflow-tracing", "3.0.0", "")],
    );
    let pins = |server: &str| {
        desk.resolve_json(&["dir:base", "mlflow-skinny", "--server-version", server])
            .expect(0)
            .pins()
    };
    assert_eq!(pins("2.19"), ["mlflow-skinny==2.19.0"]);
    assert_eq!(pins("2.20.0"), ["mlflow-skinny==2.19.0"]);
    assert_eq!(pins("2.20"), ["mlflow-skinny==2.20.1"]);
    assert_eq!(pins("3.5.1"), ["mlflow-skinny==3.1.0"]);
    assert_snapshot!(
        desk.resolve(&["dir:base", "mlflow-skinny>=3", "--server-version", "2.19"]),
        @"
    status: 1
    ----- stdout
    mlflow-skinny>=3 cannot be added to dir:base:

      1. you ask for mlflow-skinny>=3
      2. mlflow-skinny 3.1.0 is ruled out by the constraint mlflow-skinny>=1,<2.20 (a server of 2.19)

    What would fit (found by solving)
      mlflow-skinny 2.19.0, the newest that fits: imgtool resolve dir:base mlflow-skinny==2.19.0 --server-version 2.19 -i [INDEX]/simple/
      mlflow-skinny 3.1.0, without the constraint mlflow-skinny>=1,<2.20 (a server of 2.19)

    Base: dir:base, Python 3.10.13, 2 distributions
    ----- stderr
    note: clients of MLflow are bound to >=1, <2.20: MLflow's servers work with clients that are not newer, up to one major version older, and this one is a server of 2.19
    warning: the base has mlflow-tracing 3.0.0, which MLflow does not promise to work with a server of 2.19
    "
    );
    desk.resolve(&["dir:base", "mlflow-skinny", "--server-version", "latest"])
        .expect(2)
        .tells("`latest` is no version of an MLflow server");
}

/// What poses the question to `resolve` poses it to `explain`: both speak of the same one.
#[test]
fn explain_is_asked_as_resolve_is() {
    let index = index();
    let desk = Desk::at(&index);
    let image = image(
        &["PIP_CONSTRAINT=/srv/pins.list"],
        &[("srv/pins.list", "alpha<2\n")],
    );
    write_layout(&image.layout(Some("1")), &desk.path("layout"));
    let explain = |arguments: &[&str]| {
        let mut all = vec!["explain", "oci:layout"];
        all.extend(arguments);
        desk.run(&all)
    };
    explain(&["alpha==2.0"])
        .expect(1)
        .says("alpha<2 (the image's /srv/pins.list:1)")
        .tells("the image's /srv/pins.list binds 1 project");
    explain(&["alpha==2.0", "--no-image-config"]).expect(0);
    explain(&["six==1.17"])
        .expect(1)
        .says("the base has six 1.16.0 (layer 0)");

    explain(&["mlflow-skinny", "--server-version", "2.19"])
        .expect(0)
        .says("mlflow-skinny 2.19.0 fits oci:layout")
        .tells("this one is a server of 2.19");
    desk.write("overrides.txt", "beta<2\n");
    explain(&["alpha", "--override", "overrides.txt"])
        .expect(0)
        .says("beta   1.0");
    let error = explain(&["alpha", "--allow-change", "sixx"]).one_error(2);
    assert!(
        error.contains("oci:layout has no distribution sixx"),
        "{error}"
    );
    // Files without a time of upload do not exist before any day.
    explain(&["mlflow-skinny", "--exclude-newer", "2020-01-01"]).expect(1);
    desk.write(
        "links.txt",
        "mlflow-skinny\n--no-index\n--find-links links\n",
    );
    std::fs::create_dir(desk.path("links")).expect("a folder");
    let asked = index.requests().len();
    explain(&["-r", "links.txt"]).expect(1);
    assert_eq!(index.requests().len(), asked, "the index was asked");
}
