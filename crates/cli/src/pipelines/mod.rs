//! Asks GitHub and GitLab whether the runs and pipelines of anchors have ended.
//!
//! A run counts as ended only if its site says so. In doubt, it counts as running.
//!
//! This module does not trust the annotations of an anchor. An annotation never chooses the host of a
//! request. It chooses only which run the path of the request names.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use clap::{Arg, ArgMatches};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use jobpass_core::{
    Error, Kind,
    anchor::list::ListedAnchor,
    cluster::{ExtraCertificates, Proxy, install_crypto},
    inputs::flags,
    process::environment::Environment,
    text::harmless,
    token::Token,
};
use reqwest::{Certificate, Client, StatusCode, Url, header, redirect};
use tokio::time::Instant;

use self::platform::{Answer, Platform, Run};

mod platform;

/// The time limit for one request.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// The time limit for all requests to one site.
const SITE_LIMIT: Duration = Duration::from_secs(120);
/// The greatest number of simultaneous requests to one site.
const CONCURRENT: usize = 8;
/// The greatest number of requests to one site: a fifth of those that GitHub allows a user in an hour. It
/// also limits the memory for the answers.
const MAX_REQUESTS: usize = 1000;
/// The number of failed requests in a row after which a site gets no more requests.
const MAX_FAILURES: u32 = 3;
/// The greatest number of bytes of a response. GitHub sends 20 to 40 KB.
const MAX_RESPONSE: usize = 1 << 20;

/// The sites for which the user gave a token.
pub(crate) struct Pipelines {
    sites: Vec<(Site, Memory)>,
}

/// One GitHub or GitLab instance.
struct Site {
    platform: Platform,
    /// The beginning of the URLs of the site's repositories, with a `/` at its end.
    prefix: String,
    /// The URL of the site's REST API.
    api: String,
    token: Token,
    client: Client,
}

/// The answers that jobpass has got from a site, and the failures of the site.
#[derive(Default)]
struct Memory {
    /// The end of each run about which jobpass asked the site. `None` if the run has not ended, or if its
    /// state is unknown.
    known: HashMap<Run, Option<Timestamp>>,
    /// The number of failed requests in a row.
    failures: u32,
    /// The reason for the last failed request.
    last_failure: Option<String>,
    first_request: Option<Instant>,
    /// The reason why jobpass sends the site no more requests.
    stopped: Option<String>,
}

/// The outcome of a request.
enum Reply {
    /// A response about the run.
    Answer(Answer),
    /// The site does not show this run: for example, it has no such run, or the token may not read it.
    Unknown,
    /// The request failed, for this reason.
    Failed(String),
    /// jobpass must send the site no more requests, for this reason.
    Stop(String),
}

/// The flags that name the sites and their tokens.
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
            "The file that holds a GitHub token (Actions: read), with which jobpass asks GitHub whether \
             runs have ended.",
        ),
        flag(
            "github-token-env",
            "NAME",
            "The name of the environment variable that holds the GitHub token.",
        ),
        flag(
            "github-url",
            "URL",
            "The URL of the GitHub that issued the token. [default: https://github.com]",
        ),
        flag(
            "gitlab-token-file",
            "FILE",
            "The file that holds a GitLab token (read_api), with which jobpass asks GitLab whether \
             pipelines have ended.",
        ),
        flag(
            "gitlab-token-env",
            "NAME",
            "The name of the environment variable that holds the GitLab token.",
        ),
        flag(
            "gitlab-url",
            "URL",
            "The URL of the GitLab that issued the token. [default: https://gitlab.com]",
        ),
    ]
}

impl Pipelines {
    /// The sites that the flags name.
    ///
    /// # Errors
    /// If a flag is wrong, or if jobpass cannot read a token or the certificates of `NODE_EXTRA_CA_CERTS`.
    pub(crate) fn new(matches: &ArgMatches, environment: &Environment) -> Result<Self, Error> {
        let mut sites = Vec::new();
        for platform in [Platform::GitHub, Platform::GitLab] {
            if let Some(site) = Site::new(platform, matches, environment)? {
                sites.push((site, Memory::default()));
            }
        }
        Ok(Self { sites })
    }

