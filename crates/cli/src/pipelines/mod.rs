//! Whether the runs and pipelines that anchors belong to have ended, asked of GitHub and GitLab.
//!
//! Careful, never wrong: what is not certain counts as not ended. What an anchor says of itself is not trusted: it chooses
//! no host, and no path but the one of its own run.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use clap::{Arg, ArgMatches};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use jobpass_core::{
    Error,
    anchor::list::Anchor,
    cluster::{Proxy, install_crypto},
    inputs::flags,
    process::environment::Environment,
    text::harmless,
    token::Token,
};
use reqwest::{Client, StatusCode, Url, header, redirect};
use tokio::time::Instant;

use self::platform::{Answer, Platform, Run};

mod platform;

/// One question.
const PATIENCE: Duration = Duration::from_secs(10);
/// All questions of one site.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(120);
/// Questions under way at a time.
const CONCURRENT: usize = 8;
/// Questions to one site: a fifth of what GitHub allows a user in an hour. Also bounds what is remembered.
const MOST_QUESTIONS: usize = 1000;
/// Questions in a row without a usable answer, after which a site is not asked any more.
const MOST_TROUBLES: u32 = 3;
/// Bytes of an answer that are read. GitHub's is 20 to 40 KB.
const LONGEST_ANSWER: usize = 1 << 20;

/// The sites for which there is a token.
pub(crate) struct Pipelines {
    sites: Vec<(Site, Memory)>,
}

/// A GitHub or a GitLab.
struct Site {
    platform: Platform,
    /// What the address of each of its repositories begins with, `/` included.
    prefix: String,
    api: String,
    token: Token,
    client: Client,
}

/// What a site has said so far.
#[derive(Default)]
struct Memory {
    /// When a run ended; `None` if it has not, or that is not known.
    known: HashMap<Run, Option<Timestamp>>,
    /// Questions in a row without a usable answer, and why the last one had none.
    troubles: u32,
    trouble: Option<String>,
    first_question: Option<Instant>,
    /// Why it is not asked any more.
    silenced: Option<String>,
}

/// What became of a question.
enum Reply {
    Answer(Answer),
    /// The site does not know this run, or the token may not see it.
    Unknown,
    /// No usable answer.
    Trouble(String),
    /// There is no use in asking more.
    Stop(String),
}

pub(crate) fn flags() -> [Arg; 6] {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .env(flags::variable(name))
            .hide_env_values(true)
            .value_name(value)
            .help(help)
    };
    [
        flag(
            "github-token-file",
            "FILE",
            "File with a GitHub token (Actions: read), to ask whether runs have ended",
        ),
        flag(
            "github-token-env",
            "NAME",
            "Name of the environment variable that holds it",
        ),
        flag(
            "github-url",
            "URL",
            "The GitHub that the token is for [default: https://github.com]",
        ),
        flag(
            "gitlab-token-file",
            "FILE",
            "File with a GitLab token (read_api), to ask whether pipelines have ended",
        ),
        flag(
            "gitlab-token-env",
            "NAME",
            "Name of the environment variable that holds it",
        ),
        flag(
            "gitlab-url",
            "URL",
            "The GitLab that the token is for [default: https://gitlab.com]",
        ),
    ]
}

impl Pipelines {
    /// Whom to ask, by the flags.
    ///
    /// # Errors
    /// If one is wrong.
    pub(crate) fn new(matches: &ArgMatches, environment: &Environment) -> Result<Self, Error> {
        let mut sites = Vec::new();
        for platform in [Platform::GitHub, Platform::GitLab] {
            if let Some(site) = Site::new(platform, matches, environment)? {
                sites.push((site, Memory::default()));
            }
        }
        Ok(Self { sites })
    }

    /// Of each anchor, whether it is certain that its run or pipeline has ended.
    pub(crate) async fn ended(&mut self, anchors: &[&Anchor]) -> Vec<bool> {
        for (site, memory) in &mut self.sites {
            let runs = anchors
                .iter()
                .filter_map(|anchor| site.run(anchor))
                .collect::<BTreeSet<_>>();
            site.learn(runs, memory).await;
        }
        anchors.iter().map(|anchor| self.has_ended(anchor)).collect()
    }

    /// An end before the anchor was created is that of an earlier attempt of the same run.
    fn has_ended(&self, anchor: &Anchor) -> bool {
        let mut ends = self
            .sites
            .iter()
            .filter_map(|(site, memory)| *memory.known.get(&site.run(anchor)?)?);
        anchor
            .created
            .is_some_and(|created| ends.any(|ended| created < ended))
    }

    /// What a person should know about the answers.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        self.sites.iter().filter_map(|(site, memory)| {
            let name = site.platform.name();
            let what = match (&memory.silenced, &memory.trouble) {
                (Some(why), _) => format!("{name} was not asked about all runs: {why}"),
                (None, Some(why)) => format!("{name} gave no usable answer about some runs: {why}"),
                (None, None) => return None,
            };
            Some(format!("{what}; what is not known counts as not ended"))
        })
    }
}

