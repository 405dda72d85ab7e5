//! The order of a pipeline's jobs, and the files and variables that each job gets from earlier ones.

use std::sync::Arc;

use super::config::{self, Rule};
use super::job::{self, Surroundings};
use super::variables::{Variables, holds, plain};
use super::{Ended, Job, Runner, Status, Tokens};
use crate::runner::log::Raw;
use crate::runner::process::Mailbox;

pub(super) fn run(runner: Runner, raw: &Arc<Raw>, tokens: &Tokens, mut mailbox: Mailbox) -> Ended {
    let mut waiting = created(&runner);
    for job in &waiting {
        for (need, _) in job.needs.iter().flatten() {
            assert!(
                waiting.iter().any(|other| other.name == *need),
                "'{}' job needs '{need}' job, but '{need}' does not exist in the pipeline",
                job.name
            );
        }
    }
    let (mut over, mut skipped) = (Vec::<Over>::new(), Vec::new());
    let mut cancelled = false;
    while let Some(next) = next(&runner, &waiting) {
        let definition = waiting.remove(next);
        cancelled |= mailbox.is_cancelled();
        // After a cancellation, not even a job with `when: always` runs.
        if cancelled || !is_due(&runner, &definition, &over) {
            let status = if cancelled {
                Status::Canceled
            } else {
                Status::Skipped
            };
            skipped.push(never_ran(&definition, status));
            over.push(Over {
                definition,
                result: None,
            });
            continue;
        }
        let (mut inherited, mut files) = (Variables::new(), Vec::new());
        for earlier in sources(&runner, &definition, &over) {
            inherited.extend(plain(
                earlier
                    .dotenv
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            ));
            files.extend(
                earlier
                    .artifacts
                    .iter()
                    .map(|(path, bytes)| (path.clone(), bytes.clone())),
            );
        }
        let surroundings = Surroundings {
            runner: &runner,
            raw,
            tokens,
            number: 7000 + over.len() + 1,
            inherited,
            files,
        };
        let result = job::run(&definition, &surroundings, &mut mailbox);
        cancelled |= result.status == Status::Canceled;
        over.push(Over {
            definition,
            result: Some(result),
        });
    }
    let failed = over.iter().any(Over::is_failure);
    let jobs = over.into_iter().filter_map(|over| over.result).chain(skipped);
    Ended {
        status: match (cancelled, failed) {
            (true, _) => Status::Canceled,
            (_, true) => Status::Failed,
            _ => Status::Success,
        },
        jobs: jobs.collect(),
        folder: runner.folder,
    }
}

/// A job that has ended, or that did not run.
struct Over {
    definition: config::Job,
    result: Option<Job>,
}

impl Over {
    fn is_failure(&self) -> bool {
        let failed = self
            .result
            .as_ref()
            .is_some_and(|job| job.status != Status::Success);
        failed && !self.definition.allow_failure
    }
}

/// The jobs of the pipeline, after GitLab has evaluated `rules`. Leaves out manual and delayed jobs.
fn created(runner: &Runner) -> Vec<config::Job> {
    let jobs = runner.config.jobs.iter().filter_map(|job| {
        let mut job = job.clone();
        if let Some(rules) = &job.rules {
            let mut variables = job::predefined(&job);
            variables.extend(runner.config.variables.clone());
            variables.extend(job.variables.clone());
            variables.extend(runner.variables.clone());
            let matches = |rule: &&Rule| {
                let condition = rule.condition.as_ref();
                condition.is_none_or(|condition| holds(condition, &variables))
            };
            let rule = rules.iter().find(matches)?;
            job.when = rule.when.clone().unwrap_or(job.when);
        }
        (!["never", "manual", "delayed"].contains(&&*job.when)).then_some(job)
    });
    jobs.collect()
}

/// The first job, stage by stage, that waits for no other job.
fn next(runner: &Runner, waiting: &[config::Job]) -> Option<usize> {
    let is_ready = |job: &config::Job| match &job.needs {
        Some(needs) => needs
            .iter()
            .all(|(need, _)| waiting.iter().all(|other| other.name != *need)),
        None => waiting
            .iter()
            .all(|other| stage(runner, other) >= stage(runner, job)),
    };
    let ready = (0..waiting.len()).filter(|index| is_ready(&waiting[*index]));
    ready.min_by_key(|index| stage(runner, &waiting[*index]))
}

fn stage(runner: &Runner, job: &config::Job) -> usize {
    let position = runner.config.stages.iter().position(|stage| *stage == job.stage);
    position.unwrap_or_else(|| panic!("{} job: chosen stage {} does not exist", job.name, job.stage))
}

/// The jobs that a job waits for.
fn earlier<'a>(runner: &Runner, job: &config::Job, over: &'a [Over]) -> Vec<&'a Over> {
    let counts = |other: &&Over| match &job.needs {
        Some(needs) => needs.iter().any(|(need, _)| *need == other.definition.name),
        None => stage(runner, &other.definition) < stage(runner, job),
    };
    over.iter().filter(counts).collect()
}

fn is_due(runner: &Runner, job: &config::Job, over: &[Over]) -> bool {
    let earlier = earlier(runner, job, over);
    let failed = earlier.iter().any(|other| other.is_failure());
    // Each job in `needs` must have run. Without `needs`, an earlier job may have been skipped.
    let missing = job.needs.is_some() && earlier.iter().any(|other| other.result.is_none());
    match &*job.when {
        "always" => true,
        "on_failure" => failed,
        _ => !failed && !missing,
    }
}

/// The jobs from which a job gets artifacts and dotenv variables.
fn sources<'a>(runner: &Runner, job: &config::Job, over: &'a [Over]) -> Vec<&'a Job> {
    let wanted = |name: &String| {
        let needed = job
            .needs
            .as_ref()
            .is_none_or(|needs| needs.iter().any(|(need, artifacts)| need == name && *artifacts));
        needed && job.dependencies.as_ref().is_none_or(|jobs| jobs.contains(name))
    };
    earlier(runner, job, over)
        .into_iter()
        .filter(|other| wanted(&other.definition.name))
        .filter_map(|other| other.result.as_ref())
        .collect()
}

fn never_ran(job: &config::Job, status: Status) -> Job {
    Job {
        name: job.name.clone(),
        status,
        log: String::new(),
        raw: String::new(),
        id_tokens: Vec::new(),
        dotenv: Default::default(),
        artifacts: Default::default(),
    }
}
