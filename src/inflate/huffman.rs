//! Huffman codes (RFC 1951, section 3.2.2) as tables that tell a decoder all it has to do in one look.
//!
//! A table is indexed with the next bits of the stream, as many as its root has; codes that are longer go on in a
//! subtable behind the root. Where a literal and what follows it fit into the root together, one entry tells both.

use std::io;

use super::bits::low;
use super::corrupt;

/// Bits of the longest code.
const LONGEST: usize = 15;
/// Symbols of the largest alphabet.
pub(super) const SYMBOLS: usize = 288;

/// What one look tells.
///
/// | bits | literals | match | distance | subtable |
/// |---|---|---|---|---|
/// | 0–5 | bits to consume | with extra bits | with extra bits | the root's bits |
/// | 6–7 | how many: 1 or 2 | 1 if a literal goes before, or 0 | 0 | 0 |
/// | 8–11 | 0 | bits before the extra ones | bits before the extra ones | bits of its index |
/// | 12–15 | 0 | `MATCH` | `MATCH` | `EXCEPTION`, `SUBTABLE` |
/// | 16–23 | the first | the literal | base | where it begins |
/// | 24–31 | the second | base less 3 | … | … |
///
/// The end of a block is an `EXCEPTION` with `END`, a code without meaning an `EXCEPTION` alone.
#[derive(Clone, Copy)]
pub(super) struct Entry(u32);

const CONSUMED: u32 = 0x3f;
const ONE_LITERAL: u32 = 1 << 6;
const MATCH: u32 = 1 << 12;
const EXCEPTION: u32 = 1 << 13;
const SUBTABLE: u32 = 1 << 14;
const END: u32 = 1 << 15;
/// Length of the shortest match.
const SHORTEST_MATCH: u32 = 3;

impl Entry {
    const MEANINGLESS: Self = Self(EXCEPTION);

    const fn literal(byte: u32) -> Self {
        Self(byte << 16 | ONE_LITERAL)
    }

    const fn length_from(base: u32, extra: u32) -> Self {
        Self((base - SHORTEST_MATCH) << 24 | MATCH | extra)
    }

    const fn distance_from(base: u32, extra: u32) -> Self {
        Self(base << 16 | MATCH | extra)
    }

    const fn number(number: u32) -> Self {
        Self(number << 16)
    }

    fn subtable(begin: usize, index_bits: usize, root: usize) -> Self {
        let fields = begin << 16 | index_bits << 8 | root;
        Self(EXCEPTION | SUBTABLE | u32::try_from(fields).unwrap_or_default())
    }

    /// The entry of a symbol together with the length of its code.
    fn coded(self, length: u32) -> Self {
        let before_extra = if self.0 & MATCH == 0 { 0 } else { length << 8 };
        Self(self.0 + before_extra + length)
    }

    /// One entry for a literal and the literal or match behind it.
    fn then(self, second: Self) -> Self {
        if second.0 & MATCH == 0 {
            Self(self.0 + (second.0 & 0xff) + ((second.0 & 0xff_0000) << 8))
        } else {
            Self(self.0 + second.0 + ((self.0 & CONSUMED) << 8))
        }
    }

    /// The bits to consume, with noise above the low six bits.
    #[inline]
    pub(super) fn consumed(self) -> u32 {
        self.0
    }

    /// Whether there is nothing but literals.
    #[inline]
    pub(super) fn is_literals(self) -> bool {
        self.0 & (MATCH | EXCEPTION) == 0
    }

    #[inline]
    pub(super) fn is_exception(self) -> bool {
        self.0 & EXCEPTION != 0
    }

    #[inline]
    pub(super) fn is_subtable(self) -> bool {
        self.0 & SUBTABLE != 0
    }

    #[inline]
    pub(super) fn is_end(self) -> bool {
        self.0 & END != 0
    }

    /// How many literals there are: of [`Entry::literals`] the first so many.
    #[inline]
    pub(super) fn literal_count(self) -> usize {
        (self.0 >> 6 & 3) as usize
    }

    #[inline]
    pub(super) fn literals(self) -> [u8; 2] {
        let [.., first, second] = self.0.to_le_bytes();
        [first, second]
    }

    /// The length of a match; `word` has the bits of the entry, not consumed yet.
    #[inline]
    pub(super) fn length(self, word: u64) -> usize {
        (self.0 >> 24) as usize + SHORTEST_MATCH as usize + self.extra(word)
    }

