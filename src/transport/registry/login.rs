//! Logging in: challenges, tokens and who may see credentials.
//!
//! Specification: RFC 7235 (challenges), Docker's "Token Authentication Specification" (GET with basic credentials) and
//! "OAuth2 Token Authentication" (POST with a refresh token). Credentials go to the registry itself, in answer to a `Basic`
//! challenge, or to the token server that the registry names; over TLS, unless the registry may be asked without.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use url::Url;
use url::form_urlencoded;

use super::TransportError;
use super::endpoint;
use super::refusal::{self, LARGEST_REFUSAL, ShownAs};
use super::session::{Repository, Session};
use crate::http::{Method, Request, Response, Secret, is_loopback, redacted};
use crate::transport::credentials::{Credential, CredentialError};

/// The most bytes of a token server's answer.
const LARGEST_ANSWER: u64 = 1 << 20;

/// The most secrets of one registry that are remembered to be hidden.
const MOST_SECRETS: usize = 64;

/// Actions that only read: others that a challenge names are not asked for.
const READING: [&str; 2] = ["pull", "metadata_read"];

/// What is known of the login at one registry.
#[derive(Debug, Default)]
pub(super) struct Login {
    /// The header of `Basic` authentication, once it was asked for.
    basic: Option<Secret>,
    /// Headers with tokens, by repository and by what they allow.
    tokens: BTreeMap<String, Secret>,
    /// What was found in the user's files, by repository.
    credentials: BTreeMap<String, Result<Option<Credential>, CredentialError>>,
    /// Everything that must not be shown.
    secrets: Vec<Secret>,
}

impl Login {
    /// The header to send for `repository`.
    pub(super) fn authorization(&self, repository: &Repository) -> Option<&Secret> {
        let token = self.tokens.get(&token_key(repository));
        token.or(self.basic.as_ref())
    }

    /// What must not be shown.
    pub(super) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Whether credentials are known for `repository`.
    pub(super) fn shown_as(&self, repository: &str) -> ShownAs {
        match self.credentials.get(repository) {
            Some(Ok(Some(_))) => ShownAs::Somebody,
            _ => ShownAs::Nobody,
        }
    }

    /// Why credentials could not be had.
    pub(super) fn failure(&self, repository: &str) -> Option<&CredentialError> {
        self.credentials.get(repository)?.as_ref().err()
    }

    fn hide(&mut self, secret: Secret) {
        if self.secrets.len() < MOST_SECRETS {
            self.secrets.push(secret);
        }
    }
}

/// Under what a token for `repository` is kept.
fn token_key(repository: &Repository) -> String {
    repository.scopes().join(" ")
}

/// How a registry wants to be asked.
#[derive(Debug, Default)]
struct Challenges {
    basic: bool,
    bearer: Option<BearerChallenge>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct BearerChallenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

impl Challenges {
    fn of<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let mut challenges = Self::default();
        for header in headers {
            // What cannot be parsed is a way that we do not know.
            for challenge in http_auth::parser::ChallengeParser::new(header).map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    challenges.basic = true;
                } else if challenge.scheme.eq_ignore_ascii_case("bearer")
                    && challenges.bearer.is_none()
                {
                    let parameter = |name: &str| {
                        let mut parameters = challenge.params.iter();
                        let found = parameters.find(|(key, _)| key.eq_ignore_ascii_case(name));
                        found.map(|(_, value)| value.to_unescaped())
                    };
                    challenges.bearer = parameter("realm").map(|realm| BearerChallenge {
                        realm,
                        service: parameter("service"),
                        scope: parameter("scope"),
                    });
                }
            }
        }
        challenges
    }
}

impl BearerChallenge {
    /// The scopes to ask for: those that are `needed`, and what the registry wants besides as far as it only reads.
    fn scopes(&self, needed: Vec<String>) -> Vec<String> {
        let mut scopes = needed;
        for asked in self.scope.iter().flat_map(|scope| scope.split(' ')) {
            let reads = asked.rsplit_once(':').is_some_and(|(_, actions)| {
                actions.split(',').all(|action| READING.contains(&action))
            });
            if reads && !scopes.iter().any(|scope| scope == asked) {
                scopes.push(asked.to_owned());
            }
        }
        scopes
    }
}

