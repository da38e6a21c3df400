//! What an executable or a shared library says of itself, told while its bytes go by: machine, loader, and the versions
//! that stand in it as text.
//!
//! A layer is read once, from its beginning to its end, and keeps no executable; so the few facts that anybody wants of
//! one are taken out while it passes.

use serde::{Deserialize, Serialize};

/// Facts of one executable or shared library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutableFacts {
    /// What its ELF header says; `None` for something that is no ELF file.
    pub elf: Option<ElfFacts>,
    /// Whether it begins with `#!`.
    pub is_script: bool,
    /// Texts that may be versions, such as `3.10.13` or `stable release version 2.36`, in the order in which they stand
    /// there, each once.
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
pub struct ExecutableScanner {}

impl ExecutableScanner {
    /// A scanner that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next bytes.
    pub fn push(&mut self, _bytes: &[u8]) {}

    /// The facts of all bytes.
    #[must_use]
    pub fn finish(self) -> ExecutableFacts {
        ExecutableFacts::default()
    }
}
