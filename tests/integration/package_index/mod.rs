//! The index client against an index in this process: pages, metadata, priority, running ahead.

mod cache;
mod find_links;
mod network;
mod promises;
mod strategies;
mod wheels;

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use imgtool::package_index::{
    Clock, Foresight, IndexClient, IndexError, IndexFile, IndexSettings, PackageIndex as _, Project,
};
use imgtool::packaging::metadata::CoreMetadata;
use imgtool::packaging::{PackageName, VersionSet};
use serde_json::json;

use crate::support::index_server::{Behaviour, Builder, IndexServer};
use crate::support::wheel;

/// Settings for `server`, quick to retry.
fn settings(server: &IndexServer) -> IndexSettings {
    IndexSettings {
        index_url: Some(server.index_url()),
        back_off: Duration::from_millis(1),
        ..IndexSettings::default()
    }
}

fn cached(server: &IndexServer, folder: &Path) -> IndexSettings {
    IndexSettings {
        cache_dir: Some(folder.to_owned()),
        ..settings(server)
    }
}

fn at(time: u64) -> Clock {
    Arc::new(move || time)
}

fn client(settings: IndexSettings) -> IndexClient {
    IndexClient::new(settings, at(1_000_000)).expect("a client")
}

fn name(text: &str) -> PackageName {
    PackageName::from_str(text).expect("a name")
}

fn project(client: &IndexClient, project: &str) -> Arc<Project> {
    client
        .project(&name(project))
        .expect("an answer")
        .expect("a project")
}

/// The first file of the newest version.
fn newest(client: &IndexClient, name: &str) -> IndexFile {
    let project = project(client, name);
    project.files(&project.versions()[0]).remove(0)
}

fn requirements(client: &IndexClient, wheel: &IndexFile) -> Vec<String> {
    client
        .metadata(wheel)
        .expect("an answer")
        .expect("metadata")
        .requires_dist
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn alpha() -> Builder {
    IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "Requires-Dist: beta>=1")
        .wheel("2.0", "Requires-Dist: beta>=2")
        .wheel_file(
            "alpha-1.5-py3-none-any.whl",
            wheel::metadata("alpha", "1.5", ""),
            json!({"requires-python": ">=3.9,<4", "yanked": "a \"bad\" <day>"}),
        )
}

/// One project with a wheel of which only parts are fetched.
fn large(metadata_first: bool) -> Builder {
    IndexServer::builder().project("alpha").large_wheel(
        "1.0",
        "Requires-Dist: beta>=1",
        metadata_first,
    )
}

#[test]
fn json_and_html_pages_say_the_same() {
    let server = alpha().start();
    let mut pages = Vec::new();
    for html_only in [false, true] {
        server.change(|behaviour| behaviour.html_only = html_only);
        let client = client(settings(&server));
        let project = project(&client, "alpha");
        let versions: Vec<String> = project
            .versions()
            .iter()
            .map(|version| version.version.to_string())
            .collect();
        assert_eq!(versions, ["2.0", "1.5", "1.0"]);
        let mut files: Vec<IndexFile> = project
            .versions()
            .iter()
            .flat_map(|version| project.files(version))
            .collect();
        // PEP 503 has no sizes.
        for file in &mut files {
            assert_eq!(file.size.is_none(), html_only);
            file.size = None;
        }
        assert_eq!(files[1].requires_python.as_deref(), Some(">=3.9,<4"));
        assert_eq!(files[1].yanked.as_deref(), Some("a \"bad\" <day>"));
        assert_eq!(
            files[0].url,
            format!("{}/files/alpha-2.0-py3-none-any.whl", server.origin())
        );
        assert_eq!(
            requirements(&client, &newest(&client, "alpha")),
            ["beta>=2"]
        );
        pages.push(files);
    }
    assert_eq!(pages[0], pages[1]);
}

#[test]
fn each_question_is_asked_once() {
    let server = alpha().start();
    let client = client(settings(&server));
    for _ in 0..3 {
        let wheel = newest(&client, "alpha");
        client
            .metadata(&wheel)
            .expect("an answer")
            .expect("metadata");
        assert!(
            client
                .project(&name("absent"))
                .expect("an answer")
                .is_none()
        );
    }
    assert_eq!(
        server.paths(),
        [
            "/simple/alpha/",
            "/files/alpha-2.0-py3-none-any.whl",
            "/simple/absent/"
        ]
    );
    assert_eq!(client.requests_made(), 3);
}

