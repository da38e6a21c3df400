//! A build for a person: the plan, and what has come of it.

use std::fmt::Write as _;

use crate::plan::{Install, Plan};
use crate::report::building::{Building, BuiltImage, PlatformBuilding, Reached};

use super::resolution::why;
use super::table::{Align, columns};
use super::{ASIDE, CAUTION, GOOD, footer, words};

/// How many requested projects a headline names.
const REQUESTS_SHOWN: usize = 8;

/// Writes a plan: what would be added, replaced and removed, with sizes. `width` is that of the terminal, in cells.
#[must_use]
pub fn plan(building: &Building, width: Option<usize>) -> String {
    let mut text = String::new();
    for platform in &building.platforms {
        let _ = writeln!(
            text,
            "{GOOD}{}:{GOOD:#} {}",
            headline(platform, building.platforms.len() > 1),
            what_it_takes(&platform.plan)
        );
        text.push_str(&tables(platform, width));
        text.push_str(&footer(&platform.label, &platform.environment));
    }
    if building.targets.is_empty() {
        let _ = writeln!(
            text,
            "{CAUTION}Nothing was built:{CAUTION:#} `--push`, `--output` and `--load` say where an image goes."
        );
    } else {
        let _ = writeln!(
            text,
            "Nothing was built. It would go to {}.",
            words::list(&building.targets, usize::MAX)
        );
    }
    text
}

/// Writes what was built, and where it is.
#[must_use]
pub fn built(building: &Building) -> String {
    let mut text = String::new();
    let several = building.platforms.len() > 1;
    for platform in &building.platforms {
        let Some(image) = &platform.image else {
            continue;
        };
        let _ = writeln!(
            text,
            "{GOOD}built {}:{GOOD:#} {}",
            headline(platform, several),
            what_it_takes(&platform.plan)
        );
        text.push_str(&image_lines(platform, image));
    }
    if several && let Some(digest) = &building.digest {
        let _ = writeln!(text, "  {:<10} {digest}", "index");
    }
    for reached in &building.reached {
        let _ = writeln!(
            text,
            "  {:<10} {}{}",
            reached.verb,
            reached.target,
            how(reached)
        );
    }
    text
}

/// `mlflow-skinny 3.17.2 on tfx:1.16.0`, with the platform where there are several.
fn headline(platform: &PlatformBuilding, several: bool) -> String {
    let requested: Vec<String> = platform
        .plan
        .installs
        .iter()
        .filter(|install| install.requested)
        .map(|install| format!("{} {}", install.name, install.version))
        .collect();
    let on = if several {
        format!("{} ({})", platform.label.reference, platform.platform)
    } else {
        platform.label.reference.clone()
    };
    if requested.is_empty() {
        on
    } else {
        format!("{} on {on}", words::list(&requested, REQUESTS_SHOWN))
    }
}

fn what_it_takes(plan: &Plan) -> String {
    let replaced = plan
        .installs
        .iter()
        .filter(|install| install.replaces.is_some())
        .count();
    let added = plan.installs.len() - replaced;
    let mut parts = Vec::new();
    if added > 0 {
        parts.push(format!("{} added", words::count(added, "distribution")));
    }
    for (number, verb) in [(replaced, "replaced"), (plan.removals.len(), "removed")] {
        if number > 0 {
            parts.push(format!("{number} of the base {verb}"));
        }
    }
    match parts.as_slice() {
        [] => "the base has all of it, nothing is added".to_owned(),
        _ if plan.departures().is_empty() => {
            format!("{}, nothing of the base changes", parts.join(", "))
        }
        _ => parts.join(", "),
    }
}

/// The tables of what comes in and of what leaves, each after an empty line.
fn tables(platform: &PlatformBuilding, width: Option<usize>) -> String {
    let plan = &platform.plan;
    let mut text = String::new();
    let (replaced, added): (Vec<&Install>, Vec<&Install>) = plan
        .installs
        .iter()
        .partition(|install| install.replaces.is_some());
    let size = |size: Option<u64>| size.map_or_else(|| "?".to_owned(), words::bytes);
    let incoming = |title: &'static str, installs: &[&Install]| {
        if installs.is_empty() {
            return String::new();
        }
        let rows: Vec<Vec<String>> = installs
            .iter()
            .map(|install| {
                let version = match &install.replaces {
                    Some(departure) => format!("{} -> {}", departure.version, install.version),
                    None => install.version.to_string(),
                };
                vec![
                    install.name.to_string(),
                    version,
                    size(install.wheel.size),
                    why(&install.required_by),
                ]
            })
            .collect();
        let total: Option<u64> = installs.iter().map(|install| install.wheel.size).sum();
        let sum = [
            words::count(installs.len(), "wheel"),
            String::new(),
            size(total),
            String::new(),
        ];
        let header = [
            (title, Align::Left),
            ("Version", Align::Left),
            ("Wheel", Align::Right),
            ("Required by", Align::Remark),
        ];
        format!("\n{}", columns(&header, &rows, Some(&sum), width))
    };
    text.push_str(&incoming("Added", &added));
    text.push_str(&incoming("Replaced in the base", &replaced));
    let departures = plan.departures();
    if !departures.is_empty() {
        let rows: Vec<Vec<String>> = departures
            .iter()
            .map(|departure| {
                let footprint = platform.leaving.get(&departure.name);
                vec![
                    departure.name.to_string(),
                    departure.version.to_string(),
                    footprint.map_or_else(
                        || "?".to_owned(),
                        |footprint| words::thousands(footprint.files),
                    ),
                    size(footprint.and_then(|footprint| footprint.bytes)),
                ]
            })
            .collect();
        let header = [
            ("Leaves the base", Align::Left),
            ("Version", Align::Left),
            ("Files", Align::Right),
            ("Size", Align::Right),
        ];
        let _ = write!(text, "\n{}", columns(&header, &rows, None, width));
    }
    text
}

fn image_lines(platform: &PlatformBuilding, image: &BuiltImage) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "  {:<10} {} {ASIDE}({}){ASIDE:#}",
        "image", image.manifest, platform.platform
    );
    for layer in &image.layers {
        let gone = match layer.whiteouts {
            0 => String::new(),
            number => format!(", {} of the base hidden", words::count(number, "path")),
        };
        let _ = writeln!(
            text,
            "  {:<10} {} {ASIDE}({}, {} unpacked, {}{gone}){ASIDE:#}",
            "layer",
            layer.digest,
            words::bytes(layer.size),
            words::bytes(layer.uncompressed),
            words::count(layer.files, "file"),
        );
    }
    if image.compiled > 0 {
        let modules = words::count(image.compiled, "module");
        let _ = writeln!(text, "  {:<9} {modules} compiled", "byte code");
    }
    if let Some(digest) = &platform.base_digest {
        let _ = writeln!(text, "  {:<10} {digest}", "base");
    }
    for attachment in &image.attached {
        let _ = writeln!(text, "  {:<10} {}", attachment.kind, attachment.digest);
    }
    text
}

/// What it took to bring the image there, in brackets.
fn how(reached: &Reached) -> String {
    let mut parts = vec![format!("{} sent", words::bytes(reached.sent))];
    if reached.verb == "written" {
        parts = vec![format!("{} written", words::bytes(reached.sent))];
    }
    if reached.mounted > 0 {
        parts.push(format!(
            "{} mounted",
            words::count(reached.mounted, "layer")
        ));
    }
    if reached.existing > 0 {
        parts.push(format!(
            "{} there already",
            words::count(reached.existing, "blob")
        ));
    }
    format!(" {ASIDE}({}){ASIDE:#}", parts.join(", "))
}
