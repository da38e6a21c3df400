//! Files beside the indexes: folders and pages of `--find-links`.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use imgtool::package_index::{
    IndexClient, IndexError, IndexSettings, PackageIndex as _, Project, parse_exclude_newer,
};

use super::{
    IndexServer, alpha, at, cached, client, name, newest, project, requirements, settings,
};
use crate::support::index_server::{ServedFile, sha256};
use crate::support::wheel;

fn write(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).expect("a file");
    file.write_all(bytes).expect("written");
}

/// Puts a wheel into a folder.
fn put(folder: &Path, project: &str, version: &str, headers: &str) -> Vec<u8> {
    let filename = format!("{project}-{version}-py3-none-any.whl");
    let metadata = wheel::metadata(project, version, headers);
    let bytes = wheel::synthesize(&filename, &metadata, 0, false);
    write(&folder.join(filename), &bytes);
    bytes
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

/// `version: file names` of a project, those on this machine marked.
fn shape(project: &Project) -> Vec<String> {
    let versions = project.versions().iter().map(|version| {
        let files = project.files(version).into_iter().map(|file| {
            if file.url.starts_with("file:") {
                format!("{} here", file.filename)
            } else {
                file.filename
            }
        });
        format!(
            "{}: {}",
            version.version,
            files.collect::<Vec<_>>().join(", ")
        )
    });
    versions.collect()
}

#[test]
fn a_folder_is_offered_beside_the_index() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "alpha", "2.0", "");
    let bytes = put(folder.path(), "alpha", "3.0", "Requires-Dist: gamma>=3");
    put(folder.path(), "only_here", "1.0", "");
    write(&folder.path().join("alpha-2.5.tar.gz"), b"source");
    write(&folder.path().join("readme.txt"), b"no archive");
    let server = alpha().start();
    let client = client(IndexSettings {
        find_links: vec![text(folder.path())],
        ..settings(&server)
    });
    assert_eq!(
        shape(&project(&client, "alpha")),
        [
            "3.0: alpha-3.0-py3-none-any.whl here",
            "2.5: alpha-2.5.tar.gz here",
            "2.0: alpha-2.0-py3-none-any.whl here",
            "1.5: alpha-1.5-py3-none-any.whl",
            "1.0: alpha-1.0-py3-none-any.whl",
        ]
    );
    assert_eq!(
        shape(&project(&client, "only-here")),
        ["1.0: only_here-1.0-py3-none-any.whl here"]
    );
    assert!(
        client
            .project(&name("absent"))
            .expect("an answer")
            .is_none()
    );

    let mut file = newest(&client, "alpha");
    assert_eq!(file.size, Some(bytes.len() as u64));
    assert_eq!(file.sha256, None, "computed where it is needed");
    assert_eq!(requirements(&client, &file), ["gamma>=3"]);
    client.hash_local(&mut file).expect("a hash");
    assert_eq!(file.sha256, Some(sha256(&bytes)));
    assert_eq!(client.download(&file).expect("the file"), bytes);
    let contents = client
        .wheel_contents(&file)
        .expect("an answer")
        .expect("a wheel");
    assert!(
        contents
            .file_names
            .contains(&"alpha/__init__.py".to_owned())
    );
    assert_eq!(
        server.paths(),
        ["/simple/alpha/", "/simple/only-here/", "/simple/absent/"]
    );
    assert!(client.warnings().is_empty());

    // What the index offers is announced by it, and not touched.
    let mut of_index = project(&client, "alpha").files(&project(&client, "alpha").versions()[4]);
    let announced = of_index[0].clone();
    client.hash_local(&mut of_index[0]).expect("nothing to do");
    assert_eq!(of_index[0], announced);
}

