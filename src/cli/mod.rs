//! The program around the library: arguments in, bytes and an exit status out.

pub mod arguments;
mod build_arguments;
mod build_bars;
pub mod given;
pub mod progress;
pub mod settings;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::command::attached::AttachedSettings;
use crate::command::base::BaseSettings;
use crate::command::cache::CacheSettings;
use crate::command::explain::ExplainSettings;
use crate::command::inspect::{self, InspectSettings};
use crate::command::lock::LockSettings;
use crate::command::question::QuestionSettings;
use crate::command::recipe::RecipeSettings;
use crate::command::resolve::{Format, ResolveSettings};
use crate::command::{self, Answer, CommandError, ExitStatus, Talk};
use crate::image::AttachmentKind;
use crate::report::invocation::{GivenOption, Invocation};
use crate::report::text::inspect::Shown;
use crate::report::text::words::one_line;
use crate::resolution::{Aim, Policy};
use crate::transport::platform::OciPlatform;

use arguments::{
    AimName, Arguments, AttachedName, CacheChoice, CacheOptions, CacheVerb, CatalogVerb, ColorWhen,
    ExplainFormatName, FormatName, GlobalArguments, ImageArguments, InspectArguments,
    InspectFormatName, LockArguments, PlainFormatName, PolicyArguments, QuestionArguments, Verb,
};
use build_bars::BuildBars;
use progress::LayerBars;
use settings::Surroundings;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const NOTE: Style = AnsiColor::Cyan.on_default();

/// Runs the program with these arguments, the first of which is its name.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // A panic is a bug of ours and has an exit status of its own; its message is printed by the default hook.
    let status = std::panic::catch_unwind(|| run(arguments)).unwrap_or(ExitStatus::Bug as u8);
    ExitCode::from(status)
}

fn run(arguments: Vec<OsString>) -> u8 {
    let mut command = Arguments::command();
    let parsed = command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| {
            let arguments = Arguments::from_arg_matches(&matches)
                .map_err(|error| error.format(&mut command))?;
            Ok((arguments, matches))
        });
    let (arguments, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help goes to stdout and is a success, everything else to stderr with status 2; a closed pipe is no news.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(ExitStatus::BadInput as u8);
        }
    };
    let surroundings = Surroundings::of_this_process();
    let mut stderr = AutoStream::new(
        std::io::stderr(),
        choice(
            &arguments.global,
            &surroundings,
            std::io::stderr().is_terminal(),
        ),
    );
    let given = matches.subcommand().and_then(|(verb, matches)| {
        let command = command.find_subcommand(verb)?;
        Some(given::options(command, matches))
    });
    match answer(&arguments, &given.unwrap_or_default(), &surroundings) {
        Ok(answer) => {
            talk(&answer.talk, &arguments.global, &mut stderr);
            let mut stdout = std::io::stdout().lock();
            let plain = matches!(
                choice(&arguments.global, &surroundings, stdout.is_terminal()),
                ColorChoice::Never
            );
            let data = if plain {
                anstream::adapter::strip_str(&answer.data).to_string()
            } else {
                answer.data
            };
            match stdout
                .write_all(data.as_bytes())
                .and_then(|()| stdout.flush())
            {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    let _ = writeln!(
                        stderr,
                        "{ERROR}error{ERROR:#}: cannot write to stdout: {error}"
                    );
                    ExitStatus::BadInput as u8
                }
                _ => answer.status as u8,
            }
        }
        Err(error) => {
            let message = one_line(&error.to_string());
            let _ = writeln!(stderr, "{ERROR}error{ERROR:#}: {message}");
            let mut told = message;
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                // Most of our errors say in their own sentence what they come from.
                let message = one_line(&error.to_string());
                if !told.contains(&message) {
                    let _ = writeln!(stderr, "  {NOTE}because{NOTE:#}: {message}");
                    told = message;
                }
                cause = error.source();
            }
            if let Some(hint) = error.hint() {
                let _ = writeln!(stderr, "{NOTE}hint{NOTE:#}: {hint}");
            }
            error.status() as u8
        }
    }
}

fn choice(global: &GlobalArguments, surroundings: &Surroundings, terminal: bool) -> ColorChoice {
    match global.color {
        ColorWhen::Always => ColorChoice::AlwaysAnsi,
        ColorWhen::Auto if terminal && !surroundings.no_color() => ColorChoice::AlwaysAnsi,
        ColorWhen::Auto | ColorWhen::Never => ColorChoice::Never,
    }
}

fn talk(lines: &[Talk], global: &GlobalArguments, stderr: &mut impl Write) {
    for line in lines {
        let _ = match line {
            Talk::Answer(text) => write!(stderr, "{text}"),
            _ if global.quiet => Ok(()),
            Talk::Warning(text) => {
                writeln!(stderr, "{WARNING}warning{WARNING:#}: {}", one_line(text))
            }
            Talk::Note(text) => writeln!(stderr, "{NOTE}note{NOTE:#}: {}", one_line(text)),
            Talk::Detail(text) if global.verbose => writeln!(stderr, "{text}"),
            Talk::Detail(_) => Ok(()),
        };
    }
}

