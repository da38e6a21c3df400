//! `RECORD`: the list of files that an installed distribution, or a wheel, consists of.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file>.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// One row of `RECORD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEntry {
    /// Path of the file, as it is written: relative to the folder that holds the `.dist-info`, or absolute.
    pub path: String,
    /// `algorithm=value`, the value in urlsafe base64 without padding; `None` for RECORD itself and for byte code.
    pub hash: Option<String>,
    /// Size in bytes, where it is given and is a number.
    pub size: Option<u64>,
}

impl RecordEntry {
    /// The hash that the row states, where it is one that can be held against a file: SHA-256 or better, as the
    /// specification demands. `None` where there is none, or one of another kind.
    #[must_use]
    pub fn stated(&self) -> Option<RecordHash> {
        RecordHash::parse(self.hash.as_deref()?)
    }
}

/// A hash as `RECORD` states it: SHA-256 or better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RecordHash {
    /// SHA-256, what everybody writes.
    Sha256([u8; 32]),
    /// SHA-384.
    Sha384([u8; 48]),
    /// SHA-512.
    Sha512([u8; 64]),
}

impl RecordHash {
    /// Reads `algorithm=value`, the value in urlsafe base64 without padding. Padding is tolerated, and so is hexadecimal,
    /// which some build tools have written. `None` for what is no hash, and for MD5, SHA-1 and others that prove nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (algorithm, value) = text.split_once('=')?;
        match algorithm.to_ascii_lowercase().as_str() {
            "sha256" => decode(value).map(Self::Sha256),
            "sha384" => decode(value).map(Self::Sha384),
            "sha512" => decode(value).map(Self::Sha512),
            _ => None,
        }
    }
}

impl fmt::Display for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, bytes): (_, &[u8]) = match self {
            Self::Sha256(bytes) => ("sha256", bytes),
            Self::Sha384(bytes) => ("sha384", bytes),
            Self::Sha512(bytes) => ("sha512", bytes),
        };
        write!(f, "{algorithm}={}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Exactly `N` bytes in urlsafe base64 or in hexadecimal: their lengths differ, so there is nothing to guess.
fn decode<const N: usize>(value: &str) -> Option<[u8; N]> {
    let value = value.trim_end_matches('=');
    if value.len() == 2 * N && value.is_ascii() {
        let mut bytes = [0; N];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            let digits = &value[at..at + 2];
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        return Some(bytes);
    }
    URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()
}

/// A file and, where they are stated, its SHA-256 and its size in bytes.
pub type RecordRow = (String, Option<([u8; 32], u64)>);

/// The text of a `RECORD` with these rows: path, hash and size of each file (byte code has neither), sorted by path, and the row of the `RECORD`
/// itself at `own`, which has neither. Lines end as those of pip, in CRLF.
///
/// # Panics
/// Never: memory takes every row.
#[must_use]
pub fn record_text(rows: &[RecordRow], own: &str) -> Vec<u8> {
    let mut rows: Vec<[String; 3]> = rows
        .iter()
        .map(|(path, facts)| match facts {
            Some((sha256, size)) => {
                let hash = RecordHash::Sha256(*sha256).to_string();
                [path.clone(), hash, size.to_string()]
            }
            None => [path.clone(), String::new(), String::new()],
        })
        .collect();
    rows.push([own.to_owned(), String::new(), String::new()]);
    rows.sort();
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("memory takes every row");
    }
    writer.into_inner().expect("memory takes every row")
}

/// A `RECORD` that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is not CSV.
    #[error("the RECORD is not in the CSV format")]
    NotCsv(#[from] csv::Error),
    /// A line has more columns than anything but an attack on the memory has: each costs eight times its size.
    #[error("a line of the RECORD has more than {MAX_COLUMNS} columns")]
    TooManyColumns,
}

/// Commas of one line: three columns are usual, and no path has room for more.
const MAX_COLUMNS: usize = 4_096;

