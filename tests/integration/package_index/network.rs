//! Faults of the network, and to whom credentials are sent.

use std::time::Duration;

use imgtool::http::{HttpClient, HttpError, HttpSettings, Request};
use imgtool::package_index::{IndexError, IndexSettings, PackageIndex as _};

use super::{alpha, client, large, name, newest, project, requirements, settings};
use crate::support::index_server::{Behaviour, base64};

#[test]
fn transient_failures_are_tried_again_and_the_last_one_is_told() {
    let changes: [fn(&mut Behaviour); 3] = [
        |behaviour| {
            behaviour.fail_status = Some(429);
            behaviour.retry_after = Some("0".to_owned());
        },
        |behaviour| behaviour.fail_status = Some(503),
        |behaviour| behaviour.fail_status = None,
    ];
    for change in changes {
        let server = alpha().behaviour(change).start();
        server.change(|behaviour| behaviour.fail_first = 3);
        let client_1 = client(settings(&server));
        project(&client_1, "alpha");
        assert!(server.requests().len() >= 4);
        server.change(|behaviour| behaviour.fail_first = 1000);
        let client_2 = client(settings(&server));
        let error = client_2.project(&name("alpha")).expect_err("no answer");
        let text = error.to_string();
        assert!(
            text.contains("`alpha`") && text.contains(&server.origin()),
            "{text}"
        );
    }
}

#[test]
fn a_refusal_is_not_tried_again() {
    let server = alpha()
        .behaviour(|behaviour| {
            behaviour.fail_first = 1;
            behaviour.fail_status = Some(400);
        })
        .start();
    let client = client(settings(&server));
    assert!(client.project(&name("alpha")).is_err());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_index_that_is_not_there() {
    let server = alpha().start();
    let settings = settings(&server);
    drop(server);
    let error = client(settings)
        .project(&name("alpha"))
        .expect_err("no answer");
    assert!(
        error.to_string().contains("cannot reach http://127.0.0.1:"),
        "{error}"
    );
}

#[test]
fn pages_that_are_none() {
    for body in ["{\"meta\": {\"api-version\": \"2.0\"}, \"files\": []}", "{"] {
        let server = alpha()
            .behaviour(|behaviour| behaviour.page_body = Some(body.to_owned()))
            .start();
        let error = client(settings(&server))
            .project(&name("alpha"))
            .expect_err("no page");
        assert!(matches!(error, IndexError::Page { .. }), "{error}");
    }
    let server = alpha()
        .behaviour(|behaviour| behaviour.redirect_loop = true)
        .start();
    let error = client(settings(&server))
        .project(&name("alpha"))
        .expect_err("no page");
    assert!(error.to_string().contains("more than 10 times"), "{error}");
    assert_eq!(server.requests().len(), 11);
}

#[test]
fn credentials_stay_at_their_host_and_are_never_shown() {
    let files = large(false).start();
    let origin = files.origin();
    let server = large(false)
        .behaviour(|behaviour| {
            behaviour.basic_auth = Some(("user@corp".to_owned(), "s3cret:!".to_owned()));
            behaviour.redirect_files_to = Some(origin);
        })
        .start();
    let with_credentials = IndexSettings {
        index_url: Some(server.index_url_with("user%40corp", "s3cret%3A!")),
        ..settings(&server)
    };
    assert!(!format!("{with_credentials:?}").contains("s3cret"));
    let client_1 = client(with_credentials.clone());
    assert!(!format!("{client_1:?}").contains("s3cret"));
    let wheel = newest(&client_1, "alpha");
    assert!(!wheel.url.contains('@'), "{}", wheel.url);
    assert_eq!(requirements(&client_1, &wheel), ["beta>=1"]);
    let expected = format!("Basic {}", base64(b"user@corp:s3cret:!"));
    for request in server.requests() {
        assert_eq!(request.header("authorization"), Some(expected.as_str()));
    }
    assert!(!files.requests().is_empty());
    for request in files.requests() {
        assert_eq!(request.header("authorization"), None);
    }

    // Errors of every kind: refused, broken, no page.
    let changes: [fn(&mut Behaviour); 3] = [
        |behaviour| behaviour.basic_auth = Some(("other".to_owned(), String::new())),
        |behaviour| behaviour.fail_first = 1000,
        |behaviour| {
            behaviour.fail_first = 0;
            behaviour.basic_auth = None;
            behaviour.page_body = Some("x".to_owned());
        },
    ];
    for change in changes {
        server.change(change);
        let error = client(with_credentials.clone())
            .project(&name("alpha"))
            .expect_err("no answer");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.contains("127.0.0.1"), "{text}");
            assert!(!text.contains("s3cret") && !text.contains("corp"), "{text}");
        }
    }
}

