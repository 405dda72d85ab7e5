//! The test kills the job at each stage of the token's life. After post, nothing is left.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::fd::OwnedFd,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use jobpass_devkit::{Fault, FaultKind};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cluster::Cluster,
    github::step::{Ended, Step},
    support,
};

/// A wait that is longer than any stage takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time limit after a signal. A runner sends a cancelled job SIGTERM 7.5 s after SIGINT, and jobpass
/// promises 6 s.
const GRACE: Duration = Duration::from_secs(6);

/// The stage at which the test stops the process.
#[derive(Clone, Copy, Debug)]
enum Station {
    /// An exec plugin runs. jobpass has recorded nothing yet.
    Parse,
    /// jobpass has recorded the state, and has not created the anchor yet.
    AnchorAsked,
    /// The API server has created the anchor, but its answer does not arrive.
    AnchorCreated,
    /// The API server creates the anchor half a second after the request. By then, the test has killed the
    /// job.
    AnchorLate,
    /// jobpass knows the anchor's uid, and has requested the token.
    TokenAsked,
    /// The API server has issued the token, but its answer does not arrive.
    TokenIssued,
    /// jobpass has the token, and asks about its permissions.
    AccessAsked,
    /// jobpass has the token, and nobody reads the log into which it writes the masks.
    Mask,
    /// jobpass has masked the token, and cannot write the outputs.
    Deliver,
}

#[rstest]
fn after_post_nothing_is_left(
    #[values(
        Station::Parse,
        Station::AnchorAsked,
        Station::AnchorCreated,
        Station::AnchorLate,
        Station::TokenAsked,
        Station::TokenIssued,
        Station::AccessAsked,
        Station::Mask,
        Station::Deliver
    )]
    station: Station,
    #[values(Signal::KILL, Signal::INT, Signal::TERM)] signal: Signal,
) {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    let mut step = Step::scanner(&kubeconfig, &[("kubeconfig-file", "true")]);

    let main = stopped_at(station, &cluster, &mut step);
    let begun = Instant::now();
    kill_process(Pid::from_child(&main.child), signal).expect("main is there");
    let main = main.ended();

    let code = match signal {
        Signal::KILL => 128 + 9,
        Signal::INT => 130,
        _ => 143,
    };
    assert_eq!(main.code(), code, "{}", main.log);
    assert!(begun.elapsed() < GRACE, "main took {:?} to end", begun.elapsed());
    if signal != Signal::KILL {
        assert!(
            cluster.anchors().is_empty(),
            "main left the anchor:\n{}",
            main.log
        );
    }

    let post = step.post().succeeded();
    assert!(
        cluster.anchors().is_empty(),
        "post left the anchor:\n{}{}",
        main.log,
        post.log
    );
    assert!(
        cluster.issued().iter().all(|token| !cluster.accepts(token)),
        "a token survived:\n{}",
        post.log
    );
    assert!(step.left_in_temp().is_empty(), "{:?}", step.left_in_temp());
    for token in cluster.issued() {
        let masked = main.log.replace(&format!("::add-mask::{token}"), "");
        assert!(!masked.contains(&token) && !post.log.contains(&token));
    }
}

