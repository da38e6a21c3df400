//! Digests of blobs (`sha256:<hex>`), computed in the stream and compared at its end.
//!
//! Specification: OCI image-spec, `descriptor.md`, "Digests". Registered are SHA-256 and SHA-512; both are verified.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256, Sha512};

pub use oci_spec::image::{Digest, DigestAlgorithm};

/// A hash that grows with the bytes that are handed to it.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// An algorithm that is not registered for digests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digests of the algorithm `{0}` cannot be verified, only those of sha256 and sha512")]
pub struct UnknownAlgorithm(pub String);

impl Hasher {
    /// A hash for SHA-256, the algorithm of everything that imgtool names by itself.
    #[must_use]
    pub fn sha256() -> Self {
        Self(State::Sha256(Sha256::new()))
    }

    /// A hash for the algorithm of `digest`.
    ///
    /// # Errors
    /// When the algorithm is not registered.
    pub fn of(digest: &Digest) -> Result<Self, UnknownAlgorithm> {
        match digest.algorithm() {
            DigestAlgorithm::Sha256 => Ok(Self::sha256()),
            DigestAlgorithm::Sha512 => Ok(Self(State::Sha512(Sha512::new()))),
            other => Err(UnknownAlgorithm(other.to_string())),
        }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all bytes.
    ///
    /// # Panics
    /// Never: what is written here is a digest.
    #[must_use]
    pub fn finish(self) -> Digest {
        let (algorithm, hash) = match self.0 {
            State::Sha256(state) => ("sha256", hex(&state.finalize())),
            State::Sha512(state) => ("sha512", hex(&state.finalize())),
        };
        format!("{algorithm}:{hash}")
            .parse()
            .expect("an algorithm and its hexadecimal hash are a digest")
    }
}

/// The SHA-256 digest of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::sha256();
    hasher.update(bytes);
    hasher.finish()
}

/// The digest whose SHA-256 hash is `hash`.
///
/// # Panics
/// Never: what is written here is a digest.
#[must_use]
pub fn from_sha256(hash: &[u8; 32]) -> Digest {
    format!("sha256:{}", hex(hash))
        .parse()
        .expect("an algorithm and its hexadecimal hash are a digest")
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes that are not the ones that were promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Other bytes.
    #[error("its digest is {found}, not {expected}")]
    Digest {
        /// What was promised.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// Fewer or more bytes; of more, no more than one was read beyond the promise.
    #[error("it has {found} bytes, not {expected}")]
    Size {
        /// What was promised, in bytes.
        expected: u64,
        /// What came, in bytes.
        found: u64,
    },
    /// A digest that nobody can compute.
    #[error(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
}

/// Compares whole bytes with what their descriptor promises.
///
/// # Errors
/// When size or digest differ.
pub fn verify(bytes: &[u8], digest: &Digest, size: Option<u64>) -> Result<(), Mismatch> {
    let found = bytes.len() as u64;
    if let Some(expected) = size.filter(|expected| *expected != found) {
        return Err(Mismatch::Size { expected, found });
    }
    let mut hasher = Hasher::of(digest)?;
    hasher.update(bytes);
    let found = hasher.finish();
    if found == *digest {
        Ok(())
    } else {
        Err(Mismatch::Digest {
            expected: digest.clone(),
            found,
        })
    }
}

/// A reader that knows what it should have read when it comes to its end, and fails there when it has not: the error is
/// a [`Mismatch`] inside an [`io::Error`] of kind `InvalidData`.
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Option<Hasher>,
    expected: Digest,
    size: Option<u64>,
    read: u64,
}

impl<R: Read> VerifyingReader<R> {
    /// Reads `inner`, of which `digest` and, where it is known, `size` in bytes were promised.
    ///
    /// # Errors
    /// When the digest's algorithm is not registered.
    pub fn new(inner: R, digest: &Digest, size: Option<u64>) -> Result<Self, UnknownAlgorithm> {
        Ok(Self {
            inner,
            hasher: Some(Hasher::of(digest)?),
            expected: digest.clone(),
            size,
            read: 0,
        })
    }

    fn check(&mut self) -> Result<(), Mismatch> {
        let Some(hasher) = self.hasher.take() else {
            return Ok(());
        };
        if let Some(expected) = self.size.filter(|expected| *expected != self.read) {
            return Err(Mismatch::Size {
                expected,
                found: self.read,
            });
        }
        let found = hasher.finish();
        if found == self.expected {
            Ok(())
        } else {
            Err(Mismatch::Digest {
                expected: self.expected.clone(),
                found,
            })
        }
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.inner.read(buffer)?;
        if read == 0 {
            return self
                .check()
                .map(|()| 0)
                .map_err(|mismatch| io::Error::new(io::ErrorKind::InvalidData, mismatch));
        }
        self.read += read as u64;
        // What is longer than promised is wrong already; its end may never come.
        if let Some(expected) = self.size.filter(|expected| self.read > *expected) {
            self.hasher = None;
            let mismatch = Mismatch::Size {
                expected,
                found: self.read,
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, mismatch));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], digest: &Digest, size: Option<u64>) -> Result<Vec<u8>, String> {
        let mut reader = VerifyingReader::new(bytes, digest, size).expect("an algorithm");
        let mut read = Vec::new();
        match reader.read_to_end(&mut read) {
            Ok(_) => Ok(read),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_was_promised_is_read_to_its_end() {
        let digest = sha256(b"abc");
        assert_eq!(
            digest.to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(read(b"abc", &digest, Some(3)), Ok(b"abc".to_vec()));
        assert_eq!(read(b"abc", &digest, None), Ok(b"abc".to_vec()));
        assert_eq!(verify(b"abc", &digest, Some(3)), Ok(()));
        let long: Digest = format!(
            "sha512:{}",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        )
        .parse()
        .expect("a digest");
        assert_eq!(verify(b"abc", &long, None), Ok(()));
    }

    #[test]
    fn anything_else_is_an_error_that_says_what() {
        let digest = sha256(b"abc");
        for (bytes, size, says) in [
            (&b"abd"[..], Some(3), "its digest is sha256:a52d159f"),
            (b"ab", Some(3), "it has 2 bytes, not 3"),
            (b"abcd", Some(3), "it has 4 bytes, not 3"),
            (b"", None, "its digest is sha256:e3b0c442"),
        ] {
            let error = read(bytes, &digest, size).expect_err("a mismatch");
            assert!(error.starts_with(says), "{error}");
            let error = verify(bytes, &digest, size).expect_err("a mismatch");
            assert!(error.to_string().starts_with(says), "{error}");
        }
        let other: Digest = format!("sha384:{}", "0".repeat(96))
            .parse()
            .expect("a digest");
        assert!(matches!(
            verify(b"", &other, None),
            Err(Mismatch::Algorithm(_))
        ));
    }
}