/// The rows of a `RECORD`, one at a time: however many there are, no more than one is held.
///
/// Rows with fewer or more than three columns are taken, as installers write them; bytes that are not UTF-8 become
/// U+FFFD; rows without a path are passed over.
///
/// # Errors
/// When a line has too many columns; an item is an error when the CSV itself is broken there.
pub fn record_entries(
    bytes: &[u8],
) -> Result<impl Iterator<Item = Result<RecordEntry, RecordError>> + '_, RecordError> {
    let commas = |line: &[u8]| memchr::memchr_iter(b',', line).count();
    if bytes
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .any(|line| commas(line) > MAX_COLUMNS)
    {
        return Err(RecordError::TooManyColumns);
    }
    let reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    Ok(reader.into_byte_records().filter_map(|row| {
        let row = match row {
            Ok(row) => row,
            Err(error) => return Some(Err(error.into())),
        };
        let column = |index| {
            row.get(index)
                .map(|column| String::from_utf8_lossy(column).into_owned())
                .filter(|column| !column.is_empty())
        };
        Some(Ok(RecordEntry {
            path: column(0)?,
            hash: column(1),
            size: column(2).and_then(|size| size.parse().ok()),
        }))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_installers_write_them() {
        let entries = record_entries(
            b"../../../bin/x,sha256=abc,12\r\n\"a,b.py\",sha256=def,0\nfoo/__pycache__/a.pyc,,\nfoo-1.dist-info/RECORD,,\nshort\n\n/usr/share/x,sha256=1,many\n",
        )
        .expect("a RECORD")
        .collect::<Result<Vec<_>, _>>()
        .expect("rows");
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "../../../bin/x",
                "a,b.py",
                "foo/__pycache__/a.pyc",
                "foo-1.dist-info/RECORD",
                "short",
                "/usr/share/x"
            ]
        );
        assert_eq!(entries[0].hash.as_deref(), Some("sha256=abc"));
        assert_eq!(entries[0].size, Some(12));
        assert_eq!((entries[2].hash.as_deref(), entries[2].size), (None, None));
        assert_eq!(entries[5].size, None);
    }

    #[test]
    fn rows_come_one_at_a_time_and_are_not_wide() {
        let many = b"a,,\n".repeat(1 << 20);
        assert_eq!(record_entries(&many).expect("a RECORD").count(), 1 << 20);
        let wide = [b"a,,\n", &b",".repeat(MAX_COLUMNS + 1)[..]].concat();
        let error = record_entries(&wide).err().expect("an error");
        assert_eq!(
            error.to_string(),
            "a line of the RECORD has more than 4096 columns"
        );
    }

    #[test]
    fn hashes_are_read_in_every_form_that_is_written() {
        let empty = RecordHash::parse("sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        assert!(matches!(empty, Some(RecordHash::Sha256(bytes)) if bytes[0] == 0xe3));
        for same in [
            "SHA256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert_eq!(RecordHash::parse(same), empty, "{same}");
        }
        assert_eq!(
            empty.expect("a hash").to_string(),
            "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
        );
        for (algorithm, length) in [("sha384", 64), ("sha512", 86)] {
            let text = format!("{algorithm}={}", "A".repeat(length));
            let hash = RecordHash::parse(&text).expect("a hash");
            assert_eq!(hash.to_string(), text);
        }
        for none in [
            "",
            "sha256",
            "sha256=",
            "sha256=abc",
            "md5=1B2M2Y8AsgTpgAmy7PhCfg",
            "sha1=2jmj7l5rSw0yVb_vlWAYkK_YBwk",
            "sha256=+3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "sha256=\u{e9}3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
        ] {
            assert_eq!(RecordHash::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_record_is_written_as_pip_writes_it() {
        let rows = [
            ("b,\"c\".py".to_owned(), Some(([0; 32], 12))),
            ("../../../bin/x".to_owned(), Some(([0; 32], 0))),
            ("c.pyc".to_owned(), None),
        ];
        let text = record_text(&rows, "a-1.dist-info/RECORD");
        let hash = format!("sha256={}", "A".repeat(43));
        assert_eq!(
            String::from_utf8(text.clone()).expect("text"),
            format!(
                "../../../bin/x,{hash},0\r\na-1.dist-info/RECORD,,\r\n\"b,\"\"c\"\".py\",{hash},12\r\nc.pyc,,\r\n"
            )
        );
        let read: Vec<RecordEntry> = record_entries(&text)
            .expect("a RECORD")
            .collect::<Result<_, _>>()
            .expect("rows");
        assert_eq!(read[2].path, "b,\"c\".py");
        assert_eq!(read[2].stated(), Some(RecordHash::Sha256([0; 32])));
        assert_eq!(read[1].stated(), None);
    }
}
