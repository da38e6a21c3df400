//! A running engine: its input and its output in pieces, its last words, and its end, which comes in every case.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
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
/// How often it is looked whether an engine has taken its input: in between it can take sixteen pieces.
const INPUT_GLANCE: Duration = Duration::from_millis(1);
/// Lines of its last words that are told, where one alone may not say what is wrong.
const MOST_LINES: usize = 5;

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

/// What an engine reads. It fails when the engine takes nothing for too long, or has ended; the engine sees the end of
/// its input when this is dropped.
#[derive(Debug)]
pub(super) struct EngineInput {
    pieces: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    state: Arc<AtomicU8>,
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
        let (process, _, output) =
            Self::start_with(engine, program, arguments, Stdio::null(), patience)?;
        Ok((process, output))
    }

    /// Starts `program` with `arguments` and an input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start_with_input(
        engine: Engine,
        program: &Path,
        arguments: &[&str],
        patience: Duration,
    ) -> Result<(Self, EngineInput, EngineOutput), TransportError> {
        let (process, stdin, output) =
            Self::start_with(engine, program, arguments, Stdio::piped(), patience)?;
        let (pieces, taken) = sync_channel(PIECES_WAITING);
        if let Some(stdin) = stdin {
            // A thread of its own, as for the output: a write to a full pipe cannot be given up.
            thread::spawn(move || feed(stdin, &taken));
        }
        let input = EngineInput {
            pieces,
            current: Vec::with_capacity(PIECE),
            state: Arc::clone(&process.output),
            patience,
        };
        Ok((process, input, output))
    }

    fn start_with(
        engine: Engine,
        program: &Path,
        arguments: &[&str],
        stdin: Stdio,
        patience: Duration,
    ) -> Result<(Self, Option<ChildStdin>, EngineOutput), TransportError> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| engine.error(format!("cannot be started: {error}")))?;
        let stdin = child.stdin.take();
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
            stdin,
            EngineOutput {
                pieces: pieces_out,
                current: io::Cursor::default(),
                state: output,
                patience,
            },
        ))
    }

    /// Waits for the end of an engine whose output has been read, and says how it failed to do `what`; `None` when it did
    /// not, or when its output was given up by the reader, whose reason is the better one.
    pub(super) fn failure(&mut self, what: impl Display) -> Option<TransportError> {
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
                Some(sentence) => format!("cannot {what}: {sentence}"),
                None => format!("cannot {what}, and does not say why ({})", ended(status)),
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

    /// What the engine wrote to its error output at last: its last line, or the last few, where they follow one that
    /// announces them.
    fn sentence(&self) -> Option<String> {
        let words = self.last_words.recv_timeout(LAST_WORDS_WAIT).ok()?;
        let words = String::from_utf8_lossy(&words);
        let lines: Vec<&str> = words
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let last = lines.len().checked_sub(1)?;
        // `Error: payload does not match any of the supported image formats:`, and then a line for each.
        let first = (last.saturating_sub(MOST_LINES)..last)
            .find(|at| lines[*at].starts_with("Error: ") && lines[*at].ends_with(':'))
            .unwrap_or(last);
        let told: Vec<String> = lines[first..]
            .iter()
            .map(|line| {
                let line = line.strip_prefix("Error: ").unwrap_or(line);
                presentable(line.trim_start_matches("* ").trim_end_matches('.'))
            })
            .collect();
        let mut told = told.into_iter();
        let head = told.next()?;
        let rest: Vec<String> = told.collect();
        Some(if rest.is_empty() {
            head
        } else {
            format!("{head} {}", rest.join("; "))
        })
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

/// Passes on what the engine is to read, until there is no more or it reads no more.
fn feed(mut stdin: ChildStdin, pieces: &Receiver<Vec<u8>>) {
    while let Ok(piece) = pieces.recv() {
        if stdin.write_all(&piece).is_err() {
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

impl EngineInput {
    /// Hands on what has been gathered.
    fn send(&mut self) -> io::Result<()> {
        let mut piece = std::mem::replace(&mut self.current, Vec::with_capacity(PIECE));
        let deadline = Instant::now() + self.patience;
        loop {
            match self.pieces.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(TrySendError::Full(back)) if Instant::now() < deadline => {
                    piece = back;
                    thread::sleep(INPUT_GLANCE);
                }
                Err(TrySendError::Full(_)) => {
                    self.state.store(SILENT, Ordering::Release);
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}

impl Write for EngineInput {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.current.len();
        let taken = &buffer[..buffer.len().min(room)];
        self.current.extend_from_slice(taken);
        if self.current.len() == PIECE {
            self.send()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        self.send()
    }
}
