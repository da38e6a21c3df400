//! What the members of an archive are called, and where links among them lead.

use std::collections::BTreeMap;

use super::tar_reader::ArchiveError;

/// Links that lead to one another before they are taken for a loop; real archives have one.
const MOST_LINKS: usize = 16;

/// The members of an archive by name, each file with what is known of it.
#[derive(Debug)]
pub(super) struct Members<T>(BTreeMap<String, Entry<T>>);

#[derive(Debug)]
enum Entry<T> {
    File(T),
    Link(String),
    Other,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Members<T> {
    pub(super) fn insert_file(&mut self, name: String, file: T) -> Result<(), ArchiveError> {
        self.insert(name, Entry::File(file))
    }

    pub(super) fn insert_link(&mut self, name: String, target: String) -> Result<(), ArchiveError> {
        // The same link twice says one thing.
        if matches!(self.0.get(&name), Some(Entry::Link(known)) if *known == target) {
            return Ok(());
        }
        self.insert(name, Entry::Link(target))
    }

    pub(super) fn insert_other(&mut self, name: String) -> Result<(), ArchiveError> {
        self.insert(name, Entry::Other)
    }

    fn insert(&mut self, name: String, entry: Entry<T>) -> Result<(), ArchiveError> {
        self.check_new(&name)?;
        self.0.insert(name, entry);
        Ok(())
    }

    /// Refuses a second member of the same name.
    ///
    /// # Errors
    /// When there is one: which of two is meant depends on the reader, so that one would check the first and another use
    /// the second.
    pub(super) fn check_new(&self, name: &str) -> Result<(), ArchiveError> {
        if self.0.contains_key(name) {
            let reason = format!("it has two members `{}`", name.escape_debug());
            return Err(ArchiveError::invalid(reason));
        }
        Ok(())
    }

    /// The file that `name` leads to, with its own name; `None` where there is none.
    ///
    /// # Errors
    /// When links lead in a circle, or to something that is no file.
    pub(super) fn get(&self, name: &str) -> Result<Option<(&str, &T)>, ArchiveError> {
        let mut current = name;
        for _ in 0..=MOST_LINKS {
            match self.0.get_key_value(current) {
                Some((name, Entry::File(file))) => return Ok(Some((name, file))),
                Some((_, Entry::Link(target))) => current = target,
                Some((name, Entry::Other)) => {
                    let reason = format!(
                        "its member `{}` is no regular file and leads to none",
                        name.escape_debug()
                    );
                    return Err(ArchiveError::invalid(reason));
                }
                None => return Ok(None),
            }
        }
        Err(ArchiveError::invalid(format!(
            "the links from its member `{}` lead in a circle",
            name.escape_debug()
        )))
    }
}
