//! What the pip of a root is told without being asked: the constraints that bind every installation in it, and which
//! indexes it names.
//!
//! Where they are: <https://pip.pypa.io/en/stable/topics/configuration/> (`PIP_CONSTRAINT`, `PIP_CONFIG_FILE`, `pip.conf`),
//! and `UV_CONSTRAINT` of uv. Read, never followed anywhere: addresses are not asked for.

use std::collections::{BTreeMap, BTreeSet};

use configparser::ini::Ini;

use super::MAX_NAMED;
use super::notes::{Notes, shortened};
use crate::image_path::ImagePath;
use crate::packaging::Requirement;
use crate::packaging::requirements_file::{self, Line};
use crate::rootfs::{RootFs, resolve};

/// Largest file that is read, in bytes: constraints of an image that pins everything have some 100 kB.
const MAX_FILE: u64 = 1 << 20;
/// Files of constraints that are read: images have one.
const MAX_FILES: usize = 64;
/// Constraints that are kept.
const MAX_CONSTRAINTS: usize = 10_000;

/// Where to look.
#[derive(Clone, Copy)]
pub struct PipPlaces<'a> {
    /// Environment variables of the image's config, by name.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The home of the user that the image runs as.
    pub home: Option<&'a str>,
    /// `sys.prefix` of the interpreter: its `pip.conf` is that of the environment.
    pub prefix: &'a str,
    /// The folder that relative paths lie in.
    pub working_directory: &'a str,
    /// Whether what lies outside of the prefix is of the base too; of a folder that is a prefix it is the machine's.
    pub whole_root: bool,
}

/// A constraint that a root puts on what is installed in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundConstraint {
    /// The constraint, its marker not evaluated.
    pub requirement: Requirement,
    /// The file, as it is named in the root.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
}

/// What the pip of a root is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PipSettings {
    /// Constraints, in the order in which they are read.
    pub constraints: Vec<FoundConstraint>,
    /// Hosts of the indexes that are named, by who names them: a file or a variable.
    pub indexes: BTreeMap<String, BTreeSet<String>>,
    /// What is named and could not be read. One sentence each.
    pub notes: Vec<String>,
}

/// The variables that name files of constraints.
const CONSTRAINT_VARIABLES: [&str; 2] = ["PIP_CONSTRAINT", "UV_CONSTRAINT"];
/// The variables that name indexes.
const INDEX_VARIABLES: [&str; 6] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
];

/// The files that the variables of an image name, as far as the text tells, without a leading slash: what a layer is to
/// keep of them although nothing in their names says so.
#[must_use]
pub fn files_named_by_variables(
    variable: &dyn Fn(&str) -> Option<String>,
    working_directory: &str,
) -> BTreeSet<String> {
    let folder = ImagePath::new(working_directory);
    CONSTRAINT_VARIABLES
        .into_iter()
        .chain(["PIP_CONFIG_FILE"])
        .filter_map(variable)
        .flat_map(|value| {
            let paths: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
            paths
        })
        .filter_map(|path| path_in_root(&folder, &path))
        .map(|path| path.as_str().trim_start_matches('/').to_owned())
        .collect()
}

/// Reads what the pip of `root` is told.
#[must_use]
pub fn read_pip_settings(root: &dyn RootFs, places: PipPlaces<'_>) -> PipSettings {
    let mut reader = Reader {
        root,
        found: PipSettings::default(),
        notes: Notes::default(),
        read: BTreeSet::new(),
    };
    let folder = ImagePath::new(places.working_directory);
    let config = reader.read_configuration(places);
    let (by, value) = match (places.variable)("PIP_CONSTRAINT") {
        Some(value) => ("PIP_CONSTRAINT".to_owned(), value),
        None => config.constraint.unwrap_or_default(),
    };
    for path in value.split_whitespace() {
        reader.read_named(&by, &folder, path);
    }
    if let Some(value) = (places.variable)("UV_CONSTRAINT") {
        for path in value.split_whitespace() {
            reader.read_named("UV_CONSTRAINT", &folder, path);
        }
    }
    for name in INDEX_VARIABLES {
        if let Some(value) = (places.variable)(name) {
            reader.note_indexes(name, &value);
        }
    }
    PipSettings {
        notes: reader.notes.into_list(),
        ..reader.found
    }
}

