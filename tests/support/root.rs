//! Small unpacked root file systems with a Python in them, made on the spot.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use imgtool::environment::{
    Environment, EnvironmentError, Provenance, Search, read_directory, read_root,
};
use imgtool::rootfs::DirectoryRoot;

/// Where the loader of glibc lies.
pub const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// An unpacked root file system.
pub struct Root {
    path: PathBuf,
    /// Removed with the root.
    temporary: Option<tempfile::TempDir>,
}

impl Root {
    /// An empty root in a temporary folder.
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().expect("a folder");
        Self {
            path: temporary.path().to_owned(),
            temporary: Some(temporary),
        }
    }

    /// A root in a temporary folder, with glibc 2.31 where Debian has it.
    pub fn debian() -> Self {
        Self::new().with_glibc()
    }

    /// The same in a folder of the caller's, which is made.
    pub fn debian_at(path: PathBuf) -> Self {
        let temporary = None;
        Self { path, temporary }.with_glibc()
    }

    fn with_glibc(self) -> Self {
        let root = self;
        root.write("/etc/debian_version", b"11.6\n");
        let library = "/lib/x86_64-linux-gnu/libc-2.31.so";
        root.write(library, b"");
        root.link("libc-2.31.so", "/lib/x86_64-linux-gnu/libc.so.6");
        root.link("/lib/x86_64-linux-gnu/ld-2.31.so", LOADER);
        root.write("/lib/x86_64-linux-gnu/ld-2.31.so", executable(62, "", ""));
        root
    }

    /// Where the root lies on this machine.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a path of the root lies on this machine.
    pub fn on_disk(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    /// The same, with its folder made.
    pub fn make_way(&self, path: &str) -> PathBuf {
        let path = self.on_disk(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        path
    }

    /// Writes a file.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let mut file = fs::File::create(self.make_way(path)).expect("a file");
        file.write_all(bytes.as_ref()).expect("written");
    }

    /// Makes a folder.
    pub fn folder(&self, path: &str) {
        fs::create_dir_all(self.on_disk(path)).expect("a folder");
    }

    /// Makes a symbolic link.
    pub fn link(&self, target: &str, path: &str) {
        symlink(target, self.make_way(path)).expect("a link");
    }

    /// A CPython in `prefix` of which only its bytes tell the release.
    pub fn python(&self, prefix: &str, release: &str) {
        let minor = release.rsplit_once('.').expect("three numbers").0;
        self.write(&format!("{prefix}/lib/python{minor}/os.py"), "");
        self.folder(&format!("{prefix}/lib/python{minor}/site-packages"));
        self.write(
            &format!("{prefix}/bin/python{minor}"),
            executable(62, LOADER, release),
        );
        let major = minor.split('.').next().expect("a number");
        self.link(
            &format!("python{minor}"),
            &format!("{prefix}/bin/python{major}"),
        );
    }

    /// A distribution of which only METADATA is there.
    pub fn metadata(&self, site: &str, folder: &str, text: &str) {
        self.write(&format!("{site}/{folder}/METADATA"), text);
    }

    /// A distribution that requires nothing.
    pub fn distribution(&self, site: &str, name: &str, version: &str) {
        self.metadata(
            site,
            &format!("{name}-{version}.dist-info"),
            &format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n"),
        );
    }

    /// A distribution with further lines of metadata.
    pub fn installed(&self, site: &str, name: &str, version: &str, headers: &str) {
        let metadata = super::wheel::metadata(name, version, headers);
        let folder = format!("{}-{version}.dist-info", name.replace('-', "_"));
        self.write(&format!("{site}/{folder}/METADATA"), metadata);
    }

    /// Reads the whole root.
    pub fn read(&self) -> Environment {
        read_directory(&self.path, None).expect("an environment")
    }

    /// The whole root as a file system.
    pub fn view(&self) -> DirectoryRoot {
        DirectoryRoot::open(&self.path).expect("a root")
    }

    /// Reads the whole root as an image whose config says `search`.
    pub fn read_as(&self, search: Search<'_>) -> Result<Environment, EnvironmentError> {
        let provenance = Provenance::Image {
            reference: "image".to_owned(),
            digest: None,
        };
        read_root(&self.view(), "image", search, provenance)
    }

    /// A virtual environment of `/usr/local/bin/python3.11`.
    pub fn venv(&self, at: &str, config: &str) {
        self.write(&format!("{at}/pyvenv.cfg"), config);
        self.folder(&format!("{at}/lib/python3.11/site-packages"));
        self.link("lib", &format!("{at}/lib64"));
        self.link("/usr/local/bin/python3.11", &format!("{at}/bin/python"));
        self.link("python", &format!("{at}/bin/python3"));
    }

    /// A PyPy that speaks Python `release`.
    pub fn pypy(&self, prefix: &str, release: &str) {
        let minor = release.rsplit_once('.').expect("three numbers").0;
        self.write(&format!("{prefix}/lib/pypy{minor}/os.py"), "");
        self.write(
            &format!("{prefix}/include/pypy{minor}/patchlevel.h"),
            format!("#define PY_VERSION \"{release}\"\n#define PYPY_VERSION \"7.3.17\"\n"),
        );
        self.write(
            &format!("{prefix}/bin/pypy{minor}"),
            executable(62, LOADER, ""),
        );
        for name in ["pypy3", "pypy", "python3", "python"] {
            self.link(&format!("pypy{minor}"), &format!("{prefix}/bin/{name}"));
        }
    }

    /// Reads an environment at a path of the root.
    pub fn read_at(
        &self,
        path: &str,
        python: Option<&str>,
    ) -> Result<Environment, EnvironmentError> {
        read_directory(&self.on_disk(path), python)
    }
}

/// A 64-bit little-endian executable that names its loader and carries a version string.
pub fn executable(machine: u16, loader: &str, version: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes[32] = 64;
    bytes[54] = 56;
    bytes[56] = 1;
    bytes[64] = if loader.is_empty() { 0 } else { 3 };
    bytes[72] = 120;
    bytes[96] = u8::try_from(loader.len() + 1).expect("a short path");
    bytes.extend_from_slice(loader.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(version.as_bytes());
    bytes.push(0);
    bytes
}
