//! The options of a command line as they were given, for answers that name another command line.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _};
use url::Url;

use crate::http::redacted;
use crate::report::invocation::GivenOption;

use super::arguments::Arguments;

/// Options that say where and how an answer appears, or where this machine keeps what it has fetched: not what it is.
const WITHOUT_EFFECT: [&str; 11] = [
    "format",
    "output",
    "annotate",
    "frontier",
    "quiet",
    "verbose",
    "color",
    "refresh",
    "offline",
    "cache_dir",
    "no_cache",
];

/// The options of `command` in `matches` that were given on the command line, in the order of the help, by their short
/// names where they have one. Credentials in addresses are left out.
#[must_use]
pub fn options(command: &Command, matches: &ArgMatches) -> Vec<GivenOption> {
    let mut given = Vec::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let Some(name) = name_of(argument) else {
            continue;
        };
        if WITHOUT_EFFECT.contains(&id)
            || matches.value_source(id) != Some(ValueSource::CommandLine)
        {
            continue;
        }
        if matches!(argument.get_action(), ArgAction::SetTrue) {
            given.push(GivenOption { name, value: None });
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            given.push(GivenOption {
                name: name.clone(),
                value: Some(without_credentials(&value.to_string_lossy())),
            });
        }
    }
    given
}

/// Names of the options that `imgtool build` has and the question of a base has not.
#[must_use]
pub fn of_build() -> Vec<String> {
    let program = Arguments::command();
    let options = |verb: &str| -> Vec<String> {
        let command = program.find_subcommand(verb);
        let arguments = command.into_iter().flat_map(Command::get_arguments);
        arguments.filter_map(name_of).collect()
    };
    let of_question = options("resolve");
    let mut own = options("build");
    own.retain(|name| matches!(name.as_str(), "-o") || !of_question.contains(name));
    own
}

/// What an option is called: its short name where it has one.
fn name_of(argument: &Arg) -> Option<String> {
    let long = argument.get_long()?;
    Some(match argument.get_short() {
        Some(short) => format!("-{short}"),
        None => format!("--{long}"),
    })
}

fn without_credentials(value: &str) -> String {
    match Url::parse(value) {
        Ok(url) if url.has_host() => match redacted(&url) {
            // As it was written, where there is nothing to leave out.
            shown if shown == url.as_str() => value.to_owned(),
            shown => shown,
        },
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::arguments::Arguments;

    #[test]
    fn what_has_a_part_in_the_answer_is_given_again() {
        let words = [
            "imgtool",
            "resolve",
            "tfx:1.16.0",
            "a>=1",
            "-r",
            "r.txt",
            "-c",
            "c.txt",
            "--policy",
            "minimal",
            "--hold",
            "x,y",
            "--no-image-config",
            "--extra-index-url",
            "https://user:secret@index.invalid/simple/",
            "--format",
            "json",
            "-o",
            "out.json",
            "-q",
            "--python",
            "3.10",
        ];
        let matches = Arguments::command()
            .try_get_matches_from(words)
            .expect("well-formed");
        let command = Arguments::command();
        let (verb, matches) = matches.subcommand().expect("a verb");
        let command = command.find_subcommand(verb).expect("known");
        let mut given: Vec<String> = options(command, matches)
            .into_iter()
            .map(|it| format!("{} {}", it.name, it.value.unwrap_or_default()))
            .collect();
        given.sort();
        assert_eq!(
            given,
            [
                "--extra-index-url https://index.invalid/simple/",
                "--hold x",
                "--hold y",
                "--no-image-config ",
                "--policy minimal",
                "--python 3.10",
                "-c c.txt",
                "-r r.txt",
            ]
        );
    }
}
