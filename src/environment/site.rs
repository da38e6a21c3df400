//! The folders in which Python looks for installed distributions, in the order of `sys.path`.
//!
//! Follows CPython's `Lib/site.py` and Debian's changes to it. Without running anything: lines of a `.pth` file that
//! begin with `import` are code and are passed over, with a note where they may change `sys.path`.
//!
//! The user's own folder (`~/.local`, PEP 370) counts where the home of who will run Python is known, as it does for
//! `site`: after a virtual environment's own folders and before those of the installation, and not at all in a virtual
//! environment that does not see its installation's distributions. `PYTHONNOUSERSITE`
//! of the config turns it off; `python -s` is not known here.

use super::Search;
use super::candidates::{Candidate, Installation, MinorVersion, Venv};
use super::notes::{Notes, shortened};
use crate::image_path::ImagePath;
use crate::rootfs::{EntryKind, ListedEntry, RootFs, RootFsError, resolve};

/// Largest `.pth` file that is read, in bytes: real ones have a few lines.
const MAX_PTH: u64 = 1 << 20;

/// Folders of `sys.path` that are looked at: `.pth` files of real images add some dozens.
const MAX_DIRECTORIES: usize = 1_000;

/// Lines of all `.pth` files of one environment that are followed.
const MAX_PTH_LINES: usize = 10_000;

/// A folder of `sys.path` that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SiteDirectory {
    /// Its real path.
    pub path: ImagePath,
    /// What lies in it.
    pub entries: Vec<ListedEntry>,
}

/// Beginnings of the names of `.pth` files whose code is known not to add folders for distributions: setuptools, the
/// import hook of virtualenv, finders of editable installs, which add single import names.
const KNOWN_CODE: [&str; 4] = [
    "distutils-precedence.",
    "_virtualenv.",
    "__editable__",
    "_distutils_hack",
];

/// The folders of `candidate`, each real folder once; those of `PYTHONPATH` lead, as they do before the standard library.
///
/// # Errors
/// When a folder of the interpreter's own exists and cannot be read: what is installed is then not known, and an answer
/// that takes it for empty would be wrong.
pub(super) fn find_site_directories(
    root: &dyn RootFs,
    candidate: &Candidate,
    config: Search<'_>,
    notes: &mut Notes,
) -> Result<Vec<SiteDirectory>, RootFsError> {
    let mut search = SearchPath {
        root,
        home: config.home.filter(|home| home.starts_with('/')),
        no_user_site: config.no_user_site,
        directories: Vec::new(),
        pth_lines: 0,
        moved_ahead: 0,
        unreadable: None,
        noted_unlooked: false,
        notes,
    };
    for folder in config
        .python_path
        .into_iter()
        .flat_map(|path| path.split(':'))
    {
        // A relative folder, and the empty one, lies in the folder that Python is started in.
        let folder = if folder.starts_with('/') {
            ImagePath::new(folder)
        } else {
            ImagePath::new(config.working_directory.unwrap_or("/")).join(folder)
        };
        search.add_or_note(&folder, None);
    }
    search.moved_ahead = search.directories.len();
    match candidate {
        Candidate::Installation(installation) => search.add_installation(installation),
        Candidate::Venv(venv) => {
            for folder in venv_sites(venv) {
                search.add_site(&folder);
            }
            match &venv.base {
                Some(base) if venv.config.system_site_packages => search.add_installation(base),
                None if venv.config.system_site_packages => search.notes.push(format!(
                    "the virtual environment `{}` includes the site-packages of its base, which is missing",
                    venv.prefix
                )),
                _ => {}
            }
        }
    }
    search.note_customization(candidate.base());
    match search.unreadable {
        Some(error) => Err(error),
        None => Ok(search.directories),
    }
}

/// The folders of an environment's own that its Python searches for distributions, there or not: none of a user, of
/// `PYTHONPATH` or of a `.pth` file.
pub(super) fn own_sites(root: &dyn RootFs, candidate: &Candidate) -> Vec<ImagePath> {
    match candidate {
        Candidate::Installation(installation) => installation_sites(root, installation),
        Candidate::Venv(venv) => venv_sites(venv).to_vec(),
    }
}

