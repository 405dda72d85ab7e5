//! What a person or a program reads.

use std::{
    io::{Write as _, stderr, stdout},
    sync::OnceLock,
    time::Duration,
};

use clap::{Arg, ArgMatches};
use jiff::Timestamp;
use jobpass_core::{Error, Kind, access::Report, json, process::environment::Environment};
use serde::Serialize;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::terminal::{
    access,
    screen::{PIPE, RED, Screen, YELLOW},
};

/// For what is still to be said when the program is told to stop.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// `--output text|json`.
pub(crate) fn flag() -> Arg {
    Arg::new("output")
        .long("output")
        .value_name("FORMAT")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("Print for people, or one line of JSON")
}

pub(crate) fn is_json(matches: &ArgMatches) -> bool {
    matches
        .get_one::<String>("output")
        .is_some_and(|format| format == "json")
}

/// Prints the result.
pub(crate) fn result(text: &str) -> Result<(), Error> {
    write(&format!("{text}\n"))
}

fn write(text: &str) -> Result<(), Error> {
    let written = stdout()
        .write_all(text.as_bytes())
        .and_then(|()| stdout().flush());
    written.map_err(|error| Error::new(Kind::Deliver, format!("cannot write to standard output: {error}")))
}

/// A result of many lines. A thread of its own writes them, so that a reader who does not read cannot keep a signal from
/// being obeyed.
pub(crate) struct Lines {
    queue: mpsc::Sender<String>,
    written: JoinHandle<Result<(), Error>>,
}

impl Lines {
    pub(crate) fn to_stdout() -> Self {
        // As much is lost if the program is killed outright.
        let (queue, mut lines) = mpsc::channel::<String>(1);
        let written = tokio::task::spawn_blocking(move || {
            while let Some(text) = lines.blocking_recv() {
                write(&text)?;
            }
            Ok(())
        });
        Self { queue, written }
    }

    /// Waits until the lines before it are written.
    pub(crate) async fn print(&self, text: String) -> Result<(), Error> {
        let closed = |_| Error::new(Kind::Deliver, "standard output takes no more");
        self.queue.send(text).await.map_err(closed)
    }

    /// Waits until all is written.
    pub(crate) async fn close(self) -> Result<(), Error> {
        drop(self.queue);
        let panicked = |_| {
            Err(Error::new(
                Kind::Internal,
                "what writes to standard output panicked",
            ))
        };
        self.written.await.unwrap_or_else(panicked)
    }
}

/// How what is said beside the result is written: decided once, as the program starts.
static LOG: OnceLock<Log> = OnceLock::new();

enum Log {
    Text(Screen),
    Json,
}

/// One line of a log that programs read.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    time: Timestamp,
    level: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<Value>,
}

/// `--log-format text|json`, which every verb has.
pub(crate) fn log_format() -> Arg {
    Arg::new("log-format")
        .long("log-format")
        .env("JOBPASS_LOG_FORMAT")
        .hide_env_values(true)
        .global(true)
        // Behind what each verb is about.
        .display_order(1000)
        .value_name("FORMAT")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("Errors, warnings and notes on standard error: for people, or a line of JSON for each")
}

/// From now on, what is said is written as asked for.
pub(crate) fn log_as(matches: &ArgMatches, environment: &Environment) {
    let format = matches.get_one::<String>("log-format");
    let _ = LOG.set(match format.is_some_and(|format| format == "json") {
        true => Log::Json,
        false => Log::Text(Screen::of_stderr(environment)),
    });
}

/// The terminal on standard error, if it is one and a person reads it.
pub(crate) fn log_screen() -> Screen {
    match LOG.get() {
        Some(Log::Text(screen)) => *screen,
        Some(Log::Json) | None => PIPE,
    }
}

/// Prints a failure; that this may fail as well changes nothing.
pub(crate) fn error(error: &Error) {
    let kind = error.kind();
    say("error", &error.to_string(), Some(kind), None);
}

/// Prints something that is not a failure.
pub(crate) fn warning(text: &str) {
    say("warning", text, None, None);
}

/// Prints what happened, where standard output belongs to somebody else.
pub(crate) fn note(text: &str) {
    say("info", text, None, None);
}

/// Prints what a token may do, as far as it was asked for by name.
pub(crate) fn access(report: &Report) {
    if !report.findings.is_empty() {
        say("info", "what the token may do", None, Some(report));
    }
}

fn say(level: &'static str, text: &str, failed: Option<Kind>, report: Option<&Report>) {
    let said = if let Some(Log::Json) = LOG.get() {
        let (message, help) = text
            .split_once("\n\n")
            .map_or((text, None), |(message, help)| (message, Some(help)));
        let line = Line {
            time: Timestamp::now(),
            level,
            message,
            help,
            kind: failed.map(Kind::word),
            exit_code: failed.map(Kind::exit_code),
            access: report.map(access::json),
        };
        // It is said in any case.
        json::text(&line).unwrap_or_else(|_| text.to_owned())
    } else {
        let screen = log_screen();
        let (prefix, colour) = match level {
            "error" => ("jobpass:", RED),
            "warning" => ("jobpass: warning:", YELLOW),
            _ => ("jobpass:", ""),
        };
        match report {
            Some(report) => access::table(report, screen),
            None => screen.laid_out(&format!("{prefix} {text}")).replacen(
                prefix,
                &screen.paint(prefix, colour),
                1,
            ),
        }
    };
    let _ = stderr().write_all(format!("{said}\n").as_bytes());
}