#[test]
fn credentials_of_netrc() {
    let server = alpha()
        .behaviour(|behaviour| behaviour.basic_auth = Some(("me".to_owned(), "pw".to_owned())))
        .start();
    let error = client(settings(&server))
        .project(&name("alpha"))
        .expect_err("refused");
    assert!(
        matches!(error, IndexError::Refused { status: 401, .. }),
        "{error}"
    );
    assert!(error.hint().expect("a hint").contains("netrc"), "{error}");
    assert!(!error.is_bad_input());

    let folder = tempfile::tempdir().expect("a folder");
    let netrc = folder.path().join("netrc");
    let write = |text: &str| {
        std::fs::File::create(&netrc)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .expect("written");
    };
    let with_netrc = || IndexSettings {
        netrc: Some(netrc.clone()),
        ..settings(&server)
    };
    write("machine example.org login x password y\nmachine 127.0.0.1 login me password pw\n");
    project(&client(with_netrc()), "alpha");
    write("machine 127.0.0.1 login me password pw extra hunter2\n");
    let error = client(with_netrc())
        .project(&name("alpha"))
        .expect_err("no netrc");
    assert!(error.to_string().contains("netrc"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_server_that_says_nothing() {
    let server = alpha().behaviour(|behaviour| behaviour.hang = true).start();
    let impatient = IndexSettings {
        read_timeout: Duration::from_millis(20),
        // One silence is bad luck; who waits it out again and again waits for minutes.
        retries: 3,
        ..settings(&server)
    };
    let error = client(impatient)
        .project(&name("alpha"))
        .expect_err("no answer");
    assert!(
        error.to_string().contains("did not answer in time"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_connection_that_cannot_be_secured() {
    let server = alpha().start();
    let secure = server.index_url().replace("http:", "https:");
    let error = client(IndexSettings {
        index_url: Some(secure),
        ..settings(&server)
    })
    .project(&name("alpha"))
    .expect_err("no TLS here");
    let IndexError::Project { source, .. } = error else {
        panic!("{error}");
    };
    assert!(matches!(source, HttpError::Tls { .. }), "{source}");
}

#[test]
fn certificates_that_cannot_be_read() {
    let server = alpha().start();
    let folder = tempfile::tempdir().expect("a folder");
    let error = client(IndexSettings {
        certificates: Some(folder.path().join("absent.pem")),
        ..settings(&server)
    })
    .project(&name("alpha"))
    .expect_err("no certificates");
    assert!(error.to_string().contains("absent.pem"), "{error}");
    assert!(error.is_bad_input());
    assert_eq!(server.requests().len(), 0);

    let empty = folder.path().join("empty.pem");
    std::fs::File::create(&empty).expect("a file");
    let error = client(IndexSettings {
        certificates: Some(empty),
        ..settings(&server)
    })
    .project(&name("alpha"))
    .expect_err("no certificates");
    assert!(
        error.to_string().contains("holds no certificate"),
        "{error}"
    );
    assert!(error.is_bad_input());
}

#[test]
fn an_address_that_is_no_index_is_named() {
    let server = alpha().start();
    let origin = server.origin();
    let elsewhere = |path: &str| {
        let url = origin.replace("http://", "http://user:secret@");
        client(IndexSettings {
            index_url: Some(format!("{url}/{path}")),
            ..settings(&server)
        })
    };
    let wrong = elsewhere("smple");
    assert!(wrong.warnings().is_empty());
    for project in ["beta", "alpha"] {
        assert!(wrong.project(&name(project)).expect("an answer").is_none());
    }
    assert_eq!(
        wrong.warnings(),
        [format!(
            "no file of alpha, beta is offered by {origin}/smple/: is that the address of a package index? \
             It usually ends in `/simple`"
        )]
    );
    let right = client(settings(&server));
    assert!(right.project(&name("beta")).expect("an answer").is_none());
    assert_eq!(right.warnings().len(), 1);
    project(&right, "alpha");
    assert!(right.warnings().is_empty());
    let none = client(IndexSettings {
        index_url: None,
        ..settings(&server)
    });
    assert!(none.project(&name("beta")).expect("an answer").is_none());
    assert!(none.warnings()[0].contains("no-index"));
}

#[test]
fn no_more_is_read_than_the_caller_accepts() {
    let server = alpha().start();
    let url = url::Url::parse(&server.index_url())
        .and_then(|url| url.join("alpha/"))
        .expect("a URL");
    let http = HttpClient::new(HttpSettings::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let get = |limit| runtime.block_on(http.get(Request::new(&url, limit)));
    let size = get(1 << 20).expect("an answer").body.len() as u64;
    assert!(get(size).is_ok());
    let error = get(size - 1).expect_err("too large");
    assert!(matches!(error, HttpError::TooLarge { .. }), "{error}");
}