/// The path that a text means in a root; `None` for an address of elsewhere.
fn path_in_root(folder: &ImagePath, text: &str) -> Option<ImagePath> {
    let text = text.strip_prefix("file://").unwrap_or(text);
    if text.contains("://") || text.is_empty() {
        return None;
    }
    Some(if text.starts_with('/') {
        ImagePath::new(text)
    } else {
        folder.join(text)
    })
}

/// A value of the configuration that counts, and the file that has it.
type Named = (String, String);

/// What the files of the configuration say together.
#[derive(Default)]
struct Configuration {
    constraint: Option<Named>,
}

struct Reader<'a> {
    root: &'a dyn RootFs,
    found: PipSettings,
    notes: Notes,
    /// Files of constraints that have been read.
    read: BTreeSet<ImagePath>,
}

impl Reader<'_> {
    /// Reads the files of pip's configuration, in order of rising precedence.
    fn read_configuration(&mut self, places: PipPlaces<'_>) -> Configuration {
        let named = (places.variable)("PIP_CONFIG_FILE");
        if named.as_deref() == Some("/dev/null") {
            return Configuration::default();
        }
        let own = named
            .as_deref()
            .and_then(|path| path_in_root(&ImagePath::new(places.working_directory), path));
        let has_own = own.as_ref().is_some_and(
            |path| matches!(resolve::resolve(self.root, path), Ok(Some(found)) if found.is_file()),
        );
        let mut files = Vec::new();
        if places.whole_root {
            let shared = (places.variable)("XDG_CONFIG_DIRS");
            for folder in shared.as_deref().unwrap_or("/etc/xdg").split(':') {
                files.push(ImagePath::new(folder).join("pip/pip.conf"));
            }
            files.push(ImagePath::new("/etc/pip.conf"));
            // pip takes the file of the variable in their place.
            if !has_own {
                let home = places.home.map(ImagePath::new);
                files.extend(home.as_ref().map(|home| home.join(".pip/pip.conf")));
                let config = (places.variable)("XDG_CONFIG_HOME")
                    .map(|folder| ImagePath::new(&folder))
                    .or_else(|| home.map(|home| home.join(".config")));
                files.extend(config.map(|folder| folder.join("pip/pip.conf")));
            }
        }
        files.push(ImagePath::new(places.prefix).join("pip.conf"));
        files.extend(own.filter(|_| has_own));

        // A section of the command counts more than `[global]`, in whatever file.
        let mut global = None;
        let mut install = None;
        for file in files {
            let Some(text) = self.read_text(&file) else {
                continue;
            };
            let mut ini = Ini::new();
            ini.set_multiline(true);
            ini.set_inline_comment_symbols(Some(&[]));
            if let Err(reason) = ini.read(text) {
                self.notes.push(format!(
                    "`{file}` is no configuration of pip and is passed over: {}",
                    shortened(&reason)
                ));
                continue;
            }
            for section in ["global", "install"] {
                let value = |key: &str| {
                    ini.get(section, key)
                        .or_else(|| ini.get(section, &key.replace('-', "_")))
                };
                if let Some(constraint) = value("constraint") {
                    let slot = match section {
                        "global" => &mut global,
                        _ => &mut install,
                    };
                    *slot = Some((file.to_string(), constraint));
                }
                for key in ["index-url", "extra-index-url"] {
                    if let Some(urls) = value(key) {
                        self.note_indexes(file.as_str(), &urls);
                    }
                }
            }
        }
        Configuration {
            constraint: install.or(global),
        }
    }

    /// Remembers the hosts of the addresses in `urls`: an address may carry a password.
    fn note_indexes(&mut self, by: &str, urls: &str) {
        let hosts = urls.split_whitespace().filter_map(host_of);
        self.found
            .indexes
            .entry(by.to_owned())
            .or_default()
            .extend(hosts);
    }

    /// The text of the file at `path`; `None` where there is none, and, with a note, where it cannot be read.
    fn read_text(&mut self, path: &ImagePath) -> Option<String> {
        match resolve::read_file(self.root, path, MAX_FILE) {
            Ok(bytes) => bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => {
                self.notes
                    .push(format!("`{path}` is not heeded: {}", error.with_cause()));
                None
            }
        }
    }

    /// Reads the file of constraints that `by` names as `text`.
    fn read_named(&mut self, by: &str, folder: &ImagePath, text: &str) {
        let Some(path) = path_in_root(folder, text) else {
            // An address may carry a password.
            let what = host_of(text).unwrap_or_else(|| "elsewhere".to_owned());
            self.notes.push(format!(
                "{by} names constraints at {what}, which are not fetched and not heeded"
            ));
            return;
        };
        let mut waiting = vec![path];
        while let Some(path) = waiting.pop() {
            if self.read.contains(&path) {
                continue;
            }
            if self.read.len() >= MAX_FILES {
                self.notes.push(format!(
                    "{by} leads to more files of constraints than are read, which are {MAX_FILES}"
                ));
                return;
            }
            let is_there = matches!(
                resolve::resolve(self.root, &path),
                Ok(Some(found)) if found.is_file()
            );
            if !is_there {
                self.notes.push(format!(
                    "{by} leads to `{}`, which does not exist: a pip there would refuse to install anything",
                    shortened(path.as_str())
                ));
            }
            let included = self.read_constraints(&path);
            self.read.insert(path);
            waiting.extend(included.into_iter().rev());
        }
    }

    /// Reads one file, and tells the files that it includes.
    fn read_constraints(&mut self, path: &ImagePath) -> Vec<ImagePath> {
        let mut included = Vec::new();
        let Some(text) = self.read_text(path) else {
            return included;
        };
        let folder = path.parent().unwrap_or_else(ImagePath::root);
        let mut direct = Vec::new();
        let mut unusable = 0;
        for (number, line) in requirements_file::parse_each(&text) {
            match line {
                Ok(Line::Requirement { requirement, .. }) if requirement.url.is_some() => {
                    direct.push(requirement.name.to_string());
                }
                Ok(Line::Requirement {
                    mut requirement, ..
                }) => {
                    if self.found.constraints.len() >= MAX_CONSTRAINTS {
                        self.notes.push(format!(
                            "`{path}` has more constraints than are kept, which are {MAX_CONSTRAINTS}"
                        ));
                        return included;
                    }
                    // A constraint bounds versions and asks for nothing.
                    requirement.extras.clear();
                    self.found.constraints.push(FoundConstraint {
                        requirement,
                        path: path.to_string(),
                        line: number,
                    });
                }
                Ok(Line::Include(name) | Line::Constraints(name)) => {
                    included.extend(path_in_root(&folder, &name));
                }
                Ok(Line::IndexUrl(url) | Line::ExtraIndexUrl(url)) => {
                    self.note_indexes(path.as_str(), &url);
                }
                // Where files are found is not what an image decides, as with indexes.
                Ok(Line::FindLinks(_) | Line::NoIndex | Line::Ignored(_)) => {}
                Err(error) => {
                    unusable += 1;
                    if unusable <= MAX_NAMED {
                        self.notes.push(format!(
                            "`{path}` line {number} is not heeded: {}",
                            shortened(&error.to_string())
                        ));
                    }
                }
            }
        }
        if unusable > MAX_NAMED {
            self.notes.push(format!(
                "`{path}` has {} more lines that are not heeded",
                unusable - MAX_NAMED
            ));
        }
        if !direct.is_empty() {
            let shown = direct[..direct.len().min(MAX_NAMED)].join(", ");
            let more = match direct.len().saturating_sub(MAX_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            self.notes.push(format!(
                "`{path}` binds {shown}{more} to files or addresses, which is not heeded"
            ));
        }
        included
    }
}

