//! The requests of some runs, from the records of jobpass and from audit logs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, Read as _},
    path::Path,
};

use serde::Deserialize;
use serde_json::Value;

use super::{audit::Event, needs::belongs_to_everybody};
use crate::{
    error::Error,
    process::files,
    proxy::record::{self, Line, Recorded},
    rbac::Request,
    text::{self, harmless},
};

/// The greatest length of a line that jobpass reads, in bytes. An event of level `RequestResponse` contains
/// the whole answer, and kube-apiserver limits the length of no answer.
const LONGEST_LINE: u64 = 16 << 20;
/// The beginning of each line that kube-apiserver writes to an audit log in the format `json`.
const EVENT: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/"#;
/// The name of the arguments, for messages.
const FILE: &str = "FILE";

/// The requests of some runs.
#[derive(Debug, Default)]
pub struct Runs {
    /// Each call, with the number of times that the runs made it.
    pub(super) calls: BTreeMap<Call, u64>,
    /// The number of files.
    pub(super) files: u64,
    /// The number of incomplete records.
    pub(super) cut: u64,
    /// The number of events that are longer than [`LONGEST_LINE`].
    too_long: u64,
    /// The namespaces of the ServiceAccounts that made the requests.
    accounts: BTreeSet<String>,
    /// A few credential ids from the audit logs, for the error if [`Runs::read`] got no ids.
    strangers: BTreeSet<String>,
}

/// A request and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) outcome: Outcome,
    /// Whether the API server answered 201 (Created).
    pub(super) has_created: bool,
}

/// The decision of the API server about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Allowed,
    Denied,
    /// There is no answer, or the answer shows no decision.
    Unknown,
}

/// A row of the table in GitHub's job summary: all calls about one resource.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The resource, or the path.
    pub what: String,
    /// The verbs.
    pub verbs: Vec<String>,
    /// The number of calls.
    pub calls: u64,
    /// The number of denied calls.
    pub denied: u64,
}

/// The fields that distinguish an event of an audit log from a line of a record.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    kind: Value,
    #[serde(default, rename = "apiVersion")]
    api_version: Value,
}

impl Runs {
    /// Adds the requests of a file: a record, or kube-apiserver's audit log (JSON lines of
    /// `audit.k8s.io/v1`). From an audit log, adds only the requests with one of the credential ids in `ids`,
    /// and skips the events that are longer than 16 MiB ([`Runs::too_long`]).
    ///
    /// # Errors
    /// If jobpass cannot read the file, or if a line is neither a line of a record nor an event. After other
    /// lines, the last line may be incomplete. Also if the file is an audit log in which no event has one of
    /// the ids.
    pub fn read(&mut self, path: &Path, ids: &[String]) -> Result<(), Error> {
        let name = text::path(path);
        let file = files::open(path).map_err(|error| unreadable(&name, &error))?;
        self.read_from(&name, io::BufReader::new(file), ids)
    }

    /// Adds the requests of a record. The job could write to this file, so jobpass reads no more of it than
    /// the greatest size of a record.
    ///
    /// # Errors
    /// As [`Runs::read`].
    pub fn read_record(&mut self, path: &Path) -> Result<(), Error> {
        let name = text::path(path);
        let file = files::open(path).map_err(|error| unreadable(&name, &error))?;
        self.read_from(&name, io::BufReader::new(file.take(record::LONGEST as u64)), &[])
    }

    /// Adds the requests of an open file. `name` is the file's name for messages.
    ///
    /// # Errors
    /// As [`Runs::read`].
    pub fn read_from(&mut self, name: &str, mut input: impl BufRead, ids: &[String]) -> Result<(), Error> {
        let ids = ids.iter().map(|id| id.strip_prefix("JTI=").unwrap_or(id));
        let ids = ids.collect::<BTreeSet<_>>();
        let (mut line, mut number) = (Vec::new(), 0_u64);
        let (mut has_events, mut has_found) = (false, false);
        loop {
            line.clear();
            let mut limited = (&mut input).take(LONGEST_LINE);
            let length = limited.read_until(b'\n', &mut line);
            if length.map_err(|error| unreadable(name, &error))? == 0 {
                break;
            }
            number += 1;
            // The writer may be in the middle of its last line.
            let is_whole = line.ends_with(b"\n");
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.take(&line, &ids) {
                Ok(Taken::Line) => {}
                Ok(Taken::Event(is_found)) => (has_events, has_found) = (true, has_found || is_found),
                Err(_) if !is_whole && line.len() as u64 == LONGEST_LINE => {
                    if !has_events && !line.starts_with(EVENT) {
                        return Err(wrong(name, number, "it is longer than 16 MiB"));
                    }
                    has_events = true;
                    self.too_long += 1;
                    let rest = input.skip_until(b'\n');
                    rest.map_err(|error| unreadable(name, &error))?;
                }
                Err(_) if !is_whole && number > 1 => {}
                Err(why) => return Err(wrong(name, number, &why)),
            }
        }
        if has_events && !has_found {
            return Err(self.nobody(name, !ids.is_empty()));
        }
        self.files += 1;
        Ok(())
    }

