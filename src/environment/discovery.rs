//! Finding interpreters without running them: every place where images have one is looked at, and `PATH` is followed as
//! a shell would follow it.

use std::collections::BTreeSet;

use super::Search;
use super::candidates::{Candidate, Found, Installation, MinorVersion};
use super::places;
use super::prefix::{Identified, identify, is_script, read_venv, standard_libraries};
use crate::image_path::ImagePath;
use crate::rootfs::{EntryKind, Resolved, RootFs, resolve};

/// Names of interpreters that are looked at in one folder: there are not that many versions of Python.
const MAX_NAMES: usize = 64;
/// Largest script that may be no more than a wrapper of an interpreter, in bytes.
const MAX_WRAPPER: u64 = 4 << 10;

/// The interpreters of a root, the default first.
///
/// The default is what `PATH` of the image's config starts under the name `python3`, else under the name `python`: every
/// folder of `PATH` is asked for the first name before any is asked for the second. So it is for whoever types `python3`,
/// the only name that is sure to mean Python 3 (PEP 394): `python` may be missing, or be Python 2. Where neither name
/// leads to an interpreter, it is the first that is found, and those on `PATH` are found first.
pub(super) fn find(root: &dyn RootFs, search: Search<'_>) -> Found {
    let folders = places::executable_folders(root, search);
    let mut found = find_in_folders(root, &folders);
    for prefix in places::virtual_environments(root, search.home) {
        if let Some(venv) = read_venv(root, &prefix) {
            found.push(venv);
        }
    }
    let path = places::path_folders(search.path);
    let (started, script) = started_by(root, &path);
    if let Some(started) = started {
        let is_foreign = matches!(started, Identified::Foreign(_));
        // A folder's `PATH` is a guess, and nothing is refused because of a guess.
        if search.path.is_some() || !is_foreign {
            found.put_first(started, search.path.is_some() && script.is_none());
        }
    }
    found.script = script.filter(|_| search.path.is_some());
    found
}

/// What the folders of `path` start under the name `python3`, else `python`, and the first script before it of which
/// only running it would tell what it starts. Python 2 under the name `python` is passed over: it is not what anybody
/// starts who wants Python 3.
fn started_by(root: &dyn RootFs, path: &[ImagePath]) -> (Option<Identified>, Option<ImagePath>) {
    let mut script = None;
    let started = ["python3", "python"].iter().find_map(|name| {
        path.iter().find_map(|folder| {
            let executable = folder.join(name);
            let real = resolve::resolve(root, &executable).ok()??;
            if !real.is_file() {
                return None;
            }
            if let Some(venv) = folder.parent().and_then(|prefix| read_venv(root, &prefix)) {
                return Some(venv);
            }
            if is_script(root, &real.path) {
                if let Some(pyenv) = pyenv_of(root, folder) {
                    return started_by_shim(root, &pyenv, name);
                }
                let started = started_by_wrapper(root, &real.path);
                if started.is_none() {
                    script.get_or_insert(executable);
                }
                return started;
            }
            identify(root, &executable, &real.path).filter(|identified| match identified {
                Identified::Foreign(foreign) => foreign.installation.is_none(),
                Identified::Candidate(_) => true,
            })
        })
    });
    (started, script)
}

/// The pyenv whose shims lie in `folder`.
fn pyenv_of(root: &dyn RootFs, folder: &ImagePath) -> Option<ImagePath> {
    let pyenv = folder.parent().filter(|_| folder.file_name() == "shims")?;
    let versions = resolve::resolve(root, &pyenv.join("versions")).ok()??;
    versions.is_directory().then_some(pyenv)
}

/// What a shim of pyenv starts: that of its versions which its file `version` names; the Python of the system is further
/// behind on `PATH`.
fn started_by_shim(root: &dyn RootFs, pyenv: &ImagePath, name: &str) -> Option<Identified> {
    let prefix = places::pyenv_chosen(root, pyenv)?;
    let executable = prefix.join("bin").join(name);
    let real = resolve::resolve(root, &executable).ok()??;
    read_venv(root, &prefix).or_else(|| identify(root, &executable, &real.path))
}

/// What the script at the real path `script` starts, where that is all it does.
fn started_by_wrapper(root: &dyn RootFs, script: &ImagePath) -> Option<Identified> {
    let bytes = root.read(script, MAX_WRAPPER).ok()?;
    let executable = ImagePath::new(wrapped(std::str::from_utf8(&bytes).ok()?)?);
    let real = resolve::resolve(root, &executable).ok()??;
    if !real.is_file() || is_script(root, &real.path) {
        return None;
    }
    let prefix = executable.parent().and_then(|bin| bin.parent());
    prefix
        .and_then(|prefix| read_venv(root, &prefix))
        .or_else(|| identify(root, &executable, &real.path))
}

/// The interpreter that a shell script hands all its arguments to, where nothing else stands in it:
/// `exec /opt/python/bin/python3 "$@"`.
fn wrapped(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim);
    let shell = lines.next()?.strip_prefix("#!")?.trim();
    if !matches!(
        shell,
        "/bin/sh"
            | "/bin/bash"
            | "/usr/bin/sh"
            | "/usr/bin/bash"
            | "/usr/bin/env sh"
            | "/usr/bin/env bash"
    ) {
        return None;
    }
    let mut commands =
        lines.filter(|line| !(line.is_empty() || line.starts_with('#') || *line == "set -e"));
    let command = commands.next()?;
    if commands.next().is_some() {
        return None;
    }
    let path = command
        .strip_prefix("exec ")?
        .trim()
        .strip_suffix("\"$@\"")?;
    // Without the space it would be part of the path.
    let path = path.strip_suffix([' ', '\t'])?.trim();
    let path = path
        .strip_prefix('"')
        .and_then(|path| path.strip_suffix('"'))
        .unwrap_or(path);
    // What a shell would read as anything but itself is not followed.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    let name = path.rsplit('/').next()?;
    (path.starts_with('/') && path.chars().all(is_plain) && name.starts_with("python"))
        .then_some(path)
}

