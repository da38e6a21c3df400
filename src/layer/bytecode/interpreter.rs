//! Which Python of this machine writes the byte code of an image: CPython of the same minor version, with the magic number
//! that every final release of it has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::BytecodeError;
use super::worker::Worker;

/// Magic numbers of byte code, by minor version of Python 3: those of the final releases, within which they never change.
const MAGIC_NUMBERS: [(u8, u16); 7] = [
    (8, 3413),
    (9, 3425),
    (10, 3439),
    (11, 3495),
    (12, 3531),
    (13, 3571),
    (14, 3627),
];

/// How long an interpreter may take to start: a cold disk, a machine with much to do.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take to compile one file; the largest that are known take two seconds.
const COMPILES_WITHIN: Duration = Duration::from_secs(120);

/// Where interpreters are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonPlaces {
    /// The one that was named, before all others.
    pub named: Option<PathBuf>,
    /// Folders of programs, in order.
    pub program_path: Vec<PathBuf>,
    /// Folders in which each installation has a folder that bears its version, as pyenv and uv keep them.
    pub installations: Vec<PathBuf>,
}

/// A Python of this machine that writes the byte code of an image.
#[derive(Debug, Clone)]
pub struct Compiler {
    python: PathBuf,
    /// Its full version.
    version: String,
    minor: u8,
    magic: u16,
}

impl Compiler {
    /// Finds the interpreter for an image whose Python has this full version, such as `3.10.13`.
    ///
    /// # Errors
    /// When there is none, or the one that was named is not of that version.
    pub fn find(version: &str, places: &PythonPlaces) -> Result<Self, BytecodeError> {
        let unknown = || BytecodeError::UnknownVersion(version.to_owned());
        let mut parts = version.split('.');
        let minor: u8 = match (parts.next(), parts.next()) {
            (Some("3"), Some(minor)) => minor.parse().map_err(|_| unknown())?,
            _ => return Err(unknown()),
        };
        let (_, magic) = MAGIC_NUMBERS
            .into_iter()
            .find(|(known, _)| *known == minor)
            .ok_or_else(unknown)?;
        if let Some(named) = &places.named {
            return Self::at(named, minor, magic).map_err(|reason| BytecodeError::Unsuitable {
                python: named.clone(),
                wanted: format!("3.{minor}"),
                reason,
            });
        }
        let mut passed_over = Vec::new();
        for candidate in candidates(minor, places) {
            match Self::at(&candidate, minor, magic) {
                Ok(found) => return Ok(found),
                Err(reason) => passed_over.push(format!("`{}` {reason}", candidate.display())),
            }
        }
        Err(BytecodeError::NoInterpreter {
            version: format!("3.{minor}"),
            passed_over,
        })
    }

    /// The interpreter at `path`, if it is a suitable one. The error goes on from its name.
    fn at(path: &Path, minor: u8, magic: u16) -> Result<Self, String> {
        let path = std::path::absolute(path).map_err(|error| format!("has no place: {error}"))?;
        let (_, greeting) = Worker::start(&path, STARTS_WITHIN)?;
        if greeting.implementation != "cpython" {
            return Err(format!("is {}, not CPython", greeting.implementation));
        }
        let [low, high] = magic.to_le_bytes();
        let expected = format!("{low:02x}{high:02x}0d0a");
        if greeting.cache_tag != format!("cpython-3{minor}")
            || !greeting.version.starts_with(&format!("3.{minor}."))
        {
            return Err(format!("is Python {}", greeting.version));
        }
        if greeting.magic != expected {
            return Err(format!(
                "is no final release of Python 3.{minor}: its byte code has the magic number {}, not {expected}",
                greeting.magic
            ));
        }
        Ok(Self {
            python: path,
            version: greeting.version,
            minor,
            magic,
        })
    }

    /// Full version of the interpreter, such as `3.10.12`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where the interpreter is.
    #[must_use]
    pub fn python(&self) -> &Path {
        &self.python
    }

    pub(super) fn start(&self) -> Result<Worker, String> {
        Ok(Worker::start(&self.python, COMPILES_WITHIN)?.0)
    }

    pub(super) fn minor(&self) -> u8 {
        self.minor
    }

    pub(super) fn magic(&self) -> [u8; 4] {
        let [low, high] = self.magic.to_le_bytes();
        [low, high, b'\r', b'\n']
    }
}

