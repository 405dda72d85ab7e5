//! The warning that nothing deletes expired anchors: neither the set-up nor the cluster has a sweeper.

use k8s_openapi::api::{
    batch::v1::CronJob,
    core::v1::{Container, PodSpec},
};

use super::{Setup, object::all};
use crate::{
    cluster::{Budget, Cluster},
    inputs::options::Opt,
};

impl Setup {
    /// Returns a warning, if the set-up has no sweeper and jobpass finds none in the cluster. Without a
    /// cluster, the warning says that jobpass did not look.
    pub async fn without_sweeper(&self, cluster: Option<(&Cluster, &Budget)>) -> Option<String> {
        if self.sweeper_image.is_some() {
            return None;
        }
        let found = match cluster {
            None => "this set-up has no sweeper, and jobpass did not look for one in the cluster".to_owned(),
            Some((cluster, budget)) => match all::<CronJob, CronJob>(cluster, budget).await {
                Ok(jobs) if jobs.iter().any(|job| sweeps(job, &self.namespace)) => return None,
                Ok(_) => format!(
                    "no CronJob in the cluster runs `jobpass sweep` for namespace `{}`",
                    self.namespace
                ),
                Err(error) => format!(
                    "jobpass does not know whether the cluster has a sweeper, because it {}",
                    error.message()
                ),
            },
        };
        Some(format!(
            "{found}. If a runner dies, and nothing sweeps, its job's anchor stays in the cluster, although the \
             token expires. Add `--sweeper-image IMAGE` for a CronJob that deletes such anchors"
        ))
    }
}

/// Whether a CronJob runs `jobpass sweep` for this namespace. The CronJob may be in another namespace.
fn sweeps(job: &CronJob, namespace: &str) -> bool {
    let own = job.metadata.namespace.as_deref();
    let spec = job.spec.as_ref().filter(|spec| spec.suspend != Some(true));
    let pod = spec.and_then(|spec| spec.job_template.spec.as_ref()?.template.spec.as_ref());
    let containers = pod.map_or(&[][..], |PodSpec { containers, .. }| containers);
    containers.iter().any(|container| match scope(container) {
        Some(Swept::All) => true,
        Some(Swept::Namespace(name)) => name == namespace,
        Some(Swept::Own) => own == Some(namespace),
        None => false,
    })
}

/// The namespaces that a container sweeps.
enum Swept<'a> {
    All,
    Namespace(&'a str),
    /// The namespace of the CronJob.
    Own,
}

/// The namespaces that a container sweeps. `None` if it does not run `jobpass sweep`.
fn scope(container: &Container) -> Option<Swept<'_>> {
    let texts = container.command.iter().chain(&container.args).flatten();
    // One argument may be a whole command line for a shell.
    let words = texts.flat_map(|text| text.split_whitespace());
    let words = words.map(|word| word.trim_matches(['"', '\'', ';']));
    let words = words.collect::<Vec<_>>();
    let at = words.iter().position(|word| *word == "sweep")?;
    let program = match at.checked_sub(1) {
        Some(before) => words[before].rsplit('/').next(),
        // `sweep` is the first argument, so the image's own program runs it.
        None => container
            .image
            .as_deref()
            .and_then(|image| image.contains("jobpass").then_some("jobpass")),
    };
    let options = &words[at + 1..];
    if program != Some("jobpass") || options.contains(&"--dry-run") {
        return None;
    }
    if options
        .iter()
        .any(|word| matches!(*word, "--all-namespaces" | "-A"))
    {
        return Some(Swept::All);
    }
    let mut following = options.iter().skip(1);
    let given = options.iter().find_map(|word| {
        let next = following.next();
        match *word {
            "--namespace" | "-n" => next.copied(),
            word => word
                .strip_prefix("--namespace=")
                .or_else(|| word.strip_prefix("-n").filter(|name| !name.is_empty())),
        }
    });
    let variable = format!("JOBPASS_{}", Opt::Namespace.name().to_uppercase());
    let mut variables = container.env.iter().flatten();
    let variable = variables.find(|given| given.name == variable);
    let given = given.or_else(|| variable.and_then(|variable| variable.value.as_deref()));
    Some(given.map_or(Swept::Own, Swept::Namespace))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// A CronJob in the namespace `ops`. Its second container has these fields.
    fn job(container: &str) -> CronJob {
        let job = format!(
            "{{metadata: {{name: x, namespace: ops}}, spec: {{schedule: '* * * * *', jobTemplate: {{spec: {{template: \
             {{spec: {{containers: [{{name: first, image: busybox}}, {{name: second, {container}}}]}}}}}}}}}}}}"
        );
        serde_yaml::from_str(&job).expect("a CronJob")
    }

    #[rstest]
    #[case::as_setup_writes_it("image: r/jobpass:1, args: [sweep, --namespace, ci, --output, json]", true)]
    #[case::as_the_documents_write_it("image: r/jobpass:1, args: [sweep, --all-namespaces]", true)]
    #[case::short("image: r/jobpass:1, args: [sweep, -nci]", true)]
    #[case::another_image("image: r/tools:1, command: [/usr/bin/jobpass], args: [sweep, -A]", true)]
    #[case::a_shell("image: r/tools:1, command: [sh, -c, 'jobpass sweep -n ci; sleep 1']", true)]
    #[case::a_variable(
        "image: r/jobpass, args: [sweep], env: [{name: JOBPASS_NAMESPACE, value: ci}]",
        true
    )]
    #[case::another_namespace("image: r/jobpass:1, args: [sweep, --namespace=team]", false)]
    #[case::its_own_namespace("image: r/jobpass:1, args: [sweep]", false)]
    #[case::another_program("image: r/cleaner:1, args: [sweep, --all-namespaces]", false)]
    #[case::another_verb("image: r/jobpass:1, args: [list, --all-namespaces]", false)]
    #[case::nothing_deleted("image: r/jobpass:1, args: [sweep, -A, --dry-run]", false)]
    fn a_cronjob_sweeps_a_namespace(#[case] container: &str, #[case] expected: bool) {
        assert_eq!(sweeps(&job(container), "ci"), expected);
    }

    #[test]
    fn without_a_namespace_it_sweeps_its_own() {
        assert!(sweeps(&job("image: r/jobpass:1, args: [sweep]"), "ops"));
    }

    #[test]
    fn a_suspended_one_sweeps_nothing() {
        let mut job = job("image: r/jobpass:1, args: [sweep, -A]");
        assert!(sweeps(&job, "ci"));
        job.spec.as_mut().expect("a spec").suspend = Some(true);
        assert!(!sweeps(&job, "ci"));
    }
}