    /// Returns for each anchor whether its run or pipeline has ended for certain.
    pub(crate) async fn ended(&mut self, anchors: &[&ListedAnchor]) -> Vec<bool> {
        for (site, memory) in &mut self.sites {
            let runs = anchors
                .iter()
                .filter_map(|anchor| site.run(anchor))
                .collect::<BTreeSet<_>>();
            site.learn(runs, memory).await;
        }
        anchors.iter().map(|anchor| self.has_ended(anchor)).collect()
    }

    /// Whether the run of an anchor has ended for certain. An end before the creation of the anchor does not
    /// count, because it is the end of an earlier attempt of the run.
    fn has_ended(&self, anchor: &ListedAnchor) -> bool {
        let mut ends = self
            .sites
            .iter()
            .filter_map(|(site, memory)| *memory.known.get(&site.run(anchor)?)?);
        anchor
            .created
            .is_some_and(|created| ends.any(|ended| created < ended))
    }

    /// Returns a warning for each site that gave no usable answer about one run or more, or that jobpass
    /// stopped asking.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        self.sites.iter().filter_map(|(site, memory)| {
            let name = site.platform.name();
            match (&memory.stopped, &memory.last_failure) {
                (Some(why), _) => Some(format!(
                    "jobpass stopped asking {name} about runs: {why}. The remaining runs count as \
                     not ended"
                )),
                (None, Some(why)) => Some(format!(
                    "jobpass got no usable answer from {name} about some runs: {why}. These runs count \
                     as not ended"
                )),
                (None, None) => None,
            }
        })
    }
}

