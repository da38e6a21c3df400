//! What installers read: requirements with hashes, constraints, lock files.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use imgtool::command::Talk;
use imgtool::command::resolve_output::{Format, Forms, Found, left_to_do};
use imgtool::report::annotations::Annotations;
use imgtool::report::constraints::constraints;
use imgtool::report::pylock::pylock;
use imgtool::report::requirements::requirements;
use imgtool::resolution::base::BaseFacts;
use imgtool::resolution::{Outcome, Resolution};

use super::{base, name, request, resolution};

fn annotations(resolution: &Resolution) -> Annotations {
    let (_, environment) = base();
    Annotations::of(resolution, &request(), &BaseFacts::of(&environment))
}

#[test]
fn requirements_pin_what_changes_and_say_what_they_cannot_do() {
    let (label, mut environment) = base();
    environment.interpreter.externally_managed = true;
    let resolution = resolution();
    let text = requirements(&resolution, &label, &environment, None).expect("hashes");
    assert_snapshot!(text, @r"
    # What to add to registry.example/team/train:2.1 and to change in it for mlflow==2.1.0 pyyaml.
    # The base is known from the image docker://registry.example/team/train:2.1, which is sha256:5555555555555555555555555555555555555555555555555555555555555555.
    # Python 3.10.13. Install with: pip install --no-deps --require-hashes -r FILE
    # The base is marked as externally managed: pip needs --break-system-packages there.
    # Changes of the base, which the same command makes:
    #   importlib-metadata 8.4.0 -> 5.2.0 (downgrade)
    #   opentelemetry-api 1.27.0 -> 1.29.0
    #   torch 2.8.0+cu126 -> 2.8.0 (downgrade)
    # Removals, which it does not make; run first: pip uninstall -y docker
    # remove: docker
    alembic==1.13.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    importlib-metadata==5.2.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    mlflow==2.1.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
        --hash=sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    opentelemetry-api==1.29.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    torch===2.8.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    ");
    // Whatever stands between the lines, the pins are the same.
    let annotated = requirements(
        &resolution,
        &label,
        &environment,
        Some(&annotations(&resolution)),
    )
    .expect("hashes");
    let without_comments = |text: &str| {
        text.lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(without_comments(&annotated), without_comments(&text));
    assert_snapshot!(annotated, @r"
    # What to add to registry.example/team/train:2.1 and to change in it for mlflow==2.1.0 pyyaml.
    # The base is known from the image docker://registry.example/team/train:2.1, which is sha256:5555555555555555555555555555555555555555555555555555555555555555.
    # Python 3.10.13. Install with: pip install --no-deps --require-hashes -r FILE
    # The base is marked as externally managed: pip needs --break-system-packages there.
    # Changes of the base, which the same command makes:
    #   importlib-metadata 8.4.0 -> 5.2.0 (downgrade)
    #   opentelemetry-api 1.27.0 -> 1.29.0
    #   torch 2.8.0+cu126 -> 2.8.0 (downgrade)
    # Removals, which it does not make; run first: pip uninstall -y docker
    # remove: docker
    alembic==1.13.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        # via mlflow
    importlib-metadata==5.2.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        # via
        #   mlflow
        #   opentelemetry-api
    mlflow==2.1.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
        --hash=sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
        # via the request
    opentelemetry-api==1.29.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    torch===2.8.0 \
        --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        # via the request
    ");
}

#[test]
fn constraints_hold_the_whole_result() {
    let (label, environment) = base();
    let resolution = resolution();
    assert_snapshot!(constraints(&resolution, &label, &environment, None), @"
    # What is in registry.example/team/train:2.1 once it has mlflow==2.1.0 pyyaml.
    # The base is known from the image docker://registry.example/team/train:2.1, which is sha256:5555555555555555555555555555555555555555555555555555555555555555.
    # Python 3.10.13. Constraints, for: pip install -c FILE REQUIREMENT
    alembic==1.13.0
    importlib-metadata==5.2.0
    # legacy 1.0-custom_build has a version that no installer takes
    mlflow==2.1.0
    opentelemetry-api==1.29.0
    packaging==24.1
    pyyaml==6.0.2
    rc==2.0rc1
    torch==2.8.0
    ");
    let annotations = annotations(&resolution);
    let annotated = constraints(&resolution, &label, &environment, Some(&annotations));
    assert_snapshot!(annotated, @"
    # What is in registry.example/team/train:2.1 once it has mlflow==2.1.0 pyyaml.
    # The base is known from the image docker://registry.example/team/train:2.1, which is sha256:5555555555555555555555555555555555555555555555555555555555555555.
    # Python 3.10.13. Constraints, for: pip install -c FILE REQUIREMENT
    alembic==1.13.0
        # via mlflow
    importlib-metadata==5.2.0
        # via
        #   mlflow
        #   opentelemetry-api
    # legacy 1.0-custom_build has a version that no installer takes
    mlflow==2.1.0
        # via the request
    opentelemetry-api==1.29.0
    packaging==24.1
        # via
        #   mlflow
        #   rc
    pyyaml==6.0.2
        # via
        #   -r deep/requirements.txt
        #   mlflow
    rc==2.0rc1
    torch==2.8.0
        # via the request
    ");
}

/// The lock file of an index that does not tell everything.
fn lock_file() -> String {
    let (label, environment) = base();
    let mut resolution = resolution();
    // Of several wheels, one for which nobody vouches is left out.
    let mut nameless = super::wheel("mlflow-2.1.0-cp310-none-any.whl", "c");
    nameless.sha256 = None;
    resolution.added[1].compatible.push(nameless);
    // What is no specifier, and what an index does not tell, is left out as well.
    resolution.added[0].compatible[0].upload_time = None;
    resolution.added[0].compatible[0].size = None;
    resolution.added[0].wheel.requires_python = Some("banana".to_owned());
    let indexes: BTreeMap<_, _> = resolution
        .pins()
        .iter()
        .filter(|pin| pin.name != name("torch"))
        .map(|pin| {
            let index = "https://index.invalid/simple/".to_owned();
            (pin.name.clone(), index)
        })
        .collect();
    pylock(&resolution, &label, &environment, &indexes).expect("hashes")
}

#[test]
fn a_lock_file_has_what_must_be_installed() {
    let text = lock_file();
    assert_snapshot!(text, @r#"
    # What must be installed in registry.example/team/train:2.1; what it has already is not listed.
    # Install with: uv pip install --no-deps -r pylock.toml (never with `uv pip sync`, which would remove the base)
    # remove: docker (no lock file removes anything: `pip uninstall -y docker`)
    # pip takes torch 2.8.0+cu126 for 2.8.0: it needs --force-reinstall to change it, uv does not.
    lock-version = "1.0"
    environments = ["python_version == '3.10' and implementation_name == 'cpython' and sys_platform == 'linux' and platform_machine == 'x86_64'"]
    requires-python = "==3.10.*"
    created-by = "imgtool"

    [[packages]]
    name = "alembic"
    version = "1.13.0"
    index = "https://index.invalid/simple/"
    wheels = [
        {name = "alembic-1.13.0-py3-none-any.whl", url = "https://files.invalid/packages/alembic-1.13.0-py3-none-any.whl", hashes = {sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},
    ]

    [[packages]]
    name = "importlib-metadata"
    version = "5.2.0"
    requires-python = ">=3.8"
    index = "https://index.invalid/simple/"
    wheels = [
        {name = "importlib_metadata-5.2.0-py3-none-any.whl", upload-time = 2023-11-14T22:13:20.123Z, url = "https://files.invalid/packages/importlib_metadata-5.2.0-py3-none-any.whl", size = 1234, hashes = {sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},
    ]

    [packages.tool.imgtool]
    replaces = "8.4.0"

    [[packages]]
    name = "mlflow"
    version = "2.1.0"
    requires-python = ">=3.8"
    dependencies = [
        {name = "alembic"},
        {name = "importlib-metadata"},
    ]
    index = "https://index.invalid/simple/"
    wheels = [
        {name = "mlflow-2.1.0-cp310-cp310-manylinux_2_17_x86_64.whl", upload-time = 2023-11-14T22:13:20.123Z, url = "https://files.invalid/packages/mlflow-2.1.0-cp310-cp310-manylinux_2_17_x86_64.whl", size = 1234, hashes = {sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}},
        {name = "mlflow-2.1.0-py3-none-any.whl", upload-time = 2023-11-14T22:13:20.123Z, url = "https://files.invalid/packages/mlflow-2.1.0-py3-none-any.whl", size = 1234, hashes = {sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},
    ]

    [[packages]]
    name = "opentelemetry-api"
    version = "1.29.0"
    requires-python = ">=3.8"
    dependencies = [
        {name = "importlib-metadata"},
    ]
    index = "https://index.invalid/simple/"
    wheels = [
        {name = "opentelemetry_api-1.29.0-py3-none-any.whl", upload-time = 2023-11-14T22:13:20.123Z, url = "https://files.invalid/packages/opentelemetry_api-1.29.0-py3-none-any.whl", size = 1234, hashes = {sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},
    ]

    [packages.tool.imgtool]
    replaces = "1.27.0"

    [[packages]]
    name = "torch"
    version = "2.8.0"
    requires-python = ">=3.8"
    wheels = [
        {name = "torch-2.8.0-py3-none-any.whl", upload-time = 2023-11-14T22:13:20.123Z, url = "https://files.invalid/packages/torch-2.8.0-py3-none-any.whl", size = 1234, hashes = {sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},
    ]

    [packages.tool.imgtool]
    replaces = "2.8.0+cu126"

    [tool.imgtool]
    base = "registry.example/team/train:2.1"
    image = "docker://registry.example/team/train:2.1"
    digest = "sha256:5555555555555555555555555555555555555555555555555555555555555555"
    python = "3.10.13"
    requested = ["mlflow==2.1.0", "pyyaml"]
    removed = ["docker"]
    held = [
        {name = "packaging", version = "24.1"},
        {name = "pyyaml", version = "6.0.2"},
    ]
    "#);
}

#[test]
fn a_parser_reads_what_the_lock_file_says() {
    let (_, environment) = base();
    let document: toml::Table = lock_file().parse().expect("TOML");
    assert_eq!(document["lock-version"].as_str(), Some("1.0"));
    let packages = document["packages"].as_array().expect("an array");
    let names: Vec<&str> = packages
        .iter()
        .map(|package| package["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "alembic",
            "importlib-metadata",
            "mlflow",
            "opentelemetry-api",
            "torch"
        ]
    );
    let wheels = packages[2]["wheels"].as_array().expect("an array");
    assert_eq!(wheels.len(), 2);
    assert_eq!(
        wheels[0]["upload-time"]
            .as_datetime()
            .map(ToString::to_string),
        Some("2023-11-14T22:13:20.123Z".to_owned())
    );
    let depends: Vec<&str> = packages[2]["dependencies"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|dependency| dependency["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(depends, ["alembic", "importlib-metadata"]);
    assert_eq!(
        packages[1]["tool"]["imgtool"]["replaces"].as_str(),
        Some("8.4.0")
    );
    let markers = document["environments"][0].as_str().expect("a marker");
    let requirement = super::requirement(&format!("x ; {markers}"));
    assert!(requirement.applies(&environment.markers), "{markers}");
    let (_, other) = base();
    let other = imgtool::packaging::marker_environment::for_cpython_on_linux(
        "3.11.2",
        &other.platform.architecture,
    )
    .expect("markers");
    assert!(!requirement.applies(&other));
}

#[test]
fn what_no_file_can_do_is_told() {
    let found = Found::Outcome(Outcome::Resolution(resolution()));
    let told = |stdout, file| -> Vec<String> {
        left_to_do(&found, Forms { stdout, file })
            .into_iter()
            .map(|line| match line {
                Talk::Warning(text) => text,
                other => panic!("no warning: {other:?}"),
            })
            .collect()
    };
    assert_eq!(told(Format::Text, Format::Text), [""; 0]);
    assert_eq!(told(Format::Text, Format::Constraints), [""; 0]);
    let removal = "no such file removes anything: run `pip uninstall -y docker` first";
    assert_eq!(told(Format::Text, Format::Requirements), [removal]);
    assert_eq!(
        told(Format::Pylock, Format::Pylock),
        [
            removal,
            "pip takes torch 2.8.0+cu126 for 2.8.0 in a lock file: it needs `--force-reinstall` to change it, uv does not"
        ]
    );
}

#[test]
fn texts_of_strangers_cannot_leave_their_strings() {
    let (mut label, environment) = base();
    label.reference = "dir:a\"b\\c\nlock-version = \"9\"\u{1b}[31m".to_owned();
    let mut resolution = resolution();
    resolution.added[0].compatible[0].url = "https://files.invalid/\"]\n[x]\\u.whl".to_owned();
    let text = pylock(&resolution, &label, &environment, &BTreeMap::new()).expect("hashes");
    let document: toml::Table = text.parse().expect("TOML");
    assert_eq!(document["lock-version"].as_str(), Some("1.0"));
    assert!(!document.contains_key("x"));
    assert_eq!(
        document["packages"][0]["wheels"][0]["url"].as_str(),
        Some("https://files.invalid/\"]\n[x]\\u.whl")
    );
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn an_answer_that_needs_nothing_is_a_lock_file_too() {
    let (label, environment) = base();
    let mut resolution = resolution();
    resolution.added.clear();
    resolution.changed.clear();
    resolution.removed.clear();
    let text = pylock(&resolution, &label, &environment, &BTreeMap::new()).expect("hashes");
    let document: toml::Table = text.parse().expect("TOML");
    assert_eq!(document["packages"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        document["tool"]["imgtool"]["held"][1]["version"].as_str(),
        Some("6.0.2")
    );
}
