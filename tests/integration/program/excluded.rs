//! Versions that an index offers and that cannot be installed on the base, and what is said of them.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::lay_base;
use crate::support::index_server::{Builder, IndexServer, ServedFile};
use crate::support::program::Desk;
use crate::support::wheel;

trait Files {
    /// Adds a wheel of the present project, with these tags and this said of it in the page.
    fn tagged(self, name: &str, version: &str, tags: &str, page: Value) -> Self;
    /// Adds a source distribution.
    fn source(self, name: &str, version: &str) -> Self;
}

impl Files for Builder {
    fn tagged(self, name: &str, version: &str, tags: &str, page: Value) -> Self {
        let filename = format!("{name}-{version}-{tags}.whl");
        self.wheel_file(&filename, wheel::metadata(name, version, ""), page)
    }

    fn source(self, name: &str, version: &str) -> Self {
        self.file(ServedFile {
            filename: format!("{name}-{version}.tar.gz"),
            bytes: Some(b"no archive".to_vec()),
            metadata: None,
            page: json!({}),
        })
    }
}

fn desk(builder: Builder) -> (Desk, IndexServer) {
    let index = builder.start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    (desk, index)
}

#[test]
fn an_unknown_project() {
    let (desk, index) = desk(
        IndexServer::builder()
            .project("alpha")
            .wheel("1.0", "Requires-Dist: nosuch>=2"),
    );
    assert_snapshot!(desk.resolve(&["dir:base", "nosuch"]), @"
    status: 1
    ----- stdout
    nosuch cannot be added to dir:base:

      1. you ask for nosuch
      2. no index has a project named nosuch, and the base does not have it

    What would fit (found by solving)
      no version of nosuch

    Base: dir:base, Python 3.10.13, 1 distribution
    ----- stderr
    warning: no file of nosuch is offered by [INDEX]/simple/
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 1
    ----- stdout
    alpha cannot be added to dir:base:

      1. you ask for alpha
      2. alpha 1.0 needs nosuch>=2
      3. no index has a project named nosuch, and the base does not have it

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    assert_eq!(index.count("/simple/nosuch/"), 1, "the second run knows");
}

#[test]
fn only_source_distributions() {
    let (desk, _index) = desk(
        IndexServer::builder()
            .project("alpha")
            .source("alpha", "1.0")
            .source("alpha", "1.1"),
    );
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 1
    ----- stdout
    alpha cannot be added to dir:base:

      1. you ask for alpha
      2. alpha 1.0 and 1.1 have no wheel, only a source distribution, which would have to be built inside the image

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
}

#[test]
fn only_wheels_of_other_platforms() {
    let (desk, _index) = desk(
        IndexServer::builder()
            .project("alpha")
            .tagged("alpha", "1.0", "cp310-cp310-win_amd64", json!({}))
            .tagged("alpha", "1.0", "cp310-cp310-macosx_11_0_arm64", json!({}))
            .tagged(
                "alpha",
                "1.1",
                "cp310-cp310-manylinux_2_35_x86_64",
                json!({}),
            )
            .source("alpha", "1.1")
            .tagged(
                "alpha",
                "1.2",
                "cp312-cp312-manylinux_2_17_x86_64",
                json!({}),
            ),
    );
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 1
    ----- stdout
    alpha does not fit dir:base as long as nothing of the base changes:

      1. you ask for alpha
      2. alpha 1.0 and 1.2 have no wheel for CPython 3.10 on x86_64, glibc 2.31; alpha 1.1 has no wheel for CPython 3.10 on x86_64, glibc 2.31; the source distribution would have to be built inside the image

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
}

#[test]
fn only_for_other_versions_of_python() {
    let newer = || json!({"requires-python": ">=3.11"});
    let (desk, _index) = desk(
        IndexServer::builder()
            .project("alpha")
            .tagged("alpha", "2.0", "py3-none-any", newer())
            .tagged("alpha", "2.1", "py3-none-any", newer()),
    );
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 1
    ----- stdout
    alpha does not fit dir:base as long as nothing of the base changes:

      1. you ask for alpha
      2. every version of alpha from 2.0 needs Python>=3.11; the base has 3.10.13

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
}

#[test]
fn yanked_versions_are_for_who_pins_them() {
    let (desk, _index) = desk(
        IndexServer::builder()
            .project("alpha")
            .tagged(
                "alpha",
                "1.0",
                "py3-none-any",
                json!({"yanked": "broken <metadata>"}),
            )
            .project("beta")
            .tagged("beta", "1.0", "py3-none-any", json!({"yanked": true})),
    );
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 1
    ----- stdout
    alpha cannot be added to dir:base:

      1. you ask for alpha
      2. alpha 1.0 is yanked from the index (broken <metadata>)

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "beta"]), @"
    status: 1
    ----- stdout
    beta cannot be added to dir:base:

      1. you ask for beta
      2. beta 1.0 is yanked from the index

    What would fit (found by solving)
      no version of beta

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    let run = desk
        .resolve_json(&["dir:base", "alpha==1.0"])
        .expect(0)
        .tells("warning: alpha 1.0 was yanked from the index: broken <metadata>");
    assert_eq!(run.pins(), ["alpha==1.0"]);
}

#[test]
fn a_pre_release_is_taken_where_nothing_else_will_do() {
    let (desk, _index) = desk(
        IndexServer::builder()
            .project("alpha")
            .wheel("2.0rc1", "")
            .wheel("2.0b2", "")
            .project("beta")
            .wheel("1.0", "")
            .wheel("2.0a1", ""),
    );
    let pins = |asked: &str| desk.resolve_json(&["dir:base", asked]).expect(0).pins();
    assert_eq!(pins("alpha"), ["alpha==2.0rc1"]);
    assert_eq!(pins("beta"), ["beta==1.0"]);
    assert_eq!(pins("beta>=2.0a1"), ["beta==2.0a1"]);
}

#[test]
fn versions_that_do_not_exist() {
    let (desk, _index) = desk(
        IndexServer::builder()
            .project("alpha")
            .wheel("1.0", "")
            .wheel("1.1", "")
            .project("empty"),
    );
    assert_snapshot!(desk.resolve(&["dir:base", "alpha>=9"]), @"
    status: 1
    ----- stdout
    alpha>=9 cannot be added to dir:base:

      1. you ask for alpha>=9
      2. the index has no such version of alpha; its newest is 1.1

    What would fit (found by solving)
      alpha 1.1, the newest that fits: imgtool resolve dir:base alpha==1.1 -i [INDEX]/simple/

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "empty"]), @"
    status: 1
    ----- stdout
    empty cannot be added to dir:base:

      1. you ask for empty
      2. the index has no files of empty

    What would fit (found by solving)
      no version of empty

    Base: dir:base, Python 3.10.13, 1 distribution
    ----- stderr
    warning: no file of empty is offered by [INDEX]/simple/
    ");
}

#[test]
fn metadata_that_cannot_be_read() {
    let (desk, _index) = desk(
        IndexServer::builder()
            .project("alpha")
            .wheel("1.0", "")
            .wheel("2.0", "Requires-Dist: ???")
            .project("beta")
            .wheel("1.0", "Requires-Dist: ???"),
    );
    let run = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
    assert_eq!(run.pins(), ["alpha==1.0"]);
    assert_snapshot!(desk.resolve(&["dir:base", "beta"]), @"
    status: 1
    ----- stdout
    beta cannot be added to dir:base:

      1. you ask for beta
      2. beta 1.0 cannot be used: its metadata is invalid: `???` is not a requirement: expected package name starting with an alphanumeric character, found `?`

    What would fit (found by solving)
      no version of beta

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
}
