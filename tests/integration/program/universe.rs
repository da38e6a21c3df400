//! Small made-up indexes on small made-up bases: what the request, the index and the base may say to each other.

use insta::assert_snapshot;

use super::lay_base;
use crate::support::index_server::IndexServer;
use crate::support::program::Desk;

#[test]
fn an_extra_brings_in_what_it_requires() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel(
            "1.0",
            "Provides-Extra: fast\nRequires-Dist: beta>=1 ; extra == 'fast'",
        )
        .project("beta")
        .wheel("1.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha[fast]"]), @"
    status: 0
    ----- stdout
    alpha 1.0 fits dir:base: 2 distributions to add, nothing of the base changes

    Added        Version  Required by
    alpha[fast]  1.0      the request
    beta         1.0      alpha (>=1)

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    let json = desk.resolve_json(&["dir:base", "Alpha[FAST]>=1"]);
    assert_eq!(json.pins(), ["alpha==1.0", "beta==1.0"]);
    assert_eq!(json.json()["added"][0]["extras"][0], "fast");

    let unknown = desk
        .resolve_json(&["dir:base", "alpha[slow]"])
        .expect(0)
        .tells("warning: alpha 1.0 has no extra `slow`");
    assert_eq!(unknown.pins(), ["alpha==1.0"]);
}

#[test]
fn an_extra_of_a_held_distribution_is_added_to_it() {
    let index = IndexServer::builder()
        .project("beta")
        .wheel("1.0", "")
        .wheel("2.0", "")
        .start();
    let desk = Desk::at(&index);
    let alpha = "Provides-Extra: fast\nRequires-Dist: beta<2 ; extra == 'fast'";
    lay_base(&desk, &[("alpha", "1.0", alpha)]);
    let run = desk.resolve_json(&["dir:base", "alpha[fast]"]).expect(0);
    assert_eq!(run.pins(), ["beta==1.0"]);
    desk.resolve(&["dir:base", "alpha[slow]"])
        .expect(0)
        .says("nothing to add")
        .tells("warning: alpha 1.0 has no extra `slow`");
    assert_eq!(index.count("/simple/alpha/"), 0, "held: nothing to ask");
}

#[test]
fn what_the_base_has_is_not_asked_for() {
    let index = IndexServer::builder()
        .project("six")
        .wheel("2.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    assert_snapshot!(desk.resolve(&["dir:base", "six>=1"]), @"
    status: 0
    ----- stdout
    six 1.16.0 fits dir:base: the base has all of it, nothing to add

    Held by the base  Version  Required by
    six               1.16.0   the request (>=1)

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "six>=1", "--format", "requirements"]), @"
    status: 0
    ----- stdout
    # What to add to dir:base for six>=1.
    # Python 3.10.13. Install with: pip install --no-deps --require-hashes -r FILE
    # The base has all of it: nothing to add.
    ");
    let json = desk.resolve_json(&["dir:base", "six"]).expect(0).json();
    assert_eq!(json["requested"][0]["held"], true);
    assert_eq!(json["requested"][0]["version"], "1.16.0");
    assert_eq!(index.paths(), [""; 0]);
}

