//! Extended headers of pax, as far as a reader of names and contents needs them.
//!
//! Specification: POSIX.1-2017, `pax`, "pax Extended Header"; the GNU tar manual, "Sparse Formats". The `tar` crate's
//! iterator splits records at line ends, which extended attributes may contain (`security.capability` does); so the
//! lengths are followed here.

use crate::rootfs::limits::MAX_SPARSE_PIECES;

/// What the records of one entry say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PaxRecords {
    /// `path`.
    pub path: Option<Vec<u8>>,
    /// `linkpath`.
    pub link_path: Option<Vec<u8>>,
    /// `size`.
    pub size: Option<u64>,
    /// `uid`; one that is no number is passed over.
    pub uid: Option<u64>,
    /// `gid`; one that is no number is passed over.
    pub gid: Option<u64>,
    /// `GNU.sparse.*`.
    pub sparse: PaxSparse,
}

/// What is said of a sparse file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PaxSparse {
    /// `GNU.sparse.name`: the file's real name in the formats 0.1 and 1.0.
    pub name: Option<Vec<u8>>,
    /// `GNU.sparse.realsize` or `GNU.sparse.size`: the size of the file with its holes.
    pub real_size: Option<u64>,
    /// `GNU.sparse.major` and `GNU.sparse.minor`.
    pub version: (Option<u64>, Option<u64>),
    /// Whether places of data are listed in the records (0.0 and 0.1) at all.
    pub listed: bool,
    /// The places, as offset and length in turn, as far as [`MAX_SPARSE_PIECES`] allow.
    pub pieces: Vec<u64>,
    /// Whether there were more.
    pub too_many: bool,
}

impl PaxSparse {
    /// Whether the map stands before the data in the body (1.0).
    pub fn map_in_body(&self) -> bool {
        self.version == (Some(1), Some(0))
    }

    /// Whether anything says that the file is sparse.
    pub fn is_sparse(&self) -> bool {
        self.listed || self.map_in_body()
    }

    fn push(&mut self, number: u64) {
        if self.pieces.len() < 2 * MAX_SPARSE_PIECES {
            self.pieces.push(number);
        } else {
            self.too_many = true;
        }
    }
}

impl PaxRecords {
    /// Takes in the records of one extended header. Of a keyword that comes twice the later counts, and an empty value
    /// takes the earlier away.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn read(&mut self, mut block: &[u8]) -> Result<(), &'static str> {
        while !block.is_empty() {
            let (record, rest) = split(block).ok_or("a pax record whose length is wrong")?;
            block = rest;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or("a pax record without a value")?;
            self.take(&record[..equals], &record[equals + 1..])?;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let sparse = &mut self.sparse;
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link_path = text(value)?,
            b"size" => self.size = optional(value)?,
            b"uid" => self.uid = decimal(value).ok(),
            b"gid" => self.gid = decimal(value).ok(),
            b"GNU.sparse.name" => sparse.name = text(value)?,
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => sparse.real_size = optional(value)?,
            b"GNU.sparse.major" => sparse.version.0 = optional(value)?,
            b"GNU.sparse.minor" => sparse.version.1 = optional(value)?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                sparse.listed = true;
                // Offset and length in turn; in any other order the contents would be put together wrongly.
                let offset_next = sparse.pieces.len().is_multiple_of(2);
                if !sparse.too_many && offset_next != (key == b"GNU.sparse.offset") {
                    return Err("a sparse map in which offsets and lengths do not take turns");
                }
                sparse.push(decimal(value)?);
            }
            b"GNU.sparse.map" => {
                sparse.listed = true;
                sparse.pieces.clear();
                for number in value
                    .split(|byte| *byte == b',')
                    .filter(|_| !value.is_empty())
                {
                    sparse.push(decimal(number)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The first record of `block`, without its length and line end, and what follows it.
fn split(block: &[u8]) -> Option<(&[u8], &[u8])> {
    // The length of a block has no more digits than this.
    let space = block.iter().take(12).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&block[..space]).ok()?).ok()?;
    let (record, rest) = block.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    Some((record, rest))
}

fn text(value: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    if value.contains(&0) {
        return Err("a pax record with a NUL in a name");
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn optional(value: &[u8]) -> Result<Option<u64>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    decimal(value).map(Some)
}

/// A decimal number of nothing but digits.
pub fn decimal(digits: &[u8]) -> Result<u64, &'static str> {
    const WRONG: &str = "a pax record with a number that is none";
    if digits.is_empty() {
        return Err(WRONG);
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10).ok_or(WRONG)?;
        number
            .checked_mul(10)
            .and_then(|number| number.checked_add(u64::from(digit)))
            .ok_or(WRONG)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + body.to_string().len();
        if length.to_string().len() != body.to_string().len() {
            length += 1;
        }
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    fn read(block: &[u8]) -> Result<PaxRecords, &'static str> {
        let mut records = PaxRecords::default();
        records.read(block).map(|()| records)
    }

    #[test]
    fn values_may_hold_line_ends_and_bytes() {
        let block = [
            record("SCHILY.xattr.security.capability", b"\x01\n=\0\xff"),
            record("path", b"a\nb"),
            record("size", b"12"),
        ]
        .concat();
        let records = read(&block).expect("records");
        assert_eq!(records.path.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(records.size, Some(12));
    }

    #[test]
    fn the_later_counts_and_an_empty_value_takes_away() {
        let block = [
            record("path", b"a"),
            record("path", b"b"),
            record("size", b""),
        ]
        .concat();
        let records = read(&block).expect("records");
        assert_eq!(
            (records.path.as_deref(), records.size),
            (Some(&b"b"[..]), None)
        );
        let block = [record("path", b"a"), record("path", b"")].concat();
        assert_eq!(read(&block).expect("records").path, None);
    }

    #[test]
    fn broken_records_are_errors() {
        for block in [
            &b"x"[..],
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=b ",
            b"5 abc\n",
            b"99999999999999999999 a=b\n",
            b"0 a=b\n",
            b"1 ",
            &record("size", b"-1"),
            &record("size", b"99999999999999999999"),
            &record("path", b"a\0b"),
            &record("GNU.sparse.numbytes", b"1"),
            &record("GNU.sparse.map", b"1,,2"),
        ] {
            assert!(read(block).is_err(), "{}", String::from_utf8_lossy(block));
        }
    }

    #[test]
    fn maps_of_sparse_files_are_bounded() {
        let numbers = vec!["7"; 3 * MAX_SPARSE_PIECES].join(",");
        let records = read(&record("GNU.sparse.map", numbers.as_bytes())).expect("records");
        assert!(records.sparse.too_many && records.sparse.listed);
        assert_eq!(records.sparse.pieces.len(), 2 * MAX_SPARSE_PIECES);
    }
}
