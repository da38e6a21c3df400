//! A requirement: one project, the versions of it that will do, and when it applies.
//!
//! Specification: <https://packaging.python.org/en/latest/specifications/dependency-specifiers/>.
//! Parsing is `pep508_rs`'s. What is added here is the leniency that installed distributions need: metadata written
//! before PEP 440 was enforced (`>=2.0.*`, `>=3.`, `>=1.0 <2.0`) must not make an image unreadable.

use std::fmt;
use std::str::FromStr;

use pep440_rs::VersionSpecifiers;
use pep508_rs::{ExtraName, MarkerEnvironment, MarkerTree, PackageName, VerbatimUrl, VersionOrUrl};

use super::VersionSet;
use super::specifiers;

/// One requirement, with its project's name and extras normalized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The project that is required.
    pub name: PackageName,
    /// The extras of it that are required, sorted.
    pub extras: Vec<ExtraName>,
    /// The versions that satisfy it.
    pub specifiers: VersionSpecifiers,
    /// The address of a direct reference (`name @ url`), as it was written.
    pub url: Option<String>,
    /// The environments in which it applies.
    pub marker: MarkerTree,
}

/// A text that is not a requirement.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{text}` is not a requirement: {reason}")]
pub struct RequirementError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason: String| RequirementError {
            text: presentable(text),
            reason: presentable(&reason),
        };
        if text.trim().is_empty() {
            return Err(error("it is empty".to_owned()));
        }
        if let Some(reason) = danger(text) {
            return Err(error(reason));
        }
        Self::parse_harmless(text)
            .or_else(|reason| {
                let text = respell_marker(text);
                Self::parse_strictly(&text)
                    .ok()
                    .or_else(|| Self::parse_direct_reference(&text))
                    .or_else(|| Self::parse_arbitrary_equality(&text))
                    .ok_or(reason)
            })
            .map_err(error)
    }
}

impl Requirement {
    /// What `pep508_rs` makes of a text that was put together from another, or why not. That the other was harmless
    /// proves nothing: what was behind an address may lead now, and what was inside of quotes may be outside.
    fn parse_strictly(text: &str) -> Result<Self, String> {
        match danger(text) {
            Some(reason) => Err(reason),
            None => Self::parse_harmless(text),
        }
    }

    /// What `pep508_rs` makes of a text without [`danger`], or what it says.
    fn parse_harmless(text: &str) -> Result<Self, String> {
        let parsed = pep508_rs::Requirement::<VerbatimUrl>::from_str(text)
            // The library's message goes on to draw the input with carets below; our own message names it already.
            .map_err(|error| as_a_clause(&error.message.to_string()))?;
        let (specifiers, url) = match parsed.version_or_url {
            None => (VersionSpecifiers::empty(), None),
            Some(VersionOrUrl::VersionSpecifier(specifiers)) => (specifiers, None),
            Some(VersionOrUrl::Url(url)) => (
                VersionSpecifiers::empty(),
                Some(url.given().map_or_else(|| url.to_string(), str::to_owned)),
            ),
        };
        let mut extras = parsed.extras;
        extras.sort();
        extras.dedup();
        Ok(Self {
            name: parsed.name,
            extras,
            specifiers,
            url,
            marker: parsed.marker,
        })
    }

    /// A direct reference whose address the URL standard refuses (`git+ssh://git@host:owner/repository`, as git has
    /// it) and `pep508_rs` with it. We never open it: it is kept as a text.
    fn parse_direct_reference(text: &str) -> Option<Self> {
        let at = text.find('@')?;
        let before = text[..at].trim_end();
        let is_head = before
            .chars()
            .all(|c| c.is_alphanumeric() || " \t-_.[],".contains(c));
        let reference = text[at + 1..].trim_start();
        let (url, rest) =
            reference.split_at(reference.find([' ', '\t']).unwrap_or(reference.len()));
        if !is_head || !url.contains(':') || url.contains(['\r', '\n']) {
            return None;
        }
        let parsed = Self::parse_strictly(&format!("{before} {rest}")).ok()?;
        parsed.specifiers.is_empty().then(|| Self {
            url: Some(url.to_owned()),
            ..parsed
        })
    }