impl Site {
    /// The site of a platform. `None` if its flags are absent.
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
                return Err(Error::input(&in_file, problem, "give one of them"));
            }
            (None, None) if given("url").is_some() => {
                let problem = "is given without a token";
                return Err(Error::input(
                    format!("{word}-url"),
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
            // A redirect could lead the token to another site.
            .redirect(redirect::Policy::none())
            .timeout(REQUEST_LIMIT)
            .user_agent(concat!("jobpass/", env!("CARGO_PKG_VERSION")))
            // The code below reads the proxy variables by kubectl's rules. reqwest has other rules.
            .no_proxy();
        let unusable = |error: reqwest::Error| {
            let why = harmless(&error.without_url().to_string());
            Error::new(
                Kind::Input,
                format!("cannot prepare requests to {}: {why}", platform.name()),
            )
            .help("check HTTPS_PROXY, the system's certificates, and those of NODE_EXTRA_CA_CERTS")
        };
        if let Some(extra) = ExtraCertificates::of(environment)? {
            let certificates = Certificate::from_pem_bundle(extra.pem.as_bytes()).map_err(unusable)?;
            client = client.tls_certs_merge(certificates);
        }
        if let Some(proxy) = Proxy::from_environment(&api, environment).and_then(|proxy| proxy.uri()) {
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

    /// The run in the annotations of an anchor. `None` if the run does not belong to this site.
    fn run(&self, anchor: &ListedAnchor) -> Option<Run> {
        let here = anchor.platform.as_deref() == Some(self.platform.word())
            && anchor
                .url
                .as_deref()
                .is_some_and(|url| url.starts_with(&self.prefix));
        here.then(|| self.platform.run(anchor)).flatten()
    }

    /// Asks the site about each run that `memory` does not contain yet.
    async fn learn(&self, runs: BTreeSet<Run>, memory: &mut Memory) {
        let new = runs
            .into_iter()
            .filter(|run| !memory.known.contains_key(run))
            .collect::<Vec<_>>();
        if new.is_empty() || memory.stopped.is_some() {
            return;
        }
        let until = *memory.first_request.get_or_insert_with(Instant::now) + SITE_LIMIT;
        let room = MAX_REQUESTS.saturating_sub(memory.known.len());
        if new.len() > room {
            memory.stopped = Some(format!(
                "jobpass sends at most {MAX_REQUESTS} requests to one site"
            ));
        }
        let requests = stream::iter(new.into_iter().take(room)).map(|run| async {
            let reply = match tokio::time::timeout_at(until, self.ask(&run)).await {
                Ok(reply) => reply,
                Err(_) => Reply::Stop(format!(
                    "its responses together took longer than {} s",
                    SITE_LIMIT.as_secs()
                )),
            };
            (run, reply)
        });
        let mut replies = std::pin::pin!(requests.buffer_unordered(CONCURRENT));
        while let Some((run, reply)) = replies.next().await {
            if let Some(why) = memory.note(self.platform, run, reply) {
                memory.stopped = Some(why);
                return;
            }
        }
    }

    /// Asks the site about one run.
    async fn ask(&self, run: &Run) -> Reply {
        let request = self
            .client
            .get(format!("{}{}", self.api, self.platform.path(run)))
            .bearer_auth(self.token.expose())
            .header(header::ACCEPT, "application/json");
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Reply::Failed(cause(error)),
        };
        let status = response.status();
        let limited = || {
            let header = |name| response.headers().get(name);
            header("retry-after").is_some() || header("x-ratelimit-remaining").is_some_and(|left| left == "0")
        };
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                return Reply::Stop("it does not accept the token (401). Give a valid token".into());
            }
            StatusCode::TOO_MANY_REQUESTS => {
                return Reply::Stop("its rate limit is used up (429). Run the command again later".into());
            }
            StatusCode::FORBIDDEN if limited() => {
                return Reply::Stop("its rate limit is used up (403). Run the command again later".into());
            }
            _ if status.is_server_error() => {
                return Reply::Failed(format!("it answered {}", status.as_u16()));
            }
            _ => return Reply::Unknown,
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_RESPONSE => body.extend_from_slice(&chunk),
                Ok(Some(_)) => return Reply::Failed("its response is too long".into()),
                Ok(None) => break,
                Err(error) => return Reply::Failed(cause(error)),
            }
        }
        match Answer::of(run, &body) {
            Some(answer) => Reply::Answer(answer),
            None => Reply::Failed("its response is not about the run".into()),
        }
    }
}

impl Memory {
    /// Records a reply. Returns the reason if jobpass must send the site no more requests.
    fn note(&mut self, platform: Platform, run: Run, reply: Reply) -> Option<String> {
        let (ended, failure) = match reply {
            Reply::Answer(answer) => (platform.ended(&answer), None),
            Reply::Unknown => (None, None),
            Reply::Failed(why) => (None, Some(why)),
            Reply::Stop(why) => return Some(why),
        };
        self.known.insert(run, ended);
        let Some(why) = failure else {
            self.failures = 0;
            return None;
        };
        self.failures += 1;
        self.last_failure = Some(why.clone());
        (self.failures >= MAX_FAILURES).then(|| format!("{MAX_FAILURES} requests in a row failed: {why}"))
    }
}

/// The deepest cause of an error. The outer causes may contain the URL and the token; this one does not.
fn cause(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it did not answer within {} s", REQUEST_LIMIT.as_secs());
    }
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    harmless(&deepest.to_string())
}

