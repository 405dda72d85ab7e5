//! Reads dotenv reports as strictly as GitLab (`parse_dotenv_artifact_service.rb`, `job_variable.rb`).

use std::collections::BTreeMap;

/// The size in bytes below which GitLab accepts a report.
const SIZE_LIMIT: usize = 5 * 1024;
/// The default limit for the variables of a report on self-managed GitLab.
const VARIABLES_LIMIT: usize = 20;

/// The variables of a report, or GitLab's reason for refusing the report.
pub(super) fn parse(report: &[u8]) -> Result<BTreeMap<String, String>, String> {
    if report.len() >= SIZE_LIMIT {
        return Err(format!(
            "Dotenv Artifact Too Big. Maximum Allowable Size: {SIZE_LIMIT}"
        ));
    }
    let text = String::from_utf8_lossy(report);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut variables = BTreeMap::new();
    for line in text.split_inclusive('\n') {
        let (key, value) = line.split_once('=').ok_or("Invalid Format")?;
        let (key, value) = (strip(key), strip(value));
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err("Validation failed: Key can contain only letters, digits and '_'.".to_owned());
        }
        variables.insert(key.to_owned(), value.to_owned());
    }
    if variables.len() > VARIABLES_LIMIT {
        return Err(format!(
            "Dotenv files cannot have more than {VARIABLES_LIMIT} variables"
        ));
    }
    Ok(variables)
}

/// Trims a string like Ruby's `strip`.
fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0' || c == '\u{b}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gitlab_takes() {
        let variables = parse(b"\xef\xbb\xbfA=1\r\n B_2 = \"two words\" \nC=a=b\nA=2\nD=").expect("a report");
        let expected = [("A", "2"), ("B_2", "\"two words\""), ("C", "a=b"), ("D", "")];
        assert_eq!(
            variables,
            expected
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        );
        assert_eq!(parse(b""), Ok(BTreeMap::new()));
    }

    #[test]
    fn what_gitlab_refuses() {
        let problem = |report: &str| parse(report.as_bytes()).expect_err("a refusal");
        for report in ["A=1\n\nB=2\n", "# comment\n", "A\n"] {
            assert_eq!(problem(report), "Invalid Format", "{report}");
        }
        for report in ["# A=1\n", "A-B=1\n", "=1\n", "export A=1\n"] {
            assert!(problem(report).starts_with("Validation failed"), "{report}");
        }
        let many = |count: usize| (0..count).map(|n| format!("A{n}=1\n")).collect::<String>();
        assert!(parse(many(20).as_bytes()).is_ok());
        assert!(problem(&many(21)).contains("more than 20"));
        let long = |size: usize| format!("A={}", "x".repeat(size - 2));
        assert!(parse(long(5119).as_bytes()).is_ok());
        assert!(problem(&long(5120)).contains("Too Big"));
    }
}
