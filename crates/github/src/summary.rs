//! The job summary, which GitHub shows below the graph of the run's jobs.

use jobpass_core::{
    Error,
    access::Report,
    maintenance::learn::Runs,
    record::{receipt::Receipt, state::State},
    text::{code, in_words, markdown, time},
};

use crate::job::{CommandFile, Job};

/// Writes the report about the permissions of a handed-over token. Writes nothing if no input asked about a
/// permission and the escape check has no warning.
pub(crate) fn access(file: Option<&CommandFile>, account: &str, report: &Report) {
    let table = report.markdown();
    if let (Some(file), false) = (file, table.is_empty()) {
        let _ = file.append(&format!(
            "### :key: jobpass: the permissions of the token of {}\n\n{table}\n",
            code(account)
        ));
    }
}

/// Writes the report about a token's permissions, if a check of them failed and jobpass did not hand the
/// token over. Writes nothing after any other failure.
pub(crate) fn refused(job: &Job, error: &Error) {
    if let Some(report) = error.report() {
        write(
            job,
            &format!(
                "### :x: jobpass: no token\n\n{}\n\n{}\n",
                markdown(error.message()),
                report
            ),
        );
    }
}

pub(crate) fn revoked(job: &Job, receipt: &Receipt) {
    let _ = revoked_markdown(receipt).and_then(|text| append(job, &text));
}

/// Writes a table of the job's requests, if the input `record` names a file for them. The content of the file
/// is not trusted, because any step can write to the file.
pub(crate) fn recorded(job: &Job, state: &State) {
    let handed_over = state.receipt.minted.and(state.proxy.as_ref());
    let Some(path) = handed_over.and_then(|proxy| proxy.record.as_deref()) else {
        return;
    };
    let mut runs = Runs::default();
    let summary = match runs.read_record(path) {
        Ok(()) => recorded_markdown(&runs, &state.receipt.namespace),
        Err(error) => format!("{RECORDED}{}\n", markdown(error.message())),
    };
    write(job, &summary);
}

const RECORDED: &str = "### :mag: jobpass: what the job did\n\n";
/// The greatest number of rows in the table of the job's requests. The runner does not upload a step's
/// summary that is longer than 1 MiB.
const MOST_ROWS: usize = 200;

fn recorded_markdown(runs: &Runs, namespace: &str) -> String {
    let rows = runs.rows(namespace);
    let shown = rows.iter().take(MOST_ROWS).map(|row| {
        let verbs = code(&row.verbs.join(", "));
        let denied = if row.denied == 0 {
            String::new()
        } else {
            row.denied.to_string()
        };
        format!("| {} | {verbs} | {} | {denied} |\n", code(&row.what), row.calls)
    });
    let shown = shown.collect::<String>();
    let more = rows.len().saturating_sub(MOST_ROWS);
    let mut notes = String::new();
    if more > 0 {
        notes.push_str(&format!("\nNumber of further rows in the record: {more}.\n"));
    }
    if runs.is_cut() {
        notes.push_str(
            "\nThe record is incomplete, because it reached 16 MiB or a request was too long for a line.\n",
        );
    }
    let table = match rows.is_empty() {
        true => "The job made no request, except those that every ServiceAccount may make.\n".to_owned(),
        false => format!("| resource | verbs | calls | denied |\n|---|---|--:|--:|\n{shown}"),
    };
    format!("{RECORDED}{table}{notes}\n")
}

pub(crate) fn not_revoked(job: &Job, receipt: &Receipt, error: &Error) {
    write(
        job,
        &format!(
            "### :warning: jobpass: the token may still work\n\n\
             | | |\n|---|---|\n{}{}{}\n{}\n\n```sh\nkubectl delete secret {} --namespace {}\n```\n",
            row(
                "ServiceAccount",
                &code(&format!("{}/{}", receipt.namespace, receipt.service_account))
            ),
            row("Anchor", &code(&receipt.anchor)),
            row("Expires", &expires(receipt)),
            markdown(error.message()),
            receipt.anchor,
            receipt.namespace,
        ),
    );
}

fn expires(receipt: &Receipt) -> String {
    match (receipt.expires, receipt.swept) {
        (Some(expires), _) => time(expires),
        (None, Some(swept)) => format!("never; `jobpass sweep` deletes it from {} on", time(swept)),
        (None, None) => "unknown".into(),
    }
}

/// Appends to the summary. A failed write does not fail the job.
fn write(job: &Job, text: &str) {
    let _ = append(job, text);
}

fn append(job: &Job, text: &str) -> Result<(), Error> {
    job.file("GITHUB_STEP_SUMMARY")?.append(text)
}

