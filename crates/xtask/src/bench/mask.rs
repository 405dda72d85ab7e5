//! `cargo xtask bench mask`: measures the masking of logs. For comparison, it also measures `cat` and `sed`
//! in the same run.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Arg, ArgMatches, value_parser};
use tempfile::TempDir;

use super::{kibibytes, mebibytes, quantile};
use crate::dist::{self, Profile};
use crate::workspace::{Workspace, output, step};

pub(super) const NAME: &str = "mask";

/// The size of a block of a log: as many bytes as a pipe holds.
const BLOCK: usize = 64 << 10;
/// The number of different blocks. The programs read them again and again.
const DIFFERENT: usize = 16;
/// The number of blocks of a log.
const BLOCKS: usize = (1 << 30) / BLOCK;
/// The number of blocks for `sed -u`, which reads byte by byte.
const FEW_BLOCKS: usize = BLOCKS / 32;

/// One program that copies standard input to standard output.
struct Filter<'a> {
    name: &'a str,
    command: Command,
    blocks: usize,
    /// The speeds, in bytes a second.
    speeds: Vec<f64>,
    /// The peak memory, in bytes.
    peak: u64,
    delays: Vec<Duration>,
}

pub(super) fn command() -> clap::Command {
    clap::Command::new(NAME)
        .about("Compare the log filter with cat, on ordinary logs, on text and on encoded logs")
        .arg(
            Arg::new("rounds")
                .long("rounds")
                .value_parser(value_parser!(u32).range(1..))
                .default_value("5"),
        )
}

/// Measures with a token like those of kube-apiserver, in the job's token file.
pub(super) fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    let rounds = *arguments.get_one::<u32>("rounds").context("it has a default")?;
    let gitlab = dist::build(workspace, Profile::Release, "jobpass-gitlab")?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let token = token();
    let file = folder.path().join("token");
    std::fs::write(&file, &token)?;
    let mut logs = logs(&token);
    logs.insert(1, ("prose", files(workspace, "*.md")?));
    logs.insert(2, ("source code", files(workspace, "*.rs")?));
    let mut measured = Vec::new();
    step(
        &format!("measure, {rounds} rounds"),
        "cargo xtask bench mask",
        || {
            for (at, (name, log)) in logs.iter().enumerate() {
                let mut sed = Command::new("sed");
                sed.args(["-u", &format!("s/{token}/[MASKED]/g")]);
                let mut mask = Command::new(&gitlab);
                mask.arg("mask").env("JOBPASS_TOKEN_FILE", &file);
                let mut filters = vec![
                    Filter::new("cat", Command::new("cat"), BLOCKS, &folder),
                    Filter::new("jobpass-gitlab mask", mask, BLOCKS, &folder),
                ];
                if at == 0 {
                    filters.push(Filter::new("sed -u, raw token", sed, FEW_BLOCKS, &folder));
                }
                for _ in 0..rounds {
                    for filter in &mut filters {
                        filter.pass(log)?;
                        filter.answer()?;
                    }
                }
                measured.push((name, filters));
            }
            Ok(())
        },
    )?;
    println!(
        "\n{:<24} {:<24} {:>12} {:>6}   {:>9}   {:>12} {:>9}",
        "log", "", "speed", "ratio", "peak", "short line", "p90"
    );
    for (name, filters) in &measured {
        let base = filters[0].speed();
        for filter in filters {
            println!("{name:<24} {}", filter.row(base));
        }
    }
    println!(
        "\nAims: at least 0.6 of the speed of cat on the first three logs, and 0.1 on the others; at most 8 MiB; \
         at most 5 ms\nfor a short line. The token has {} bytes. The filter masks it in all its forms.\n",
        token.len()
    );
    Ok(())
}

