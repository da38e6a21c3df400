//! Tiny wheels that are real ones: a ZIP archive with `METADATA`, `WHEEL` and `RECORD`.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;

use super::zip::{Member, archive};

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

/// A wheel whose members and RECORD can be made anything.
#[derive(Debug, Clone)]
pub struct Wheel {
    /// `NAME-VERSION`.
    pub stem: String,
    /// Every member but RECORD.
    pub members: Vec<Member>,
    /// RECORD, where it is not to be the right one.
    pub record: Option<String>,
}

impl Wheel {
    /// A pure wheel of `NAME-VERSION` with nothing in it but its metadata.
    pub fn new(stem: &str) -> Self {
        let (name, version) = stem.split_once('-').expect("a name and a version");
        let wheel = Self {
            stem: stem.to_owned(),
            members: Vec::new(),
            record: None,
        };
        wheel
            .info("METADATA", metadata(name, version, ""))
            .info(
                "WHEEL",
                "Wheel-Version: 1.0\nGenerator: imgtool tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
    }

    /// The file name.
    pub fn file_name(&self) -> String {
        format!("{}-py3-none-any.whl", self.stem)
    }

    /// With one member more.
    #[must_use]
    pub fn member(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    /// With one file more.
    #[must_use]
    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.member(Member::new(path, contents))
    }

    /// With a file of the `.dist-info` folder, in the place of the one that was there.
    #[must_use]
    pub fn info(mut self, file: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = format!("{}.dist-info/{file}", self.stem);
        self.members.retain(|member| member.name != path.as_bytes());
        self.file(&path, contents)
    }

    /// With a file of the `.data` folder.
    #[must_use]
    pub fn data(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = format!("{}.data/{path}", self.stem);
        self.file(&path, contents)
    }

    /// With this RECORD.
    #[must_use]
    pub fn record(self, record: impl Into<String>) -> Self {
        Self {
            record: Some(record.into()),
            ..self
        }
    }

    /// The RECORD that is right.
    pub fn right_record(&self) -> String {
        let mut record = String::new();
        for member in &self.members {
            if member.name.ends_with(b"/") {
                continue;
            }
            let _ = writeln!(
                record,
                "{},sha256={},{}",
                String::from_utf8_lossy(&member.name),
                URL_SAFE_NO_PAD.encode(Sha256::digest(&member.contents)),
                member.contents.len()
            );
        }
        let _ = writeln!(record, "{}.dist-info/RECORD,,", self.stem);
        record
    }

    /// All members, RECORD as the last.
    pub fn all(&self) -> Vec<Member> {
        let record = self.record.clone().unwrap_or_else(|| self.right_record());
        let mut members = self.members.clone();
        members.push(Member::new(
            format!("{}.dist-info/RECORD", self.stem),
            record,
        ));
        members
    }

    /// The archive.
    pub fn build(&self) -> Vec<u8> {
        archive(&self.all())
    }
}
