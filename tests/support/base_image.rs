//! A base image to build on, made in memory: a system with merged `/usr`, a Python of its own with owners and modes that
//! are not the usual ones, and distributions with a right RECORD.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::image::{Packing, TestImage, TestLayer, gzip, zstd};
use super::registry::Pushed;
use super::root::{LOADER, executable};
use super::wheel;

/// Where the base has its distributions.
pub const SITE: &str = "opt/conda/lib/python3.10/site-packages";

/// When the base says that it was made, and the same in seconds since the epoch.
pub const CREATED: (&str, u64) = ("2024-05-01T12:00:00Z", 1_714_564_800);

/// The files of a layer, with owners and modes.
#[derive(Default)]
pub struct Files(Vec<(Header, String, String, Vec<u8>)>);

impl Files {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    fn add(mut self, kind: EntryType, path: &str, mode: u32, owner: (u64, u64)) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(1_000_000_000);
        header.set_size(0);
        self.0
            .push((header, path.to_owned(), String::new(), Vec::new()));
        self
    }

    /// A folder with a mode and an owner.
    #[must_use]
    pub fn folder(self, path: &str, mode: u32, owner: (u64, u64)) -> Self {
        self.add(EntryType::Directory, path, mode, owner)
    }

    /// A file that anybody reads.
    #[must_use]
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.file_as(path, 0o644, contents)
    }

    /// A file with a mode.
    #[must_use]
    pub fn file_as(self, path: &str, mode: u32, contents: impl AsRef<[u8]>) -> Self {
        let mut files = self.add(EntryType::Regular, path, mode, (0, 0));
        let (header, _, _, body) = files.0.last_mut().expect("a file");
        *body = contents.as_ref().to_vec();
        header.set_size(body.len() as u64);
        files
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        let mut files = self.add(EntryType::Symlink, path, 0o777, (0, 0));
        target.clone_into(&mut files.0.last_mut().expect("a link").2);
        files
    }

    /// A distribution with these files below its site folder, its record made from them.
    #[must_use]
    pub fn distribution(
        mut self,
        site: &str,
        stem: &str,
        headers: &str,
        contents: &[(&str, &str)],
    ) -> Self {
        let (name, version) = stem.split_once('-').expect("a name and a version");
        let info = format!("{stem}.dist-info");
        let mut record = String::new();
        let metadata = String::from_utf8(wheel::metadata(name, version, headers)).expect("text");
        let own = [
            (format!("{info}/METADATA"), metadata),
            (format!("{info}/INSTALLER"), "pip\n".to_owned()),
        ];
        let given = contents
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        for (path, text) in given.chain(own) {
            let _ = if is_byte_code(&path) {
                writeln!(record, "{path},,")
            } else {
                writeln!(
                    record,
                    "{path},sha256={},{}",
                    URL_SAFE_NO_PAD.encode(Sha256::digest(&text)),
                    text.len()
                )
            };
            self = self.file(&resolved(site, &path), text);
        }
        let _ = writeln!(record, "{info}/RECORD,,");
        self.file(&format!("{site}/{info}/RECORD"), record)
    }

    /// The layer.
    pub fn layer(self, packing: Packing) -> TestLayer {
        let mut archive = tar::Builder::new(Vec::new());
        for (mut header, path, target, body) in self.0 {
            match header.entry_type() {
                EntryType::Symlink => archive.append_link(&mut header, path, target),
                _ => archive.append_data(&mut header, path, body.as_slice()),
            }
            .expect("memory");
        }
        let tar = archive.into_inner().expect("memory");
        let mut layer = TestLayer::new(&[], packing);
        layer.blob = match packing {
            Packing::Plain => tar.clone(),
            Packing::Gzip => gzip(&tar),
            Packing::Zstd => zstd(&tar),
        };
        layer.tar = tar;
        layer
    }
}