fn venv_sites(venv: &Venv) -> [ImagePath; 2] {
    let site = format!("python{}/site-packages", venv.minor);
    ["lib64", "lib"].map(|library| venv.prefix.join(library).join(&site))
}

fn installation_sites(root: &dyn RootFs, installation: &Installation) -> Vec<ImagePath> {
    let prefix = &installation.prefix;
    let minor = installation.minor;
    if is_of_debian(root, installation) {
        return vec![
            ImagePath::new("/usr/local/lib").join(&format!("python{minor}/dist-packages")),
            ImagePath::new("/usr/lib/python3/dist-packages"),
            prefix.join(&format!("lib/python{minor}/dist-packages")),
        ];
    }
    let site = format!("python{minor}/site-packages");
    let libraries: &[&str] = if installation.library_folder == "lib64" {
        &["lib64", "lib"]
    } else {
        &["lib"]
    };
    let mut sites = Vec::new();
    if is_of_fedora(installation) {
        for library in libraries {
            sites.push(ImagePath::new("/usr/local").join(library).join(&site));
        }
    }
    for library in libraries {
        sites.push(prefix.join(library).join(&site));
    }
    sites
}

/// Whether an installation is the system's own on Debian or one of its relatives.
pub(super) fn is_of_debian(root: &dyn RootFs, installation: &Installation) -> bool {
    let is_there = |path| matches!(resolve::resolve(root, &ImagePath::new(path)), Ok(Some(_)));
    installation.prefix.as_str() == "/usr"
        && ["/usr/lib/python3/dist-packages", "/etc/debian_version"]
            .into_iter()
            .any(is_there)
}

/// Whether an installation is the system's own on Fedora or one of its relatives: they are the ones with lib64, and put
/// what pip installs below `/usr/local`.
pub(super) fn is_of_fedora(installation: &Installation) -> bool {
    installation.prefix.as_str() == "/usr" && installation.library_folder == "lib64"
}

struct SearchPath<'a> {
    root: &'a dyn RootFs,
    home: Option<&'a str>,
    no_user_site: bool,
    directories: Vec<SiteDirectory>,
    /// How many lines of `.pth` files have been followed.
    pth_lines: usize,
    /// How many folders come before the standard library: those of `PYTHONPATH`, and those that `easy-install.pth` has
    /// moved ahead (`sys.__egginsert`).
    moved_ahead: usize,
    /// What kept the first folder of the interpreter's own that could not be read from being read.
    unreadable: Option<RootFsError>,
    /// Whether it has been told that not every folder is looked at.
    noted_unlooked: bool,
    notes: &'a mut Notes,
}

