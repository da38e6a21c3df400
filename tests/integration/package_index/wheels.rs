//! Whole wheels: streamed, verified, kept, and fetched again where what was kept is damaged.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use imgtool::package_index::{
    FetchProgress, IndexClient, IndexError, IndexFile, IndexSettings, StoredWheel, Unwatched,
};
use imgtool::packaging::wheel_name::WheelName;
use sha2::{Digest as _, Sha256};

use super::{alpha, at, cached, client, newest, settings};
use crate::support::index_server::IndexServer;

const PATH: &str = "/files/alpha-2.0-py3-none-any.whl";

fn fetch(client: &IndexClient) -> Result<StoredWheel, IndexError> {
    client.fetch_wheel(&newest(client, "alpha"), &Unwatched)
}

/// The files of the wheel store below a cache folder.
fn kept(cache: &Path) -> Vec<PathBuf> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                visit(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    visit(&cache.join("package-index-v1/wheels"), &mut found);
    found.sort();
    found
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path)
        .and_then(|mut file| file.write_all(bytes))
        .expect("written");
}

#[test]
fn a_wheel_is_fetched_once_for_all_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha().start();
    let first = fetch(&client(cached(&server, folder.path()))).expect("a wheel");
    let bytes = std::fs::read(&first.path).expect("the wheel");
    assert_eq!(first.sha256, sha256(&bytes));
    assert_eq!(first.size, bytes.len() as u64);
    assert_eq!(first.file_name, "alpha-2.0-py3-none-any.whl");
    assert!(!first.is_temporary());
    assert_eq!(kept(folder.path()), std::slice::from_ref(&first.path));
    assert!(first.path.ends_with(&first.sha256[2..]));
    let again = client(cached(&server, folder.path()));
    assert_eq!(fetch(&again).expect("a wheel").path, first.path);
    assert_eq!(again.requests_made(), 0);
    assert_eq!(server.count(PATH), 1);
    let offline = client(IndexSettings {
        offline: true,
        ..cached(&server, folder.path())
    });
    assert_eq!(fetch(&offline).expect("a wheel").path, first.path);
}

#[test]
fn what_is_damaged_in_the_cache_is_fetched_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha().start();
    let wheel = fetch(&client(cached(&server, folder.path()))).expect("a wheel");
    let whole = std::fs::read(&wheel.path).expect("the wheel");
    let mut flipped = whole.clone();
    flipped[7] ^= 1;
    let mut longer = whole.clone();
    longer.push(0);
    for (count, damage) in [&flipped[..], &whole[..9], b"", &longer]
        .into_iter()
        .enumerate()
    {
        put(&wheel.path, damage);
        let again = fetch(&client(cached(&server, folder.path()))).expect("a wheel");
        assert_eq!(std::fs::read(&again.path).expect("the wheel"), whole);
        assert_eq!(server.count(PATH), count + 2);
    }
    put(&wheel.path, &flipped);
    let offline = client(IndexSettings {
        offline: true,
        ..cached(&server, folder.path())
    });
    let error = fetch(&offline).expect_err("damaged, and nobody to ask");
    assert_eq!(
        error.to_string(),
        "`alpha-2.0-py3-none-any.whl` is not in the cache, and cannot be fetched while offline"
    );
    assert!(error.is_bad_input() && error.hint().is_some());
}

#[test]
fn other_bytes_than_announced_are_never_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha()
        .behaviour(|behaviour| behaviour.wrong_file_hash = true)
        .start();
    let client_1 = client(cached(&server, folder.path()));
    let mut file = newest(&client_1, "alpha");
    let error = client_1.fetch_wheel(&file, &Unwatched).expect_err("wrong");
    let IndexError::HashMismatch {
        file: name,
        expected,
        found,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(name, "alpha-2.0-py3-none-any.whl");
    assert_eq!(*expected, "0".repeat(64));
    assert!(error.to_string().contains(expected) && error.to_string().contains(found));
    assert_eq!(kept(folder.path()), [""; 0].map(PathBuf::from));
    file.sha256 = Some(found.clone());
    let size = file.size.expect("a size");
    for (announced, told) in [(size - 1, "an"), (size + 1, "an")] {
        file.size = Some(announced);
        let error = client_1.fetch_wheel(&file, &Unwatched).expect_err(told);
        assert_eq!(
            error.to_string(),
            format!("`alpha-2.0-py3-none-any.whl` has {size} bytes, but {announced} are announced")
        );
    }
    file.size = None;
    client_1.fetch_wheel(&file, &Unwatched).expect("the wheel");
}

