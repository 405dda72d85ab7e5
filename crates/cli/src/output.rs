//! What a person or a program reads.

use std::{
    io::{Write as _, stderr, stdout},
    time::Duration,
};

use clap::{Arg, ArgMatches};
use jobpass_core::{Error, Kind, access::Report};
use tokio::{sync::mpsc, task::JoinHandle};

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

/// Prints a failure; that this may fail as well changes nothing.
pub(crate) fn error(error: &Error) {
    let _ = stderr().write_all(format!("jobpass: {error}\n").as_bytes());
}

/// Prints something that is not a failure.
pub(crate) fn warning(text: &str) {
    let _ = stderr().write_all(format!("jobpass: warning: {text}\n").as_bytes());
}

/// Prints what happened, where standard output belongs to somebody else.
pub(crate) fn note(text: &str) {
    let _ = stderr().write_all(format!("jobpass: {text}\n").as_bytes());
}

/// Prints what a token may do, as far as it was asked for by name.
pub(crate) fn access(report: &Report) {
    if !report.findings.is_empty() {
        let _ = stderr().write_all(format!("{}\n", report.text()).as_bytes());
    }
}
