//! Programs that keep credentials: `docker-credential-NAME get`, the server on standard input, JSON on standard output.
//!
//! Protocol: docker/docker-credential-helpers. It is the one place where imgtool runs what a file of the user names, and
//! only from the folders that were handed in.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Credential;
use crate::http::Secret;

/// The most bytes that a helper may answer.
const LARGEST_ANSWER: u64 = 1 << 20;

/// How often a helper that has closed its output is looked at until it ends.
const POLL: Duration = Duration::from_millis(5);

/// What a helper prints where it has nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The user in whose place stands an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Name of the program of the helper `name`.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// Asks the helper `name` for the credential of `server`. The error is a sentence that goes on from the helper's name.
pub(super) fn ask(
    name: &str,
    server: &str,
    search_path: &[PathBuf],
    timeout: Duration,
) -> Result<Option<Credential>, String> {
    let program = program(name);
    let path = find(&program, search_path).ok_or("is not in the PATH")?;
    let mut child = Command::new(path)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot be run: {error}"))?;
    let outcome = converse(&mut child, server, timeout);
    if outcome.is_err() {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = child.kill();
        let _ = child.wait();
    }
    let (success, output) = outcome?;
    if success {
        parse(&output)
    } else {
        let text = String::from_utf8_lossy(&output);
        let text = text.trim();
        if text.contains(NOT_FOUND) {
            return Ok(None);
        }
        let line = text.lines().next().unwrap_or_default();
        let line: String = line
            .chars()
            .filter(|character| !character.is_control())
            .take(200)
            .collect();
        Err(if line.is_empty() {
            "failed".to_owned()
        } else {
            format!("failed: {line}")
        })
    }
}

/// Writes the question, reads the answer, waits for the end.
fn converse(child: &mut Child, server: &str, timeout: Duration) -> Result<(bool, Vec<u8>), String> {
    let ends = Instant::now() + timeout;
    let late = || format!("did not answer within {} s", timeout.as_secs_f32());
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read is one that fails in another way.
        let _ = stdin.write_all(server.as_bytes());
    }
    let stdout = child.stdout.take().ok_or("has no output")?;
    let (sender, receiver) = mpsc::sync_channel(1);
    // On a thread of its own, as reading has no time limit. It ends when the helper does.
    std::thread::spawn(move || {
        let mut output = Vec::new();
        let read = stdout.take(LARGEST_ANSWER).read_to_end(&mut output);
        // Nobody waiting any more is no error.
        let _ = sender.send(read.map(|_| output));
    });
    let output = receiver
        .recv_timeout(timeout)
        .map_err(|_| late())?
        .map_err(|error| format!("cannot be read: {error}"))?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok((status.success(), output)),
            Ok(None) if Instant::now() < ends => std::thread::sleep(POLL),
            Ok(None) => return Err(late()),
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    }
}

fn parse(output: &[u8]) -> Result<Option<Credential>, String> {
    // The parser's message may quote the secret.
    let answer: Answer = serde_json::from_slice(output)
        .map_err(|_| "does not answer in the form of credential helpers")?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    let secret = Secret::new(answer.secret);
    Ok(Some(if answer.username == TOKEN_USER {
        Credential::IdentityToken(secret)
    } else {
        Credential::Password {
            user: Secret::new(answer.username),
            password: secret,
        }
    }))
}

/// The first program of that name. Relative folders are passed over: what lies where the user happens to stand is not his.
fn find(program: &str, search_path: &[PathBuf]) -> Option<PathBuf> {
    if program.contains(['/', '\\']) {
        return None;
    }
    search_path
        .iter()
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| is_program(path))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}
