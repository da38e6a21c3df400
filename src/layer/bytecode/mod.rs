//! Byte code of the new modules, so that they need not be compiled at every start of a container.
//!
//! Each `.py` of a library folder gets the `__pycache__/NAME.cpython-3X.pyc` that pip would have it get, with two
//! differences, both for the sake of equal bytes: it is tied to the hash of its source, not to a time, and is not compared
//! with it at run time (PEP 552, unchecked); and its code is in one form whatever the interpreter's memory looked like
//! ([`marshal`]).
//!
//! A Python of this machine with the image's minor version compiles. It is given sources to compile and runs none.

mod interpreter;
mod marshal;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use sha2::{Digest as _, Sha256};

use crate::environment::InstallationScheme;
use crate::image_path::ImagePath;
use crate::packaging::record::RecordHash;
use crate::rootfs::Attributes;
use crate::rootfs::limits::MAX_PATH_BYTES;

use super::contents::{FileSource, LayerFile};
use super::installed_wheel::InstalledWheel;
use super::wheel::InstallableWheel;
use super::wheel_error::WheelError;
pub use interpreter::{Compiler, PythonPlaces};
pub use marshal::MarshalError;
use worker::{Answer, Worker};

/// Bytes of a source that is compiled; generated ones have a few megabytes.
const LARGEST_SOURCE: u64 = 16 << 20;

/// The longest name of a file that file systems take, in bytes.
const LONGEST_NAME: usize = 255;

/// Says of byte code that it is tied to the hash of its source and not compared with it (PEP 552).
const UNCHECKED_HASH: u32 = 1;

/// Bytes of stack for the thread that reads code objects, which lie in one another.
const STACK: usize = 16 << 20;

/// Why there is no byte code.
#[derive(Debug, thiserror::Error)]
pub enum BytecodeError {
    /// No Python of this machine is suitable.
    #[error(
        "no Python {version} on this machine to compile with{}",
        tried(passed_over)
    )]
    NoInterpreter {
        /// Minor version of the image's Python.
        version: String,
        /// Those that were tried, each with the reason against it.
        passed_over: Vec<String>,
    },
    /// The Python that was named is not suitable.
    #[error("the image needs byte code of CPython {wanted}, but `{}` {reason}", python.display())]
    Unsuitable {
        /// The one that was named.
        python: PathBuf,
        /// Minor version of the image's Python.
        wanted: String,
        /// What is against it.
        reason: String,
    },
    /// The byte code of the image's Python is unknown.
    #[error("byte code of Python {0} is not known")]
    UnknownVersion(String),
    /// The interpreter failed.
    #[error("cannot compile `{path}`: `{}` {reason}", python.display())]
    Interpreter {
        /// The interpreter.
        python: PathBuf,
        /// The file in the image.
        path: ImagePath,
        /// What became of it.
        reason: String,
    },
    /// The interpreter answered with something else than code.
    #[error("cannot compile `{path}`: {fault}")]
    Code {
        /// The file in the image.
        path: ImagePath,
        /// What is wrong with the code.
        fault: MarshalError,
    },
    /// A source cannot be read.
    #[error(transparent)]
    Wheel(#[from] WheelError),
    /// The byte code cannot be kept.
    #[error("cannot keep byte code until it is written")]
    Spool(#[source] io::Error),
}

fn tried(passed_over: &[String]) -> String {
    if passed_over.is_empty() {
        String::new()
    } else {
        format!(" ({})", passed_over.join("; "))
    }
}

impl BytecodeError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoInterpreter { version, .. } | Self::Unsuitable { wanted: version, .. } => format!(
                "install Python {version} on this machine (`uv python install {version}`), name one with \
                 `--bytecode-python`, or leave `--compile-bytecode` out"
            ),
            Self::UnknownVersion(_) => {
                "leave `--compile-bytecode` out: the image's own Python compiles what it imports".to_owned()
            }
            Self::Interpreter { .. } | Self::Code { .. } => {
                "name another interpreter with `--bytecode-python`, or leave `--compile-bytecode` out".to_owned()
            }
            Self::Wheel(error) => return error.hint(),
            Self::Spool(_) => return None,
        })
    }
}

/// What came of compiling.
#[derive(Debug, Default)]
pub struct Compiled {
    /// How many files were compiled.
    pub files: usize,
    /// Sources that are no Python of this version, sorted: they are left as they are, as pip does it.
    pub left_out: Vec<ImagePath>,
}

/// A source to be compiled.
struct Job<'a> {
    path: ImagePath,
    wheel: &'a InstallableWheel,
    member: usize,
    sha256: [u8; 32],
}

/// Byte code that was kept.
#[derive(Clone, Copy)]
struct Kept {
    offset: u64,
    length: u64,
    sha256: [u8; 32],
}

/// Whether Python imports the file from its source.
fn is_module(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "py")
}

