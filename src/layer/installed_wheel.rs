//! From a wheel to the files that an installer would have put into the image: `pip install --no-deps`, file by file.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::environment::InstallationScheme;
use crate::image_path::ImagePath;
use crate::packaging::record::{RecordHash, RecordRow, record_text};
use crate::packaging::{PackageName, Version};
use crate::rootfs::Attributes;
use crate::rootfs::limits::{MAX_DEPTH, MAX_PATH_BYTES};

use super::contents::{FileSource, LayerFile};
use super::scripts;
use super::wheel::{InstallableWheel, WheelMember, is_of};
use super::wheel_error::{WheelError, WheelFault};

/// Bytes of a script whose first line is rewritten. Those that people write have a few kilobytes.
const LARGEST_SCRIPT: u64 = 16 << 20;

/// What `INSTALLER` says.
const INSTALLER: &[u8] = b"imgtool\n";

/// Mode bits of Unix: the kind of file, a regular file, a symbolic link, permission to execute.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const EXECUTE: u32 = 0o111;

/// What distlib, and so pip, adds to the permissions of a script that it makes.
const READ_AND_EXECUTE: u32 = 0o555;

/// The files of a wheel at their places in an image.
#[derive(Debug, Clone)]
pub struct InstalledWheel {
    /// Normalized name of the distribution.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// Its files by path; the paths are those of the scheme and below.
    pub files: BTreeMap<ImagePath, LayerFile>,
    /// What is odd about the wheel without keeping it from being installed, in sentences.
    pub notes: Vec<String>,
}

/// A part of an installation, as the folders of `.data` name them.
#[derive(Clone, Copy)]
enum Part {
    Library,
    Purelib,
    Platlib,
    Scripts,
    Headers,
    Data,
}

impl Part {
    fn named(key: &str) -> Option<Self> {
        Some(match key {
            "purelib" => Self::Purelib,
            "platlib" => Self::Platlib,
            "scripts" => Self::Scripts,
            "headers" => Self::Headers,
            "data" => Self::Data,
            _ => return None,
        })
    }
}

/// Files as they find their places.
struct Placement<'a> {
    wheel: &'a InstallableWheel,
    files: BTreeMap<ImagePath, (LayerFile, String)>,
    notes: Vec<String>,
}

impl Placement<'_> {
    /// Puts a file at `path`; `origin` is the member or script that it comes from.
    fn put(&mut self, path: ImagePath, file: LayerFile, origin: &str) -> Result<(), WheelError> {
        let text = path.as_str();
        if text.len() > MAX_PATH_BYTES || text.split('/').count() > MAX_DEPTH {
            return Err(self.wheel.error(WheelFault::PathTooLong(origin.to_owned())));
        }
        match self.files.entry(path) {
            Entry::Vacant(place) => {
                place.insert((file, origin.to_owned()));
            }
            Entry::Occupied(place) => {
                let (there, first) = place.get();
                if (there.sha256, there.size, there.attributes)
                    != (file.sha256, file.size, file.attributes)
                {
                    return Err(self.wheel.error(WheelFault::Collision {
                        first: first.clone(),
                        second: origin.to_owned(),
                        path: place.key().to_string(),
                    }));
                }
                self.notes.push(format!(
                    "`{first}` and `{origin}` of `{}` are the same file `{}`",
                    self.wheel.file_name,
                    place.key()
                ));
            }
        }
        Ok(())
    }

    /// Puts bytes at `path`.
    fn put_bytes(
        &mut self,
        path: ImagePath,
        attributes: Attributes,
        bytes: Vec<u8>,
        origin: &str,
    ) -> Result<(), WheelError> {
        let file = LayerFile {
            attributes,
            size: bytes.len() as u64,
            sha256: Sha256::digest(&bytes).into(),
            source: FileSource::Bytes(bytes.into()),
        };
        self.put(path, file, origin)
    }

    /// No file lies where another needs a folder.
    fn check_folders(&self) -> Result<(), WheelError> {
        for below in self.files.keys() {
            let mut folder = below.parent();
            while let Some(path) = folder {
                if self.files.contains_key(&path) {
                    return Err(self.wheel.error(WheelFault::FileAsFolder {
                        file: path.to_string(),
                        below: below.to_string(),
                    }));
                }
                folder = path.parent();
            }
        }
        Ok(())
    }
}

