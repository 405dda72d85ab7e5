//! The result on standard output, and the log of errors, warnings and notes on standard error.

use std::{
    io::{Write as _, stderr, stdout},
    sync::{Arc, OnceLock},
    time::Duration,
};

use clap::{Arg, ArgMatches};
use jiff::Timestamp;
use jobpass_core::{
    Error, Kind,
    access::Report,
    inputs::flags,
    json,
    process::{environment::Environment, files::cannot_print},
};
use serde::Serialize;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::terminal::{
    access,
    screen::{PIPE, RED, Screen, YELLOW},
};

/// The time limit for the last lines of an interrupted program.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// The flag `--output text|json`.
pub(crate) fn flag() -> Arg {
    Arg::new("output")
        .long("output")
        .short('o')
        .value_name("FORMAT")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("Print text for people, or one line of JSON.")
}

/// Whether the flags include `--output json`.
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
    written.map_err(|error| cannot_print(&error))
}

/// A result of many lines.
///
/// A thread of its own writes them. If the reader of the pipe stops reading, it blocks that thread, but not
/// the thread that handles signals.
pub(crate) struct Lines {
    queue: mpsc::Sender<String>,
    writer: JoinHandle<Result<(), Error>>,
    /// The failure after which the thread stopped writing.
    failure: Arc<OnceLock<Error>>,
}

impl Lines {
    /// Starts the thread that writes to standard output.
    pub(crate) fn to_stdout() -> Self {
        Self::to(write)
    }

    fn to(write: fn(&str) -> Result<(), Error>) -> Self {
        // If somebody kills the process, it loses the queued lines. So the queue is as short as possible.
        let (queue, mut lines) = mpsc::channel::<String>(1);
        let failure = Arc::new(OnceLock::new());
        let failed = Arc::clone(&failure);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(text) = lines.blocking_recv() {
                write(&text).inspect_err(|error| drop(failed.set(error.clone())))?;
            }
            Ok(())
        });
        Self {
            queue,
            writer,
            failure,
        }
    }

    /// Queues `text`. If another text is in the queue, first waits until the thread takes it.
    ///
    /// # Errors
    /// The failure of an earlier write.
    pub(crate) async fn print(&self, text: String) -> Result<(), Error> {
        let stopped = |_| self.failure.get().cloned().unwrap_or_else(panicked);
        self.queue.send(text).await.map_err(stopped)
    }

    /// Waits until the thread has written all lines.
    pub(crate) async fn close(self) -> Result<(), Error> {
        drop(self.queue);
        self.writer.await.unwrap_or_else(|_| Err(panicked()))
    }
}

fn panicked() -> Error {
    Error::new(
        Kind::Internal,
        "jobpass panicked while it wrote to standard output",
    )
}

/// The format of the log. The program sets it once, when it starts.
static LOG: OnceLock<Log> = OnceLock::new();

enum Log {
    Text(Screen),
    Json,
}

/// The flag `--log-format text|json`, which every verb has.
pub(crate) fn log_format() -> Arg {
    Arg::new("log-format")
        .long("log-format")
        .env(flags::variable("log-format"))
        .hide_env_values(true)
        .global(true)
        // This position is below the flags that belong to the verb.
        .display_order(1000)
        .value_name("FORMAT")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("Write errors, warnings and notes to standard error as text, or as one line of JSON each.")
}

/// Sets the format of the log. Until then, the log is text without colours.
pub(crate) fn set_log_format(matches: &ArgMatches, environment: &Environment) {
    let format = matches.get_one::<String>("log-format");
    let _ = LOG.set(match format.is_some_and(|format| format == "json") {
        true => Log::Json,
        false => Log::Text(Screen::of_stderr(environment)),
    });
}

/// The screen that shows the log. If the log is JSON, the screen counts as a pipe.
pub(crate) fn log_screen() -> Screen {
    match LOG.get() {
        Some(Log::Text(screen)) => *screen,
        Some(Log::Json) | None => PIPE,
    }
}

/// Logs the failure that ends the program.
pub(crate) fn error(error: &Error) {
    Entry {
        level: Level::Error,
        message: error.message(),
        help: error.next_step(),
        kind: Some(error.kind()),
        access: None,
    }
    .log();
}

/// Logs a failure that does not end the program.
pub(crate) fn warning_of(error: &Error) {
    Entry {
        help: error.next_step(),
        ..Entry::new(Level::Warning, error.message())
    }
    .log();
}

/// Logs a warning.
pub(crate) fn warning(text: &str) {
    Entry::new(Level::Warning, text).log();
}

/// Logs an event. Standard output is only for the result, or for the output of a command.
pub(crate) fn note(text: &str) {
    Entry::new(Level::Info, text).log();
}