impl SearchPath<'_> {
    fn add_installation(&mut self, installation: &Installation) {
        self.add_user_site(installation.minor);
        for folder in installation_sites(self.root, installation) {
            self.add_site(&folder);
        }
    }

    /// What `pip install --user` installed counts for the user who did it alone: where nothing says who will run Python,
    /// it is told and not read.
    fn add_user_site(&mut self, minor: MinorVersion) {
        if self.no_user_site {
            return;
        }
        let site = format!(".local/lib/python{minor}/site-packages");
        if let Some(home) = self.home {
            self.add_site(&ImagePath::new(home).join(&site));
            return;
        }
        let site = ImagePath::new(super::places::HOME).join(&site);
        if let Ok(Some((_, entries))) = resolve::list_directory(self.root, &site)
            && !entries.is_empty()
        {
            self.notes.push(format!(
                "`{site}` is not read: what lies in it is installed for the user root alone"
            ));
        }
    }

    /// `site` ends with importing `sitecustomize` and `usercustomize`, wherever on `sys.path` they lie.
    fn note_customization(&mut self, base: Option<&Installation>) {
        let standard_library = base.and_then(|base| base.standard_library.clone());
        let (ahead, behind) = self.directories.split_at(self.moved_ahead);
        let paths = |directories: &[SiteDirectory]| -> Vec<ImagePath> {
            directories
                .iter()
                .map(|directory| directory.path.clone())
                .collect()
        };
        let folders: Vec<ImagePath> = paths(ahead)
            .into_iter()
            .chain(standard_library)
            .chain(paths(behind))
            .collect();
        for name in ["sitecustomize.py", "usercustomize.py"] {
            let found = folders.iter().find_map(|folder| {
                let bytes = resolve::read_file_in(self.root, folder, name, MAX_PTH).ok()??;
                Some((folder, bytes))
            });
            if let Some((folder, bytes)) = found
                && changes_path(&String::from_utf8_lossy(&bytes))
            {
                self.note_code(&folder.join(name));
            }
        }
    }

    fn note_unlooked(&mut self) {
        if !std::mem::replace(&mut self.noted_unlooked, true) {
            self.notes.push(format!(
                "only the first {MAX_DIRECTORIES} folders of sys.path are looked at"
            ));
        }
    }

    fn note_code(&mut self, file: &ImagePath) {
        self.notes.push(format!(
            "`{file}` runs code that may change sys.path, which is not known without running it"
        ));
    }

    /// Adds a folder whose `.pth` files count, and what they add.
    fn add_site(&mut self, folder: &ImagePath) {
        let added = match self.add(folder, None) {
            Ok(Some(added)) => added,
            Ok(None) => return,
            Err(error @ RootFsError::Io { .. }) => {
                self.unreadable.get_or_insert(error);
                return;
            }
            Err(error) => return self.note_unread(folder, &error),
        };
        let site = self.directories[added].path.clone();
        let names: Vec<String> = self.directories[added]
            .entries
            .iter()
            .filter(|entry| entry.kind != EntryKind::Directory)
            .map(|entry| entry.name.clone())
            .filter(|name| name.strip_suffix(".pth").is_some() && !name.starts_with('.'))
            .collect();
        for name in names {
            self.read_pth(&site, &name);
        }
    }

    fn read_pth(&mut self, site: &ImagePath, name: &str) {
        let bytes = match resolve::read_file_in(self.root, site, name, MAX_PTH) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(error) => {
                self.notes.push(format!(
                    "`{}` is passed over: {}",
                    site.join(name),
                    error.with_cause()
                ));
                return;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        // easy_install wrote code around its lines that moves them to the front of sys.path.
        let moves_ahead = text.contains("sys.__egginsert");
        let is_known = moves_ahead || KNOWN_CODE.iter().any(|known| name.starts_with(known));
        let mut runs_code = false;
        for line in text.trim_start_matches('\u{feff}').lines() {
            let line = line.trim_end();
            let code = ["import ", "import\t", "#"]
                .iter()
                .any(|start| line.starts_with(start));
            if line.trim().is_empty() || code {
                runs_code |= !line.starts_with('#') && changes_path(line);
                continue;
            }
            self.pth_lines += 1;
            if self.pth_lines > MAX_PTH_LINES {
                if self.pth_lines == MAX_PTH_LINES + 1 {
                    self.notes.push(format!(
                        "only the first {MAX_PTH_LINES} lines of .pth files are followed"
                    ));
                }
                break;
            }
            let found = resolve::resolve_from(self.root, site, line);
            let Ok(Some(found)) = found else {
                self.notes.push(format!(
                    "`{}` adds `{}` to sys.path, which does not exist",
                    site.join(name),
                    shortened(line)
                ));
                continue;
            };
            if !found.is_directory() {
                if found.path.file_name().strip_suffix(".egg").is_some() {
                    self.notes
                        .push(format!("`{}` is a zipped egg and is not read", found.path));
                }
                continue;
            }
            let at = moves_ahead.then_some(self.moved_ahead);
            if self.add_or_note(&found.path, at).is_some() && moves_ahead {
                self.moved_ahead += 1;
            }
        }
        if runs_code && !is_known {
            self.note_code(&site.join(name));
        }
    }

    /// As [`SearchPath::add`]; a folder that cannot be read becomes a note.
    fn add_or_note(&mut self, folder: &ImagePath, at: Option<usize>) -> Option<usize> {
        self.add(folder, at).unwrap_or_else(|error| {
            self.note_unread(folder, &error);
            None
        })
    }

    fn note_unread(&mut self, folder: &ImagePath, error: &RootFsError) {
        self.notes
            .push(format!("`{folder}` is passed over: {}", error.with_cause()));
    }

    /// Adds one folder at `at`, or last; says where it lies, or `None` when it does not exist or is there already.
    fn add(&mut self, folder: &ImagePath, at: Option<usize>) -> Result<Option<usize>, RootFsError> {
        let Some((path, entries)) = resolve::list_directory(self.root, folder)? else {
            return Ok(None);
        };
        if self.directories.iter().any(|known| known.path == path) {
            return Ok(None);
        }
        if self.directories.len() >= MAX_DIRECTORIES {
            self.note_unlooked();
            return Ok(None);
        }
        let at = at.unwrap_or(self.directories.len());
        self.directories.insert(at, SiteDirectory { path, entries });
        Ok(Some(at))
    }
}