/// The test kills the job while jobpass creates the Secret of a legacy token, or reads the token from this
/// Secret. After post, the Secret is gone.
#[rstest]
fn after_post_no_legacy_secret_is_left(
    #[values(("POST", FaultKind::HoldBefore), ("POST", FaultKind::HoldAfter), ("GET", FaultKind::HoldBefore), ("GET", FaultKind::HoldAfter))]
    (method, kind): (&'static str, FaultKind),
    #[values(Signal::KILL, Signal::INT, Signal::TERM)] signal: Signal,
) {
    let cluster = Cluster::start();
    let kubeconfig = support::minter(&cluster);
    support::allow_reading(&cluster);
    let step = Step::scanner(&kubeconfig, &[("type", "legacy")]);
    let created = method == "GET" || matches!(kind, FaultKind::HoldAfter);
    cluster.inject(Fault {
        method,
        path_contains: "/secrets".into(),
        times: 1,
        kind,
    });
    let main = step.start("main", Stdio::piped());
    cluster.wait_for(PATIENCE, |requests| {
        let arrived = requests
            .iter()
            .any(|r| r.method == method && r.path.contains("/secrets"));
        (arrived && (!created || !cluster.legacy_secrets().is_empty())).then_some(())
    });
    let tokens = cluster
        .filled_legacy_secrets()
        .iter()
        .map(crate::cluster::token_of)
        .collect::<Vec<_>>();
    let begun = Instant::now();
    kill_process(Pid::from_child(&main), signal).expect("main is there");
    let main = Ended::of(main);
    assert!(begun.elapsed() < GRACE, "main took {:?} to end", begun.elapsed());
    if signal != Signal::KILL {
        assert!(
            cluster.legacy_secrets().is_empty(),
            "main left the Secret:\n{}",
            main.log
        );
    }
    let post = step.post().succeeded();
    assert!(
        cluster.legacy_secrets().is_empty(),
        "post left the Secret:\n{}{}",
        main.log,
        post.log
    );
    for token in tokens {
        assert!(!cluster.accepts(&token) && !main.log.contains(&token) && !post.log.contains(&token));
    }
}

/// A main that has stopped at a stage.
struct Stopped {
    child: Child,
    /// The read end of a log that nobody reads.
    unread: Option<OwnedFd>,
    /// The part of the log that the test has read.
    log: String,
}

impl Stopped {
    fn ended(self) -> Ended {
        let mut ended = Ended::of(self.child);
        drop(self.unread);
        ended.log.insert_str(0, &self.log);
        ended
    }
}

fn stopped_at(station: Station, cluster: &Cluster, step: &mut Step) -> Stopped {
    let hold = |path: &str, kind| {
        cluster.inject(Fault {
            method: "POST",
            path_contains: path.into(),
            times: 1,
            kind,
        });
    };
    let arrived = |path: &'static str| {
        cluster.wait_for(PATIENCE, |requests| {
            requests
                .iter()
                .any(|r| r.method == "POST" && r.path.ends_with(path))
                .then_some(())
        });
    };
    let start = |step: &Step| Stopped {
        child: step.start("main", Stdio::piped()),
        unread: None,
        log: String::new(),
    };
    match station {
        Station::Parse => {
            let started = step.file("plugin-started");
            wait_in_plugin(step, &started);
            let main = start(step);
            fs::read(&started).expect("the plugin writes");
            main
        }
        Station::AnchorAsked | Station::AnchorCreated | Station::AnchorLate => {
            let late = FaultKind::CarryOutLate(Duration::from_millis(500));
            hold(
                "/secrets",
                match station {
                    Station::AnchorAsked => FaultKind::HoldBefore,
                    Station::AnchorCreated => FaultKind::HoldAfter,
                    _ => late,
                },
            );
            let main = start(step);
            arrived("/secrets");
            if matches!(station, Station::AnchorCreated) {
                cluster.wait_for(PATIENCE, |_| (!cluster.anchors().is_empty()).then_some(()));
            }
            main
        }
        Station::TokenAsked | Station::TokenIssued => {
            hold(
                "/token",
                if matches!(station, Station::TokenAsked) {
                    FaultKind::HoldBefore
                } else {
                    FaultKind::HoldAfter
                },
            );
            let main = start(step);
            arrived("/token");
            if matches!(station, Station::TokenIssued) {
                cluster.wait_for(PATIENCE, |_| (!cluster.issued().is_empty()).then_some(()));
            }
            main
        }
        Station::AccessAsked => {
            hold("/selfsubjectrulesreviews", FaultKind::HoldBefore);
            let main = start(step);
            arrived("/selfsubjectrulesreviews");
            main
        }
        Station::Mask => {
            // The minter's credential comes from a file, so jobpass does not mask it. The pipe is already
            // full.
            let kubeconfig = step.file("kubeconfig");
            fs::write(&kubeconfig, step.value("kubeconfig")).expect("written");
            step.input("kubeconfig", kubeconfig.to_str().expect("text"));
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
            let size = rustix::pipe::fcntl_setpipe_size(&write, 4096).expect("a small pipe");
            fs::File::from(write.try_clone().expect("cloned"))
                .write_all(&vec![b'\n'; size])
                .expect("filled");
            let child = step.start("main", Stdio::from(write));
            cluster.wait_for(PATIENCE, |requests| {
                requests
                    .iter()
                    .any(|r| r.path.ends_with("/token") && r.status == Some(201))
                    .then_some(())
            });
            Stopped {
                child,
                unread: Some(read),
                log: String::new(),
            }
        }
        Station::Deliver => {
            // A named pipe blocks every process that opens it.
            let output = step.file("output");
            fs::remove_file(&output).expect("removed");
            fifo(&output);
            let mut main = start(step);
            let mut log = BufReader::new(main.child.stdout.take().expect("a pipe"));
            let masked = |log: &str| {
                cluster
                    .issued()
                    .iter()
                    .any(|token| log.contains(&format!("::add-mask::{token}")))
            };
            while !masked(&main.log) {
                assert!(
                    log.read_line(&mut main.log).expect("a line") > 0,
                    "main ended early: {}",
                    main.log
                );
            }
            main.child.stdout = Some(log.into_inner());
            main
        }
    }
}

