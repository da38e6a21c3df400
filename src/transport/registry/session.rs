//! One request to a registry: its address, its authorization, and again with a login where it is asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OnceCell;
use url::Url;

use super::endpoint;
use super::login::Login;
use super::refusal::{self, LARGEST_REFUSAL};
use super::{CredentialSettings, RegistrySettings, Source, TransportError};
use crate::http::{
    Change, HandedBody, HttpClient, HttpError, HttpSettings, Method, Request, Response, Secret,
    Streamed, Verb, is_loopback,
};

/// How long a document may take, retries included: one that comes a byte at a time is not waited for.
pub(super) const LONGEST_DOCUMENT: Duration = Duration::from_secs(300);

/// How long a registry may take to answer once it has everything: of a large blob it computes the digest anew.
const LONGEST_COMMIT: Duration = Duration::from_secs(300);

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
    /// What is done there.
    pub(super) access: Access,
}

/// What a login must allow to do in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// To read.
    Pull,
    /// To read and to write.
    Push,
    /// To write, and to read from another repository, of which a blob is taken.
    MountFrom(String),
}

impl Repository {
    /// The same repository, for other deeds.
    pub(super) fn with(&self, access: Access) -> Self {
        Self {
            access,
            ..self.clone()
        }
    }

    /// The scopes of a token for what is done there.
    pub(super) fn scopes(&self) -> Vec<String> {
        let path = &self.path;
        match &self.access {
            Access::Pull => vec![format!("repository:{path}:pull")],
            Access::Push => vec![format!("repository:{path}:pull,push")],
            Access::MountFrom(other) => vec![
                format!("repository:{path}:pull,push"),
                format!("repository:{other}:pull"),
            ],
        }
    }

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

/// A request that changes a repository.
#[derive(Debug, Clone)]
pub(super) struct Deed {
    /// The address, from [`Session::place`] or [`Session::upload_place`].
    pub(super) url: Url,
    pub(super) verb: Verb,
    pub(super) content_type: Option<String>,
    pub(super) content_range: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) if_none_match: Option<String>,
    /// Whether it does no harm to do it twice.
    pub(super) repeatable: bool,
    /// Whether it makes a blob of what was sent, over which a registry may take its time.
    pub(super) commits: bool,
    /// What is to be done, for people.
    pub(super) what: String,
}

impl Deed {
    pub(super) fn new(verb: Verb, url: Url, what: &str) -> Self {
        Self {
            url,
            verb,
            content_type: None,
            content_range: None,
            if_match: None,
            if_none_match: None,
            repeatable: false,
            commits: false,
            what: what.to_owned(),
        }
    }

