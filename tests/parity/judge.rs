//! The judge, which reads in place of kubectl: the program of `tests/control-plane/judge`, built from
//! client-go.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

use jobpass_tests::launch::tool;
use serde::Deserialize;
use serde_json::{Value, json};

/// The running program. It answers one request at a time.
pub(crate) struct Judge {
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _process: Child,
}

/// The values that kubectl reads from a kubeconfig.
#[derive(Debug, Deserialize)]
pub(crate) struct Read {
    pub(crate) server: String,
    pub(crate) server_name: String,
    pub(crate) insecure: bool,
    pub(crate) authority: String,
    pub(crate) proxy: String,
    pub(crate) namespace: String,
    pub(crate) token: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) certificate: String,
    pub(crate) auth_provider: bool,
    #[serde(rename = "as")]
    pub(crate) impersonate: String,
    pub(crate) as_uid: String,
    pub(crate) as_groups: Option<Vec<String>>,
    pub(crate) as_extra: Option<BTreeMap<String, Vec<String>>>,
    pub(crate) exec: Option<Exec>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Exec {
    pub(crate) interactive_mode: String,
}

impl Judge {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(tool("judge"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the judge starts");
        let stdin = process.stdin.take().expect("piped");
        let stdout = BufReader::new(process.stdout.take().expect("piped"));
        Self {
            pipes: Mutex::new((stdin, stdout)),
            _process: process,
        }
    }

    /// The values that kubectl reads from a kubeconfig, or kubectl's reason to refuse it.
    pub(crate) fn read(
        &self,
        path: &str,
        context: &str,
        environment: &BTreeMap<String, String>,
    ) -> Result<Read, String> {
        let question = json!({"environment": environment, "kubeconfig": {"path": path, "context": context}});
        let answer = self.ask(&question)?;
        Ok(serde_json::from_value(answer["connection"].clone()).expect("a connection"))
    }

    /// The proxy that kubectl uses for a server. Empty if kubectl uses none.
    pub(crate) fn proxy(
        &self,
        server: &str,
        environment: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let answer = self.ask(&json!({"environment": environment, "proxy": server}))?;
        Ok(answer["proxy"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether kubectl trusts a server that sends this chain.
    pub(crate) fn trusts(&self, authority: &str, chain: &str, name: &str) -> Result<(), String> {
        let certificate = json!({"authority": authority, "chain": chain, "name": name});
        self.ask(&json!({"certificate": certificate})).map(drop)
    }

    fn ask(&self, question: &Value) -> Result<Value, String> {
        let mut pipes = self.pipes.lock().expect("no thread panics with this lock");
        let (stdin, stdout) = &mut *pipes;
        writeln!(stdin, "{question}").expect("the judge listens");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the judge answers");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}
