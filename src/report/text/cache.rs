//! The cache for a person.

use std::fmt::Write as _;

use crate::report::cache_usage::CacheUsage;

use super::HEADING;
use super::table::{Align, columns};
use super::words::{bytes, one_line};

/// What the cache holds. `width` is that of the terminal, in cells.
#[must_use]
pub fn size(usage: &CacheUsage, width: Option<usize>) -> String {
    let (entries, size) = usage.total();
    let folder = one_line(&usage.folder.display().to_string());
    let mut text = String::new();
    if entries == 0 {
        let _ = writeln!(text, "{HEADING}{folder}{HEADING:#}: empty");
        return text;
    }
    let _ = writeln!(
        text,
        "{HEADING}{folder}{HEADING:#}: {} in {}\n",
        bytes(size),
        files(entries)
    );
    text.push_str(&table(usage, width));
    text
}

/// What was removed from the cache.
#[must_use]
pub fn removed(usage: &CacheUsage, width: Option<usize>) -> String {
    let (entries, size) = usage.total();
    let folder = one_line(&usage.folder.display().to_string());
    if entries == 0 {
        return format!("nothing to remove from {folder}\n");
    }
    format!(
        "removed {} in {} from {folder}\n\n{}",
        bytes(size),
        files(entries),
        table(usage, width)
    )
}

fn files(number: u64) -> String {
    let noun = if number == 1 { "file" } else { "files" };
    format!("{number} {noun}")
}

fn table(usage: &CacheUsage, width: Option<usize>) -> String {
    let rows: Vec<Vec<String>> = usage
        .parts
        .iter()
        .filter(|part| part.entries > 0)
        .map(|part| {
            vec![
                part.holds.to_owned(),
                part.entries.to_string(),
                bytes(part.bytes),
            ]
        })
        .collect();
    let (entries, size) = usage.total();
    let sum = ["total".to_owned(), entries.to_string(), bytes(size)];
    columns(
        &[
            ("what", Align::Left),
            ("files", Align::Right),
            ("size", Align::Right),
        ],
        &rows,
        Some(&sum),
        width,
    )
}
