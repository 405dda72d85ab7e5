//! Plays a transcript on Kubernetes.

use std::{
    collections::{BTreeSet, HashMap, hash_map},
    fmt, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jobpass_devkit::{
    Front, SigningKey,
    transcript::{Answer, Asker, Entry, Exchange},
};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::compare::{Clocks, Difference, Names, claims, compare};

/// The time limit for all parts of Kubernetes to learn of a change: its controllers, and its caches of roles
/// and bindings.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

/// The player of one transcript.
pub(crate) struct Player<'a> {
    name: &'a str,
    front: &'a Front,
    key: &'a SigningKey,
    names: Names,
    /// The namespaces of the transcript. Objects in other namespaces do not matter.
    namespaces: BTreeSet<String>,
    /// For each token of the dev cluster, the claims of the token that takes its place on Kubernetes.
    tokens: HashMap<String, Value>,
    /// For each token of the dev cluster, the last token that the player sent in its place.
    sent: HashMap<String, String>,
    signed: usize,
    compared: usize,
    patience: Duration,
}

/// A request that Kubernetes answers differently.
pub(crate) struct Wrong {
    transcript: String,
    number: usize,
    request: String,
    differences: Vec<Difference>,
}

impl<'a> Player<'a> {
    pub(crate) fn new(name: &'a str, entries: &[Entry], front: &'a Front, key: &'a SigningKey) -> Self {
        let created = entries.iter().filter_map(|entry| match entry {
            Entry::Exchange(it) if it.method == "POST" && it.path == "/api/v1/namespaces" => {
                it.body["metadata"]["name"].as_str().map(str::to_owned)
            }
            _ => None,
        });
        Self {
            name,
            front,
            key,
            names: Names::default(),
            namespaces: created.collect(),
            tokens: HashMap::new(),
            sent: HashMap::new(),
            signed: 0,
            compared: 0,
            patience: PATIENCE,
        }
    }

    /// The number of replayed requests.
    pub(crate) fn compared(&self) -> usize {
        self.compared
    }

    /// Removes the Secrets and the namespaces that the transcript left behind.
    pub(crate) fn clear(self) {
        for namespace in self.namespaces {
            let path = format!("/api/v1/namespaces/{namespace}");
            self.front.ask("DELETE", &format!("{path}/secrets"), None);
            self.front.ask("DELETE", &path, None);
        }
    }

    /// Replays an entry. Returns the difference, if there is one.
    pub(crate) fn play(&mut self, entry: &Entry) -> Option<Wrong> {
        match entry {
            Entry::Signed { token } => {
                let claims = claims(token).expect("a token");
                let claims = self.names.translate(&claims.to_string());
                self.tokens
                    .insert(token.clone(), serde_json::from_str(&claims).expect("JSON"));
                None
            }
            // The dev cluster answered 501, because it does not support the request. That fails the test that
            // sent the request.
            Entry::Exchange(exchange) if exchange.answer.status == 501 => None,
            Entry::Exchange(exchange) => self.exchange(exchange),
        }
    }

    fn exchange(&mut self, exchange: &Exchange) -> Option<Wrong> {
        self.compared += 1;
        let dev = self.ours(exchange.answer.clone());
        let deadline = Instant::now() + self.patience;
        loop {
            let request = self.translated(exchange);
            let sent = now();
            let answer = self.front.play(&request);
            let clocks = Clocks {
                dev: exchange.now,
                real: sent..=now(),
            };
            let changed = answer.status < 400 && !asks_only(exchange);
            let real = self.ours(answer);
            let mut names = self.names.clone();
            let differences = compare(&dev, &real, clocks, &mut names);
            if differences.is_empty() || changed || Instant::now() > deadline {
                self.names = names;
                self.keep_tokens(&dev.body);
                if !differences.is_empty() {
                    // Later differences may result from this one.
                    self.patience = Duration::ZERO;
                }
                return (!differences.is_empty()).then(|| Wrong {
                    transcript: self.name.to_owned(),
                    number: self.compared,
                    request: shown(exchange),
                    differences,
                });
            }
            // No event tells that all parts of Kubernetes have learned of a change.
            thread::sleep(PAUSE);
        }
    }

