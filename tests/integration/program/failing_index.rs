//! Indexes that fail, refuse, or can do less than the best: one error, or the same answer.

use std::net::TcpListener;

use insta::assert_snapshot;

use super::lay_base;
use crate::support::index_server::{Behaviour, Builder, IndexServer};
use crate::support::program::Desk;

fn projects() -> Builder {
    IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta>=1")
        .project("beta")
        .wheel("1.0", "")
        .large_wheel("2.0", "", false)
}

fn desk(index: &IndexServer) -> Desk {
    let desk = Desk::at(index);
    lay_base(&desk, &[("six", "1.16.0", "")]);
    desk
}

#[test]
fn the_answer_does_not_depend_on_what_the_index_can_do() {
    let changes: [fn(&mut Behaviour); 7] = [
        |_| (),
        |behaviour| behaviour.pep658 = true,
        |behaviour| behaviour.pep658_missing = true,
        |behaviour| behaviour.html_only = true,
        |behaviour| behaviour.ignore_range = true,
        |behaviour| behaviour.range_status = Some(416),
        |behaviour| behaviour.no_sizes = true,
    ];
    let answers = changes.map(|change| {
        let index = projects().behaviour(change).start();
        let desk = desk(&index);
        desk.resolve(&["dir:base", "alpha", "--format", "requirements"])
            .expect(0)
            .stdout
    });
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
}

#[test]
fn an_index_that_is_down_is_one_error() {
    // A port that nobody listens on: taken, and given back.
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let mut desk = Desk::without_index();
    lay_base(&desk, &[]);
    desk.scrub(&address.to_string(), "[NOBODY]");
    let url = format!("http://{address}/simple/");
    let run = desk.resolve(&[
        "dir:base",
        "alpha",
        "beta",
        "--index-url",
        &url,
        "-o",
        "pins.txt",
    ]);
    assert_snapshot!(run.one_error(3), @"
    error: cannot ask the package index for `alpha`: cannot reach http://[NOBODY]/simple/alpha/: Connection refused (os error 111)
    hint: check the network and the proxy (HTTPS_PROXY); with a filled cache, `--offline` needs neither
    ");
    assert_eq!(desk.names(), ["base"]);
    // What the base has needs no index.
    desk.resolve(&["tfx:1.16.0", "tfx", "--index-url", &url])
        .expect(0);
}

#[test]
fn an_index_that_answers_with_failures_is_one_error() {
    let index = projects()
        .behaviour(|behaviour| {
            behaviour.fail_first = u32::MAX;
            behaviour.fail_status = Some(503);
            behaviour.retry_after = Some("0".to_owned());
        })
        .start();
    let desk = desk(&index);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]).one_error(3), @"
    error: cannot ask the package index for `alpha`: [INDEX]/simple/alpha/ answered with status 503
    hint: the index is in trouble: try again later; with a filled cache, `--offline` needs it no more
    ");
    // Some of them are got over.
    index.change(|behaviour| behaviour.fail_first = 2);
    desk.resolve(&["dir:base", "alpha"]).expect(0);
}

#[test]
fn an_index_that_wants_credentials_says_so_and_nothing_shows_them() {
    let index = projects()
        .behaviour(|behaviour| {
            behaviour.basic_auth = Some(("user".to_owned(), "s3cret".to_owned()));
        })
        .start();
    let desk = desk(&index);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]).one_error(3), @"
    error: the package index [INDEX]/simple/ refuses access to `alpha` with status 401
    hint: the index needs valid credentials: in its URL (`https://user:password@host/simple`) or in a netrc file
    ");

    let mut own = Desk::without_index();
    lay_base(&own, &[]);
    own.scrub(&index.origin(), "[INDEX]");
    let url = index.index_url_with("user", "s3cret");
    let run = own.resolve(&[
        "dir:base",
        "alpha",
        "--index-url",
        &url,
        "--format",
        "json",
        "-v",
    ]);
    assert!(!format!("{run}").contains("s3cret"), "{run}");
    assert_eq!(run.status, 0, "{run}");
    let wrong = index.index_url_with("user", "wr0ng");
    let error = own
        .resolve(&["dir:base", "alpha", "--index-url", &wrong, "--no-cache"])
        .one_error(3);
    assert!(!error.contains("wr0ng"), "{error}");
}

#[test]
fn an_address_without_an_index_is_told_from_a_project_that_is_not_there() {
    let index = IndexServer::builder().start();
    let desk = desk(&index);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]), @"
    status: 1
    ----- stdout
    alpha cannot be added to dir:base:

      1. you ask for alpha
      2. no index has a project named alpha, and the base does not have it

    What would fit (found by solving)
      no version of alpha

    Base: dir:base, Python 3.10.13, 1 distribution
    ----- stderr
    warning: no file of alpha is offered by [INDEX]/simple/
    ");
}

#[test]
fn pages_that_are_none_are_one_error() {
    let index = projects()
        .behaviour(|behaviour| behaviour.page_body = Some("<html>log in</html>".to_owned()))
        .start();
    let desk = desk(&index);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha"]).one_error(3), @"
    error: the page [INDEX]/simple/alpha/ cannot be read: the page is not valid JSON of the simple API: expected value at line 1 column 1
    hint: the address of an index is that of its simple API, and usually ends in `/simple`
    ");
}

