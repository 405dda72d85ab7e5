//! The files through which a step sets outputs, state, variables, PATH and its summary
//! (`FileCommandManager.cs`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::runner::random;

/// The largest summary that the runner accepts, in bytes.
const SUMMARY_LIMIT: usize = 1024 * 1024;

/// The files of one step.
pub(super) struct Files {
    folder: PathBuf,
    suffix: String,
}

#[derive(Clone, Copy)]
pub(super) enum File {
    Path,
    Env,
    Summary,
    State,
    Output,
}

impl File {
    pub(super) const ALL: [File; 5] = [File::Path, File::Env, File::Summary, File::State, File::Output];

    /// The name of the property of the `github` context. The variable has the same name in capitals, after
    /// `GITHUB_`.
    pub(super) fn name(self) -> &'static str {
        match self {
            File::Path => "path",
            File::Env => "env",
            File::Summary => "step_summary",
            File::State => "state",
            File::Output => "output",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            File::Path => "add_path_",
            File::Env => "set_env_",
            File::Summary => "step_summary_",
            File::State => "save_state_",
            File::Output => "set_output_",
        }
    }
}

impl Files {
    /// Creates empty files below the job's temporary folder. They stay until the job ends, and every user can
    /// read them.
    pub(super) fn create(temp: &Path) -> std::io::Result<Self> {
        let files = Self {
            folder: temp.join(super::COMMAND_FILES),
            suffix: random::uid(),
        };
        fs::create_dir_all(&files.folder)?;
        for file in File::ALL {
            fs::write(files.path(file), "")?;
        }
        Ok(files)
    }

    pub(super) fn path(&self, file: File) -> PathBuf {
        self.folder.join(format!("{}{}", file.prefix(), self.suffix))
    }

    /// The content of a file. A step may have removed it.
    pub(super) fn text(&self, file: File) -> Result<String, String> {
        match fs::read(self.path(file)) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn summary(&self) -> Result<String, String> {
        let text = self.text(File::Summary)?;
        if text.len() > SUMMARY_LIMIT {
            return Err(format!(
                "$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of {}k, got {}k",
                SUMMARY_LIMIT / 1024,
                text.len() / 1024
            ));
        }
        Ok(text)
    }
}

/// Parses a file (`EnvFileKeyValuePairs`). Returns the values before the first malformed line, and the error
/// for that line.
pub(super) fn values(text: &str) -> (Vec<(String, String)>, Option<String>) {
    let mut values = Vec::new();
    let mut rest = text;
    while let Some((line, _)) = next_line(&mut rest) {
        if line.is_empty() {
            continue;
        }
        match value(line, &mut rest) {
            Ok(value) => values.push(value),
            Err(error) => return (values, Some(error)),
        }
    }
    (values, None)
}

fn value(line: &str, rest: &mut &str) -> Result<(String, String), String> {
    let (equals, heredoc) = (line.find('='), line.find("<<"));
    match (equals, heredoc) {
        (Some(equals), heredoc) if heredoc.is_none_or(|heredoc| equals < heredoc) => {
            Ok((line[..equals].to_owned(), line[equals + 1..].to_owned()))
        }
        (_, Some(heredoc)) => {
            let (name, delimiter) = (&line[..heredoc], &line[heredoc + 2..]);
            if name.is_empty() || delimiter.is_empty() {
                return Err(format!(
                    "Invalid format '{line}'. Name must not be empty and delimiter must not be empty"
                ));
            }
            Ok((name.to_owned(), until(delimiter, rest)?))
        }
        _ => Err(format!("Invalid format '{line}'")),
    }
}

/// Reads the lines before the delimiter.
fn until(delimiter: &str, rest: &mut &str) -> Result<String, String> {
    let mut lines = Vec::new();
    loop {
        match next_line(rest) {
            Some((line, _)) if line == delimiter => return Ok(lines.join("\n")),
            Some((_, false)) => return Err("Invalid value. EOF marker missing new line.".to_owned()),
            Some((line, true)) => lines.push(line),
            None => {
                return Err(format!(
                    "Invalid value. Matching delimiter not found '{delimiter}'"
                ));
            }
        }
    }
}

/// Reads a line. Also returns whether a line break ends it.
fn next_line<'a>(rest: &mut &'a str) -> Option<(&'a str, bool)> {
    if rest.is_empty() {
        return None;
    }
    let (line, ended) = match rest.split_once('\n') {
        Some((line, after)) => {
            *rest = after;
            (line, true)
        }
        None => (std::mem::take(rest), false),
    };
    Some((line, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Vec<(String, String)> {
        let (values, error) = values(text);
        assert_eq!(error, None);
        values
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn both_ways_to_set_a_value() {
        assert_eq!(
            good("a=b=c<<d\n\ne<<EOF\nf\n\n g=h\nEOF\ni<<X\nX"),
            [pair("a", "b=c<<d"), pair("e", "f\n\n g=h"), pair("i", "")]
        );
    }

    #[test]
    fn malformed_files_say_why_and_keep_what_came_before() {
        for (text, problem) in [
            ("a=1\nb", "Invalid format 'b'"),
            (
                "a=1\n<<EOF\nEOF",
                "Invalid format '<<EOF'. Name must not be empty and delimiter must not be empty",
            ),
            (
                "a=1\nb<<EOF\nc\n",
                "Invalid value. Matching delimiter not found 'EOF'",
            ),
            ("a=1\nb<<EOF\nc", "Invalid value. EOF marker missing new line."),
            (
                "a=1\nb<<EOF\nc\n EOF\n",
                "Invalid value. Matching delimiter not found 'EOF'",
            ),
        ] {
            assert_eq!(
                values(text),
                (vec![pair("a", "1")], Some(problem.to_owned())),
                "{text}"
            );
        }
    }
}