/// The interpreters in the given folders, in their order.
pub(super) fn find_in_folders(root: &dyn RootFs, folders: &[ImagePath]) -> Found {
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    for folder in folders {
        let Ok(Some(real)) = resolve::resolve(root, folder) else {
            continue;
        };
        if seen.insert(real.path) {
            find_in_folder(root, folder, &mut found);
        }
    }
    found
}

/// The interpreters of one prefix: those in its `bin`, else the one whose standard library lies there.
pub(super) fn find_in_prefix(root: &dyn RootFs, prefix: &ImagePath) -> Found {
    let mut found = Found::default();
    if let Some(venv) = read_venv(root, prefix) {
        found.push(venv);
        return found;
    }
    find_in_folder(root, &prefix.join("bin"), &mut found);
    if found.is_empty() {
        let Ok(Some(real)) = resolve::resolve(root, prefix) else {
            return found;
        };
        for (minor, library_folder, standard_library) in standard_libraries(root, &real.path) {
            let installation = Installation {
                executable: None,
                real_executable: None,
                prefix: real.path.clone(),
                standard_library: Some(standard_library),
                library_folder,
                minor,
            };
            found.push(Identified::Candidate(Candidate::Installation(installation)));
        }
    }
    found
}

/// Looks at one folder of executables; `python3` before `python` before the versioned names, newest first.
fn find_in_folder(root: &dyn RootFs, folder: &ImagePath, found: &mut Found) {
    if let Some(venv) = folder.parent().and_then(|prefix| read_venv(root, &prefix)) {
        found.push(venv);
        return;
    }
    let Ok(Some((real_folder, entries))) = resolve::list_directory(root, folder) else {
        return;
    };
    let mut names: Vec<(usize, std::cmp::Reverse<Option<MinorVersion>>, &str)> = entries
        .iter()
        .filter(|entry| entry.kind != EntryKind::Directory)
        .filter_map(|entry| {
            let name = entry.name.as_str();
            let version = name.strip_prefix("python").and_then(MinorVersion::parse);
            let rank = match name {
                "python3" => 0,
                "python" => 1,
                _ if version.is_some() => 2,
                "pypy3" | "pypy" => 3,
                _ => return None,
            };
            Some((rank, std::cmp::Reverse(version), name))
        })
        .collect();
    names.sort_unstable();
    for (_, _, name) in names.into_iter().take(MAX_NAMES) {
        let executable = folder.join(name);
        let Ok(Some(real)) = resolve::resolve_from(root, &real_folder, name) else {
            continue;
        };
        if real.is_file()
            && let Some(identified) = identify(root, &executable, &real.path)
        {
            found.push(identified);
        }
    }
}

/// What a path that the user named leads to: an executable, a prefix, or a folder of executables.
pub(super) fn find_at(root: &dyn RootFs, path: &ImagePath) -> Found {
    let mut found = Found::default();
    let real = resolve::resolve(root, path).ok().flatten();
    if real.as_ref().is_none_or(Resolved::is_file) {
        // The executable of a virtual environment may lead nowhere while everything else is there.
        let prefix = path.parent().and_then(|bin| bin.parent());
        let venv = prefix.and_then(|prefix| read_venv(root, &prefix));
        let identified = venv.or_else(|| identify(root, path, &real?.path));
        if let Some(identified) = identified {
            found.push(identified);
        }
        return found;
    }
    let in_prefix = find_in_prefix(root, path);
    if in_prefix.is_empty() {
        find_in_folder(root, path, &mut found);
        return found;
    }
    in_prefix
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn a_wrapper_is_followed_where_it_does_nothing_else() {
        for (text, path) in [
            (
                "#!/bin/sh\nexec /opt/py/bin/python3 \"$@\"\n",
                Some("/opt/py/bin/python3"),
            ),
            (
                "#! /usr/bin/env bash\n# starts it\nset -e\n\n  exec \"/a/python3.11\"  \"$@\"",
                Some("/a/python3.11"),
            ),
            ("#!/bin/sh\nexec python3 \"$@\"\n", None),
            ("#!/bin/sh\nexec /opt/py/bin/python3\n", None),
            ("#!/bin/sh\nexec /opt/py/bin/python3 -s \"$@\"\n", None),
            ("#!/bin/sh\nexec /opt/py/bin/python3\"$@\"\n", None),
            ("#!/bin/sh\nexec $HOME/bin/python3 \"$@\"\n", None),
            ("#!/bin/sh\nexec /opt/$V/python3 \"$@\"\n", None),
            ("#!/bin/sh\nexec /opt/py/bin/pypy3 \"$@\"\n", None),
            ("#!/bin/sh\nexport A=1\nexec /bin/python3 \"$@\"\n", None),
            ("#!/usr/bin/python3\nexec /bin/python3 \"$@\"\n", None),
            ("#!/bin/sh\n", None),
            ("", None),
        ] {
            assert_eq!(wrapped(text), path, "{text}");
        }
    }
}
