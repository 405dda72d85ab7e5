//! `cargo xtask bench`: measures `jobpass mint`, `jobpass revoke` and `kubectl create token`, on the same
//! cluster and in the same run.
//!
//! `cargo xtask bench mask` measures the masking of logs. `cargo xtask bench sweep` measures `jobpass sweep`
//! and `kubectl delete secret`.

mod kubernetes;
mod mask;
mod sweep;

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Arg, ArgMatches, value_parser};
use tempfile::TempDir;

use self::kubernetes::Kubernetes;
use crate::Verb;
use crate::cluster::{Cluster, SERVICE_ACCOUNT, runtime};
use crate::dist::{self, Profile};
use crate::tools::{self, KUBECTL};
use crate::workspace::{Workspace, output, step};

pub const VERB: Verb = Verb { command, run: verb };

/// The namespace, the minter and the kubeconfig of all commands.
struct Bench {
    folder: TempDir,
    cluster: Cluster,
}

/// The measurements of one command, over all rounds.
#[derive(Default)]
struct Figures {
    wall: Vec<Duration>,
    /// The peak memory of each run, in bytes.
    peak: Vec<u64>,
}

fn command() -> clap::Command {
    clap::Command::new("bench")
        .about("Measure mint and revoke beside kubectl create token, on Kubernetes")
        .arg(kubernetes::argument())
        .arg(
            Arg::new("rounds")
                .long("rounds")
                .value_parser(value_parser!(u32).range(1..))
                .default_value("30"),
        )
        .subcommand(mask::command())
        .subcommand(sweep::command())
}

fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    if let Some(arguments) = arguments.subcommand_matches(sweep::NAME) {
        return sweep::verb(workspace, arguments);
    }
    if let Some(arguments) = arguments.subcommand_matches(mask::NAME) {
        return mask::verb(workspace, arguments);
    }
    let rounds = *arguments.get_one::<u32>("rounds").context("it has a default")?;
    let build = |name| dist::build(workspace, Profile::Release, name);
    let (github, jobpass) = (build(dist::BINARY)?, build("jobpass")?);
    let kubectl = tools::install(workspace, &[&KUBECTL])?.join(KUBECTL.name);
    let kubernetes = Kubernetes::start(workspace, arguments)?;
    let runtime = runtime()?;
    let bench = runtime.block_on(Bench::start(&kubernetes))?;

    let mint = format!("mint --service-account {SERVICE_ACCOUNT} --duration 10m --token-file token");
    let unchecked = format!("{mint} --escape-check off");
    let revoke = "revoke --token-file token".to_owned();
    let token = format!(
        "create token {SERVICE_ACCOUNT} --namespace {} --duration 10m",
        bench.cluster.namespace
    );
    let commands = [
        ("kubectl create token", &kubectl, token),
        ("jobpass mint", &jobpass, mint),
        ("jobpass revoke", &jobpass, revoke.clone()),
        ("mint, escape-check off", &jobpass, unchecked),
        ("jobpass revoke", &jobpass, revoke),
    ];
    let mut figures = commands.each_ref().map(|_| Figures::default());
    let measured = step(&format!("measure, {rounds} rounds"), "cargo xtask bench", || {
        for _ in 0..rounds {
            // A round measures time and memory separately, because watching the memory needs a processor of
            // its own.
            for measure in [Figures::time, Figures::watch] {
                for (figures, (_, program, words)) in figures.iter_mut().zip(&commands) {
                    let mut command = bench.command(program, words);
                    measure(figures, &mut command).with_context(|| format!("cannot measure `{words}`"))?;
                }
            }
        }
        Ok(())
    });
    let removed = runtime.block_on(bench.cluster.remove());
    measured?;
    removed?;

    println!(
        "\n{:<24} {:>9} {:>9} {:>8}   {:>9} {:>9} {:>8}",
        "", "wall", "p90", "ratio", "peak", "p90", "ratio"
    );
    let [base, ..] = figures.each_ref().map(Figures::medians);
    for ((name, ..), figures) in commands.iter().zip(&figures) {
        println!("{}", figures.row(name, base));
    }
    println!(
        "\nAims: wall ratio 0.33, peak ratio 0.20. kubectl sends one request, for a token that is not \
         bound. mint sends two\n(anchor, token), and with `escape-check` also asks for the token's rules. \
         revoke deletes the anchor, and proves that\nthe token is dead.\n"
    );
    for path in [&github, &jobpass, &kubectl.canonicalize()?] {
        println!(
            "{:<24} {:>7.1} MiB",
            path.file_name().unwrap_or_default().to_string_lossy(),
            mebibytes(fs::metadata(path)?.len())
        );
    }
    Ok(())
}