fn policy(arguments: &PolicyArguments) -> Policy {
    Policy {
        aim: match arguments.policy {
            AimName::Hold => Aim::Hold,
            AimName::Minimal => Aim::Minimal,
            AimName::Upgrade => Aim::Upgrade,
        },
        may_change: arguments.allow_change.iter().cloned().collect(),
        held: arguments.hold.iter().cloned().collect(),
        may_leave: arguments.allow_remove.iter().cloned().collect(),
        ..Policy::default()
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "a list of verbs, each with its settings"
)]
fn answer(
    arguments: &Arguments,
    given: &[GivenOption],
    surroundings: &Surroundings,
) -> Result<Answer, CommandError> {
    let width =
        terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    let base = |python: Option<&str>, image: &ImageArguments, cache: CacheChoice<'_>| {
        let height = terminal_size::terminal_size_of(std::io::stderr()).map(|(_, height)| height.0);
        let bars = LayerBars::on_stderr(height, arguments.global.quiet);
        check_platforms(&arguments.verb, &image.platform)?;
        surroundings.base(python, image, cache, Arc::new(bars))
    };
    let question = |asked: &QuestionArguments| {
        let base = base(asked.python.as_deref(), &asked.image, asked.index.cache())?;
        let (verb, own) = match &arguments.verb {
            Verb::Build(_) => ("build", given::of_build()),
            _ => ("resolve", Vec::new()),
        };
        let is_own = |option: &GivenOption| own.contains(&option.name);
        let (own, options) = given.iter().cloned().partition(is_own);
        let invocation = Invocation {
            verb,
            requirements: asked.requirements.clone(),
            options,
            own,
        };
        question_settings(asked, invocation, base, surroundings)
    };
    match &arguments.verb {
        Verb::Resolve(resolve) => command::resolve::run(&ResolveSettings {
            question: question(&resolve.question)?,
            frontier: resolve.frontier,
            format: resolve.output.format.map(|format| match format {
                FormatName::Text => Format::Text,
                FormatName::Json => Format::Json,
                FormatName::Requirements => Format::Requirements,
                FormatName::Constraints => Format::Constraints,
                FormatName::Pylock => Format::Pylock,
            }),
            output: resolve.output.output.clone(),
            annotate: resolve.output.annotate,
            width,
        }),
        Verb::Explain(explain) => command::explain::run(&ExplainSettings {
            question: question(&explain.question)?,
            format: match explain.format {
                ExplainFormatName::Text => command::explain::Format::Text,
                ExplainFormatName::Json => command::explain::Format::Json,
                ExplainFormatName::Dot => command::explain::Format::Dot,
            },
            width,
        }),
        Verb::Lock(lock) => {
            let base = base(None, &lock.image, lock.index.cache())?;
            command::lock::run(&lock_settings(lock, base, surroundings)?)
        }
        Verb::Inspect(inspect) => {
            let base = base(
                inspect.python.as_deref(),
                &inspect.image,
                inspect.cache.cache(),
            )?;
            inspect_answer(inspect, base, surroundings, width)
        }
        Verb::Cache(cache) => {
            let settings = |options: &CacheOptions| CacheSettings {
                folder: surroundings.cache_dir(options.cache_dir.as_deref()),
                json: options.format == PlainFormatName::Json,
                clock: settings::clock(),
                width,
            };
            match &cache.verb {
                CacheVerb::Dir { options } => command::cache::dir(&settings(options)),
                CacheVerb::Size { options } => command::cache::size(&settings(options)),
                CacheVerb::Prune { options, days } => {
                    command::cache::prune(&settings(options), *days)
                }
                CacheVerb::Clean { options } => command::cache::clean(&settings(options)),
            }
        }
        Verb::Build(build) => {
            let is_terminal = std::io::stderr().is_terminal();
            let bars = BuildBars::on_stderr(is_terminal, arguments.global.quiet);
            command::build::run(&build_arguments::settings(
                build,
                question(&build.question)?,
                surroundings,
                Arc::new(bars),
                width,
            )?)
        }
        Verb::Catalog(catalog) => match &catalog.verb {
            CatalogVerb::List { format } => {
                command::catalog::list(*format == PlainFormatName::Json, width)
            }
            CatalogVerb::Show {
                reference,
                format,
                image,
                cache,
            } => command::catalog::show(
                reference,
                *format == PlainFormatName::Json,
                width,
                &base(None, image, cache.cache())?,
            ),
            CatalogVerb::Snapshot(snapshot) => {
                command::catalog::snapshot(&command::catalog::SnapshotSettings {
                    source: snapshot.source.clone(),
                    base: snapshot.base.clone(),
                    made_from: snapshot.made_from.clone(),
                    python: snapshot.python.clone(),
                    opening: base(
                        snapshot.python.as_deref(),
                        &snapshot.image,
                        snapshot.index.cache(),
                    )?,
                    libc: snapshot.libc.clone(),
                    architecture: snapshot.architecture.clone(),
                    prefix: snapshot.prefix.clone(),
                    output: snapshot.output.clone(),
                    today: surroundings.today(),
                    index: surroundings.index(&snapshot.index)?,
                    clock: settings::clock(),
                })
            }
        },
    }
}

