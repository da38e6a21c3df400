//! Wheels, and what pip, pypa/installer and uv each made of them; archives that a strict reader must or may read.
//!
//! The wheels that the suite has are installed or refused as all three do where they agree, and what is installed is file by
//! file what pip installs. Wheels that it only names (`real/`) are taken from the folder `IMGTOOL_WHEELS`, if one is given.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use imgtool::environment::InstallationScheme;
use imgtool::image_path::ImagePath;
use imgtool::layer::{ArchiveError, FileSource, InstallableWheel, InstalledWheel, WheelFault};
use imgtool::packaging::record::record_entries;
use imgtool::rootfs::Attributes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::harness::{Suite, document, files, path_of, text};

const TOOLS: [&str; 3] = ["pip", "installer", "uv"];
const PYTHON: &str = "/env/bin/python";

/// The scheme of the environment that the suite was recorded in, below `/env`.
fn scheme() -> InstallationScheme {
    let path = ImagePath::new;
    InstallationScheme {
        purelib: path("/env/lib/python3.12/site-packages"),
        platlib: path("/env/lib/python3.12/site-packages"),
        scripts: path("/env/bin"),
        headers: path("/env/include/site/python3.12"),
        data: path("/env"),
        executable: path(PYTHON),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the wheels lie outside the project: whoever runs the suites says where"
)]
fn folder_of_real_wheels() -> Option<PathBuf> {
    std::env::var_os("IMGTOOL_WHEELS")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
}

/// What an installer writes of its own, or of this installation only.
fn is_its_own(path: &str) -> bool {
    [
        "INSTALLER",
        "REQUESTED",
        "RECORD",
        "direct_url.json",
        "uv_cache.json",
    ]
    .iter()
    .any(|file| path.ends_with(&format!(".dist-info/{file}")))
}

/// Mode and contents of a file: the text where it is a script, as it names the interpreter, and SHA-256 elsewhere.
type Shown = (String, String);

/// Files by path, as they are shown and as they are.
type Files = BTreeMap<String, (Shown, Vec<u8>)>;

