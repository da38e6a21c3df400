//! The same pushes to registries in this process that behave as real ones do, and to real ones.
//!
//! `IMGTOOL_REGISTRIES` names real ones (`127.0.0.1:5000,127.0.0.1:5001`), and `IMGTOOL_REGISTRIES_AUTH` a file of
//! credentials as `docker login` writes it; `tests/oracle/registries.py` starts some and sets both. Nothing is deleted
//! there: every run has repositories of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use imgtool::http::{HttpClient, HttpSettings, Request, Runtime};
use imgtool::transport::credentials::CredentialSettings;
use imgtool::transport::registry::{Pushed, RegistryClient, RegistrySettings, Silent};
use imgtool::transport::{Image, TransportError};
use oci_distribution::Reference;

use super::login::{PASSWORD, bearer, password};
use super::push_faults::Dice;
use super::{read, settings};
use crate::support::outgoing::Example;
use crate::support::proxy::{Proxy, Trouble};
use crate::support::registry::{Access, RegistryServer, Uploads};
use crate::support::tls::write;

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A registry, and a name in it that nobody has used.
struct Place {
    host: String,
    repository: String,
    credentials: PathBuf,
    /// One of this process, which ends with it.
    server: Option<(RegistryServer, tempfile::TempDir)>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "real registries are started outside: whoever starts them says where"
)]
fn real() -> (Vec<String>, PathBuf) {
    let hosts = std::env::var("IMGTOOL_REGISTRIES").unwrap_or_default();
    let hosts = hosts.split(',').filter(|host| !host.is_empty());
    let auth = std::env::var_os("IMGTOOL_REGISTRIES_AUTH").unwrap_or_default();
    (hosts.map(str::to_owned).collect(), auth.into())
}