/// Several platforms make several images, which is for `build` alone: every other verb is about one.
fn check_platforms(verb: &Verb, platforms: &[OciPlatform]) -> Result<(), CommandError> {
    let verb = match verb {
        Verb::Build(_) => return Ok(()),
        Verb::Resolve(_) => "resolve",
        Verb::Explain(_) => "explain",
        Verb::Lock(_) => "lock",
        Verb::Inspect(_) => "inspect",
        Verb::Catalog(_) => "catalog",
        Verb::Cache(_) => "cache",
    };
    if platforms.len() < 2 {
        return Ok(());
    }
    Err(CommandError::SeveralPlatforms {
        verb,
        platforms: platforms.to_vec(),
    })
}

fn question_settings(
    arguments: &QuestionArguments,
    invocation: Invocation,
    base: BaseSettings,
    surroundings: &Surroundings,
) -> Result<QuestionSettings, CommandError> {
    Ok(QuestionSettings {
        reference: arguments.reference.clone(),
        base: BaseSettings {
            reads_pip_settings: !arguments.no_image_config,
            ..base
        },
        requirements: arguments.requirements.clone(),
        requirement_files: arguments.requirement_files.clone(),
        constraint_files: arguments.constraint_files.clone(),
        override_files: arguments.override_files.clone(),
        server_version: arguments.server_version.clone(),
        policy: policy(&arguments.policy),
        index: surroundings.index(&arguments.index)?,
        variables: surroundings.variables(),
        invocation,
        clock: settings::clock(),
        may_be_nothing: false,
    })
}

fn inspect_answer(
    arguments: &InspectArguments,
    base: BaseSettings,
    surroundings: &Surroundings,
    width: Option<usize>,
) -> Result<Answer, CommandError> {
    match arguments.attached {
        Some(kind) => command::attached::run(&attached_settings(arguments, kind, base)),
        None => command::inspect::run(&inspect_settings(arguments, base, surroundings, width)),
    }
}

fn attached_settings(
    arguments: &InspectArguments,
    kind: AttachedName,
    base: BaseSettings,
) -> AttachedSettings {
    AttachedSettings {
        reference: arguments.reference.clone(),
        base,
        kind: match kind {
            AttachedName::Sbom => AttachmentKind::Sbom,
            AttachedName::Provenance => AttachmentKind::Provenance,
            AttachedName::Lock => AttachmentKind::Lock,
        },
        output: arguments.output.clone(),
    }
}

fn lock_settings(
    arguments: &LockArguments,
    base: BaseSettings,
    surroundings: &Surroundings,
) -> Result<LockSettings, CommandError> {
    let index = &arguments.index;
    Ok(LockSettings {
        recipes: arguments.recipes.clone(),
        check: arguments.check,
        opening: RecipeSettings {
            base: BaseSettings {
                reads_pip_settings: !arguments.no_image_config,
                ..base
            },
            index: surroundings.index(index)?,
            names_index: build_arguments::names_index(index),
            variables: surroundings.variables(),
            clock: settings::clock(),
        },
    })
}

fn inspect_settings(
    arguments: &InspectArguments,
    base: BaseSettings,
    surroundings: &Surroundings,
    width: Option<usize>,
) -> InspectSettings {
    let by_name = || inspect::Format::of_file(arguments.output.as_deref()?);
    let format = match arguments.format {
        Some(InspectFormatName::Text) => inspect::Format::Text,
        Some(InspectFormatName::Json) => inspect::Format::Json,
        Some(InspectFormatName::Requirements) => inspect::Format::Requirements,
        Some(InspectFormatName::Cyclonedx) => inspect::Format::CycloneDx,
        Some(InspectFormatName::Spdx) => inspect::Format::Spdx,
        None => by_name().unwrap_or(inspect::Format::Text),
    };
    InspectSettings {
        reference: arguments.reference.clone(),
        base: BaseSettings {
            lists_interpreters: true,
            // The other forms have no place for it, and a request is a request.
            lists_attached: matches!(format, inspect::Format::Text | inspect::Format::Json),
            ..base
        },
        format,
        shown: Shown {
            layers: arguments.layers,
            size: arguments.size,
        },
        output: arguments.output.clone(),
        source_date: surroundings.source_date(),
        clock: settings::clock(),
        width,
    }
}