#[test]
fn a_request_that_contradicts_the_base_is_told_who_needs_the_pin() {
    let index = IndexServer::builder()
        .project("protobuf")
        .wheel("7.0", "")
        .start();
    let desk = Desk::at(&index);
    let tensorflow = "Requires-Dist: protobuf>=3.20,<4";
    lay_base(
        &desk,
        &[
            ("protobuf", "3.20.3", ""),
            ("tensorflow", "2.15.1", tensorflow),
        ],
    );
    assert_snapshot!(desk.resolve(&["dir:base", "protobuf>=4"]), @"
    status: 1
    ----- stdout
    protobuf>=4 does not fit dir:base as long as nothing of the base changes:

      1. you ask for protobuf>=4
      2. the base has protobuf 3.20.3; tensorflow 2.15.1 needs protobuf<4

    What would fit (found by solving)
      protobuf 3.20.3, which the base has
      the request as it is, without tensorflow in the base: imgtool resolve dir:base 'protobuf>=4' -i [INDEX]/simple/ --policy minimal --allow-remove tensorflow

    Base: dir:base, Python 3.10.13, 2 distributions
    ");
}

#[test]
fn a_chain_is_followed_down_to_the_pin() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta")
        .wheel("0.9", "")
        .project("beta")
        .wheel("1.0", "Requires-Dist: gamma>=1")
        .project("gamma")
        .wheel("1.0", "Requires-Dist: delta")
        .wheel("1.1", "Requires-Dist: delta>=1")
        .project("delta")
        .wheel("1.0", "Requires-Dist: held>=2")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("held", "1.5", "")]);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha>=1"]), @"
    status: 1
    ----- stdout
    alpha>=1 does not fit dir:base as long as nothing of the base changes:

      1. you ask for alpha>=1
      2. alpha 1.0 needs beta
      3. beta 1.0 needs gamma>=1
      4. gamma 1.1 needs delta>=1; gamma 1.0 needs delta
      5. delta 1.0 needs held>=2
      6. the base has held 1.5; nothing there needs it

    What would fit (found by solving)
      alpha 0.9, the newest that fits: imgtool resolve dir:base alpha==0.9 -i [INDEX]/simple/

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    // Without the bound an older one will do.
    let run = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
    assert_eq!(run.pins(), ["alpha==0.9"]);
}

#[test]
fn requests_that_contradict_each_other_are_told_apart_from_the_base() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: common<2")
        .project("beta")
        .wheel("1.0", "Requires-Dist: common>=2")
        .project("common")
        .wheel("1.0", "")
        .wheel("2.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha", "beta"]), @"
    status: 1
    ----- stdout
    alpha and beta cannot be added to dir:base:

      1. you ask for alpha
      2. you ask for beta
      3. alpha 1.0 needs common<2
      4. beta 1.0 needs common>=2

    What would fit (found by solving)
      nothing, whichever of the requirements is left without bounds

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "common<2", "common>=2"]), @"
    status: 1
    ----- stdout
    common<2 and common>=2 cannot be added to dir:base:

      1. you ask for common<2
      2. you ask for common>=2

    What would fit (found by solving)
      common 2.0, the newest that fits: imgtool resolve dir:base common==2.0 -i [INDEX]/simple/

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
}

#[test]
fn what_the_base_requires_of_a_missing_project_binds_it() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: missing")
        .project("missing")
        .wheel("1.0", "")
        .wheel("2.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("tool", "1.0", "Requires-Dist: missing<2")]);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 0
    ----- stdout
    alpha 1.0 fits dir:base: 2 distributions to add, nothing of the base changes

    Added    Version  Required by
    alpha    1.0      the request
    missing  1.0      alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ----- stderr
    warning: already broken in the base: tool 1.0 requires missing<2, which is not installed
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "missing>=2"]), @"
    status: 1
    ----- stdout
    missing>=2 does not fit dir:base as long as nothing of the base changes:

      1. you ask for missing>=2
      2. tool 1.0 of the base needs missing<2

    What would fit (found by solving)
      missing 1.0, the newest that fits: imgtool resolve dir:base missing==1.0 -i [INDEX]/simple/
      the request as it is, without tool in the base: imgtool resolve dir:base 'missing>=2' -i [INDEX]/simple/ --policy minimal --allow-remove tool

    Base: dir:base, Python 3.10.13, 1 distribution
    ----- stderr
    warning: already broken in the base: tool 1.0 requires missing<2, which is not installed
    ");
}

