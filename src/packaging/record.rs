//! `RECORD`: the list of files that an installed distribution, or a wheel, consists of.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/recording-installed-packages/#the-record-file>.

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
}