    fn take(&mut self, line: &[u8], ids: &BTreeSet<&str>) -> Result<Taken, String> {
        let head = serde_json::from_slice::<Head>(line).map_err(|_| "it is not a JSON object".to_owned())?;
        let api_version = head.api_version.as_str().unwrap_or_default();
        if api_version.starts_with("audit.k8s.io/") && head.kind == "Event" {
            let event = serde_json::from_slice::<Event>(line)
                .map_err(|error| format!("the event is wrong: {}", harmless(&error.to_string())))?;
            let id = event.credential_id().unwrap_or_default();
            if ids.is_empty() && self.strangers.len() < 4 && !id.is_empty() {
                self.strangers.insert(id.to_owned());
            }
            let is_found = ids.contains(id);
            if is_found && event.is_complete() {
                self.accounts.extend(event.namespace().map(str::to_owned));
                event.calls().into_iter().for_each(|call| self.add(call));
            }
            return Ok(Taken::Event(is_found));
        }
        let line = serde_json::from_slice::<Line>(line);
        match line
            .map_err(|_| "it is neither a request of a record nor an event of an audit log".to_owned())?
        {
            Line::Request(recorded) => {
                let namespace = recorded.account.split('/').next();
                self.accounts.extend(namespace.map(str::to_owned));
                self.add((*recorded).into());
            }
            Line::Cut { cut } => self.cut += u64::from(cut),
        }
        Ok(Taken::Line)
    }

    fn add(&mut self, call: Call) {
        *self.calls.entry(call).or_default() += 1;
    }

    /// The error for an audit log without an event of the job.
    fn nobody(&self, name: &str, has_ids: bool) -> Error {
        let strangers = self.strangers.iter().map(|id| format!("`{}`", harmless(id)));
        let strangers = strangers.collect::<Vec<_>>().join(", ");
        match has_ids {
            true => Error::input(
                "credential-id",
                format!("is not the id of any event in `{name}`"),
                "take `credential-id` from the receipt of the job. If the id is right, the audit policy \
                 leaves this job's requests out, or another file has them: kube-apiserver begins a new file \
                 when one is full",
            ),
            false => Error::input(
                "credential-id",
                format!("is missing: `{name}` is an audit log, which has the requests of all users"),
                format!(
                    "give `credential-id` from the receipt of the job{}",
                    if strangers.is_empty() {
                        String::new()
                    } else {
                        format!("; ids in this file: {strangers}")
                    }
                ),
            ),
        }
    }

    /// The namespace of the ServiceAccounts that made the requests. `None` if they are in several namespaces,
    /// or if there are none.
    pub(super) fn account_namespace(&self) -> Option<&str> {
        let only = self.accounts.first().filter(|_| self.accounts.len() == 1);
        only.map(String::as_str)
    }

    /// The number of requests.
    pub fn len(&self) -> u64 {
        self.calls.values().sum()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Whether a record is incomplete, so that later requests are missing.
    pub fn is_cut(&self) -> bool {
        self.cut > 0
    }

    /// The number of events of audit logs that jobpass skipped because they are longer than 16 MiB. They may
    /// belong to other users.
    pub fn too_long(&self) -> u64 {
        self.too_long
    }

    /// The rows of a table for people. Leaves out the requests that every ServiceAccount may make, unless the
    /// API server denied them. `own` is the namespace of the ServiceAccount.
    pub fn rows(&self, own: &str) -> Vec<Row> {
        let mut rows = BTreeMap::<String, Row>::new();
        for (call, times) in &self.calls {
            let Call { request, outcome, .. } = call;
            let is_denied = *outcome == Outcome::Denied;
            if belongs_to_everybody(request) && !is_denied {
                continue;
            }
            let what = what(request, own);
            let row = rows.entry(what.clone()).or_insert_with(|| Row {
                what,
                verbs: Vec::new(),
                calls: 0,
                denied: 0,
            });
            if !row.verbs.contains(&request.verb) {
                row.verbs.push(request.verb.clone());
            }
            row.calls += times;
            row.denied += if is_denied { *times } else { 0 };
        }
        rows.into_values().collect()
    }
}

/// The kind of a line.
enum Taken {
    /// A line of a record.
    Line,
    /// An event of an audit log, and whether it belongs to the job.
    Event(bool),
}

impl From<Recorded> for Call {
    fn from(recorded: Recorded) -> Self {
        Self {
            request: recorded.request,
            outcome: Outcome::of(recorded.status),
            has_created: recorded.status == Some(201),
        }
    }
}

impl Outcome {
    /// The decision behind a status. kube-apiserver answers 401 and 429 before it decides, and a proxy or a
    /// gateway may answer 502, 503 and 504 itself.
    pub(super) fn of(status: Option<u16>) -> Self {
        match status {
            Some(403) => Self::Denied,
            None | Some(401 | 429 | 502..=504) => Self::Unknown,
            Some(_) => Self::Allowed,
        }
    }
}

fn what(request: &Request, own: &str) -> String {
    let Request {
        group,
        resource,
        subresource,
        namespace,
        path,
        ..
    } = request;
    if !path.is_empty() {
        return path.clone();
    }
    let group = if group.is_empty() {
        String::new()
    } else {
        format!(".{group}")
    };
    let subresource = if subresource.is_empty() {
        String::new()
    } else {
        format!("/{subresource}")
    };
    let place = match &**namespace {
        "" => " -A".to_owned(),
        namespace if namespace == own => String::new(),
        namespace => format!(" -n {namespace}"),
    };
    format!("{resource}{group}{subresource}{place}")
}

fn unreadable(name: &str, error: &io::Error) -> Error {
    let why = harmless(&error.to_string());
    Error::input(
        FILE,
        format!("names `{name}`, which cannot be read: {why}"),
        "name the file that the input `record` named, or an audit log of kube-apiserver, and check the \
         file's permissions",
    )
}

fn wrong(name: &str, number: u64, why: &str) -> Error {
    Error::input(
        FILE,
        format!("names `{name}`, which is wrong in line {number}: {why}"),
        "name a file that the input `record` named, or kube-apiserver's audit log in the format `json`. \
         If the file is compressed, decompress it first",
    )
}
