//! Versions that stand as text in an executable or a library.
//!
//! What is looked for is known beforehand, so every search is one for a few fixed bytes, at the speed of memory; what
//! stands around them is looked at where they are found.

use memchr::memmem::Finder;

/// How far behind the beginning of a find its text may reach, in bytes: glibc's banner is one line of less.
const REACH: usize = 512;
/// How much of a piece is copied behind the rest of the one before it, so that no find is cut, in bytes.
const BRIDGE: usize = 8 * REACH;
/// Longest version that is believed, with the NUL that ends it, in bytes.
const LONGEST: usize = 32;
/// Different texts of one kind that are kept: statically linked executables carry the versions of a few libraries.
const MAX_TEXTS: usize = 32;
/// Finds of one kind that are looked at, so that a file made of nothing else costs little: real ones have a few hundred.
const MAX_FINDS: usize = 1 << 16;

/// What is looked for.
const KINDS: [(Kind, &[u8]); 5] = [
    // One byte of a version alone would be found everywhere, three would leave too many needles.
    (Kind::Release, b"3."),
    (Kind::Release, b"2.7."),
    (Kind::Whole, b"\x001."),
    (Kind::Banner, b"GNU C Library "),
    (Kind::Symbol, b"\0GLIBC_2."),
];

/// How what is found is read.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A release of Python at the end of a string, or as the whole of it.
    Release,
    /// A whole string that begins with two numbers and has two dots, as musl's version.
    Whole,
    /// glibc's banner.
    Banner,
    /// The version of a symbol of glibc.
    Symbol,
}

/// One search, and what it has found so far.
#[derive(Debug)]
struct Search {
    kind: Kind,
    finder: Finder<'static>,
    finds: usize,
    /// Each with its place in the file.
    texts: Vec<(u64, String)>,
}

/// Searches a stream for versions.
#[derive(Debug)]
pub(super) struct VersionSearch {
    searches: Vec<Search>,
    /// The newest version of a symbol.
    symbol: Option<(u16, u16)>,
    /// What is not searched yet, behind `searched` bytes that are.
    pending: Vec<u8>,
    searched: usize,
    /// Place of `pending` in the file.
    position: u64,
}

impl VersionSearch {
    pub(super) fn new() -> Self {
        let search = |(kind, needle): (Kind, &'static [u8])| Search {
            kind,
            finder: Finder::new(needle),
            finds: 0,
            texts: Vec::new(),
        };
        Self {
            searches: KINDS.map(search).into_iter().collect(),
            symbol: None,
            pending: Vec::new(),
            searched: 0,
            position: 0,
        }
    }

    /// Takes in the next bytes. A find is read once everything that it may reach is there, so each is read with the
    /// same bytes around it, wherever the pieces end.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let bridge = piece.len().min(BRIDGE);
        self.pending.extend_from_slice(&piece[..bridge]);
        let end = self.pending.len().saturating_sub(REACH);
        if bridge == piece.len() {
            if self.pending.len() >= 2 * BRIDGE {
                self.search_pending(end);
                self.pending.drain(..end - 1);
                self.position += end as u64 - 1;
                self.searched = 1;
            }
            return;
        }
        self.search_pending(end);
        let position = self.position + (self.pending.len() - bridge) as u64;
        let end = piece.len() - REACH;
        self.search(piece, BRIDGE - REACH, end, position);
        self.pending.clear();
        self.pending.extend_from_slice(&piece[end - 1..]);
        self.position = position + end as u64 - 1;
        self.searched = 1;
    }

    /// All that was found.
    pub(super) fn finish(mut self) -> Vec<String> {
        self.search_pending(self.pending.len());
        let mut texts: Vec<(u64, String)> = self
            .searches
            .into_iter()
            .flat_map(|search| search.texts)
            .collect();
        texts.sort_unstable();
        let mut versions: Vec<String> = texts.into_iter().map(|(_, text)| text).collect();
        if let Some((major, minor)) = self.symbol {
            versions.push(format!("GLIBC_{major}.{minor}"));
        }
        versions
    }

    fn search_pending(&mut self, end: usize) {
        let pending = std::mem::take(&mut self.pending);
        self.search(&pending, self.searched, end, self.position);
        self.pending = pending;
    }

    /// Reads what begins in `bytes[start..end]`; `bytes` lie at `position` in the file.
    fn search(&mut self, bytes: &[u8], start: usize, end: usize, position: u64) {
        for search in &mut self.searches {
            let needle = search.finder.needle().len();
            let Some(range) = bytes.get(start..(end + needle - 1).min(bytes.len())) else {
                continue;
            };
            for at in search.finder.find_iter(range) {
                if search.finds >= MAX_FINDS || search.texts.len() >= MAX_TEXTS {
                    break;
                }
                let at = start + at;
                let text = match search.kind {
                    Kind::Release => release(bytes, at),
                    Kind::Whole => whole(&bytes[at + 1..]),
                    Kind::Banner => {
                        search.finds += 1;
                        banner(&bytes[at + needle..])
                    }
                    Kind::Symbol => {
                        search.finds += 1;
                        self.symbol = self.symbol.max(symbol(&bytes[at + needle - 2..]));
                        None
                    }
                };
                let Some(text) = text else { continue };
                search.finds += 1;
                if !search.texts.iter().any(|(_, known)| *known == text) {
                    search.texts.push((position + at as u64, text));
                }
            }
        }
    }
}