/// The host of an address, without user and password; uv may write a name before it.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then(|| shortened(host))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Root;
    use super::*;

    /// What is found with these variables, as text.
    fn read(
        root: &Root,
        variables: &[(&str, &str)],
        whole_root: bool,
    ) -> (Vec<String>, PipSettings) {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let places = PipPlaces {
            variable: &variable,
            home: Some("/home/app"),
            prefix: "/opt/conda",
            working_directory: "/srv",
            whole_root,
        };
        let found = read_pip_settings(&root.view(), places);
        let told = found
            .constraints
            .iter()
            .map(|found| format!("{}:{} {}", found.path, found.line, found.requirement))
            .collect();
        (told, found)
    }

    #[test]
    fn variables_name_files_that_include_files() {
        let root = Root::new();
        root.write("/etc/pip.conf", b"[global]\nconstraint = /never.txt\n");
        root.write("/never.txt", b"never==1\n");
        root.write(
            "/srv/a.txt",
            b"six==1.0  # why\n-c more/b.txt\n./a\nfast[extra]<2; os_name == 'posix'\n",
        );
        root.write(
            "/srv/more/b.txt",
            b"-r ../a.txt\ntorch @ https://user:secret@h/t\nb<3\n",
        );
        root.write("/opt/uv.txt", b"uv<1\n");
        root.write("/srv/many.txt", b"./b\n./c\n./d\n./e\n./f\n");
        let variables = [
            (
                "PIP_CONSTRAINT",
                "a.txt many.txt /gone.txt https://user:secret@c.invalid/x",
            ),
            ("UV_CONSTRAINT", "file:///opt/uv.txt"),
        ];
        let (told, found) = read(&root, &variables, true);
        assert_eq!(
            told,
            [
                "/srv/a.txt:1 six==1.0",
                "/srv/a.txt:4 fast<2 ; os_name == 'posix'",
                "/srv/more/b.txt:3 b<3",
                "/opt/uv.txt:1 uv<1",
            ]
        );
        assert_eq!(
            found.notes,
            [
                "`/srv/a.txt` line 3 is not heeded: `./a` is a path or an address, not a version on an index",
                "`/srv/more/b.txt` binds torch to files or addresses, which is not heeded",
                "`/srv/many.txt` line 1 is not heeded: `./b` is a path or an address, not a version on an index",
                "`/srv/many.txt` line 2 is not heeded: `./c` is a path or an address, not a version on an index",
                "`/srv/many.txt` line 3 is not heeded: `./d` is a path or an address, not a version on an index",
                "`/srv/many.txt` has 2 more lines that are not heeded",
                "PIP_CONSTRAINT leads to `/gone.txt`, which does not exist: a pip there would refuse to install anything",
                "PIP_CONSTRAINT names constraints at c.invalid, which are not fetched and not heeded",
            ]
        );
    }

    #[test]
    fn files_of_the_configuration_override_each_other_as_pip_has_it() {
        let root = Root::new();
        for name in ["global", "install", "user", "site", "own"] {
            root.write(&format!("/c/{name}"), format!("{name}==1\n").as_bytes());
        }
        let config = |path: &str, text: &str| root.write(path, text.as_bytes());
        let names =
            |variables: &[(&str, &str)], whole| -> Vec<String> { read(&root, variables, whole).0 };
        config(
            "/etc/pip.conf",
            "[global]\nconstraint =\n    /c/global\n    /c/user\nindex-url = https://u:secret@index.invalid/simple\n",
        );
        assert_eq!(
            names(&[], true),
            ["/c/global:1 global==1", "/c/user:1 user==1"]
        );
        config(
            "/home/app/.config/pip/pip.conf",
            "[global]\nconstraint=/c/user\n",
        );
        assert_eq!(names(&[], true), ["/c/user:1 user==1"]);
        config(
            "/etc/xdg/pip/pip.conf",
            "[install]\nconstraint=/c/install\n",
        );
        assert_eq!(names(&[], true), ["/c/install:1 install==1"]);
        config("/opt/conda/pip.conf", "[install]\nconstraint=/c/site\n");
        assert_eq!(names(&[], true), ["/c/site:1 site==1"]);
        config("/srv/own.conf", "[install]\nconstraint=/c/own\n");
        let own = [("PIP_CONFIG_FILE", "own.conf")];
        assert_eq!(names(&own, true), ["/c/own:1 own==1"]);
        assert_eq!(names(&[("PIP_CONFIG_FILE", "/dev/null")], true), [""; 0]);
        // Around a prefix lies the machine.
        assert_eq!(names(&[], false), ["/c/site:1 site==1"]);

        let indexes = read(
            &root,
            &[("UV_INDEX", "x=https://t:secret@uv.invalid/")],
            true,
        )
        .1
        .indexes;
        assert_eq!(
            format!("{indexes:?}"),
            r#"{"/etc/pip.conf": {"index.invalid"}, "UV_INDEX": {"uv.invalid"}}"#
        );
    }

    #[test]
    fn what_variables_name_is_told_before_the_layers_are_read() {
        let variable = |name: &str| match name {
            "PIP_CONSTRAINT" => Some("a.txt /etc//b.txt https://c.invalid/d".to_owned()),
            "PIP_CONFIG_FILE" => Some("/opt/own.conf".to_owned()),
            _ => None,
        };
        assert_eq!(
            files_named_by_variables(&variable, "/srv"),
            ["etc/b.txt", "opt/own.conf", "srv/a.txt"]
                .map(str::to_owned)
                .into()
        );
    }
}