impl Site {
    fn new(
        platform: Platform,
        matches: &ArgMatches,
        environment: &Environment,
    ) -> Result<Option<Self>, Error> {
        let word = platform.word();
        let given = |what: &str| {
            let value = matches.get_one::<String>(&format!("{word}-{what}"));
            value.map(|value| value.trim()).filter(|value| !value.is_empty())
        };
        let (in_file, in_env) = (format!("{word}-token-file"), format!("{word}-token-env"));
        let token = match (given("token-file"), given("token-env")) {
            (Some(path), None) => Token::from_file(&in_file, path.as_ref())?,
            (None, Some(variable)) => Token::from_env(&in_env, variable, environment)?,
            (Some(_), Some(_)) => {
                let problem = format!("and input `{in_env}` are both given");
                return Err(Error::input(
                    &in_file,
                    problem,
                    "give the one that holds the token",
                ));
            }
            (None, None) if given("url").is_some() => {
                let problem = "is given without a token";
                return Err(Error::input(
                    &format!("{word}-url"),
                    problem,
                    format!("add `{in_env}` or `{in_file}`"),
                ));
            }
            (None, None) => return Ok(None),
        };
        let url = site_url(platform, given("url").unwrap_or(platform.default_url()))?;
        let api = platform.api(&url);
        install_crypto();
        let mut client = Client::builder()
            .https_only(true)
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("jobpass/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        let unusable = |error: reqwest::Error| {
            let what = harmless(&error.without_url().to_string());
            Error::input(
                &format!("{word}-url"),
                format!("cannot be asked: {what}"),
                "check the system's certificates",
            )
        };
        if let Some(proxy) = Proxy::from_environment(&api, environment)?.and_then(|proxy| proxy.uri()) {
            client = client.proxy(reqwest::Proxy::https(proxy.to_string()).map_err(unusable)?);
        }
        Ok(Some(Self {
            platform,
            prefix: format!("{}/", url.as_str().trim_end_matches('/')),
            api,
            token,
            client: client.build().map_err(unusable)?,
        }))
    }

    /// The run that an anchor says it belongs to, if it is one of this site.
    fn run(&self, anchor: &Anchor) -> Option<Run> {
        let here = anchor.platform.as_deref() == Some(self.platform.word())
            && anchor
                .url
                .as_deref()
                .is_some_and(|url| url.starts_with(&self.prefix));
        here.then(|| self.platform.run(anchor)).flatten()
    }

    async fn learn(&self, runs: BTreeSet<Run>, memory: &mut Memory) {
        let new = runs
            .into_iter()
            .filter(|run| !memory.known.contains_key(run))
            .collect::<Vec<_>>();
        if new.is_empty() || memory.silenced.is_some() {
            return;
        }
        let until = *memory.first_question.get_or_insert_with(Instant::now) + PATIENCE_IN_ALL;
        let room = MOST_QUESTIONS.saturating_sub(memory.known.len());
        if new.len() > room {
            memory.silenced = Some(format!("one sweep asks {MOST_QUESTIONS} questions at most"));
        }
        let questions = stream::iter(new.into_iter().take(room)).map(|run| async {
            let reply = match tokio::time::timeout_at(until, self.ask(&run)).await {
                Ok(reply) => reply,
                Err(_) => Reply::Stop(format!(
                    "its answers took longer than {} s in all",
                    PATIENCE_IN_ALL.as_secs()
                )),
            };
            (run, reply)
        });
        let mut replies = std::pin::pin!(questions.buffer_unordered(CONCURRENT));
        while let Some((run, reply)) = replies.next().await {
            if let Some(why) = memory.note(self.platform, run, reply) {
                memory.silenced = Some(why);
                return;
            }
        }
    }

    async fn ask(&self, run: &Run) -> Reply {
        let request = self
            .client
            .get(format!("{}{}", self.api, self.platform.path(run)))
            .bearer_auth(self.token.expose())
            .header(header::ACCEPT, "application/json");
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Reply::Trouble(trouble(error)),
        };
        let status = response.status();
        let limited = || {
            let header = |name| response.headers().get(name);
            header("retry-after").is_some() || header("x-ratelimit-remaining").is_some_and(|left| left == "0")
        };
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Reply::Stop("it does not accept the token (401)".into()),
            StatusCode::TOO_MANY_REQUESTS => return Reply::Stop("its rate limit is used up (429)".into()),
            StatusCode::FORBIDDEN if limited() => {
                return Reply::Stop("its rate limit is used up (403)".into());
            }
            _ if status.is_server_error() => {
                return Reply::Trouble(format!("it answered {}", status.as_u16()));
            }
            _ => return Reply::Unknown,
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_ANSWER => {
                    body.extend_from_slice(&chunk)
                }
                Ok(Some(_)) => return Reply::Trouble("its answer is far too long".into()),
                Ok(None) => break,
                Err(error) => return Reply::Trouble(trouble(error)),
            }
        }
        match Answer::of(run, &body) {
            Some(answer) => Reply::Answer(answer),
            None => Reply::Trouble("its answer is not one about the run".into()),
        }
    }
}

impl Memory {
    /// Gives the reason if the site is not to be asked any more.
    fn note(&mut self, platform: Platform, run: Run, reply: Reply) -> Option<String> {
        let (ended, trouble) = match reply {
            Reply::Answer(answer) => (platform.ended(&answer), None),
            Reply::Unknown => (None, None),
            Reply::Trouble(why) => (None, Some(why)),
            Reply::Stop(why) => return Some(why),
        };
        self.known.insert(run, ended);
        let Some(why) = trouble else {
            self.troubles = 0;
            return None;
        };
        self.troubles += 1;
        self.trouble = Some(why.clone());
        (self.troubles >= MOST_TROUBLES).then(|| format!("{why}, {MOST_TROUBLES} times in a row"))
    }
}

/// The deepest cause, which names neither the URL nor what was sent.
fn trouble(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it did not answer within {} s", PATIENCE.as_secs());
    }
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    harmless(&deepest.to_string())
}

fn site_url(platform: Platform, text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok().filter(|url| {
        url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.ok_or_else(|| {
        Error::input(
            &format!("{}-url", platform.word()),
            "names no site that a token may be sent to",
            format!(
                "use an https URL such as `{}`, without user, password or query",
                platform.default_url()
            ),
        )
    })
}
