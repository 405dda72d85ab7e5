//! A report of a token's permissions, as text, JSON and JUnit XML.

use jobpass_core::{
    access::{Finding, Report, Verdict},
    text::markdown,
};
use serde_json::{Value, json};

use crate::terminal::screen::{GREEN, RED, Screen};

/// The report as a table for people.
pub(crate) fn table(report: &Report, screen: Screen) -> String {
    let text = screen.laid_out(&report.text());
    let lines = text.lines().map(|line| match line.split_whitespace().next() {
        Some(word @ "ok") => line.replacen(word, &screen.paint(word, GREEN), 1),
        Some(word @ "FAILED") => line.replacen(word, &screen.paint(word, RED), 1),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The report as JSON, for the result of `check` and for the log.
pub(crate) fn json(report: &Report) -> Value {
    let check = |finding: &Finding| {
        json!({
            "permission": finding.permission.to_string(), "check": finding.expected.option(),
            "answer": finding.verdict.word(), "reason": finding.reason, "passed": finding.holds(),
        })
    };
    let way = |way: &jobpass_core::access::Way| json!({ "may": way.may, "by": way.by.iter().map(ToString::to_string).collect::<Vec<_>>() });
    json!({
        "passed": report.verdict().is_ok(), "namespace": report.holder.namespace,
        "service-account": report.holder.account.as_ref().map(ToString::to_string),
        "checks": report.findings.iter().map(check).collect::<Vec<_>>(),
        "escape": report.escape.ways.iter().map(way).collect::<Vec<_>>(), "warnings": report.warnings(),
    })
}

/// The report as JUnit XML, with a test case for each permission. The case fails if the answer differs from
/// the expected one. It has an error if the API server gave no answer. Some viewers of JUnit XML show text as
/// Markdown, so this function escapes the markup in the API server's text.
pub(crate) fn junit(report: &Report) -> String {
    let failed = |finding: &&Finding| !finding.holds() && finding.verdict != Verdict::Unknown;
    let failures = report.findings.iter().filter(failed).count();
    let errors = report
        .findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Unknown)
        .count();
    let cases = report.findings.iter().map(|finding| {
        let (class, name) = (finding.expected.option(), xml(&finding.permission.to_string()));
        let outcome = match finding {
            finding if finding.holds() => return format!("    <testcase classname=\"{class}\" name=\"{name}\"/>\n"),
            Finding { verdict: Verdict::Unknown, .. } => "error",
            _ => "failure",
        };
        let (answer, reason) = (finding.verdict.word(), xml(&markdown(&finding.reason)));
        format!(
            "    <testcase classname=\"{class}\" name=\"{name}\"><{outcome} message=\"{answer}\">{reason}</{outcome}></testcase>\n"
        )
    });
    let warnings = report.warnings();
    let warnings = warnings
        .iter()
        .map(|warning| markdown(warning))
        .collect::<Vec<_>>();
    let warnings = match warnings.is_empty() {
        true => String::new(),
        false => format!("    <system-out>{}</system-out>\n", xml(&warnings.join(" "))),
    };
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\"",
        report.findings.len()
    );
    let subject = report
        .holder
        .account
        .as_ref()
        .map_or(report.holder.namespace.clone(), ToString::to_string);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite name=\"jobpass check {}\" {counts}>\n\
         {}{warnings}  </testsuite>\n</testsuites>",
        xml(&subject),
        cases.collect::<String>(),
    )
}

/// Escapes `text` for XML. Removes the characters that XML 1.0 does not allow even as an escape (section
/// 2.2).
fn xml(text: &str) -> String {
    let allowed =
        |c: &char| matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars()
        .filter(allowed)
        .fold(String::new(), |text, c| match c {
            '&' => text + "&amp;",
            '<' => text + "&lt;",
            '>' => text + "&gt;",
            '"' => text + "&quot;",
            c => text + c.encode_utf8(&mut [0; 4]),
        })
}

#[cfg(test)]
mod tests {
    use jobpass_core::{
        access::{Expected, Holder},
        inputs::checks::{Checks, EscapeCheck},
    };

    use super::*;
    use crate::terminal::screen::PIPE;

    fn report() -> Report {
        let mut checks = Checks {
            require: vec![],
            forbid: vec![],
            escape: EscapeCheck::Off,
        };
        let permissions = "get pods\nget nodes\ndelete secrets\nlist leases.coordination.k8s.io";
        checks.also_require("require", permissions).expect("permissions");
        let answers = [
            (
                Expected::Allowed,
                Verdict::Allowed,
                "RBAC: allowed by \"a\" & <b>",
            ),
            (Expected::Allowed, Verdict::Denied, ""),
            (Expected::Denied, Verdict::Allowed, "by [all](//a)"),
            (
                Expected::Denied,
                Verdict::Unknown,
                "the API server gave no answer",
            ),
        ];
        let findings = checks.require.into_iter().zip(answers);
        let finding = |(permission, (expected, verdict, reason))| Finding {
            permission,
            expected,
            verdict,
            reason: str::to_owned(reason),
        };
        Report {
            findings: findings.map(finding).collect(),
            escape: Default::default(),
            holder: Holder {
                namespace: "ci".into(),
                account: None,
            },
        }
    }

    #[test]
    fn a_wrong_answer_is_a_failure_and_no_answer_is_an_error() {
        insta::assert_snapshot!(junit(&report()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites tests="4" failures="2" errors="1">
          <testsuite name="jobpass check ci" tests="4" failures="2" errors="1">
            <testcase classname="require" name="get pods"/>
            <testcase classname="require" name="get nodes"><failure message="denied"></failure></testcase>
            <testcase classname="forbid" name="delete secrets"><failure message="allowed">by \[all\](//a)</failure></testcase>
            <testcase classname="forbid" name="list leases.coordination.k8s.io"><error message="unknown">the API server gave no answer</error></testcase>
          </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn only_the_verdict_of_a_line_is_coloured() {
        let coloured = Screen {
            colours: true,
            ..PIPE
        };
        insta::assert_snapshot!(table(&report(), coloured).replace('\x1b', "^"), @r#"
        ^[32mok^[0m      require  get pods                         allowed  RBAC: allowed by "a" & <b>
        ^[31mFAILED^[0m  require  get nodes                        denied
        ^[31mFAILED^[0m  forbid   delete secrets                   allowed  by [all](//a)
        ^[31mFAILED^[0m  forbid   list leases.coordination.k8s.io  unknown  the API server gave no answer
        "#);
    }

    #[test]
    fn json_tells_the_three_answers_apart() {
        let json = json(&report());
        let checks = json["checks"].as_array().expect("checks");
        let answers = checks
            .iter()
            .map(|check| (check["answer"].as_str(), check["passed"].as_bool()));
        assert_eq!(
            answers.collect::<Vec<_>>(),
            [
                (Some("allowed"), Some(true)),
                (Some("denied"), Some(false)),
                (Some("allowed"), Some(false)),
                (Some("unknown"), Some(false)),
            ]
        );
        assert_eq!(json["passed"], false);
    }

    #[test]
    fn text_cannot_leave_its_place_in_xml() {
        assert_eq!(xml("a<b>&\"c\u{0}\u{ffff}d"), "a&lt;b&gt;&amp;&quot;cd");
    }
}