/// Logs the permissions of a token, if an input asked about some.
pub(crate) fn access(report: &Report) {
    if !report.findings.is_empty() {
        Entry {
            access: Some(report),
            ..Entry::new(Level::Info, "what the token may do")
        }
        .log();
    }
}

/// One entry of the log.
#[derive(Clone, Copy)]
struct Entry<'a> {
    level: Level,
    message: &'a str,
    help: Option<&'a str>,
    kind: Option<Kind>,
    access: Option<&'a Report>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warning,
    Info,
}

impl<'a> Entry<'a> {
    fn new(level: Level, message: &'a str) -> Self {
        Self {
            level,
            message,
            help: None,
            kind: None,
            access: None,
        }
    }

    fn log(&self) {
        let text = match LOG.get() {
            // If jobpass cannot serialise an entry, it logs the entry as text.
            Some(Log::Json) => self.json(Timestamp::now()).unwrap_or_else(|_| self.text(PIPE)),
            Some(Log::Text(_)) | None => self.text(log_screen()),
        };
        // If jobpass cannot write to the log, it still revokes the token.
        let _ = stderr().write_all(format!("{text}\n").as_bytes());
    }

    fn json(&self, time: Timestamp) -> Result<String, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Line<'a> {
            time: Timestamp,
            level: Level,
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
        json::text(&Line {
            time,
            level: self.level,
            message: self.message,
            help: self.help,
            kind: self.kind.map(Kind::word),
            exit_code: self.kind.map(Kind::exit_code),
            access: self.access.map(access::json),
        })
    }

    fn text(&self, screen: Screen) -> String {
        if let Some(report) = self.access {
            return access::table(report, screen);
        }
        let (prefix, colour) = match self.level {
            Level::Error => ("jobpass:", RED),
            Level::Warning => ("jobpass: warning:", YELLOW),
            Level::Info => ("jobpass:", ""),
        };
        let help = self.help.map_or_else(String::new, |help| format!("\n\n{help}"));
        let text = screen.laid_out(&format!("{prefix} {}{help}", self.message));
        text.replacen(prefix, &screen.paint(prefix, colour), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The caller must learn why the write failed: the pipe may have no reader, or the disk may be full.
    #[tokio::test]
    async fn lines_that_cannot_be_written_fail_for_the_reason_of_the_write() {
        let lines = Lines::to(|_| Err(Error::new(Kind::Deliver, "disk full")));
        let mut printed = Ok(());
        // The thread takes one line, and another may be in the queue.
        for _ in 0..3 {
            printed = printed.and(lines.print("a".into()).await);
        }
        assert_eq!(printed.expect_err("a failure").message(), "disk full");
        assert_eq!(lines.close().await.expect_err("a failure").message(), "disk full");
    }

    fn failure() -> Error {
        // The message of a server and the next step may have several paragraphs each.
        Error::new(Kind::Refused, "the API server refused:\n\nno").help("ask for less\n\nor for longer")
    }

    fn entry(error: &Error) -> Entry<'_> {
        Entry {
            level: Level::Error,
            message: error.message(),
            help: error.next_step(),
            kind: Some(error.kind()),
            access: None,
        }
    }

    #[test]
    fn json_keeps_the_message_and_the_help_apart() {
        let error = failure();
        let json = entry(&error).json(Timestamp::UNIX_EPOCH).expect("JSON");
        insta::assert_snapshot!(json, @r#"{"time":"1970-01-01T00:00:00Z","level":"error","message":"the API server refused:\n\nno","help":"ask for less\n\nor for longer","kind":"refused","exit-code":4}"#);
        let json = Entry::new(Level::Info, "revoked")
            .json(Timestamp::UNIX_EPOCH)
            .expect("JSON");
        insta::assert_snapshot!(json, @r#"{"time":"1970-01-01T00:00:00Z","level":"info","message":"revoked"}"#);
    }

    #[test]
    fn text_begins_with_the_program_and_colours_only_that() {
        let coloured = Screen {
            colours: true,
            ..PIPE
        };
        let error = Error::new(Kind::Input, "it is wrong").help("mend it");
        assert_eq!(entry(&error).text(PIPE), "jobpass: it is wrong\n\nmend it");
        assert_eq!(
            entry(&error).text(coloured),
            "\x1b[31mjobpass:\x1b[0m it is wrong\n\nmend it"
        );
        let warning = Entry::new(Level::Warning, "jobpass: warning: twice");
        assert_eq!(
            warning.text(coloured),
            "\x1b[33mjobpass: warning:\x1b[0m jobpass: warning: twice"
        );
        assert_eq!(
            Entry::new(Level::Info, "revoked").text(coloured),
            "jobpass: revoked"
        );
    }
}