/// Every file of an installation, read to its end: what cannot be read is not installed.
fn installed_files(wheel: &InstallableWheel, installed: &InstalledWheel) -> io::Result<Files> {
    let mut found = BTreeMap::new();
    for (path, file) in &installed.files {
        let path = path.as_str().strip_prefix("/env/").expect("below /env");
        let mut bytes = Vec::new();
        match &file.source {
            FileSource::Bytes(here) => bytes.extend_from_slice(here),
            FileSource::Compiled { .. } => unreachable!("nothing is compiled here"),
            FileSource::Wheel { member, .. } => {
                let mut reader = wheel.open_member(*member).expect("a member");
                reader.read_to_end(&mut bytes)?;
            }
        }
        assert_eq!(bytes.len() as u64, file.size, "{path}");
        assert_eq!(
            file.sha256,
            <[u8; 32]>::from(Sha256::digest(&bytes)),
            "{path}"
        );
        let contents = hexadecimal(&file.sha256);
        let mode = format!("0o{:o}", file.attributes.mode);
        found.insert(path.to_owned(), ((mode, contents), bytes));
    }
    Ok(found)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Rows of a RECORD but those of what installers write of their own.
fn rows(record: &[u8]) -> BTreeMap<String, (Option<String>, Option<u64>)> {
    record_entries(record)
        .expect("a RECORD")
        .map(|row| row.expect("a row"))
        .filter(|row| !is_its_own(&row.path))
        .map(|row| (row.path, (row.hash, row.size)))
        .collect()
}

/// What imgtool makes of a wheel, or why it makes nothing.
fn files_from(path: &Path, name: &str) -> Result<Files, String> {
    let attributes = Attributes {
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    let wheel = InstallableWheel::open(path, name).map_err(|error| error.to_string())?;
    let installed = wheel
        .install(0, &scheme(), &attributes, true)
        .map_err(|error| error.to_string())?;
    installed_files(&wheel, &installed).map_err(|error| error.to_string())
}

/// The files that pip made, against those that imgtool makes.
fn compare_files(suite: &mut Suite, case: &Value, ours: &Files) {
    let name = text(case, "wheel");
    let theirs = case["pip"]["files"].as_object().expect("files");
    let paths: BTreeSet<&str> = ours
        .keys()
        .chain(theirs.keys())
        .map(String::as_str)
        .filter(|path| !path.ends_with("/direct_url.json"))
        .collect();
    for path in paths {
        let key = format!("{name}/{path}");
        let expected = theirs.get(path);
        let found = ours.get(path);
        let script = expected.and_then(|file| file["text"].as_str());
        let expected: Option<Shown> = expected.map(|file| {
            let contents = match script {
                _ if is_its_own(path) => String::new(),
                Some(script) => {
                    let script = script.replace("{python}", PYTHON);
                    hexadecimal(&Sha256::digest(script.as_bytes()))
                }
                None => text(file, "sha256").to_owned(),
            };
            (text(file, "mode").to_owned(), contents)
        });
        let found: Option<Shown> = found.map(|((mode, contents), _)| {
            let contents = if is_its_own(path) { "" } else { contents };
            (mode.clone(), contents.to_owned())
        });
        suite.compare(&key, &expected, &found);
    }
    let record = ours
        .iter()
        .find(|(path, _)| path.ends_with(".dist-info/RECORD"))
        .map(|(_, (_, bytes))| rows(bytes))
        .expect("a RECORD");
    let recorded = |tool: &str| {
        let files = case[tool]["files"].as_object()?;
        let (_, record) = files
            .iter()
            .find(|(path, _)| path.ends_with(".dist-info/RECORD"))?;
        Some(rows(record["text"].as_str()?.as_bytes()))
    };
    let theirs: Vec<_> = TOOLS.iter().filter_map(|tool| recorded(tool)).collect();
    for (path, row) in &record {
        // The interpreter is another, and so is the hash.
        let masked = path.starts_with("../../../bin/");
        let agrees = theirs
            .iter()
            .any(|rows| rows.get(path).is_some_and(|theirs| masked || theirs == row));
        suite.compare(&format!("{name}: RECORD of {path}"), &true, &agrees);
    }
}

#[test]
fn wheels_become_what_installers_make_of_them() {
    let mut suite = Suite::new("wheels");
    let real = folder_of_real_wheels();
    let cases = document("wheels/expected.json.gz");
    for case in cases.as_array().expect("a list") {
        let name = text(case, "wheel");
        let (kind, file_name) = name.split_once('/').expect("a folder");
        let path = match (kind, &real) {
            ("real", None) => {
                suite.skip();
                continue;
            }
            ("real", Some(folder)) => folder.join(file_name),
            _ => path_of(&format!("wheels/{name}")),
        };
        let answers: BTreeSet<bool> = TOOLS
            .iter()
            .map(|tool| case[tool]["ok"].as_bool().expect("an answer"))
            .collect();
        let installed = files_from(&path, file_name);
        match answers.len() {
            1 => {
                let expected = if answers.contains(&true) {
                    "installed"
                } else {
                    "refused"
                };
                let found = match &installed {
                    Ok(_) => "installed".to_owned(),
                    Err(_) if expected == "refused" => "refused".to_owned(),
                    Err(reason) => reason.clone(),
                };
                suite.compare(name, &expected.to_owned(), &found);
            }
            _ => suite.skip(),
        }
        if let Ok(installed) = &installed
            && case["pip"]["ok"] == true
        {
            compare_files(&mut suite, case, installed);
        }
    }
    suite.finish(90);
}

/// Whether the archive itself was read: what is refused then is that it is no wheel.
fn is_read(path: &Path) -> bool {
    let error = InstallableWheel::open(path, "archive-1-py3-none-any.whl")
        .expect_err("no archive here is a wheel");
    match &*error.fault {
        WheelFault::NoDistInfo => true,
        WheelFault::Archive(ArchiveError::Io(error)) => panic!("{error}"),
        WheelFault::Archive(_) => false,
        other => panic!("{other}"),
    }
}

#[test]
fn archives_that_must_be_accepted_are() {
    let mut suite = Suite::new("zip");
    for path in files("archives/zip/accept") {
        let name = path.file_name().expect("a name").to_string_lossy();
        suite.compare(&name, &true, &is_read(&path));
    }
    let mut refused = Vec::new();
    for path in files("archives/zip/iffy") {
        // Valid and read by some only: either answer is right, as long as it is one.
        suite.skip();
        if !is_read(&path) {
            refused.push(
                path.file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
            );
        }
    }
    println!(
        "zip: refused of those that are unusual: {}",
        refused.join(", ")
    );
    suite.finish(9);
}
