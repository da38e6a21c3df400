//! Layers as they lie in a registry become tar archives: the compression is told from the first bytes, never from the
//! media type, which is often wrong.
//!
//! Specifications: RFC 1952 (gzip; several members follow one another), RFC 8878 (zstd; frames and skippable frames
//! follow one another, and zstd:chunked keeps its table of contents in the latter), OCI image-spec `layer.md`.

use std::io::{self, BufRead, Read};

use crate::inflate::GzipReader;
use crate::rootfs::limits::MAX_ZSTD_WINDOW_LOG;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// Magic bytes of what some tools make of layers and the specification does not have, with its name.
const FOREIGN: [(&[u8], &str); 3] = [
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
];

impl Compression {
    /// Tells the compression from the `first` bytes of a layer, of which four are enough where there are as many. No
    /// bytes at all are an archive without entries: some writers make such layers, and engines take them.
    ///
    /// # Errors
    /// With the name of a compression that layers do not have.
    pub fn sniff(first: &[u8]) -> Result<Self, &'static str> {
        match first {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or a skippable one, which may stand first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            _ => match FOREIGN.iter().find(|(magic, _)| first.starts_with(magic)) {
                Some((_, name)) => Err(name),
                None => Ok(Self::Plain),
            },
        }
    }
}

/// The uncompressed bytes of a layer.
pub enum Unpacked<'a, R> {
    /// All members of a gzip file, one after the other; anything else behind a member is an error. It is known apart
    /// since it hands over its buffers.
    Gzip(GzipReader<R>),
    /// Anything else.
    Other(Box<dyn Read + Send + 'a>),
}

impl<R: Read> Read for Unpacked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(reader) => reader.read(buffer),
            Self::Other(reader) => reader.read(buffer),
        }
    }
}

/// The uncompressed bytes of `blob`, of which the first `fill_buf` shows at least six bytes where it has as many.
///
/// # Errors
/// Those of `blob`; kind `Unsupported` for a compression that layers do not have.
pub fn decompress<'a, R: BufRead + Send + 'a>(mut blob: R) -> io::Result<Unpacked<'a, R>> {
    let compression = Compression::sniff(blob.fill_buf()?).map_err(|name| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!("it is compressed with {name}, which layers are not"),
        )
    })?;
    Ok(match compression {
        Compression::Plain => Unpacked::Other(Box::new(blob)),
        Compression::Gzip => Unpacked::Gzip(GzipReader::new(blob)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(blob)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
            Unpacked::Other(Box::new(decoder))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("finished")
    }

    fn unpacked(blob: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        decompress(blob)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn gzip_members_follow_one_another() {
        let blob = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
        assert_eq!(unpacked(&blob).expect("unpacked"), b"one two");
        let trailing = [gzip(b"one"), b"garbage".to_vec()].concat();
        assert!(unpacked(&trailing).is_err());
        for length in 1..blob.len() {
            // Cut between two members it is a whole file, which the digest tells.
            let whole = [gzip(b"one ").len(), gzip(b"one ").len() + gzip(b"").len()];
            assert_eq!(
                unpacked(&blob[..length]).is_ok(),
                whole.contains(&length) || length < 2
            );
        }
    }

    #[test]
    fn zstd_frames_and_skippable_frames_follow_one_another() {
        let frame = |bytes: &[u8]| zstd::encode_all(bytes, 3).expect("a frame");
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
        let blob = [skippable.clone(), frame(b"one "), skippable, frame(b"two")].concat();
        assert_eq!(unpacked(&blob).expect("unpacked"), b"one two");
        assert!(unpacked(&blob[..blob.len() - 1]).is_err());
    }

    #[test]
    fn a_zstd_window_beyond_the_limit_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder
            .window_log(MAX_ZSTD_WINDOW_LOG + 1)
            .expect("a window");
        encoder.write_all(b"x").expect("written");
        assert!(unpacked(&encoder.finish().expect("a frame")).is_err());
    }

    #[test]
    fn what_is_not_compressed_is_taken_as_it_is() {
        assert_eq!(unpacked(b"plain").expect("unpacked"), b"plain");
        assert_eq!(unpacked(b"").expect("unpacked"), b"");
        let error = unpacked(b"BZh91AY").expect_err("bzip2");
        assert!(error.to_string().contains("bzip2"), "{error}");
    }
}
