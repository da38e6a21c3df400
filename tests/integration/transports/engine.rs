//! `docker-daemon:` and `containers-storage:`, with scripts in the place of engines.
#![cfg(unix)]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use imgtool::transport::engine::{Engine, EngineSettings, open};
use imgtool::transport::platform::OciPlatform;
use imgtool::transport::{OpenedImage, TransportError};

use super::{assert_is, chain, contents, folder, open_with};
use crate::support::image::{Packing, TestImage, TestLayer, gzip, put, tar_of};

/// A folder with an engine in it.
pub(super) struct FakeEngine {
    pub(super) folder: tempfile::TempDir,
    name: &'static str,
}

impl FakeEngine {
    /// An engine that answers `inspect` with what it should, and `save` with `save`, lines of a shell script.
    pub(super) fn new(name: &'static str, image: &TestImage, save: &str) -> Self {
        let engine = Self {
            folder: folder(),
            name,
        };
        engine.file("inspect.json", image.inspected().to_string().as_bytes());
        engine.file(
            "archive.tar",
            &tar_of(&image.old_docker_archive(&["demo:1"])),
        );
        engine.script(&format!(
            "echo \"$*\" >>\"$here/log\"\ncase \"$1 $2\" in\n'image inspect') cat \"$here/inspect.json\" ;;\n\
             'image save') {save} ;;\n*) echo \"unknown: $*\" >&2; exit 9 ;;\nesac\n"
        ));
        engine
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        put(&self.path(name), bytes);
    }

