//! Pins from files: what they mean for a base, and what is wrong with them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imgtool::environment::Environment;
use imgtool::package_index::{IndexClient, IndexSettings, PackageIndex as _, Unwatched};
use imgtool::plan::{PinFile, PinnedIndex, Pins, PinsError};
use imgtool::resolution::{Outcome, Resolver};
use serde_json::json;

use crate::support::environments::environment;
use crate::support::index_server::{Builder, IndexServer};
use crate::support::wheel;

fn server() -> Builder {
    IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta>=2")
        .wheel(
            "2.0",
            "Requires-Dist: beta>=2\nRequires-Dist: gone; sys_platform == 'win32'",
        )
        .project("beta")
        .wheel("1.0", "")
        .wheel(
            "2.0",
            "Requires-Dist: held<2\nProvides-Extra: x\nRequires-Dist: delta; extra == 'x'",
        )
        .wheel("3.0", "Requires-Dist: held>=2")
        .project("held")
        .wheel("2.0", "")
        .project("tagged")
        .wheel_file(
            "tagged-1.0-cp39-cp39-manylinux_2_17_x86_64.whl",
            wheel::metadata("tagged", "1.0", ""),
            json!({}),
        )
        .wheel_file(
            "tagged-2.0-py3-none-any.whl",
            wheel::metadata("tagged", "2.0", ""),
            json!({"requires-python": ">=3.11"}),
        )
        .wheel_file(
            "tagged-3.0-py3-none-any.whl",
            wheel::metadata("tagged", "3.0", ""),
            json!({}),
        )
        .wheel_file(
            "tagged-3.0-cp310-cp310-manylinux_2_17_x86_64.whl",
            wheel::metadata("tagged", "3.0", ""),
            json!({}),
        )
}

fn base() -> Environment {
    environment("3.10.13", &[("held", "1.5", &[]), ("old", "1", &[])])
}

fn client(server: &IndexServer) -> IndexClient {
    let settings = IndexSettings {
        index_url: Some(server.index_url()),
        back_off: Duration::from_millis(1),
        ..IndexSettings::default()
    };
    IndexClient::new(settings, Arc::new(|| 1_000_000)).expect("a client")
}

fn pins(text: &str) -> Pins {
    let file = PinFile::of_requirements("pins.txt", text).expect("pins");
    file.on(&base()).expect("pins for the base")
}

fn check(server: &IndexServer, pins: &Pins) -> Result<(), PinsError> {
    PinnedIndex::new(pins, &client(server)).check(&base())
}

fn sha256(server: &IndexServer, name: &str, version: &str) -> String {
    let project = client(server)
        .project(&name.parse().expect("a name"))
        .expect("an answer")
        .expect("a project");
    let version = project
        .versions()
        .iter()
        .find(|known| known.version.to_string() == version)
        .expect("the version");
    project.files(version)[0].sha256.clone().expect("a hash")
}

/// `added`, `changed` and `removed` of what comes out of pins.
fn outcome(server: &IndexServer, pins: &Pins) -> String {
    let environment = base();
    let inner = client(server);
    let index = PinnedIndex::new(pins, &inner);
    index
        .check(&environment)
        .expect("pins that can be installed");
    let resolver = Resolver::new(&environment, &index);
    let outcome = resolver
        .resolve(&pins.to_request(), &pins.policy(&environment))
        .expect("an answer");
    let Outcome::Resolution(resolution) = outcome else {
        return "conflict".to_owned();
    };
    let mut told: Vec<String> = resolution
        .added
        .iter()
        .map(|added| format!("+{} {}", added.wheel.filename, added.version))
        .collect();
    told.extend(resolution.changed.iter().map(|change| {
        format!(
            "{} {} -> {}",
            change.to.name, change.from, change.to.version
        )
    }));
    told.extend(
        resolution
            .removed
            .iter()
            .map(|removal| format!("-{}", removal.name)),
    );
    told.extend(pins.notes(&resolution, &environment));
    told.join("\n")
}

