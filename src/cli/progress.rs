//! Who waits sees the layers go by: a bar for each on the terminal, and nothing anywhere else.
//!
//! Bars appear only once reading takes longer than a glance, as many as the terminal has room for, and are gone when the
//! answer comes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{
    DecimalBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};

use crate::digest::Digest;
use crate::rootfs::LayerProgress;

/// What is done sooner is not worth a bar: it would only flicker.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often the terminal is drawn anew in a second: often enough for the eye, seldom enough to cost nothing.
const REDRAWS: u8 = 12;
/// Lines of the terminal that stay free: the prompt above and the line that the cursor stands on.
const FREE_LINES: u16 = 3;
/// No more bars than that, however high the terminal is: more say nothing more.
const MOST_BARS: usize = 24;
/// Characters of a digest's hash.
const SHORT_DIGEST: usize = 12;

/// Bars on a terminal.
#[derive(Debug)]
pub struct LayerBars {
    bars: MultiProgress,
    /// How many bars have room.
    room: usize,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the first layer was started.
    since: Option<Instant>,
    is_shown: bool,
    layers: BTreeMap<usize, Layer>,
    /// Bars of layers that are done, oldest first: they make room.
    done: Vec<usize>,
}

#[derive(Debug)]
struct Layer {
    digest: String,
    size: Option<u64>,
    read: u64,
    end: Option<End>,
    bar: Option<ProgressBar>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Read,
    Cached,
}

impl LayerBars {
    /// Bars on stderr where that is a terminal of `height` lines (`None` where it is not) and the user wants to be
    /// talked to; silence elsewhere.
    #[must_use]
    pub fn on_stderr(height: Option<u16>, quiet: bool) -> Self {
        match height {
            Some(height) if !quiet => Self::new(
                ProgressDrawTarget::stderr_with_hz(REDRAWS),
                height,
                PATIENCE,
            ),
            _ => Self::new(ProgressDrawTarget::hidden(), 0, PATIENCE),
        }
    }

    fn new(target: ProgressDrawTarget, height: u16, patience: Duration) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        Self {
            room: usize::from(height.saturating_sub(FREE_LINES)).min(MOST_BARS),
            patience,
            bars,
            state: Mutex::default(),
        }
    }

    /// Takes all bars off the terminal; what is written afterwards stands where they stood.
    pub fn clear(&self) {
        let mut state = self.lock();
        for layer in state.layers.values_mut() {
            if let Some(bar) = layer.bar.take() {
                self.bars.remove(&bar);
            }
        }
        state.done.clear();
        // The terminal that is gone needs no clearing.
        let _ = self.bars.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_silent(&self) -> bool {
        self.room == 0 || self.bars.is_hidden()
    }

    /// Shows bars if it is time: those of layers that are at work and, where there is room, of those that are done.
    fn show(&self, state: &mut State) {
        let is_due = state
            .since
            .is_some_and(|since| since.elapsed() >= self.patience);
        if state.is_shown || !is_due {
            return;
        }
        state.is_shown = true;
        let indexes: Vec<usize> = state.layers.keys().copied().collect();
        for index in indexes {
            self.show_layer(state, index);
        }
    }

    fn show_layer(&self, state: &mut State, index: usize) {
        let shown = state.layers.values().filter(|layer| layer.bar.is_some());
        if shown.count() >= self.room && !self.make_room(state) {
            return;
        }
        // Bars stand in the order of the layers.
        let before = state
            .layers
            .range(..index)
            .rev()
            .find_map(|(_, layer)| layer.bar.clone());
        let Some(layer) = state.layers.get_mut(&index) else {
            return;
        };
        let bar = ProgressBar::hidden();
        bar.set_style(style(layer.size, layer.end));
        if let Some(size) = layer.size {
            bar.set_length(size);
        }
        bar.set_prefix(format!("layer {index:<2} {}", layer.digest));
        let bar = match before {
            Some(before) => self.bars.insert_after(&before, bar),
            None => self.bars.insert(0, bar),
        };
        // What was read before the bar was there took its time, too.
        let passed = state.since.map_or(Duration::ZERO, |since| since.elapsed());
        let bar = bar.with_elapsed(passed);
        bar.set_position(layer.read);
        bar.tick();
        let is_done = layer.end.is_some();
        layer.bar = Some(bar);
        if is_done {
            state.done.push(index);
        }
    }

    /// Takes the bar of a layer that is done away; says whether there was one.
    fn make_room(&self, state: &mut State) -> bool {
        if state.done.is_empty() {
            return false;
        }
        let oldest = state.done.remove(0);
        if let Some(layer) = state.layers.get_mut(&oldest)
            && let Some(bar) = layer.bar.take()
        {
            self.bars.remove(&bar);
        }
        true
    }
}

