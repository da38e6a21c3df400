//! Notes on an environment, of which an image cannot make so many or so long ones that they fill the memory.

/// Notes that are kept of one environment: who has more doubts wants to know that there are more, and not each.
const MAX_NOTES: usize = 1_000;

/// Largest note, in bytes: the longest honest one names the hidden distributions of a large environment.
const MAX_LENGTH: usize = 16 << 10;

/// Notes in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Notes {
    kept: Vec<String>,
    /// How many more there were.
    more: usize,
}

impl Notes {
    /// Takes in a note: beyond [`MAX_NOTES`] it is counted and not kept, beyond [`MAX_LENGTH`] it is cut.
    pub(super) fn push(&mut self, mut note: String) {
        if self.kept.len() >= MAX_NOTES {
            self.more += 1;
            return;
        }
        if note.len() > MAX_LENGTH {
            let end = (0..=MAX_LENGTH)
                .rev()
                .find(|end| note.is_char_boundary(*end));
            note.truncate(end.unwrap_or_default());
            note.push('…');
        }
        // What was cut, or was built piece by piece, has more room than it needs.
        note.shrink_to_fit();
        self.kept.push(note);
    }

    /// Takes in several.
    pub(super) fn extend(&mut self, notes: impl IntoIterator<Item = String>) {
        for note in notes {
            self.push(note);
        }
    }

    /// The notes, and at their end how many there are beyond them.
    pub(super) fn into_list(self) -> Vec<String> {
        let mut list = self.kept;
        if self.more > 0 {
            list.push(format!("there are {} more doubts of this kind", self.more));
        }
        list
    }
}

/// The beginning of a text from an image, to be shown in a note.
pub(super) fn shortened(text: &str) -> String {
    /// Most characters that are shown: paths are shorter.
    const MAX_SHOWN: usize = 200;
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_beyond_the_most_are_counted_and_not_kept() {
        let mut notes = Notes::default();
        notes.extend((0..MAX_NOTES + 7).map(|number| number.to_string()));
        assert_eq!(notes.kept.len(), MAX_NOTES);
        assert!(notes.kept.capacity() < 2 * MAX_NOTES);
        let list = notes.into_list();
        assert_eq!(list.len(), MAX_NOTES + 1);
        assert_eq!(list[MAX_NOTES - 1], "999");
        assert_eq!(list[MAX_NOTES], "there are 7 more doubts of this kind");
    }

    #[test]
    fn a_note_without_end_is_cut_between_characters() {
        let mut notes = Notes::default();
        notes.push(format!("a{}", "é".repeat(MAX_LENGTH)));
        notes.push("short".to_owned());
        let list = notes.into_list();
        assert!(list[0].len() <= MAX_LENGTH + '…'.len_utf8());
        assert!(list[0].ends_with("é…"));
        assert_eq!(list[1], "short");
        assert_eq!(shortened("/srv/x"), "/srv/x");
        assert_eq!(shortened(&"é".repeat(300)).chars().count(), 201);
    }
}
