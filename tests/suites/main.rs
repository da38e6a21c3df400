//! Suites from outside: vectors that other projects' tests produced, read where they lie (`IMGTOOL_SUITES`).
//!
//! `make suites` runs them; plain `cargo test` does not build this target, so a missing folder is a loud failure here and
//! never a green run that tested nothing. Where imgtool differs on purpose, `exceptions.toml` says so with the reason;
//! an exception that differs no longer fails as well.
#![expect(
    clippy::print_stdout,
    reason = "a suite says how many rows it used and how many it had no question for"
)]

mod harness;
mod layers;
mod packaging;
mod resolver;
#[path = "../support/mod.rs"]
mod support;
mod wheels;