#[derive(serde::Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Session {
    /// Answers the challenge of `response` (status 401) and remembers how. `rejected` is the header that was refused: where
    /// somebody else has got a new one in the meantime, that one is tried.
    pub(super) async fn log_in(
        &self,
        repository: &Repository,
        what: &str,
        response: &Response,
        rejected: Option<&Secret>,
    ) -> Result<(), TransportError> {
        // Held while the token is under way: the layers of one image need it at the same time.
        let mut login = repository.registry.login.lock().await;
        let shown = login.authorization(repository);
        if shown.is_some() && shown != rejected {
            return Ok(());
        }
        let credential = self.credential(repository, &mut login).await;
        let challenges = Challenges::of(response.headers("www-authenticate"));
        if let Some(Credential::RegistryToken(token)) = &credential {
            let header = Secret::new(format!("Bearer {}", token.reveal()));
            if Some(&header) == rejected {
                return Err(Self::refused_login(repository, &login, what, response));
            }
            login.hide(token.clone());
            login.tokens.insert(token_key(repository), header);
            return Ok(());
        }
        if let Some(bearer) = &challenges.bearer {
            let header = self
                .token(repository, &mut login, bearer, credential.as_ref())
                .await?;
            login.tokens.insert(token_key(repository), header);
            return Ok(());
        }
        if let Some(Credential::Password { user, password }) = credential
            && challenges.basic
        {
            let header = basic(&user, &password);
            if Some(&header) != rejected {
                login.basic = Some(header);
                return Ok(());
            }
        }
        Err(Self::refused_login(repository, &login, what, response))
    }

    fn refused_login(
        repository: &Repository,
        login: &Login,
        what: &str,
        response: &Response,
    ) -> TransportError {
        if let Some(failure) = login.failure(&repository.path) {
            return no_credentials(repository, failure);
        }
        let shown_as = login.shown_as(&repository.path);
        refusal::refusal(repository, what, response, shown_as, login.secrets())
    }

    /// The user's credential for a repository, looked for once. A failure is remembered, as the registry may be content
    /// without one.
    async fn credential(&self, repository: &Repository, login: &mut Login) -> Option<Credential> {
        let path = repository.path.clone();
        if let Some(known) = login.credentials.get(&path) {
            return known.clone().ok().flatten();
        }
        let settings = self.credentials.clone();
        let host = repository.registry.host.clone();
        // A helper is a program that may take its time, and this thread has other things to do.
        let asked = path.clone();
        let found = tokio::task::spawn_blocking(move || settings.find(&host, &asked)).await;
        let found = found.unwrap_or(Ok(None));
        match &found {
            Ok(Some(Credential::Password { user, password })) => {
                let pair = format!("{}:{}", user.reveal(), password.reveal());
                login.hide(Secret::new(BASE64.encode(pair)));
                login.hide(password.clone());
            }
            Ok(Some(Credential::IdentityToken(token) | Credential::RegistryToken(token))) => {
                login.hide(token.clone());
            }
            _ => {}
        }
        login.credentials.insert(path, found.clone());
        found.ok().flatten()
    }

    /// A token from the server that the registry names.
    async fn token(
        &self,
        repository: &Repository,
        login: &mut Login,
        challenge: &BearerChallenge,
        credential: Option<&Credential>,
    ) -> Result<Secret, TransportError> {
        let registry = &repository.registry;
        let host = &registry.host;
        let refused = |reason: String| TransportError::Refused {
            registry: host.clone(),
            what: "the login".to_owned(),
            reason,
        };
        let realm = self.realm(repository, challenge).await?;
        let scopes = challenge.scopes(repository.scopes());
        let identity = match credential {
            Some(Credential::IdentityToken(token)) => Some(token),
            _ => None,
        };
        let mut url = realm.clone();
        let mut authorization = None;
        let mut form = None;
        if let Some(token) = identity {
            let mut fields = form_urlencoded::Serializer::new(String::new());
            fields
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", challenge.service.as_deref().unwrap_or_default())
                .append_pair("client_id", "imgtool")
                .append_pair("scope", &scopes.join(" "))
                .append_pair("refresh_token", token.reveal());
            form = Some(Secret::new(fields.finish()));
        } else {
            if let Some(service) = &challenge.service {
                url.query_pairs_mut().append_pair("service", service);
            }
            for scope in &scopes {
                url.query_pairs_mut().append_pair("scope", scope);
            }
            if let Some(Credential::Password { user, password }) = credential {
                url.query_pairs_mut().append_pair("account", user.reveal());
                authorization = Some(basic(user, password));
            }
        }
        let request = Request {
            method: form.as_ref().map_or(Method::Get, Method::Post),
            authorization: authorization.as_ref(),
            verbatim: true,
            error_limit: LARGEST_REFUSAL,
            deadline: Some(super::session::LONGEST_DOCUMENT),
            ..Request::new(&url, LARGEST_ANSWER)
        };
        let response = self.http.get(request).await?;
        if !response.is_success() {
            if let Some(failure) = login.failure(&repository.path) {
                return Err(no_credentials(repository, failure));
            }
            let shown_as = login.shown_as(&repository.path);
            let what = format!("a token for {} (of {})", repository.path, redacted(&realm));
            let secrets = login.secrets();
            return Err(match response.status {
                // Not an image that is missing, but the token server.
                404 => refused(format!("{} answers with status 404", redacted(&realm))),
                _ => refusal::refusal(repository, &what, &response, shown_as, secrets),
            });
        }
        // The parser's message may quote the token.
        let answer: TokenAnswer = serde_json::from_slice(&response.body)
            .map_err(|_| refused(format!("{} answers without a token", redacted(&realm))))?;
        let token = answer
            .token
            .filter(|token| !token.is_empty())
            .or(answer.access_token)
            .filter(|token| !token.is_empty())
            .ok_or_else(|| refused(format!("{} answers without a token", redacted(&realm))))?;
        login.hide(Secret::new(token.as_str()));
        Ok(Secret::new(format!("Bearer {token}")))
    }

    /// The address of the token server, where it may be asked.
    async fn realm(
        &self,
        repository: &Repository,
        challenge: &BearerChallenge,
    ) -> Result<Url, TransportError> {
        let registry = &repository.registry;
        let refused = |reason: String| TransportError::Refused {
            registry: registry.host.clone(),
            what: "the login".to_owned(),
            reason,
        };
        let mut realm = Url::parse(&challenge.realm)
            .map_err(|_| refused("it names a token server that has no address".to_owned()))?;
        // Credentials in it are the registry's word, not the user's.
        crate::http::take_credentials(&mut realm);
        let own = self.address(registry).await?;
        // A registry elsewhere has no business on this machine.
        let may_be_here = is_loopback(&own) || !is_loopback(&realm);
        let secure = match realm.scheme() {
            "https" => true,
            "http" => {
                let port = realm
                    .port()
                    .map_or_else(String::new, |port| format!(":{port}"));
                let host = format!("{}{port}", realm.host_str().unwrap_or_default());
                is_loopback(&realm)
                    || (own.scheme() == "http" && own.origin() == realm.origin())
                    || endpoint::is_listed(&host, &self.insecure)
            }
            _ => false,
        };
        if secure && may_be_here {
            Ok(realm)
        } else {
            Err(refused(format!(
                "it names {} as its token server, which is not secure",
                redacted(&realm)
            )))
        }
    }
}

