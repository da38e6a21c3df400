//! Names as archives write them become paths inside the root.

use crate::rootfs::limits::{Bounded, LimitExceeded, MAX_DEPTH, MAX_PATH_BYTES};

/// Reads `name` as a path seen from the root, into `path`, which has neither leading nor trailing slash: `./x`, `/x` and
/// `x//.` are `x`, and `..` takes away the component before it and never leaves the root. Empty for the root itself.
///
/// A name with `..` is not refused, as umoci and containers/storage do not refuse it: of `../../etc/up`, `/../x`,
/// `a/../../y` and `a/b/../c` both make `etc/up`, `x`, `y` and `a/c`, by the name alone, without looking for what `a` is.
/// To refuse such a layer would be to say that an image cannot be read that an engine runs, and to pass the entry over
/// would hide a file that is there. Nothing is written by this name anywhere, so that there is nothing to escape from.
pub fn normalize(name: &[u8], path: &mut Vec<u8>) {
    path.clear();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                path.truncate(end);
            }
            component => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
}

/// Whether `path` has a length and a depth that can be unpacked.
///
/// # Errors
/// When it has not.
pub fn check(path: &[u8]) -> Result<(), LimitExceeded> {
    if path.len() > MAX_PATH_BYTES {
        return Err(Bounded::PathBytes.at(MAX_PATH_BYTES as u64));
    }
    // A path of so many bytes cannot be too deep.
    if path.len() / 2 >= MAX_DEPTH && path.split(|byte| *byte == b'/').count() > MAX_DEPTH {
        return Err(Bounded::Depth.at(MAX_DEPTH as u64));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(name: &str) -> String {
        let mut path = Vec::new();
        normalize(name.as_bytes(), &mut path);
        String::from_utf8(path).expect("text")
    }

    #[test]
    fn every_spelling_of_a_path_is_one_path() {
        for (name, path) in [
            ("./x", "x"),
            ("/x", "x"),
            ("x", "x"),
            ("x//y/./z/", "x/y/z"),
            ("./", ""),
            ("/", ""),
            ("", ""),
            ("../../etc/passwd", "etc/passwd"),
            ("/../x", "x"),
            ("a/../b", "b"),
            ("a/b/../../../c", "c"),
            ("a/../../y", "y"),
            ("a/b/../c", "a/c"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(normal(name), path, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_unpacked_is_refused() {
        assert_eq!(check("a/".repeat(255).as_bytes()), Ok(()));
        let deep = format!("{}a", "a/".repeat(256));
        assert_eq!(
            check(deep.as_bytes()).map_err(|limit| limit.what),
            Err(Bounded::Depth)
        );
        assert_eq!(check(&[b'a'; MAX_PATH_BYTES]), Ok(()));
        let long = [b'a'; MAX_PATH_BYTES + 1];
        assert_eq!(
            check(&long).map_err(|limit| limit.what),
            Err(Bounded::PathBytes)
        );
    }
}
