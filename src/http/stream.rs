//! Bodies that are read as they come: by a plain thread, through a bounded buffer, and gone on with where a connection
//! breaks.
//!
//! Specification: RFC 9110, section 14 (range requests).

use std::error::Error;
use std::future::Future;
use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::future::{Either, select};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use url::Url;

use super::error::{HttpError, redacted};
use super::request::Response;
use super::retry;
use super::runtime::Runtime;

/// The most bytes of one body that wait to be read: enough to bridge the time between two reads, little enough that
/// several bodies at once do not count.
const MOST_BUFFERED: u32 = 1 << 20;

/// What must arrive between two failures for the first to be forgotten. Less is a connection that does not work.
const PROGRESS: u64 = 64 << 10;

/// How long [`PROGRESS`] may take, the time in which the reader is busy left out. A server that sends a byte now and
/// then would hold us for years.
const LONGEST_DRIP: Duration = Duration::from_secs(120);

/// The most times that one body is gone on with, whatever the progress.
const MOST_RESUMES: u32 = 1000;

/// An answer whose body is still under way.
#[derive(Debug)]
pub struct Streamed {
    /// Status and headers. Its `body` is that of a refusal.
    pub head: Response,
    /// The body of a success.
    pub(super) body: Option<Body>,
}

impl Streamed {
    /// An answer that is complete.
    #[must_use]
    pub fn without_body(head: Response) -> Self {
        Self { head, body: None }
    }

    /// The length of the body in bytes, as announced.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.body.as_ref()?.length()
    }
}

/// A body that comes in chunks.
#[derive(Debug)]
pub(super) struct Body {
    answer: reqwest::Response,
    url: Url,
}

impl Body {
    pub(super) fn new(answer: reqwest::Response, url: Url) -> Self {
        Self { answer, url }
    }

    fn length(&self) -> Option<u64> {
        self.answer.content_length()
    }

    /// Whether the end of the body is told apart from a broken connection. HTTP/1.0 has bodies that end with it.
    fn is_framed(&self) -> bool {
        self.length().is_some()
            || self.answer.version() >= reqwest::Version::HTTP_2
            || self
                .answer
                .headers()
                .contains_key(reqwest::header::TRANSFER_ENCODING)
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.answer
            .chunk()
            .await
            .map_err(|error| HttpError::from_reqwest(&self.url, error))
    }
}

/// Who asks again for a body, from a place within it.
pub trait OpenAt: Send + Sync + 'static {
    /// What keeps it from asking.
    type Error: Error + From<HttpError> + Send + Sync + 'static;

    /// Asks for the body from byte `offset` on (`Range: bytes=OFFSET-`). A status of failure may be an error or an answer.
    fn open_at(&self, offset: u64) -> impl Future<Output = Result<Streamed, Self::Error>> + Send;
}

/// How a broken body is gone on with.
#[derive(Debug, Clone, Copy)]
pub struct Resume {
    /// Length of the whole body in bytes, where it is known.
    pub expected: Option<u64>,
    /// How often to go on without progress in between.
    pub attempts: u32,
    /// The wait before the first time; it doubles with each.
    pub back_off: Duration,
}

enum Item {
    Chunk(Bytes),
    Failed(io::Error),
    End,
}

/// A body, read on a plain thread. Its errors carry that of [`OpenAt`].
#[derive(Debug)]
pub struct BodyReader {
    items: mpsc::UnboundedReceiver<Item>,
    room: Arc<Semaphore>,
    current: Bytes,
    ended: bool,
    // As long as somebody reads, the thread that fetches lives.
    _runtime: Arc<Runtime>,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Chunk(_) => "Chunk",
            Self::Failed(_) => "Failed",
            Self::End => "End",
        })
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.current.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.items.blocking_recv() {
                Some(Item::Chunk(chunk)) => {
                    self.room.add_permits(permits(&chunk) as usize);
                    self.current = chunk;
                }
                Some(Item::End) => self.ended = true,
                Some(Item::Failed(error)) => return Err(error),
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::BrokenPipe,
                        "the body has failed before, or nobody fetches it any more",
                    ));
                }
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The room that a chunk takes in the buffer. One that is larger than the buffer fills it.
fn permits(chunk: &Bytes) -> u32 {
    u32::try_from(chunk.len())
        .unwrap_or(MOST_BUFFERED)
        .min(MOST_BUFFERED)
}

/// Reads the body of `first`, which begins at byte 0, and asks `opener` for the rest whenever it breaks off or stalls.
pub fn read_resuming<O: OpenAt>(
    runtime: &Arc<Runtime>,
    first: Streamed,
    opener: O,
    resume: Resume,
) -> BodyReader {
    let (sender, items) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(MOST_BUFFERED as usize));
    let sink = Sink {
        sender: sender.clone(),
        room: Arc::clone(&room),
    };
    runtime.spawn(async move {
        let pump = pin!(pump(first, &opener, resume, &sink));
        let closed = pin!(sender.closed());
        // When the reader is dropped nobody wants the rest.
        if let Either::Left((outcome, _)) = select(pump, closed).await {
            let item = match outcome {
                Ok(()) => Item::End,
                Err(error) => Item::Failed(io::Error::other(error)),
            };
            // The reader may be gone by now.
            let _ = sender.send(item);
        }
    });
    BodyReader {
        items,
        room,
        current: Bytes::new(),
        ended: false,
        _runtime: Arc::clone(runtime),
    }
}