    /// Written by another process: a program that this one still has open for writing, in a fork of another test, cannot
    /// be run.
    pub(super) fn script(&self, body: &str) {
        let path = self.path(self.name);
        let mut shell = Command::new("sh")
            .args(["-c", "cat >\"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let script = format!("#!/bin/sh\nhere=$(dirname \"$0\")\n{body}");
        let mut stdin = shell.stdin.take().expect("a pipe");
        stdin.write_all(script.as_bytes()).expect("a pipe");
        drop(stdin);
        assert!(shell.wait().expect("a shell").success());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn open(&self, patience: Duration) -> Result<OpenedImage, TransportError> {
        let folders = [self.folder.path().to_owned()];
        let settings = EngineSettings {
            program_path: &folders,
            patience,
        };
        let engine = match self.name {
            "docker" => Engine::Docker,
            _ => Engine::Podman,
        };
        open(engine, "demo:1", None, &settings, "an engine's demo:1")
    }

    /// What keeps the image from being read, which is told soon.
    fn error(&self, patience: Duration) -> String {
        let started = Instant::now();
        let error = self
            .open(patience)
            .and_then(|opened| contents(opened).map(drop));
        assert!(
            started.elapsed() < Duration::from_secs(8),
            "{:?}",
            started.elapsed()
        );
        chain(&error.expect_err("a failure"))
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn an_image_comes_out_of_either_engine() {
    let image = TestImage::small(Packing::Gzip);
    for (name, reference, saved) in [
        ("docker", "docker-daemon:demo:1", "image save demo:1"),
        (
            "podman",
            "containers-storage:demo:1",
            "image save --quiet --format docker-archive demo:1",
        ),
    ] {
        let engine = FakeEngine::new(name, &image, "cat \"$here/archive.tar\"");
        let opened = open_with(reference, None, engine.folder.path()).expect("an image");
        let OpenedImage::Stream(stream) = &opened else {
            panic!("an engine's image is a stream");
        };
        let announced = stream.announced().expect("what inspect says");
        let diff_ids: Vec<String> = announced
            .layers
            .iter()
            .map(|layer| layer.diff_id.to_string())
            .collect();
        let expected: Vec<String> = image.layers.iter().map(TestLayer::diff_id).collect();
        assert_eq!(diff_ids, expected);
        assert_eq!(announced.digest.is_some(), name == "podman");
        assert_eq!(announced.config.architecture().to_string(), "amd64");
        let env = announced
            .config
            .config()
            .as_ref()
            .and_then(|config| config.env().clone());
        assert_eq!(env, Some(vec!["PATH=/usr/local/bin:/usr/bin".to_owned()]));
        assert!(announced.source.open(&announced.layers[0]).is_err());
        assert_eq!(
            engine.log(),
            "image inspect demo:1\n",
            "nothing is saved before it is asked for"
        );
        let read = assert_is(opened, &image);
        assert_eq!(read.reference, reference);
        assert_eq!(read.digest.is_some(), name == "podman");
        assert_eq!(engine.log(), format!("image inspect demo:1\n{saved}\n"));
    }
}

#[test]
fn a_compressed_archive_and_an_unclear_inspection_do_no_harm() {
    let image = TestImage::small(Packing::Plain);
    let engine = FakeEngine::new("docker", &image, "cat \"$here/archive.tar.gz\"");
    engine.file(
        "archive.tar.gz",
        &gzip(&tar_of(&image.new_docker_archive(&["demo:1"]))),
    );
    for inspected in [
        "",
        "no JSON",
        "[]",
        "[{},{}]",
        "[{\"Architecture\":\"amd64\",\"RootFS\":{\"Layers\":[\"x\"]}}]",
    ] {
        engine.file("inspect.json", inspected.as_bytes());
        let opened = engine.open(LONG).expect("an image");
        if let OpenedImage::Stream(stream) = &opened {
            assert!(stream.announced().is_none(), "{inspected}");
        }
        assert_is(opened, &image);
    }
}

#[test]
fn an_engine_that_fails_is_quoted() {
    let image = TestImage::small(Packing::Plain);
    for (save, says) in [
        (
            "echo noise >&2; echo 'Error: demo:1: image not known.' >&2; exit 125",
            "podman cannot read `demo:1`: demo:1: image not known",
        ),
        (
            "exit 3",
            "podman cannot read `demo:1`, and does not say why (exit status 3)",
        ),
        (
            "head -c 2000 \"$here/archive.tar\"; echo 'broken storage' >&2; exit 1",
            "podman cannot read `demo:1`: broken storage",
        ),
        (
            "cat \"$here/archive.tar\"; echo 'too late' >&2; exit 1",
            "podman cannot read `demo:1`: too late",
        ),
        (
            "kill -9 $$",
            "podman cannot read `demo:1`, and does not say why (ended by a signal)",
        ),
        (
            "head -c 2000 \"$here/archive.tar\"",
            "it breaks off before its end",
        ),
        ("echo garbage", "it is no tar archive"),
        (":", "it is empty"),
        ("yes | head -c 30000000", "it is no tar archive"),
        ("yes", "it is no tar archive"),
        (
            "yes noise | head -c 9000000 >&2; exit 1",
            "podman cannot read `demo:1`: noise",
        ),
        (
            "printf 'tcp://u:secret@host \\033[31m' >&2; exit 1",
            "tcp://***@host",
        ),
    ] {
        let engine = FakeEngine::new("podman", &image, save);
        let error = engine.error(LONG);
        assert!(error.contains(says), "{save}: {error}");
        assert!(
            !error.contains("secret") && !error.contains('\u{1b}'),
            "{error}"
        );
    }
    let engine = FakeEngine::new("docker", &image, ":");
    engine.script("echo '[]'; echo 'Cannot connect to the Docker daemon. Is the docker daemon running?' >&2; exit 1\n");
    assert_eq!(
        engine.error(LONG),
        "docker cannot read `demo:1`: Cannot connect to the Docker daemon. Is the docker daemon running?"
    );
}

#[test]
fn an_engine_that_hangs_is_stopped() {
    let image = TestImage::small(Packing::Plain);
    let silent = "podman has been silent for 0.3 seconds, and was stopped";
    for save in [
        "sleep 1000",
        "head -c 2000 \"$here/archive.tar\"; sleep 1000",
        "cat \"$here/archive.tar\"; sleep 1000",
        // Its output ends, and it does not.
        "cat \"$here/archive.tar\"; exec >&-; sleep 1000",
        // It ends, and leaves something behind that keeps its output open.
        "sleep 3 & cat \"$here/archive.tar\"",
    ] {
        let engine = FakeEngine::new("podman", &image, save);
        let error = engine.error(SHORT);
        assert_eq!(error, silent, "{save}");
    }
    let engine = FakeEngine::new("podman", &image, ":");
    engine.script("sleep 1000\n");
    assert_eq!(engine.error(SHORT), silent);
}

#[test]
fn an_engine_whose_reader_gives_up_is_stopped_and_reaped() {
    let image = TestImage::small(Packing::Plain);
    let engine = FakeEngine::new(
        "docker",
        &image,
        "echo $$ >\"$here/pid\"; cat \"$here/archive.tar\"; yes",
    );
    let OpenedImage::Stream(stream) = engine.open(LONG).expect("an image") else {
        panic!("an engine's image is a stream");
    };
    let error = stream
        .read(&mut |_, _| Err(TransportError::NotFound("enough".to_owned())))
        .expect_err("the reader's reason");
    assert_eq!(error.to_string(), "enough");
    let pid = std::fs::read_to_string(engine.path("pid")).expect("it was started");
    // Neither running nor a zombie.
    let known = Command::new("ps")
        .args(["-p", pid.trim()])
        .stdout(Stdio::null())
        .status();
    assert!(!known.expect("ps").success(), "{pid} is still there");
}

#[test]
fn a_missing_engine_and_a_wrong_platform_have_a_way_out() {
    let image = TestImage::small(Packing::Plain);
    let empty = folder();
    for (reference, says) in [
        (
            "docker-daemon:demo:1",
            "docker is not installed, or not on the PATH: where it is, `docker save",
        ),
        (
            "containers-storage:demo:1",
            "podman is not installed, or not on the PATH: where it is, `podman save",
        ),
    ] {
        let error = chain(&open_with(reference, None, empty.path()).expect_err("no engine"));
        assert!(error.starts_with(says), "{error}");
        assert!(error.contains("`docker-archive:FILE`"), "{error}");
    }
    // What may not be run is no program.
    put(&empty.path().join("docker"), b"");
    assert!(open_with("docker-daemon:demo:1", None, empty.path()).is_err());
    let engine = FakeEngine::new("docker", &image, "cat \"$here/archive.tar\"");
    let platform = OciPlatform::new("linux", "arm64", "");
    let error = open_with("docker-daemon:demo:1", Some(platform), engine.folder.path());
    assert_eq!(
        error.expect_err("another platform").to_string(),
        "docker-daemon:demo:1 has no image for linux/arm64; it is one for linux/amd64"
    );
    assert_eq!(engine.log(), "image inspect demo:1\n");
}