impl Bench {
    async fn start(kubernetes: &Kubernetes) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        let cluster = kubernetes.connect().await?;
        let minter = cluster.prepare().await?;
        fs::write(folder.path().join("minter.kubeconfig"), minter.kubeconfig)?;
        Ok(Self { folder, cluster })
    }

    /// Builds a command that finds the minter through KUBECONFIG. Its only other variable is HOME.
    fn command(&self, program: &Path, words: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(words.split(' '))
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.folder.path().join("minter.kubeconfig"));
        command
    }
}

impl Figures {
    fn time(&mut self, command: &mut Command) -> Result<()> {
        let begin = Instant::now();
        output(command)?;
        self.wall.push(begin.elapsed());
        Ok(())
    }

    /// Reads the peak memory from the kernel again and again until the process ends. The kernel's figure for
    /// an ended child would include the memory of its parent at the time of the fork.
    fn watch(&mut self, command: &mut Command) -> Result<()> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut file = File::open(format!("/proc/{}/status", child.id()))
            .context("cannot read /proc: run this measurement on Linux")?;
        let (mut text, mut peak) = (String::new(), None);
        loop {
            text.clear();
            file.rewind()?;
            file.read_to_string(&mut text)?;
            // The kernel shows no memory of a program that has ended.
            match kibibytes(&text) {
                Some(now) => peak = Some(now),
                None => break,
            }
        }
        ensure!(child.wait()?.success(), "the program failed");
        self.peak
            .push(1024 * peak.context("the process ended before xtask could read its memory")?);
        Ok(())
    }

    /// The medians of the wall time in milliseconds and of the peak memory in MiB.
    fn medians(&self) -> (f64, f64) {
        let wall = quantile(self.wall.iter().map(milliseconds), 0.5);
        (wall, quantile(self.peak.iter().copied().map(mebibytes), 0.5))
    }

    fn row(&self, name: &str, base: (f64, f64)) -> String {
        let (wall, peak) = self.medians();
        let wall90 = quantile(self.wall.iter().map(milliseconds), 0.9);
        let peak90 = quantile(self.peak.iter().copied().map(mebibytes), 0.9);
        format!(
            "{name:<24} {wall:>6.1} ms {wall90:>6.1} ms {:>8.2}   {peak:>5.1} MiB {peak90:>5.1} MiB {:>8.2}",
            wall / base.0,
            peak / base.1
        )
    }
}

/// Parses `VmHWM` in `/proc/PID/status`.
fn kibibytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn milliseconds(time: &Duration) -> f64 {
    1000.0 * time.as_secs_f64()
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The smallest value such that at least the fraction `share` of all values is not greater than it.
fn quantile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let tenths = || (1..=10).map(f64::from);
        assert_eq!((quantile(tenths(), 0.5), quantile(tenths(), 0.9)), (5.0, 9.0));
        assert_eq!(quantile([7.0].into_iter(), 0.9), 7.0);
    }

    #[test]
    fn peak_memory_is_read_from_the_status() {
        assert_eq!(kibibytes("VmPeak:\t  999 kB\nVmHWM:\t    4704 kB\n"), Some(4704));
        assert_eq!(kibibytes("State:\tZ (zombie)\n"), None);
    }
}
