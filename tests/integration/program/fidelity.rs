//! What of the indexes counts: the end of time, several indexes, files beside them, and what could only be built.

use insta::assert_snapshot;
use serde_json::json;

use super::lay_base;
use crate::support::index_server::{Builder, IndexServer, ServedFile, sha256};
use crate::support::program::Desk;
use crate::support::wheel;

/// Adds a wheel that was uploaded at `time`.
fn dated(index: Builder, project: &str, version: &str, headers: &str, time: &str) -> Builder {
    index.project(project).wheel_file(
        &format!("{project}-{version}-py3-none-any.whl"),
        wheel::metadata(project, version, headers),
        json!({ "upload-time": time }),
    )
}

fn three() -> IndexServer {
    let mut index = IndexServer::builder();
    for (version, time) in [
        ("1.0", "2024-05-01T10:00:00Z"),
        ("2.0", "2025-05-01T10:00:00.123456Z"),
        ("3.0", "2025-12-24T00:00:00Z"),
    ] {
        index = dated(index, "alpha", version, "Requires-Dist: beta", time);
    }
    for (version, time) in [
        ("1.0", "2024-01-01T00:00:00Z"),
        ("2.0", "2025-06-01T00:00:00Z"),
    ] {
        index = dated(index, "beta", version, "", time);
    }
    index.start()
}

#[test]
fn an_answer_of_the_past_can_be_had_again() {
    let index = three();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    let pins = |arguments: &[&str]| {
        let run = desk.resolve_json(&[&["dir:base", "alpha"], arguments].concat());
        assert_eq!(run.stderr, "", "nothing newer is known");
        run.expect(0).pins()
    };
    assert_eq!(pins(&[]), ["alpha==3.0", "beta==2.0"]);
    assert_eq!(
        pins(&["--exclude-newer", "2025-12-23"]),
        ["alpha==2.0", "beta==2.0"]
    );
    assert_eq!(
        pins(&["--exclude-newer", "2025-05-01T12:00:00+02:00"]),
        ["alpha==1.0", "beta==1.0"]
    );

    assert_snapshot!(
        desk.resolve(&["dir:base", "alpha>=2", "--exclude-newer", "2024-12-31"]), @"
    status: 1
    ----- stdout
    alpha>=2 cannot be added to dir:base:

      1. you ask for alpha>=2
      2. alpha 2.0 and 3.0 were not uploaded before 2025-01-01, so `--exclude-newer` leaves them out

    What would fit (found by solving)
      alpha 1.0, the newest that fits: imgtool resolve dir:base alpha==1.0 -i [INDEX]/simple/ --exclude-newer 2024-12-31

    Base: dir:base, Python 3.10.13, 1 distribution
    Index: files uploaded before 2025-01-01.
    "
    );
    let facts = desk
        .resolve_json(&["dir:base", "alpha>=2", "--exclude-newer", "2024-12-31"])
        .expect(1)
        .json();
    assert_eq!(facts["facts"][1]["kind"], "no-candidate");
    assert_eq!(facts["facts"][1]["versions"], json!(["3.0", "2.0"]));
}

#[test]
fn the_end_of_time_may_be_a_variable_and_must_be_a_time() {
    let index = three();
    let mut desk = Desk::at(&index);
    lay_base(&desk, &[]);
    let error = desk
        .resolve(&["dir:base", "alpha", "--exclude-newer", "7 days"])
        .one_error(2);
    assert!(
        error.contains("neither a date such as 2025-12-23"),
        "{error}"
    );
    desk.set("UV_EXCLUDE_NEWER", "2024-12-31");
    assert_eq!(
        desk.resolve_json(&["dir:base", "alpha"]).expect(0).pins(),
        ["alpha==1.0", "beta==1.0"]
    );
    desk.set("IMGTOOL_EXCLUDE_NEWER", "yesterday");
    let error = desk.resolve(&["dir:base", "alpha"]).one_error(2);
    assert!(error.contains("IMGTOOL_EXCLUDE_NEWER"), "{error}");
}

#[test]
fn an_index_that_knows_no_times_is_named() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[]);
    assert_snapshot!(
        desk.resolve(&["dir:base", "alpha", "--exclude-newer", "2024-12-31"]), @"
    status: 1
    ----- stdout
    alpha cannot be added to dir:base:

      1. you ask for alpha
      2. the index does not say when alpha 1.0 was uploaded, so `--exclude-newer` leaves it out

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 0 distributions
    Index: files uploaded before 2025-01-01.
    ----- stderr
    warning: [INDEX]/simple/ does not say when its files were uploaded: with `--exclude-newer` those are left out
    "
    );
}

