//! TLS: which certificate authorities are trusted, and the one connection pool.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::HttpError;

fn setup_error(reason: impl Into<String>) -> HttpError {
    HttpError::Setup {
        reason: reason.into(),
    }
}

/// The configuration of every connection: the machine's certificate authorities and those of `bundle` (a PEM file).
fn configuration(bundle: Option<&Path>) -> Result<rustls::ClientConfig, HttpError> {
    let mut roots = rustls::RootCertStore::empty();
    // What cannot be read on the machine is passed over: one odd file among hundreds must not disable the network.
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(bundle) = bundle {
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(bundle)
            .and_then(Iterator::collect)
            .map_err(|error| {
                setup_error(format!(
                    "the certificates in {} cannot be read: {error}",
                    bundle.display()
                ))
            })?;
        if certificates.is_empty() {
            return Err(setup_error(format!(
                "{} holds no certificate in PEM form",
                bundle.display()
            )));
        }
        roots.add_parsable_certificates(certificates);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| setup_error(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Builds the connection pool. Redirects are left to the caller, who knows whose credentials may go where.
pub(super) fn build(
    bundle: Option<&Path>,
    connect_timeout: Duration,
    read_timeout: Duration,
) -> Result<reqwest::Client, HttpError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(configuration(bundle)?)
        .user_agent(concat!("imgtool/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Pages and tails of wheels are larger than HTTP/2's initial windows; each update would cost a round trip.
        .http2_initial_stream_window_size(2 << 20)
        .http2_initial_connection_window_size(16 << 20)
        .connect_timeout(connect_timeout)
        .read_timeout(read_timeout)
        .build()
        .map_err(|error| setup_error(error.to_string()))
}