    /// `name===text` for a text that is no version, see [`specifiers::parse`].
    fn parse_arbitrary_equality(text: &str) -> Option<Self> {
        // A version that stands for the text until `pep508_rs` has read the rest.
        const STAND_IN: &str = "===9007199254740991!0";
        let end = text.find([';', '@']).unwrap_or(text.len());
        if text.contains(STAND_IN) {
            return None;
        }
        let (specifier, rewritten) = text[..end].match_indices("===").find_map(|(at, _)| {
            let after = text[at + 3..].trim_start();
            let end = after
                .find([' ', '\t', '\r', '\n', ';', ')', ','])
                .unwrap_or(after.len());
            let specifier = specifiers::arbitrary_equality(&after[..end])?;
            Some((
                specifier,
                format!("{}{STAND_IN}{}", &text[..at], &after[end..]),
            ))
        })?;
        let parsed = Self::parse_strictly(&rewritten).ok()?;
        let specifiers = parsed
            .specifiers
            .iter()
            .map(|parsed| {
                if parsed.to_string() == STAND_IN {
                    specifier.clone()
                } else {
                    parsed.clone()
                }
            })
            .collect();
        Some(Self {
            specifiers,
            ..parsed
        })
    }

    /// Reads a requirement of an installed distribution, mending what tools of the past let through.
    ///
    /// # Errors
    /// When no mending makes a requirement of it; the error is that of the text as it stands.
    pub fn parse_lenient(text: &str) -> Result<Self, RequirementError> {
        Self::from_str(text).or_else(|error| {
            let (requirement, marker) = match text.split_once(';') {
                Some((requirement, marker)) => (requirement, Some(marker)),
                None => (text, None),
            };
            let mended = mend_specifiers(requirement);
            let mended = match marker {
                Some(marker) => format!("{mended};{marker}"),
                None => mended,
            };
            Self::from_str(&mended).map_err(|_| error)
        })
    }

    /// The versions that satisfy the requirement.
    #[must_use]
    pub fn version_set(&self) -> VersionSet {
        specifiers::version_set(&self.specifiers)
    }

    /// Whether the requirement applies in `environment` when no extra is asked for.
    #[must_use]
    pub fn applies(&self, environment: &MarkerEnvironment) -> bool {
        self.marker.is_true() || self.marker.evaluate(environment, &[])
    }

    /// Whether the requirement applies in `environment` when `extra` is asked for.
    #[must_use]
    pub fn applies_with_extra(&self, environment: &MarkerEnvironment, extra: &ExtraName) -> bool {
        self.marker.is_true()
            || self
                .marker
                .evaluate(environment, std::slice::from_ref(extra))
    }

    /// The requirement without its marker: what a person is told once the marker has been evaluated.
    #[must_use]
    pub fn without_marker(&self) -> Self {
        Self {
            marker: MarkerTree::TRUE,
            ..self.clone()
        }
    }
}

/// `text`, which somebody else wrote, as it may be shown: in every address in it, valid or not, what may be credentials is
/// masked, and characters that would steer a terminal are replaced.
#[must_use]
pub fn presentable(text: &str) -> String {
    const SCHEME_END: &str = "://";
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(SCHEME_END) {
        let (before, after) = rest.split_at(start + SCHEME_END.len());
        shown.push_str(before);
        let length = after.find(char::is_whitespace).unwrap_or(after.len());
        let (address, behind) = after.split_at(length);
        let (authority, path) =
            address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
        // A password with a `/` in it, which ought to be encoded, looks like a port that is no number.
        let is_host = authority.ends_with(']')
            || authority
                .rsplit_once(':')
                .is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let end = match authority.rfind('@') {
            Some(at) => Some(at),
            None if is_host => None,
            None => path.find('@').map(|at| authority.len() + at),
        };
        let visible = match end {
            // The user name that every git server has is no secret.
            Some(at) if &address[..at] != "git" => {
                shown.push_str("***");
                &address[at..]
            }
            _ => address,
        };
        match visible.split_once('?') {
            // A query may be a signature.
            Some((visible, query)) => {
                shown.push_str(visible);
                shown.push_str("?...");
                // The sentence around the address goes on.
                shown.push_str(
                    &query[query
                        .trim_end_matches(['`', '"', '\'', ')', ':', ',', '.'])
                        .len()..],
                );
            }
            None => shown.push_str(visible),
        }
        rest = behind;
    }
    shown.push_str(rest);
    without_control(&shown)
}