impl Drop for LayerBars {
    fn drop(&mut self) {
        self.clear();
    }
}

impl LayerProgress for LayerBars {
    fn started(&self, index: usize, _total: usize, digest: &Digest, size: Option<u64>) {
        if self.is_silent() {
            return;
        }
        let mut state = self.lock();
        state.since.get_or_insert_with(Instant::now);
        let layer = Layer {
            digest: digest.digest().chars().take(SHORT_DIGEST).collect(),
            size,
            read: 0,
            end: None,
            bar: None,
        };
        state.layers.insert(index, layer);
        if state.is_shown {
            self.show_layer(&mut state, index);
        } else {
            self.show(&mut state);
        }
    }

    fn advanced(&self, index: usize, bytes: u64) {
        if self.is_silent() {
            return;
        }
        let mut state = self.lock();
        if let Some(layer) = state.layers.get_mut(&index) {
            layer.read = layer.read.saturating_add(bytes);
            if let Some(bar) = &layer.bar {
                bar.set_position(layer.read);
            }
        }
        self.show(&mut state);
    }

    fn finished(&self, index: usize, cached: bool) {
        if self.is_silent() {
            return;
        }
        let mut state = self.lock();
        let end = if cached { End::Cached } else { End::Read };
        let Some(layer) = state.layers.get_mut(&index) else {
            return;
        };
        layer.end = Some(end);
        let size = layer.size;
        let bar = layer.bar.clone();
        if let Some(bar) = bar {
            bar.set_style(style(size, Some(end)));
            // It is not `finish`ed: lines of finished bars stay on the terminal when these go.
            bar.tick();
            state.done.push(index);
        }
        // A layer that had no room may have some now.
        let waiting = state
            .layers
            .iter()
            .find(|(_, layer)| layer.bar.is_none() && layer.end.is_none())
            .map(|(index, _)| *index);
        if let (true, Some(waiting)) = (state.is_shown, waiting) {
            self.show_layer(&mut state, waiting);
        }
    }
}

