//! `cargo xtask bench sweep`: compares `jobpass sweep` with `kubectl delete secret -l`, by their deletions a
//! second and their memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Arg, ArgMatches, value_parser};

use super::kubernetes::{self, Kubernetes};
use super::{kibibytes, mebibytes};
use crate::cluster::{Cluster, runtime};
use crate::dist::{self, Profile};
use crate::tools::{self, KUBECTL};
use crate::workspace::{Workspace, step};

pub(super) const NAME: &str = "sweep";

/// The time between two readings of the memory. The kernel returns the peak so far, so the readings miss only
/// a peak in the last interval.
const EVERY: Duration = Duration::from_millis(5);
/// The number of anchors for the comparison with kubectl, which deletes them one after the other.
const BESIDE: u32 = 5_000;

/// The age at which the sweep deletes an anchor: the shortest lifetime of a token, the sweep's margin, and a
/// few seconds.
const OLD: Duration = Duration::from_secs(10 * 60 + 5 * 60 + 5);

/// The run of a program that deleted all anchors of a namespace.
struct Run {
    what: &'static str,
    anchors: u32,
    wall: Duration,
    /// The peak memory, in bytes.
    peak: u64,
}

pub(super) fn command() -> clap::Command {
    clap::Command::new(NAME)
        .about("Compare sweep with kubectl delete secret, on Kubernetes")
        .arg(kubernetes::argument())
        .arg(
            Arg::new("anchors")
                .long("anchors")
                .value_parser(value_parser!(u32).range(10..))
                .default_value("20000")
                .help("The greatest number of anchors. xtask also measures a tenth of it"),
        )
}

pub(super) fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    let most = *arguments.get_one::<u32>("anchors").context("it has a default")?;
    let jobpass = dist::build(workspace, Profile::Release, "jobpass")?;
    let kubectl = tools::install(workspace, &[&KUBECTL])?.join(KUBECTL.name);
    let kubernetes = Kubernetes::start(workspace, arguments)?;
    let runtime = runtime()?;

    let sweep = "sweep --output json --namespace";
    let delete = "delete secret --selector app.kubernetes.io/managed-by=jobpass --wait=false --namespace";
    let runs = [
        ("jobpass sweep", &jobpass, sweep, most / 10),
        ("jobpass sweep", &jobpass, sweep, most),
        ("kubectl delete secret -l", &kubectl, delete, BESIDE),
        ("jobpass sweep", &jobpass, sweep, BESIDE),
    ];
    let mut clusters = Vec::new();
    let prepared = step("create the anchors", "cargo xtask bench sweep", || {
        for (.., anchors) in &runs {
            let cluster = runtime.block_on(kubernetes.connect())?;
            let filled = runtime.block_on(cluster.leave_behind(*anchors));
            clusters.push(cluster);
            filled?;
        }
        Ok(())
    });
    let measured = prepared.and_then(|()| measure(&kubernetes, &runs, &clusters));
    let mut removed = clusters.iter().map(|cluster| runtime.block_on(cluster.remove()));
    let removed = removed.try_for_each(|removed| removed.map(drop));
    let measured = measured?;
    removed?;

    println!(
        "\n{:<26} {:>8} {:>10} {:>9} {:>10}",
        "", "anchors", "wall", "a second", "peak"
    );
    for run in &measured {
        println!("{}", run.row());
    }
    let [tenth, all, kubectl, beside] = &measured[..] else {
        unreachable!("each run is measured");
    };
    println!(
        "\nPeak from {} to {} anchors: x {:.2}. Beside kubectl, on {BESIDE}: wall x {:.3}, peak x {:.2}.\n\
         Aims: less time than kubectl, 40 MiB, the same peak for ten times as many.",
        tenth.anchors,
        all.anchors,
        all.peak as f64 / tenth.peak as f64,
        beside.wall.as_secs_f64() / kubectl.wall.as_secs_f64(),
        beside.peak as f64 / kubectl.peak as f64,
    );
    Ok(())
}

/// Measures each program in a namespace of its own.
fn measure(
    kubernetes: &Kubernetes,
    runs: &[(&'static str, &PathBuf, &str, u32)],
    clusters: &[Cluster],
) -> Result<Vec<Run>> {
    let what = format!("wait {} s until the anchors are old enough", OLD.as_secs());
    step(&what, "cargo xtask bench sweep", || {
        sleep(OLD);
        Ok(())
    })?;
    let measure =
        |((what, program, words, anchors), cluster): (&(&'static str, &PathBuf, &str, u32), &Cluster)| {
            let words = format!("{words} {}", cluster.namespace);
            step(
                &format!("{what}, {anchors} anchors"),
                "cargo xtask bench sweep",
                || Run::measure(&kubernetes.kubeconfig, what, program, &words, *anchors),
            )
        };
    runs.iter().zip(clusters).map(measure).collect()
}

impl Run {
    fn measure(admin: &Path, what: &'static str, program: &Path, words: &str, anchors: u32) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
        let mut command = Command::new(program);
        command
            .args(words.split(' '))
            .env_clear()
            .env("HOME", folder.path())
            .env("KUBECONFIG", admin)
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.path().join("log"))?);
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {what}"))?;
        let status = format!("/proc/{}/status", child.id());
        let mut peak = None;
        let ended = loop {
            if let Some(ended) = child.try_wait()? {
                break ended;
            }
            peak = fs::read_to_string(&status)
                .ok()
                .as_deref()
                .and_then(kibibytes)
                .or(peak);
            sleep(EVERY);
        };
        let wall = begin.elapsed();
        ensure!(ended.success(), "the program failed");
        let deleted = fs::read_to_string(folder.path().join("log"))?
            .matches("deleted")
            .count();
        ensure!(
            deleted >= anchors as usize,
            "the program deleted only {deleted} anchors"
        );
        Ok(Self {
            what,
            anchors,
            wall,
            peak: 1024 * peak.context("cannot read /proc: run this measurement on Linux")?,
        })
    }

    fn row(&self) -> String {
        let seconds = self.wall.as_secs_f64();
        format!(
            "{:<26} {:>8} {:>8.2} s {:>9.0} {:>6.1} MiB",
            self.what,
            self.anchors,
            seconds,
            f64::from(self.anchors) / seconds,
            mebibytes(self.peak)
        )
    }
}