/// The release of Python that stands at `at` and ends its string, as `Py_GetVersion` builds on it.
fn release(bytes: &[u8], at: usize) -> Option<String> {
    let before = at.checked_sub(1).map(|at| bytes[at]);
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte)) {
        return None;
    }
    let text = &bytes[at..bytes.len().min(at + LONGEST)];
    let end = release_length(text)?;
    // "+" marks a build between two releases.
    if !matches!(text[end..], [0, ..] | [b'+', 0, ..]) {
        return None;
    }
    let release = std::str::from_utf8(&text[..end]).ok()?;
    Some(if before == Some(0) {
        release.to_owned()
    } else {
        format!(" {release}")
    })
}

/// Length of the release at the beginning of `text`, such as `3.13.0rc2`.
fn release_length(text: &[u8]) -> Option<usize> {
    let mut end = 0;
    for part in 0..3 {
        if part > 0 {
            (text.get(end) == Some(&b'.')).then_some(())?;
            end += 1;
        }
        let length = digits(&text[end..]);
        (length > 0).then_some(())?;
        end += length;
    }
    for level in [&b"a"[..], b"b", b"rc"] {
        if let Some(serial) = text[end..].strip_prefix(level) {
            let length = digits(serial);
            if length > 0 {
                end += level.len() + length;
            }
        }
    }
    Some(end)
}

fn digits(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count()
}

/// The string at the beginning of `bytes` when it is a version such as `1.2.4`, or `1.2.4_git20230717`.
fn whole(bytes: &[u8]) -> Option<String> {
    let text = string(bytes, LONGEST)?;
    let is_version = text.matches('.').count() >= 2
        && two_numbers(text).is_some()
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_version.then(|| text.to_owned())
}

/// The version in the rest of glibc's banner: "(Debian GLIBC 2.36-9) stable release version 2.36.".
fn banner(rest: &[u8]) -> Option<String> {
    const VERSION: &[u8] = b" release version ";
    let line = &rest[..rest.len().min(REACH / 2)];
    let line = &line[..memchr::memchr2(b'\n', 0, line).unwrap_or(line.len())];
    let at = memchr::memmem::find(line, VERSION)?;
    let word = memchr::memrchr(b' ', &line[..at]).map_or(0, |space| space + 1);
    let number = &line[at + VERSION.len()..];
    let length = number
        .iter()
        .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
        .count();
    let text = std::str::from_utf8(&line[word..at + VERSION.len() + length]).ok()?;
    two_numbers(std::str::from_utf8(number).ok()?)?;
    Some(text.trim_end_matches('.').to_owned())
}

/// The version in the name of a symbol's version, of which the part behind `GLIBC_` is at the beginning of `bytes`.
fn symbol(bytes: &[u8]) -> Option<(u16, u16)> {
    two_numbers(string(bytes, LONGEST / 2)?)
}

/// The string at the beginning of `bytes`, which ends with a NUL before `limit`.
fn string(bytes: &[u8], limit: usize) -> Option<&str> {
    let bytes = &bytes[..bytes.len().min(limit)];
    std::str::from_utf8(&bytes[..memchr::memchr(0, bytes)?]).ok()
}

/// The first two numbers of a dotted version; `None` when it does not begin with two.
pub(crate) fn two_numbers(text: &str) -> Option<(u16, u16)> {
    let (major, rest) = text.split_once('.')?;
    Some((
        major.parse().ok()?,
        rest[..digits(rest.as_bytes())].parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(bytes: &[u8]) -> Vec<String> {
        let mut search = VersionSearch::new();
        search.push(bytes);
        search.finish()
    }

    #[test]
    fn releases_of_python_are_told_from_what_looks_like_them() {
        for (bytes, found) in [
            (&b"\0xx\x003.10.13\0"[..], &["3.10.13"][..]),
            (
                b"\x003.10.13 (main\0expat_3.10.9\x00v3.10.8\x0013.10.7\x003.10.x\0",
                &[],
            ),
            (b"3.10.1\0", &[" 3.10.1"]),
            (b"CPython 3.10.13\0\x003.10.13\0", &[" 3.10.13", "3.10.13"]),
            (b"\x003.10.13+\0\x003.10.0rc2\0", &["3.10.13", "3.10.0rc2"]),
            (b"\x003.10.13", &[]),
            (b"\x003.10.13++\0", &[]),
            (b"\x002.7.18\0\x002.6.9\0", &["2.7.18"]),
            (b"\x003.10.12345678901234567890123456789\0", &[]),
            (b"", &[]),
        ] {
            assert_eq!(
                versions(bytes),
                found,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn banners_and_symbols_of_glibc_are_read() {
        for (bytes, found) in [
            (
                &b"GNU C Library (GNU libc) development release version 2.37.9000.\n"[..],
                &["development release version 2.37.9000"][..],
            ),
            (
                b"GNU C Library (GNU libc) stable release version 2.17, by Roland",
                &["stable release version 2.17"],
            ),
            (b"GNU C Library \n release version 2.36.", &[]),
            (b"GNU C Library x release version two.", &[]),
            (
                b"\0GLIBC_2.2.5\0GLIBC_2.10\0GLIBC_2.9\0GLIBC_PRIVATE\0",
                &["GLIBC_2.10"],
            ),
            (b"\0GLIBC_2.10", &[]),
        ] {
            assert_eq!(
                versions(bytes),
                found,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn a_file_made_of_versions_stays_small() {
        let mut bytes = Vec::new();
        for micro in 0..200_000 {
            bytes.extend_from_slice(
                format!("\x003.1.{micro}\x001.1.{micro}\0\0GLIBC_2.{micro}\0").as_bytes(),
            );
        }
        let found = versions(&bytes);
        assert_eq!(found.len(), 2 * MAX_TEXTS + 1);
        let in_pieces = |size| {
            let mut search = VersionSearch::new();
            bytes.chunks(size).for_each(|piece| search.push(piece));
            search.finish()
        };
        assert_eq!(in_pieces(1000), found);
        assert_eq!(in_pieces(100_001), found);
    }
}
