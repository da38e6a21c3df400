//! Which address the name of a registry stands for.
//!
//! Everybody is asked over TLS, except registries of this machine and those that the user lists. Of this machine plain
//! HTTP is tried first, as that is how registries run there; of a listed one TLS, so that listing costs nothing where it
//! was not needed.

use std::time::Duration;

use url::Url;

use super::TransportError;
use crate::http::{HttpClient, HttpError, Request, Response, is_loopback};

/// Where docker's own registry answers; its name in references is another.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// How long a scheme may take to show that it is the right one.
const LONGEST_PROBE: Duration = Duration::from_secs(10);

/// The name under which a registry is known, credentials included.
pub(super) fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | DOCKER_HUB => "docker.io",
        other => other,
    }
}

/// Whether `host` (`name:port`) is on the user's list.
pub(super) fn is_listed(host: &str, insecure: &[String]) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    insecure
        .iter()
        .any(|listed| listed == host || listed == name)
}

/// The address of the registry `host`: its scheme, name and port, and a slash. `insecure` allows to do without TLS.
pub(super) async fn find(
    http: &HttpClient,
    host: &str,
    insecure: bool,
) -> Result<Url, TransportError> {
    let name = if host == "docker.io" {
        DOCKER_HUB
    } else {
        host
    };
    let address = |scheme: &str| {
        Url::parse(&format!("{scheme}://{name}/")).map_err(|error| TransportError::Invalid {
            what: format!("the registry `{host}`"),
            reason: error.to_string(),
        })
    };
    let secure = address("https")?;
    let plain = address("http")?;
    if is_loopback(&secure) {
        return match probe(http, &plain).await {
            // Servers of TLS answer this to who speaks without it, where they answer at all.
            Ok(answer) if answer.status == 400 => match probe(http, &secure).await {
                Ok(_) => Ok(secure),
                Err(error) if is_distrust(&error) => Err(error.into()),
                Err(_) => Ok(plain),
            },
            Ok(_) => Ok(plain),
            Err(first) => match probe(http, &secure).await {
                Ok(_) => Ok(secure),
                // A certificate that is not trusted says more than that plain HTTP did not work.
                Err(second) if is_distrust(&second) => Err(second.into()),
                Err(_) => Err(first.into()),
            },
        };
    }
    if insecure {
        return Ok(match probe(http, &secure).await {
            Ok(_) => secure,
            // That our own certificates cannot be read is no reason to do without.
            Err(error @ HttpError::Setup { .. }) => return Err(error.into()),
            Err(_) => plain,
        });
    }
    Ok(secure)
}

/// Whether a server speaks TLS and is not trusted, or cannot be as certificates cannot be read. One that does not speak it
/// fails as TLS as well.
fn is_distrust(error: &HttpError) -> bool {
    match error {
        HttpError::Tls { reason, .. } => !reason.contains("corrupt message"),
        HttpError::Setup { .. } => true,
        _ => false,
    }
}

async fn probe(http: &HttpClient, address: &Url) -> Result<Response, HttpError> {
    let mut url = address.clone();
    url.set_path("/v2/");
    let request = Request {
        retries: Some(0),
        deadline: Some(LONGEST_PROBE),
        verbatim: true,
        ..Request::new(&url, 1 << 20)
    };
    http.get(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_hosts_with_or_without_port() {
        let list = ["a.example:5000".to_owned(), "b.example".to_owned()];
        for (host, listed) in [
            ("a.example:5000", true),
            ("a.example", false),
            ("b.example", true),
            ("b.example:1", true),
            ("xb.example", false),
        ] {
            assert_eq!(is_listed(host, &list), listed, "{host}");
        }
        assert_eq!(canonical("index.docker.io"), "docker.io");
        assert_eq!(canonical("docker.io.example"), "docker.io.example");
    }
}
