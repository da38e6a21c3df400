//! The program as its users run it: the real binary, with nothing of this machine in its environment.

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use super::index_server::IndexServer;

/// An index with the recorded projects of `fixtures/index`, the same for all tests: its behaviour must not be changed.
pub fn recorded_index() -> &'static IndexServer {
    static INDEX: OnceLock<IndexServer> = OnceLock::new();
    INDEX.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/index");
        IndexServer::builder()
            .recorded(&folder)
            .behaviour(|behaviour| behaviour.pep658 = true)
            .start()
    })
}

/// A working folder of its own, with a home and a cache in it, and the index that the program asks.
pub struct Desk {
    folder: tempfile::TempDir,
    index_url: Option<String>,
    variables: Vec<(String, String)>,
    /// What is replaced in the output, and by what.
    scrubbed: Vec<(String, String)>,
    umask: Option<&'static str>,
}

/// What a run of the program left.
pub struct Run {
    /// The exit status.
    pub status: i32,
    /// What it wrote to stdout, byte for byte.
    pub bytes: Vec<u8>,
    /// What it wrote to stdout, scrubbed.
    pub stdout: String,
    /// What it wrote to stderr, scrubbed.
    pub stderr: String,
}

/// As a snapshot shows a run.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "status: {}", self.status)?;
        if !self.stdout.is_empty() {
            write!(f, "----- stdout\n{}", self.stdout)?;
        }
        if !self.stderr.is_empty() {
            write!(f, "----- stderr\n{}", self.stderr)?;
        }
        Ok(())
    }
}

impl Run {
    /// The JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}:\n{self}"))
    }

    /// Demands an exit status.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "\n{self}");
        self
    }

    /// Demands that stdout has this part.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "no `{part}` in\n{self}");
        self
    }

    /// Demands that stderr has this part.
    #[track_caller]
    pub fn tells(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no `{part}` in\n{self}");
        self
    }

    /// Demands one error and nothing on stdout.
    #[track_caller]
    pub fn one_error(self, status: i32) -> String {
        assert_eq!(self.status, status, "\n{self}");
        assert!(self.bytes.is_empty(), "data beside an error:\n{self}");
        let errors = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count();
        assert_eq!(errors, 1, "\n{self}");
        self.stderr
    }

    /// What a JSON answer adds: `name==version` of each.
    #[track_caller]
    pub fn pins(&self) -> Vec<String> {
        let document = self.json();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let added = document["added"].as_array().expect("a list");
        added
            .iter()
            .map(|added| format!("{}=={}", text(&added["name"]), text(&added["version"])))
            .collect()
    }
}

impl Desk {
    /// A folder, and `index` to ask.
    pub fn at(index: &IndexServer) -> Self {
        let mut desk = Self::without_index();
        desk.index_url = Some(index.index_url());
        desk.scrub(&index.origin(), "[INDEX]");
        desk
    }

    /// A folder, and the recorded index to ask.
    pub fn recorded() -> Self {
        Self::at(recorded_index())
    }

    /// A folder, and no index but the one that the arguments name.
    pub fn without_index() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("home")).expect("a home");
        let scrubbed = vec![(folder.path().display().to_string(), "[DESK]".to_owned())];
        Self {
            folder,
            index_url: None,
            variables: Vec::new(),
            scrubbed,
            umask: None,
        }
    }

    /// Replaces `text` in all output.
    pub fn scrub(&mut self, text: &str, by: &str) {
        self.scrubbed.push((text.to_owned(), by.to_owned()));
    }

    /// Sets an environment variable for all runs.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Sets the umask for all runs, such as `077`.
    pub fn set_umask(&mut self, umask: &'static str) {
        self.umask = Some(umask);
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let mut file = std::fs::File::create(path).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    }

    /// Reads a file of the folder.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }

    /// The names in the folder, the program's own home apart.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().display().to_string())
            .filter(|name| name != "home")
            .collect();
        names.sort();
        names
    }

    /// The program with these arguments, ready to start: in the folder, with no variable but those that tests set.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_imgtool");
        let mut command = match self.umask {
            None => Command::new(program),
            Some(umask) => {
                let mut shell = Command::new("/bin/sh");
                let script = format!("umask {umask}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script, program]);
                shell
            }
        };
        command
            .env_clear()
            // A name of the catalog means its snapshot, so that nothing outside is asked.
            .env("IMGTOOL_SNAPSHOT", "1")
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("home/cache"))
            .env("XDG_CONFIG_HOME", self.path("home/config"))
            .env("XDG_CONFIG_DIRS", self.path("home/config"))
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("CONTAINERS_REGISTRIES_CONF", "/dev/null")
            .env("NO_COLOR", "1")
            .env("NO_PROXY", "*")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .args(arguments.iter().map(OsString::from))
            .stdin(Stdio::null());
        // Of the verbs, `catalog list` and `catalog show` know no index.
        let asks = ["resolve", "explain", "snapshot", "lock", "build"]
            .iter()
            .any(|verb| arguments.contains(verb))
            && !arguments.contains(&"--no-index");
        if let (Some(url), true) = (&self.index_url, asks) {
            command.args(["--index-url", url]);
        }
        command
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let output = self
            .command(arguments)
            .output()
            .expect("the program starts");
        Run {
            status: output.status.code().unwrap_or(-1),
            stdout: self.scrubbed(&output.stdout),
            stderr: self.scrubbed(&output.stderr),
            bytes: output.stdout,
        }
    }

    /// Runs `imgtool build` with these arguments.
    pub fn build(&self, arguments: &[&str]) -> Run {
        self.run(&[&["build"], arguments].concat())
    }

    /// Runs `imgtool resolve` with these arguments.
    pub fn resolve(&self, arguments: &[&str]) -> Run {
        self.run(&[&["resolve"], arguments].concat())
    }

    /// Runs `imgtool resolve --format json` with these arguments.
    pub fn resolve_json(&self, arguments: &[&str]) -> Run {
        self.run(&[&["resolve", "--format", "json"], arguments].concat())
    }

    fn scrubbed(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        self.scrubbed
            .iter()
            .fold(text, |text, (from, to)| text.replace(from, to))
    }
}