/// Files that may be a Python of this minor version, in the order in which they are tried.
fn candidates(minor: u8, places: &PythonPlaces) -> Vec<PathBuf> {
    let name = format!("python3.{minor}");
    let mut found: Vec<PathBuf> = places
        .program_path
        .iter()
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&name))
        .collect();
    for folder in &places.installations {
        let Ok(listed) = std::fs::read_dir(folder) else {
            continue;
        };
        let mut here: Vec<(u64, PathBuf)> = listed
            .flatten()
            .filter_map(|entry| {
                let text = entry.file_name().into_string().ok()?;
                let text = text.strip_prefix("cpython-").unwrap_or(&text);
                let rest = text.strip_prefix(&format!("3.{minor}."))?;
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                let program = entry.path().join("bin").join(&name);
                Some((digits.parse().ok()?, program))
            })
            .collect();
        // The newest first.
        here.sort_by(|(a, at), (b, bt)| b.cmp(a).then_with(|| at.cmp(bt)));
        found.extend(here.into_iter().map(|(_, path)| path));
    }
    found.retain(|path| path.is_file());
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::super::worker::Answer;
    use super::*;

    /// A program that is called `python3.10` and prints what `shell` prints.
    fn program(folder: &Path, shell: &str) -> PathBuf {
        fs::create_dir_all(folder).expect("a folder");
        let path = folder.join("python3.10");
        // A child writes it: a program that is open for writing cannot be run, and a process that another test forks in
        // this moment would keep it open.
        let mut writer = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut input = writer.stdin.take().expect("an input");
        writeln!(input, "#!/bin/sh\n{shell}").expect("a script");
        drop(input);
        assert!(writer.wait().expect("an end").success());
        path
    }

    /// Greets as the interpreter of these lines.
    fn greeting(lines: &str) -> String {
        let number = lines.replace("\\n", "n").len();
        format!("printf '\\{number:03o}\\000\\000\\000{lines}'")
    }

    const GOOD: &str = "cpython\\ncpython-310\\n3.10.4\\n6f0d0d0a";

    fn refused(shell: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let named = Some(program(folder.path(), shell));
        let places = PythonPlaces {
            named,
            ..PythonPlaces::default()
        };
        let error = Compiler::find("3.10.13", &places).expect_err("no interpreter");
        error.to_string()
    }

    #[test]
    fn only_the_same_python_is_taken() {
        let says = |lines: &str, part: &str| {
            let error = refused(&greeting(lines));
            assert!(error.contains(part), "{error}");
        };
        says("pypy\\npypy39\\n3.10.4\\n6f0d0d0a", "is pypy, not CPython");
        says(
            "cpython\\ncpython-311\\n3.11.2\\na70d0d0a",
            "is Python 3.11.2",
        );
        says(
            "cpython\\ncpython-310\\n3.10.0\\n6e0d0d0a",
            "no final release",
        );
        says("cpython\\ncpython-310\\n3.10.0", "does not greet");
        assert!(refused("exit 3").contains("ended by itself"));
        assert!(refused("printf '\\377\\377\\377\\377'").contains("an answer that is none"));
        assert!(refused("printf '\\020\\000\\000\\000abc'").contains("ended by itself"));
    }

    #[test]
    fn the_first_suitable_one_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        program(&at("shims"), "exit 127");
        program(&at("versions/3.10.4/bin"), &greeting(GOOD));
        let newest = program(&at("versions/3.10.13/bin"), &greeting(GOOD));
        program(&at("versions/3.1.0/bin"), "exit 1");
        let places = PythonPlaces {
            named: None,
            program_path: vec![at("shims"), at("absent")],
            installations: vec![at("versions")],
        };
        let found = Compiler::find("3.10.1", &places).expect("an interpreter");
        assert_eq!(found.python(), newest);
        assert_eq!(found.magic(), *b"\x6f\x0d\r\n");
        let error = Compiler::find("3.9.1", &places).expect_err("none");
        assert!(matches!(error, BytecodeError::NoInterpreter { .. }));
        for unknown in ["3.7.1", "2.7.18", "3.99.0", "3", "three"] {
            let error = Compiler::find(unknown, &places).expect_err("unknown");
            assert!(
                matches!(error, BytecodeError::UnknownVersion(_)),
                "{unknown}"
            );
        }
    }

    #[test]
    fn answers_that_are_none_or_do_not_come_end_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let ask = |then: &str| {
            let path = program(
                folder.path(),
                // The question has nineteen bytes.
                &format!("{}\nhead -c 19 > /dev/null\n{then}", greeting(GOOD)),
            );
            let (mut worker, _) = Worker::start(&path, Duration::from_secs(2)).expect("a greeting");
            worker.compile("/a.py", b"a = 1\n")
        };
        let none = Err("gives an answer that is none".to_owned());
        assert_eq!(ask("printf '\\001\\000\\000\\000x'"), none);
        assert_eq!(ask("printf '\\003\\000\\000\\000cab'"), none);
        assert_eq!(
            ask("printf '\\002\\000\\000\\000sE'"),
            Ok(Answer::NotCode("E".to_owned()))
        );
        assert_eq!(ask("exit 0"), Err("ended by itself".to_owned()));
        let late = ask("exec sleep 30").expect_err("too late");
        assert!(late.contains("did not answer within 2 s"), "{late}");
    }
}
