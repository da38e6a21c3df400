//! An environment for a person: what it is, then what is in it, then what is odd about it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use crate::environment::{CondaPackage, FoundInterpreter, InstalledDistribution, InterpreterKind};
use crate::image::AttachmentKind;
use crate::packaging::PackageName;
use crate::report::inspection::{ImageFacts, Inspection, LayerFacts};
use crate::report::snapshot_note;

use super::table::{Align, columns, cut};
use super::words::{bytes, count, list, one_line, thousands};
use super::{ASIDE, CAUTION, HEADING};

/// Characters of a digest's hash that tell it from others by eye; as many as engines show.
const SHORT_DIGEST: usize = 12;
/// How long the command of a layer is where no terminal says how wide it is.
const LONGEST_COMMAND: usize = 100;
/// How far from the edge a fact stands.
const FACT_INDENT: usize = 13;
/// The narrowest that text is wrapped to: less is not read any better.
const NARROWEST: usize = 20;
/// How many packages of conda are named.
const CONDA_SHOWN: usize = 12;

/// What is shown beside names and versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    /// The layers, and which of them brought each distribution.
    pub layers: bool,
    /// Sizes.
    pub size: bool,
}

/// Writes what was found. `width` is that of the terminal, in cells.
#[must_use]
pub fn inspect(found: &Inspection, shown: Shown, width: Option<usize>) -> String {
    let environment = &found.environment;
    let mut text = String::new();
    let mut headline = count(environment.distributions.len(), "distribution");
    if shown.size
        && let Some(footprints) = &found.footprints
    {
        let size = footprints.values().filter_map(|found| found.bytes).sum();
        let files: usize = footprints.values().map(|found| found.files).sum();
        let noun = if files == 1 { "file" } else { "files" };
        let _ = write!(headline, ", {} in {} {noun}", bytes(size), thousands(files));
    }
    let _ = writeln!(
        text,
        "{HEADING}{}{HEADING:#}: {headline}\n",
        one_line(&found.label.reference)
    );
    facts(&mut text, found, width);
    if shown.layers
        && let Some(image) = &found.image
    {
        layers(&mut text, image, &found.distributions_by_layer(), width);
    }
    if let Some(image) = &found.image {
        attached(&mut text, image, width);
    }
    if !environment.distributions.is_empty() {
        text.push('\n');
        text.push_str(&distributions(found, shown, width));
    }
    let conda: Vec<&CondaPackage> = found.conda_only().collect();
    if !conda.is_empty() {
        let verb = if conda.len() == 1 {
            "that is no Python distribution"
        } else {
            "that are no Python distributions"
        };
        let _ = writeln!(
            text,
            "\n{HEADING}{} of conda {verb}{HEADING:#}",
            count(conda.len(), "package")
        );
        let names: Vec<String> = conda
            .iter()
            .map(|package| one_line(&format!("{} {}", package.name, package.version)))
            .collect();
        let width = width.unwrap_or(LONGEST_COMMAND);
        for line in lines(&list(&names, CONDA_SHOWN), ", ", width.saturating_sub(2)) {
            let _ = writeln!(text, "  {line}");
        }
    }
    let notes = found.notes();
    if !notes.is_empty() {
        let _ = writeln!(text, "\n{HEADING}notes{HEADING:#}");
        for note in &notes {
            let _ = writeln!(text, "- {}", one_line(note));
        }
    }
    text
}

/// What the environment is, a line for each thing.
fn facts(text: &mut String, found: &Inspection, width: Option<usize>) {
    let environment = &found.environment;
    let interpreter = &environment.interpreter;
    let mut fact = |name: &str, style: Style, value: &str| {
        let value = one_line(value);
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(FACT_INDENT));
        for (position, line) in lines(&value, " ", room).into_iter().enumerate() {
            let name = if position == 0 { name } else { "" };
            let _ = writeln!(text, "  {ASIDE}{name:<9}{ASIDE:#}  {style}{line}{style:#}");
        }
    };
    let plain = Style::new();
    let mut platform = environment.platform.architecture.clone();
    if let Some(image) = &found.image {
        if image.reference != found.label.reference {
            fact("image", plain, &image.reference);
        }
        if let Some(digest) = &image.manifest_digest {
            fact("digest", plain, digest);
        }
        platform.clone_from(&image.platform);
    }
    if let Some(note) = snapshot_note(environment) {
        fact("known", CAUTION, &note);
    }
    let libc = environment.platform.libc.map_or_else(
        || "an unknown C library".to_owned(),
        |libc| libc.to_string(),
    );
    fact("platform", plain, &format!("{platform}, {libc}"));
    let (major, minor) = environment.platform.python;
    let mut python = format!(
        "{}, cp{major}{minor}{}",
        interpreter.version, environment.platform.abi_flags
    );
    if let Some(executable) = &interpreter.executable {
        let _ = write!(python, ", {executable}");
    }
    fact("python", plain, &python);
    let kind = found
        .interpreters
        .iter()
        .find(|interpreter| found.is_inspected(interpreter))
        .map(|interpreter| kind_of(&interpreter.kind))
        .filter(|kind| !kind.is_empty());
    match kind {
        Some(kind) => fact("prefix", plain, &format!("{}, {kind}", interpreter.prefix)),
        None => fact("prefix", plain, &interpreter.prefix),
    }
    if interpreter.externally_managed {
        fact(
            "managed",
            CAUTION,
            "EXTERNALLY-MANAGED: pip refuses to install here",
        );
    }
    if let Some(image) = &found.image {
        let known: Option<u64> = image.layers.iter().map(|layer| layer.size).sum();
        let size = known.map_or_else(String::new, |size| format!(", {}", bytes(size)));
        fact("layers", plain, &format!("{}{size}", image.layers.len()));
    }
    if let Some(installer) = only_installer(found) {
        fact("installer", plain, installer);
    }
    let others = found
        .interpreters
        .iter()
        .filter(|interpreter| !found.is_inspected(interpreter));
    for (position, other) in others.enumerate() {
        fact(
            if position == 0 { "others" } else { "" },
            plain,
            &describe(other),
        );
    }
}

