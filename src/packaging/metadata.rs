//! Core metadata: what a distribution says of itself (`METADATA`, `PKG-INFO`).
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/core-metadata/>. Only the fields that decide
//! about installation are kept; the description, often most of the file, is never looked at.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{ExtraName, PackageName};

use super::requirement::{Requirement, RequirementError, is_confined_to_extras, may_concern_extra};
use super::specifiers;

/// The header fields of a metadata file, unparsed and in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawMetadata {
    /// `Metadata-Version`.
    pub metadata_version: Option<String>,
    /// `Name`, as it is written.
    pub name: Option<String>,
    /// `Version`, as it is written.
    pub version: Option<String>,
    /// `Requires-Dist`, one requirement each.
    pub requires_dist: Vec<String>,
    /// `Requires-Python`.
    pub requires_python: Option<String>,
    /// `Provides-Extra`.
    pub provides_extra: Vec<String>,
    /// `Dynamic`, lower case: fields whose value a build may change (metadata 2.2).
    pub dynamic: Vec<String>,
}

impl RawMetadata {
    /// Reads the header of a metadata file.
    ///
    /// Lenient by design, as everything downstream can tell a missing field from a present one: field names match
    /// in any case, lines may end in CRLF, a folded line continues its field, bytes that are not UTF-8 become
    /// U+FFFD, and a line that is no field is passed over. Of a single-use field that occurs twice the first counts.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut raw = Self::default();
        let mut field: Option<(Field, Cow<'_, [u8]>)> = None;
        let mut start = 0;
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at);
            let line = &bytes[start..end];
            start = end + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                break;
            }
            if matches!(line[0], b' ' | b'\t') {
                let more = line.trim_ascii();
                if let Some((_, value)) = &mut field
                    && !more.is_empty()
                {
                    let value = value.to_mut();
                    if !value.is_empty() {
                        value.push(b' ');
                    }
                    value.extend_from_slice(more);
                }
                continue;
            }
            if let Some((field, value)) = field.take() {
                raw.set(field, value);
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            field = Field::named(line[..colon].trim_ascii())
                .map(|field| (field, Cow::Borrowed(line[colon + 1..].trim_ascii())));
        }
        if let Some((field, value)) = field {
            raw.set(field, value);
        }
        raw
    }

    /// Writes the fields as the header of a metadata file: what [`RawMetadata::parse`] reads as the same.
    #[must_use]
    pub fn to_header(&self) -> Vec<u8> {
        let mut header = String::new();
        let single = [
            ("Metadata-Version", &self.metadata_version),
            ("Name", &self.name),
            ("Version", &self.version),
            ("Requires-Python", &self.requires_python),
        ];
        let several = [
            ("Requires-Dist", &self.requires_dist),
            ("Provides-Extra", &self.provides_extra),
            ("Dynamic", &self.dynamic),
        ];
        let singles = single
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let all = several
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        for (name, value) in singles.chain(all) {
            // Values come from single, unfolded lines, so they have no line break that would end the field.
            let _ = writeln!(header, "{name}: {value}");
        }
        header.into_bytes()
    }

    fn set(&mut self, field: Field, value: Cow<'_, [u8]>) {
        let value = String::from_utf8(value.into_owned())
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        let first = |slot: &mut Option<String>, value| {
            slot.get_or_insert(value);
        };
        match field {
            Field::MetadataVersion => first(&mut self.metadata_version, value),
            Field::Name => first(&mut self.name, value),
            Field::Version => first(&mut self.version, value),
            Field::RequiresPython => first(&mut self.requires_python, value),
            Field::RequiresDist => self.requires_dist.push(value),
            Field::ProvidesExtra => self.provides_extra.push(value),
            Field::Dynamic => self.dynamic.push(value.to_ascii_lowercase()),
        }
    }
}

/// The fields that are kept.
#[derive(Debug, Clone, Copy)]
enum Field {
    MetadataVersion,
    Name,
    Version,
    RequiresDist,
    RequiresPython,
    ProvidesExtra,
    Dynamic,
}

impl Field {
    /// The kept field of that name, in any case.
    fn named(name: &[u8]) -> Option<Self> {
        // Most lines are classifiers and licences: the length alone tells them apart from what is looked for.
        let (field, spelled) = match name.len() {
            4 => (Self::Name, "name"),
            7 if name[0].eq_ignore_ascii_case(&b'v') => (Self::Version, "version"),
            7 => (Self::Dynamic, "dynamic"),
            13 => (Self::RequiresDist, "requires-dist"),
            14 => (Self::ProvidesExtra, "provides-extra"),
            15 => (Self::RequiresPython, "requires-python"),
            16 => (Self::MetadataVersion, "metadata-version"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelled.as_bytes())
            .then_some(field)
    }
}

/// The metadata of a distribution that an index offers, parsed strictly: a candidate that cannot say what it needs
/// is not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreMetadata {
    /// Normalized name of the project.
    pub name: PackageName,
    /// Version of the distribution.
    pub version: Version,
    /// What it requires, markers not yet evaluated; without what only extras require.
    pub requires_dist: Vec<Requirement>,
    /// What only extras require, not yet parsed: see [`CoreMetadata::requires_with_extra`].
    extra_requires_dist: Vec<String>,
    /// Versions of Python that it runs on.
    pub requires_python: Option<VersionSpecifiers>,
    /// Extras that it offers.
    pub provides_extra: Vec<ExtraName>,
}