/// `text` with every control character, line breaks among them, replaced.
pub(super) fn without_control(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if !self.extras.is_empty() {
            let extras: Vec<String> = self.extras.iter().map(ToString::to_string).collect();
            write!(f, "[{}]", extras.join(","))?;
        }
        if let Some(url) = &self.url {
            write!(f, " @ {url}")?;
        } else {
            let specifiers: Vec<String> = self.specifiers.iter().map(specifiers::to_text).collect();
            write!(f, "{}", specifiers.join(","))?;
        }
        match self.marker.try_to_string() {
            Some(marker) => write!(f, " ; {marker}"),
            None => Ok(()),
        }
    }
}

/// A sentence of `pep508_rs` as a part of one of ours: it begins in lower case, unless with an acronym, and has no stop.
fn as_a_clause(sentence: &str) -> String {
    // What it advises to do next is not what we would.
    let sentence = sentence.split(". Add ").next().unwrap_or(sentence);
    let sentence = sentence.trim_end_matches('.');
    let mut characters = sentence.chars();
    match (characters.next(), characters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            let rest = &sentence[first.len_utf8()..];
            format!("{}{rest}", first.to_lowercase())
        }
        _ => sentence.to_owned(),
    }
}

/// What `pep508_rs` must not be given: it would end the process (metadata comes from strangers), or hide a second line
/// in what is written to a requirements file.
fn danger(text: &str) -> Option<String> {
    /// Deeper than any requirement that a person wrote; the parser descends once for each.
    const DEEPEST: usize = 64;
    /// Variables that are versions; `~=` after a quoted text and before any other variable panics in `pep508_rs` 0.9.2.
    const VERSIONS: [&str; 3] = [
        "python_version",
        "python_full_version",
        "implementation_version",
    ];
    if text.contains(['\n', '\r']) {
        return Some("it is more than one line".to_owned());
    }
    // Names of the project and of extras: one that ends like this panics where the end of the text does not follow.
    let head =
        text.find(|c: char| !(c.is_alphanumeric() || c.is_whitespace() || "-_.[],".contains(c)));
    if let Some(name) = text[..head.unwrap_or(text.len())]
        .split(|c: char| c.is_whitespace() || "[],".contains(c))
        .find(|word| word.ends_with(['-', '_', '.']))
    {
        return Some(format!("`{name}` does not end in a letter or a digit"));
    }
    let mut depth = 0_usize;
    let mut quote = None;
    for (position, c) in text.char_indices() {
        match (quote, c) {
            // `pep508_rs` counts characters where it should count bytes, and panics where it takes a quote for another
            // than we do. No marker needs one of these.
            _ if !c.is_ascii() => return Some(format!("`{c}` is not ASCII")),
            (Some(open), _) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, '~') => {
                let operand = text[position..].trim_start_matches(['~', '=']).trim_start();
                let word = operand
                    .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.')
                    .map_or(operand, |end| &operand[..end]);
                if word.starts_with(|c: char| c.is_ascii_alphabetic())
                    && !VERSIONS.contains(&word)
                    && text[..position].trim_end().ends_with(['\'', '"'])
                {
                    return Some(format!(
                        "`{word}` is not a version, `~=` does not apply to it"
                    ));
                }
            }
            _ => {}
        }
        if depth > DEEPEST {
            return Some(format!("more than {DEEPEST} parentheses are open"));
        }
    }
    None
}

