//! Tiny wheels that are real ones: a ZIP archive with `METADATA`, `WHEEL` and `RECORD`.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use zip::write::SimpleFileOptions;

/// A wheel named `filename` with this `METADATA`, and `padding` bytes that do not compress, after its metadata if
/// `metadata_first`.
pub fn synthesize(
    filename: &str,
    metadata: &[u8],
    padding: usize,
    metadata_first: bool,
) -> Vec<u8> {
    let mut parts = filename.trim_end_matches(".whl").split('-');
    let (name, version) = (
        parts.next().expect("a name"),
        parts.next().expect("a version"),
    );
    let tags: Vec<&str> = parts.collect();
    let folder = format!("{name}-{version}.dist-info");
    let wheel = format!(
        "Wheel-Version: 1.0\nGenerator: imgtool tests\nRoot-Is-Purelib: true\nTag: {}\n",
        tags[tags.len() - 3..].join("-")
    );
    let mut entries = vec![
        (format!("{folder}/METADATA"), metadata.to_vec()),
        (format!("{folder}/WHEEL"), wheel.into_bytes()),
    ];
    let module = (format!("{name}/__init__.py"), b"\n".to_vec());
    entries.insert(if metadata_first { 2 } else { 0 }, module);
    if padding > 0 {
        let data = (format!("{name}/data.bin"), vec![7; padding]);
        entries.insert(if metadata_first { 2 } else { 0 }, data);
    }
    let record_path = format!("{folder}/RECORD");
    let mut record = String::new();
    for (path, content) in &entries {
        let _ = writeln!(record, "{path},,{}", content.len());
    }
    record.push_str(&record_path);
    record.push_str(",,\n");
    entries.push((record_path, record.into_bytes()));

    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in entries {
        let method = if path.ends_with("data.bin") {
            zip::CompressionMethod::Stored
        } else {
            zip::CompressionMethod::Deflated
        };
        // The default time is a constant: the same wheel has the same hash on every run.
        let options = SimpleFileOptions::DEFAULT.compression_method(method);
        writer.start_file(path, options).expect("an entry");
        writer.write_all(&content).expect("its content");
    }
    writer.finish().expect("an archive").into_inner()
}

/// `METADATA` of `name` `version`, with further header lines.
pub fn metadata(name: &str, version: &str, headers: &str) -> Vec<u8> {
    let mut text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
    for line in headers.lines() {
        text.push_str(line.trim());
        text.push('\n');
    }
    text.push_str("\nThe description of ");
    text.push_str(name);
    text.push_str(".\n");
    text.into_bytes()
}
