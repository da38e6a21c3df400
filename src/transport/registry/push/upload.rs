//! An upload: begun, sent whole or in parts, gone on with where it breaks, finished under the blob's digest.
//!
//! A small blob goes in the request that begins its upload, where the registry takes it there; one of medium size in that
//! which finishes it; a large one in parts before that (at first a single one), because what has arrived of a part counts
//! for a registry that can say how far it has come. After a break the registry is asked, in this order, whether it has the
//! blob after all and how far the upload has come; what neither answers begins anew.
//!
//! Specification: OCI distribution-spec, "Pushing blobs".

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::content::{Content, Fed};
use super::{Destination, TransportError, compare_digest, stopped};
use crate::http::{HttpError, Response, Verb, handed_body};
use crate::transport::outgoing::{BlobContent, OutgoingBlob};
use crate::transport::registry::session::Deed;

/// The largest blob that goes in the request that begins its upload. A registry that does not take it there has
/// received the bytes in vain, once.
const LARGEST_SINGLE_POST: u64 = 64 << 10;

/// The largest blob that goes in the request that finishes its upload: so much is quickly sent again.
const LARGEST_WHOLE: u64 = 4 << 20;

/// The size of parts where the whole is too much for one request.
const PART: u64 = 16 << 20;

/// The smallest size of parts that is tried.
const SMALLEST_PART: u64 = 1 << 20;

/// How often an upload is begun anew after the registry rejected what it had got.
const MOST_REJECTIONS: u32 = 2;

/// The most times that one upload is gone on with, whatever the progress.
const MOST_FAILURES: u32 = 1000;

const OCTET_STREAM: &str = "application/octet-stream";

/// The upload of one blob.
pub(super) struct Upload<'a> {
    to: &'a Destination,
    blob: &'a OutgoingBlob,
    content: Content<'a>,
    size: u64,
    what: String,
    /// The upload at the registry, once it is begun.
    at: Option<At>,
    /// The smallest part that the registry takes, but for the last.
    smallest_part: u64,
    /// How far it has come at best.
    best: u64,
    rejections: u32,
    sent: &'a dyn Fn(u64),
}

/// An upload that is begun.
struct At {
    url: Url,
    /// How many bytes the registry has.
    offset: u64,
}

/// Why an attempt ended.
enum Failure {
    /// Another may do better, after a while.
    Passing(Box<TransportError>, Option<Duration>),
    /// Another way may do, at once.
    OtherWay,
    /// None will.
    Final(Box<TransportError>),
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error.own() {
            TransportError::Http(HttpError::Unreachable { .. } | HttpError::Timeout { .. }) => {
                Self::Passing(Box::new(error), None)
            }
            _ => Self::Final(Box::new(error)),
        }
    }
}

impl<'a> Upload<'a> {
    /// The upload of `blob`, which the registry has begun at `begun`, perhaps.
    pub(super) fn new(
        to: &'a Destination,
        blob: &'a OutgoingBlob,
        begun: Option<Url>,
        sent: &'a dyn Fn(u64),
    ) -> Self {
        Self {
            to,
            blob,
            content: Content::new(blob),
            size: blob.descriptor.size(),
            what: format!("upload of blob {}", blob.descriptor.digest()),
            at: begun.map(|url| At { url, offset: 0 }),
            smallest_part: 0,
            best: 0,
            rejections: 0,
            sent,
        }
    }

