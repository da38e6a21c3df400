//! Files that the user names: read whole, written whole or not at all.

use std::path::Path;

use crate::transport::new_file;

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
    let failed = |error| CommandError::WriteFile {
        path: path.to_owned(),
        error,
    };
    new_file::write(path, failed, |out| {
        out.write_all(text.as_bytes()).map_err(failed)
    })
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
