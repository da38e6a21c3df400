//! A running engine: its output in pieces, its last words, and its end, which comes in every case.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::super::TransportError;
use super::Engine;
use crate::packaging::requirement::presentable;

/// Bytes that are read from the engine at once: what a pipe holds.
const PIECE: usize = 64 << 10;
/// Pieces that wait to be taken, so that engine and reader work at the same time.
const PIECES_WAITING: usize = 16;
/// Bytes of what the engine says on its error output that are kept, the last ones.
const LAST_WORDS: usize = 8 << 10;
/// How long its last words are waited for, once it has ended.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);
/// How often an engine that ought to end is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// How far the output of an engine has come.
const RUNNING: u8 = 0;
const ENDED: u8 = 1;
const SILENT: u8 = 2;

/// An engine that was started; it is ended and reaped when this is dropped.
#[derive(Debug)]
pub(super) struct EngineProcess {
    engine: Engine,
    child: Child,
    output: Arc<AtomicU8>,
    last_words: Receiver<Vec<u8>>,
    patience: Duration,
}

/// What an engine writes. It fails when the engine is silent for too long.
#[derive(Debug)]
pub(super) struct EngineOutput {
    pieces: Receiver<io::Result<Vec<u8>>>,
    current: io::Cursor<Vec<u8>>,
    state: Arc<AtomicU8>,
    patience: Duration,
}

impl EngineProcess {
    /// Starts `program` with `arguments`, without input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(
        engine: Engine,
        program: &Path,
        arguments: &[&str],
        patience: Duration,
    ) -> Result<(Self, EngineOutput), TransportError> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| engine.error(format!("cannot be started: {error}")))?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        // Threads of their own: an engine may leave a child behind that keeps a pipe open for ever, and then nobody but
        // such a thread waits for it.
        let (pieces, pieces_out) = sync_channel(PIECES_WAITING);
        let (words, last_words) = sync_channel(1);
        if let Some(stdout) = stdout {
            thread::spawn(move || pass_on(stdout, &pieces));
        }
        if let Some(stderr) = stderr {
            thread::spawn(move || words.send(tail(stderr)));
        }
        let output = Arc::new(AtomicU8::new(RUNNING));
        Ok((
            Self {
                engine,
                child,
                output: Arc::clone(&output),
                last_words,
                patience,
            },
            EngineOutput {
                pieces: pieces_out,
                current: io::Cursor::default(),
                state: output,
                patience,
            },
        ))
    }

    /// Waits for the end of an engine whose output has been read, and says how it failed; `None` when it did not, or when
    /// its output was given up by the reader, whose reason is the better one.
    pub(super) fn failure(&mut self, image: &str) -> Option<TransportError> {
        match self.output.load(Ordering::Acquire) {
            ENDED => {}
            SILENT => return Some(self.silence()),
            _ => return None,
        }
        let deadline = Instant::now() + self.patience;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => thread::sleep(GLANCE),
                Ok(None) => return Some(self.silence()),
                Err(error) => {
                    return Some(self.engine.error(format!("cannot be waited for: {error}")));
                }
            }
        };
        (!status.success()).then(|| {
            let reason = match self.sentence() {
                Some(sentence) => format!("cannot read `{image}`: {sentence}"),
                None => format!(
                    "cannot read `{image}`, and does not say why ({})",
                    ended(status)
                ),
            };
            self.engine.error(reason)
        })
    }

    fn silence(&self) -> TransportError {
        let seconds = self.patience.as_secs_f64();
        self.engine.error(format!(
            "has been silent for {seconds} seconds, and was stopped"
        ))
    }

    /// The last line that the engine wrote to its error output.
    fn sentence(&self) -> Option<String> {
        let words = self.last_words.recv_timeout(LAST_WORDS_WAIT).ok()?;
        let words = String::from_utf8_lossy(&words);
        let line = words
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty())?;
        let line = line.strip_prefix("Error: ").unwrap_or(line);
        Some(presentable(line.trim_end_matches('.')))
    }
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => "ended by a signal".to_owned(),
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        // An engine that has ended cannot be killed, and only one that was waited for leaves no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes on what an engine writes until it ends, or nobody wants it any more.
fn pass_on(mut stdout: ChildStdout, pieces: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let sent = match stdout.read(&mut piece) {
            Ok(0) => return,
            Ok(read) => {
                piece.truncate(read);
                pieces.send(Ok(piece))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // The reader may be gone; then nobody is told.
                let _ = pieces.send(Err(error));
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Reads to the end and keeps the last bytes.
fn tail(mut stderr: ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stderr.read(&mut piece) {
            Ok(0) => return kept,
            Ok(read) => {
                kept.extend_from_slice(&piece[..read]);
                let surplus = kept.len().saturating_sub(LAST_WORDS);
                kept.drain(..surplus);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return kept,
        }
    }
}

impl Read for EngineOutput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.pieces.recv_timeout(self.patience) {
                Ok(piece) => self.current = io::Cursor::new(piece?),
                Err(RecvTimeoutError::Disconnected) => {
                    self.state.store(ENDED, Ordering::Release);
                    return Ok(0);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.state.store(SILENT, Ordering::Release);
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}