/// Spells what the grammar of markers allows and `pep508_rs` does not in a way that it does: `and(` without a space,
/// and `===`, which among the values of markers says no more than `==`.
fn respell_marker(text: &str) -> String {
    let start = if text.contains('@') {
        text.find(" ;").or_else(|| text.find("\t;"))
    } else {
        text.find(';')
    };
    let (requirement, marker) = text.split_at(start.unwrap_or(text.len()));
    let mut spelled = requirement.to_owned();
    let mut quote = None;
    for c in marker.chars() {
        match quote {
            Some(open) if open == c => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == '(' && (spelled.ends_with("and") || spelled.ends_with("or")) => {
                spelled.push(' ');
            }
            None if c == '=' && spelled.ends_with("==") => continue,
            _ => {}
        }
        spelled.push(c);
    }
    spelled
}

/// Whether a requirement, by its text, can apply only where an extra is asked for: its marker is a plain conjunction one
/// part of which is `extra == "…"`.
///
/// A large base or a project with many extras has thousands of such requirements, and most extras are never asked for.
/// Looking at the text spares parsing them. Where the text leaves a doubt the answer is no.
#[must_use]
pub fn is_confined_to_extras(requirement: &str) -> bool {
    let Some((_, marker)) = requirement.split_once(';') else {
        return false;
    };
    let compares_extra = marker.match_indices("extra").any(|(at, word)| {
        let before = marker[..at].trim_end();
        let after = marker[at + word.len()..].trim_start();
        let starts_word =
            !marker[..at].ends_with(|c: char| c.is_alphanumeric() || "_'\"".contains(c));
        starts_word
            && (after.starts_with("==") && !after.starts_with("===") || before.ends_with("=="))
    });
    let has_alternative = marker.match_indices("or").any(|(at, word)| {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        !marker[..at].ends_with(is_word) && !marker[at + word.len()..].starts_with(is_word)
    });
    compares_extra && !has_alternative
}

/// Whether a requirement, by its text, may concern who asks for `extra`. Where the text leaves a doubt the answer is yes.
#[must_use]
pub fn may_concern_extra(requirement: &str, extra: &ExtraName) -> bool {
    // Of a conjunction every part must hold, so that its `extra == "…"` names the one extra that it is for.
    !is_confined_to_extras(requirement)
        || requirement
            .split(['\'', '"'])
            .any(|text| ExtraName::from_str(text).is_ok_and(|name| name == *extra))
}