/// All registries.
fn places() -> Vec<Place> {
    let mut places = Vec::new();
    let run = std::fs::metadata(std::env::temp_dir())
        .and_then(|folder| folder.modified())
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default()
        .as_nanos();
    let repository = || {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("test-{}-{run}/app-{number}", std::process::id())
    };
    for (uploads, access) in [
        (Uploads::docker_registry(), 0),
        (Uploads::docker_registry(), 1),
        (Uploads::docker_registry(), 2),
        (Uploads::ferro(), 0),
    ] {
        let server = RegistryServer::start();
        server.change(|behaviour| behaviour.uploads = uploads);
        match access {
            1 => server.change(|behaviour| {
                behaviour.access = Access::Basic("user".to_owned(), PASSWORD.to_owned());
            }),
            2 => bearer(&server, false),
            _ => {}
        }
        let folder = tempfile::tempdir().expect("a folder");
        let credentials = folder.path().join("config.json");
        let entry = password(PASSWORD);
        write(
            &credentials,
            &format!(r#"{{"auths": {{"{}": {entry}}}}}"#, server.host()),
        );
        places.push(Place {
            host: server.host(),
            repository: repository(),
            credentials,
            server: Some((server, folder)),
        });
    }
    let (hosts, auth) = real();
    for host in hosts {
        places.push(Place {
            host,
            repository: repository(),
            credentials: auth.clone(),
            server: None,
        });
    }
    places
}

impl Place {
    fn client(&self) -> RegistryClient {
        self.client_with(settings().http)
    }

    fn client_with(&self, http: HttpSettings) -> RegistryClient {
        RegistryClient::new(RegistrySettings {
            http,
            credentials: CredentialSettings {
                files: vec![self.credentials.clone()],
                ..CredentialSettings::default()
            },
            ..RegistrySettings::default()
        })
    }

    fn reference(&self, rest: &str) -> Reference {
        let text = format!("{}/{}{rest}", self.host, self.repository);
        text.parse().expect("a reference")
    }

    fn push(&self, rest: &str, example: &Example) -> Result<Pushed, TransportError> {
        self.client()
            .push(&self.reference(rest), &example.outgoing, &Silent)
    }

    fn expect(&self, rest: &str, example: &Example) -> Pushed {
        self.push(rest, example)
            .unwrap_or_else(|error| panic!("{}: {error}", self.host))
    }

    /// The image under a tag is this one, whole.
    fn check(&self, rest: &str, example: &Example) {
        let client = self.client();
        let digest = client.digest_of(&self.reference(rest)).expect("a digest");
        assert_eq!(digest.to_string(), example.digest(), "{}", self.host);
        let image: Image = client.open(&self.reference(rest)).expect("an image");
        for index in 0..image.layers.len() {
            read(&image, index).unwrap_or_else(|error| panic!("{}: {error}", self.host));
        }
    }
}

#[test]
fn an_image_is_pushed_and_read_back_and_pushed_again() {
    for place in places() {
        let example = Example::new(60, &[0, 1000, 300_000], 6_000_000, None).indexed();
        let first = place.expect(":1.0", &example);
        assert_eq!(
            (first.blobs_uploaded, first.blobs_existing),
            (5, 0),
            "{}",
            place.host
        );
        place.check(":1.0", &example);
        let second = place.expect(":1.1", &example);
        assert_eq!(
            (second.blobs_existing, second.uploaded),
            (5, 0),
            "{}",
            place.host
        );
        place.check(":1.1", &example);
        let mut tags = place.client().tags(&place.reference("")).expect("tags");
        // In the order of the registry.
        tags.sort();
        assert_eq!(tags, ["1.0", "1.1"]);
        let layer = example.outgoing.blobs[3].descriptor.digest();
        assert!(
            place
                .client()
                .has_blob(&place.reference(":1.0"), layer)
                .expect("an answer")
        );
        // A tag moves.
        let other = Example::new(61, &[10], 20, None);
        place.expect(":1.0", &other);
        place.check(":1.0", &other);
        place.check(":1.1", &example);
    }
}

#[test]
fn the_base_is_taken_from_its_repository_or_sent() {
    for place in places() {
        let base: Reference = format!("{}/{}-base:1", place.host, place.repository)
            .parse()
            .expect("a reference");
        let example = Example::new(62, &[5000, 70_000], 100, Some(&base));
        let whole = Example::new(62, &[5000, 70_000], 100, None);
        place
            .client()
            .push(&base, &whole.outgoing, &Silent)
            .unwrap_or_else(|error| panic!("{}: {error}", place.host));
        let pushed = place.expect(":1.0", &example);
        assert_eq!(
            pushed.blobs_mounted + pushed.blobs_uploaded + pushed.blobs_existing,
            4
        );
        // Some registries have the blobs of all their repositories in one place, and say so.
        let there = pushed.blobs_mounted == 2 || pushed.blobs_existing == 4;
        let sent = if there { 0 } else { 75_000 };
        assert_eq!(pushed.base_bytes_sent, sent, "{}: {pushed:?}", place.host);
        place.check(":1.0", &example);
        let again = place.expect(":1.1", &example);
        assert_eq!(
            (again.uploaded, again.blobs_uploaded),
            (0, 0),
            "{}",
            place.host
        );
    }
}

#[test]
fn what_is_attached_is_listed() {
    for place in places() {
        let example = Example::new(63, &[], 100, None).with_referrer("sbom");
        place.expect(":1.0", &example);
        let example = Example::new(63, &[], 100, None).with_referrer("lock");
        place.expect(":1.0", &example);
        place.check(":1.0", &example);
        let tag = example.digest().replace(':', "-");
        let listed = place
            .client()
            .digest_of(&place.reference(&format!(":{tag}")));
        if listed.is_ok() {
            continue;
        }
        // Then the registry lists it itself.
        if place.server.is_some() {
            continue;
        }
        let address = format!(
            "http://{}/v2/{}/referrers/{}",
            place.host,
            place.repository,
            example.digest()
        );
        let runtime = Runtime::start("test").expect("a thread");
        let body = runtime
            .submit(async move {
                let url = address.parse().expect("an address");
                let http = HttpClient::new(HttpSettings::default());
                http.get(Request::new(&url, 1 << 20)).await
            })
            .recv()
            .expect("an end")
            .expect("an answer")
            .body;
        let index: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            index["manifests"].as_array().map(Vec::len),
            Some(2),
            "{index}"
        );
    }
}

