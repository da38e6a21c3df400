//! The only code that opens a socket: retries, limits, credentials, redaction.
//!
//! A [`HttpClient`] is cheap to make. Certificates are loaded and the connection pool is built at the first request,
//! so that a run that needs no network never pays for them.

mod change;
mod client;
mod credentials;
mod error;
mod request;
mod retry;
mod runtime;
mod server_certificates;
mod stream;
mod tls;

pub use change::{BodySender, Change, HandedBody, Verb, handed_body};
pub use client::{Clock, HttpClient, HttpSettings};
pub use credentials::{Secret, take_credentials};
pub use error::{HttpError, redacted};
pub use request::{Method, Request, Response};
pub use retry::back_off;
pub use runtime::Runtime;
pub use stream::{BodyReader, OpenAt, Resume, Streamed, read_resuming};
pub use tls::is_loopback;
