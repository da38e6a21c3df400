//! The forms of an answer, and what chooses among them.

use insta::assert_snapshot;
use toml::Table;

use super::lay_base;
use crate::support::index_server::IndexServer;
use crate::support::program::Desk;

fn index() -> IndexServer {
    IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta\nRequires-Dist: six")
        .project("beta")
        .wheel("2.0+local.1", "Requires-Dist: six")
        .start()
}

/// A base with a distribution that asks for another, and a pre-release.
fn desk(index: &IndexServer) -> Desk {
    let desk = Desk::at(index);
    lay_base(
        &desk,
        &[
            ("six", "1.16.0", ""),
            ("trainer", "2.0rc1", "Requires-Dist: six"),
            ("torch", "2.8.0+cu126", ""),
        ],
    );
    desk
}

fn lock(text: &str) -> Table {
    text.parse()
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn constraints_are_the_whole_environment() {
    let index = index();
    let desk = desk(&index);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha", "--format", "constraints"]), @"
    status: 0
    ----- stdout
    # What is in dir:base once it has alpha.
    # Python 3.10.13. Constraints, for: pip install -c FILE REQUIREMENT
    alpha==1.0
    beta==2.0+local.1
    six==1.16.0
    torch==2.8.0+cu126
    trainer==2.0rc1
    ");
    assert_snapshot!(desk.resolve(&["dir:base", "alpha", "--format", "constraints", "--annotate"]), @"
    status: 0
    ----- stdout
    # What is in dir:base once it has alpha.
    # Python 3.10.13. Constraints, for: pip install -c FILE REQUIREMENT
    alpha==1.0
        # via the request
    beta==2.0+local.1
        # via alpha
    six==1.16.0
        # via
        #   alpha
        #   beta
        #   trainer
    torch==2.8.0+cu126
    trainer==2.0rc1
    ");
}

#[test]
fn requirements_say_who_needs_each_line() {
    let index = index();
    let mut desk = desk(&index);
    desk.write("needs/main.txt", "alpha>=1\nbeta\n");
    let hashes = desk
        .resolve(&["dir:base", "alpha", "--format", "requirements"])
        .expect(0);
    for line in hashes.stdout.lines() {
        if let Some((_, hash)) = line.split_once("sha256:") {
            desk.scrub(hash, "[HASH]");
        }
    }
    let arguments = ["dir:base", "-r", "needs/main.txt", "--annotate"];
    let run = desk.resolve(&[&arguments[..], &["--format", "requirements"]].concat());
    assert_snapshot!(run, @r"
    status: 0
    ----- stdout
    # What to add to dir:base for alpha>=1 beta.
    # Python 3.10.13. Install with: pip install --no-deps --require-hashes -r FILE
    alpha==1.0 \
        --hash=sha256:[HASH]
        # via -r needs/main.txt
    beta==2.0+local.1 \
        --hash=sha256:[HASH]
        # via
        #   -r needs/main.txt
        #   alpha
    ");
    desk.resolve(&[&arguments[..], &["-o", "pins.txt"]].concat())
        .expect(0);
    assert_eq!(desk.read("pins.txt").into_bytes(), run.bytes);
}

#[test]
fn a_lock_file_names_index_and_files() {
    let index = index();
    let desk = desk(&index);
    desk.resolve(&["dir:base", "alpha", "-o", "pylock.toml"])
        .expect(0)
        .says("alpha 1.0 fits dir:base");
    let text = desk.read("pylock.toml");
    let document = lock(&text);
    let packages = document["packages"].as_array().expect("an array");
    assert_eq!(packages.len(), 2, "what the base has is not in it");
    for (package, (name, version)) in packages
        .iter()
        .zip([("alpha", "1.0"), ("beta", "2.0+local.1")])
    {
        assert_eq!(package["name"].as_str(), Some(name));
        assert_eq!(package["version"].as_str(), Some(version));
        assert_eq!(package["index"].as_str(), Some(index.index_url().as_str()));
        let wheel = &package["wheels"][0];
        let url = wheel["url"].as_str().expect("an address");
        assert!(url.starts_with(&index.origin()), "{url}");
        assert_eq!(wheel["hashes"]["sha256"].as_str().map(str::len), Some(64));
    }
    assert_eq!(
        packages[0]["dependencies"][0]["name"].as_str(),
        Some("beta")
    );
    let tool = &document["tool"]["imgtool"];
    assert_eq!(tool["base"].as_str(), Some("dir:base"));
    assert_eq!(tool["requested"][0].as_str(), Some("alpha"));
    assert_eq!(tool["held"][0]["name"].as_str(), Some("six"));
    // The same question has the same bytes, from the cache as well.
    desk.resolve(&["dir:base", "alpha", "--offline", "-o", "pylock.again.toml"])
        .expect(0);
    assert_eq!(desk.read("pylock.again.toml"), text);
    let stdout = desk.resolve(&["dir:base", "alpha", "--format", "pylock"]);
    assert_eq!(stdout.bytes, text.into_bytes());
}

#[test]
fn a_lock_file_tells_the_index_of_each_project_and_no_password() {
    let index = index();
    let private = IndexServer::builder()
        .project("gamma")
        .wheel("3.0", "Requires-Dist: beta")
        .start();
    let desk = desk(&index);
    let with_password = private.index_url_with("user", "s3cret");
    let run = desk
        .resolve(&[
            "dir:base",
            "gamma",
            "--extra-index-url",
            &with_password,
            "--format",
            "pylock",
        ])
        .expect(0);
    assert!(!run.stdout.contains("s3cret"), "{run}");
    let document = lock(std::str::from_utf8(&run.bytes).expect("UTF-8"));
    let indexes: Vec<Option<&str>> = document["packages"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|package| package["index"].as_str())
        .collect();
    let (public, private) = (index.index_url(), private.index_url());
    assert_eq!(indexes, [Some(public.as_str()), Some(private.as_str())]);
}

#[test]
fn an_index_without_hashes_gives_no_lock_file() {
    let index = index();
    index.change(|behaviour| behaviour.no_hashes = true);
    let desk = desk(&index);
    let run = desk.resolve(&["dir:base", "alpha", "-o", "pylock.toml"]);
    assert_snapshot!(run.one_error(2), @"
    error: the index gives no sha256 for alpha-1.0-py3-none-any.whl, so alpha cannot be pinned by hash
    hint: `--format json` has the resolution without hashes
    ");
    desk.resolve(&["dir:base", "alpha", "-o", "constraints.txt"])
        .expect(0);
    assert_eq!(desk.names(), ["base", "constraints.txt"]);
}

#[test]
fn the_form_of_a_file_is_that_which_is_named_or_that_of_its_name() {
    let index = index();
    let desk = desk(&index);
    let written = |arguments: &[&str], name: &str| {
        desk.resolve(&[&["dir:base", "alpha", "-o", name], arguments].concat())
            .expect(0)
            .says("alpha 1.0 fits dir:base");
        desk.read(name)
    };
    let constraints = written(&[], "constraints.txt");
    assert!(
        constraints.contains("\ntorch==2.8.0+cu126\n"),
        "{constraints}"
    );
    assert_eq!(written(&["--format", "constraints"], "x.json"), constraints);
    let table = written(&["--format", "text"], "table.json");
    assert_eq!(table, desk.resolve(&["dir:base", "alpha"]).stdout);
    let json = written(&["--format", "json"], "pins.txt");
    serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
    let lock_file = written(&[], "pylock.train.toml");
    assert_eq!(written(&["--format", "pylock"], "pylock.toml"), lock_file);

    let odd = desk
        .resolve(&["dir:base", "alpha", "-o", "lock.toml"])
        .expect(0);
    assert_snapshot!(odd.stderr, @"warning: installers do not take `lock.toml` for a lock file: the name is `pylock.toml` or `pylock.NAME.toml`");
    assert_eq!(desk.read("lock.toml"), lock_file);
    // A name that no file can have yet is one that nothing is written to.
    desk.resolve(&["dir:base", "alpha>=9", "-o", "pylock.no.toml"])
        .expect(1)
        .tells("note: `pylock.no.toml` is not written: there is nothing to install");
    for format in ["constraints", "pylock"] {
        let run = desk
            .resolve(&["dir:base", "alpha>=9", "--format", format])
            .expect(1)
            .tells("you ask for alpha>=9");
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_frontier_has_rows_and_no_pins() {
    let index = index();
    let desk = desk(&index);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha", "--frontier"]), @"
    status: 0
    ----- stdout
    What there is of alpha on dir:base, by changes of the base

    Changes  alpha  What changes
          0  1.0    nothing

    Each row is solved, with the fewest changes for its versions; ask for these with `--policy minimal` to see all of it.

    Base: dir:base, Python 3.10.13, 3 distributions
    ");
    let document = desk
        .resolve_json(&["dir:base", "alpha", "--frontier"])
        .expect(0)
        .json();
    assert_eq!(document["schema"], "imgtool.frontier/v1");
    assert_eq!(document["rows"][0]["versions"][0], "1.0");
    assert_eq!(document["rows"][0]["changes"], 0);
    desk.resolve(&["dir:base", "alpha", "--frontier", "-o", "rows.json"])
        .expect(0)
        .says("What there is of alpha on dir:base");
    let written: serde_json::Value = serde_json::from_str(&desk.read("rows.json")).expect("JSON");
    assert_eq!(written, document);

    let no = desk
        .resolve(&["dir:base", "alpha>=9", "--frontier", "-o", "none.json"])
        .expect(1)
        .says("alpha does not fit dir:base");
    assert!(no.stderr.contains("`none.json` is not written"), "{no}");
    let run = desk.resolve(&["dir:base", "alpha", "--frontier", "--format", "pylock"]);
    assert_snapshot!(run.one_error(2), @"
    error: a frontier has several answers: no requirements, constraints or lock file can hold it
    hint: `--format json` has all of them; for a file of pins, ask for the versions of one row with `--policy minimal`
    ");
    assert_eq!(desk.names(), ["base", "rows.json"]);
}
