//! Reports of what a token may do, as text, JSON and JUnit XML.

use jobpass_core::access::{Finding, Report, Verdict};
use serde_json::{Value, json};

use crate::terminal::screen::{GREEN, RED, Screen};

/// What was asked of a token and answered, for people.
pub(crate) fn table(report: &Report, screen: Screen) -> String {
    let text = screen.laid_out(&report.text());
    let lines = text.lines().map(|line| match line.split_whitespace().next() {
        Some(word @ "ok") => line.replacen(word, &screen.paint(word, GREEN), 1),
        Some(word @ "FAILED") => line.replacen(word, &screen.paint(word, RED), 1),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Also in a log.
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

/// A test case for each permission: a failure if it is not as it should be, an error if nobody knows.
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
        let (answer, reason) = (finding.verdict.word(), xml(&finding.reason));
        format!(
            "    <testcase classname=\"{class}\" name=\"{name}\"><{outcome} message=\"{answer}\">{reason}</{outcome}></testcase>\n"
        )
    });
    let warnings = report.warnings();
    let warnings = match warnings.is_empty() {
        true => String::new(),
        false => format!("    <system-out>{}</system-out>\n", xml(&warnings.join(" "))),
    };
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\"",
        report.findings.len()
    );
    let whose = report
        .holder
        .account
        .as_ref()
        .map_or(report.holder.namespace.clone(), ToString::to_string);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite name=\"jobpass check {}\" {counts}>\n\
         {}{warnings}  </testsuite>\n</testsuites>",
        xml(&whose),
        cases.collect::<String>(),
    )
}

/// XML 1.0, section 2.2: some characters cannot stand in it at all.
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
    use super::*;

    #[test]
    fn nothing_leaves_its_place_in_xml() {
        assert_eq!(xml("a<b>&\"c\u{0}\u{ffff}d"), "a&lt;b&gt;&amp;&quot;cd");
    }
}