#[test]
fn refusals_are_told() {
    for place in places() {
        let mut example = Example::new(64, &[], 100, None);
        example.replace_new_layer(&[1; 100]);
        let error = place.push(":1.0", &example).expect_err("other bytes");
        assert!(
            matches!(error.own(), TransportError::Mismatch { .. }),
            "{error}"
        );
        // Without the layer the manifest is refused by those that look.
        example.outgoing.blobs.remove(0);
        if let Err(error) = place.push(":2.0", &example) {
            let text = error.to_string();
            assert!(
                text.starts_with("cannot put tag 2.0 on manifest sha256:"),
                "{text}"
            );
            assert!(text.contains("MANIFEST") || text.contains("BLOB"), "{text}");
            let tag = place.client().digest_of(&place.reference(":2.0"));
            assert!(tag.is_err(), "no tag");
        }
        assert!(place.client().open(&place.reference(":1.0")).is_err());
    }
}

#[test]
fn whatever_the_line_does_the_tag_is_right_and_a_second_run_finishes() {
    const RUNS: u64 = 12;
    for place in places() {
        let runs = if place.server.is_some() {
            RUNS
        } else {
            5 * RUNS
        };
        // Beyond the patience of the client, where there is time for it.
        let slowness = if place.server.is_some() {
            Duration::from_millis(200)
        } else {
            Duration::from_secs(2)
        };
        let proxy = Proxy::start(&place.host);
        let mut http = settings().http;
        http.read_timeout = Duration::from_millis(1500);
        // Credentials are those of the registry behind it.
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.json");
        let known = std::fs::read_to_string(&place.credentials).unwrap_or_default();
        write(&file, &known.replace(&place.host, &proxy.host()));
        let through = Place {
            host: proxy.host(),
            repository: place.repository.clone(),
            credentials: file,
            server: None,
        };
        let old = Example::new(70, &[50], 60, None);
        place.expect(":1.0", &old);
        let (mut well, mut failures) = (0, Vec::new());
        let mut before = old;
        for seed in 0..runs {
            let mut dice = Dice::new(seed);
            let large = if dice.roll(4) == 0 {
                4_500_000
            } else {
                200_000
            };
            let new =
                Example::new(1000 + seed, &[dice.size(90_000)], large, None).with_referrer("sbom");
            let after = dice.size(large as u64 + 100_000);
            proxy.set(Some(match dice.roll(5) {
                0 | 1 => Trouble::Cut(after),
                2 => Trouble::Delay(after, slowness * u32::from(dice.roll(2) == 0)),
                3 => Trouble::Corrupt(after),
                _ => Trouble::LoseAnswers(after),
            }));
            let first = through.client_with(http.clone()).push(
                &through.reference(":1.0"),
                &new.outgoing,
                &Silent,
            );
            proxy.set(None);
            let digest = place
                .client()
                .digest_of(&place.reference(":1.0"))
                .expect("a tag");
            let is_new = digest.to_string() == new.digest();
            let host = &place.host;
            assert!(
                is_new || digest.to_string() == before.digest(),
                "{host}, {seed}: {digest}"
            );
            if let Err(error) = &first {
                assert!(!error.to_string().contains("hunter2"), "{error}");
                failures.push(format!("{seed}: {error}"));
            } else {
                assert!(is_new, "{host}, {seed}: it said that all went well");
                well += 1;
            }
            place.check(":1.0", if is_new { &new } else { &before });
            place.expect(":1.0", &new);
            place.check(":1.0", &new);
            before = new;
        }
        assert!(
            well * 2 > runs,
            "{}: {well} of {runs} were survived",
            place.host
        );
    }
}