fn no_credentials(repository: &Repository, failure: &CredentialError) -> TransportError {
    TransportError::Refused {
        registry: repository.registry.host.clone(),
        what: "the login".to_owned(),
        reason: failure.to_string(),
    }
}

/// The header of `Basic` authentication.
fn basic(user: &Secret, password: &Secret) -> Secret {
    let pair = format!("{}:{}", user.reveal(), password.reveal());
    Secret::new(format!("Basic {}", BASE64.encode(pair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_parsed_and_bearer_is_preferred_by_who_asks() {
        let found = Challenges::of(
            [
                "Basic realm=\"a, b\"",
                "bearer Realm=\"https://auth.example/token?x=1\",service=\"r.example\",scope=\"repository:a/b:pull,push\"",
            ]
            .into_iter(),
        );
        assert!(found.basic);
        let bearer = found.bearer.expect("a bearer challenge");
        assert_eq!(bearer.realm, "https://auth.example/token?x=1");
        assert_eq!(bearer.service.as_deref(), Some("r.example"));
        assert_eq!(
            bearer.scopes(vec!["repository:a/b:pull".to_owned()]),
            ["repository:a/b:pull"],
            "no push"
        );
        for text in ["", "Bearer", "Bearer realm", "Negotiate", "\u{1}"] {
            let found = Challenges::of([text].into_iter());
            assert!(!found.basic && found.bearer.is_none(), "{text}");
        }
    }

    #[test]
    fn what_only_reads_is_asked_for_as_well() {
        let challenge = BearerChallenge {
            scope: Some("repository:a/b:metadata_read registry:catalog:*".to_owned()),
            ..BearerChallenge::default()
        };
        assert_eq!(
            challenge.scopes(vec!["repository:a/b:pull".to_owned()]),
            ["repository:a/b:pull", "repository:a/b:metadata_read"]
        );
    }
}
