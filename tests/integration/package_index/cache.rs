//! What is remembered between runs, and for how long.

use std::path::Path;
use std::time::Duration;

use imgtool::package_index::{IndexClient, IndexError, IndexSettings, PackageIndex as _};

use super::{alpha, at, cached, client, name, newest, project, requirements, settings};
use crate::support::index_server::IndexServer;

#[test]
fn the_cache_answers_for_as_long_as_pages_are_current() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha().behaviour(|behaviour| behaviour.etag = true).start();
    let run = |time: u64, change: fn(&mut IndexSettings)| {
        let mut settings = cached(&server, folder.path());
        change(&mut settings);
        let client = IndexClient::new(settings, at(time)).expect("a client");
        let wheel = newest(&client, "alpha");
        assert_eq!(requirements(&client, &wheel), ["beta>=2"]);
        assert!(
            client
                .project(&name("absent"))
                .expect("an answer")
                .is_none()
        );
        assert_eq!(client.warnings(), [""; 0]);
        client.requests_made()
    };
    let second = 1000;
    assert_eq!(run(0, |_| {}), 3);
    assert_eq!(run(599 * second, |_| {}), 0);
    // Stale: the page is confirmed, the absence asked for again, the metadata good for ever.
    assert_eq!(run(600 * second, |_| {}), 2);
    let confirmed = server
        .requests()
        .iter()
        .filter(|request| request.header("if-none-match").is_some())
        .count();
    assert_eq!(confirmed, 1);
    // A confirmation renews.
    assert_eq!(run(1199 * second, |_| {}), 0);
    assert_eq!(run(1199 * second, |settings| settings.refresh = true), 2);
    assert_eq!(run(9999 * second, |settings| settings.offline = true), 0);
    assert_eq!(
        run(1300 * second, |settings| settings.freshness =
            Duration::from_secs(5)),
        2
    );
}

#[test]
fn a_page_that_changed_is_read_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha().behaviour(|behaviour| behaviour.etag = true).start();
    let versions = |time| {
        let client = IndexClient::new(cached(&server, folder.path()), at(time)).expect("a client");
        project(&client, "alpha").versions().len()
    };
    assert_eq!(versions(0), 3);
    server.change_projects(|projects| {
        projects.get_mut("alpha").expect("alpha").pop();
    });
    assert_eq!(versions(1), 3);
    assert_eq!(versions(600_000), 2);
    // Gone from the index is gone, however well it is remembered.
    server.change_projects(std::collections::BTreeMap::clear);
    let client = IndexClient::new(cached(&server, folder.path()), at(9_000_000)).expect("a client");
    assert!(client.project(&name("alpha")).expect("an answer").is_none());
}

#[test]
fn pages_are_confirmed_by_date_where_there_is_no_etag() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha()
        .behaviour(|behaviour| behaviour.last_modified = true)
        .start();
    for time in [0, 600_000, 1_200_000] {
        let client = IndexClient::new(cached(&server, folder.path()), at(time)).expect("a client");
        assert_eq!(project(&client, "alpha").versions().len(), 3);
    }
    let conditional = server
        .requests()
        .iter()
        .filter(|request| request.header("if-modified-since").is_some())
        .count();
    assert_eq!((server.requests().len(), conditional), (3, 2));
}

#[test]
fn the_index_rules_how_long_its_pages_are_kept() {
    for (header, requests) in [("max-age=3600", 1), ("no-cache", 2), ("no-store", 2)] {
        let folder = tempfile::tempdir().expect("a folder");
        let server = alpha()
            .behaviour(|behaviour| behaviour.cache_control = Some(header.to_owned()))
            .start();
        for time in [0, 3_000_000] {
            let client =
                IndexClient::new(cached(&server, folder.path()), at(time)).expect("a client");
            project(&client, "alpha");
        }
        assert_eq!(server.requests().len(), requests, "{header}");
        let mut offline = cached(&server, folder.path());
        offline.offline = true;
        let answer = client(offline).project(&name("alpha"));
        assert_eq!(answer.is_err(), header == "no-store", "{header}");
    }
}