#[test]
fn without_a_cache_wheels_live_as_long_as_somebody_holds_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha().start();
    let occupied = folder.path().join("file");
    put(&occupied, b"");
    for (settings, warnings) in [(settings(&server), 0), (cached(&server, &occupied), 1)] {
        let client = client(settings);
        let wheel = fetch(&client).expect("a wheel");
        assert!(wheel.is_temporary());
        // The same run does not fetch it twice.
        let before = server.count(PATH);
        assert_eq!(fetch(&client).expect("a wheel").path, wheel.path);
        assert_eq!(server.count(PATH), before);
        assert_eq!(client.warnings().len(), warnings);
        drop(client);
        let path = wheel.path.clone();
        assert!(path.is_file());
        drop(wheel);
        assert!(!path.exists());
    }
}

#[test]
fn a_wheel_without_a_hash_is_hashed_and_good_as_long_as_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha()
        .behaviour(|behaviour| behaviour.no_hashes = true)
        .start();
    for (time, fetched) in [(0, 1), (599_999, 1), (600_000, 2)] {
        let client = IndexClient::new(cached(&server, folder.path()), at(time)).expect("a client");
        let wheel = fetch(&client).expect("a wheel");
        let bytes = std::fs::read(&wheel.path).expect("the wheel");
        assert_eq!(wheel.sha256, sha256(&bytes));
        assert_eq!(server.count(PATH), fetched, "{time}");
    }
}

#[test]
fn a_wheel_of_a_folder_is_used_where_it_lies() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = alpha().start();
    let wheel = fetch(&client(settings(&server))).expect("a wheel");
    let path = folder.path().join("alpha-9-py3-none-any.whl");
    std::fs::copy(&wheel.path, &path).expect("copied");
    let client = client(IndexSettings {
        find_links: vec![folder.path().display().to_string()],
        ..cached(&server, &folder.path().join("cache"))
    });
    let file = newest(&client, "alpha");
    assert_eq!(file.filename, "alpha-9-py3-none-any.whl");
    let local = client.fetch_wheel(&file, &Unwatched).expect("a wheel");
    assert_eq!(
        local.path.canonicalize().expect("a path"),
        path.canonicalize().expect("a path")
    );
    assert_eq!((local.sha256, local.size), (wheel.sha256, wheel.size));
    assert!(kept(&folder.path().join("cache")).is_empty());
}

/// Counts what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl FetchProgress for Heard {
    fn started(&self, index: usize, total: usize, file_name: &str, size: Option<u64>) {
        let line = format!("{index}/{total} {file_name} {}", size.is_some());
        self.0.lock().expect("heard").push(line);
    }
    fn advanced(&self, index: usize, bytes: u64) {
        assert!(bytes > 0, "{index}");
    }
    fn finished(&self, index: usize, cached: bool) {
        self.0
            .lock()
            .expect("heard")
            .push(format!("{index} {cached}"));
    }
}