/// How a bar looks: what is known of the layer's size, and whether the layer is done.
fn style(size: Option<u64>, end: Option<End>) -> ProgressStyle {
    let template = match (end, size) {
        (Some(End::Cached), _) => "{prefix:.dim}  {msg:.dim}cached",
        (Some(End::Read), _) => "{prefix:.dim}  {decimal_bytes:>9} read",
        (None, Some(_)) => {
            "{prefix}  {decimal_bytes:>9} of {decimal_total_bytes:>9} {wide_bar:.cyan/dim} {rate:>11}"
        }
        (None, None) => "{prefix}  {decimal_bytes:>9} {rate:>11}",
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        // The library's own rate begins with the bar, which comes later than the bytes.
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let seconds = state.elapsed().as_secs_f64().max(0.001);
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate for the eye"
            )]
            let rate = (state.pos() as f64 / seconds) as u64;
            // What cannot be drawn is not.
            let _ = write!(out, "{}/s", DecimalBytes(rate));
        })
        .progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use indicatif::TermLike;

    use super::*;
    use crate::digest::sha256;

    /// Cells of a line of the terminal.
    const WIDTH: usize = 80;

    /// A terminal that holds what stands on it, as far as bars use one.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<Cells>>);

    #[derive(Debug, Default)]
    struct Cells {
        rows: Vec<Vec<char>>,
        row: usize,
        column: usize,
        /// Whether anything was ever written.
        is_touched: bool,
    }

    impl Cells {
        fn put(&mut self, character: char) {
            // As on every terminal, the cursor stays behind a full line until something more is written.
            if self.column == WIDTH {
                (self.row, self.column) = (self.row + 1, 0);
            }
            if self.rows.len() <= self.row {
                self.rows.resize(self.row + 1, vec![' '; WIDTH]);
            }
            self.rows[self.row][self.column] = character;
            self.column += 1;
        }
    }

    impl Screen {
        fn cells(&self) -> MutexGuard<'_, Cells> {
            self.0.lock().expect("cells")
        }

        /// The lines that are not empty.
        fn lines(&self) -> Vec<String> {
            let cells = self.cells();
            let lines = cells.rows.iter().map(String::from_iter);
            lines
                .map(|line| line.trim_end().to_owned())
                .filter(|line| !line.is_empty())
                .collect()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            u16::try_from(WIDTH).expect("small")
        }

        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            let mut cells = self.cells();
            cells.row = cells.row.saturating_sub(n);
            Ok(())
        }

        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.cells().row += n;
            Ok(())
        }

        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            let mut cells = self.cells();
            cells.column = (cells.column + n).min(WIDTH);
            Ok(())
        }

        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            let mut cells = self.cells();
            cells.column = cells.column.saturating_sub(n);
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            let mut cells = self.cells();
            (cells.row, cells.column) = (cells.row + 1, 0);
            Ok(())
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            let mut cells = self.cells();
            cells.is_touched = true;
            for character in anstream::adapter::strip_str(text).to_string().chars() {
                match character {
                    '\r' => cells.column = 0,
                    '\n' => (cells.row, cells.column) = (cells.row + 1, 0),
                    character => cells.put(character),
                }
            }
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            let mut cells = self.cells();
            let row = cells.row;
            if let Some(line) = cells.rows.get_mut(row) {
                line.fill(' ');
            }
            cells.column = 0;
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn bars(screen: &Screen, height: u16, patience: Duration) -> LayerBars {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 255);
        LayerBars::new(target, height, patience)
    }

    fn start(bars: &LayerBars, index: usize, size: Option<u64>) {
        bars.started(
            index,
            9,
            &sha256(&[u8::try_from(index).expect("small")]),
            size,
        );
    }

    #[test]
    fn each_layer_has_a_bar_until_all_are_cleared() {
        let screen = Screen::default();
        let bars = bars(&screen, 24, Duration::ZERO);
        start(&bars, 1, Some(2_000_000));
        start(&bars, 0, None);
        bars.advanced(1, 1_000_000);
        bars.finished(0, true);
        std::thread::sleep(Duration::from_millis(20));
        bars.advanced(1, 500_000);
        let text = screen.lines();
        assert_eq!(text.len(), 2, "{text:?}");
        assert_eq!(text[0], "layer 0  6e340b9cffb3  cached");
        assert!(
            text[1].starts_with("layer 1  4bf5122f3445    1.50 MB of   2.00 MB ━"),
            "{text:?}"
        );
        bars.clear();
        assert_eq!(screen.lines(), [""; 0]);
    }

    #[test]
    fn what_is_done_at_once_is_never_drawn() {
        let screen = Screen::default();
        let bars = bars(&screen, 24, Duration::from_secs(3600));
        start(&bars, 0, Some(1));
        bars.advanced(0, 1);
        bars.finished(0, false);
        drop(bars);
        assert!(!screen.cells().is_touched);
    }

    #[test]
    fn bars_never_outgrow_the_terminal() {
        let screen = Screen::default();
        let bars = bars(&screen, FREE_LINES + 2, Duration::ZERO);
        for index in 0..5 {
            start(&bars, index, Some(10));
        }
        let shown = || -> Vec<String> {
            let text = screen.lines();
            assert!(text.len() <= 2, "{text:?}");
            text.iter().map(|line| line[..7].to_owned()).collect()
        };
        assert_eq!(shown(), ["layer 0", "layer 1"]);
        bars.finished(0, false);
        assert_eq!(shown(), ["layer 1", "layer 2"]);
        bars.finished(1, false);
        bars.finished(2, false);
        assert_eq!(shown(), ["layer 3", "layer 4"]);
    }

    #[test]
    fn without_a_terminal_there_is_silence() {
        for (height, quiet) in [(None, false), (Some(24), true)] {
            let bars = LayerBars::on_stderr(height, quiet);
            start(&bars, 0, None);
            bars.advanced(0, 1);
            bars.finished(0, false);
            assert!(bars.lock().layers.is_empty());
        }
    }
}
