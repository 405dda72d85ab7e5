//! The processes above this one, from `/proc`.

use std::{fs, os::unix::process::parent_id, path::Path};

/// The greatest number of processes to look at. The runner is much nearer than that.
const GENERATIONS: usize = 64;

/// A process above this one.
pub(crate) struct Ancestor {
    pub(crate) pid: u32,
    /// The process group. 0 if the group's leader is outside of this container.
    pub(crate) group: u32,
    /// The arguments as in `/proc/PID/cmdline`: each ends with NUL.
    pub(crate) arguments: String,
}

impl Ancestor {
    /// The name of the process's program, without the folder.
    pub(crate) fn program(&self) -> &str {
        let path = self.arguments.split('\0').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }
}

/// The parent of this process, the parent's parent, and so on, as far as `/proc` shows them.
pub(crate) fn ancestors() -> impl Iterator<Item = Ancestor> {
    let mut next = Some(parent_id());
    let ancestors = std::iter::from_fn(move || {
        let pid = next.take().filter(|&pid| pid > 0)?;
        let arguments = fs::read(folder(pid).join("cmdline")).ok()?;
        let (parent, group) = parent_and_group(pid)?;
        next = Some(parent);
        Some(Ancestor {
            pid,
            group,
            arguments: String::from_utf8_lossy(&arguments).into_owned(),
        })
    });
    ancestors.take(GENERATIONS)
}

fn parent_and_group(pid: u32) -> Option<(u32, u32)> {
    // proc_pid_stat(5): the name, in parentheses, may hold any character.
    let stat = fs::read_to_string(folder(pid).join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
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
            group: 1,
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
        let parent_of = |pid| parent_and_group(pid).map(|(parent, _)| parent);
        assert_eq!(ancestors.first(), Some(&parent_id()));
        assert_eq!(
            ancestors.get(1).copied(),
            parent_of(parent_id()).filter(|pid| *pid > 0)
        );
        assert_eq!(parent_of(std::process::id()), Some(parent_id()));
        assert_eq!(parent_of(u32::MAX), None);
        let group = u32::try_from(rustix::process::getpgrp().as_raw_pid()).ok();
        assert_eq!(
            parent_and_group(std::process::id()).map(|(_, group)| group),
            group
        );
    }
}