fn kind_of(kind: &InterpreterKind) -> String {
    match kind {
        InterpreterKind::Installation => String::new(),
        InterpreterKind::Conda => "managed by conda".to_owned(),
        InterpreterKind::Venv {
            base,
            system_site_packages,
        } => {
            let base = base.as_ref().map_or_else(
                || ", whose base is missing".to_owned(),
                |base| format!(" of {base}"),
            );
            let sees = if *system_site_packages {
                " that sees its distributions"
            } else {
                ""
            };
            format!("a venv{base}{sees}")
        }
    }
}

/// An interpreter that is not the inspected one, as `--python` would name it.
fn describe(other: &FoundInterpreter) -> String {
    let implementation = if other.implementation == "CPython" {
        "Python"
    } else {
        &other.implementation
    };
    let place = other.executable.as_ref().unwrap_or(&other.prefix);
    let kind = kind_of(&other.kind);
    let kind = if kind.is_empty() {
        kind
    } else {
        format!(", {kind}")
    };
    let default = if other.is_default {
        ", the default"
    } else {
        ""
    };
    format!(
        "{implementation} {} at {place}{kind}{default}",
        other.version
    )
}

/// The installer of all distributions, where it is one for all: then it needs no column.
fn only_installer(found: &Inspection) -> Option<&str> {
    let mut installers = found
        .environment
        .distributions
        .values()
        .map(|installed| installed.installer.as_deref());
    let first = installers.next()??;
    installers
        .all(|other| other == Some(first))
        .then_some(first)
}

fn distributions(found: &Inspection, shown: Shown, width: Option<usize>) -> String {
    let installed = &found.environment.distributions;
    let with_installer =
        only_installer(found).is_none() && installed.values().any(|one| one.installer.is_some());
    let with_layer = shown.layers && found.image.is_some() && found.footprints.is_some();
    let with_size = shown.size && found.footprints.is_some();
    let conda = found.conda_records();
    let remarks: BTreeMap<&PackageName, String> = installed
        .values()
        .map(|one| (&one.name, remark(one, found, conda.get(&one.name).copied())))
        .filter(|(_, remark)| !remark.is_empty())
        .collect();

    let mut header = vec![("name", Align::Left), ("version", Align::Left)];
    if with_installer {
        header.push(("installer", Align::Left));
    }
    if with_layer {
        header.push(("layer", Align::Right));
    }
    if with_size {
        header.push(("size", Align::Right));
    }
    if !remarks.is_empty() {
        header.push(("note", Align::Remark));
    }
    let rows: Vec<Vec<String>> = installed
        .values()
        .map(|one| {
            let footprint = found.footprint(&one.name);
            let mut row = vec![one.name.to_string(), one_line(&one.version_text)];
            if with_installer {
                row.push(one_line(one.installer.as_deref().unwrap_or("-")));
            }
            let layer = footprint.and_then(|footprint| footprint.layer);
            if with_layer {
                row.push(layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string()));
            }
            let size = footprint.and_then(|footprint| footprint.bytes);
            if with_size {
                row.push(size.map_or_else(|| "-".to_owned(), bytes));
            }
            if !remarks.is_empty() {
                row.push(remarks.get(&one.name).cloned().unwrap_or_default());
            }
            row
        })
        .collect();
    let sum = with_size.then(|| {
        let footprints = found.footprints.iter().flat_map(BTreeMap::values);
        let size = footprints.filter_map(|found| found.bytes).sum();
        let mut sum = vec![String::new(); header.len()];
        "total".clone_into(&mut sum[0]);
        let column = header.iter().position(|(title, _)| *title == "size");
        sum[column.unwrap_or(1)] = bytes(size);
        sum
    });
    columns(&header, &rows, sum.as_deref(), width)
}

