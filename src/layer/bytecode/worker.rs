//! A Python of this machine that compiles: one process, asked and answering over its standard input and output.
//!
//! It sees nothing of this process's environment, loads nothing from the site folders, and is given sources to compile, not
//! to run. Whoever does not answer in time is ended.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// What the interpreter runs.
const PROGRAM: &str = include_str!("compile.py");

/// Bytes of address space that an interpreter gets.
const LARGEST_MEMORY: u64 = 4 << 30;

/// Bytes of an answer: code is about as large as its source.
const LARGEST_ANSWER: u32 = 128 << 20;

/// What an interpreter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) implementation: String,
    pub(super) cache_tag: String,
    pub(super) version: String,
    /// In hexadecimal.
    pub(super) magic: String,
}

/// What became of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The hash of the source, and the code as `marshal` writes it.
    Code([u8; 8], Vec<u8>),
    /// It is no Python of this version; the name of the exception.
    NotCode(String),
}

/// An interpreter that runs.
pub(super) struct Worker {
    child: Child,
    questions: Sender<Vec<u8>>,
    answers: Receiver<io::Result<Vec<u8>>>,
    time: Duration,
}

impl Worker {
    /// Starts `python`; each of its answers is waited for as long as `time`. The error is a sentence that goes on from its
    /// name.
    pub(super) fn start(python: &Path, time: Duration) -> Result<(Self, Greeting), String> {
        let program = PROGRAM.replace("LARGEST_MEMORY", &LARGEST_MEMORY.to_string());
        let mut child = Command::new(python)
            .args(["-S", "-s", "-B", "-W", "ignore", "-c", &program])
            .env_clear()
            // No set is to have another order in the next run.
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONSAFEPATH", "1")
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot be run: {error}"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (questions, asked) = channel::<Vec<u8>>();
        let (sender, answers) = channel();
        // On a thread of its own, as neither reading nor writing has a time limit. It ends with the process.
        std::thread::spawn(move || {
            let (Some(mut stdin), Some(mut stdout)) = (stdin, stdout) else {
                return;
            };
            let greeting = receive(&mut stdout);
            if sender.send(greeting).is_err() {
                return;
            }
            for question in asked {
                let answer = stdin
                    .write_all(&question)
                    .and_then(|()| stdin.flush())
                    .and_then(|()| receive(&mut stdout));
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        let mut worker = Self {
            child,
            questions,
            answers,
            time,
        };
        let greeting = worker.answer()?;
        let greeting = greeting_of(&greeting).ok_or("does not greet as a Python does")?;
        Ok((worker, greeting))
    }

    /// Compiles the `source` of the file that will lie at `path`. The error is a sentence that goes on from the name of the
    /// interpreter.
    pub(super) fn compile(&mut self, path: &str, source: &[u8]) -> Result<Answer, String> {
        let mut question = Vec::with_capacity(8 + path.len() + source.len());
        for part in [path.as_bytes(), source] {
            let length = u32::try_from(part.len()).map_err(|_| "cannot take so large a file")?;
            question.extend_from_slice(&length.to_le_bytes());
            question.extend_from_slice(part);
        }
        self.questions
            .send(question)
            .map_err(|_| "has ended".to_owned())?;
        let mut answer = self.answer()?;
        match answer.first() {
            Some(b'c') if answer.len() > 9 => {
                let mut hash = [0; 8];
                hash.copy_from_slice(&answer[1..9]);
                Ok(Answer::Code(hash, answer.split_off(9)))
            }
            Some(b's') => Ok(Answer::NotCode(
                String::from_utf8_lossy(&answer[1..]).into_owned(),
            )),
            _ => Err("gives an answer that is none".to_owned()),
        }
    }

    fn answer(&mut self) -> Result<Vec<u8>, String> {
        match self.answers.recv_timeout(self.time) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err("gives an answer that is none".to_owned())
            }
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err("ended by itself".to_owned()),
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "did not answer within {} s",
                self.time.as_secs_f32()
            )),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn receive(stdout: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stdout.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LARGEST_ANSWER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // What is announced is not believed before it is there.
    let mut bytes = Vec::new();
    let read = stdout.take(length.into()).read_to_end(&mut bytes)?;
    if read as u64 == u64::from(length) {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn greeting_of(bytes: &[u8]) -> Option<Greeting> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.split('\n').map(str::to_owned);
    let greeting = Greeting {
        implementation: lines.next()?,
        cache_tag: lines.next()?,
        version: lines.next()?,
        magic: lines.next()?,
    };
    lines.next().is_none().then_some(greeting)
}
