//! Which files of a layer are kept for whoever reads its environment, and in which form.
//!
//! A layer goes by once. What is not kept can be had by reading the layer again, so this is a list of what is wanted
//! nearly always, not of what may ever be wanted. It is asked for every file of every layer: most are turned away by
//! the end of their name.

/// What is kept of a file beside its place, kind and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Its contents, where they have at most this many bytes.
    Contents {
        /// The most bytes that are kept; a larger file is not kept at all.
        limit: u64,
    },
    /// What [`super::executable::ExecutableScanner`] tells of it.
    Executable,
    /// Nothing more.
    Nothing,
}

/// Core metadata: the longest descriptions on the index stay below 1 MB.
const METADATA: Retention = Retention::Contents { limit: 4 << 20 };
/// Lists of the files of a distribution: that of TensorFlow has 2 MB, that of ansible 3 MB.
const FILE_LIST: Retention = Retention::Contents { limit: 16 << 20 };
/// Requirements, import names and the like: a line for each, of which thousands would be a curiosity.
const LINES: Retention = Retention::Contents { limit: 1 << 20 };
/// A word, or a few lines.
const WORDS: Retention = Retention::Contents { limit: 64 << 10 };
/// A record of conda names each file of its package twice: that of Python itself has 2 MB, most have 20 kB.
const CONDA_RECORD: Retention = Retention::Contents { limit: 4 << 20 };
/// The database of a package manager: that of a desktop with 5,000 packages has about 5 MB.
const PACKAGE_DATABASE: Retention = Retention::Contents { limit: 32 << 20 };

/// What is kept of the file at `path`, which has no leading slash.
#[must_use]
pub fn retention(path: &str) -> Retention {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = folders.rsplit('/').next().unwrap_or(folders);
    match name {
        "METADATA" | "PKG-INFO" if is_metadata_folder(folder) => METADATA,
        "RECORD" | "installed-files.txt" if is_metadata_folder(folder) => FILE_LIST,
        "requires.txt" | "top_level.txt" | "entry_points.txt" | "namespace_packages.txt"
            if is_metadata_folder(folder) =>
        {
            LINES
        }
        "INSTALLER" | "WHEEL" | "REQUESTED" | "direct_url.json" if is_metadata_folder(folder) => {
            WORDS
        }
        "pyvenv.cfg" | "EXTERNALLY-MANAGED" | "pip.conf" | "sitecustomize.py"
        | "usercustomize.py" | "patchlevel.h" => WORDS,
        // Constraints that pip is told to heed.
        "constraint.txt" | "constraints.txt" if folder == "pip" => LINES,
        // Which of its versions a pyenv starts.
        "version" if folder.contains("pyenv") => WORDS,
        "os-release" if matches!(folders, "etc" | "usr/lib") => WORDS,
        // The home of the user that the image runs as.
        "passwd" if folders == "etc" => LINES,
        "status" if folders == "var/lib/dpkg" => PACKAGE_DATABASE,
        "installed" if folders.ends_with("lib/apk/db") => PACKAGE_DATABASE,
        _ if folders == "var/lib/dpkg/status.d" => WORDS,
        // Which distributions are Debian's.
        _ if folders == "var/lib/dpkg/info"
            && name.starts_with("python")
            && name.strip_suffix(".list").is_some() =>
        {
            LINES
        }
        _ => by_form(folder, name),
    }
}

/// Whether a folder of that name holds the metadata of one distribution.
fn is_metadata_folder(name: &str) -> bool {
    let ends = |suffix| name.strip_suffix(suffix).is_some();
    ends(".dist-info") || ends(".egg-info") || name == "EGG-INFO"
}

/// What is kept of a file whose name is told by its beginning or its end.
fn by_form(folder: &str, name: &str) -> Retention {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "egg-info" => METADATA,
        "pth" | "_pth" | "egg-link" => LINES,
        "json" if folder == "conda-meta" => CONDA_RECORD,
        // The finder of an editable install: code that holds a map from import names to folders.
        "py" if name.starts_with("__editable__") => LINES,
        _ if is_executable(name) => Retention::Executable,
        _ => Retention::Nothing,
    }
}

