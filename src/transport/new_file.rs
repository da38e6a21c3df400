//! Files that appear under their name when they are complete, and what is left of those that never were.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

/// Names of files that are being written begin with it.
pub(super) const PREFIX: &str = ".imgtool-";

/// A temporary file that nobody has a lock on was left behind by a kill, unless it was made this moment.
const UNLOCKED: Duration = Duration::from_secs(10);
/// One that nobody has written to for so long was left behind in any case: not every file system has locks.
const STALE: Duration = Duration::from_secs(60 * 60);

/// A new file in `folder`, under a name that begins with `prefix`; it goes away with the value unless it is given its
/// name. It has the permissions that any new file has.
pub(super) fn create(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // What `open` would have given a new file; the umask is taken off when it is created.
        builder.permissions(Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(folder).map_err(without_path)?;
    // Tells other runs that somebody is at work; where there are no locks, they look at the time alone.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Gives a complete file its name, in place of what has it; its bytes are on the disk before its name is.
pub(super) fn finish(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Puts the names in `folder` on the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened as a file, and names are in a journal.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Removes what earlier runs left behind in `folder` under names that begin with `prefix`. What cannot be removed stays:
/// it is in nobody's way.
pub(super) fn remove_stale(folder: &Path, prefix: &str) {
    // The clock is that of the file system, which may be another machine's.
    let Some(now) = create(folder, prefix)
        .and_then(|file| file.as_file().metadata()?.modified())
        .ok()
    else {
        return;
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(prefix));
        if !is_ours {
            continue;
        }
        let age = entry
            .metadata()
            .ok()
            .filter(fs::Metadata::is_file)
            .and_then(|metadata| metadata.modified().ok())
            .and_then(|modified| now.duration_since(modified).ok());
        // The lock is let go with the file, before the removal.
        let is_unlocked = || File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok());
        if age.is_some_and(|age| age >= STALE || (age >= UNLOCKED && is_unlocked())) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes a file through `contents`, so that its name never stands for half of it: a temporary file beside it takes its
/// place when it is complete. What is no regular file (a pipe, a device) is written to directly; a symbolic link stays
/// one, and what it points to is replaced.
///
/// # Errors
/// `failed` of what this machine says, and what `contents` returns; what was there before is then still there.
pub(crate) fn write<T, E>(
    path: &Path,
    failed: impl Fn(io::Error) -> E,
    contents: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let existing = fs::metadata(path).ok();
    if existing
        .as_ref()
        .is_some_and(|existing| !existing.is_file() && !existing.is_dir())
    {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(&failed)?;
        let value = contents(&mut file)?;
        file.flush().map_err(&failed)?;
        return Ok(value);
    }
    let target = target_of(path);
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!("{PREFIX}{name}-");
    remove_stale(folder, &prefix);
    let mut file = create(folder, &prefix).map_err(&failed)?;
    let value = {
        // The file itself: errors of the temporary one have its name, which says nothing to anybody.
        let mut buffered = io::BufWriter::with_capacity(64 << 10, file.as_file_mut());
        let value = contents(&mut buffered)?;
        buffered.flush().map_err(&failed)?;
        value
    };
    if let Some(existing) = existing {
        let permissions: Permissions = existing.permissions();
        file.as_file()
            .set_permissions(permissions)
            .map_err(&failed)?;
    }
    finish(file, &target).map_err(&failed)?;
    Ok(value)
}

/// Where writing to `path` ends up.
fn target_of(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    // As many as Linux follows; a longer chain, or a circle, fails when it is opened.
    for _ in 0..40 {
        let Ok(link) = fs::read_link(&target) else {
            break;
        };
        target = target.parent().unwrap_or(Path::new("")).join(link);
    }
    target
}

/// The error alone: `tempfile` adds the name of the temporary file, which says nothing to anybody.
fn without_path(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path \"") {
        Some((reason, _)) => io::Error::new(error.kind(), reason.to_owned()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_of_ours_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (
            folder.path().join(".imgtool-old"),
            folder.path().join(".imgtool-new"),
        );
        let other = folder.path().join("other");
        for path in [&old, &new, &other] {
            File::create(path).expect("written");
        }
        let at_work = create(folder.path(), PREFIX).expect("a file");
        let killed = folder.path().join(".imgtool-killed");
        File::create(&killed).expect("written");
        let now = fs::metadata(&new)
            .and_then(|it| it.modified())
            .expect("a time");
        for path in [&old, &other] {
            let file = fs::OpenOptions::new().write(true).open(path).expect("open");
            file.set_modified(now - 2 * STALE).expect("a time");
        }
        for path in [at_work.path(), &killed] {
            let file = fs::OpenOptions::new().write(true).open(path).expect("open");
            file.set_modified(now - 2 * UNLOCKED).expect("a time");
        }
        remove_stale(folder.path(), PREFIX);
        assert!(!old.exists() && !killed.exists());
        assert!(new.exists() && other.exists() && at_work.path().exists());
        let left = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 3);
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_failure_leaves_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let put = |text: &str, fail: bool| {
            write(
                &path,
                |error| error,
                |out| {
                    out.write_all(text.as_bytes())?;
                    if fail {
                        Err(io::ErrorKind::StorageFull.into())
                    } else {
                        Ok(())
                    }
                },
            )
        };
        put("one", false).expect("written");
        put("two", false).expect("written");
        assert!(put("three", true).is_err());
        assert_eq!(fs::read_to_string(&path).expect("read"), "two");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        assert!(
            write(folder.path(), |error| error, |_| Ok(())).is_err(),
            "a folder is no file"
        );
    }
}
