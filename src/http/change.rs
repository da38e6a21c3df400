//! Requests that change something: POST, PUT, PATCH and DELETE, with a body from memory or one that a plain thread hands
//! over piece by piece.
//!
//! A body from memory can be sent again, so such a request is repeated after transient failures as often as its maker
//! says that it may be. A body that is handed over is gone once it has been sent: what becomes of a failure there, only
//! the maker knows.
//!
//! Specification: RFC 9110, sections 9.2.2 (idempotent methods) and 15.4 (redirects: only 307 and 308 keep the method).

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::{Either, select};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use url::Url;

use super::client::{HttpClient, MOST_REDIRECTS, read_answer, redirected};
use super::credentials::Secret;
use super::error::{HttpError, redacted};
use super::request::Response;
use super::retry;

/// The pieces of a body that wait to be sent: enough to bridge the time between two reads.
const MOST_PIECES: usize = 4;

/// How something is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// POST: make something new.
    Post,
    /// PUT: this is what it is from now on.
    Put,
    /// PATCH: add to it.
    Patch,
    /// DELETE: it is not needed.
    Delete,
}

/// A request that changes something. Its body comes beside it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What is changed.
    pub url: &'a Url,
    /// How.
    pub verb: Verb,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Range`, such as `0-1023`.
    pub content_range: Option<&'a str>,
    /// `If-Match`.
    pub if_match: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `Authorization`, whole. It is sent to the scheme, host and port of `url` alone, never after a redirect elsewhere.
    pub authorization: Option<&'a Secret>,
    /// The most bytes that the answer may have.
    pub limit: u64,
    /// The most bytes that are read of the body of a refusal; what goes beyond is cut off.
    pub error_limit: u64,
    /// How often to send it again after a transient failure. It must do no harm where the first one did arrive.
    pub retries: u32,
    /// How long the server may take to answer once it has everything.
    pub patience: Duration,
}

/// Where the pieces of a body are put, on a plain thread. When it is dropped before all bytes are there, the connection
/// is broken, so that the server cannot take the part for the whole.
#[derive(Debug)]
pub struct BodySender {
    pieces: mpsc::Sender<Bytes>,
}

impl BodySender {
    /// Hands over a piece; waits where too many wait to be sent already. `false` when nobody sends them any more: there is
    /// an answer, or a failure.
    #[must_use]
    pub fn put(&self, piece: Bytes) -> bool {
        self.pieces.blocking_send(piece).is_ok()
    }
}

/// A body of known length whose pieces are handed over.
#[derive(Debug)]
pub struct HandedBody {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
    pace: Arc<Mutex<Pace>>,
}

/// How sending goes on.
#[derive(Debug)]
struct Pace {
    /// When the connection last took something.
    last: Instant,
    /// Whether we ourselves have nothing to send at the moment.
    starved: bool,
    /// Whether everything is sent.
    done: bool,
}

/// A body of `length` bytes, and where to put them.
#[must_use]
pub fn handed_body(length: u64) -> (BodySender, HandedBody) {
    let (sender, pieces) = mpsc::channel(MOST_PIECES);
    let pace = Pace {
        last: Instant::now(),
        starved: length > 0,
        done: length == 0,
    };
    let body = HandedBody {
        pieces,
        left: length,
        pace: Arc::new(Mutex::new(pace)),
    };
    (BodySender { pieces: sender }, body)
}

impl Stream for HandedBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.pieces.poll_recv(context);
        let left = self.left;
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.last = Instant::now();
        pace.starved = polled.is_pending();
        let item = match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) if left == 0 => None,
            Poll::Ready(Some(piece)) if piece.len() as u64 <= left => Some(Ok(piece)),
            Poll::Ready(_) => Some(Err(io::Error::other(
                "the body ended before all of it was there",
            ))),
        };
        let sent = match &item {
            Some(Ok(piece)) => piece.len() as u64,
            _ => 0,
        };
        // The last piece is sent when it has been asked for what comes after it, or when nothing can come after it.
        pace.done = left == sent;
        drop(pace);
        self.left -= sent;
        Poll::Ready(item)
    }
}

impl HttpClient {
    /// Sends a request whose body is in memory. It follows redirects that keep method and body, and is repeated as
    /// [`Change::retries`] says.
    ///
    /// # Errors
    /// When there is no answer; a status of failure is an answer.
    pub async fn change(&self, change: &Change<'_>, body: Bytes) -> Result<Response, HttpError> {
        let mut attempt = 0;
        loop {
            let outcome = self.change_once(change, &body).await;
            let transient = match &outcome {
                Ok(answer) => retry::is_transient(answer.status),
                Err(error) => error.is_transient(),
            };
            if !transient || attempt >= change.retries {
                return outcome;
            }
            attempt += 1;
            let Some(wait) = self.wait_before(attempt, outcome.as_ref().ok()) else {
                return outcome;
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends a request whose body is handed over, once. A redirect is an answer, as there is nothing left to send there.
    ///
    /// # Errors
    /// When there is no answer; a status of failure is an answer.
    pub async fn upload(
        &self,
        change: &Change<'_>,
        body: HandedBody,
    ) -> Result<Response, HttpError> {
        let length = body.left;
        let pace = Arc::clone(&body.pace);
        let body = reqwest::Body::wrap_stream(body);
        let sending = self.send_change(change, change.url, change.authorization, body, length);
        let watched = self.watch(&pace, change);
        match select(pin!(sending), pin!(watched)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((error, _)) => Err(error),
        }
    }

    /// How long to wait before a request is made for the time number `attempt` after the first, which had this answer;
    /// `None` where the server asks for more patience than anybody has.
    #[must_use]
    pub fn wait_before(&self, attempt: u32, answer: Option<&Response>) -> Option<Duration> {
        let asked =
            answer.and_then(|answer| retry::retry_after(&answer.headers, || self.settings().now()));
        match asked {
            Some(wait) if retry::is_too_long(wait) => None,
            Some(wait) => Some(wait),
            None => Some(retry::back_off(self.settings().back_off, attempt)),
        }
    }

    /// Ends when the other side has been silent for too long. Waiting for our own bytes does not count.
    async fn watch(&self, pace: &Mutex<Pace>, change: &Change<'_>) -> HttpError {
        loop {
            let (silent, starved, done) = {
                let pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
                (pace.last.elapsed(), pace.starved, pace.done)
            };
            let longest = if done {
                change.patience
            } else {
                self.settings().read_timeout
            };
            if !starved && silent >= longest {
                return HttpError::Timeout {
                    url: redacted(change.url),
                };
            }
            let wait = longest.saturating_sub(silent);
            // Not at once again where it is we who are slow.
            tokio::time::sleep(wait.max(Duration::from_millis(50)).min(longest)).await;
        }
    }

    async fn change_once(&self, change: &Change<'_>, body: &Bytes) -> Result<Response, HttpError> {
        let mut url = change.url.clone();
        let mut authorization = change.authorization;
        for _ in 0..=MOST_REDIRECTS {
            let length = body.len() as u64;
            let body = reqwest::Body::from(body.clone());
            let sending = self.send_change(change, &url, authorization, body, length);
            let timed_out = |_| HttpError::Timeout {
                url: redacted(&url),
            };
            let answer = tokio::time::timeout(change.patience, sending)
                .await
                .map_err(timed_out)??;
            if !matches!(answer.status, 307 | 308) {
                return Ok(answer);
            }
            let next = redirected(&url, answer.header("location"));
            let next = next.map_err(|reason| HttpError::Redirect {
                url: redacted(&url),
                reason,
            })?;
            // Once it has led elsewhere, nothing brings the authorization back.
            if next.origin() != url.origin() {
                authorization = None;
            }
            url = next;
        }
        Err(HttpError::Redirect {
            url: redacted(change.url),
            reason: format!("more than {MOST_REDIRECTS} times"),
        })
    }

    async fn send_change(
        &self,
        change: &Change<'_>,
        url: &Url,
        authorization: Option<&Secret>,
        body: reqwest::Body,
        length: u64,
    ) -> Result<Response, HttpError> {
        let pool = self.upload_pool(url)?;
        let _permit = self.permit().await;
        let mut builder = match change.verb {
            Verb::Post => pool.post(url.clone()),
            Verb::Put => pool.put(url.clone()),
            Verb::Patch => pool.patch(url.clone()),
            Verb::Delete => pool.delete(url.clone()),
        };
        if change.verb != Verb::Delete {
            builder = builder.header(CONTENT_LENGTH, length).body(body);
        }
        let headers: [(HeaderName, Option<&str>); 4] = [
            (CONTENT_TYPE, change.content_type),
            (CONTENT_RANGE, change.content_range),
            (IF_MATCH, change.if_match),
            (IF_NONE_MATCH, change.if_none_match),
        ];
        for (name, value) in headers {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        let answer = self.send_authorized(builder, url, authorization).await?;
        read_answer(answer, url.clone(), (change.limit, change.error_limit)).await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;
    use crate::http::Runtime;

    /// What becomes of a body of `length` bytes when these pieces are put into it.
    fn sent(length: u64, pieces: &[&'static [u8]]) -> Result<Vec<u8>, String> {
        let runtime = Runtime::start("test").expect("a thread");
        let (sender, mut body) = handed_body(length);
        let collected = runtime.submit(async move {
            let mut bytes = Vec::new();
            while let Some(piece) = body.next().await {
                bytes.extend_from_slice(&piece.map_err(|error| error.to_string())?);
            }
            Ok(bytes)
        });
        for piece in pieces {
            if !sender.put(Bytes::from_static(piece)) {
                break;
            }
        }
        drop(sender);
        collected.recv().expect("an end")
    }

    #[test]
    fn a_body_ends_whole_or_fails() {
        assert_eq!(sent(0, &[]), Ok(Vec::new()));
        assert_eq!(sent(5, &[b"ab", b"cde"]), Ok(b"abcde".to_vec()));
        for pieces in [&[b"ab" as &[u8]][..], &[], &[b"ab", b"cdef"]] {
            let error = sent(5, pieces).expect_err("not five bytes");
            assert!(error.contains("ended before"), "{error}");
        }
    }
}
