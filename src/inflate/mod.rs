//! gzip (RFC 1952) and the deflate stream inside of it (RFC 1951), decoded in one pass with bounded memory.
//!
//! Reading a layer takes as long as decoding it takes, so the decoder is built for speed, in safe Rust:
//!
//! - `bits` keeps 56 bits or more of the input in one word, so that a step never asks whether a bit is there;
//! - `huffman` packs what a step does into one entry of a table: up to two literals, or a literal and a match;
//! - `block` writes into one buffer that holds the window, too: a match is copied inside of it, a chunk at a time, and
//!   the reader lends the new bytes to its caller as they lie there, or hands over the buffer itself.
//!
//! Both ends of every buffer have slack, so that one check a turn of the loop stands for all that a turn reads and
//! writes. Slices are checked all the same; the compiler sees that most of these checks cannot fail.

mod bits;
mod block;
mod gzip;
mod huffman;

pub use gzip::{BUFFER, GzipReader};

use std::io;

/// The data breaks a rule of its format.
fn corrupt(what: &'static str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("gzip data is corrupt: {what}"),
    )
}

/// The source ends where the format has more to come.
fn truncated() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "gzip data ends before its end",
    )
}
