//! The command line that asked a question, so that an answer can name one that asks for something else and is otherwise
//! the same.

use super::BaseLabel;

/// An option of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenOption {
    /// Its name with the dashes: `--policy`, `-r`.
    pub name: String,
    /// Its value, without credentials; `None` for a switch.
    pub value: Option<String>,
}

/// What was asked, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The verb.
    pub verb: &'static str,
    /// Requirements.
    pub requirements: Vec<String>,
    /// Options that have a part in the answer, those with files of requirements among them.
    pub options: Vec<GivenOption>,
    /// Options that only this verb has: where an image goes, what it is called.
    pub own: Vec<GivenOption>,
}

impl Default for Invocation {
    fn default() -> Self {
        Self {
            verb: "resolve",
            requirements: Vec::new(),
            options: Vec::new(),
            own: Vec::new(),
        }
    }
}

/// The option that names a file of requirements.
const REQUIREMENT_FILE: &str = "-r";
/// The option that says what of the base may change.
const POLICY: &str = "--policy";

impl Invocation {
    /// The command line that puts the same question to `verb`.
    #[must_use]
    pub fn same(&self, verb: &str, base: &BaseLabel) -> String {
        line(verb, base, &self.requirements, self.options.iter(), &[])
    }

    /// The command line that asks for the same under another policy, and with `more` options.
    #[must_use]
    pub fn under(&self, base: &BaseLabel, policy: &str, more: &[(&str, &str)]) -> String {
        let options = self.options.iter().filter(|it| it.name != POLICY);
        let more = [&[(POLICY, policy)], more].concat();
        let options = options.chain(&self.own);
        line(self.verb, base, &self.requirements, options, &more)
    }

    /// The command line that asks for the same with `more` options.
    #[must_use]
    pub fn with(&self, base: &BaseLabel, more: &[(&str, &str)]) -> String {
        let options = self.options.iter().chain(&self.own);
        line(self.verb, base, &self.requirements, options, more)
    }

    /// The command line that asks for `requirement` in the place of all requirements.
    #[must_use]
    pub fn asking(&self, base: &BaseLabel, requirement: &str) -> String {
        let options = self.options.iter().filter(|it| it.name != REQUIREMENT_FILE);
        let options = options.chain(&self.own);
        line(self.verb, base, &[requirement.to_owned()], options, &[])
    }
}

fn line<'o>(
    verb: &str,
    base: &BaseLabel,
    requirements: &[String],
    options: impl Iterator<Item = &'o GivenOption>,
    more: &[(&str, &str)],
) -> String {
    let mut words = vec![
        "imgtool".to_owned(),
        verb.to_owned(),
        quoted(&base.reference),
    ];
    words.extend(requirements.iter().map(|requirement| quoted(requirement)));
    for option in options {
        words.push(option.name.clone());
        words.extend(option.value.as_deref().map(quoted));
    }
    for (name, value) in more {
        words.extend([(*name).to_owned(), quoted(value)]);
    }
    words.join(" ")
}

/// A word of a command line, in quotes where a shell would not leave it alone.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '-' | '_' | '.' | '/' | ':' | '=' | '+' | ',' | '@')
    };
    // `=` at the beginning is an expansion of zsh.
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn option(name: &str, value: Option<&str>) -> GivenOption {
        GivenOption {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    #[test]
    fn a_command_line_keeps_every_option_and_survives_a_shell() {
        let base = BaseLabel {
            reference: "dir:my venv".to_owned(),
            asked: "dir:my venv".to_owned(),
            layers: BTreeMap::new(),
            index_end: None,
        };
        let asked = Invocation {
            requirements: vec!["a>=1".to_owned(), "b".to_owned()],
            options: vec![
                option("-r", Some("r.txt")),
                option("-c", Some("it's.txt")),
                option("--policy", Some("upgrade")),
                option("--no-index", None),
            ],
            ..Invocation::default()
        };
        assert_eq!(
            asked.same("explain", &base),
            "imgtool explain 'dir:my venv' 'a>=1' b -r r.txt -c 'it'\\''s.txt' --policy upgrade \
             --no-index"
        );
        assert_eq!(
            asked.under(&base, "minimal", &[("--allow-remove", "x")]),
            "imgtool resolve 'dir:my venv' 'a>=1' b -r r.txt -c 'it'\\''s.txt' --no-index \
             --policy minimal --allow-remove x"
        );
        assert_eq!(
            asked.asking(&base, "a==1"),
            "imgtool resolve 'dir:my venv' a==1 -c 'it'\\''s.txt' --policy upgrade --no-index"
        );
        assert!(
            asked
                .with(&base, &[("--allow-remove", "$x")])
                .ends_with(" --allow-remove '$x'")
        );
    }
}