impl InstallableWheel {
    /// The files that `pip install --no-deps` would have put into an image with this scheme, byte code aside, with a
    /// RECORD that is right and with imgtool as INSTALLER.
    ///
    /// `index` is the place of this wheel in the list that the layer is made from. `attributes` are those of a regular
    /// file (pip's are `0o644` under the usual umask); members with a permission to execute and scripts get theirs on top.
    /// `requested` says that somebody asked for the distribution by name (`REQUESTED`).
    ///
    /// # Errors
    /// [`WheelError`]: files without a place or with the same, scripts that cannot be read.
    pub fn install(
        &self,
        index: usize,
        scheme: &InstallationScheme,
        attributes: &Attributes,
        requested: bool,
    ) -> Result<InstalledWheel, WheelError> {
        let library = if self.root_is_purelib {
            &scheme.purelib
        } else {
            &scheme.platlib
        };
        let mut placement = Placement {
            wheel: self,
            files: BTreeMap::new(),
            notes: self.notes.clone(),
        };
        let record = self.of_dist_info("RECORD");
        // These are written anew, whatever the wheel has; REQUESTED is a fact of this installation.
        let mut written = BTreeMap::from([(self.of_dist_info("INSTALLER"), INSTALLER)]);
        if requested {
            written.insert(self.of_dist_info("REQUESTED"), b"");
        }
        let executable = scheme.executable.as_str();
        for file in &self.files {
            if file.path == record || written.contains_key(&file.path) {
                continue;
            }
            let (part, relative) = self.part_of(file)?;
            let folder = match part {
                Part::Library => library.clone(),
                Part::Purelib => scheme.purelib.clone(),
                Part::Platlib => scheme.platlib.clone(),
                Part::Scripts => scheme.scripts.clone(),
                Part::Headers => scheme.headers.join(self.name.as_ref()),
                Part::Data => scheme.data.clone(),
            };
            let path = folder.join(relative);
            let mode = self.archive.members[file.member].unix_mode;
            let mut attributes = *attributes;
            if mode & KIND == REGULAR && mode & EXECUTE != 0 {
                attributes.mode |= EXECUTE;
            }
            if mode & KIND == SYMLINK {
                placement.notes.push(format!(
                    "`{}` of `{}` is a symbolic link in the archive and becomes a file, as with every installer",
                    file.path, self.file_name
                ));
            }
            if matches!(part, Part::Scripts) {
                if scripts::is_wrapper(path.file_name(), &self.scripts) {
                    continue;
                }
                let beginning = self.beginning(file.member, scripts::PLACEHOLDER.len())?;
                if beginning == scripts::PLACEHOLDER {
                    let expected = RecordHash::Sha256(file.sha256);
                    let script = self.read_whole(file.member, Some(expected), LARGEST_SCRIPT)?;
                    let script = scripts::rewritten(executable, &script);
                    placement.put_bytes(path, attributes, script, &file.path)?;
                    continue;
                }
            }
            let layer_file = LayerFile {
                attributes,
                size: self.archive.members[file.member].size,
                sha256: file.sha256,
                source: FileSource::Wheel {
                    wheel: index,
                    member: file.member,
                },
            };
            placement.put(path, layer_file, &file.path)?;
        }
        let of_script = Attributes {
            mode: attributes.mode | READ_AND_EXECUTE,
            ..*attributes
        };
        for (name, reference) in scripts::named(&self.scripts, scheme) {
            let script = scripts::generated(executable, reference);
            placement.put_bytes(scheme.scripts.join(&name), of_script, script, &name)?;
        }
        for (path, bytes) in written {
            placement.put_bytes(library.join(&path), *attributes, bytes.to_vec(), &path)?;
        }
        let rows: Vec<RecordRow> = placement
            .files
            .iter()
            .map(|(path, (file, _))| (relative(path, library), Some((file.sha256, file.size))))
            .collect();
        let text = record_text(&rows, &record);
        placement.put_bytes(library.join(&record), *attributes, text, &record)?;
        placement.check_folders()?;
        Ok(InstalledWheel {
            name: self.name.clone(),
            version: self.version.clone(),
            files: placement
                .files
                .into_iter()
                .map(|(path, (file, _))| (path, file))
                .collect(),
            notes: placement.notes,
        })
    }