/// Where the bytes go.
struct Sink {
    sender: mpsc::UnboundedSender<Item>,
    room: Arc<Semaphore>,
}

impl Sink {
    async fn put(&self, chunk: Bytes) {
        // Neither is closed while the reader lives, and when it does not this task has ended.
        if let Ok(permit) = self.room.acquire_many(permits(&chunk)).await {
            permit.forget();
            let _ = self.sender.send(Item::Chunk(chunk));
        }
    }
}

async fn pump<O: OpenAt>(
    first: Streamed,
    opener: &O,
    resume: Resume,
    sink: &Sink,
) -> Result<(), O::Error> {
    let mut at = 0;
    let mut streamed = first;
    let mut failures = 0;
    let mut last_failure_at = 0;
    for _ in 0..MOST_RESUMES {
        let url = redacted(&streamed.head.url);
        let Some(error) = copy(streamed, &mut at, resume.expected, sink).await? else {
            return Ok(());
        };
        failures = if at >= last_failure_at + PROGRESS {
            1
        } else {
            failures + 1
        };
        last_failure_at = at;
        if failures > resume.attempts {
            return Err(error.into());
        }
        tokio::time::sleep(retry::back_off(resume.back_off, failures)).await;
        streamed = opener.open_at(at).await?;
        if streamed.head.status == 416 && resume.expected.is_none_or(|expected| at < expected) {
            let reason = "the server says that it ends there".to_owned();
            return Err(HttpError::Resume { url, at, reason }.into());
        }
    }
    let reason = format!("it was gone on with {MOST_RESUMES} times");
    let url = redacted(&streamed.head.url);
    Err(HttpError::Resume { url, at, reason }.into())
}

/// Copies what comes; `at` is how far the body has come. What is returned is the failure after which going on may help.
async fn copy(
    streamed: Streamed,
    at: &mut u64,
    expected: Option<u64>,
    sink: &Sink,
) -> Result<Option<HttpError>, HttpError> {
    let url = redacted(&streamed.head.url);
    let mut skip = match beginning(&streamed.head, *at, expected) {
        Ok(beginning) => *at - beginning,
        Err(reason) => {
            return Err(HttpError::Resume {
                url,
                at: *at,
                reason,
            });
        }
    };
    let Some(mut body) = streamed.body else {
        return Err(streamed.head.status_error());
    };
    let mut waited = Duration::ZERO;
    let mut received = 0;
    loop {
        let asked = Instant::now();
        let chunk = match tokio::time::timeout(LONGEST_DRIP, body.chunk()).await {
            Ok(chunk) => chunk,
            Err(_) => Err(HttpError::Timeout { url: url.clone() }),
        };
        waited += asked.elapsed();
        match chunk {
            Ok(Some(mut chunk)) => {
                received += chunk.len() as u64;
                let skipped = skip.min(chunk.len() as u64);
                skip -= skipped;
                // It is at most the length of the chunk, which is an `usize`.
                chunk.advance(usize::try_from(skipped).unwrap_or(chunk.len()));
                *at += chunk.len() as u64;
                if !chunk.is_empty() {
                    sink.put(chunk).await;
                }
            }
            // All is there: how the connection ends does not matter.
            _ if expected == Some(*at) => return Ok(None),
            Ok(None) if skip > 0 => {
                let reason = "the server began anew and stopped earlier".to_owned();
                return Err(HttpError::Resume {
                    url,
                    at: *at,
                    reason,
                });
            }
            Ok(None) if expected.is_none() || body.is_framed() => return Ok(None),
            Ok(None) => {
                let reason = "the connection was closed early".to_owned();
                return Ok(Some(HttpError::Unreachable { url, reason }));
            }
            Err(error) if error.is_transient() => return Ok(Some(error)),
            Err(error) => return Err(error),
        }
        if received >= PROGRESS {
            received = 0;
            waited = Duration::ZERO;
        } else if waited > LONGEST_DRIP {
            return Ok(Some(HttpError::Timeout { url }));
        }
    }
}

/// The byte at which an answer begins that was asked for from `at` on, or what is wrong with the answer.
fn beginning(head: &Response, at: u64, expected: Option<u64>) -> Result<u64, String> {
    match head.status {
        // The whole body: what has been seen is passed over.
        200 => Ok(0),
        206 if at == 0 => Err("the server sent a part where the whole was asked for".to_owned()),
        206 => {
            let range = head.content_range.as_deref().unwrap_or_default();
            let wrong = || format!("the server sent `Content-Range: {range}`, not from {at} on");
            let (first, total) = content_range(range).ok_or_else(wrong)?;
            let total_fits = match (total, expected) {
                (Some(total), Some(expected)) => total == expected,
                _ => true,
            };
            if first == at && total_fits {
                Ok(first)
            } else {
                Err(wrong())
            }
        }
        status => Err(format!("the server answered with status {status}")),
    }
}

/// First byte and total length of `bytes 5-9/10`; the total may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_parsed() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for text in [
            "bytes */10",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "5-9/10",
            "bytes -1-9/10",
        ] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
