//! What source distributions promise: read from the archive, remembered, and believed only where it is a promise.

use std::io::Write as _;

use imgtool::package_index::{IndexSettings, PackageIndex as _};
use serde_json::json;

use super::{IndexServer, cached, client, newest, settings};
use crate::support::index_server::ServedFile;

/// A source distribution with this PKG-INFO.
fn source(folder: &str, pkg_info: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(pkg_info.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(
            &mut header,
            format!("{folder}/PKG-INFO"),
            pkg_info.as_bytes(),
        )
        .expect("memory");
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut packed = packed;
    packed
        .write_all(&archive.into_inner().expect("memory"))
        .expect("memory");
    packed.finish().expect("memory")
}

fn serve(pkg_info: &str) -> IndexServer {
    IndexServer::builder()
        .project("alpha")
        .file(ServedFile {
            filename: "alpha-1.0.tar.gz".to_owned(),
            bytes: Some(source("alpha-1.0", pkg_info)),
            metadata: None,
            page: json!({}),
        })
        .start()
}

fn promised(settings: IndexSettings) -> Option<Vec<String>> {
    let client = client(settings);
    let file = newest(&client, "alpha");
    let metadata = client.promised_metadata(&file);
    assert_eq!(
        client.promised_metadata(&file).is_some(),
        metadata.is_some()
    );
    metadata.map(|metadata| {
        metadata
            .requires_dist
            .iter()
            .map(ToString::to_string)
            .collect()
    })
}

#[test]
fn a_promise_is_fetched_once() {
    let server = serve(
        "Metadata-Version: 2.2\nName: alpha\nVersion: 1.0\nRequires-Dist: beta>=1\nDynamic: Description\n",
    );
    let folder = tempfile::tempdir().expect("a folder");
    for offline in [false, false, true] {
        let settings = IndexSettings {
            offline,
            ..cached(&server, folder.path())
        };
        assert_eq!(promised(settings), Some(vec!["beta>=1".to_owned()]));
    }
    assert_eq!(server.count("/files/alpha-1.0.tar.gz"), 1);
}

#[test]
fn what_is_no_promise_is_not_believed() {
    for pkg_info in [
        "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\nRequires-Dist: beta\n",
        "Metadata-Version: 2.2\nName: alpha\nVersion: 1.0\nDynamic: Requires-Dist\n",
        "Metadata-Version: 2.2\nName: alpha\nVersion: 1.0\nDynamic: requires-python\n",
        "Metadata-Version: 2.2\nName: alpha\nVersion: 1.0\nDynamic: Provides-Extra\n",
        "Metadata-Version: 2.2\nName: other\nVersion: 1.0\n",
        "Metadata-Version: 2.2\nName: alpha\nVersion: 1.1\n",
    ] {
        let server = serve(pkg_info);
        let folder = tempfile::tempdir().expect("a folder");
        for _ in 0..2 {
            assert_eq!(promised(cached(&server, folder.path())), None, "{pkg_info}");
        }
        assert_eq!(server.count("/files/alpha-1.0.tar.gz"), 1, "{pkg_info}");
    }
    // An archive that cannot be had, or that is none, promises nothing either.
    let server = serve("");
    server.change_projects(|projects| {
        projects.get_mut("alpha").expect("the project")[0].bytes = Some(b"no archive".to_vec());
    });
    assert_eq!(promised(settings(&server)), None);
    server.change_projects(|projects| {
        projects.get_mut("alpha").expect("the project")[0].bytes = None;
    });
    assert_eq!(promised(settings(&server)), None);
}
