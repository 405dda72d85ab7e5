//! Prints `::add-mask::` for runners with `proxy_exec = true` (experimental, 17.10 and newer). These runners
//! read the command and hide it. Any other runner would show the command, and the token in it.

use std::path::Path;

use jobpass_core::{Error, token::Token};
use jobpass_mask::forms;

use crate::{log, process};

/// Makes the runner mask a token from now on, if the runner can.
pub(crate) fn mask(token: &Token) -> Result<(), Error> {
    if !is_read() {
        return Ok(());
    }
    log::print(
        &forms(token.expose())
            .iter()
            .map(|form| format!("::add-mask::{}\n", form.expose()))
            .collect::<String>(),
    )
}

/// Whether this program runs below the runner's `proxy-exec` command, which reads the output of the job's
/// shell.
fn is_read() -> bool {
    process::ancestors().any(|ancestor| is_proxy(&ancestor.arguments))
}

/// Whether these arguments from `/proc/PID/cmdline` are `gitlab-runner-helper proxy-exec ...`.
fn is_proxy(arguments: &str) -> bool {
    let mut arguments = arguments.split('\0');
    let program = arguments.next().map(Path::new).and_then(Path::file_name);
    program.is_some_and(|name| name.to_string_lossy().starts_with("gitlab-runner"))
        && arguments.any(|argument| argument == "proxy-exec")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_proxy;

    #[rstest]
    #[case("/usr/bin/gitlab-runner-helper\0proxy-exec\0--bootstrap\0sh\0", true)]
    #[case("gitlab-runner\0--log-level\0debug\0proxy-exec\0bash\0", true)]
    #[case("gitlab-runner\0run\0", false)]
    #[case("bash\0-c\0gitlab-runner proxy-exec\0", false)]
    #[case("bash\0gitlab-runner-helper\0proxy-exec\0", false)]
    #[case("", false)]
    fn only_the_runner_s_own_command_counts(#[case] arguments: &str, #[case] is: bool) {
        assert_eq!(is_proxy(arguments), is);
    }
}
