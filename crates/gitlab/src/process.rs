//! The processes above this one, as `/proc` shows them.

use std::{fs, os::unix::process::parent_id, path::Path};

/// More than enough parents between this program and the runner.
const GENERATIONS: usize = 64;

/// A process above this one.
pub(crate) struct Ancestor {
    pub(crate) pid: u32,
    /// The arguments as in `/proc/PID/cmdline`: each ends with NUL.
    pub(crate) arguments: String,
}

impl Ancestor {
    /// The name of its program, without the folder.
    pub(crate) fn program(&self) -> &str {
        let path = self.arguments.split('\0').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

/// The parent of this process, the parent's parent, and so on, as far as they can be seen.
pub(crate) fn ancestors() -> impl Iterator<Item = Ancestor> {
    let next = |pid: &u32| parent_of(*pid).filter(|&pid| pid > 0);
    std::iter::successors(Some(parent_id()), next)
        .take(GENERATIONS)
        .map_while(|pid| {
            let arguments = fs::read(folder(pid).join("cmdline")).ok()?;
            Some(Ancestor {
                pid,
                arguments: String::from_utf8_lossy(&arguments).into_owned(),
            })
        })
}

fn parent_of(pid: u32) -> Option<u32> {
    // proc_pid_stat(5): the name, in parentheses, may hold any character.
    let stat = fs::read_to_string(folder(pid).join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

fn folder(pid: u32) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/usr/bin/bash\0--login\0", "bash")]
    #[case("-bash\0", "-bash")]
    #[case("sh", "sh")]
    #[case("", "")]
    fn the_program_of_a_process(#[case] arguments: &str, #[case] program: &str) {
        let ancestor = Ancestor {
            pid: 1,
            arguments: arguments.to_owned(),
        };
        assert_eq!(ancestor.program(), program);
    }

    #[test]
    fn the_ancestors_begin_with_the_parent() {
        let ancestors = ancestors()
            .take(2)
            .map(|ancestor| ancestor.pid)
            .collect::<Vec<_>>();
        assert_eq!(ancestors.first(), Some(&parent_id()));
        assert_eq!(
            ancestors.get(1).copied(),
            parent_of(parent_id()).filter(|pid| *pid > 0)
        );
        assert_eq!(parent_of(std::process::id()), Some(parent_id()));
        assert_eq!(parent_of(u32::MAX), None);
    }
}
