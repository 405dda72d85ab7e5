//! The GitHub job, with the parts of the runner that it needs (github.com/actions/runner:
//! `FileCommandManager.cs`, `ActionCommand.cs`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_yaml::Value;
use tokio::process::Command;

use super::{Demo, log_of};
use crate::cluster::{MinterAccount, SERVICE_ACCOUNT};
use crate::dist;

/// The minter's credential, as the workflow names it.
const SECRET: &str = "${{ secrets.JOBPASS_KUBECONFIG }}";

/// The commands of the step after jobpass. They use the token.
const USER_STEP: [&str; 2] = [r#"echo "my token is $TOKEN""#, "list-pods"];

pub(super) async fn play(demo: &Demo<'_>, minter: &MinterAccount) -> Result<()> {
    let screen = &demo.screen;
    screen.title("A GitHub job");
    let mut job = Job::start(demo, minter)?;
    screen.station(
        "defined",
        "as your workflow would have it (list-pods stands for `kubectl get pods`):",
    );
    screen.quote(&job.steps())?;

    let main = job.action("main").await?;
    let outputs = job.values("output")?;
    let output = |name: &str| {
        outputs
            .get(name)
            .with_context(|| format!("the action set no output `{name}`"))
    };
    let token = output("token")?;
    screen.never_show(token);
    // `main` masks the minter's credential before this token.
    let mut masks = main.lines().take_while(|line| line.starts_with("::add-mask::"));
    let masked_first = masks.any(|mask| mask == format!("::add-mask::{token}"));
    ensure!(masked_first, "the action did not mask the token first");
    screen.station("minted", "the runner starts the action, which says:");
    screen.quote(&job.as_people_see_it(&main))?;
    demo.bound(token).await?;
    let masks = job.masks.len();
    screen.station(
        "masked",
        &format!(
            "before everything else, it registered {masks} masks, for the minter's credential and the \
             token:\n\
             from then on, the runner writes *** in their place"
        ),
    );
    let path = output("kubeconfig")?;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{path} has mode {mode:o} instead of 600");
    screen.station(
        "handed over",
        "as the outputs `token` and `kubeconfig`; nobody else can read the file (mode 0600)",
    );

    let mut step = job.command("sh")?;
    step.args(["-e", "-c", &USER_STEP.join("\n")])
        .env("TOKEN", token)
        .env("KUBECONFIG", output("kubeconfig")?);
    let used = job.run(step).await?;
    let used = job.as_people_see_it(&used);
    ensure!(
        used.contains("my token is ***"),
        "the log of the user's step is not masked"
    );
    ensure!(used.contains("HTTP 200"), "the user's step could not list Pods");
    screen.station("used", "the next step works with the token:");
    screen.quote(&used)?;

    let post = job.action("post").await?;
    ensure!(
        demo.cluster.anchors().await?.is_empty(),
        "the anchor is still there"
    );
    ensure!(
        fs::read_dir(job.file("temp"))?.next().is_none(),
        "the job left files behind"
    );
    screen.station(
        "revoked",
        "the job is over, and the runner starts the action once more, which says:",
    );
    screen.quote(&job.as_people_see_it(&post))?;
    screen.station(
        "gone",
        "no anchor is left in the cluster, no file in the job's temporary folder",
    );
    demo.refused(token).await?;
    let summary = fs::read_to_string(job.file("summary"))?;
    ensure!(
        summary.contains("token revoked"),
        "the summary does not say that the token is revoked"
    );
    screen.check(&summary)?;
    screen.station(
        "told",
        "the job's summary has a table, and the receipt in JSON, which is not shown here:",
    );
    screen.quote(summary.split("<details>").next().unwrap_or_default())
}

struct Job<'a> {
    demo: &'a Demo<'a>,
    folder: PathBuf,
    action: PathBuf,
    inputs: BTreeMap<String, String>,
    masks: Vec<String>,
}

impl<'a> Job<'a> {
    /// Creates the folders of a runner with the action as in a release, and the empty files for the steps.
    fn start(demo: &'a Demo<'a>, minter: &MinterAccount) -> Result<Self> {
        let folder = demo.folder.path().join("github");
        let action = folder.join("action");
        for name in ["temp", "workspace", "tools"] {
            fs::create_dir_all(folder.join(name))?;
        }
        for name in ["output", "state", "summary"] {
            fs::write(folder.join(name), "")?;
        }
        let root = &demo.workspace.root;
        let dist = action.join("dist");
        fs::create_dir_all(&dist)?;
        for name in ["action.yml", "dist/main.mjs", "dist/post.mjs", "dist/launch.mjs"] {
            fs::copy(root.join(name), action.join(name)).with_context(|| format!("cannot copy {name}"))?;
        }
        dist::place(&demo.programs.join(dist::BINARY), &dist)?;

        let mut job = Self {
            demo,
            folder,
            action,
            inputs: BTreeMap::new(),
            masks: Vec::new(),
        };
        job.inputs = job.defaults()?;
        for (name, value) in job.with() {
            let value = value.replace(SECRET, &minter.kubeconfig);
            job.inputs.insert(name.to_owned(), value);
        }
        Ok(job)
    }