/// Compiles the modules of `installed`, which was made of `wheels` in the same order: adds the byte code to their files, and
/// to their RECORD, as pip names it there, without a hash. The byte code itself is appended to `spool`, where
/// [`FileSource::Compiled`] names it; so many `workers` compile at once, which does not show in the result.
///
/// # Errors
/// When a source is not what its wheel promises, the interpreter fails, or there is no room.
pub fn compile(
    compiler: &Compiler,
    installed: &mut [InstalledWheel],
    wheels: &[InstallableWheel],
    scheme: &InstallationScheme,
    spool: &mut File,
    workers: usize,
) -> Result<Compiled, BytecodeError> {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    let mut known: BTreeMap<(ImagePath, [u8; 32]), usize> = BTreeMap::new();
    let mut wanted: Vec<Vec<usize>> = Vec::new();
    for (wheel, source) in installed.iter().zip(wheels) {
        let mut of_wheel = Vec::new();
        for (path, file) in &wheel.files {
            let FileSource::Wheel { member, .. } = file.source else {
                continue;
            };
            let in_library = path.starts_with(&scheme.purelib) || path.starts_with(&scheme.platlib);
            if !in_library || !is_module(path.as_str()) || file.size > LARGEST_SOURCE {
                continue;
            }
            // Distributions that have a module in common have it compiled once.
            let job = *known.entry((path.clone(), file.sha256)).or_insert_with(|| {
                jobs.push(Job {
                    path: path.clone(),
                    wheel: source,
                    member,
                    sha256: file.sha256,
                });
                jobs.len() - 1
            });
            of_wheel.push(job);
        }
        wanted.push(of_wheel);
    }
    let kept = all(compiler, &jobs, spool, workers)?;
    let mut result = Compiled::default();
    let mut left_out = BTreeSet::new();
    for ((wheel, source), of_wheel) in installed.iter_mut().zip(wheels).zip(wanted) {
        let mut unhashed = BTreeSet::new();
        for job in of_wheel {
            let path = &jobs[job].path;
            let (Some(kept), Some(place)) = (kept[job], cached(path, compiler.minor())) else {
                left_out.insert(path.clone());
                continue;
            };
            let attributes = wheel.files[path].attributes;
            let file = LayerFile {
                attributes: Attributes {
                    mode: attributes.mode & 0o666,
                    ..attributes
                },
                size: kept.length,
                sha256: kept.sha256,
                source: FileSource::Compiled {
                    offset: kept.offset,
                    length: kept.length,
                },
            };
            wheel.files.insert(place.clone(), file);
            unhashed.insert(place);
        }
        result.files += unhashed.len();
        wheel.write_record(source, scheme, &unhashed);
    }
    result.left_out = left_out.into_iter().collect();
    Ok(result)
}

/// The place of the byte code of the module at `path`; `None` where no file system would take it.
fn cached(path: &ImagePath, minor: u8) -> Option<ImagePath> {
    let stem = path.file_name().strip_suffix(".py")?;
    let name = format!("{stem}.cpython-3{minor}.pyc");
    let place = path.parent()?.join("__pycache__").join(&name);
    let fits = name.len() <= LONGEST_NAME && place.as_str().len() <= MAX_PATH_BYTES;
    fits.then_some(place)
}

/// Compiles all of `jobs`; `None` of those that are no Python.
fn all(
    compiler: &Compiler,
    jobs: &[Job<'_>],
    spool: &mut File,
    workers: usize,
) -> Result<Vec<Option<Kept>>, BytecodeError> {
    let mut kept: Vec<Option<Kept>> = vec![None; jobs.len()];
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let workers = workers.clamp(1, jobs.len().max(1));
    // Few are under way at once: they are what takes memory.
    let (sender, receiver) = sync_channel(workers);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            let work = move || {
                let mut worker = None;
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { break };
                    let made = one(compiler, &mut worker, job);
                    if sender.send((at, made)).is_err() {
                        break;
                    }
                }
            };
            std::thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, work)
                .map_err(BytecodeError::Spool)?;
        }
        drop(sender);
        let mut offset = 0;
        let mut failed: Option<(usize, BytecodeError)> = None;
        for (at, made) in &receiver {
            let written = made.and_then(|made| match made {
                Some(bytes) => {
                    spool.write_all(&bytes).map_err(BytecodeError::Spool)?;
                    let length = bytes.len() as u64;
                    kept[at] = Some(Kept {
                        offset,
                        length,
                        sha256: Sha256::digest(&bytes).into(),
                    });
                    offset += length;
                    Ok(())
                }
                None => Ok(()),
            });
            if let Err(error) = written {
                stop.store(true, Ordering::Relaxed);
                // That of the first file, as far as that can be told.
                if failed.as_ref().is_none_or(|(first, _)| at < *first) {
                    failed = Some((at, error));
                }
            }
        }
        match failed {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    })?;
    Ok(kept)
}

fn one(
    compiler: &Compiler,
    worker: &mut Option<Worker>,
    job: &Job<'_>,
) -> Result<Option<Vec<u8>>, BytecodeError> {
    let failed = |reason| BytecodeError::Interpreter {
        python: compiler.python().to_owned(),
        path: job.path.clone(),
        reason,
    };
    let expected = RecordHash::Sha256(job.sha256);
    let source = job
        .wheel
        .read_whole(job.member, Some(expected), LARGEST_SOURCE)?;
    let worker = match worker {
        Some(worker) => worker,
        None => worker.insert(compiler.start().map_err(failed)?),
    };
    let answer = worker.compile(job.path.as_str(), &source).map_err(failed)?;
    let Answer::Code(hash, code) = answer else {
        return Ok(None);
    };
    let code =
        marshal::canonical(&code, compiler.minor()).map_err(|fault| BytecodeError::Code {
            path: job.path.clone(),
            fault,
        })?;
    let mut bytes = Vec::with_capacity(16 + code.len());
    bytes.extend_from_slice(&compiler.magic());
    bytes.extend_from_slice(&UNCHECKED_HASH.to_le_bytes());
    bytes.extend_from_slice(&hash);
    bytes.extend_from_slice(&code);
    Ok(Some(bytes))
}
