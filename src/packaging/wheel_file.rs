//! `WHEEL`: what a wheel says of its own form.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-contents>.

/// The fields of `WHEEL` that decide how a wheel is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelFile {
    /// `Wheel-Version`: major and minor number of the format.
    pub wheel_version: (u64, u64),
    /// `Root-Is-Purelib`: whether modules at the root of the archive belong into `purelib`, rather than `platlib`.
    pub root_is_purelib: bool,
}

/// The version of the format that is known; higher minor ones can be read as well.
pub const KNOWN_WHEEL_VERSION: (u64, u64) = (1, 0);

/// A `WHEEL` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WheelFileError {
    /// Bytes that are not UTF-8.
    #[error("WHEEL is not UTF-8")]
    NotUtf8,
    /// The field without which nothing else can be trusted is missing.
    #[error("WHEEL has no `Wheel-Version`")]
    NoVersion,
    /// A version that is none.
    #[error("the `Wheel-Version` of WHEEL, `{0}`, is not two numbers with a dot between")]
    InvalidVersion(String),
    /// A form of wheel that nobody knows yet.
    #[error("its `Wheel-Version` is {}.{}: only {}.x is known", found.0, found.1, KNOWN_WHEEL_VERSION.0)]
    UnknownVersion {
        /// The version that WHEEL states.
        found: (u64, u64),
    },
}

impl WheelFile {
    /// Reads the fields. Names match in any case; of a field that occurs twice the first counts; a `Root-Is-Purelib`
    /// that is missing or not `true` means `platlib`, as for pip.
    ///
    /// # Errors
    /// [`WheelFileError`]; a higher major version is one.
    pub fn parse(bytes: &[u8]) -> Result<Self, WheelFileError> {
        let text = std::str::from_utf8(bytes).map_err(|_| WheelFileError::NotUtf8)?;
        let field = |wanted: &str| {
            text.lines()
                .take_while(|line| !line.trim().is_empty())
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.trim())
        };
        let version = field("Wheel-Version").ok_or(WheelFileError::NoVersion)?;
        let invalid = || WheelFileError::InvalidVersion(version.to_owned());
        let numbers = version
            .split('.')
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()
            .map_err(|_| invalid())?;
        let wheel_version = match numbers[..] {
            [major] => (major, 0),
            [major, minor, ..] => (major, minor),
            [] => return Err(invalid()),
        };
        if wheel_version.0 > KNOWN_WHEEL_VERSION.0 {
            return Err(WheelFileError::UnknownVersion {
                found: wheel_version,
            });
        }
        Ok(Self {
            wheel_version,
            root_is_purelib: field("Root-Is-Purelib")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_read_as_pip_reads_them() {
        for (text, version, purelib) in [
            ("Wheel-Version: 1.0\nRoot-Is-Purelib: true\n", (1, 0), true),
            (
                "wheel-version:1.9\r\nROOT-IS-PURELIB: True\r\nTag: py3-none-any",
                (1, 9),
                true,
            ),
            ("Wheel-Version: 1.0\nRoot-Is-Purelib: false", (1, 0), false),
            ("Wheel-Version: 1", (1, 0), false),
            ("Wheel-Version: 0.1\n\nRoot-Is-Purelib: true", (0, 1), false),
        ] {
            let found = WheelFile::parse(text.as_bytes()).expect(text);
            assert_eq!(
                (found.wheel_version, found.root_is_purelib),
                (version, purelib),
                "{text}"
            );
        }
    }

    #[test]
    fn an_unknown_form_is_refused_with_its_version() {
        for (text, says) in [
            ("Root-Is-Purelib: true", "WHEEL has no `Wheel-Version`"),
            (
                "Wheel-Version: one",
                "the `Wheel-Version` of WHEEL, `one`, is not two numbers with a dot between",
            ),
            (
                "Wheel-Version: 2.0",
                "its `Wheel-Version` is 2.0: only 1.x is known",
            ),
        ] {
            let error = WheelFile::parse(text.as_bytes()).expect_err(text);
            assert_eq!(error.to_string(), says);
        }
        assert_eq!(WheelFile::parse(b"\xff"), Err(WheelFileError::NotUtf8));
    }
}