    /// Replaces each value of the dev cluster in a request by the value that Kubernetes gave in its place.
    fn translated(&mut self, exchange: &Exchange) -> Exchange {
        let mut translated = exchange.clone();
        if let Asker::Bearer(token) = &exchange.by {
            translated.by = Asker::Bearer(self.token(token, exchange));
        }
        translated.path = self.path(&exchange.path);
        self.translate(&mut translated.body);
        translated
    }

    fn translate(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.names.translate(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.translate(item)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    match field.as_str().filter(|_| key == "resourceVersion") {
                        Some(version) => *field = self.names.get(version).unwrap_or(version).into(),
                        None => self.translate(field),
                    }
                }
            }
            _ => {}
        }
    }

    /// Replaces the continue token in a path by the continue token of Kubernetes.
    fn path(&self, path: &str) -> String {
        let path = self.names.translate(path);
        let Some((path, query)) = path.split_once('?') else {
            return path;
        };
        let parameters = query.split('&').map(|parameter| {
            let token = parameter.strip_prefix("continue=");
            let known =
                token.and_then(|token| self.names.get(&percent_decode_str(token).decode_utf8_lossy()));
            known.map_or_else(|| parameter.to_owned(), |known| format!("continue={known}"))
        });
        format!("{path}?{}", parameters.collect::<Vec<_>>().join("&"))
    }

    /// The token to send in place of a token of the dev cluster. The player signs it again, so that it
    /// expires after the same time as on the dev cluster.
    ///
    /// The API server has never seen a token that was signed just now. If the dev cluster had the token in
    /// its cache, this function returns the token that it returned before.
    fn token(&mut self, token: &str, exchange: &Exchange) -> String {
        let Some(claims) = self.tokens.get(token) else {
            return token.to_owned();
        };
        let sent = self.sent.entry(token.to_owned());
        if let hash_map::Entry::Occupied(sent) = &sent
            && exchange.remembered
        {
            return sent.get().clone();
        }
        let mut claims = claims.clone();
        let recorded = crate::compare::claims(token).unwrap_or_default();
        for time in ["exp", "iat", "nbf"] {
            if let Some(at) = recorded[time].as_i64() {
                claims[time] = (at - exchange.now + now()).into();
            }
        }
        self.signed += 1;
        claims["signed"] = self.signed.into();
        sent.insert_entry(self.key.sign(&claims)).get().clone()
    }

    fn keep_tokens(&mut self, body: &Value) {
        if let Some(token) = body["status"]["token"].as_str()
            && let Some(claims) = self.names.get(token).and_then(claims)
        {
            self.tokens.insert(token.to_owned(), claims);
        }
    }

    /// Removes from an answer the objects in namespaces that are not the transcript's.
    fn ours(&self, mut answer: Answer) -> Answer {
        if let Some(items) = answer.body["items"].as_array_mut() {
            items.retain(|item| match item["metadata"]["namespace"].as_str() {
                Some(namespace) => self.namespaces.contains(namespace),
                None => true,
            });
        }
        answer
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, request {}: {}",
            self.transcript, self.number, self.request
        )?;
        self.differences
            .iter()
            .try_for_each(|difference| difference.fmt(f))
    }
}

/// Whether a request changes nothing, so that the player can repeat it.
fn asks_only(exchange: &Exchange) -> bool {
    let path = exchange.path.split('?').next().unwrap_or_default();
    exchange.method == "GET" || path.ends_with("reviews")
}

fn shown(exchange: &Exchange) -> String {
    let by = match &exchange.by {
        Asker::Admin => "the administrator".to_owned(),
        Asker::Anonymous => "nobody".to_owned(),
        Asker::Bearer(token) => claims(token).map_or_else(
            || "a bearer".to_owned(),
            |claims| claims["sub"].as_str().unwrap_or("a bearer").to_owned(),
        ),
    };
    let body = match &exchange.body {
        Value::Null => String::new(),
        body => format!(" with {body}"),
    };
    format!("{} {} by {by}{body}", exchange.method, exchange.path)
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("this machine's clock is set").as_secs().cast_signed()
}