fn revoked_markdown(receipt: &Receipt) -> Result<String, Error> {
    let lived = receipt.minted.zip(receipt.revoked).map(|(minted, revoked)| {
        format!(
            ", after {}",
            in_words(u64::try_from(revoked.as_second() - minted.as_second()).unwrap_or(0))
        )
    });
    let rows = [
        (
            "ServiceAccount",
            Some(code(&format!(
                "{}/{}",
                receipt.namespace, receipt.service_account
            ))),
        ),
        (
            "Audiences",
            (!receipt.audiences.is_empty()).then(|| code(&receipt.audiences.join(", "))),
        ),
        ("Minted", receipt.minted.map(time)),
        (
            "Revoked",
            receipt
                .revoked
                .map(|revoked| time(revoked) + lived.as_deref().unwrap_or_default()),
        ),
        ("Proof", receipt.proof.map(|proof| proof.sentence().to_owned())),
        (
            "Renewed",
            (receipt.renewed > 0).then(|| match receipt.renewed {
                1 => "once".to_owned(),
                times => format!("{times} times"),
            }),
        ),
        ("Would have expired", receipt.expires.map(time)),
        ("Would have been swept", receipt.swept.map(time)),
        ("Anchor", Some(code(&receipt.anchor))),
        ("Credential id", receipt.credential_id.as_deref().map(code)),
    ];
    let rows = rows
        .into_iter()
        .filter_map(|(name, value)| Some(row(name, &value?)))
        .collect::<String>();
    Ok(format!(
        "### :key: jobpass: token revoked\n\n| | |\n|---|---|\n{rows}\n\
         <details><summary>Receipt</summary>\n\n```json\n{}\n```\n\n</details>\n",
        receipt.json()?.replace('`', "\\u0060")
    ))
}

fn row(name: &str, value: &str) -> String {
    format!("| {name} | {value} |\n")
}

#[cfg(test)]
mod tests {
    use jobpass_core::record::receipt::Proof;

    use super::*;

    fn receipt() -> Receipt {
        let at = |text: &str| text.parse::<jiff::Timestamp>().ok();
        Receipt {
            service_account: "scanner".into(),
            service_account_uid: None,
            namespace: "ci".into(),
            anchor: "jobpass-abcdefghij2345678901".into(),
            anchor_uid: Some("11111111-2222-3333-4444-555555555555".into()),
            audiences: vec!["https://kubernetes.default.svc".into()],
            check_run_id: None,
            credential_id: Some("22222222-2222-3333-4444-555555555555".into()),
            minted: at("2026-11-23T10:00:00Z"),
            renewed: 0,
            expires: at("2026-11-23T11:00:00Z"),
            swept: None,
            revoked: at("2026-11-23T10:04:30Z"),
            proof: Some(Proof::Unauthorized),
        }
    }

    #[test]
    fn what_a_person_sees() {
        insta::assert_snapshot!(revoked_markdown(&receipt()).expect("a summary"), @r#"
        ### :key: jobpass: token revoked

        | | |
        |---|---|
        | ServiceAccount | `ci/scanner` |
        | Audiences | `https://kubernetes.default.svc` |
        | Minted | 2026-11-23 10:00:00 UTC |
        | Revoked | 2026-11-23 10:04:30 UTC, after 4 min 30 s |
        | Proof | the API server answers 401 to the token (jobpass asked once; another replica that saw the token just before may accept it for up to 10 s more) |
        | Would have expired | 2026-11-23 11:00:00 UTC |
        | Anchor | `jobpass-abcdefghij2345678901` |
        | Credential id | `22222222-2222-3333-4444-555555555555` |

        <details><summary>Receipt</summary>

        ```json
        {"service-account":"scanner","namespace":"ci","anchor":"jobpass-abcdefghij2345678901","anchor-uid":"11111111-2222-3333-4444-555555555555","audiences":["https://kubernetes.default.svc"],"credential-id":"22222222-2222-3333-4444-555555555555","minted":"2026-11-23T10:00:00Z","expires":"2026-11-23T11:00:00Z","revoked":"2026-11-23T10:04:30Z","proof":"unauthorized"}
        ```

        </details>
        "#);
    }

    #[test]
    fn what_the_job_did() {
        let line = |request: &str| {
            format!(
                "{{\"time\":\"2026-11-26T10:00:00Z\",\"account\":\"ci/scanner\",\"milliseconds\":1,{request}}}\n"
            )
        };
        let record = [
            line(r#""verb":"get","path":"/version","status":200"#),
            line(r#""verb":"list","resource":"pods","namespace":"ci","status":200"#),
            line(r#""verb":"delete","resource":"pods","namespace":"ci","name":"a","status":403"#),
            // A job chooses the paths of its requests, so they may contain markup and workflow commands.
            line(
                r#""verb":"get","group":"x|`<b>\n# x","resource":"::add-mask::","namespace":"ci","status":404"#,
            ),
            "{\"cut\":true}\n".to_owned(),
        ];
        let mut runs = Runs::default();
        runs.read_from("record", record.concat().as_bytes(), &[])
            .expect("a record");
        insta::assert_snapshot!(recorded_markdown(&runs, "ci"), @r"
        ### :mag: jobpass: what the job did

        | resource | verbs | calls | denied |
        |---|---|--:|--:|
        | `: :add-mask::.x\|'<b> # x` | `get` | 1 |  |
        | `pods` | `delete, list` | 2 | 1 |

        The record is incomplete, because it reached 16 MiB or a request was too long for a line.
        ");
    }
}