    /// The part of an installation that a file belongs to, and its path there.
    fn part_of<'a>(&self, file: &'a WheelMember) -> Result<(Part, &'a str), WheelError> {
        let path = file.path.as_str();
        let Some((folder, rest)) = path.split_once('/') else {
            return Ok((Part::Library, path));
        };
        let Some(stem) = folder.strip_suffix(".data") else {
            return Ok((Part::Library, path));
        };
        let part = rest
            .split_once('/')
            .and_then(|(key, below)| Some((Part::named(key)?, below)));
        let own = is_of(stem, &self.name, &self.version);
        match part {
            Some(part) if own => Ok(part),
            None if own => Err(self.error(WheelFault::SchemeKey(path.to_owned()))),
            // pip would install it as its own, others as a folder of modules.
            Some(_) => Err(self.error(WheelFault::OtherData(folder.to_owned()))),
            None => Ok((Part::Library, path)),
        }
    }
}

impl InstalledWheel {
    /// Writes RECORD anew, with `unhashed` among the files, which it names without hash and size. `wheel` and `scheme` are
    /// those that this was made from.
    pub(super) fn write_record(
        &mut self,
        wheel: &InstallableWheel,
        scheme: &InstallationScheme,
        unhashed: &BTreeSet<ImagePath>,
    ) {
        let library = if wheel.root_is_purelib {
            &scheme.purelib
        } else {
            &scheme.platlib
        };
        let own = wheel.of_dist_info("RECORD");
        let place = library.join(&own);
        let rows: Vec<RecordRow> = self
            .files
            .iter()
            .filter(|(path, _)| **path != place)
            .map(|(path, file)| {
                let facts = (!unhashed.contains(path)).then_some((file.sha256, file.size));
                (relative(path, library), facts)
            })
            .collect();
        let text = record_text(&rows, &own);
        if let Some(record) = self.files.get_mut(&place) {
            record.size = text.len() as u64;
            record.sha256 = Sha256::digest(&text).into();
            record.source = FileSource::Bytes(text.into());
        }
    }
}

/// The path of `path` as seen from `folder`.
fn relative(path: &ImagePath, folder: &ImagePath) -> String {
    let mut base = folder.clone();
    let mut text = String::new();
    while !path.starts_with(&base) {
        text.push_str("../");
        let Some(parent) = base.parent() else { break };
        base = parent;
    }
    let rest = if base.is_root() {
        path.as_str()
    } else {
        &path.as_str()[base.as_str().len()..]
    };
    text.push_str(rest.trim_start_matches('/'));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_where_record_lies() {
        let seen =
            |path: &str, folder: &str| relative(&ImagePath::new(path), &ImagePath::new(folder));
        assert_eq!(seen("/usr/lib/p/a/b.py", "/usr/lib/p"), "a/b.py");
        assert_eq!(seen("/usr/bin/x", "/usr/lib/p/site"), "../../../bin/x");
        assert_eq!(seen("/usr/lib/pq", "/usr/lib/p"), "../pq");
        assert_eq!(seen("/etc/x", "/usr"), "../etc/x");
        assert_eq!(seen("/etc/x", "/"), "etc/x");
    }
}
