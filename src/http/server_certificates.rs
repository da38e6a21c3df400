//! Certificates of single servers, in the folders `certs.d/HOST[:PORT]` of docker and containers.
//!
//! Format: containers-certs.d(5). Files `*.crt` are certificate authorities that are trusted for this server, beside those
//! that are trusted for all. `NAME.cert` and `NAME.key` are a certificate and its key, with which we show who is asking.
//! What stands here counts for one host and port, and for no other to which that one may lead.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use super::error::HttpError;
use super::tls::{read_certificates, setup_error};

/// The port of HTTPS, which the name of a folder may leave out.
const HTTPS: u16 = 443;

/// What is known of one server.
#[derive(Default)]
pub(super) struct ServerCertificates {
    /// Who is trusted beside all others.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// With what we show who is asking.
    pub(super) identity: Option<Identity>,
}

/// A certificate of a client, the chain to its authority, and its key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// The folder of the server of `url`: the first that there is.
pub(super) fn folder_of(url: &Url, folders: &[PathBuf]) -> Option<PathBuf> {
    let host = url.host_str().filter(|host| !host.starts_with('.'))?;
    let port = url.port_or_known_default()?;
    let with_port = format!("{host}:{port}");
    let names: &[&str] = if port == HTTPS {
        &[host, &with_port]
    } else {
        &[&with_port]
    };
    folders
        .iter()
        .flat_map(|folder| names.iter().map(|name| folder.join(name)))
        .find(|folder| folder.is_dir())
}

/// Reads the folder of a server. Of several certificates of a client the first by name counts.
///
/// # Errors
/// When a file cannot be read or does not hold what its name says, or when one of a pair is missing.
pub(super) fn read(folder: &Path) -> Result<ServerCertificates, HttpError> {
    let unreadable = |error: std::io::Error| {
        setup_error(format!(
            "the certificates in {} cannot be read: {error}",
            folder.display()
        ))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        files.push(entry.map_err(unreadable)?.path());
    }
    files.sort();
    let mut found = ServerCertificates::default();
    for file in &files {
        match file.extension().and_then(OsStr::to_str) {
            Some("crt") => found.authorities.extend(read_certificates(file)?),
            Some("cert") => {
                let key = file.with_extension("key");
                if !key.exists() {
                    return Err(setup_error(format!(
                        "{} is a certificate of a client and has no {} (authorities have names in .crt)",
                        file.display(),
                        key.display()
                    )));
                }
                if found.identity.is_none() {
                    found.identity = Some(Identity {
                        chain: read_certificates(file)?,
                        key: read_key(&key)?,
                    });
                }
            }
            Some("key") if !file.with_extension("cert").exists() => {
                return Err(setup_error(format!(
                    "{} is the key of no certificate: there is no {}",
                    file.display(),
                    file.with_extension("cert").display()
                )));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, HttpError> {
    // The parser's message tells of the file's form and nothing of the key.
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        setup_error(format!(
            "the key in {} cannot be read: {error}",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_the_first_folder_of_its_name() {
        let root = tempfile::tempdir().expect("a folder");
        let folders = ["own", "system"].map(|name| root.path().join(name));
        for folder in [
            "own/a.example:5000",
            "system/a.example:5000",
            "system/a.example",
            "system/b.example:443",
            "system/[::1]:5000",
        ] {
            std::fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        for (url, folder) in [
            ("https://a.example:5000/v2/", Some("own/a.example:5000")),
            ("https://A.example/v2/", Some("system/a.example")),
            ("https://a.example:443/v2/", Some("system/a.example")),
            ("https://b.example/v2/", Some("system/b.example:443")),
            ("https://[::1]:5000/v2/", Some("system/[::1]:5000")),
            ("https://a.example:5001/v2/", None),
            ("https://x.a.example/v2/", None),
            ("https://b.example:5000/v2/", None),
        ] {
            let found = folder_of(&Url::parse(url).expect("a URL"), &folders);
            assert_eq!(
                found,
                folder.map(|folder| root.path().join(folder)),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_not_what_its_name_says_is_told() {
        for (files, says) in [
            (&["ca.crt"][..], "ca.crt holds no certificate in PEM form"),
            (&["client.cert"], "has no "),
            (&["client.key"], "is the key of no certificate"),
            (
                &["client.cert", "client.key"],
                "client.cert holds no certificate",
            ),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            for file in files {
                std::fs::File::create(folder.path().join(file)).expect("a file");
            }
            let error = read(folder.path()).err().expect("refused").to_string();
            assert!(error.contains(says), "{error}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::File::create(folder.path().join("README")).expect("a file");
        let found = read(folder.path()).expect("nothing");
        assert!(found.authorities.is_empty() && found.identity.is_none());
    }
}
