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