    fn change<'a>(
        &'a self,
        authorization: Option<&'a Secret>,
        settings: &HttpSettings,
    ) -> Change<'a> {
        Change {
            url: &self.url,
            verb: self.verb,
            content_type: self.content_type.as_deref(),
            content_range: self.content_range.as_deref(),
            if_match: self.if_match.as_deref(),
            if_none_match: self.if_none_match.as_deref(),
            authorization,
            limit: LARGEST_REFUSAL,
            error_limit: LARGEST_REFUSAL,
            retries: if self.repeatable { settings.retries } else { 0 },
            patience: if self.commits {
                LONGEST_COMMIT
            } else {
                settings.read_timeout
            },
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
            access: Access::Pull,
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
        let url = self.place(repository, &ask.path, &ask.what).await?;
        let mut logged_in = false;
        loop {
            let authorization = {
                let login = registry.login.lock().await;
                login.authorization(repository).cloned()
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

    /// The address of what stands after `/v2/REPOSITORY/`; a whole address must be on the same server.
    pub(super) async fn place(
        &self,
        repository: &Repository,
        path: &str,
        what: &str,
    ) -> Result<Url, TransportError> {
        let registry = &repository.registry;
        let address = self.address(registry).await?;
        let invalid = |reason: String| TransportError::Invalid {
            what: format!("the address of {what} at {}", registry.host),
            reason,
        };
        let url = address
            .join(&format!("/v2/{}/", repository.path))
            .and_then(|url| url.join(path))
            .map_err(|error| invalid(error.to_string()))?;
        if url.origin() == address.origin() {
            Ok(url)
        } else {
            Err(invalid("it leads to another server".to_owned()))
        }
    }

    /// Where an upload goes on, as the answer to `asked` says in `Location`. That may be at another server, which is
    /// shown no login then; but not without TLS where the registry has it, and not on this machine where the registry is
    /// elsewhere.
    pub(super) async fn upload_place(
        &self,
        repository: &Repository,
        asked: &Url,
        location: &str,
    ) -> Result<Url, TransportError> {
        let registry = &repository.registry;
        let own = self.address(registry).await?;
        let invalid = |reason: &str| TransportError::Invalid {
            what: format!("the address for uploads that {} names", registry.host),
            reason: reason.to_owned(),
        };
        let mut url = asked
            .join(location)
            .map_err(|error| invalid(&error.to_string()))?;
        // Credentials in it are the registry's word, not the user's.
        crate::http::take_credentials(&mut url);
        url.set_fragment(None);
        let is_same_host = url.host() == own.host() && url.port().is_none();
        if is_same_host && own.port().is_none() && own.scheme() == "https" && url.scheme() == "http"
        {
            // A registry behind a proxy that speaks TLS for it does not know that it is asked over TLS.
            url.set_scheme("https")
                .map_err(|()| invalid("it has no host"))?;
        }
        match url.scheme() {
            "https" => {}
            "http" if own.scheme() == "http" => {}
            _ => return Err(invalid("it is not secure")),
        }
        if is_loopback(&url) && !is_loopback(&own) {
            return Err(invalid("it leads to this machine"));
        }
        Ok(url)
    }

    /// Does `deed` with this body, which may be empty. A status of failure other than 401 is an answer;
    /// 401 is answered with a login, once.
    pub(super) async fn change(
        &self,
        repository: &Repository,
        deed: &Deed,
        body: Bytes,
    ) -> Result<Response, TransportError> {
        let mut logged_in = false;
        loop {
            let authorization = self.authorization(repository, &deed.url).await?;
            let change = deed.change(authorization.as_ref(), &self.settings);
            let response = self.http.change(&change, body.clone()).await?;
            let refused = response.status == 401 && !logged_in;
            if !refused || !self.is_own(repository, &response.url).await? {
                return Ok(response);
            }
            self.log_in(repository, &deed.what, &response, authorization.as_ref())
                .await?;
            logged_in = true;
        }
    }

    /// Does `deed` once with a body that is handed over. Where a login is asked for, there is one afterwards, and the
    /// answer is that of status 401.
    pub(super) async fn upload(
        &self,
        repository: &Repository,
        deed: &Deed,
        body: HandedBody,
    ) -> Result<Response, TransportError> {
        let authorization = self.authorization(repository, &deed.url).await?;
        let change = deed.change(authorization.as_ref(), &self.settings);
        let response = self.http.upload(&change, body).await?;
        if response.status == 401 && self.is_own(repository, &response.url).await? {
            self.log_in(repository, &deed.what, &response, authorization.as_ref())
                .await?;
        }
        Ok(response)
    }

    /// How far an upload has come, as the registry answers to whoever asks for it. A status of failure is an answer.
    pub(super) async fn upload_status(
        &self,
        repository: &Repository,
        url: &Url,
        what: &str,
    ) -> Result<Response, TransportError> {
        let mut logged_in = false;
        loop {
            let authorization = self.authorization(repository, url).await?;
            let request = Request {
                authorization: authorization.as_ref(),
                verbatim: true,
                deadline: Some(LONGEST_DOCUMENT),
                ..Request::new(url, LARGEST_REFUSAL)
            };
            let response = self.http.get(request).await?;
            let refused = response.status == 401 && !logged_in;
            if !refused || !self.is_own(repository, &response.url).await? {
                return Ok(response);
            }
            self.log_in(repository, what, &response, authorization.as_ref())
                .await?;
            logged_in = true;
        }
    }

    /// The error that an answer of failure to a deed amounts to.
    pub(super) async fn refusal(
        &self,
        repository: &Repository,
        what: &str,
        response: &Response,
    ) -> TransportError {
        let login = repository.registry.login.lock().await;
        let shown_as = login.shown_as(&repository.path);
        refusal::refusal_of_deed(repository, what, response, shown_as, login.secrets())
    }

    /// Whether an address is the registry's own.
    async fn is_own(&self, repository: &Repository, url: &Url) -> Result<bool, TransportError> {
        let address = self.address(&repository.registry).await?;
        Ok(url.origin() == address.origin())
    }

    /// What is shown to `url`: nothing where that is not the registry.
    async fn authorization(
        &self,
        repository: &Repository,
        url: &Url,
    ) -> Result<Option<Secret>, TransportError> {
        if !self.is_own(repository, url).await? {
            return Ok(None);
        }
        let login = repository.registry.login.lock().await;
        Ok(login.authorization(repository).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Runtime;

    #[test]
    fn an_upload_goes_on_where_it_may() {
        let runtime = Runtime::start("test").expect("a thread");
        let place = move |own: &str, location: &str| {
            let session = Session::new(RegistrySettings::default());
            let repository = session.repository(&Source {
                reference: "registry.example/team/app".parse().expect("a reference"),
                insecure: false,
            });
            let own: Url = own.parse().expect("an address");
            let known = repository.registry.address.set(own.clone());
            known.expect("the address was not known");
            let asked = own.join("/v2/team/app/blobs/uploads/").expect("an address");
            let location = location.to_owned();
            let found = runtime.submit(async move {
                let place = session.upload_place(&repository, &asked, &location).await;
                place.map_err(|error| error.to_string())
            });
            found.recv().expect("an end").map(String::from)
        };
        let own = "https://registry.example/";
        for (location, leads_to) in [
            ("/v2/x?a=b%3D", "https://registry.example/v2/x?a=b%3D"),
            ("1", "https://registry.example/v2/team/app/blobs/uploads/1"),
            (
                "?s=1",
                "https://registry.example/v2/team/app/blobs/uploads/?s=1",
            ),
            (
                "https://u:p@storage.example/x#y",
                "https://storage.example/x",
            ),
            ("//storage.example/x", "https://storage.example/x"),
            // A proxy speaks TLS for the registry, which does not know it.
            (
                "http://registry.example/x?s",
                "https://registry.example/x?s",
            ),
        ] {
            assert_eq!(place(own, location).as_deref(), Ok(leads_to), "{location}");
        }
        for (location, says) in [
            ("http://storage.example/x", "it is not secure"),
            ("http://registry.example:5000/x", "it is not secure"),
            ("file:///etc/passwd", "it is not secure"),
            ("https://127.0.0.1/x", "it leads to this machine"),
            ("https://[", "is invalid"),
        ] {
            let error = place(own, location).expect_err("refused");
            assert!(error.contains(says), "{location}: {error}");
        }
        let plain = "http://127.0.0.1:5000/";
        assert!(place(plain, "http://127.0.0.1:5001/x").is_ok());
        assert!(place(plain, "https://storage.example/x").is_ok());
    }
}
