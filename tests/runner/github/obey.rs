//! The values that a step sets through its files or through commands in its log (`ActionCommandManager.cs`,
//! `FileCommandManager.cs`).

use std::path::{Path, PathBuf};

use super::command::{self, ActionCommand};
use super::files::File;
use super::step::Execution;

impl Execution<'_> {
    pub(super) fn prepend(&mut self, text: &str) {
        for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
            self.job.path.retain(|known| known != Path::new(line));
            self.job.path.push(PathBuf::from(line));
        }
    }

    pub(super) fn set(&mut self, file: File, name: &str, value: String) {
        match file {
            File::Env if name.eq_ignore_ascii_case("NODE_OPTIONS") => self
                .job
                .show("##[error]Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command."),
            File::Env => {
                self.job.debug(&format!("{name}='{value}'"));
                self.job.env.insert(name.to_owned(), value);
            }
            File::State => {
                self.job
                    .debug(&format!("Save intra-action state {name} = {value}"));
                self.job.states[self.number].insert(name.to_owned(), value);
            }
            _ => {
                self.job.debug(&format!("Set output {name} = {value}"));
                self.outputs.insert(name.to_owned(), value);
            }
        }
    }

    /// Handles a line of the log (`OutputManager.cs`, `ActionCommandManager.cs`).
    pub(super) fn line(&mut self, line: &str) {
        let Some(command) = command::parse(line, self.token.as_deref()) else {
            return self.job.show(line);
        };
        if let Some(token) = &self.token {
            if token.to_lowercase() == command.name {
                self.token = None;
            }
            return self.job.show(line);
        }
        self.commands.push(command.name.clone());
        let quiet = ["add-mask", "debug", "error", "notice", "stop-commands", "warning"];
        if self.echo && !quiet.contains(&&*command.name) {
            self.job.show(line);
        }
        if let Err(problem) = self.obey(&command, line) {
            self.job.show(&format!(
                "##[error]Unable to process command '{line}' successfully."
            ));
            self.job.show(&format!("##[error]{problem}"));
            self.failed = true;
        }
    }

    fn obey(&mut self, command: &ActionCommand, line: &str) -> Result<(), String> {
        let data = &command.data;
        match &*command.name {
            "add-mask" if data.trim().is_empty() => self
                .job
                .show("##[warning]Can't add secret mask for empty string in ##[add-mask] command."),
            "add-mask" => {
                if self.echo {
                    self.job.show("::add-mask::***");
                }
                self.job.masker.add(data);
            }
            "stop-commands" => {
                self.job.show(line);
                self.token = Some(data.clone());
            }
            "debug" => self.job.debug(data),
            "error" | "warning" | "notice" | "group" | "endgroup" => {
                self.job.show(&format!("##[{}]{data}", command.name));
            }
            "echo" => match &*data.trim().to_lowercase() {
                "on" => self.echo = true,
                "off" => self.echo = false,
                _ => {
                    return Err(format!(
                        "Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: '{data}'."
                    ));
                }
            },
            "set-output" => {
                self.deprecated(command);
                self.set(File::Output, name_of(command)?, data.clone());
            }
            "save-state" => {
                self.deprecated(command);
                self.set(File::State, name_of(command)?, data.clone());
            }
            "set-env" => {
                self.must_be_allowed(command)?;
                self.set(File::Env, name_of(command)?, data.clone());
            }
            "add-path" => {
                self.must_be_allowed(command)?;
                self.prepend(data);
            }
            // The commands for problem matchers have no effect on a job.
            _ => {}
        }
        Ok(())
    }

    fn deprecated(&mut self, command: &ActionCommand) {
        self.job.show(&format!(
            "##[warning]The `{}` command is deprecated and will be disabled soon. Please upgrade to using Environment Files.",
            command.name
        ));
    }

    fn must_be_allowed(&self, command: &ActionCommand) -> Result<(), String> {
        let variable = "ACTIONS_ALLOW_UNSECURE_COMMANDS";
        let allowed = [&self.env, &self.job.runner.variables]
            .into_iter()
            .filter_map(|variables| variables.get(variable))
            .any(|value| value.eq_ignore_ascii_case("true"));
        match allowed {
            true => Ok(()),
            false => Err(format!(
                "The `{}` command is disabled. Please upgrade to using Environment Files or opt into unsecure command \
                 execution by setting the `{variable}` environment variable to `true`.",
                command.name
            )),
        }
    }
}

fn name_of(command: &ActionCommand) -> Result<&str, String> {
    let name = command.properties.get("name");
    name.map(String::as_str).ok_or_else(|| {
        format!(
            "Required field 'name' is missing in ##[{}] command.",
            command.name
        )
    })
}