/// Metadata that breaks its specification.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MetadataError {
    /// A field that must be there is not.
    #[error("the metadata has no `{0}` field")]
    MissingField(&'static str),
    /// A field whose value does not parse.
    #[error("the metadata field `{field}` has the invalid value `{value}`")]
    InvalidField {
        /// The field's name.
        field: &'static str,
        /// What stands in it.
        value: String,
    },
    /// A `Requires-Dist` that is no requirement.
    #[error(transparent)]
    InvalidRequirement(#[from] RequirementError),
}

impl CoreMetadata {
    /// Parses the bytes of a `METADATA` file.
    ///
    /// # Errors
    /// When name or version are missing, or a field that decides about installation does not parse.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        Self::from_raw(RawMetadata::parse(bytes))
    }

    /// Parses the fields of a metadata file that has been read.
    ///
    /// # Errors
    /// As [`CoreMetadata::parse`].
    pub fn from_raw(raw: RawMetadata) -> Result<Self, MetadataError> {
        // `PackageName` accepts the empty text.
        let name = raw
            .name
            .filter(|name| !name.is_empty())
            .ok_or(MetadataError::MissingField("Name"))?;
        let version = raw.version.ok_or(MetadataError::MissingField("Version"))?;
        let requires_python = match raw.requires_python {
            None => None,
            Some(value) => Some(parse_requires_python(&value).ok_or(
                MetadataError::InvalidField {
                    field: "Requires-Python",
                    value,
                },
            )?),
        };
        let (extra_requires_dist, requires_dist): (Vec<_>, Vec<_>) = raw
            .requires_dist
            .into_iter()
            .partition(|text| is_confined_to_extras(text));
        Ok(Self {
            name: PackageName::from_str(&name).map_err(|_| MetadataError::InvalidField {
                field: "Name",
                value: name,
            })?,
            version: Version::from_str(&version).map_err(|_| MetadataError::InvalidField {
                field: "Version",
                value: version,
            })?,
            requires_dist: requires_dist
                .iter()
                .map(|text| Requirement::from_str(text))
                .collect::<Result<_, _>>()?,
            extra_requires_dist,
            requires_python,
            // An extra with an invalid name cannot be asked for, so it is passed over.
            provides_extra: raw
                .provides_extra
                .iter()
                .filter_map(|extra| ExtraName::from_str(extra).ok())
                .collect(),
        })
    }

    /// What the distribution requires for extras only and may require for `extra`, markers not yet evaluated.
    ///
    /// # Errors
    /// The first of them that is no requirement: a fault that harms nobody who does not ask for the extra.
    pub fn requires_with_extra(
        &self,
        extra: &ExtraName,
    ) -> Result<Vec<Requirement>, RequirementError> {
        self.extra_requires_dist
            .iter()
            .filter(|text| may_concern_extra(text, extra))
            .map(|text| Requirement::from_str(text))
            .collect()
    }
}

/// Parses a `Requires-Python` value; the legacy forms that are common on the index (`>=3.6.*`) are read as meant.
/// `None` where nothing can be made of it.
#[must_use]
pub fn parse_requires_python(text: &str) -> Option<VersionSpecifiers> {
    specifiers::parse(text).ok().or_else(|| {
        // The requirement parser knows the legacy forms; lend it a name.
        Requirement::parse_lenient(&format!("python {text}"))
            .ok()
            .map(|requirement| requirement.specifiers)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_the_body_is_not() {
        let raw = RawMetadata::parse(
            b"Metadata-Version: 2.1\r\nname: Foo\r\nVersion: 1.0\r\nRequires-Dist: bar\r\n  >=1\r\nnonsense\r\nLicense: x\r\n  Name: no\r\n\r\nRequires-Dist: not-me\r\n",
        );
        assert_eq!(raw.name.as_deref(), Some("Foo"));
        assert_eq!(raw.requires_dist, ["bar >=1"]);
        assert_eq!(RawMetadata::parse(&raw.to_header()), raw);
        let folded = RawMetadata::parse(b"Name:\n foo\n \nVersion: 1.0\n \t\n .1\n");
        assert_eq!(folded.name.as_deref(), Some("foo"));
        assert_eq!(folded.version.as_deref(), Some("1.0 .1"));
        assert_eq!(RawMetadata::parse(&folded.to_header()), folded);
    }

    #[test]
    fn a_candidate_must_parse() {
        let metadata = CoreMetadata::parse(
            b"Metadata-Version: 2.1\nName: Foo\nVersion: 1.0\nRequires-Python: >=3.6.*\nRequires-Dist: bar[x]>=2; extra == 'y'\nProvides-Extra: y\n",
        )
        .expect("metadata");
        assert!(metadata.requires_dist.is_empty());
        let extra = ExtraName::from_str("y").expect("an extra");
        let of_extras = metadata.requires_with_extra(&extra).expect("requirements");
        assert_eq!(of_extras[0].to_string(), "bar[x]>=2 ; extra == 'y'");
        assert_eq!(
            metadata.requires_python.expect("a specifier").to_string(),
            ">=3.6"
        );
        let error = CoreMetadata::parse(b"Name: foo\nVersion: 1.0\nRequires-Dist: bar >= banana\n");
        assert!(error.is_err());
        assert!(matches!(
            CoreMetadata::parse(b"Name:\nVersion: 1.0\n"),
            Err(MetadataError::MissingField("Name"))
        ));
        assert!(matches!(
            CoreMetadata::parse(b"Name: foo\n"),
            Err(MetadataError::MissingField("Version"))
        ));
    }
}