#[test]
fn a_folder_of_wheels_is_pinned_with_its_hashes() {
    let index = three();
    let desk = Desk::at(&index);
    lay_base(&desk, &[]);
    let metadata = wheel::metadata("inhouse", "1.0", "Requires-Dist: beta<2");
    let bytes = wheel::synthesize("inhouse-1.0-py3-none-any.whl", &metadata, 0, false);
    desk.write("wheels/readme.txt", "none");
    std::fs::copy(
        write_bytes(&desk, &bytes),
        desk.path("wheels/inhouse-1.0-py3-none-any.whl"),
    )
    .expect("copied");

    let run = desk
        .resolve_json(&["dir:base", "inhouse", "-f", "wheels"])
        .expect(0);
    assert_eq!(run.pins(), ["beta==1.0", "inhouse==1.0"]);
    let wheel = run.json()["added"][1]["wheel"].clone();
    assert_eq!(wheel["sha256"], sha256(&bytes));
    let url = wheel["url"].as_str().expect("a URL");
    assert!(url.starts_with("file:///") && url.ends_with("/wheels/inhouse-1.0-py3-none-any.whl"));

    // A requirements file beside the folder says the same, from anywhere.
    desk.write("elsewhere/r.txt", "--find-links ../wheels\ninhouse\n");
    desk.resolve(&[
        "dir:base",
        "-r",
        "elsewhere/r.txt",
        "--format",
        "requirements",
    ])
    .expect(0)
    .says(&format!(
        "inhouse==1.0 \\\n    --hash=sha256:{}\n",
        sha256(&bytes)
    ));

    let mut alone = Desk::without_index();
    alone.set("PIP_FIND_LINKS", &desk.path("wheels").display().to_string());
    lay_base(&alone, &[("beta", "1.5", "")]);
    assert_eq!(
        alone
            .resolve_json(&["dir:base", "inhouse", "--no-index"])
            .expect(0)
            .pins(),
        ["inhouse==1.0"]
    );
    alone
        .resolve(&["dir:base", "other", "--no-index"])
        .expect(1)
        .tells("warning: no file of other is offered by ");
    let error = alone
        .resolve(&["dir:base", "other", "--no-index", "-f", "absent"])
        .one_error(2);
    assert!(
        error.contains("absent` cannot be searched for files (`--find-links`)"),
        "{error}"
    );
}

/// Writes bytes into a file of the desk, and says where.
fn write_bytes(desk: &Desk, bytes: &[u8]) -> std::path::PathBuf {
    use std::io::Write as _;
    let path = desk.path("wheel");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(bytes).expect("written");
    path
}

#[test]
fn a_later_index_counts_only_where_the_user_wants_it() {
    let index = three();
    let first = IndexServer::builder()
        .project("beta")
        .wheel("1.5", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[]);
    let pins = |strategy: &[&str]| {
        let first = first.index_url();
        let arguments = ["dir:base", "alpha", "--extra-index-url", &first];
        desk.resolve_json(&[&arguments, strategy].concat())
            .expect(0)
            .pins()
    };
    assert_eq!(pins(&[]), ["alpha==3.0", "beta==1.5"]);
    assert_eq!(
        pins(&["--index-strategy", "unsafe-best-match"]),
        ["alpha==3.0", "beta==2.0"]
    );
    assert_eq!(
        pins(&["--index-strategy", "unsafe-first-match"]),
        ["alpha==3.0", "beta==1.5"]
    );
    // That a later index has something newer is no news then.
    let late = IndexServer::builder()
        .project("beta")
        .wheel("9.0", "")
        .start();
    let late_desk = Desk::at(&late);
    lay_base(&late_desk, &[]);
    let url = first.index_url();
    let arguments = ["dir:base", "beta", "--extra-index-url", &url];
    let first_match = [&arguments[..], &["--index-strategy", "unsafe-first-match"]].concat();
    let run = late_desk.resolve_json(&first_match).expect(0);
    assert_eq!(run.pins(), ["beta==1.5"]);
    assert_eq!(run.stderr, "");

    let first = first.index_url();
    let older = ["dir:base", "alpha", "beta<1.5", "--extra-index-url", &first];
    desk.resolve_json(&older).expect(1);
    let first_match = [&older[..], &["--index-strategy", "unsafe-first-match"]].concat();
    assert_eq!(
        desk.resolve_json(&first_match).expect(0).pins(),
        ["alpha==3.0", "beta==1.0"]
    );
}

#[test]
fn what_could_only_be_built_says_what_it_would_require() {
    let pkg_info = "Metadata-Version: 2.4\nName: alpha\nVersion: 2.0\nRequires-Dist: beta>=2\n";
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::fast(),
    ));
    let mut header = tar::Header::new_gnu();
    header.set_size(pkg_info.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "alpha-2.0/PKG-INFO", pkg_info.as_bytes())
        .expect("memory");
    let bytes = archive
        .into_inner()
        .and_then(flate2::write::GzEncoder::finish)
        .expect("memory");
    let index = IndexServer::builder()
        .project("alpha")
        .file(ServedFile {
            filename: "alpha-2.0.tar.gz".to_owned(),
            bytes: Some(bytes),
            metadata: None,
            page: json!({}),
        })
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[]);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 1
    ----- stdout
    alpha cannot be added to dir:base:

      1. you ask for alpha
      2. alpha 2.0 has no wheel, only a source distribution, which would have to be built inside the image; alpha 2.0 would require beta>=2

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 0 distributions
    ");
    let json = desk.resolve_json(&["dir:base", "alpha"]).expect(1).json();
    assert_eq!(json["facts"][1]["requirements"], json!(["beta>=2"]));
}

#[test]
fn a_snapshot_is_made_of_what_was_there_in_time() {
    let index = three();
    let desk = Desk::at(&index);
    desk.write("pins.txt", "alpha==2.0\n");
    let known = |end: &str| {
        let arguments = ["catalog", "snapshot", "pins.txt", "--base", "own:1"];
        let of_own = ["--python", "3.10.13", "--libc", "glibc:2.35"];
        let run = desk.run(&[&arguments[..], &of_own, &["--exclude-newer", end]].concat());
        run.expect(0).json()["distributions"][0]["metadata_from"].clone()
    };
    assert_eq!(known("2025-05-01"), "wheel");
    assert_eq!(known("2025-04-30"), "none");
}
