//! Where images have their interpreters.
//!
//! First what the image's config names, then the places that are known, then a search for virtual environments that
//! has an end: see [`virtual_environments`].

use std::collections::VecDeque;

use super::{Search, venv};
use crate::image_path::ImagePath;
use crate::rootfs::{EntryKind, ListedEntry, RootFs, resolve};

/// Folders with executables that are searched in a root that does not say its `PATH`, in this order: conda first, as
/// images that have it put it first on `PATH`.
const EXECUTABLE_FOLDERS: [&str; 4] = ["/opt/conda/bin", "/usr/local/bin", "/usr/bin", "/bin"];
/// Home of the user who builds most images.
pub(super) const HOME: &str = "/root";
/// Places of pyenv; `~` is each home.
const PYENV_ROOTS: [&str; 4] = ["~/.pyenv", "/opt/pyenv", "/opt/.pyenv", "/usr/local/pyenv"];
/// Places of conda, whose environments lie below `envs`.
const CONDA_ROOTS: [&str; 7] = [
    "/opt/conda",
    "/opt/miniconda3",
    "/opt/miniforge3",
    "~/miniconda3",
    "~/miniforge3",
    "~/anaconda3",
    "~/.conda",
];
/// Virtual environments and other prefixes where images are known to have them.
const OTHER_PREFIXES: [&str; 10] = [
    "/opt/venv",
    "/venv",
    "/app/.venv",
    "/app/venv",
    "~/.venv",
    "/usr/local/python",
    "/usr/local/python/current",
    "/opt/bitnami/python",
    "/var/lang",
    "/python",
];
/// Folders each of whose entries is a prefix: what is unpacked by hand, the builds that uv, asdf, mise and hosted
/// runners keep, and the interpreters of the manylinux images.
const FOLDERS_OF_PREFIXES: [&str; 9] = [
    "/opt",
    "/opt/python",
    "/python",
    "/usr/local/python",
    "~/.local/share/uv/python",
    "/opt/uv/python",
    "~/.asdf/installs/python",
    "~/.local/share/mise/installs/python",
    "/opt/hostedtoolcache/Python",
];

/// Where the search for virtual environments begins, and how many folders below each it looks.
const VENV_ROOTS: [(&str, usize); 5] = [
    ("/", 4),
    ("/usr/local", 2),
    ("/usr/src", 2),
    ("/usr/share/python", 1),
    ("/var/www", 2),
];
/// Folders of virtual environments in a home, each entry one: virtualenvwrapper, pipenv, poetry, pipx.
const VENV_COLLECTIONS: [&str; 5] = [
    ".virtualenvs",
    ".local/share/virtualenvs",
    ".cache/pypoetry/virtualenvs",
    ".local/share/pipx/venvs",
    ".local/pipx/venvs",
];
/// Folders directly below the root in which nobody makes a virtual environment, or which [`VENV_ROOTS`] has.
const SYSTEM_FOLDERS: [&str; 19] = [
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "media",
    "mnt",
    "nix",
    "proc",
    "run",
    "sbin",
    "snap",
    "sys",
    "usr",
    "var",
];
/// Folders anywhere that are large and hold parts of something else.
const PARTS: [&str; 11] = [
    "__pycache__",
    "bin",
    "conda-meta",
    "dist-packages",
    "include",
    "lib",
    "lib64",
    "node_modules",
    "pkgs",
    "share",
    "site-packages",
];
/// Homes that are looked at, and prefixes of one folder: the largest shared machines stay below.
const MAX_ENTRIES: usize = 500;
/// Folders that the search for virtual environments looks into at most: application folders have some dozens.
const MAX_FOLDERS: usize = 2_000;
/// Virtual environments that it finds at most.
const MAX_VENVS: usize = 64;

/// The folders of a `PATH`, or of what most images have there.
pub(super) fn path_folders(path: Option<&str>) -> Vec<ImagePath> {
    match path {
        Some(path) => path
            .split(':')
            .filter(|folder| folder.starts_with('/'))
            .map(ImagePath::new)
            .collect(),
        None => EXECUTABLE_FOLDERS.map(ImagePath::new).to_vec(),
    }
}