#[test]
fn without_an_index_and_offline_a_folder_is_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "alpha", "1.0", "");
    let alone = client(IndexSettings {
        index_url: None,
        find_links: vec![format!("file://{}", text(folder.path()))],
        ..IndexSettings::default()
    });
    assert_eq!(project(&alone, "alpha").versions().len(), 1);
    assert!(alone.project(&name("beta")).expect("an answer").is_none());

    let server = alpha().start();
    let offline = client(IndexSettings {
        find_links: vec![text(folder.path())],
        offline: true,
        ..settings(&server)
    });
    assert_eq!(project(&offline, "alpha").versions().len(), 1);
    let error = offline.project(&name("beta")).expect_err("not cached");
    assert!(
        matches!(error, IndexError::ProjectNotCached { .. }),
        "{error}"
    );
    assert!(server.paths().is_empty());
}

#[test]
fn what_is_malformed_is_passed_over_with_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        &folder.path().join("alpha-2.0-py3-none-any.whl"),
        b"no archive",
    );
    write(&folder.path().join("alpha-3.0.whl"), b"no name of a wheel");
    put(folder.path(), "alpha", "1.0", "");
    std::fs::create_dir(folder.path().join("alpha-4.0-py3-none-any.whl")).expect("a folder");
    std::os::unix::fs::symlink("nowhere", folder.path().join("alpha-5.0-py3-none-any.whl"))
        .expect("a link");
    let client = client(IndexSettings {
        index_url: None,
        find_links: vec![text(folder.path())],
        ..IndexSettings::default()
    });
    assert_eq!(
        shape(&project(&client, "alpha")),
        [
            "2.0: alpha-2.0-py3-none-any.whl here",
            "1.0: alpha-1.0-py3-none-any.whl here"
        ]
    );
    let wheel = newest(&client, "alpha");
    let reason = client
        .metadata(&wheel)
        .expect("an answer")
        .expect_err("no wheel");
    assert!(reason.starts_with("not a valid wheel"), "{reason}");
    let warnings = client.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].contains("alpha-3.0.whl is passed over: its name is not that of a wheel"));
    assert!(warnings[1].contains("alpha-5.0-py3-none-any.whl is passed over: No such file"));
    assert!(warnings[2].contains("alpha-2.0-py3-none-any.whl is passed over: not a valid wheel"));
}

#[test]
fn what_is_not_there_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "alpha", "1.0", "");
    let text_file = folder.path().join("links.txt");
    write(&text_file, b"alpha");
    let with = |place: &str| IndexSettings {
        index_url: None,
        find_links: vec![place.to_owned()],
        ..IndexSettings::default()
    };
    for (place, reason) in [
        (
            text(&folder.path().join("absent")),
            "there is no such file or folder",
        ),
        (text(&text_file), "it is neither a folder nor an HTML file"),
    ] {
        let error = client(with(&place))
            .project(&name("alpha"))
            .expect_err("no place");
        assert!(error.is_bad_input());
        let error = error.to_string();
        assert!(error.contains(&place) && error.contains(reason), "{error}");
    }
    let error = IndexClient::new(with("ftp://u:secret@h.invalid/"), at(0)).expect_err("no place");
    assert!(!error.to_string().contains("secret"), "{error}");

    let client = client(with(&text(folder.path())));
    let mut wheel = newest(&client, "alpha");
    std::fs::remove_file(folder.path().join(&wheel.filename)).expect("removed");
    for error in [
        client.metadata(&wheel).expect_err("gone"),
        client.hash_local(&mut wheel).expect_err("gone"),
    ] {
        assert!(error.is_bad_input());
        let error = error.to_string();
        assert!(
            error.contains("it has vanished since its folder was read"),
            "{error}"
        );
    }
}