impl<'a> Filter<'a> {
    fn new(name: &'a str, mut command: Command, blocks: usize, folder: &TempDir) -> Self {
        command
            .env("CI_JOB_ID", "1")
            .env("CI_PROJECT_DIR", folder.path().join("project"))
            .env("HOME", folder.path())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self {
            name,
            command,
            blocks,
            speeds: Vec::new(),
            peak: 0,
            delays: Vec::new(),
        }
    }

    /// Measures a whole log at full speed.
    fn pass(&mut self, log: &[u8]) -> Result<()> {
        let mut child = self.start()?;
        let (mut input, mut output) = (
            child.stdin.take().context("a pipe")?,
            child.stdout.take().context("a pipe")?,
        );
        let (begin, blocks) = (Instant::now(), self.blocks);
        let copied = std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                (0..blocks).try_for_each(|block| input.write_all(&log[block % DIFFERENT * BLOCK..][..BLOCK]))
            });
            let (mut buffer, mut total, mut next) = (vec![0; BLOCK], 0, 0);
            loop {
                match output.read(&mut buffer)? {
                    0 => break,
                    read => total += read,
                }
                // Reading the memory needs a processor, so this happens only now and then.
                if total >= next {
                    next = total + (128 << 20);
                    self.peak = self.peak.max(peak(child.id()).unwrap_or_default());
                }
            }
            writer
                .join()
                .map_err(|_| anyhow::anyhow!("the writer panicked"))??;
            anyhow::Ok(total)
        })?;
        self.speeds
            .push((BLOCK * blocks) as f64 / begin.elapsed().as_secs_f64());
        ensure!(child.wait()?.success() && copied > 0, "{} failed", self.name);
        Ok(())
    }

    /// Measures the delays of twenty lines, one after the other.
    fn answer(&mut self) -> Result<()> {
        let mut child = self.start()?;
        let (mut input, mut output) = (
            child.stdin.take().context("a pipe")?,
            child.stdout.take().context("a pipe")?,
        );
        let mut buffer = [0; 64];
        for _ in 0..20 {
            let begin = Instant::now();
            input.write_all(b"all is well\n")?;
            ensure!(output.read(&mut buffer)? == 12, "{} holds a line back", self.name);
            self.delays.push(begin.elapsed());
        }
        self.peak = self.peak.max(peak(child.id()).unwrap_or_default());
        drop(input);
        ensure!(child.wait()?.success(), "{} failed", self.name);
        Ok(())
    }

    fn start(&mut self) -> Result<Child> {
        self.command
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))
    }

    fn speed(&self) -> f64 {
        quantile(self.speeds.iter().copied(), 0.5)
    }

    fn row(&self, base: f64) -> String {
        // The first line of each process waits for the program to start. One line in twenty hardly changes
        // the median and the 90th percentile.
        let delays = || self.delays.iter().map(|delay| 1000.0 * delay.as_secs_f64());
        format!(
            "{:<24} {:>7.0} MB/s {:>6.2}   {:>5.1} MiB   {:>9.2} ms {:>6.2} ms",
            self.name,
            self.speed() / 1e6,
            self.speed() / base,
            mebibytes(self.peak),
            quantile(delays(), 0.5),
            quantile(delays(), 0.9),
        )
    }
}

/// The peak memory of the process, in bytes.
fn peak(pid: u32) -> Option<u64> {
    let mut text = String::new();
    File::open(format!("/proc/{pid}/status"))
        .ok()?
        .read_to_string(&mut text)
        .ok()?;
    Some(1024 * kibibytes(&text)?)
}