/// The folders of executables that a root is searched in, those that its config names first.
pub(super) fn executable_folders(root: &dyn RootFs, search: Search<'_>) -> Vec<ImagePath> {
    let homes = homes(root, search.home);
    let mut folders = path_folders(search.path);
    folders.extend(
        search
            .virtual_env
            .filter(|prefix| prefix.starts_with('/'))
            .map(|prefix| ImagePath::new(prefix).join("bin")),
    );
    folders.extend(EXECUTABLE_FOLDERS.map(ImagePath::new));
    for conda in CONDA_ROOTS.iter().flat_map(|place| places(place, &homes)) {
        folders.push(conda.join("bin"));
        folders.extend(executable_folders_below(root, &conda.join("envs")));
    }
    for pyenv in PYENV_ROOTS.iter().flat_map(|place| places(place, &homes)) {
        folders.extend(pyenv_folders(root, &pyenv));
    }
    for prefix in OTHER_PREFIXES
        .iter()
        .flat_map(|place| places(place, &homes))
    {
        folders.push(prefix.join("bin"));
    }
    for folder in FOLDERS_OF_PREFIXES
        .iter()
        .flat_map(|place| places(place, &homes))
    {
        folders.extend(executable_folders_below(root, &folder));
    }
    folders
}

/// The homes of a root: that of the image's user, that of root, and what lies below `/home`.
fn homes(root: &dyn RootFs, home: Option<&str>) -> Vec<ImagePath> {
    let mut homes: Vec<ImagePath> = home
        .into_iter()
        .filter(|home| home.starts_with('/') && *home != "/")
        .chain([HOME])
        .map(ImagePath::new)
        .collect();
    if let Ok(Some((folder, entries))) = resolve::list_directory(root, &ImagePath::new("/home")) {
        let below = entries.iter().take(MAX_ENTRIES);
        homes.extend(below.map(|entry| folder.join(&entry.name)));
    }
    let mut seen = std::collections::BTreeSet::new();
    homes.retain(|home| seen.insert(home.clone()));
    homes
}

/// A place; one whose `~` stands for a home is several.
fn places(text: &str, homes: &[ImagePath]) -> Vec<ImagePath> {
    match text.strip_prefix("~/") {
        Some(rest) => homes.iter().map(|home| home.join(rest)).collect(),
        None => vec![ImagePath::new(text)],
    }
}

/// The `bin` of each entry of `folder`, or of the `x64` that hosted runners put between.
fn executable_folders_below(root: &dyn RootFs, folder: &ImagePath) -> Vec<ImagePath> {
    let Ok(Some((folder, entries))) = resolve::list_directory(root, folder) else {
        return Vec::new();
    };
    let is_hosted = folder.as_str().contains("hostedtoolcache");
    entries
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink))
        .take(MAX_ENTRIES)
        .map(|entry| {
            let prefix = folder.join(&entry.name);
            prefix.join(if is_hosted { "x64/bin" } else { "bin" })
        })
        .collect()
}

/// What the file `version` of a pyenv names, in its order.
fn pyenv_global(root: &dyn RootFs, pyenv: &ImagePath) -> Vec<String> {
    let bytes = resolve::read_file(root, &pyenv.join("version"), venv::MAX_CONFIG)
        .ok()
        .flatten()
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .split_whitespace()
        .map(ToOwned::to_owned)
        .collect()
}

/// The prefix of the version that the shims of a pyenv start; `None` where that is the Python of the system.
pub(super) fn pyenv_chosen(root: &dyn RootFs, pyenv: &ImagePath) -> Option<ImagePath> {
    let (versions, entries) = resolve::list_directory(root, &pyenv.join("versions")).ok()??;
    // A name that is none of the versions makes the shims fail; "system" sends on to the rest of `PATH`.
    let chosen = pyenv_global(root, pyenv).into_iter().next()?;
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    if has(&chosen) {
        return Some(versions.join(&chosen));
    }
    // "3.10" means the newest 3.10.
    let start = format!("{chosen}.");
    let newest = entries
        .iter()
        .filter(|entry| entry.name.starts_with(&start))
        .max_by_key(|entry| numbers(&entry.name))?;
    Some(versions.join(&newest.name))
}

fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// The versions of a pyenv: those of `pyenv global` first, as their shims come first, then the newest.
fn pyenv_folders(root: &dyn RootFs, pyenv: &ImagePath) -> Vec<ImagePath> {
    let Ok(Some((versions, entries))) = resolve::list_directory(root, &pyenv.join("versions"))
    else {
        return Vec::new();
    };
    let chosen = pyenv_global(root, pyenv);
    let mut names: Vec<String> = entries
        .into_iter()
        .map(|entry| entry.name)
        .take(MAX_ENTRIES)
        .collect();
    names.sort_by_cached_key(|name| {
        let rank = chosen.iter().position(|chosen| chosen == name);
        (rank.unwrap_or(usize::MAX), std::cmp::Reverse(numbers(name)))
    });
    let folder = |name: &String| versions.join(name).join("bin");
    names.iter().map(folder).collect()
}

