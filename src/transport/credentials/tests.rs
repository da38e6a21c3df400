//! Files of docker and podman, helpers, and that no secret is shown.

use std::path::Path;

use super::*;

fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("a file");
    file.write_all(text.as_bytes()).expect("a file");
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[&str]) -> (Self, CredentialSettings) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = CredentialSettings {
            search_path: vec![folder.path().to_owned()],
            helper_timeout: Duration::from_secs(20),
            ..CredentialSettings::default()
        };
        for (number, text) in files.iter().enumerate() {
            let path = folder.path().join(format!("{number}.json"));
            write(&path, text);
            settings.files.push(path);
        }
        (Self(folder), settings)
    }

    #[cfg(unix)]
    fn helper(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        // Renamed into place: a file that was open for writing a moment ago may be busy in a process that forked then.
        let path = self.0.path().join(format!("docker-credential-{name}"));
        let written = self.0.path().join(format!("{name}.new"));
        write(&written, &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&written, std::fs::Permissions::from_mode(0o755)).expect("mode");
        std::fs::rename(&written, &path).expect("a program");
    }
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn found(settings: &CredentialSettings, host: &str, repository: &str) -> String {
    match settings.find(host, repository).expect("readable files") {
        None => "nothing".to_owned(),
        Some(Credential::Password { user, password }) => {
            format!("{} {}", user.reveal(), password.reveal())
        }
        Some(Credential::IdentityToken(token)) => format!("identity {}", token.reveal()),
        Some(Credential::RegistryToken(token)) => format!("registry {}", token.reveal()),
    }
}

#[test]
fn every_form_of_entry_is_read() {
    let text = format!(
        r#"{{"auths": {{
            "a.example": {{"auth": "{}"}},
            "https://b.example/v1/": {{"auth": "{}"}},
            "https://index.docker.io/v1/": {{"auth": "{}"}},
            "c.example:5000": {{"username": "u", "password": "p"}},
            "d.example": {{"auth": "{}", "identitytoken": "id"}},
            "e.example": {{"registrytoken": "reg"}},
            "f.example": {{}},
            "g.example": null
        }}, "HttpHeaders": {{"x": "y"}}, "credsStore": ""}}"#,
        base64("user:pass:with:colons"),
        base64("bu:bp").trim_end_matches('='),
        base64("hub:hp"),
        base64("du:"),
    );
    let (_folder, settings) = Folder::new(&[&text]);
    for (host, expected) in [
        ("a.example", "user pass:with:colons"),
        ("b.example", "bu bp"),
        ("docker.io", "hub hp"),
        ("c.example:5000", "u p"),
        ("c.example", "nothing"),
        ("d.example", "identity id"),
        ("e.example", "registry reg"),
        ("f.example", "nothing"),
        ("g.example", "nothing"),
        ("evil-a.example", "nothing"),
    ] {
        assert_eq!(found(&settings, host, "x/y"), expected, "{host}");
    }
}