#[test]
fn wheels_that_are_not_what_was_announced_are_one_error() {
    let index = projects()
        .behaviour(|behaviour| {
            behaviour.pep658 = true;
            behaviour.wrong_metadata_hash = true;
        })
        .start();
    let desk = desk(&index);
    let error = desk.resolve(&["dir:base", "alpha"]).one_error(3);
    assert!(error.contains("has the SHA-256"), "{error}");
}

#[test]
fn offline_lives_on_what_an_earlier_run_has_left() {
    let index = projects().start();
    let desk = desk(&index);
    assert_snapshot!(desk.resolve(&["dir:base", "alpha", "--offline"]).one_error(2), @"
    error: the page of `alpha` is not in the cache, and the package index cannot be asked while offline
    hint: run the same once without `--offline` and `--no-cache`, with the same cache folder
    ");
    assert_eq!(index.paths(), [""; 0]);
    let online = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
    let asked = index.requests().len();
    let offline = desk
        .resolve_json(&["dir:base", "alpha", "--offline"])
        .expect(0);
    assert_eq!(offline.bytes, online.bytes);
    assert_eq!(index.requests().len(), asked);
    assert_snapshot!(desk.resolve(&["dir:base", "gamma", "--offline"]).one_error(2), @"
    error: the page of `gamma` is not in the cache, and the package index cannot be asked while offline
    hint: run the same once without `--offline` and `--no-cache`, with the same cache folder
    ");
    // Another cache folder is another memory.
    desk.resolve(&["dir:base", "alpha", "--offline", "--cache-dir", "other"])
        .one_error(2);
}

#[test]
fn a_second_run_asks_for_nothing_unless_told_to() {
    let index = projects().start();
    let desk = desk(&index);
    desk.resolve(&["dir:base", "alpha"]).expect(0);
    let asked = index.requests().len();
    desk.resolve(&["dir:base", "alpha"]).expect(0);
    assert_eq!(index.requests().len(), asked);
    desk.resolve(&["dir:base", "alpha", "--refresh"]).expect(0);
    assert!(index.requests().len() > asked);
    let asked = index.requests().len();
    desk.resolve(&["dir:base", "alpha", "--no-cache"]).expect(0);
    assert!(index.requests().len() > asked);
}

#[test]
fn an_extra_index_comes_first() {
    let main = projects().start();
    let extra = IndexServer::builder()
        .project("beta")
        .wheel("1.5", "")
        .start();
    let desk = desk(&main);
    let run = desk
        .resolve_json(&["dir:base", "alpha", "--extra-index-url", &extra.index_url()])
        .expect(0);
    assert_eq!(run.pins(), ["alpha==1.0", "beta==1.5"]);
}

#[test]
fn a_cache_that_cannot_be_written_is_a_warning() {
    let index = projects().start();
    let desk = desk(&index);
    desk.write("file", "");
    let run = desk
        .resolve_json(&["dir:base", "alpha", "--cache-dir", "file/cache"])
        .expect(0)
        .tells("warning: ");
    assert_eq!(run.pins(), ["alpha==1.0", "beta==2.0"]);
}

#[test]
fn pips_settings_are_those_of_the_program() {
    let index = projects().start();
    let mut desk = Desk::without_index();
    lay_base(&desk, &[]);
    desk.write(
        "pip.conf",
        &format!("[global]\nindex-url = {}\n", index.index_url()),
    );
    let path = desk.path("pip.conf").display().to_string();
    desk.set("PIP_CONFIG_FILE", &path);
    desk.resolve(&["dir:base", "alpha"]).expect(0);
    desk.write("pip.conf", "[global\n");
    let error = desk.resolve(&["dir:base", "alpha"]).one_error(2);
    assert!(error.contains("pip.conf"), "{error}");
    desk.set("PIP_CONFIG_FILE", "/dev/null");
    desk.set("PIP_INDEX_URL", &index.index_url());
    desk.resolve(&["dir:base", "alpha"]).expect(0);
}

#[test]
fn credentials_of_the_home_folder_are_used() {
    let index = projects()
        .behaviour(|behaviour| {
            behaviour.basic_auth = Some(("user".to_owned(), "s3cret".to_owned()));
        })
        .start();
    let desk = desk(&index);
    desk.write(
        "home/.netrc",
        "machine 127.0.0.1 login user password s3cret\n",
    );
    let run = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
    assert!(!format!("{run}").contains("s3cret"));
    desk.write("home/.netrc", "machine\n");
    let error = desk
        .resolve(&["dir:base", "alpha", "--no-cache"])
        .one_error(2);
    assert!(error.contains(".netrc"), "{error}");
}

#[test]
fn an_index_that_changes_under_way_is_believed_when_it_is_asked_again() {
    let index = projects().start();
    let desk = desk(&index);
    let first = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
    index.change_projects(|projects| {
        projects.get_mut("beta").expect("beta").pop();
    });
    let fresh = desk.resolve_json(&["dir:base", "alpha"]).expect(0);
    assert_eq!(fresh.bytes, first.bytes, "the page is still fresh");
    let again = desk
        .resolve_json(&["dir:base", "alpha", "--refresh"])
        .expect(0);
    assert_eq!(again.pins(), ["alpha==1.0", "beta==1.0"]);
}