fn fifo(path: &std::path::Path) {
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        path,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .expect("a named pipe");
}

/// post gets a signal while the API server does not answer. It must still print the next step in time.
#[rstest]
fn post_is_stopped(#[values(Signal::INT, Signal::TERM)] signal: Signal) {
    let cluster = Cluster::start();
    let step = Step::scanner(&support::minter(&cluster), &[("fail-on-revoke-error", "true")]);
    step.main().succeeded();
    cluster.inject(Fault {
        method: "DELETE",
        path_contains: "/secrets/".into(),
        times: 9,
        kind: FaultKind::HoldBefore,
    });
    let post = step.start("post", Stdio::piped());
    cluster.wait_for(PATIENCE, |requests| {
        requests.iter().any(|r| r.method == "DELETE").then_some(())
    });
    let begun = Instant::now();
    kill_process(Pid::from_child(&post), signal).expect("post is there");
    let post = Ended::of(post);
    assert!(begun.elapsed() < GRACE, "post took {:?} to end", begun.elapsed());
    assert_eq!(post.code(), 7, "{}", post.log);
    assert!(post.log.contains("kubectl delete secret"), "{}", post.log);
}

/// A killed launcher cannot pass a signal on. The binary must notice that the launcher has ended.
#[test]
fn the_launcher_is_killed() {
    let cluster = Cluster::start();
    let mut step = Step::scanner(&support::minter(&cluster), &[]);
    let started = step.file("plugin-started");
    wait_in_plugin(&mut step, &started);
    let action = support::action();
    let mut launcher = step.command("main", "node", Stdio::piped());
    let mut launcher = launcher
        .arg(action.path().join("dist/main.mjs"))
        .spawn()
        .expect("node starts");
    fs::read(&started).expect("the plugin writes");
    launcher.kill().expect("node is there");
    // The log ends when all processes that can write to it have ended, including the binary.
    let launcher = Ended::of(launcher);
    assert!(launcher.log.contains("terminated (SIGTERM)"), "{}", launcher.log);
    assert!(cluster.requests().is_empty());
}

/// Gives the minter an exec plugin that never ends. A file shows that the plugin has started.
fn wait_in_plugin(step: &mut Step, started: &std::path::Path) {
    fifo(started);
    let plugin = format!("echo > {}; exec sleep 600 > /dev/null 2>&1", started.display());
    let exec = serde_json::json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", plugin], "interactiveMode": "Never" });
    let mut config = serde_yaml::from_str::<serde_json::Value>(step.value("kubeconfig")).expect("YAML");
    config["users"][0]["user"] = serde_json::json!({ "exec": exec });
    step.input("kubeconfig", &format!("{config:#}"));
}
