//! Who waits for a build sees wheels come and blobs go: one line on the terminal, and nothing anywhere else.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oci_spec::image::Descriptor;

use crate::command::build::BuildProgress;
use crate::package_index::FetchProgress;
use crate::transport::outgoing::{CopyOutcome, CopyProgress};
use crate::transport::registry::{BlobOutcome, PushProgress};

/// What is done sooner is not worth a line: it would only flicker.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often the terminal is drawn anew in a second.
const REDRAWS: u8 = 12;

/// One line on a terminal.
#[derive(Debug)]
pub struct BuildBars {
    is_silent: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bar: Option<ProgressBar>,
    what: &'static str,
    since: Option<Instant>,
    /// Size and position of each item, by what tells it from others.
    items: BTreeMap<String, (u64, u64)>,
    done: usize,
    total: usize,
}

impl BuildBars {
    /// A line on stderr where that is a terminal and the user wants to be talked to; silence elsewhere.
    #[must_use]
    pub fn on_stderr(is_terminal: bool, quiet: bool) -> Self {
        Self {
            is_silent: !is_terminal || quiet,
            state: Mutex::default(),
        }
    }

    /// Changes what is known and shows it. `what` is what is under way; when it becomes something else, a new line begins.
    fn update(&self, what: &'static str, change: impl FnOnce(&mut State)) {
        if self.is_silent {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.what != what {
            if let Some(bar) = state.bar.take() {
                bar.finish_and_clear();
            }
            *state = State {
                what,
                since: Some(Instant::now()),
                ..State::default()
            };
        }
        change(&mut state);
        let is_due = state.since.is_some_and(|since| since.elapsed() >= PATIENCE);
        if state.bar.is_none() && is_due {
            let target = ProgressDrawTarget::stderr_with_hz(REDRAWS);
            let bar = ProgressBar::with_draw_target(Some(0), target);
            bar.set_style(style());
            state.bar = Some(bar);
        }
        if let Some(bar) = &state.bar {
            let (length, position) = state.items.values().fold((0, 0), |(a, b), (size, at)| {
                (size.saturating_add(a), at.saturating_add(b))
            });
            bar.set_prefix(format!(
                "{what} {} of {}",
                state.done,
                state.total.max(state.items.len())
            ));
            bar.set_length(length.max(position));
            bar.set_position(position);
        }
    }

    /// Takes the line off the terminal.
    pub fn clear(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for BuildBars {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{prefix}  {decimal_bytes:>9} of {decimal_total_bytes:>9} {wide_bar:.cyan/dim}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .progress_chars("━╸─")
}

impl State {
    fn start(&mut self, key: String, size: u64, total: usize) {
        self.total = total;
        self.items.insert(key, (size, 0));
    }

    fn end(&mut self, key: &str) {
        self.done += 1;
        if let Some((size, at)) = self.items.get_mut(key) {
            *size = (*size).max(*at);
            *at = *size;
        }
    }
}

impl FetchProgress for BuildBars {
    fn started(&self, index: usize, total: usize, _: &str, size: Option<u64>) {
        self.update("wheels", |state| {
            state.start(index.to_string(), size.unwrap_or(0), total);
        });
    }

    fn advanced(&self, index: usize, bytes: u64) {
        self.update("wheels", |state| {
            if let Some((_, at)) = state.items.get_mut(&index.to_string()) {
                *at = at.saturating_add(bytes);
            }
        });
    }

    fn finished(&self, index: usize, _: bool) {
        self.update("wheels", |state| state.end(&index.to_string()));
    }
}

impl CopyProgress for BuildBars {
    fn started(&self, descriptor: &Descriptor, total: u64) {
        self.update("writing", |state| {
            state.start(descriptor.digest().to_string(), total, 0);
        });
    }

    fn advanced(&self, descriptor: &Descriptor, bytes: u64) {
        self.update("writing", |state| {
            if let Some((_, at)) = state.items.get_mut(descriptor.digest().as_ref()) {
                *at = at.saturating_add(bytes);
            }
        });
    }

    fn finished(&self, descriptor: &Descriptor, _: CopyOutcome) {
        self.update("writing", |state| state.end(descriptor.digest().as_ref()));
    }
}

impl PushProgress for BuildBars {
    fn started(&self, index: usize, total: usize, blob: &Descriptor) {
        self.update("pushing", |state| {
            state.start(index.to_string(), blob.size(), total);
        });
    }

    fn sent(&self, index: usize, position: u64) {
        self.update("pushing", |state| {
            if let Some((_, at)) = state.items.get_mut(&index.to_string()) {
                *at = position;
            }
        });
    }

    fn finished(&self, index: usize, _: BlobOutcome) {
        self.update("pushing", |state| state.end(&index.to_string()));
    }
}

impl BuildProgress for BuildBars {}