/// The text of the files in this repository whose names match a pattern, as a log.
fn files(workspace: &Workspace, pattern: &str) -> Result<Vec<u8>> {
    let names = output(workspace.command("git").args(["ls-files", "--", pattern]))?;
    let mut text = Vec::new();
    for name in names.lines() {
        let file = workspace.root.join(name);
        text.extend(std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    ensure!(!text.is_empty(), "git knows no file {pattern}");
    Ok(text.into_iter().cycle().take(DIFFERENT * BLOCK).collect())
}

/// An ordinary log, random bytes, logs in the encodings that cost most, and logs that consist of tokens.
fn logs(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let ordinary = ordinary(token);
    let plain = ordinary.replace(token, "");
    let bytes = |text: &str| text.bytes().map(|byte| format!("{byte}, ")).collect::<String>();
    let lines = |text: String, columns: usize| {
        let lines = text.as_bytes().chunks(columns);
        lines.flat_map(|line| [line, b"\n"].concat()).collect()
    };
    let random = (0..DIFFERENT * BLOCK).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8);
    let random = random.collect::<Vec<_>>();
    let tokens = format!("token: {token}\n").repeat(DIFFERENT * BLOCK / token.len());
    let logs = [
        ("ordinary", ordinary.into_bytes()),
        ("in base64", lines(STANDARD.encode(&plain), 76)),
        ("random bytes", random.clone()),
        ("in base64", lines(STANDARD.encode(&random), 76)),
        ("dump (xxd)", dump(plain.as_bytes()).into_bytes()),
        ("list of bytes", bytes(&plain).into_bytes()),
        ("tokens", tokens.clone().into_bytes()),
        ("dump of tokens", dump(tokens.as_bytes()).into_bytes()),
        ("tokens in base64", lines(STANDARD.encode(&tokens), 76)),
    ];
    let whole = |(name, log): (_, Vec<u8>)| (name, log[..DIFFERENT * BLOCK].to_vec());
    logs.into_iter().map(whole).collect()
}

/// A dump as `xxd` prints it.
fn dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let _ = write!(dump, "{:08x}:", 16 * line);
        for pair in bytes.chunks(2) {
            dump.push(' ');
            for byte in pair {
                let _ = write!(dump, "{byte:02x}");
            }
        }
        let text = bytes.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        let _ = writeln!(dump, "  {}", text.collect::<String>());
    }
    dump
}

/// The lines of a build. Some of them contain the token.
fn ordinary(token: &str) -> String {
    let mut log = String::new();
    let mut number = 0_u64;
    while log.len() < 2 * DIFFERENT * BLOCK {
        number += 1;
        let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        log += &format!(
            "2026-11-24T10:00:{:02}.{:03}Z INFO  [worker-{}] GET /api/v1/namespaces/ci/pods/app-{noise:016x} 200 in {} ms\n\
             \u{1b}[32m   Compiling\u{1b}[0m package-{} v0.{}.{} ({noise:x}{number:x})\n",
            number % 60,
            noise % 1000,
            number % 8,
            noise % 90,
            number % 500,
            number % 40,
            number % 9
        );
        if number.is_multiple_of(2000) {
            log += &format!("Authorization: Bearer {token}\n");
        }
    }
    log
}

/// A token of the usual length, with the usual claims. The source code in the logs has no token of the same
/// ServiceAccount.
fn token() -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let issuer = "https://kubernetes.default.svc.cluster.local";
    let claims = format!(
        r#"{{"aud":["{issuer}"],"exp":1790003600,"iat":1790000000,"iss":"{issuer}","jti":"0b5a1c1e-7a52-4ea6-9d1c-4f0c1f2a9b3e","kubernetes.io":{{"namespace":"team-blue","secret":{{"name":"jobpass-abcdefghijklmnopqrst","uid":"1f0e3dad-9990-4345-b743-0c5e2f7d1a44"}},"serviceaccount":{{"name":"publisher","uid":"6c1f2a60-27b4-4b9a-8f0e-5f3f4a2b9c11"}}}},"nbf":1790000000,"sub":"system:serviceaccount:team-blue:publisher"}}"#
    );
    let signature: Vec<u8> = (0..256_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let header = br#"{"alg":"RS256","kid":"1kYhXbnxUJkk0Kjl5mrqFdfqI0nUqQ9ZoXS8rH8wW2s"}"#;
    [header.as_slice(), claims.as_bytes(), &signature]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}