#[test]
fn several_wheels_come_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut builder = IndexServer::builder();
    let names: Vec<String> = (0..9).map(|number| format!("project-{number}")).collect();
    for name in &names {
        builder = builder.project(name).wheel("1.0", "");
    }
    let server = builder.start();
    let client = client(cached(&server, folder.path()));
    let files: Vec<IndexFile> = names.iter().map(|name| newest(&client, name)).collect();
    let heard = Heard::default();
    let wheels = client.fetch_wheels(&files, &heard).expect("wheels");
    let fetched: Vec<String> = wheels
        .iter()
        .map(|wheel| {
            let name: WheelName = wheel.file_name.parse().expect("a name");
            name.name.to_string()
        })
        .collect();
    assert_eq!(fetched, names);
    let heard = heard.0.into_inner().expect("heard");
    assert_eq!(heard.len(), 18);
    assert!(heard.contains(&"8/9 project_8-1.0-py3-none-any.whl true".to_owned()));
    assert!(heard.contains(&"3 false".to_owned()));
    // Of several that cannot be had one is named, and what came is kept.
    server.change_projects(|projects| {
        for name in &names[1..] {
            projects.get_mut(name).expect("a project")[0].bytes = None;
        }
    });
    std::fs::remove_file(&wheels[4].path).expect("removed");
    let error = client.fetch_wheels(&files, &Unwatched).expect_err("gone");
    assert!(
        error
            .to_string()
            .starts_with("cannot fetch `project_4-1.0-py3-none-any.whl`: "),
        "{error}"
    );
    assert!(
        client
            .fetch_wheels(&[], &Unwatched)
            .expect("none")
            .is_empty()
    );
}

/// Serves `bytes` for ever, and breaks every connection off after `most` bytes of the body; the starts of the ranges
/// that were asked for are handed over.
fn breaking(bytes: Vec<u8>, most: usize) -> (String, std::sync::mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, starts) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut start = None;
            for line in BufReader::new(&stream).lines() {
                let line = line.expect("a line").to_ascii_lowercase();
                if let Some(range) = line.strip_prefix("range: bytes=") {
                    start = range.trim_end_matches('-').parse::<usize>().ok();
                }
                if line.is_empty() {
                    break;
                }
            }
            if sender.send(start.unwrap_or(0)).is_err() {
                return;
            }
            let body = &bytes[start.unwrap_or(0)..];
            let head = match start {
                Some(start) => format!(
                    "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
                    bytes.len() - 1,
                    bytes.len()
                ),
                None => "200 OK".to_owned(),
            };
            let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body[..body.len().min(most)]);
        }
    });
    (origin, starts)
}

fn file_at(origin: &str, bytes: &[u8]) -> IndexFile {
    IndexFile {
        filename: "big-1.0-py3-none-any.whl".to_owned(),
        url: format!("{origin}/big-1.0-py3-none-any.whl"),
        sha256: Some(sha256(bytes)),
        size: None,
        requires_python: None,
        yanked: None,
        core_metadata: None,
        upload_time: None,
    }
}

#[test]
fn a_connection_that_breaks_is_gone_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let (origin, starts) = breaking(bytes.clone(), 300_000);
    let client = client(IndexSettings {
        index_url: None,
        cache_dir: Some(folder.path().to_owned()),
        back_off: std::time::Duration::from_millis(1),
        ..IndexSettings::default()
    });
    let wheel = client
        .fetch_wheel(&file_at(&origin, &bytes), &Unwatched)
        .expect("a wheel");
    assert_eq!(std::fs::read(&wheel.path).expect("the wheel"), bytes);
    let starts: Vec<usize> = starts.try_iter().collect();
    assert_eq!(starts, [0, 300_000, 600_000, 900_000]);
}

#[test]
fn a_connection_that_breaks_for_ever_ends_in_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = vec![3; 100_000];
    let (origin, starts) = breaking(bytes.clone(), 10);
    let client = client(IndexSettings {
        index_url: None,
        cache_dir: Some(folder.path().to_owned()),
        back_off: std::time::Duration::from_millis(1),
        ..IndexSettings::default()
    });
    let error = client
        .fetch_wheel(&file_at(&origin, &bytes), &Unwatched)
        .expect_err("broken");
    assert!(
        error
            .to_string()
            .starts_with("cannot fetch `big-1.0-py3-none-any.whl`: cannot reach http://127.0.0.1:"),
        "{error}"
    );
    assert!(starts.try_iter().count() > 2);
    assert!(kept(folder.path()).is_empty());
}
