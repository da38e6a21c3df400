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

/// A `RECORD` that is not CSV.
#[derive(Debug, thiserror::Error)]
#[error("the RECORD is not in the CSV format")]
pub struct RecordError(#[from] csv::Error);

/// Reads the rows of a `RECORD`.
///
/// Rows with fewer or more than three columns are taken, as installers write them; bytes that are not UTF-8 become
/// U+FFFD.
///
/// # Errors
/// When the CSV itself is broken.
pub fn parse_record(bytes: &[u8]) -> Result<Vec<RecordEntry>, RecordError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut entries = Vec::new();
    for row in reader.byte_records() {
        let row = row?;
        let column = |index| {
            row.get(index)
                .map(|column| String::from_utf8_lossy(column).into_owned())
                .filter(|column| !column.is_empty())
        };
        let Some(path) = column(0) else { continue };
        entries.push(RecordEntry {
            path,
            hash: column(1),
            size: column(2).and_then(|size| size.parse().ok()),
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_installers_write_them() {
        let entries = parse_record(
            b"../../../bin/x,sha256=abc,12\r\n\"a,b.py\",sha256=def,0\nfoo/__pycache__/a.pyc,,\nfoo-1.dist-info/RECORD,,\nshort\n\n/usr/share/x,sha256=1,many\n",
        )
        .expect("a RECORD");
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
}
