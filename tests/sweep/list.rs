//! `jobpass list`, with an output that is not a terminal.

use std::io::{BufRead as _, BufReader};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

const SCAN: [(&str, &str); 8] = [
    ("lifetime", "3600s"),
    ("platform", "github"),
    ("repository", "team/app"),
    ("run-id", "77"),
    ("job", "scan"),
    ("url", "https://github.com/team/app/actions/runs/77"),
    ("service-account", "scanner"),
    ("requested-by", "someone"),
];

#[test]
fn what_lives_is_shown_with_its_pipeline() {
    let broom = Broom::new();
    let empty = broom.run(&["list"]).succeeded();
    let namespace = broom.cluster.namespace();
    assert_eq!(empty.log, format!("no anchors in namespace `{namespace}`\n"));
    let empty = broom.run(&["list", "--output", "json"]).succeeded();
    assert_eq!(empty.log, "");

    broom.anchor(1, &SCAN);
    let other = broom.cluster.other_namespace("b");
    broom.secret(
        &other,
        &name(2),
        &[
            ("lifetime", "600s"),
            ("platform", "gitlab"),
            ("repository", "b/c"),
            ("run-id", "12"),
            ("job", "34"),
        ],
    );
    broom.cluster.move_date(minutes(12));
    broom.anchor(
        3,
        &[
            (
                "job",
                "\u{1b}]8;;https://evil.example\u{7}click\u{1b}]8;;\u{7}\r\n::error::x",
            ),
            ("url", "javascript:alert(1)"),
        ],
    );
    let listed = broom.run(&["list", "--all-namespaces"]).succeeded().log;
    let lines = listed
        .lines()
        .filter(|line| line.starts_with("PIPELINE") || line.contains(namespace))
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect::<Vec<Vec<_>>>();
    assert_eq!(
        lines[0],
        [
            "PIPELINE",
            "REPOSITORY",
            "SERVICE ACCOUNT",
            "ANCHOR",
            "AGE",
            "EXPIRES IN",
            "STATE",
            "LINK"
        ],
        "{listed}"
    );
    // The namespaces are in the order of their names: a hyphen comes before the slash.
    assert_eq!(
        lines[1][..3],
        ["gitlab pipeline 12, job 34", "b/c", &format!("{other}/-")],
        "{listed}"
    );
    assert!(
        lines[1][5].starts_with("2 min") && lines[1][5].ends_with("ago") && lines[1][6] == "expired",
        "{listed}"
    );
    assert_eq!(
        lines[2][..4],
        [
            "github run 77, job scan",
            "team/app",
            &format!("{namespace}/scanner"),
            &format!("{namespace}/{}", name(1)),
        ],
        "{listed}"
    );
    assert!(
        lines[2][4] == "12 min" && ["48 min", "47 min"].contains(&lines[2][5]),
        "{listed}"
    );
    assert_eq!(
        lines[2][6..],
        ["live", "https://github.com/team/app/actions/runs/77"],
        "{listed}"
    );
    assert_eq!((lines[3][6], lines[3].len()), ("unclear", 7), "{listed}");
    assert!(
        !listed.contains('\u{1b}') && !listed.contains('\u{7}'),
        "{listed}"
    );

    let json = json_lines(&broom.run(&["list", "--output", "json"]).succeeded().log);
    assert_eq!(
        (&json[0]["anchor"], &json[0]["state"], &json[0]["run-id"]),
        (&json!(name(1)), &json!("live"), &json!("77"))
    );
}

/// `--watch` needs only the verb `list` on Secrets. It prints a row for each anchor that appears, changes or
/// disappears.
#[test]
fn watching_shows_what_changes() {
    let broom = Broom::new();
    broom.anchor(1, &SCAN);
    let mut watch = broom.start(&["list", "--watch", "--output", "json"]);
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut next = || {
        let line = lines.next().expect("a line").expect("text");
        let line = serde_json::from_str::<Value>(&line).expect("JSON");
        (
            line["anchor"].as_str().expect("a name").to_owned(),
            line["state"].as_str().expect("a state").to_owned(),
        )
    };
    assert_eq!(next(), (name(1), "live".into()));
    broom.anchor(2, &SCAN);
    assert_eq!(next(), (name(2), "live".into()));
    broom.admin(&[
        "delete",
        "secret",
        &name(2),
        "--namespace",
        broom.cluster.namespace(),
        "--wait=false",
    ]);
    assert_eq!(next(), (name(2), "gone".into()));
    broom.cluster.move_date(minutes(61));
    assert_eq!(next(), (name(1), "expired".into()));
    kill_process(Pid::from_child(&watch), Signal::INT).expect("it is there");
    assert_eq!(watch.wait().expect("it ends").code(), Some(130));
}
