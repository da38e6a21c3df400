//! TLS: which certificate authorities are trusted, and the one connection pool.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::{Host, Url};

use super::error::HttpError;
use super::server_certificates::ServerCertificates;

pub(super) fn setup_error(reason: impl Into<String>) -> HttpError {
    HttpError::Setup {
        reason: reason.into(),
    }
}

/// The certificates in a PEM file; at least one.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| {
            setup_error(format!(
                "the certificates in {} cannot be read: {error}",
                path.display()
            ))
        })?;
    if certificates.is_empty() {
        return Err(setup_error(format!(
            "{} holds no certificate in PEM form",
            path.display()
        )));
    }
    Ok(certificates)
}

/// The configuration of connections: trusted are the certificate authorities of `bundle` (a PEM file), with `native`
/// those of the machine, and those of `server`, whose certificate for us is shown to who asks for one.
pub(super) fn configuration(
    bundle: Option<&Path>,
    native: bool,
    server: Option<ServerCertificates>,
) -> Result<rustls::ClientConfig, HttpError> {
    let mut roots = rustls::RootCertStore::empty();
    if native {
        // What cannot be read on the machine is passed over: one odd file among hundreds must not disable the network.
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
    }
    if let Some(bundle) = bundle {
        roots.add_parsable_certificates(read_certificates(bundle)?);
    }
    let server = server.unwrap_or_default();
    roots.add_parsable_certificates(server.authorities);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| setup_error(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match server.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain, identity.key)
            .map_err(|error| setup_error(error.to_string()))?,
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// How connections of a pool behave.
#[derive(Debug, Clone, Copy)]
pub(super) struct PoolOptions {
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Option<Duration>,
    pub(super) compression: bool,
    /// Whether the proxies that the environment names are used.
    pub(super) proxies: bool,
}

/// Builds a connection pool. Redirects are left to the caller, who knows whose credentials may go where.
pub(super) fn build(
    configuration: rustls::ClientConfig,
    options: &PoolOptions,
) -> Result<reqwest::Client, HttpError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(configuration)
        .user_agent(concat!("imgtool/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .gzip(options.compression)
        // Pages and tails of wheels are larger than HTTP/2's initial windows; each update would cost a round trip.
        .http2_initial_stream_window_size(2 << 20)
        .http2_initial_connection_window_size(16 << 20)
        .connect_timeout(options.connect_timeout);
    if let Some(read_timeout) = options.read_timeout {
        builder = builder.read_timeout(read_timeout);
    }
    if !options.proxies {
        builder = builder.no_proxy();
    }
    builder
        .build()
        .map_err(|error| setup_error(error.to_string()))
}

/// Whether an address leads to this machine: there no one listens in, and no proxy is needed.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (text, loopback) in [
            ("http://localhost:5000/", true),
            ("http://127.9.0.1/", true),
            ("http://[::1]:1/", true),
            ("http://localhost.example.org/", false),
            ("http://128.0.0.1/", false),
            ("http://127.0.0.1.example.org/", false),
        ] {
            let url = Url::parse(text).expect("a URL");
            assert_eq!(is_loopback(&url), loopback, "{text}");
        }
    }
}