#[test]
fn a_page_of_links_is_asked_for_once_and_kept() {
    let server = IndexServer::builder()
        .project("links")
        .file(ServedFile {
            filename: "alpha-9.0-py3-none-any.whl".to_owned(),
            bytes: Some(wheel::synthesize(
                "alpha-9.0-py3-none-any.whl",
                &wheel::metadata("alpha", "9.0", "Requires-Dist: beta"),
                0,
                false,
            )),
            metadata: None,
            page: serde_json::json!({}),
        })
        .wheel("1.0", "")
        .project("alpha")
        .wheel("1.0", "")
        .behaviour(|behaviour| behaviour.basic_auth = Some(("u".to_owned(), "p".to_owned())))
        .start();
    let folder = tempfile::tempdir().expect("a folder");
    let page = server.index_url_with("u", "p") + "links/";
    let with = |offline| IndexSettings {
        index_url: Some(server.index_url_with("u", "p")),
        find_links: vec![page.clone()],
        offline,
        ..cached(&server, folder.path())
    };
    for offline in [false, true] {
        let client = client(with(offline));
        assert_eq!(
            shape(&project(&client, "alpha")),
            [
                "9.0: alpha-9.0-py3-none-any.whl",
                "1.0: alpha-1.0-py3-none-any.whl"
            ]
        );
        assert_eq!(requirements(&client, &newest(&client, "alpha")), ["beta"]);
        // The project of that name is on the page, too.
        if !offline {
            assert_eq!(project(&client, "links").versions().len(), 1);
        }
        assert!(!format!("{client:?}").contains("u:p"), "{client:?}");
    }
    assert_eq!(server.count("/simple/alpha/"), 1);
    // Once as a page of links, once as the index's page of that project.
    assert_eq!(server.count("/simple/links/"), 2);

    let gone = client(IndexSettings {
        find_links: vec![server.index_url_with("u", "p") + "absent/"],
        ..with(false)
    });
    let error = gone.project(&name("alpha")).expect_err("no page");
    assert!(
        error.to_string().contains("there is no such page"),
        "{error}"
    );
    let timed = client(IndexSettings {
        exclude_newer: parse_exclude_newer("2025-12-23").ok(),
        index_url: None,
        ..with(false)
    });
    project(&timed, "alpha");
    assert_eq!(timed.warnings().len(), 1, "a page has no times");
}

#[test]
fn only_a_page_of_this_machine_leads_to_files_of_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = put(folder.path(), "alpha", "1.0", "Requires-Dist: beta");
    let page = format!(
        "<a href=\"alpha-1.0-py3-none-any.whl#sha256={}\">alpha</a>",
        sha256(&bytes)
    );
    write(&folder.path().join("links.html"), page.as_bytes());
    let here = client(IndexSettings {
        index_url: None,
        find_links: vec![text(&folder.path().join("links.html"))],
        ..IndexSettings::default()
    });
    let mut wheel = newest(&here, "alpha");
    assert_eq!(requirements(&here, &wheel), ["beta"]);
    here.hash_local(&mut wheel).expect("as announced");
    put(folder.path(), "alpha", "1.0", "Requires-Dist: other");
    let error = here.hash_local(&mut wheel).expect_err("another file");
    assert!(matches!(error, IndexError::HashMismatch { .. }), "{error}");

    let server = IndexServer::builder()
        .project("alpha")
        .behaviour(|behaviour| {
            behaviour.page_body = Some(format!(
                r#"{{"files": [{{"filename": "alpha-1.0-py3-none-any.whl",
                "url": "file://{}/alpha-1.0-py3-none-any.whl", "hashes": {{}}}}]}}"#,
                text(folder.path())
            ));
        })
        .start();
    let far: Arc<Project> = project(&client(settings(&server)), "alpha");
    assert!(far.versions().is_empty(), "{:?}", shape(&far));
}

#[test]
fn a_file_of_this_machine_is_older_than_any_end_of_time() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "alpha", "1.0", "");
    let client = client(IndexSettings {
        index_url: None,
        find_links: vec![text(folder.path())],
        exclude_newer: parse_exclude_newer("2001-01-01").ok(),
        ..IndexSettings::default()
    });
    let project = project(&client, "alpha");
    let mut files = project.records(&project.versions()[0]);
    let end = parse_exclude_newer("2001-01-01").expect("a time");
    assert!(files.all(|file| file.is_before(end) == Some(true)));
    assert!(client.warnings().is_empty());
}
