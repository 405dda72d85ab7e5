//! The script that a runner builds from a job's commands (`shells/bash.go`).

use super::variables::{Kind, Variables};

/// Bold green: the runner prints each command in this colour, then runs it.
const GREEN: &str = "\x1b[32;1m";
const PLAIN: &str = "\x1b[0;m";

/// Returns the script for the standard input of the shell. The shell's arguments and environment contain no
/// part of it.
pub(super) fn script(variables: &Variables, temp: &str, project: &str, commands: &[String]) -> String {
    let mut body = String::new();
    for (name, variable) in variables {
        let value = quoted(&variable.value);
        if variable.kind == Kind::File {
            let path = quoted(&format!("{temp}/{name}"));
            body += &format!(
                "mkdir -p {}\nprintf '%s' {value} > {path}\nexport {name}={path}\n",
                quoted(temp)
            );
        } else {
            body += &format!("export {name}={value}\n");
        }
    }
    body += &format!("cd {}\n", quoted(project));
    for command in commands {
        let command = command.trim();
        let shown = match command.split_once('\n') {
            Some((first, _)) => format!("{GREEN}$ {first} # collapsed multi-line command{PLAIN}"),
            None => format!("{GREEN}$ {command}{PLAIN}"),
        };
        body += &format!("echo {}\n{command}\n", quoted(&shown));
    }
    format!(
        "trap exit 1 TERM\n\n\
         if set -o | grep pipefail > /dev/null; then set -o pipefail; fi; set -o errexit\n\
         set +o noclobber\n\
         : | eval {}\n\
         exit 0\n",
        quoted(&body)
    )
}

/// Quotes like `PosixShellEscape`.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