#[test]
fn what_the_base_breaks_by_itself_is_a_warning() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: six")
        .start();
    let desk = Desk::at(&index);
    lay_base(
        &desk,
        &[
            ("six", "1.16.0", ""),
            ("tool", "1.0", "Requires-Dist: six>=2\nRequires-Dist: gone"),
        ],
    );
    let run = desk
        .resolve_json(&["dir:base", "alpha"])
        .expect(0)
        .tells("warning: already broken in the base: tool 1.0 requires six>=2, but six 1.16.0 is installed")
        .tells("warning: already broken in the base: tool 1.0 requires gone, which is not installed");
    let violations = &run.json()["base_violations"];
    assert_eq!(violations[0]["distribution"], "tool");
    assert_eq!(violations[0]["installed"], serde_json::Value::Null);
    assert_eq!(violations[1]["installed"], "1.16.0");
    assert_eq!(violations[1]["requirement"], "six>=2");
}

#[test]
fn a_local_version_satisfies_the_public_one() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: torch==2.8.0")
        .project("torch")
        .wheel("2.8.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("torch", "2.8.0+cu126", "")]);
    let run = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
    assert_eq!(run.pins(), ["alpha==1.0"]);
    assert_eq!(run.json()["held"][0]["version"], "2.8.0+cu126");
    desk.resolve(&["dir:base", "torch==2.8.0"]).expect(0);
    desk.resolve(&["dir:base", "torch==2.8.0+cu118"])
        .expect(1)
        .says("the base has torch 2.8.0+cu126");
}

#[test]
fn what_no_index_knows_is_held_as_well() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: in-house>=1.dev0")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("In_House", "1.0.dev3+g1234", "")]);
    let run = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
    assert_eq!(run.json()["held"][0]["name"], "in-house");
    assert_eq!(run.json()["held"][0]["version"], "1.0.dev3+g1234");
    assert_eq!(index.count("/simple/in-house/"), 0);
}

#[test]
fn direct_references_are_refused() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel(
            "1.0",
            "Requires-Dist: beta @ https://files.invalid/beta-1.0-py3-none-any.whl",
        )
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    assert_snapshot!(desk.resolve(&["dir:base", "beta @ https://files.invalid/beta-1.0-py3-none-any.whl"]), @"
    status: 2
    ----- stderr
    error: the request `beta @ https://files.invalid/beta-1.0-py3-none-any.whl` is a direct reference
    hint: imgtool solves for wheels of an index; ask for the project by name and version, or publish the file to an index of your own and name that with `--extra-index-url`
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "https://files.invalid/beta-1.0-py3-none-any.whl"]), @"
    status: 2
    ----- stderr
    error: `https://files.invalid/beta-1.0-py3-none-any.whl` is not a requirement: URL requirement must be preceded by a package name
    hint: files, folders and addresses cannot be asked for: imgtool solves for wheels of an index; a file of requirements is read with `-r`
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "./beta-1.0-py3-none-any.whl"]), @"
    status: 2
    ----- stderr
    error: `./beta-1.0-py3-none-any.whl` is not a requirement: `.` does not end in a letter or a digit
    hint: files, folders and addresses cannot be asked for: imgtool solves for wheels of an index; a file of requirements is read with `-r`
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 1
    ----- stdout
    alpha cannot be added to dir:base:

      1. you ask for alpha
      2. alpha 1.0 cannot be used: it requires `beta @ https://files.invalid/beta-1.0-py3-none-any.whl`, which is not a version on an index

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
}