/// Parses the URL of a site. jobpass sends a token to this site.
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
            format!("{}-url", platform.word()),
            "is not the URL of a site to which jobpass may send a token",
            format!(
                "use an https URL such as `{}`, without user, password or query",
                platform.default_url()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn anchor(run_id: u64, url: &str, created: &str) -> ListedAnchor {
        serde_json::from_value(json!({
            "namespace": "ci", "anchor": "jobpass-a", "uid": "u", "platform": "gitlab", "repository": "team/app",
            "run-id": run_id.to_string(), "url": url, "created": created,
        }))
        .expect("an anchor")
    }

    fn run(id: u64) -> Run {
        let anchor = anchor(id, "https://git.example/team/app", "2026-11-24T11:00:00Z");
        Platform::GitLab.run(&anchor).expect("a run")
    }

    fn pipelines(arguments: &[&str]) -> Result<Pipelines, Error> {
        let command = Command::new("sweep")
            .no_binary_name(true)
            // The environment of the tests must have no effect.
            .args(flags().map(|flag| flag.env(None)));
        let matches = command.try_get_matches_from(arguments).expect("arguments");
        let environment = Environment::default().with("CI_TOKEN", Some("glpat-0123456789abcdef"));
        Pipelines::new(&matches, &environment)
    }

    #[rstest]
    #[case::no_site(&[], Some(0))]
    #[case::one(&["--github-token-env", "CI_TOKEN"], Some(1))]
    #[case::both(&["--github-token-env", "CI_TOKEN", "--gitlab-token-env", "CI_TOKEN", "--gitlab-url", "https://git.example"], Some(2))]
    #[case::two_tokens(&["--gitlab-token-env", "CI_TOKEN", "--gitlab-token-file", "token"], None)]
    #[case::a_site_without_a_token(&["--gitlab-url", "https://git.example"], None)]
    #[case::no_such_variable(&["--gitlab-token-env", "OTHER"], None)]
    #[case::no_https(&["--gitlab-token-env", "CI_TOKEN", "--gitlab-url", "http://git.example"], None)]
    #[case::a_password(&["--gitlab-token-env", "CI_TOKEN", "--gitlab-url", "https://a:b@git.example"], None)]
    fn a_site_is_asked_if_it_has_one_token(#[case] arguments: &[&str], #[case] sites: Option<usize>) {
        let pipelines = pipelines(arguments);
        assert_eq!(pipelines.ok().map(|pipelines| pipelines.sites.len()), sites);
    }

    #[rstest]
    #[case::after_its_creation("https://git.example/team/app/-/jobs/1", "2026-11-24T11:00:00Z", true)]
    #[case::an_earlier_attempt("https://git.example/team/app/-/jobs/1", "2026-11-24T13:00:00Z", false)]
    #[case::another_site("https://git.example.org/team/app/-/jobs/1", "2026-11-24T11:00:00Z", false)]
    #[case::no_url("", "2026-11-24T11:00:00Z", false)]
    fn an_end_counts_for_anchors_of_its_site_that_are_older(
        #[case] url: &str,
        #[case] created: &str,
        #[case] ended: bool,
    ) {
        let site = &[
            "--gitlab-token-env",
            "CI_TOKEN",
            "--gitlab-url",
            "https://git.example",
        ];
        let mut pipelines = pipelines(site).expect("a site");
        let (_, memory) = &mut pipelines.sites[0];
        let noon = "2026-11-24T12:00:00Z".parse().expect("a time");
        memory.known.insert(run(12), Some(noon));
        assert_eq!(pipelines.has_ended(&anchor(12, url, created)), ended);
    }

    #[test]
    fn three_failed_requests_in_a_row_are_the_last_ones() {
        let mut memory = Memory::default();
        let mut note = |id, reply| memory.note(Platform::GitLab, run(id), reply);
        let failed = || Reply::Failed("it answered 500".into());
        assert_eq!(note(1, failed()), None);
        assert_eq!(note(2, failed()), None);
        // Any answer ends the row of failures.
        assert_eq!(note(3, Reply::Unknown), None);
        assert_eq!(note(4, failed()), None);
        assert_eq!(note(5, failed()), None);
        assert_eq!(
            note(6, failed()).as_deref(),
            Some("3 requests in a row failed: it answered 500")
        );
        assert_eq!(
            note(7, Reply::Stop("it is enough".into())).as_deref(),
            Some("it is enough")
        );
        // jobpass does not repeat a failed request, and no run counts as ended.
        assert_eq!(memory.known.len(), 6);
        assert!(memory.known.values().all(Option::is_none));
    }
}