/// Whether code has the words by which it would change `sys.path`.
fn changes_path(code: &str) -> bool {
    ["sys.path", "addsitedir"]
        .iter()
        .any(|way| code.contains(way))
}

#[cfg(test)]
mod tests {
    use super::super::discovery::find_in_prefix;
    use super::*;
    use crate::rootfs::{Attributes, DirectoryRoot, Entry, ExecutableFacts, FileFacts};

    /// A root of which one folder may not be read, as for a user without the right to.
    struct Forbidding(DirectoryRoot, &'static str);

    impl RootFs for Forbidding {
        fn entry(&self, path: &ImagePath) -> Result<Option<Entry>, RootFsError> {
            self.0.entry(path)
        }

        fn read(&self, path: &ImagePath, limit: u64) -> Result<Vec<u8>, RootFsError> {
            self.0.read(path, limit)
        }

        fn read_range(
            &self,
            path: &ImagePath,
            offset: u64,
            length: usize,
        ) -> Result<Vec<u8>, RootFsError> {
            self.0.read_range(path, offset, length)
        }

        fn file_facts(&self, path: &ImagePath) -> Result<Option<FileFacts>, RootFsError> {
            self.0.file_facts(path)
        }

        fn executable_facts(&self, path: &ImagePath) -> Result<ExecutableFacts, RootFsError> {
            self.0.executable_facts(path)
        }

        fn attributes(&self, path: &ImagePath) -> Result<Option<Attributes>, RootFsError> {
            self.0.attributes(path)
        }

        fn list(&self, path: &ImagePath) -> Result<Vec<ListedEntry>, RootFsError> {
            if path.as_str() == self.1 {
                return Err(RootFsError::Io {
                    path: path.clone(),
                    source: std::io::ErrorKind::PermissionDenied.into(),
                });
            }
            self.0.list(path)
        }
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_not_an_empty_one() {
        const SITE: &str = "/opt/lib/python3.10/site-packages";
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in [
            ("/opt/bin/python3.10", ""),
            ("/opt/lib/python3.10/os.py", ""),
            ("/srv/more/x.py", ""),
            ("/opt/lib/python3.10/site-packages/more.pth", "/srv/more\n"),
        ] {
            let path = folder.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::File::create(path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
                .expect("written");
        }
        let find = |forbidden, notes: &mut Notes| {
            let root = DirectoryRoot::open(folder.path()).expect("a root");
            let root = Forbidding(root, forbidden);
            let found = find_in_prefix(&root, &ImagePath::new("/opt"));
            find_site_directories(&root, &found.candidates[0], Search::default(), notes)
        };
        let mut notes = Notes::default();
        assert_eq!(find("", &mut notes).expect("folders").len(), 2);
        assert_eq!(std::mem::take(&mut notes).into_list(), [""; 0]);
        let error = find(SITE, &mut notes).expect_err("unreadable");
        assert!(error.to_string().contains(SITE), "{error}");
        // What a `.pth` file adds is not the interpreter's own.
        assert_eq!(find("/srv/more", &mut notes).expect("folders").len(), 1);
        let notes = notes.into_list();
        assert!(notes[0].contains("`/srv/more` is passed over"), "{notes:?}");
    }
}