#[test]
fn a_malformed_requirement_is_bad_input() {
    let desk = Desk::without_index();
    assert_snapshot!(desk.resolve(&["tfx:1.16.0", "mlflow>="]), @"
    status: 2
    ----- stderr
    error: `mlflow>=` is not a requirement: unexpected end of version specifier, expected version
    hint: a requirement is a project with optional extras, versions and marker, such as `mlflow-skinny>=3,<4`; quote it, because `<` and `>` mean something to a shell
    ");
    assert_snapshot!(desk.resolve(&["tfx:1.16.0", "ml flow"]), @"
    status: 2
    ----- stderr
    error: `ml flow` is not a requirement: expected one of `@`, `(`, `<`, `=`, `>`, `~`, `!`, `;`, found `f`
    hint: a requirement is a project with optional extras, versions and marker, such as `mlflow-skinny>=3,<4`; quote it, because `<` and `>` mean something to a shell
    ");
    assert_snapshot!(desk.resolve(&["tfx:1.16.0", ""]), @"
    status: 2
    ----- stderr
    error: `` is not a requirement: it is empty
    hint: a requirement is a project with optional extras, versions and marker, such as `mlflow-skinny>=3,<4`; quote it, because `<` and `>` mean something to a shell
    ");
    assert_snapshot!(desk.resolve(&["tfx:1.16.0", "mlflow=2.1"]), @r#"
    status: 2
    ----- stderr
    error: `mlflow=2.1` is not a requirement: no such comparison operator "=", must be one of ~= == != <= >= < > ===
    hint: an exact version is asked for with two equals signs, such as `mlflow==2.22.0`
    "#);
    assert_snapshot!(desk.resolve(&["tfx:1.16.0"]), @"
    status: 2
    ----- stderr
    error: nothing to resolve: no requirement was given
    hint: name what you need, such as `imgtool resolve tfx:1.16.0 mlflow-skinny`, or a file of requirements with `-r`
    ");
}

#[test]
fn a_marker_that_does_not_hold_is_left_out_with_a_note() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    let run = desk
        .resolve_json(&[
            "dir:base",
            "alpha ; python_version >= '3.10'",
            "gone ; sys_platform == 'win32'",
        ])
        .expect(0)
        .tells("note: `gone ; sys_platform == 'win32'` does not apply to Python 3.10.13 on this base and is left out");
    assert_eq!(run.pins(), ["alpha==1.0"]);
    assert_eq!(run.json()["requested"].as_array().map(Vec::len), Some(1));
    assert_snapshot!(desk.resolve(&["dir:base", "gone ; sys_platform == 'win32'"]), @"
    status: 0
    ----- stdout
    nothing to add to dir:base: no requirement applies to it

    Base: dir:base, Python 3.10.13, 1 distribution
    ----- stderr
    note: `gone ; sys_platform == 'win32'` does not apply to Python 3.10.13 on this base and is left out
    ");
}

#[test]
fn constraints_bind_what_comes_in_and_nothing_else() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta")
        .project("beta")
        .wheel("1.0", "")
        .wheel("2.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    desk.write(
        "bounds.txt",
        "# a comment\nbeta<2\nunrelated==9\nsix<1.16\n",
    );
    // The base has a six that the constraint would rule out, but nobody asks for it.
    let run = desk
        .resolve_json(&["dir:base", "alpha", "-c", "bounds.txt"])
        .expect(0);
    assert_eq!(run.pins(), ["alpha==1.0", "beta==1.0"]);
    assert_snapshot!(desk.resolve(&["dir:base", "beta>=2", "-c", "bounds.txt"]), @"
    status: 1
    ----- stdout
    beta>=2 cannot be added to dir:base:

      1. you ask for beta>=2
      2. beta 2.0 is ruled out by the constraint beta<2 (bounds.txt:2)

    What would fit (found by solving)
      beta 1.0, the newest that fits: imgtool resolve dir:base beta==1.0 -c bounds.txt -i [INDEX]/simple/
      beta 2.0, without the constraint beta<2 (bounds.txt:2)

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "six", "-c", "bounds.txt"]), @"
    status: 1
    ----- stdout
    six does not fit dir:base as long as nothing of the base changes:

      1. you ask for six
      2. the base has six 1.16.0; the constraint six<1.16 (bounds.txt:4) rules that out

    What would fit (found by solving)
      six 1.16.0, without the constraint six<1.16 (bounds.txt:4)

    Base: dir:base, Python 3.10.13, 1 distribution
    ----- stderr
    warning: no file of six is offered by [INDEX]/simple/
    ");
}

#[test]
fn what_is_asked_twice_is_answered_once() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel(
            "1.0",
            "Provides-Extra: fast\nRequires-Dist: beta ; extra == 'fast'",
        )
        .wheel("2.0", "Provides-Extra: fast")
        .project("beta")
        .wheel("1.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    assert_snapshot!(desk.resolve(&["dir:base", "Alpha", "alpha[fast]<2", "alpha"]), @"
    status: 0
    ----- stdout
    alpha 1.0 fits dir:base: 2 distributions to add, nothing of the base changes

    Added        Version  Required by
    alpha[fast]  1.0      the request (<2)
    beta         1.0      alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "alpha[fast]>=3", "six>=2"]), @"
    status: 1
    ----- stdout
    alpha[fast]>=3 and six>=2 do not fit dir:base as long as nothing of the base changes:

      1. you ask for six>=2
      2. the base has six 1.16.0; nothing there needs it

    What would fit (found by solving)
      nothing, whichever of the requirements is left without bounds

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "alpha[fast]>=3"]), @"
    status: 1
    ----- stdout
    alpha[fast]>=3 cannot be added to dir:base:

      1. you ask for alpha[fast]>=3
      2. the index has no such version of alpha; its newest is 2.0

    What would fit (found by solving)
      alpha[fast] 2.0, the newest that fits: imgtool resolve dir:base 'alpha[fast]==2.0' -i [INDEX]/simple/

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
}