#[test]
fn offline_without_the_page_or_the_metadata_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha().start();
    let wheel = newest(&client(cached(&server, folder.path())), "alpha");
    let mut offline = cached(&server, folder.path());
    offline.offline = true;
    let client_1 = client(offline);
    let error = client_1
        .project(&name("gamma"))
        .expect_err("not in the cache");
    assert!(error.to_string().contains("`gamma`"), "{error}");
    assert!(error.to_string().contains("offline"), "{error}");
    let error = client_1.metadata(&wheel).expect_err("not in the cache");
    assert!(matches!(error, IndexError::FileNotCached { .. }), "{error}");
    let error = client_1.download(&wheel).expect_err("not in the cache");
    assert!(matches!(error, IndexError::FileNotCached { .. }), "{error}");
    assert_eq!(client_1.requests_made(), 0);
    // Without any cache folder too.
    let nowhere = client(IndexSettings {
        offline: true,
        ..settings(&server)
    });
    assert!(nowhere.project(&name("alpha")).is_err());
}

#[test]
fn metadata_of_a_wheel_without_a_hash_is_no_longer_good_than_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha()
        .behaviour(|behaviour| behaviour.no_hashes = true)
        .start();
    for time in [0, 599_999, 600_000] {
        let client = IndexClient::new(cached(&server, folder.path()), at(time)).expect("a client");
        assert_eq!(
            requirements(&client, &newest(&client, "alpha")),
            ["beta>=2"]
        );
    }
    assert_eq!(server.count("/files/alpha-2.0-py3-none-any.whl"), 2);
}

#[test]
fn damaged_entries_are_fetched_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha().start();
    let run = || {
        let client = client(cached(&server, folder.path()));
        assert_eq!(
            requirements(&client, &newest(&client, "alpha")),
            ["beta>=2"]
        );
        client.requests_made()
    };
    assert_eq!(run(), 2);
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| *bytes.last_mut().expect("a byte") ^= 1,
        Vec::clear,
    ];
    for damage in damages {
        assert_eq!(run(), 0);
        let entries = files_in(folder.path());
        assert_eq!(entries.len(), 2);
        for path in entries {
            let mut bytes = std::fs::read(&path).expect("an entry");
            damage(&mut bytes);
            std::fs::File::create(&path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
                .expect("written");
        }
        assert_eq!(run(), 2);
    }
}

/// The entries in a folder and the folders in it.
fn files_in(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else if !path.ends_with(imgtool::cache_folder::TAG) {
            files.push(path);
        }
    }
    files
}

#[test]
fn two_clients_share_a_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut builder = IndexServer::builder();
    let names: Vec<String> = (0..20).map(|number| format!("project-{number}")).collect();
    for name in &names {
        builder = builder.project(name).wheel("1.0", "Requires-Dist: beta");
    }
    let server = builder.start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let client = client(cached(&server, folder.path()));
                for name in &names {
                    assert_eq!(requirements(&client, &newest(&client, name)), ["beta"]);
                }
                assert_eq!(client.warnings(), [""; 0]);
            });
        }
    });
    let client = client(cached(&server, folder.path()));
    for name in &names {
        assert_eq!(requirements(&client, &newest(&client, name)), ["beta"]);
    }
    assert_eq!(client.requests_made(), 0);
    // Nothing half written is left behind.
    assert_eq!(files_in(folder.path()).len(), 40);
}

#[test]
fn a_cache_that_cannot_be_written_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let occupied = folder.path().join("file");
    std::fs::File::create(&occupied).expect("a file");
    let server = alpha().start();
    let client = client(cached(&server, &occupied));
    assert_eq!(
        requirements(&client, &newest(&client, "alpha")),
        ["beta>=2"]
    );
    assert_eq!(client.warnings().len(), 1);
    assert!(
        client.warnings()[0].contains("cannot be written"),
        "{:?}",
        client.warnings()
    );
}
