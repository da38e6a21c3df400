//! Files that the user names: read whole, written whole or not at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::CommandError;

/// Largest file of requirements or pins that is read, bytes: a thousand times what people have, and no trap for memory.
const LARGEST_TEXT: u64 = 16 << 20;

/// Reads a text file; `-` is stdin.
///
/// # Errors
/// When it cannot be read, is larger than any such file should be, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, CommandError> {
    use std::io::Read as _;
    let failed = |error| CommandError::ReadFile {
        path: path.to_owned(),
        error,
    };
    let file: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    let mut text = String::new();
    let read = file
        .take(LARGEST_TEXT + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if read as u64 > LARGEST_TEXT {
        return Err(failed(std::io::Error::other(format!(
            "it is larger than {} MiB",
            LARGEST_TEXT >> 20
        ))));
    }
    Ok(text)
}

/// Writes a file so that its name never stands for half of it: a temporary file beside it takes its place when it is
/// complete. What is no regular file (a terminal, a pipe) is written to directly.
///
/// # Errors
/// When the file cannot be written; what was there before is then still there.
pub fn write_text(path: &Path, text: &str) -> Result<(), CommandError> {
    if path == Path::new("-") {
        // Stdout has the table; a file of that name is not what anybody means.
        return Err(CommandError::WriteFile {
            path: path.to_owned(),
            error: std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "`--format` says what is written to stdout",
            ),
        });
    }
    let write = || -> std::io::Result<()> {
        let existing = std::fs::metadata(path).ok();
        if existing
            .as_ref()
            .is_some_and(|existing| !existing.is_file() && !existing.is_dir())
        {
            return std::fs::OpenOptions::new()
                .write(true)
                .open(path)?
                .write_all(text.as_bytes());
        }
        let target = target_of(path);
        let folder = match target.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".imgtool-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // What `open` would have given a new file; the umask is taken off when it is created.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(folder).map_err(without_path)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_data()?;
        if let Some(existing) = existing {
            file.as_file().set_permissions(existing.permissions())?;
        }
        file.persist(&target).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| CommandError::WriteFile {
        path: path.to_owned(),
        error,
    })
}

/// Where writing to `path` ends up. A symbolic link stays one: what it points to is replaced, or made.
fn target_of(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    // As many as Linux follows; a longer chain, or a circle, fails when it is opened.
    for _ in 0..40 {
        let Ok(link) = std::fs::read_link(&target) else {
            break;
        };
        target = target.parent().unwrap_or(Path::new("")).join(link);
    }
    target
}

/// The error alone: `tempfile` adds the name of the temporary file, which says nothing to anybody.
fn without_path(error: std::io::Error) -> std::io::Error {
    let text = error.to_string();
    match text.split_once(" at path \"") {
        Some((reason, _)) => std::io::Error::new(error.kind(), reason.to_owned()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_failure_leaves_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.txt");
        write_text(&path, "one").expect("written");
        write_text(&path, "two").expect("written");
        assert_eq!(read_text(&path).expect("read"), "two");
        assert!(write_text(&folder.path().join("absent/out.txt"), "x").is_err());
        assert!(write_text(folder.path(), "x").is_err());
        let left: Vec<_> = std::fs::read_dir(folder.path())
            .expect("a folder")
            .collect();
        assert_eq!(left.len(), 1, "nothing half-written is left: {left:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("real.txt");
        let link = folder.path().join("link.txt");
        write_text(&target, "one").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        write_text(&link, "two").expect("written");
        assert!(
            std::fs::symlink_metadata(&link)
                .expect("there")
                .is_symlink()
        );
        assert_eq!(read_text(&target).expect("read"), "two");
    }
}