/// Whether a file of that name may be an interpreter, its library, or a C library.
fn is_executable(name: &str) -> bool {
    for library in ["libpython", "libpypy"] {
        if let Some(rest) = name.strip_prefix(library) {
            return rest.contains(".so");
        }
    }
    // Red Hat's interpreter for its own tools, to which /usr/bin/python3.6 is a link, is "platform-python3.6".
    for interpreter in ["python", "pypy", "platform-python"] {
        if let Some(rest) = name.strip_prefix(interpreter) {
            // A version and the flags of the ABI, such as 3.10, 3.7m, 3.13t or 3.6dm: "-config" and "3.py" are others.
            let flags = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            return flags.len() <= 3 && flags.bytes().all(|flag| b"dmut".contains(&flag));
        }
    }
    let starts = |start: &str| name.starts_with(start);
    matches!(name, "libc.so.6" | "libc.so")
        || (starts("libc-2.") && name.contains(".so"))
        || (starts("ld-2.") && name.contains(".so"))
        || ["ld-linux", "ld64.so", "ld-musl-", "libc.musl-"]
            .into_iter()
            .any(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_name_and_folder() {
        let site = "opt/conda/lib/python3.10/site-packages";
        for (path, kept) in [
            (format!("{site}/six-1.0.dist-info/METADATA"), METADATA),
            (format!("{site}/six-1.0.dist-info/RECORD"), FILE_LIST),
            (format!("{site}/six-1.0.dist-info/direct_url.json"), WORDS),
            (
                format!("{site}/six-1.0.dist-info/LICENSE"),
                Retention::Nothing,
            ),
            (format!("{site}/six/METADATA"), Retention::Nothing),
            (format!("{site}/six.egg-info/requires.txt"), LINES),
            (
                format!("{site}/six-1.0-py3.10.egg/EGG-INFO/PKG-INFO"),
                METADATA,
            ),
            (format!("{site}/six-1.0-py3.10.egg-info"), METADATA),
            (format!("{site}/a.pth"), LINES),
            (format!("{site}/__editable___six_finder.py"), LINES),
            (format!("{site}/six.py"), Retention::Nothing),
            ("opt/conda/conda-meta/six-1-0.json".to_owned(), CONDA_RECORD),
            (
                "opt/conda/conda-meta/history".to_owned(),
                Retention::Nothing,
            ),
            ("opt/conda/bin/python3.10".to_owned(), Retention::Executable),
            ("usr/bin/python3.7dm".to_owned(), Retention::Executable),
            ("usr/bin/python3.13t".to_owned(), Retention::Executable),
            ("python".to_owned(), Retention::Executable),
            (
                "usr/libexec/platform-python3.6".to_owned(),
                Retention::Executable,
            ),
            ("opt/pypy/bin/pypy3.10".to_owned(), Retention::Executable),
            (
                "opt/pypy/lib/libpypy3.10-c.so".to_owned(),
                Retention::Executable,
            ),
            (
                "usr/lib/libpython3.12.so.1.0".to_owned(),
                Retention::Executable,
            ),
            ("usr/lib/libpython3.12.a".to_owned(), Retention::Nothing),
            ("usr/bin/python3-config".to_owned(), Retention::Nothing),
            ("usr/bin/python3.10-gdb.py".to_owned(), Retention::Nothing),
            ("usr/include/python.h".to_owned(), Retention::Nothing),
            ("usr/bin/pythonic".to_owned(), Retention::Nothing),
            ("lib64/libc.so.6".to_owned(), Retention::Executable),
            ("lib64/libc-2.17.so".to_owned(), Retention::Executable),
            ("lib/ld-2.31.so".to_owned(), Retention::Executable),
            (
                "lib64/ld-linux-x86-64.so.2".to_owned(),
                Retention::Executable,
            ),
            ("lib/ld-musl-x86_64.so.1".to_owned(), Retention::Executable),
            ("root/.pyenv/version".to_owned(), WORDS),
            ("root/version".to_owned(), Retention::Nothing),
            ("etc/os-release".to_owned(), WORDS),
            ("home/x/etc/os-release".to_owned(), Retention::Nothing),
            ("var/lib/dpkg/status".to_owned(), PACKAGE_DATABASE),
            ("var/lib/dpkg/status.d/libc6".to_owned(), WORDS),
            ("usr/lib/apk/db/installed".to_owned(), PACKAGE_DATABASE),
            ("var/lib/dpkg/info/python3-yaml.list".to_owned(), LINES),
            ("var/lib/dpkg/info/perl.list".to_owned(), Retention::Nothing),
            (
                "var/lib/dpkg/info/python3.md5sums".to_owned(),
                Retention::Nothing,
            ),
            ("etc/pip/constraint.txt".to_owned(), LINES),
            ("etc/pip.conf".to_owned(), WORDS),
            ("etc/passwd".to_owned(), LINES),
            (String::new(), Retention::Nothing),
        ] {
            assert_eq!(retention(&path), kept, "{path}");
        }
    }
}
