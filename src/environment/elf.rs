//! The few fields of an ELF header that tell what an executable runs on: its machine and its loader.
//!
//! Specification: System V ABI, chapters 4 and 5, <https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html>.
//! A reader of the whole format (`object`, `goblin`) would bring thousands of lines for these four fields.

use crate::image_path::ImagePath;
use crate::rootfs::{RootFs, RootFsError};

/// Program headers read at most; real executables have about a dozen.
const MAX_PROGRAM_HEADERS: u64 = 128;
/// Longest loader path that is believed, in bytes (`PATH_MAX` of Linux).
const MAX_INTERPRETER: u64 = 4096;
/// Program header type of the loader's path.
const PT_INTERP: u64 = 3;

/// What an ELF header tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elf {
    /// Machine name as `uname -m` prints it; `None` for one that no Python wheel is made for.
    pub architecture: Option<&'static str>,
    /// Path of the loader (`PT_INTERP`); a static executable and most libraries have none.
    pub interpreter: Option<String>,
}

/// Reads the header of the file at the real path `path`; `None` when it is not an ELF file.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read_elf(root: &dyn RootFs, path: &ImagePath) -> Result<Option<Elf>, RootFsError> {
    let header = root.read_range(path, 0, 64)?;
    let Some(header) = Header::parse(&header) else {
        return Ok(None);
    };
    let mut interpreter = None;
    for index in 0..header.program_headers.min(MAX_PROGRAM_HEADERS) {
        let Some(offset) = index
            .checked_mul(header.program_header_size)
            .and_then(|offset| offset.checked_add(header.program_header_offset))
        else {
            break;
        };
        let bytes = root.read_range(path, offset, 56)?;
        let Some((kind, offset, size)) = header.program_header(&bytes) else {
            break;
        };
        if kind == PT_INTERP && size <= MAX_INTERPRETER {
            let length = usize::try_from(size).unwrap_or(0);
            let text = root.read_range(path, offset, length)?;
            let end = text.iter().position(|byte| *byte == 0);
            let text = &text[..end.unwrap_or(text.len())];
            interpreter = std::str::from_utf8(text).ok().map(ToOwned::to_owned);
            break;
        }
    }
    Ok(Some(Elf {
        architecture: header.architecture(),
        interpreter,
    }))
}

/// The fixed fields at the start of the file.
struct Header {
    wide: bool,
    little: bool,
    machine: u64,
    program_header_offset: u64,
    program_header_size: u64,
    program_headers: u64,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(b"\x7fELF") {
            return None;
        }
        let wide = match bytes.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let little = match bytes.get(5)? {
            1 => true,
            2 => false,
            _ => return None,
        };
        let field = |offset, size| number(bytes, offset, size, little);
        let (offset_at, size_at) = if wide { ((32, 8), 54) } else { ((28, 4), 42) };
        Some(Self {
            wide,
            little,
            machine: field(18, 2)?,
            program_header_offset: field(offset_at.0, offset_at.1)?,
            program_header_size: field(size_at, 2)?,
            program_headers: field(size_at + 2, 2)?,
        })
    }

    /// Type, file offset and size in the file of one program header.
    fn program_header(&self, bytes: &[u8]) -> Option<(u64, u64, u64)> {
        let field = |offset, size| number(bytes, offset, size, self.little);
        Some(if self.wide {
            (field(0, 4)?, field(8, 8)?, field(32, 8)?)
        } else {
            (field(0, 4)?, field(4, 4)?, field(16, 4)?)
        })
    }

    fn architecture(&self) -> Option<&'static str> {
        Some(match (self.machine, self.wide, self.little) {
            (3, ..) => "i686",
            (20 | 21, true, false) => "ppc64",
            (21, true, true) => "ppc64le",
            (22, true, _) => "s390x",
            (40, ..) => "armv7l",
            (62, true, _) => "x86_64",
            (183, ..) => "aarch64",
            (243, true, _) => "riscv64",
            (258, true, _) => "loongarch64",
            _ => return None,
        })
    }
}

/// An unsigned number of `size` bytes at `offset`; `None` beyond the end.
fn number(bytes: &[u8], offset: usize, size: usize, little: bool) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(size)?)?;
    let push = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    Some(if little {
        bytes.iter().rev().fold(0, push)
    } else {
        bytes.iter().fold(0, push)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::Root;
    use super::*;

    /// A 64-bit little-endian executable of `machine` that names `loader` and carries `text`, NUL-terminated.
    pub(in super::super) fn executable(machine: u16, loader: &str, text: &str) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 3;
        bytes[72] = 120;
        bytes[96..98].copy_from_slice(
            &u16::try_from(loader.len() + 1)
                .expect("short")
                .to_le_bytes(),
        );
        bytes.extend_from_slice(loader.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        bytes
    }

    #[test]
    fn machine_and_loader_are_read() {
        let root = Root::new();
        let bytes = executable(183, "/lib/ld-musl-aarch64.so.1", "");
        root.write("/a", &bytes);
        let elf = read_elf(&root.view(), &ImagePath::new("/a")).expect("read");
        assert_eq!(
            elf,
            Some(Elf {
                architecture: Some("aarch64"),
                interpreter: Some("/lib/ld-musl-aarch64.so.1".to_owned()),
            })
        );
    }

    #[test]
    fn no_cut_and_no_byte_makes_it_panic() {
        let root = Root::new();
        let whole = executable(62, "/lib64/ld-linux-x86-64.so.2", "3.10.13");
        for end in 0..whole.len() {
            root.write("/a", &whole[..end]);
            read_elf(&root.view(), &ImagePath::new("/a")).expect("read");
        }
        for at in 0..120 {
            let mut broken = whole.clone();
            broken[at] = 0xff;
            root.write("/a", &broken);
            read_elf(&root.view(), &ImagePath::new("/a")).expect("read");
        }
        root.write("/a", b"#!/bin/sh\n");
        assert_eq!(
            read_elf(&root.view(), &ImagePath::new("/a")).expect("read"),
            None
        );
    }
}
