//! Several indexes: which of them answers for a project.

use imgtool::package_index::{IndexSettings, IndexStrategy, parse_exclude_newer};

use super::{IndexServer, cached, client, name, project, settings};
use imgtool::package_index::PackageIndex as _;

/// An index with alpha 1.0 and 3.0, and one, asked later, with alpha 1.0, 2.0 and 4.0, and beta.
fn two() -> (IndexServer, IndexServer) {
    let first = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "")
        .wheel("3.0", "")
        .start();
    let second = IndexServer::builder()
        .project("alpha")
        .wheel("1.0", "")
        .wheel("2.0", "")
        .wheel("4.0", "")
        .project("beta")
        .wheel("1.0", "")
        .start();
    (first, second)
}

/// The versions as `version of the index that has it, rank`.
fn versions(settings: IndexSettings, first: &IndexServer, of: &str) -> Vec<String> {
    let client = client(settings);
    let project = project(&client, of);
    let mut versions = Vec::new();
    for version in project.versions() {
        let files = project.files(version);
        assert_eq!(files.len(), 1, "a version is of one index");
        let of = if files[0].url.starts_with(&first.origin()) {
            "first"
        } else {
            "second"
        };
        versions.push(format!("{} of {of}, {}", version.version, version.rank));
    }
    versions
}

#[test]
fn the_strategy_says_which_indexes_count() {
    let (first, second) = two();
    let with = |strategy| IndexSettings {
        extra_index_urls: vec![first.index_url()],
        strategy,
        ..settings(&second)
    };
    assert_eq!(IndexSettings::default().strategy, IndexStrategy::FirstIndex);
    assert_eq!(
        versions(with(IndexStrategy::FirstIndex), &first, "alpha"),
        ["3.0 of first, 0", "1.0 of first, 0"]
    );
    assert_eq!(second.count("/simple/alpha/"), 0, "nobody asks the second");
    assert_eq!(
        versions(with(IndexStrategy::UnsafeBestMatch), &first, "alpha"),
        [
            "4.0 of second, 0",
            "3.0 of first, 0",
            "2.0 of second, 0",
            "1.0 of first, 0"
        ]
    );
    assert_eq!(
        versions(with(IndexStrategy::UnsafeFirstMatch), &first, "alpha"),
        [
            "4.0 of second, 1",
            "3.0 of first, 0",
            "2.0 of second, 1",
            "1.0 of first, 0"
        ]
    );
    for strategy in [
        IndexStrategy::FirstIndex,
        IndexStrategy::UnsafeFirstMatch,
        IndexStrategy::UnsafeBestMatch,
    ] {
        assert_eq!(
            versions(with(strategy), &first, "beta"),
            ["1.0 of second, 0"]
        );
        let client = client(with(strategy));
        assert!(
            client
                .project(&name("absent"))
                .expect("an answer")
                .is_none()
        );
    }
}

#[test]
fn the_cache_answers_for_all_indexes_or_for_none() {
    let (first, second) = two();
    let folder = tempfile::tempdir().expect("a folder");
    let with = |strategy, offline| IndexSettings {
        extra_index_urls: vec![first.index_url()],
        strategy,
        offline,
        ..cached(&second, folder.path())
    };
    assert_eq!(
        versions(with(IndexStrategy::FirstIndex, false), &first, "alpha").len(),
        2
    );
    // Of the second index nothing is known yet.
    let offline = client(with(IndexStrategy::UnsafeBestMatch, true));
    let error = offline.project(&name("alpha")).expect_err("not cached");
    assert!(error.to_string().contains("not in the cache"), "{error}");
    for offline in [false, true] {
        assert_eq!(
            versions(
                with(IndexStrategy::UnsafeBestMatch, offline),
                &first,
                "alpha"
            )
            .len(),
            4
        );
    }
    assert_eq!(first.count("/simple/alpha/"), 1);
    assert_eq!(second.count("/simple/alpha/"), 1);
}

#[test]
fn an_index_that_fails_is_not_passed_over() {
    let (first, second) = two();
    first.change(|behaviour| behaviour.basic_auth = Some(("u".to_owned(), "p".to_owned())));
    for strategy in [IndexStrategy::FirstIndex, IndexStrategy::UnsafeBestMatch] {
        let client = client(IndexSettings {
            extra_index_urls: vec![first.index_url()],
            strategy,
            ..settings(&second)
        });
        let error = client.project(&name("alpha")).expect_err("refused");
        assert!(error.to_string().contains("refuses access"), "{error}");
    }
}

#[test]
fn an_index_without_upload_times_is_named_where_they_matter() {
    let (first, second) = two();
    let with = |exclude_newer| IndexSettings {
        extra_index_urls: vec![first.index_url()],
        exclude_newer,
        ..settings(&second)
    };
    let client_1 = client(with(parse_exclude_newer("2025-12-23").ok()));
    project(&client_1, "alpha");
    assert_eq!(
        client_1.warnings(),
        [format!(
            "{} does not say when its files were uploaded: with `--exclude-newer` those are left out",
            first.index_url()
        )]
    );
    let client_2 = client(with(None));
    project(&client_2, "alpha");
    assert!(client_2.warnings().is_empty());
}