/// What is odd about a distribution.
fn remark(one: &InstalledDistribution, found: &Inspection, conda: Option<&CondaPackage>) -> String {
    let mut remarks = Vec::new();
    if let Some(source) = &one.editable {
        remarks.push(format!("editable, from {source}"));
    }
    for hidden in &found.environment.shadowed {
        if hidden.name == one.name {
            let folder = hidden
                .location
                .rsplit_once('/')
                .map_or(hidden.location.as_str(), |(folder, _)| folder);
            remarks.push(format!("hides {} in {folder}", hidden.version_text));
        }
    }
    if let Some(package) = conda.filter(|package| package.version != one.version_text) {
        remarks.push(format!("conda recorded {}", package.version));
    }
    if let Some(footprint) = found.footprint(&one.name)
        && footprint.missing > 0
    {
        let verb = if footprint.missing == 1 { "is" } else { "are" };
        remarks.push(format!(
            "{} {verb} missing",
            count(footprint.missing, "recorded file")
        ));
    }
    one_line(&remarks.join("; "))
}

fn layers(
    text: &mut String,
    image: &ImageFacts,
    brought: &BTreeMap<usize, usize>,
    width: Option<usize>,
) {
    let rows: Vec<Vec<String>> = image
        .layers
        .iter()
        .map(|layer| {
            let command = layer
                .created_by
                .as_deref()
                .map_or_else(String::new, command);
            vec![
                layer.index.to_string(),
                short_digest(layer),
                layer.size.map_or_else(|| "-".to_owned(), bytes),
                brought
                    .get(&layer.index)
                    .map_or_else(|| "-".to_owned(), ToString::to_string),
                if width.is_none() {
                    cut(&command, LONGEST_COMMAND)
                } else {
                    command
                },
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&columns(
        &[
            ("layer", Align::Right),
            ("digest", Align::Left),
            ("size", Align::Right),
            ("distributions", Align::Right),
            ("created by", Align::Remark),
        ],
        &rows,
        None,
        width,
    ));
}

/// What is attached to the image, where that is anything.
fn attached(text: &mut String, image: &ImageFacts, width: Option<usize>) {
    let attached = image.attached.as_deref().unwrap_or_default();
    if attached.is_empty() {
        return;
    }
    let rows: Vec<Vec<String>> = attached
        .iter()
        .map(|one| {
            let kind = one.kind.map_or("other", AttachmentKind::name);
            vec![
                kind.to_owned(),
                short(&one.digest),
                one_line(&one.artifact_type),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&columns(
        &[
            ("attached", Align::Left),
            ("digest", Align::Left),
            ("type", Align::Remark),
        ],
        &rows,
        None,
        width,
    ));
}

/// The beginning of the blob's hash, or of the uncompressed archive's where the blob has none.
fn short_digest(layer: &LayerFacts) -> String {
    short(layer.digest.as_ref().unwrap_or(&layer.diff_id))
}

/// The beginning of a digest's hash.
fn short(digest: &str) -> String {
    let hash = digest.split_once(':').map_or(digest, |(_, hash)| hash);
    one_line(&hash.chars().take(SHORT_DIGEST).collect::<String>())
}

/// The command that made a layer, without what builders wrap around it.
fn command(created_by: &str) -> String {
    let text = created_by.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.trim_end_matches("# buildkit").trim_end();
    // The classic builder runs `RUN` through the shell, and marks what is no command with `#(nop)`.
    let text = match text.strip_prefix("/bin/sh -c ") {
        Some(rest) => match rest.strip_prefix("#(nop) ") {
            Some(instruction) => instruction.trim_start().to_owned(),
            None => format!("RUN {rest}"),
        },
        None => text.replacen("RUN /bin/sh -c ", "RUN ", 1),
    };
    one_line(&text)
}

/// Divides a text into lines of at most `width` cells, between parts that end in `separator`; a longer part stays whole.
fn lines(text: &str, separator: &str, width: usize) -> Vec<String> {
    let width = width.max(NARROWEST);
    let mut lines: Vec<String> = Vec::new();
    for part in text.split_inclusive(separator) {
        match lines.last_mut() {
            Some(line) if line.width() + part.trim_end().width() <= width => line.push_str(part),
            _ => lines.push(part.to_owned()),
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_lose_what_builders_wrap_around_them() {
        for (created_by, shown) in [
            ("/bin/sh -c #(nop) ADD file:1 in / ", "ADD file:1 in /"),
            (
                "/bin/sh -c apt-get update     && true",
                "RUN apt-get update && true",
            ),
            (
                "RUN /bin/sh -c pip install x # buildkit",
                "RUN pip install x",
            ),
            ("COPY a\u{1b}[31m /b # buildkit", "COPY a [31m /b"),
            ("", ""),
        ] {
            assert_eq!(command(created_by), shown);
        }
    }

    #[test]
    fn lists_are_wrapped_between_their_items() {
        assert_eq!(
            lines("openssl 3.0.1, zlib 1.2.13 and 3 more", ", ", 22),
            ["openssl 3.0.1,", "zlib 1.2.13 and 3 more"]
        );
        assert_eq!(
            lines("a word and another one", " ", 0),
            ["a word and another", "one"]
        );
        assert_eq!(lines(&"x".repeat(90), " ", 80), ["x".repeat(90)]);
        assert_eq!(lines("", " ", 80), [""; 0]);
    }
}
