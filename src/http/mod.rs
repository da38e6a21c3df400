//! The only code that opens a socket: retries, limits, credentials, redaction.
//!
//! A [`HttpClient`] is cheap to make. Certificates are loaded and the connection pool is built at the first request,
//! so that a run that needs no network never pays for them.

mod client;
mod credentials;
mod error;
mod retry;
mod tls;

pub use client::{HttpClient, HttpSettings, Request, Response};
pub use credentials::{Secret, take_credentials};
pub use error::{HttpError, redacted};