    /// A distance; `word` has the bits of the entry, not consumed yet.
    #[inline]
    pub(super) fn distance(self, word: u64) -> usize {
        (self.0 >> 16) as usize + self.extra(word)
    }

    /// A symbol of [`CODE_LENGTHS`].
    pub(super) fn as_number(self) -> usize {
        (self.0 >> 16) as usize
    }

    #[inline]
    fn extra(self, word: u64) -> usize {
        low((word & ((1 << (self.0 & CONSUMED)) - 1)) >> self.short_field())
    }

    #[inline]
    fn short_field(self) -> u32 {
        self.0 >> 8 & 0xf
    }
}

/// What symbols stand for, and what their codes may be.
pub(super) struct Alphabet {
    entries: [Entry; SYMBOLS],
    /// The first so many symbols are literals.
    literals: u16,
    /// Whether one code of one bit may stand alone, or no code at all.
    may_lack_codes: bool,
}

impl Alphabet {
    fn coded(&self, symbol: u16, length: usize) -> Entry {
        self.entries[usize::from(symbol)].coded(u32::try_from(length).unwrap_or_default())
    }
}

/// Literals, the end of a block and lengths of matches: RFC 1951, section 3.2.5.
pub(super) static LITERALS_AND_LENGTHS: Alphabet = {
    let mut entries = [Entry::MEANINGLESS; SYMBOLS];
    let mut symbol = 0;
    while symbol < 256 {
        entries[symbol as usize] = Entry::literal(symbol);
        symbol += 1;
    }
    entries[256] = Entry(EXCEPTION | END);
    let mut base = SHORTEST_MATCH;
    symbol = 257;
    while symbol < 285 {
        let extra = if symbol < 265 { 0 } else { (symbol - 261) / 4 };
        entries[symbol as usize] = Entry::length_from(base, extra);
        base += 1 << extra;
        symbol += 1;
    }
    // The longest match has a symbol of its own, though the one before it could say as much.
    entries[285] = Entry::length_from(258, 0);
    Alphabet {
        entries,
        literals: 256,
        may_lack_codes: true,
    }
};

/// Distances of matches: RFC 1951, section 3.2.5.
pub(super) static DISTANCES: Alphabet = {
    let mut entries = [Entry::MEANINGLESS; SYMBOLS];
    let mut base = 1;
    let mut symbol = 0;
    while symbol < 30 {
        let extra = if symbol < 4 { 0 } else { (symbol - 2) / 2 };
        entries[symbol as usize] = Entry::distance_from(base, extra);
        base += 1 << extra;
        symbol += 1;
    }
    Alphabet {
        entries,
        literals: 0,
        may_lack_codes: true,
    }
};

/// Lengths of codes and what repeats them: RFC 1951, section 3.2.7.
pub(super) static CODE_LENGTHS: Alphabet = {
    let mut entries = [Entry::MEANINGLESS; SYMBOLS];
    let mut symbol = 0;
    while symbol < 19 {
        entries[symbol as usize] = Entry::number(symbol);
        symbol += 1;
    }
    Alphabet {
        entries,
        literals: 0,
        may_lack_codes: false,
    }
};

/// A table with a root of `ROOT` bits and `SIZE` entries, a power of two that holds the largest subtables, too.
pub(super) struct Table<const ROOT: usize, const SIZE: usize> {
    entries: [Entry; SIZE],
}

impl<const ROOT: usize, const SIZE: usize> Table<ROOT, SIZE> {
    pub(super) const fn new() -> Self {
        Self {
            entries: [Entry::MEANINGLESS; SIZE],
        }
    }

    /// What the next bits say.
    #[inline]
    pub(super) fn look(&self, word: u64) -> Entry {
        self.entries[low(word) & ((1 << ROOT) - 1)]
    }

    /// What the bits behind those of a subtable's entry say.
    #[inline]
    pub(super) fn look_on(&self, subtable: Entry, word: u64) -> Entry {
        let index = low(word) & ((1 << subtable.short_field()) - 1);
        self.entries[((subtable.0 >> 16) as usize + index) & (SIZE - 1)]
    }