#[test]
fn metadata_is_one_request_for_the_end_of_the_wheel() {
    let server = large(false).start();
    let client = client(settings(&server));
    assert_eq!(
        requirements(&client, &newest(&client, "alpha")),
        ["beta>=1"]
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let range = requests[1].header("range").expect("a range");
    assert!(range.starts_with("bytes=3"), "{range}");
    assert_eq!(requests[1].header("accept-encoding"), Some("identity"));
}

#[test]
fn metadata_elsewhere_in_the_wheel_is_one_request_more() {
    let server = large(true).start();
    let client = client(settings(&server));
    assert_eq!(
        requirements(&client, &newest(&client, "alpha")),
        ["beta>=1"]
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests[2]
            .header("range")
            .expect("a range")
            .starts_with("bytes=0-")
    );
}

#[test]
fn a_wheel_of_unknown_size_is_asked_for_its_suffix() {
    let server = large(false)
        .behaviour(|behaviour| behaviour.no_sizes = true)
        .start();
    let client = client(settings(&server));
    assert_eq!(
        requirements(&client, &newest(&client, "alpha")),
        ["beta>=1"]
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests[1]
            .header("range")
            .expect("a range")
            .starts_with("bytes=-")
    );
}

#[test]
fn servers_without_ranges_give_the_whole_wheel() {
    let changes: [fn(&mut Behaviour); 3] = [
        |behaviour| behaviour.ignore_range = true,
        |behaviour| behaviour.range_status = Some(416),
        |behaviour| behaviour.range_status = Some(501),
    ];
    for (change, requests) in changes.into_iter().zip([2, 3, 3]) {
        let server = large(false).behaviour(change).start();
        let client = client(settings(&server));
        let wheel = newest(&client, "alpha");
        assert_eq!(requirements(&client, &wheel), ["beta>=1"]);
        assert_eq!(server.requests().len(), requests);
        // The whole can be verified, and is.
        let wrong = IndexFile {
            sha256: Some("1".repeat(64)),
            ..wheel
        };
        let error = client.metadata(&wrong).expect_err("another file");
        assert!(matches!(error, IndexError::HashMismatch { .. }), "{error}");
    }
}

#[test]
fn metadata_beside_the_wheel_is_preferred_and_verified() {
    let server = large(false)
        .behaviour(|behaviour| behaviour.pep658 = true)
        .start();
    let client_1 = client(settings(&server));
    assert_eq!(
        requirements(&client_1, &newest(&client_1, "alpha")),
        ["beta>=1"]
    );
    assert_eq!(
        server.paths(),
        [
            "/simple/alpha/",
            "/files/alpha-1.0-py3-none-any.whl.metadata"
        ]
    );
    server.change(|behaviour| behaviour.wrong_metadata_hash = true);
    let client_2 = client(settings(&server));
    let error = client_2
        .metadata(&newest(&client_2, "alpha"))
        .expect_err("other metadata");
    assert!(matches!(error, IndexError::HashMismatch { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("alpha-1.0-py3-none-any.whl.metadata"),
        "{error}"
    );
}

#[test]
fn metadata_that_is_announced_but_absent_is_read_from_the_wheel() {
    let server = large(false)
        .behaviour(|behaviour| behaviour.pep658_missing = true)
        .start();
    let client = client(settings(&server));
    assert_eq!(
        requirements(&client, &newest(&client, "alpha")),
        ["beta>=1"]
    );
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn bad_metadata_is_the_wheels_fault() {
    let wheel = |metadata: &str| {
        IndexServer::builder()
            .project("alpha")
            .wheel_file("alpha-1.0-py3-none-any.whl", metadata.into(), json!({}))
            .behaviour(|behaviour| behaviour.pep658 = metadata.is_empty())
            .start()
    };
    for (metadata, expected) in [
        ("Name: alpha\nVersion: 1.0\nRequires-Dist: ???\n", "???"),
        ("Name: beta\nVersion: 1.0\n", "beta"),
        ("Name: alpha\nVersion: 1.1\n", "1.1"),
        ("", "Name"),
    ] {
        let server = wheel(metadata);
        let client = client(settings(&server));
        let reason = client
            .metadata(&newest(&client, "alpha"))
            .expect("the index is not to blame")
            .expect_err("bad metadata");
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn contents_and_whole_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = large(false).start();
    let client_1 = client(cached(&server, folder.path()));
    let wheel = newest(&client_1, "alpha");
    let contents = client_1
        .wheel_contents(&wheel)
        .expect("an answer")
        .expect("a wheel");
    assert_eq!(
        contents.file_names,
        [
            "alpha/data.bin",
            "alpha/__init__.py",
            "alpha-1.0.dist-info/METADATA",
            "alpha-1.0.dist-info/WHEEL",
            "alpha-1.0.dist-info/RECORD"
        ]
    );
    assert!(contents.metadata.ends_with(b"The description of alpha.\n"));
    let bytes = client_1.download(&wheel).expect("the wheel");
    assert_eq!(Some(bytes.len() as u64), wheel.size);

    let requests = server.requests().len();
    let client_2 = client(cached(&server, folder.path()));
    assert_eq!(
        client_2
            .wheel_contents(&wheel)
            .expect("an answer")
            .expect("a wheel"),
        contents
    );
    assert_eq!(server.requests().len(), requests);

    let wrong = IndexFile {
        sha256: Some("1".repeat(64)),
        ..wheel
    };
    let error = client_2.download(&wrong).expect_err("another file");
    assert!(matches!(error, IndexError::HashMismatch { .. }), "{error}");
}

#[test]
fn the_first_index_that_has_the_project_answers() {
    let extra = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "")
        .start();
    let default = alpha().project("gamma").wheel("3.0", "").start();
    let both = IndexSettings {
        extra_index_urls: vec![extra.index_url()],
        ..settings(&default)
    };
    let client_1 = client(both.clone());
    // The extra index has only an older version, and that is that.
    assert_eq!(project(&client_1, "alpha").versions().len(), 1);
    assert_eq!(default.count("/simple/alpha/"), 0);
    assert_eq!(
        project(&client_1, "gamma").versions()[0]
            .version
            .to_string(),
        "3.0"
    );
    assert!(
        client_1
            .project(&name("absent"))
            .expect("an answer")
            .is_none()
    );
    assert_eq!(
        (
            extra.count("/simple/absent/"),
            default.count("/simple/absent/")
        ),
        (1, 1)
    );
    // One that refuses is not passed over.
    extra.change(|behaviour| behaviour.basic_auth = Some((String::new(), "x".to_owned())));
    let error = client(both).project(&name("gamma")).expect_err("refused");
    assert!(error.to_string().contains(&extra.origin()), "{error}");
    assert_eq!(default.count("/simple/gamma/"), 1);
}

#[test]
fn no_index_has_no_projects() {
    let client = client(IndexSettings {
        index_url: None,
        ..IndexSettings::default()
    });
    assert!(client.project(&name("alpha")).expect("an answer").is_none());
    assert_eq!(client.requests_made(), 0);
}

/// Always the newest wheel, always everything it requires.
struct Newest {
    asked: AtomicU64,
}

impl Foresight for Newest {
    fn likely_wheel(&self, project: &Project, versions: &VersionSet) -> Option<IndexFile> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let version = project
            .versions()
            .iter()
            .find(|version| versions.contains(&version.version))?;
        project.files(version).into_iter().next()
    }

    fn likely_projects(&self, metadata: &CoreMetadata) -> Vec<(PackageName, VersionSet)> {
        metadata
            .requires_dist
            .iter()
            .map(|requirement| (requirement.name.clone(), requirement.version_set()))
            .collect()
    }
}

#[test]
fn prefetching_runs_ahead_of_the_solver() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = IndexServer::builder()
        .project("trunk")
        .wheel("1.0", "Requires-Dist: left<2\nRequires-Dist: right")
        .project("left")
        .wheel("1.0", "Requires-Dist: leaf")
        .wheel("2.0", "Requires-Dist: never")
        .project("right")
        .wheel("1.0", "Requires-Dist: leaf\nRequires-Dist: trunk")
        .project("leaf")
        .wheel("1.0", "")
        .start();
    let foresight = Arc::new(Newest {
        asked: AtomicU64::new(0),
    });
    let client_1 = client(cached(&server, folder.path())).with_foresight(foresight.clone());
    client_1.prefetch(&name("trunk"), &VersionSet::full());
    client_1.prefetch(&name("trunk"), &VersionSet::full());
    // A hint alone is no reason to open a connection: the cache may know everything.
    assert_eq!(client_1.requests_made(), 0);
    project(&client_1, "trunk");
    // Nobody asked for anything else, and yet it comes. (A limit only for the case that it does not.)
    let limit = Instant::now() + Duration::from_secs(30);
    while server.count("/files/leaf-1.0-py3-none-any.whl") == 0 {
        assert!(Instant::now() < limit, "{:?}", server.paths());
        std::thread::yield_now();
    }
    assert_eq!(requirements(&client_1, &newest(&client_1, "leaf")), [""; 0]);
    let mut paths = server.paths();
    paths.sort();
    assert_eq!(
        paths,
        [
            "/files/leaf-1.0-py3-none-any.whl",
            "/files/left-1.0-py3-none-any.whl",
            "/files/right-1.0-py3-none-any.whl",
            "/files/trunk-1.0-py3-none-any.whl",
            "/simple/leaf/",
            "/simple/left/",
            "/simple/right/",
            "/simple/trunk/"
        ]
    );
    assert_eq!(foresight.asked.load(Ordering::Relaxed), 4);

    // A run that the cache can answer follows no hints. (What was fetched is written down when a client ends.)
    drop(client_1);
    let client_2 = client(cached(&server, folder.path())).with_foresight(Arc::new(Newest {
        asked: AtomicU64::new(0),
    }));
    for project_name in ["trunk", "right", "leaf"] {
        client_2.prefetch(&name(project_name), &VersionSet::full());
        client_2
            .metadata(&newest(&client_2, project_name))
            .expect("an answer")
            .expect("metadata");
    }
    assert_eq!(client_2.requests_made(), 0);
}

#[test]
fn errors_while_prefetching_are_told_when_the_solver_asks() {
    let server = alpha().start();
    let client = client(settings(&server)).with_foresight(Arc::new(Newest {
        asked: AtomicU64::new(0),
    }));
    server.change(|behaviour| behaviour.fail_first = 1000);
    client.prefetch(&name("alpha"), &VersionSet::full());
    assert!(client.project(&name("other")).is_err());
    assert!(client.project(&name("alpha")).is_err());
}
