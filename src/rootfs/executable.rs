//! What an executable or a shared library says of itself, told while its bytes go by: machine, loader, and the versions
//! that stand in it as text.
//!
//! A layer is read once, from its beginning to its end, and keeps no executable; so the few facts that anybody wants of
//! one are taken out while it passes. They do not depend on how the bytes are cut into pieces.

mod elf;
mod versions;

use serde::{Deserialize, Serialize};

use elf::HeaderReader;
use versions::VersionSearch;

pub(crate) use versions::two_numbers;

/// Facts of one executable or shared library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutableFacts {
    /// What its ELF header says; `None` for something that is no ELF file.
    pub elf: Option<ElfFacts>,
    /// Whether it begins with `#!`.
    pub is_script: bool,
    /// Texts that may be versions, in the order in which they stand there, each once, at most some dozens:
    ///
    /// - `3.10.13`: a whole string of that text, NUL before and after, as Python and musl have their version;
    /// - ` 3.10.13`, with a space: the end of a longer string, as a linker may merge the two;
    /// - `stable release version 2.36`: from glibc's banner;
    /// - `GLIBC_2.36`, always last: the newest version of glibc's symbols that is defined or needed.
    pub versions: Vec<String>,
}

/// What an ELF header tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfFacts {
    /// Machine name as `uname -m` prints it; `None` for one that no Python wheel is made for.
    pub architecture: Option<String>,
    /// Path of the loader (`PT_INTERP`); a static executable and most libraries have none.
    pub interpreter: Option<String>,
}

/// Takes the facts out of bytes that are handed to it in order, in pieces of any size.
#[derive(Debug, Default)]
pub struct ExecutableScanner {
    header: HeaderReader,
    /// `None` for who wants the header alone, and for a script, in which no version is looked for.
    versions: Option<VersionSearch>,
    is_script: bool,
}

impl ExecutableScanner {
    /// A scanner that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            versions: Some(VersionSearch::new()),
            ..Self::default()
        }
    }

    /// A scanner that looks for no versions, and mostly knows all it wants after the first few hundred bytes: see
    /// [`ExecutableScanner::is_done`].
    #[must_use]
    pub fn for_header() -> Self {
        Self::default()
    }

    /// Takes in the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.header.is_done() {
            self.header.push(bytes);
            if self.header.begins_with(b"#!") {
                self.is_script = true;
                self.versions = None;
            }
        }
        if let Some(versions) = &mut self.versions {
            versions.push(bytes);
        }
    }

    /// Whether further bytes would tell nothing more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.header.is_done() && self.versions.is_none()
    }

    /// The facts of all bytes.
    #[must_use]
    pub fn finish(self) -> ExecutableFacts {
        ExecutableFacts {
            elf: self.header.finish(),
            is_script: self.is_script,
            versions: self.versions.map(VersionSearch::finish).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pieces: &[&[u8]]) -> ExecutableFacts {
        let mut scanner = ExecutableScanner::new();
        for piece in pieces {
            scanner.push(piece);
        }
        scanner.finish()
    }

    /// An executable in whose middle and at whose end everything stands that is looked for.
    fn sample() -> Vec<u8> {
        let mut bytes = elf::tests::executable(62, "/lib64/ld-linux-x86-64.so.2", "3.10.13");
        bytes.extend_from_slice(b"CPython 3.10.12\0\x003.9.1+\0\0GLIBC_2.9\0\0GLIBC_2.36\0");
        bytes.extend_from_slice(
            b"GNU C Library (Debian GLIBC 2.36-9+deb12u7) stable release version 2.36.\n\0",
        );
        bytes.extend_from_slice(&[0x66; 9000]);
        bytes.extend_from_slice(b"\x001.2.4_git20230717\0\x002.7.18\0end");
        bytes
    }

    #[test]
    fn everything_is_told_however_the_bytes_are_cut() {
        let bytes = sample();
        let whole = facts(&[&bytes]);
        assert_eq!(
            whole,
            ExecutableFacts {
                elf: Some(ElfFacts {
                    architecture: Some("x86_64".to_owned()),
                    interpreter: Some("/lib64/ld-linux-x86-64.so.2".to_owned()),
                }),
                is_script: false,
                versions: [
                    "3.10.13",
                    " 3.10.12",
                    "3.9.1",
                    "stable release version 2.36",
                    "1.2.4_git20230717",
                    "2.7.18",
                    "GLIBC_2.36",
                ]
                .map(ToOwned::to_owned)
                .to_vec(),
            }
        );
        for cut in 0..bytes.len() {
            assert_eq!(facts(&[&bytes[..cut], &bytes[cut..]]), whole, "{cut}");
        }
        for size in [1, 2, 3, 7, 64, 511, 512, 513, 4095, 4096, 4097, 8192] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(facts(&pieces), whole, "{size}");
        }
        let text = serde_json::to_string(&whole).expect("JSON");
        let again: ExecutableFacts = serde_json::from_str(&text).expect("facts");
        assert_eq!(again, whole);
    }

    #[test]
    fn a_script_is_a_script_and_no_more() {
        let script = b"#!/bin/sh\n\x003.10.13\0";
        for cut in 0..script.len() {
            let facts = facts(&[&script[..cut], &script[cut..]]);
            assert!(facts.is_script);
            assert_eq!(facts.elf, None);
            assert_eq!(facts.versions, [""; 0], "{cut}");
        }
        assert_eq!(facts(&[b"#"]), ExecutableFacts::default());
        assert_eq!(facts(&[]), ExecutableFacts::default());
    }

    #[test]
    fn who_wants_the_header_alone_has_it_early() {
        let bytes = sample();
        let mut scanner = ExecutableScanner::for_header();
        scanner.push(&bytes[..256]);
        assert!(scanner.is_done());
        let facts = scanner.finish();
        assert_eq!(
            facts.elf.expect("a header").architecture.as_deref(),
            Some("x86_64")
        );
        assert_eq!(facts.versions, [""; 0]);
    }
}