    /// The inputs of the step, as the workflow sets them.
    fn with(&self) -> [(&'static str, &'a str); 3] {
        [
            ("service-account", SERVICE_ACCOUNT),
            ("namespace", &self.demo.cluster.namespace),
            ("kubeconfig", SECRET),
        ]
    }

    fn steps(&self) -> String {
        let with = self
            .with()
            .map(|(name, value)| format!("    {name}: {value}\n"))
            .concat();
        let run = USER_STEP.map(|line| format!("    {line}\n")).concat();
        format!(
            "- uses: jobpass/jobpass@v{}\n  id: jobpass\n  with:\n{with}\
             - run: |\n{run}  env:\n    TOKEN: ${{{{ steps.jobpass.outputs.token }}}}\n    \
             KUBECONFIG: ${{{{ steps.jobpass.outputs.kubeconfig }}}}",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// The defaults of the action's inputs.
    fn defaults(&self) -> Result<BTreeMap<String, String>> {
        let manifest: Value = serde_yaml::from_str(&fs::read_to_string(self.action.join("action.yml"))?)?;
        let inputs = manifest["inputs"]
            .as_mapping()
            .context("action.yml has no inputs")?;
        let named = inputs.iter().filter_map(|(name, input)| {
            Some((
                name.as_str()?.to_owned(),
                input["default"].as_str().unwrap_or_default().to_owned(),
            ))
        });
        Ok(named.collect())
    }

    /// Runs `main` or `post` of the action to its end, and returns its log as the runner gets it.
    async fn action(&mut self, part: &str) -> Result<String> {
        let mut node = self.command("node")?;
        node.arg(self.action.join("dist").join(format!("{part}.mjs")));
        for (name, value) in &self.inputs {
            node.env(format!("INPUT_{}", name.to_uppercase()), value);
        }
        for (name, value) in self.values("state")? {
            node.env(format!("STATE_{name}"), value);
        }
        self.run(node).await
    }

    fn command(&self, program: &str) -> Result<Command> {
        let mut command = self.demo.job_command(program, &self.file("workspace"))?;
        let files = [
            ("GITHUB_OUTPUT", "output"),
            ("GITHUB_STATE", "state"),
            ("GITHUB_STEP_SUMMARY", "summary"),
            ("GITHUB_WORKSPACE", "workspace"),
            ("RUNNER_TEMP", "temp"),
            ("RUNNER_TOOL_CACHE", "tools"),
        ];
        command
            .envs(files.map(|(variable, file)| (variable, self.file(file))))
            .envs([
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_SERVER_URL", "https://github.com"),
                ("GITHUB_REPOSITORY", "you/your-app"),
                ("GITHUB_RUN_ID", "4711"),
                ("GITHUB_JOB", "scan"),
                ("GITHUB_ACTOR", "you"),
            ]);
        Ok(command)
    }

    /// Runs a program of the job, and carries out its `::add-mask::` commands.
    async fn run(&mut self, mut command: Command) -> Result<String> {
        let (status, log) = log_of(&mut command).await?;
        let masks = log.lines().filter_map(|line| line.strip_prefix("::add-mask::"));
        let unescaped = |mask: &str| mask.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%");
        self.masks.extend(masks.map(unescaped));
        // A mask may be a part of another mask, so the longest masks come first.
        self.masks.sort_by_key(|mask| std::cmp::Reverse(mask.len()));
        if !status.success() {
            self.demo.screen.quote(&self.as_people_see_it(&log))?;
        }
        ensure!(status.success(), "a program of the job ended with {status}");
        Ok(log)
    }

    fn as_people_see_it(&self, log: &str) -> String {
        let shown = log.lines().filter(|line| !line.starts_with("::add-mask::"));
        let shown = shown.collect::<Vec<_>>().join("\n");
        self.masks
            .iter()
            .fold(shown, |shown, mask| shown.replace(mask, "***"))
    }

    /// Parses outputs or state: `NAME<<DELIMITER`, the lines of the value, `DELIMITER`. The last value of a
    /// name counts.
    fn values(&self, file: &str) -> Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(self.file(file))?;
        let mut lines = text.lines();
        let mut values = BTreeMap::new();
        while let Some(line) = lines.next() {
            let (name, delimiter) = line.split_once("<<").context("an output has no delimiter")?;
            let value = lines
                .by_ref()
                .take_while(|line| *line != delimiter)
                .collect::<Vec<_>>();
            values.insert(name.to_owned(), value.join("\n"));
        }
        Ok(values)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
