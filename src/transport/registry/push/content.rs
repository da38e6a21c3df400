//! The bytes of a blob on their way: read from where they are, verified as they go by.
//!
//! The last bytes are held back until the whole is known to be what its descriptor promises, so that a request with other
//! bytes never becomes complete.

use std::fs::File;
use std::io::{self, Cursor, Read};

use bytes::Bytes;

use super::{TransportError, noun};
use crate::digest::{Mismatch, VerifyingReader};
use crate::http::BodySender;
use crate::transport::outgoing::{BlobContent, OutgoingBlob};

/// The bytes of a piece that is handed over.
const PIECE: usize = 128 << 10;

/// Reads one blob, from any place on.
pub(super) struct Content<'a> {
    blob: &'a OutgoingBlob,
    open: Option<VerifyingReader<Box<dyn Read + Send>>>,
    /// How much of it has been read.
    position: u64,
}

/// What happened to bytes that were to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// All were handed over.
    All,
    /// Nobody took them any more.
    Interrupted,
}

impl<'a> Content<'a> {
    pub(super) fn new(blob: &'a OutgoingBlob) -> Self {
        Self {
            blob,
            open: None,
            position: 0,
        }
    }

    /// Goes to byte `offset`. What is before it is read and verified, too.
    pub(super) fn go_to(&mut self, offset: u64) -> Result<(), TransportError> {
        if self.open.is_none() || self.position > offset {
            let reader = self.reader()?;
            self.open = Some(reader);
            self.position = 0;
        }
        let mut buffer = vec![0; PIECE];
        while self.position < offset {
            let left = usize::try_from(offset - self.position).unwrap_or(PIECE);
            self.read(&mut buffer[..left.min(PIECE)])?;
        }
        Ok(())
    }

    /// Hands over the next `length` bytes; `is_wanted` is asked before each piece, `sent` told how far the blob has come.
    pub(super) fn feed(
        &mut self,
        length: u64,
        sender: &BodySender,
        is_wanted: &mut dyn FnMut() -> bool,
        sent: &dyn Fn(u64, u64),
    ) -> Result<Fed, TransportError> {
        let end = self.position + length;
        while self.position < end {
            let left = usize::try_from(end - self.position).unwrap_or(PIECE);
            let mut piece = vec![0; left.min(PIECE)];
            let read = self.read(&mut piece)?;
            piece.truncate(read);
            if self.position == self.blob.descriptor.size() {
                self.finish()?;
            }
            let bytes = piece.len() as u64;
            if !is_wanted() || !sender.put(Bytes::from(piece)) {
                return Ok(Fed::Interrupted);
            }
            sent(self.position, bytes);
        }
        Ok(Fed::All)
    }

    /// All bytes of a small blob.
    pub(super) fn whole(&mut self) -> Result<Bytes, TransportError> {
        self.go_to(0)?;
        let mut bytes = Vec::new();
        let size = self.blob.descriptor.size();
        while self.position < size {
            let mut piece = vec![0; PIECE];
            let read = self.read(&mut piece)?;
            bytes.extend_from_slice(&piece[..read]);
        }
        self.finish()?;
        Ok(bytes.into())
    }

    /// Reads the end, where the whole is verified.
    fn finish(&mut self) -> Result<(), TransportError> {
        let mut beyond = [0];
        match &mut self.open {
            Some(reader) => match reader.read(&mut beyond) {
                Ok(_) => Ok(()),
                Err(error) => Err(self.failure(error)),
            },
            None => Ok(()),
        }
    }

    /// Reads some bytes, at least one.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError> {
        let Some(reader) = &mut self.open else {
            return Err(self.failure(io::ErrorKind::UnexpectedEof.into()));
        };
        loop {
            match reader.read(buffer) {
                // It would have been an error if the end had been promised later.
                Ok(0) => return Err(self.failure(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => {
                    self.position += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(error)),
            }
        }
    }

    fn reader(&self) -> Result<VerifyingReader<Box<dyn Read + Send>>, TransportError> {
        let reader: Box<dyn Read + Send> = match &self.blob.content {
            BlobContent::Bytes(bytes) => Box::new(Cursor::new(bytes.clone())),
            BlobContent::File(path) => {
                Box::new(File::open(path).map_err(|source| TransportError::Io {
                    what: path.display().to_string(),
                    source,
                })?)
            }
            BlobContent::Base { source, layer, .. } => source.open(layer)?,
        };
        let descriptor = &self.blob.descriptor;
        VerifyingReader::new(reader, descriptor.digest(), Some(descriptor.size())).map_err(
            |algorithm| TransportError::Mismatch {
                what: noun(descriptor),
                mismatch: Mismatch::Algorithm(algorithm),
            },
        )
    }

    /// The error that a reader's failure amounts to.
    fn failure(&self, error: io::Error) -> TransportError {
        let what = noun(&self.blob.descriptor);
        let kind = error.kind();
        // An error of the system has nothing inside, and is lost when it is asked for that.
        if error.get_ref().is_none() {
            return TransportError::Io {
                what,
                source: error,
            };
        }
        let Some(inner) = error.into_inner() else {
            return TransportError::Io {
                what,
                source: kind.into(),
            };
        };
        let inner = match inner.downcast::<TransportError>() {
            Ok(error) => return *error,
            Err(inner) => inner,
        };
        match inner.downcast::<Mismatch>() {
            Ok(mismatch) => TransportError::Mismatch {
                what,
                mismatch: *mismatch,
            },
            Err(inner) => TransportError::Io {
                what,
                source: io::Error::new(kind, inner),
            },
        }
    }
}