    /// Makes the table for codes of these lengths, which belong to the first symbols of an alphabet.
    ///
    /// # Errors
    /// More codes than there is room for, or fewer than fill it, but where the alphabet may lack codes.
    pub(super) fn build(&mut self, lengths: &[u8], alphabet: &Alphabet) -> io::Result<()> {
        let mut counts = [0; LONGEST + 1];
        for &length in lengths {
            counts[usize::from(length)] += 1;
        }
        counts[0] = 0;
        // How many codes of a length the shorter ones leave free, and where its symbols begin among all sorted.
        let mut free = 1_usize;
        let mut starts = [0; LONGEST + 2];
        for length in 1..=LONGEST {
            free = (2 * free)
                .checked_sub(counts[length])
                .ok_or_else(|| corrupt("a set of codes is oversubscribed"))?;
            starts[length + 1] = starts[length] + counts[length];
        }
        let mut sorted = [0; SYMBOLS];
        let mut places = starts;
        for (symbol, &length) in (0..).zip(lengths) {
            if length > 0 {
                let place = &mut places[usize::from(length)];
                sorted[*place] = symbol;
                *place += 1;
            }
        }
        if free == 0 {
            let longer = self.fill_root(&sorted, &starts, alphabet);
            self.fill_subtables(longer, &sorted, &starts, alphabet);
            return Ok(());
        }
        let used = starts[LONGEST + 1];
        if !alphabet.may_lack_codes || used > counts[1] {
            return Err(corrupt("a set of codes is incomplete"));
        }
        self.entries[..1 << ROOT].fill(Entry::MEANINGLESS);
        if used == 1 {
            let entry = alphabet.coded(sorted[0], 1);
            for even in self.entries[..1 << ROOT].iter_mut().step_by(2) {
                *even = entry;
            }
        }
        Ok(())
    }

    /// Fills the root from the shortest codes on: for one bit more the entries so far stand twice, and the codes of
    /// just this length replace some. So each code is written once. Pairs are but codes that are as long as both.
    ///
    /// Returns the first code that is longer.
    fn fill_root(
        &mut self,
        sorted: &[u16; SYMBOLS],
        starts: &[usize; LONGEST + 2],
        alphabet: &Alphabet,
    ) -> usize {
        let mut codes = [0; SYMBOLS];
        let mut code = 0;
        for length in 1..=ROOT {
            let half = 1 << (length - 1);
            self.entries.copy_within(..half, half);
            let same = starts[length]..starts[length + 1];
            for (place, &symbol) in codes[same.clone()].iter_mut().zip(&sorted[same]) {
                self.entries[code] = alphabet.coded(symbol, length);
                *place = code;
                code = code_after(code, length);
            }
            for first in 1..length {
                let second = length - first;
                for one in starts[first]..starts[first + 1] {
                    if sorted[one] >= alphabet.literals {
                        break;
                    }
                    let literal = alphabet.coded(sorted[one], first);
                    for two in starts[second]..starts[second + 1] {
                        let behind = alphabet.coded(sorted[two], second);
                        if !behind.is_exception() {
                            self.entries[codes[one] | codes[two] << first] = literal.then(behind);
                        }
                    }
                }
            }
        }
        code
    }

    /// Codes that begin with the same bits share a subtable. It has an index as short as they allow.
    fn fill_subtables(
        &mut self,
        mut code: usize,
        sorted: &[u16; SYMBOLS],
        starts: &[usize; LONGEST + 2],
        alphabet: &Alphabet,
    ) {
        let mut prefix = usize::MAX;
        let mut subtable = 1 << ROOT..1 << ROOT;
        for length in ROOT + 1..=LONGEST {
            let same = &sorted[starts[length]..starts[length + 1]];
            for (at, &symbol) in same.iter().enumerate() {
                if code & ((1 << ROOT) - 1) != prefix {
                    prefix = code & ((1 << ROOT) - 1);
                    let mut bits = length - ROOT;
                    let mut filled = same.len() - at;
                    while filled < 1 << bits {
                        bits += 1;
                        filled = 2 * filled + starts[ROOT + bits + 1] - starts[ROOT + bits];
                    }
                    subtable = subtable.end..subtable.end + (1 << bits);
                    self.entries[prefix] = Entry::subtable(subtable.start, bits, ROOT);
                }
                let entry = alphabet.coded(symbol, length - ROOT);
                let first = subtable.start + (code >> ROOT);
                for slot in self.entries[first..subtable.end]
                    .iter_mut()
                    .step_by(1 << (length - ROOT))
                {
                    *slot = entry;
                }
                code = code_after(code, length);
            }
        }
    }
}

/// The code of a length that follows another. The stream has the first bit of a code lowest, and so have these
/// numbers; thus one is added at the high end, and carried downwards.
fn code_after(code: usize, length: usize) -> usize {
    let zeros = !code & ((1 << length) - 1);
    match zeros.checked_ilog2() {
        Some(highest) => code & ((1 << highest) - 1) | 1 << highest,
        None => 0,
    }
}