#[test]
fn an_extra_that_meets_the_base_is_named_in_the_reason() {
    let index = IndexServer::builder()
        .project("alpha")
        .wheel(
            "1.0",
            "Provides-Extra: fast\nRequires-Dist: six>=2 ; extra == 'fast'",
        )
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    desk.resolve(&["dir:base", "alpha"]).expect(0);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha[fast]"]), @"
    status: 1
    ----- stdout
    alpha[fast] does not fit dir:base as long as nothing of the base changes:

      1. you ask for alpha[fast]
      2. alpha[fast] 1.0 needs six>=2
      3. the base has six 1.16.0; nothing there needs it

    What would fit (found by solving)
      no version of alpha[fast]

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
    // Where a file of pins is expected the reason goes to stderr: prose must not end up in the file.
    let run = desk.resolve(&["dir:base", "alpha[fast]", "--format", "requirements"]);
    let run = run.expect(1);
    assert_eq!(run.stdout, "");
    assert_eq!(
        run.stderr,
        desk.resolve(&["dir:base", "alpha[fast]"]).stdout
    );
}

#[test]
fn what_the_base_requires_by_an_extra_binds_as_well() {
    let index = IndexServer::builder()
        .project("missing")
        .wheel("1.0", "")
        .wheel("2.0", "")
        .start();
    let desk = Desk::at(&index);
    lay_base(
        &desk,
        &[
            ("tool", "1.0", "Requires-Dist: six[fast]"),
            (
                "six",
                "1.16.0",
                "Provides-Extra: fast\nProvides-Extra: slow\nRequires-Dist: missing<2 ; extra == 'fast'\nRequires-Dist: missing<1 ; extra == 'slow'",
            ),
        ],
    );
    let run = desk.resolve_json(&["dir:base", "missing"]).expect(0);
    assert_eq!(run.pins(), ["missing==1.0"]);
    assert_snapshot!(desk.resolve(&["dir:base", "six[slow]"]), @"
    status: 1
    ----- stdout
    six[slow] cannot be added to dir:base:

      1. you ask for six[slow]
      2. six[slow] 1.16.0 needs missing<1
      3. the index has no such version of missing; its newest is 2.0

    What would fit (found by solving)
      no version of six[slow]

    Base: dir:base, Python 3.10.13, 2 distributions
    ----- stderr
    warning: already broken in the base: six 1.16.0 requires missing<2, which is not installed
    ");
}

#[test]
fn versions_that_fail_one_after_the_other_are_joined() {
    let mut builder = IndexServer::builder().project("alpha");
    for minor in 0..30 {
        builder = builder.wheel(&format!("1.{minor}"), "Requires-Dist: six>=2");
    }
    let index = builder
        .behaviour(|behaviour| behaviour.pep658 = true)
        .start();
    let desk = Desk::at(&index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 1
    ----- stdout
    alpha does not fit dir:base as long as nothing of the base changes:

      1. you ask for alpha
      2. every version of alpha needs six>=2
      3. the base has six 1.16.0; nothing there needs it

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ");
}