/// Rewrites the specifiers of a legacy requirement into ones that PEP 440 knows.
fn mend_specifiers(requirement: &str) -> String {
    const OPERATORS: [&str; 8] = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];
    let start = requirement
        .find(['<', '>', '=', '!', '~'])
        .unwrap_or(requirement.len());
    let (name, mut rest) = requirement.split_at(start);
    let mut specifiers = Vec::new();
    // Each operator begins a specifier, whether or not a comma stands before it.
    while let Some(operator) = OPERATORS
        .iter()
        .find(|operator| rest.starts_with(**operator))
    {
        rest = &rest[operator.len()..];
        let end = rest
            .find(['<', '>', '=', '!', '~', ','])
            .unwrap_or(rest.len());
        let mut version = rest[..end]
            .trim()
            .trim_matches(['\'', '"', ')', '(', '.'])
            .to_owned();
        if !matches!(*operator, "==" | "!=") {
            version = version.trim_end_matches(".*").to_owned();
        }
        // "9.0.0a1.0" was a version for setuptools: its longest beginning that is one still counts.
        while !version.ends_with('*')
            && pep440_rs::Version::from_str(&version).is_err()
            && let Some(end) = version.rfind('.')
        {
            version.truncate(end);
        }
        if !version.is_empty() {
            specifiers.push(format!("{operator}{version}"));
        }
        rest = rest[end..].trim_start_matches([',', ' ']);
    }
    format!(
        "{} {}",
        name.trim_end_matches([' ', '(']),
        specifiers.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_control_characters_are_not_shown() {
        for (text, shown) in [
            ("foo>=1", "foo>=1"),
            ("foo\u{1b}[2J\n>=1", "foo\u{fffd}[2J\u{fffd}>=1"),
            (
                "foo @ https://user:secret@host.invalid/foo.whl ; os_name == 'x'",
                "foo @ https://***@host.invalid/foo.whl ; os_name == 'x'",
            ),
            (
                "git+https://secret@host.invalid/x.git@v1",
                "git+https://***@host.invalid/x.git@v1",
            ),
            (
                "https://user:sec/ret@host.invalid/x",
                "https://***@host.invalid/x",
            ),
            (
                "https://user:se@cret@host.invalid/x",
                "https://***@host.invalid/x",
            ),
            (
                "`https://host.invalid/x?secret`: no",
                "`https://host.invalid/x?...`: no",
            ),
            (
                "git+ssh://git@host.invalid:owner/x.git",
                "git+ssh://git@host.invalid:owner/x.git",
            ),
            (
                "https://host.invalid:8080/x@1",
                "https://host.invalid:8080/x@1",
            ),
            ("https://[::1]/x@1", "https://[::1]/x@1"),
            (
                "https://u:secret@a.invalid/ https://u:secret@b.invalid/",
                "https://***@a.invalid/ https://***@b.invalid/",
            ),
        ] {
            assert_eq!(presentable(text), shown);
        }
        for text in [
            "https://u:secret@host.invalid/foo.whl",
            "foo bar @ https://u:secret@host.invalid/foo.whl",
        ] {
            let error = Requirement::from_str(text)
                .expect_err("no requirement")
                .to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn names_and_extras_are_normalized() {
        let requirement =
            Requirement::from_str("MLflow_Skinny[Extras.B,a] >=3, <4 ; python_version > '3.8'");
        let requirement = requirement.expect("a requirement");
        assert_eq!(
            requirement.to_string(),
            "mlflow-skinny[a,extras-b]>=3,<4 ; python_full_version >= '3.9'"
        );
    }

    #[test]
    fn arbitrary_equality_is_read_and_satisfied_by_nothing() {
        let requirement = Requirement::from_str("Foo[a] (>=1, === lol_wat) ; os_name == 'posix'");
        let requirement = requirement.expect("a requirement");
        assert_eq!(
            requirement.to_string(),
            "foo[a]>=1,===lol_wat ; os_name == 'posix'"
        );
        assert!(requirement.version_set().is_empty());
        let version = Requirement::from_str("foo===1.0").expect("a requirement");
        assert_eq!(version.to_string(), "foo===1.0");
        assert!(!version.version_set().is_empty());
        let second = Requirement::from_str("foo===1.0,===x").expect("a requirement");
        assert_eq!(second.to_string(), "foo===1.0,===x");
        assert!(Requirement::from_str("foo===a,b").is_err());
        assert!(Requirement::from_str("foo===").is_err());
    }

    #[test]
    fn an_address_that_only_git_understands_is_kept_as_it_is() {
        let text = "foo[b,A]@git+ssh://git@example.com:owner/repository.git ; os_name == 'posix'";
        let requirement = Requirement::from_str(text).expect("a requirement");
        assert_eq!(
            requirement.url.as_deref(),
            Some("git+ssh://git@example.com:owner/repository.git")
        );
        assert_eq!(requirement.extras.len(), 2);
        assert!(!requirement.marker.is_true());
        assert!(Requirement::from_str("foo @ ").is_err());
        assert!(Requirement::from_str("foo>=1 @ git+ssh://git@example.com:owner/x").is_err());
    }

    #[test]
    fn markers_are_read_however_the_grammar_lets_them_be_spelled() {
        let spelled = |text| {
            Requirement::from_str(text)
                .expect("a requirement")
                .to_string()
        };
        assert_eq!(
            spelled("foo ; os_name == 'a and(' and(sys_platform==='b' or(os_name == 'c'))"),
            spelled("foo ; os_name == 'a and(' and (sys_platform == 'b' or (os_name == 'c'))"),
        );
        assert_eq!(
            spelled("foo @ https://example.com/a;b ; (os_name == 'x')and(os_name == 'x')"),
            "foo @ https://example.com/a;b ; os_name == 'x'"
        );
    }

    #[test]
    fn a_marker_from_a_stranger_does_not_end_the_process() {
        for text in [
            "foo ; '2.7' ~= os_name",
            // A quote that is not closed, and an operator that takes it for another.
            "foo;''>'Fz\u{fffd}'='u\0\"\0F@\u{fffd}\u{fffd}SK\u{fffd}",
            "foo ; os_name == '\u{e4}'='\u{e4}",
            "foo ; \"posix\"~=os.name and python_version > '3'",
            "foo>=1\n--index-url x",
            "foo- ; os_name == 'x'",
            "foo_>=1",
            "foo[a.]",
            "foo ; os_name == '1.0'1.0+İ",
        ] {
            assert!(Requirement::from_str(text).is_err(), "{text}");
            assert!(Requirement::parse_lenient(text).is_err(), "{text}");
        }
        assert!(Requirement::from_str("foo ; '3.8' ~= python_version").is_ok());
        assert!(Requirement::from_str("foo ; python_version ~= '3.8'").is_ok());
        let deep = format!(
            "foo ; {}os_name == 'x'{}",
            "(".repeat(100_000),
            ")".repeat(100_000)
        );
        assert!(Requirement::from_str(&deep).is_err());
    }

    #[test]
    fn what_is_left_of_a_rewritten_requirement_does_not_end_the_process() {
        for text in [
            // Without the address that no library understands, another name leads.
            "@+y: 4w_=44445",
            // Whitespace that is neither space nor tab.
            "\u{b}a_=1",
            "\u{c}a_ ; extra == 'x'",
            "a[\u{b}b_]",
            "a[b,\u{c}c_\u{c}]",
        ] {
            assert!(Requirement::parse_lenient(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn requirements_of_extras_are_told_by_their_text() {
        for confined in [
            "a ; extra == 'x'",
            "a>=1; python_version < '3.9' and extra=='x'",
            "a;(extra == \"x\") and (os_name == 'posix')",
            "a ; 'x' == extra",
        ] {
            assert!(is_confined_to_extras(confined), "{confined}");
        }
        for other in [
            "extra-a>=1",
            "a ; python_version < '3.9' or extra == 'x'",
            "a ; (python_version < '3.9')or(extra == 'x')",
            "a ; extra != 'x'",
            "a ; os_name == 'extra'",
            "a ; python_version < '3.9'",
        ] {
            assert!(!is_confined_to_extras(other), "{other}");
        }
    }

    #[test]
    fn whom_a_requirement_may_concern_is_told_by_its_text() {
        let extra = ExtraName::from_str("a-b").expect("an extra");
        for (text, concerned) in [
            ("x ; extra == 'a-b'", true),
            ("x ; python_version > '3' and 'A__b' == extra", true),
            ("x ; extra == 'c' or extra == 'd'", true),
            ("x", true),
            ("x ; extra == 'b'", false),
            ("x ; extra == \"a-bc\" and os_name == 'posix'", false),
        ] {
            assert_eq!(may_concern_extra(text, &extra), concerned, "{text}");
        }
    }

    #[test]
    fn deep_markers_do_not_exhaust_the_stack() {
        let deep = format!(
            "six ; {}os_name == 'x'{}",
            "(".repeat(100_000),
            ")".repeat(100_000)
        );
        let _ = Requirement::parse_lenient(&deep);
    }

    #[test]
    fn legacy_requirements_of_installed_distributions_are_mended() {
        for (legacy, mended) in [
            ("pywin32 (>=2.0.*)", "pywin32>=2.0"),
            ("six>=1.0 <2.0", "six>=1.0,<2.0"),
            ("six (>=3.)", "six>=3"),
            ("six>=1.0,", "six>=1.0"),
            ("zope>=9.0.0a1.0", "zope>=9.0.0a1"),
            (
                "six!=1.*,>=0.5 ; os_name == 'posix'",
                "six>=0.5,!=1.* ; os_name == 'posix'",
            ),
        ] {
            let requirement = Requirement::parse_lenient(legacy).expect("mended");
            assert_eq!(requirement.to_string(), mended);
        }
        let error = Requirement::parse_lenient("six >= banana").expect_err("not a version");
        assert!(
            error
                .to_string()
                .starts_with("`six >= banana` is not a requirement")
        );
    }
}