/// A path of a record below its site folder.
fn resolved(site: &str, path: &str) -> String {
    let mut parts: Vec<&str> = site.split('/').collect();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// The system and its Python, without distributions.
pub fn system() -> Files {
    let conda = (1000, 100);
    Files::new()
        .folder("usr", 0o755, (0, 0))
        .folder("usr/lib", 0o755, (0, 0))
        .folder("usr/lib64", 0o755, (0, 0))
        .folder("usr/bin", 0o755, (0, 0))
        .link("lib", "usr/lib")
        .link("lib64", "usr/lib64")
        .link("bin", "usr/bin")
        .file("usr/lib/x86_64-linux-gnu/libc-2.31.so", "")
        .link("usr/lib/x86_64-linux-gnu/libc.so.6", "libc-2.31.so")
        .file(
            "usr/lib/x86_64-linux-gnu/ld-2.31.so",
            executable(62, "", ""),
        )
        .link(
            "usr/lib64/ld-linux-x86-64.so.2",
            "/lib/x86_64-linux-gnu/ld-2.31.so",
        )
        .folder("opt", 0o755, (0, 0))
        .folder("opt/conda", 0o2775, conda)
        .folder("opt/conda/bin", 0o2775, conda)
        .folder("opt/conda/lib", 0o2775, conda)
        .folder("opt/conda/lib/python3.10", 0o2770, conda)
        .folder(SITE, 0o2775, (1000, 200))
        .link("opt/conda/lib64", "lib")
        .file_as(
            "opt/conda/bin/python3.10",
            0o755,
            executable(62, LOADER, "3.10.13"),
        )
        .link("opt/conda/bin/python3", "python3.10")
        .file("opt/conda/lib/python3.10/os.py", "")
}

/// What is installed in the base: `protobuf`, `six`, and `tool`, which needs an old `six`.
pub fn distributions() -> Files {
    Files::new()
        .distribution(
            SITE,
            "protobuf-3.20.3",
            "",
            &[
                ("google/protobuf/__init__.py", "version = '3.20.3'\n"),
                ("google/protobuf/__pycache__/__init__.cpython-310.pyc", "p"),
            ],
        )
        .distribution(
            SITE,
            "six-1.16.0",
            "",
            &[
                ("six.py", "version = '1.16.0'\n"),
                ("__pycache__/six.cpython-310.pyc", "s"),
                ("six_old/__init__.py", "\n"),
            ],
        )
        .distribution(
            SITE,
            "tool-1.0",
            "Requires-Dist: six<1.17",
            &[
                ("tool/__init__.py", "\n"),
                ("../../../bin/tool", "#!/opt/conda/bin/python3.10\n"),
            ],
        )
}

/// The whole base.
pub fn base() -> TestImage {
    image(system(), Packing::Gzip)
}

/// A base of this system with the usual distributions on it.
pub fn image(system: Files, packing: Packing) -> TestImage {
    let mut image = TestImage::new(vec![system.layer(packing), distributions().layer(packing)]);
    image.config["created"] = json!(CREATED.0);
    image.config["config"] = json!({
        "Env": ["PATH=/opt/conda/bin:/usr/bin", "LANG=C.UTF-8"],
        "Entrypoint": ["python3", "-m", "tool"],
        "User": "1000",
        "WorkingDir": "/work",
        "Labels": { "org.example.team": "base" },
    });
    image
}

/// The image as a registry takes it.
pub fn pushed(image: &TestImage) -> Pushed {
    let mut blobs = vec![image.config_bytes()];
    blobs.extend(image.layers.iter().map(|layer| layer.blob.clone()));
    Pushed {
        manifest: (super::image::MANIFEST.to_owned(), image.manifest_bytes()),
        others: Vec::new(),
        blobs,
    }
}

/// The image as a registry takes it, in the media types of Docker.
pub fn docker(image: &TestImage) -> Pushed {
    let config = image.config_bytes();
    let described = |media_type: &str, bytes: &[u8]| super::image::descriptor(media_type, bytes);
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| {
            described(
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                &layer.blob,
            )
        })
        .collect();
    let media_type = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": described("application/vnd.docker.container.image.v1+json", &config),
        "layers": layers,
    });
    let mut pushed = pushed(image);
    pushed.manifest = (media_type.to_owned(), manifest.to_string().into_bytes());
    pushed
}

fn is_byte_code(path: &str) -> bool {
    let extension = std::path::Path::new(path).extension();
    extension.is_some_and(|extension| extension == "pyc")
}
