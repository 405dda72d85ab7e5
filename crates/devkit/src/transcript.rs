//! A transcript of the requests to a dev cluster and its answers. `tests/replay` replays it on Kubernetes
//! itself.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use http::{HeaderMap, HeaderName, Response, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The variable that names the folder for the records of a test run. Transcripts go to a folder below it.
/// Without the variable, no test writes a transcript.
const RECORDS: &str = "JOBPASS_TEST_RECORDS";

/// The request headers that a transcript keeps. [`Exchange::by`] keeps the credential.
const OF_REQUESTS: &[HeaderName] = &[header::ACCEPT, header::CONTENT_TYPE];
/// The answer headers that a transcript keeps.
const OF_ANSWERS: &[HeaderName] = &[header::CONTENT_TYPE, header::RETRY_AFTER, header::WARNING];

/// One line of a transcript.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A token that a test signed with the cluster's key.
    Signed {
        token: String,
    },
    Exchange(Box<Exchange>),
}

/// A request and its answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exchange {
    /// The cluster's clock, in seconds since 1970.
    pub now: i64,
    pub by: Asker,
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// The headers without the credential: `Accept` and `Content-Type`.
    pub headers: BTreeMap<String, String>,
    /// The body: null if there is none, and a string if it is not JSON.
    pub body: Value,
    /// Whether the authentication came from the cache.
    pub remembered: bool,
    pub answer: Answer,
}

/// The sender of a request.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Asker {
    Admin,
    Anonymous,
    Bearer(String),
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Answer {
    pub status: u16,
    /// `Content-Type`, `Retry-After` and `Warning`.
    pub headers: BTreeMap<String, String>,
    /// The body: null if there is none, and a string if it is not JSON.
    pub body: Value,
}

impl Answer {
    pub(crate) fn of(answer: &Response<impl AsRef<[u8]>>) -> Self {
        Self {
            status: answer.status().as_u16(),
            headers: chosen(answer.headers(), OF_ANSWERS),
            body: body(answer.body().as_ref()),
        }
    }
}

pub(crate) fn of_request(headers: &HeaderMap) -> BTreeMap<String, String> {
    chosen(headers, OF_REQUESTS)
}

pub(crate) fn body(bytes: &[u8]) -> Value {
    match bytes {
        [] => Value::Null,
        _ => serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into()),
    }
}

/// The headers with these names. A repeated header becomes several lines.
fn chosen(headers: &HeaderMap, names: &[HeaderName]) -> BTreeMap<String, String> {
    let lines = |name: &HeaderName| {
        let values = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        values.collect::<Vec<_>>().join("\n")
    };
    names
        .iter()
        .map(|name| (name.to_string(), lines(name)))
        .filter(|(_, lines)| !lines.is_empty())
        .collect()
}

/// The file of a transcript. Each new entry becomes its last line.
pub(crate) struct Transcript(Mutex<File>);

impl Transcript {
    /// Begins a transcript, named after the test that starts the cluster, or after the program if no test
    /// does. `None` if this run records no transcripts.
    pub(crate) fn begin() -> Result<Option<Self>> {
        let Some(records) = env::var_os(RECORDS) else {
            return Ok(None);
        };
        let folder = Path::new(&records).join("transcripts");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Some(Self(Mutex::new(create(&folder)?))))
    }

    /// Changes the cluster, and records the change before any other change.
    pub(crate) fn write<T>(&self, act: impl FnOnce() -> T, entry: impl FnOnce(&T) -> Entry) -> T {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act();
        let entry = entry(&result);
        let mut line = serde_json::to_string(&entry).expect("all of it is JSON");
        line.push('\n');
        file.write_all(line.as_bytes())
            .expect("the transcript is written");
        result
    }
}

/// Reads all transcripts of a test run, by their names.
///
/// # Errors
///
/// If the folder of the transcripts or a file in it cannot be read, or if a file is not a transcript.
pub fn read_all(records: &Path) -> Result<BTreeMap<String, Vec<Entry>>> {
    let folder = records.join("transcripts");
    let mut transcripts = BTreeMap::new();
    let files = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for file in files {
        let path = file?.path();
        let entries =
            read(&path).with_context(|| format!("cannot read {} as a transcript", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        transcripts.insert(name.into_owned(), entries);
    }
    Ok(transcripts)
}

fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(path)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn create(folder: &Path) -> Result<File> {
    let thread = thread::current();
    let name = match thread.name() {
        Some("main") | None => program(),
        Some(test) => test.replace("::", "."),
    };
    for number in 1.. {
        let suffix = if number == 1 {
            String::new()
        } else {
            format!("-{number}")
        };
        let path = folder.join(format!("{name}{suffix}.jsonl"));
        match File::create_new(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => return created.with_context(|| format!("cannot create {}", path.display())),
        }
    }
    unreachable!("numbers do not end")
}

fn program() -> String {
    let path = env::current_exe().unwrap_or_else(|_| PathBuf::from("program"));
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
