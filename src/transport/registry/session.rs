//! One request to a registry: its address, its authorization, and again with a login where it is asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use url::Url;

use super::endpoint;
use super::login::Login;
use super::refusal::{self, LARGEST_REFUSAL};
use super::{CredentialSettings, RegistrySettings, Source, TransportError};
use crate::http::{
    HttpClient, HttpError, HttpSettings, Method, Request, Response, Secret, Streamed,
};

/// How long a document may take, retries included: one that comes a byte at a time is not waited for.
pub(super) const LONGEST_DOCUMENT: Duration = Duration::from_secs(300);

/// What all registries of a run share.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) http: HttpClient,
    pub(super) settings: HttpSettings,
    pub(super) credentials: CredentialSettings,
    pub(super) insecure: Vec<String>,
    /// By name, and by whether they may be asked without TLS.
    registries: Mutex<BTreeMap<(String, bool), Arc<Registry>>>,
}

/// One registry.
#[derive(Debug)]
pub(super) struct Registry {
    /// Its name in references, such as `docker.io` or `localhost:5000`.
    pub(super) host: String,
    /// Whether it may be asked without TLS.
    insecure: bool,
    /// Its address, once it is known.
    address: OnceCell<Url>,
    pub(super) login: tokio::sync::Mutex<Login>,
}

/// A repository of a registry.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) registry: Arc<Registry>,
    /// Its name, such as `library/python`.
    pub(super) path: String,
}

impl Repository {
    /// How a person would name what lies there under a tag or digest.
    pub(super) fn what(&self, name: &str) -> String {
        if name.contains(':') {
            format!("image {}@{name}", self.path)
        } else {
            format!("image {}:{name}", self.path)
        }
    }

    pub(super) fn too_slow(&self) -> TransportError {
        TransportError::Http(HttpError::Timeout {
            url: self.registry.host.clone(),
        })
    }
}

/// A request to a repository.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// What stands after `/v2/REPOSITORY/`, or a whole address on the same server.
    pub(super) path: String,
    /// What is asked for, for people.
    pub(super) what: String,
    pub(super) accept: Option<&'static str>,
    pub(super) range: Option<String>,
    pub(super) head: bool,
    /// The most bytes of a document.
    pub(super) limit: u64,
    /// Whether to try but once.
    pub(super) quick: bool,
}

impl Ask {
    pub(super) fn new(path: &str, what: String) -> Self {
        Self {
            path: path.to_owned(),
            what,
            accept: None,
            range: None,
            head: false,
            limit: 0,
            quick: false,
        }
    }
}

impl Session {
    pub(super) fn new(settings: RegistrySettings) -> Self {
        let http = HttpSettings {
            compression: false,
            ..settings.http
        };
        Self {
            http: HttpClient::new(http.clone()),
            settings: http,
            credentials: settings.credentials,
            insecure: settings.insecure,
            registries: Mutex::default(),
        }
    }

    /// The repository at `source`.
    pub(super) fn repository(&self, source: &Source) -> Repository {
        let reference = &source.reference;
        let host = endpoint::canonical(reference.registry());
        let insecure = source.insecure || endpoint::is_listed(host, &self.insecure);
        let mut registries = self
            .registries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let registry = registries
            .entry((host.to_owned(), insecure))
            .or_insert_with(|| {
                Arc::new(Registry {
                    host: host.to_owned(),
                    insecure,
                    address: OnceCell::new(),
                    login: tokio::sync::Mutex::default(),
                })
            });
        Repository {
            registry: Arc::clone(registry),
            path: reference.repository().to_owned(),
        }
    }

    /// The address of a registry, found out once.
    pub(super) async fn address(&self, registry: &Registry) -> Result<Url, TransportError> {
        let find = || endpoint::find(&self.http, &registry.host, registry.insecure);
        registry.address.get_or_try_init(find).await.cloned()
    }

    /// A whole document.
    pub(super) async fn document(
        &self,
        repository: &Repository,
        ask: &Ask,
    ) -> Result<Response, TransportError> {
        Ok(self.send(repository, ask, true).await?.head)
    }

    /// A body that is read as it comes. Status 416 is an answer.
    pub(super) async fn stream(
        &self,
        repository: &Repository,
        ask: &Ask,
    ) -> Result<Streamed, TransportError> {
        self.send(repository, ask, false).await
    }

    async fn send(
        &self,
        repository: &Repository,
        ask: &Ask,
        whole: bool,
    ) -> Result<Streamed, TransportError> {
        let registry = &repository.registry;
        let address = self.address(registry).await?;
        let url = address
            .join(&format!("/v2/{}/", repository.path))
            .and_then(|url| url.join(&ask.path))
            .map_err(|error| TransportError::Invalid {
                what: format!("the address of {} at {}", ask.what, registry.host),
                reason: error.to_string(),
            })?;
        if url.origin() != address.origin() {
            return Err(TransportError::Invalid {
                what: format!("the address of {} at {}", ask.what, registry.host),
                reason: "it leads to another server".to_owned(),
            });
        }
        let mut logged_in = false;
        loop {
            let authorization = {
                let login = registry.login.lock().await;
                login.authorization(&repository.path).cloned()
            };
            let answer = self.ask(&url, ask, authorization.as_ref(), whole).await?;
            let response = &answer.head;
            if response.is_success() || (response.status == 416 && ask.range.is_some()) {
                return Ok(answer);
            }
            // Who answers after a redirect is somebody else, whose challenge is not for our credentials.
            let own = response.url.origin() == address.origin();
            if response.status == 401 && own && !logged_in {
                self.log_in(repository, &ask.what, response, authorization.as_ref())
                    .await?;
                logged_in = true;
                continue;
            }
            let login = registry.login.lock().await;
            let shown_as = login.shown_as(&repository.path);
            return Err(refusal::refusal(
                repository,
                &ask.what,
                response,
                shown_as,
                login.secrets(),
            ));
        }
    }

    async fn ask(
        &self,
        url: &Url,
        ask: &Ask,
        authorization: Option<&Secret>,
        whole: bool,
    ) -> Result<Streamed, HttpError> {
        let request = Request {
            method: if ask.head { Method::Head } else { Method::Get },
            accept: ask.accept,
            range: ask.range.as_deref(),
            authorization,
            verbatim: true,
            error_limit: LARGEST_REFUSAL,
            retries: ask.quick.then_some(0),
            deadline: whole.then_some(LONGEST_DOCUMENT),
            ..Request::new(url, ask.limit)
        };
        if whole {
            self.http.get(request).await.map(Streamed::without_body)
        } else {
            self.http.stream(request).await
        }
    }
}