    /// Uploads it, however often that must be tried.
    pub(super) fn run(mut self) -> Result<(), TransportError> {
        let mut failures = 0;
        let mut best = 0;
        for attempt in 0..MOST_FAILURES {
            let (error, asked_wait) = match self.attempt(attempt > 0) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(*error),
                Err(Failure::OtherWay) => continue,
                Err(Failure::Passing(error, wait)) => (error, wait),
            };
            failures = if self.best > best { 1 } else { failures + 1 };
            best = self.best;
            if failures > self.to.session.settings.retries
                || self.to.stopped.load(Ordering::Relaxed)
            {
                return Err(*error);
            }
            let wait = asked_wait.or_else(|| self.to.session.http.wait_before(failures, None));
            std::thread::sleep(wait.unwrap_or_default());
        }
        Err(TransportError::Http(HttpError::Resume {
            url: self.what,
            at: best,
            reason: format!("it was gone on with {MOST_FAILURES} times"),
        }))
    }

    fn attempt(&mut self, again: bool) -> Result<(), Failure> {
        if again {
            // The answer that all is well may have been lost.
            if self.to.has_blob(self.blob.descriptor.digest())? {
                return Ok(());
            }
            self.find_out_how_far()?;
        }
        if self.at.is_none() && self.begin()? {
            return Ok(());
        }
        let in_parts = !self.to.takes_no_parts.load(Ordering::Relaxed)
            && (self.size > LARGEST_WHOLE || self.to.part.load(Ordering::Relaxed) > 0);
        if in_parts || self.offset() > 0 {
            while self.offset() < self.size {
                self.send_part()?;
            }
        }
        self.finish()
    }

    fn offset(&self) -> u64 {
        self.at.as_ref().map_or(0, |at| at.offset)
    }

    /// Begins an upload. `true` when that has finished it, too.
    fn begin(&mut self) -> Result<bool, Failure> {
        let is_small = self.size <= LARGEST_SINGLE_POST
            && !matches!(self.blob.content, BlobContent::Base { .. });
        let single = is_small && !self.to.takes_no_single_post.load(Ordering::Relaxed);
        let mut url = self.to.address_of("blobs/uploads/", &self.what)?;
        let mut body = Bytes::new();
        if single {
            url.query_pairs_mut()
                .append_pair("digest", self.blob.descriptor.digest().as_ref());
            body = self.content.whole()?;
        }
        let deed = Deed {
            content_type: single.then(|| OCTET_STREAM.to_owned()),
            repeatable: true,
            ..Deed::new(Verb::Post, url, &self.what)
        };
        let length = body.len() as u64;
        let response = self.to.change(&deed, body)?;
        self.count(length);
        match response.status {
            201 if single => {
                self.check(&response)?;
                (self.sent)(self.size);
                return Ok(true);
            }
            202 => {}
            400 | 404 | 405 | 411 | 415 | 501 if single => {
                self.to.takes_no_single_post.store(true, Ordering::Relaxed);
                return self.begin();
            }
            _ => {
                return Err(Failure::Final(Box::new(
                    self.to.refusal(&self.what, response),
                )));
            }
        }
        if single {
            self.to.takes_no_single_post.store(true, Ordering::Relaxed);
        }
        let smallest = response.header("oci-chunk-min-length");
        self.smallest_part = smallest.and_then(|text| text.parse().ok()).unwrap_or(0);
        let url = self.to.next_place(&response)?;
        let url = url.ok_or_else(|| self.invalid("it does not say where it goes on"))?;
        self.at = Some(At { url, offset: 0 });
        Ok(false)
    }

    /// Asks the registry how far the upload has come. One that it does not know any more is begun anew.
    fn find_out_how_far(&mut self) -> Result<(), Failure> {
        let Some(at) = self.at.take() else {
            return Ok(());
        };
        let session = Arc::clone(&self.to.session);
        let repository = Arc::clone(&self.to.repository);
        let (url, what) = (at.url.clone(), self.what.clone());
        let response = self
            .to
            .wait(async move { session.upload_status(&repository, &url, &what).await })??;
        if !response.is_success() {
            return Ok(());
        }
        let Some(offset) = offset_in(response.header("range")) else {
            return Ok(());
        };
        if offset <= self.size {
            // A registry may take any answer as the occasion to move the upload.
            let url = self.to.next_place(&response)?.unwrap_or(at.url);
            self.best = self.best.max(offset);
            self.at = Some(At { url, offset });
        }
        Ok(())
    }

    /// Sends what is left, or as much of it as one request may have.
    fn send_part(&mut self) -> Result<(), Failure> {
        let offset = self.offset();
        let left = self.size - offset;
        let length = match self.to.part.load(Ordering::Relaxed) {
            0 => left,
            part => left.min(part.max(self.smallest_part)),
        };
        let end = offset + length;
        let range = Some(format!("{offset}-{}", end - 1));
        let response = self.send(Verb::Patch, offset, length, range)?;
        match response.status {
            201 | 202 | 204 => {
                let taken = offset_in(response.header("range")).filter(|taken| *taken > offset);
                self.move_to(&response, taken.unwrap_or(end).min(end))?;
                self.best = self.best.max(self.offset());
                Ok(())
            }
            307 | 308 => self.move_to(&response, offset),
            405 | 501 if offset == 0 => {
                self.to.takes_no_parts.store(true, Ordering::Relaxed);
                Err(Failure::OtherWay)
            }
            _ => Err(self.failure(response)),
        }
    }

    /// Finishes the upload, with all bytes where none were sent before.
    fn finish(&mut self) -> Result<(), Failure> {
        let offset = self.offset();
        let mut response = self.send(Verb::Put, offset, self.size - offset, None)?;
        for _ in 0..3 {
            if !matches!(response.status, 307 | 308) {
                break;
            }
            self.move_to(&response, offset)?;
            response = self.send(Verb::Put, offset, self.size - offset, None)?;
        }
        match response.status {
            200 | 201 | 204 => Ok(self.check(&response)?),
            _ => Err(self.failure(response)),
        }
    }

    /// Sends bytes of the blob; where a login is asked for, once more.
    fn send(
        &mut self,
        verb: Verb,
        offset: u64,
        length: u64,
        content_range: Option<String>,
    ) -> Result<Response, Failure> {
        let Some(at) = &self.at else {
            return Err(self.invalid("it was not begun").into());
        };
        let mut url = at.url.clone();
        if verb == Verb::Put {
            url.query_pairs_mut()
                .append_pair("digest", self.blob.descriptor.digest().as_ref());
        }
        let deed = Deed {
            content_type: Some(OCTET_STREAM.to_owned()),
            content_range,
            commits: verb == Verb::Put,
            ..Deed::new(verb, url, &self.what)
        };
        let response = self.send_once(&deed, offset, length)?;
        if response.status != 401 {
            return Ok(response);
        }
        self.send_once(&deed, offset, length)
    }

    fn send_once(&mut self, deed: &Deed, offset: u64, length: u64) -> Result<Response, Failure> {
        self.content.go_to(offset)?;
        let session = Arc::clone(&self.to.session);
        let repository = Arc::clone(&self.to.repository);
        let (sender, body) = handed_body(length);
        let deed = deed.clone();
        let answer = self
            .to
            .runtime
            .submit(async move { session.upload(&repository, &deed, body).await });
        let mut early = None;
        let (to, sent, is_base) = (self.to, self.sent, self.is_base());
        let fed = self.content.feed(
            length,
            &sender,
            &mut || !to.stopped.load(Ordering::Relaxed) && !has_come(&answer, &mut early),
            &|position, bytes| {
                to.count(bytes, is_base);
                sent(position);
            },
        );
        // What is not whole by now never will be.
        drop(sender);
        let answer = match early {
            Some(answer) => answer,
            None => answer.recv().map_err(|_| stopped())?,
        };
        let fed = fed?;
        if fed == Fed::Interrupted && self.to.stopped.load(Ordering::Relaxed) {
            return Err(Failure::Final(Box::new(stopped())));
        }
        Ok(answer?)
    }

    fn is_base(&self) -> bool {
        matches!(self.blob.content, BlobContent::Base { .. })
    }

    fn count(&self, bytes: u64) {
        self.to.count(bytes, self.is_base());
    }

    /// The upload goes on where an answer says, with byte `offset`.
    fn move_to(&mut self, response: &Response, offset: u64) -> Result<(), Failure> {
        let next = self.to.next_place(response)?;
        if let Some(at) = &mut self.at {
            at.offset = offset;
            if let Some(url) = next {
                at.url = url;
            }
        }
        Ok(())
    }

    /// What an answer of failure means for the upload.
    fn failure(&mut self, response: Response) -> Failure {
        let wait = self.to.session.http.wait_before(1, Some(&response));
        let asks_to_wait = response.header("retry-after").is_some();
        match response.status {
            408 | 425 | 429 | 500 | 502..=504 => {
                let error = Box::new(self.to.refusal(&self.what, response));
                match wait {
                    None => Failure::Final(error),
                    Some(_) if !asks_to_wait => Failure::Passing(error, None),
                    wait => Failure::Passing(error, wait),
                }
            }
            413 => {
                let part = self.to.part.load(Ordering::Relaxed);
                let tried = if part == 0 { self.size } else { part };
                let smallest = SMALLEST_PART.max(self.smallest_part);
                let smaller = PART.min(tried / 2).max(smallest);
                let no_parts = self.to.takes_no_parts.load(Ordering::Relaxed);
                if no_parts || smaller >= tried {
                    return Failure::Final(Box::new(self.to.refusal(&self.what, response)));
                }
                self.to.part.store(smaller, Ordering::Relaxed);
                Failure::OtherWay
            }
            // The registry does not have what we think it has: lost, out of order, or damaged on the way.
            status @ (400 | 404 | 409 | 410 | 416) => {
                if status != 416 {
                    self.at = None;
                }
                self.rejections += 1;
                let error = Box::new(self.to.refusal(&self.what, response));
                if self.rejections > MOST_REJECTIONS {
                    Failure::Final(error)
                } else {
                    Failure::Passing(error, None)
                }
            }
            _ => Failure::Final(Box::new(self.to.refusal(&self.what, response))),
        }
    }

    fn check(&self, response: &Response) -> Result<(), TransportError> {
        let digest = self.blob.descriptor.digest();
        compare_digest(response, digest, &format!("blob {digest}"))
    }

    fn invalid(&self, reason: &str) -> TransportError {
        TransportError::Invalid {
            what: format!("the answer of {}", self.to.repository.registry.host),
            reason: reason.to_owned(),
        }
    }
}

impl Destination {
    /// Counts bytes that were sent.
    fn count(&self, bytes: u64, is_base: bool) {
        self.uploaded.fetch_add(bytes, Ordering::Relaxed);
        if is_base {
            self.base_bytes_sent.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// Whether the answer is there, although not everything is sent.
fn has_come<T>(answer: &Receiver<T>, early: &mut Option<T>) -> bool {
    match answer.try_recv() {
        Ok(answer) => {
            *early = Some(answer);
            true
        }
        Err(TryRecvError::Empty) => false,
        Err(TryRecvError::Disconnected) => true,
    }
}

/// How many bytes have arrived, of `Range: 0-9`. For none there is `0-0` at some registries, as for one: who has sent one
/// byte sends it again.
fn offset_in(range: Option<&str>) -> Option<u64> {
    let range = range?.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    match (first, last) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_an_upload_has_come_is_read() {
        for (range, offset) in [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("0-0", Some(0)),
            ("5-9", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("", None),
            ("all", None),
        ] {
            assert_eq!(offset_in(Some(range)), offset, "{range}");
        }
        assert_eq!(offset_in(None), None);
    }
}