#[test]
fn only_files_of_exact_versions_are_pins() {
    for text in [
        "alpha",
        "alpha>=1",
        "alpha==1.*",
        "alpha==1,<2",
        "alpha==1.0\n-r more.txt",
        "alpha==1.0\n-c more.txt",
        "alpha @ https://example.org/alpha-1.0-py3-none-any.whl",
        "alpha==1.0\nbeta",
        "alpha===one",
        "",
        "# a comment",
        "?",
    ] {
        assert!(PinFile::of_requirements("x", text).is_none(), "{text}");
    }
    let read = pins(
        "# What to add to base and to change in it for alpha[x]>=1 beta.\n# remove: old\n--index-url https://example.org/simple\n\
         alpha==2.0 \\\n    --hash=sha256:AA \\\n    --hash=sha512:bb\n    # via the request\nbeta===2.0\ngamma==1 ; sys_platform == 'win32'\n\
         delta==1\n",
    );
    let told: Vec<String> = read
        .pins
        .values()
        .map(|pin| {
            format!(
                "{} {:?} {} {}",
                pin.requirement, pin.sha256s, pin.requested, pin.origin
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "alpha==2.0 {\"aa\"} true pins.txt:4",
            "beta===2.0 {} true pins.txt:8",
            "delta==1 {} false pins.txt:10",
        ]
    );
    assert_eq!(read.leaving.len(), 1);
    // Where nothing tells, everything was asked for; that nothing is to be added is an answer, too.
    assert!(pins("delta==1").pins.values().all(|pin| pin.requested));
    assert!(
        pins("# Nothing is asked of base: no requirement applies to it.\n")
            .pins
            .is_empty()
    );
}

#[test]
fn pins_come_out_as_they_are() {
    let server = server().start();
    let hash = sha256(&server, "alpha", "1.0");
    let text = format!(
        "alpha==1.0 --hash=sha256:{hash} --hash=sha256:{}\nbeta==2.0\n",
        "0".repeat(64)
    );
    assert_eq!(
        outcome(&server, &pins(&text)),
        "+alpha-1.0-py3-none-any.whl 1.0\n+beta-2.0-py3-none-any.whl 2.0"
    );
    // What the base has is held unless it is pinned to something else.
    assert_eq!(
        outcome(&server, &pins("# remove: old\nbeta==3.0\nheld==2.0\n")),
        "+beta-3.0-py3-none-any.whl 3.0\nheld 1.5 -> 2.0\nold stays, although the pins say that it has to leave: nothing \
         is in its way"
    );
    assert_eq!(outcome(&server, &pins("held==1.5\n")), "");
    // Of the wheels that are pinned the one that fits best.
    assert_eq!(
        outcome(&server, &pins("tagged==3.0\n")),
        "+tagged-3.0-cp310-cp310-manylinux_2_17_x86_64.whl 3.0"
    );
}

#[test]
fn what_is_missing_is_told_and_never_completed() {
    let server = server().start();
    for (text, message) in [
        (
            "alpha==2.0",
            "the pins leave alpha 2.0's requirement `beta>=2` unsatisfied: beta is neither pinned nor in the base",
        ),
        (
            "alpha==2.0\nbeta==1.0",
            "the pins leave alpha 2.0's requirement `beta>=2` unsatisfied: beta 1.0 is pinned",
        ),
        (
            "beta==3.0",
            "the pins leave beta 3.0's requirement `held>=2` unsatisfied: the base has held 1.5",
        ),
        (
            "# remove: held\nbeta==2.0",
            "the pins leave beta 2.0's requirement `held<2` unsatisfied: held is neither pinned nor in the base",
        ),
        (
            "beta[x]==2.0",
            "the pins leave beta 2.0's requirement `delta` unsatisfied: delta is neither pinned nor in the base",
        ),
        (
            "alpha==9",
            "alpha 9 (pins.txt:1) cannot be installed: no index has that version",
        ),
        (
            "absent==9",
            "absent 9 (pins.txt:1) cannot be installed: no index has that version",
        ),
        (
            "tagged==1.0",
            "tagged 1.0 (pins.txt:1) cannot be installed: no wheel of it that is pinned fits CPython 3.10 on x86_64, glibc \
             2.36",
        ),
        (
            "tagged==2.0",
            "tagged 2.0 (pins.txt:1) cannot be installed: it requires Python >=3.11, the base has 3.10.13",
        ),
    ] {
        let error = check(&server, &pins(text)).expect_err(text);
        assert_eq!(error.to_string(), message);
        assert!(error.hint().is_some());
    }
    let error = PinFile::of_requirements("p.txt", "a==1\nA==2")
        .expect("pins")
        .on(&base())
        .expect_err("twice");
    assert_eq!(
        error.to_string(),
        "a is pinned twice, at p.txt:1 and at p.txt:2"
    );
    let error = PinFile::of_requirements("p.txt", "a==1 --hash=md5:00")
        .expect("pins")
        .on(&base())
        .expect_err("no sha256");
    assert_eq!(
        error.to_string(),
        "a (p.txt:1) has hashes, but none of them is a sha256"
    );
}

#[test]
fn other_files_than_the_pinned_ones_are_refused() {
    let server = server().start();
    let found = sha256(&server, "held", "2.0");
    let wrong = pins(&format!("held==2.0 --hash=sha256:{}", "1".repeat(64)));
    let error = check(&server, &wrong).expect_err("another file");
    assert_eq!(
        error.to_string(),
        format!(
            "held 2.0 is pinned (pins.txt:1) to files with sha256:{}, but the index has held-2.0-py3-none-any.whl with \
             sha256:{found}",
            "1".repeat(64)
        )
    );
    // An index that announces no hashes: where one is pinned the bytes must have it as soon as they come, of several the
    // fetched wheel must have one.
    server.change(|behaviour| behaviour.no_hashes = true);
    let error = check(&server, &wrong).expect_err("another file");
    assert_eq!(
        error.to_string(),
        format!(
            "`held-2.0-py3-none-any.whl` has the SHA-256 {found}, but the one that is announced is {}",
            "1".repeat(64)
        )
    );
    let (name, inner) = ("held".parse().expect("a name"), client(&server));
    let fetched = |pins: &Pins| {
        let index = PinnedIndex::new(pins, &inner);
        let project = index.project(&name).expect("an answer").expect("held");
        let file = project.files(&project.versions()[0]).remove(0);
        let wheel = inner.fetch_wheel(&file, &Unwatched).expect("a wheel");
        pins.vouch_for(&name, &wheel)
    };
    let others = format!(
        "--hash=sha256:{} --hash=sha256:{}",
        "1".repeat(64),
        "2".repeat(64)
    );
    let error = fetched(&pins(&format!("held==2.0 {others}"))).expect_err("another file");
    assert!(
        error
            .to_string()
            .ends_with(&format!("held-2.0-py3-none-any.whl has sha256:{found}")),
        "{error}"
    );
    fetched(&pins(&format!("held==2.0 {others} --hash=sha256:{found}"))).expect("one of them");
    fetched(&pins("held==2.0")).expect("anything");
}

/// A lock file with these packages.
fn lock(text: &str) -> Result<Pins, PinsError> {
    let text = format!("lock-version = \"1.0\"\ncreated-by = \"test\"\n{text}");
    PinFile::of_pylock(Path::new("dir/pylock.toml"), &text)?.on(&base())
}

#[test]
fn a_lock_file_brings_its_own_addresses() {
    let server = server().start();
    let origin = server.origin();
    let (alpha, beta) = (
        sha256(&server, "alpha", "1.0"),
        sha256(&server, "beta", "2.0"),
    );
    // What the index says of versions does not count: it has forgotten them, and still has the files.
    let pins = lock(&format!(
        r#"
environments = ["sys_platform == 'win32'", "python_version == '3.10'"]
requires-python = ">=3.9"
[[packages]]
name = "alpha"
version = "1.0"
wheels = [
  {{name = "alpha-1.0-cp39-cp39-linux_x86_64.whl", url = "{origin}/files/no", hashes = {{sha256 = "{beta}"}}}},
  {{url = "{origin}/files/alpha-1.0-py3-none-any.whl", hashes = {{sha256 = "{alpha}"}}}},
]
[[packages]]
name = "beta"
version = "2.0"
requires-python = ">=3.8"
sdist = {{url = "x", hashes = {{}}}}
wheels = [{{url = "{origin}/files/beta-2.0-py3-none-any.whl", hashes = {{sha256 = "{beta}"}}}}]
[[packages]]
name = "other"
version = "1"
marker = "sys_platform == 'win32'"
[tool.imgtool]
requested = ["alpha>=1"]
"#
    ))
    .expect("pins");
    assert_eq!(
        outcome(&server, &pins),
        "+alpha-1.0-py3-none-any.whl 1.0\n+beta-2.0-py3-none-any.whl 2.0"
    );
    assert!(
        server
            .paths()
            .iter()
            .filter(|path| path.starts_with("/simple"))
            .count()
            == 2,
        "only the hashes above"
    );
    let requested: Vec<bool> = pins.pins.values().map(|pin| pin.requested).collect();
    assert_eq!(requested, [true, false]);
}

#[test]
fn what_a_lock_file_has_beside_wheels_is_refused() {
    let hash = "0".repeat(64);
    let wheel = format!(
        "wheels = [{{path = \"w/a-1-py3-none-any.whl\", hashes = {{sha256 = \"{hash}\"}}}}]"
    );
    for (text, message) in [
        (
            "[[packages]]\nname = \"a\"\nvcs = {type = \"git\"}\n".to_owned(),
            "a without a version (dir/pylock.toml:3) cannot be installed: it comes from a repository, and imgtool installs \
             wheels only",
        ),
        (
            "[[packages]]\nname = \"a\"\nversion = \"1\"\nsdist = {path = \"a-1.tar.gz\"}\n".to_owned(),
            "a 1 (dir/pylock.toml:3) cannot be installed: it has no wheel, only a source distribution, which would have to \
             be built",
        ),
        (
            format!("[[packages]]\nname = \"a\"\nversion = \"1\"\nrequires-python = \">=3.12\"\n{wheel}\n"),
            "a 1 (dir/pylock.toml:3) cannot be installed: it is for Python >=3.12, the base has 3.10.13",
        ),
        (
            "[[packages]]\nname = \"a\"\nversion = \"1\"\nwheels = [{url = \"https://example.org/a-1-py3-none-any.whl\", \
             hashes = {md5 = \"0\"}}]\n"
                .to_owned(),
            "a (dir/pylock.toml:3) has hashes, but none of them is a sha256",
        ),
        (
            "requires-python = \">=3.12\"\npackages = []\n".to_owned(),
            "`dir/pylock.toml` is not for this base: it is for Python >=3.12, the base has 3.10.13",
        ),
        (
            "environments = [\"sys_platform == 'win32'\"]\npackages = []\n".to_owned(),
            "`dir/pylock.toml` is not for this base: it is for `sys_platform == 'win32'`, the base has Python 3.10.13 on \
             x86_64",
        ),
        (
            format!("[[packages]]\nname = \"a\"\nversion = \"1\"\n{wheel}\n[[packages]]\nname = \"a\"\nversion = \"1\"\n{wheel}\n"),
            "a is pinned twice, at dir/pylock.toml:3 and at dir/pylock.toml:7",
        ),
        (
            "packages = 1\n".to_owned(),
            "`dir/pylock.toml` line 3, column 12: invalid type: integer `1`, expected a sequence",
        ),
    ] {
        let error = lock(&text).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
    // A path is relative to the file.
    let pins = lock(&format!(
        "[[packages]]\nname = \"a\"\nversion = \"1\"\n{wheel}\n"
    ))
    .expect("pins");
    let url = &pins.pins.values().next().expect("a pin").wheels[0].url;
    assert!(
        url.starts_with("file:///") && url.ends_with("/dir/w/a-1-py3-none-any.whl"),
        "{url}"
    );
}