#[test]
fn the_nearest_namespace_wins_and_the_first_file_that_has_something() {
    let entry = |key: &str, user: &str| format!(r#""{key}": {{"auth": "{}"}}"#, base64(user));
    let first = format!(
        r#"{{"auths": {{{}, {}, {}}}}}"#,
        entry("r.example/ns/repo", "repo:1"),
        entry("r.example/ns", "ns:2"),
        entry("r.example", "host:3"),
    );
    let second = format!(
        r#"{{"auths": {{{}, {}}}}}"#,
        entry("r.example", "second:4"),
        entry("s.example/v2/", "s:5")
    );
    let (folder, mut settings) = Folder::new(&[&first, "  \n", &second]);
    settings
        .files
        .insert(0, folder.0.path().join("missing.json"));
    for (repository, expected) in [
        ("ns/repo", "repo 1"),
        ("ns/repo/deep", "repo 1"),
        ("ns/other", "ns 2"),
        ("nsx/repo", "host 3"),
    ] {
        assert_eq!(
            found(&settings, "r.example", repository),
            expected,
            "{repository}"
        );
    }
    assert_eq!(found(&settings, "s.example", "x"), "s 5");
}

#[test]
fn files_that_are_none_are_named_and_not_quoted() {
    for text in [
        "{",
        r#"{"auths": {"a.example": {"auth": 5, "x": "hunter2"}}}"#,
        r#"{"auths": "hunter2"}"#,
        r#"{"auths": {"a.example": {"auth": "hunter2 hunter2"}}}"#,
        r#"{"auths": {"a.example": {"auth": "aHVudGVyMg=="}}}"#,
    ] {
        let (_folder, settings) = Folder::new(&[text]);
        let error = settings.find("a.example", "x").expect_err("unreadable");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("0.json"), "{shown}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("aHVudGVyMg"),
            "{shown}"
        );
    }
    let (folder, mut settings) = Folder::new(&[]);
    settings.files.push(folder.0.path().to_owned());
    assert!(settings.find("a.example", "x").is_err(), "a folder");
}

#[cfg(unix)]
#[test]
fn helpers_are_asked_before_the_file() {
    let text = format!(
        r#"{{"auths": {{"a.example": {{}}, "plain.example": {{"auth": "{}"}}}},
            "credHelpers": {{"b.example": "two", "c.example:5000": "two"}}, "credsStore": "one"}}"#,
        base64("plain:pw")
    );
    let (folder, settings) = Folder::new(&[&text]);
    folder.helper(
        "one",
        r#"[ "$1" = get ] || exit 3
        read server
        case "$server" in
        a.example) echo '{"ServerURL":"a.example","Username":"one","Secret":"s1"}' ;;
        https://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"<token>","Secret":"refresh"}' ;;
        *) echo "credentials not found in native keychain"; exit 1 ;;
        esac"#,
    );
    folder.helper(
        "two",
        r#"read s; echo "{\"Username\":\"two\",\"Secret\":\"$s\"}""#,
    );
    for (host, expected) in [
        ("a.example", "one s1"),
        ("docker.io", "identity refresh"),
        ("b.example", "two b.example"),
        ("c.example:5000", "two c.example:5000"),
        ("plain.example", "plain pw"),
        ("z.example", "nothing"),
    ] {
        assert_eq!(found(&settings, host, "x"), expected, "{host}");
    }
}

#[cfg(unix)]
#[test]
fn helpers_that_fail_are_named() {
    let text = r#"{"credHelpers": {
        "missing.example": "missing", "fails.example": "fails", "silent.example": "silent",
        "garbage.example": "garbage", "hangs.example": "hangs", "path.example": "../../bin/sh", "endless.example": "endless"
    }}"#;
    let (folder, mut settings) = Folder::new(&[text]);
    folder.helper("fails", "echo 'the vault is locked'; exit 1");
    folder.helper("silent", "exit 1");
    folder.helper(
        "garbage",
        "echo '{\"Username\": 1, \"Secret\": \"hunter2\"}'",
    );
    folder.helper("hangs", "exec sleep 60");
    folder.helper("endless", "exec cat /dev/zero");
    for (host, reason) in [
        ("missing.example", "`docker-credential-missing`, which"),
        ("missing.example", "is not in the PATH"),
        ("fails.example", "failed: the vault is locked"),
        ("silent.example", "failed"),
        ("garbage.example", "does not answer in the form"),
        ("path.example", "is not in the PATH"),
        ("hangs.example", "did not answer within 0.3 s"),
        ("endless.example", "0.json"),
    ] {
        if host == "hangs.example" {
            settings.helper_timeout = Duration::from_millis(300);
        }
        let error = settings.find(host, "x").expect_err(host);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(reason), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    // What lies in the folder where the user stands is not a helper.
    settings.search_path = vec![PathBuf::from("."), PathBuf::new()];
    assert!(settings.find("fails.example", "x").is_err());
}
