//! Runs programs for Windows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::tools;
use crate::workspace::{Workspace, run};

const COMPILER: &str = "x86_64-w64-mingw32-gcc";
/// The path of wine. Debian's package wine64 puts no program on PATH.
const PROGRAM: &str = "/usr/lib/wine/wine64";
const SERVER: &str = "/usr/lib/wine/wineserver64";

/// The source of `bcryptprimitives.dll`, which wine 8 lacks. It has the one function that Rust's standard
/// library calls.
const LIBRARY: &str = r#"
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    return SystemFunction036(data, (ULONG)length);
}
"#;

/// A Windows machine: the folder with its disk and its registry. Dropping the value stops the machine.
pub(super) struct Wine {
    prefix: PathBuf,
}

impl Wine {
    pub(super) fn install(workspace: &Workspace) -> Result<Self> {
        tools::system(COMPILER, "gcc-mingw-w64-x86-64")?;
        tools::package(Path::new(PROGRAM), "wine64")?;
        let prefix = super::folder(workspace).join("wine");
        fs::create_dir_all(&prefix).with_context(|| format!("cannot create {}", prefix.display()))?;
        let wine = Self { prefix };
        // This starts the services of Windows. If a trial started them, they would keep the trial's pipes
        // open.
        run(wine.with_environment(Command::new(SERVER)).arg("--persistent"))?;
        run(wine
            .with_environment(Command::new(PROGRAM))
            .args(["wineboot", "--init"])
            .stdout(std::process::Stdio::null()))?;
        Ok(wine)
    }

    /// Builds `bcryptprimitives.dll`, and puts it beside the programs.
    pub(super) fn put_libraries(&self, programs: &Path) -> Result<()> {
        let source = self.prefix.join("bcryptprimitives.c");
        fs::write(&source, LIBRARY).with_context(|| format!("cannot write {}", source.display()))?;
        let library = programs.join("bcryptprimitives.dll");
        run(Command::new(COMPILER)
            .args(["-shared", "-o"])
            .args([&library, &source])
            .arg("-ladvapi32"))
    }

    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = self.with_environment(Command::new(PROGRAM));
        command.arg(program);
        command
    }

    fn with_environment(&self, mut command: Command) -> Command {
        command
            .env("WINEPREFIX", &self.prefix)
            .env("WINESERVER", SERVER)
            // Turns wine's own log off.
            .env("WINEDEBUG", "-all");
        command
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        let _ = run(self.with_environment(Command::new(SERVER)).arg("--kill"));
    }
}

/// The Windows path of a file of this machine. wine shows the root of this machine as drive Z.
pub(super) fn path(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}