/// The prefixes of the virtual environments of a root, wherever an application has put its own.
///
/// A search by breadth, names in order, from the folders of [`VENV_ROOTS`] and the homes: folders of the system, parts
/// of something else, and hidden ones are passed over, except those whose names virtual environments have; links are
/// not followed, and prefixes are not looked into. It ends after [`MAX_FOLDERS`] folders.
pub(super) fn virtual_environments(root: &dyn RootFs, home: Option<&str>) -> Vec<ImagePath> {
    let mut waiting = VecDeque::new();
    let mut begin_at = |folder: &ImagePath, depth: usize| {
        if let Ok(Some(real)) = resolve::resolve(root, folder) {
            waiting.push_back((real.path, depth));
        }
    };
    for (folder, depth) in VENV_ROOTS {
        begin_at(&ImagePath::new(folder), depth);
    }
    for home in homes(root, home) {
        begin_at(&home, 2);
        for collection in VENV_COLLECTIONS {
            begin_at(&home.join(collection), 1);
        }
    }
    let mut found: Vec<ImagePath> = Vec::new();
    let mut looked_into = 0;
    while let Some((folder, depth)) = waiting.pop_front() {
        if looked_into >= MAX_FOLDERS || found.len() >= MAX_VENVS {
            break;
        }
        looked_into += 1;
        let Ok(entries) = root.list(&folder) else {
            continue;
        };
        let has = |name: &str| {
            entries
                .binary_search_by(|entry| entry.name.as_str().cmp(name))
                .is_ok()
        };
        if has("pyvenv.cfg") {
            if !found.contains(&folder) {
                found.push(folder);
            }
        } else if depth > 0 && !has("conda-meta") {
            let at_root = folder.is_root();
            waiting.extend(
                entries
                    .iter()
                    .filter(|entry| may_hold_venv(entry, at_root))
                    .take(MAX_FOLDERS)
                    .map(|entry| (folder.join(&entry.name), depth - 1)),
            );
        }
    }
    found
}

fn may_hold_venv(entry: &ListedEntry, at_root: bool) -> bool {
    let name = entry.name.as_str();
    entry.kind == EntryKind::Directory
        && !PARTS.contains(&name)
        && !(at_root && SYSTEM_FOLDERS.contains(&name))
        && (!name.starts_with('.') || matches!(name, ".venv" | ".virtualenv" | ".env"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Root;
    use super::*;

    fn found(root: &Root, home: Option<&str>) -> Vec<String> {
        virtual_environments(&root.view(), home)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn virtual_environments_are_found_where_applications_have_them() {
        let root = Root::new();
        for prefix in [
            "/venv",
            "/app/backend/.venv",
            "/home/user/project/env",
            concat!("/root", "/.virtualenvs/one"),
            "/usr/src/app/venv",
            "/srv/user/.local/pipx/venvs/tool",
        ] {
            root.write(&format!("{prefix}/pyvenv.cfg"), b"home = /usr/bin\n");
        }
        for elsewhere in [
            "/a/b/c/d/e",
            "/usr/lib/python3/venv",
            "/app/node_modules/x",
            "/app/.git/x",
            "/opt/conda/envs/one/in",
            "/venv/inner",
        ] {
            root.write(&format!("{elsewhere}/pyvenv.cfg"), b"");
        }
        root.write("/opt/conda/conda-meta/history", b"");
        root.link("/venv", "/linked");
        assert_eq!(
            found(&root, Some("/srv/user")),
            [
                "/venv",
                "/srv/user/.local/pipx/venvs/tool",
                concat!("/root", "/.virtualenvs/one"),
                "/usr/src/app/venv",
                "/home/user/project/env",
                "/app/backend/.venv",
            ]
        );
    }

    #[test]
    fn the_search_for_them_ends() {
        let root = Root::new();
        for number in 0..MAX_VENVS + 10 {
            root.write(&format!("/srv/{number:03}/pyvenv.cfg"), b"");
        }
        let first = found(&root, None);
        assert_eq!(first.len(), MAX_VENVS);
        assert_eq!(first[0], "/srv/000");
        assert_eq!(found(&root, None), first);
    }

    #[test]
    fn the_shims_of_pyenv_start_what_its_file_says() {
        let root = Root::new();
        for version in ["3.10.2", "3.10.13", "3.9.1"] {
            root.write(&format!("/opt/pyenv/versions/{version}/bin/python3"), b"");
        }
        let chosen = |text: &[u8]| {
            root.write("/opt/pyenv/version", text);
            pyenv_chosen(&root.view(), &ImagePath::new("/opt/pyenv")).map(|path| path.to_string())
        };
        assert_eq!(
            chosen(b"3.9.1\n").as_deref(),
            Some("/opt/pyenv/versions/3.9.1")
        );
        assert_eq!(
            chosen(b"3.10 3.9.1\n").as_deref(),
            Some("/opt/pyenv/versions/3.10.13")
        );
        assert_eq!(chosen(b"system\n"), None);
        assert_eq!(chosen(b""), None);
    }
}
