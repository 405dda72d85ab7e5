//! Shows that a program asks no module of the machine's name service switch for the address of a server.
//!
//! The modules are libraries for the machine's C library. A program that contains another C library can crash
//! when it loads them. If a program obeys LD_LIBRARY_PATH when it loads them, whoever sets this variable
//! chooses the code that the program runs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jobpass_devkit::{DevCluster, cli::MANIFESTS};

use crate::workspace::output;

/// A module that leaves a mark as soon as a program loads it: it creates the file `$MARK`.
const MODULE: &str = r#"
#include <fcntl.h>
#include <stdlib.h>
__attribute__((constructor)) static void loaded(void) { open(getenv("MARK"), O_CREAT | O_WRONLY, 0600); }
"#;

/// Runs `jobpass whoami` with the name of a server, while `nsswitch.conf` names a module that leaves a mark.
/// Fails if jobpass loads the module.
pub fn try_out(jobpass: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    fs::write(path("module.c"), MODULE)?;
    fs::write(path("nsswitch.conf"), "passwd: files\nhosts: mark files dns\n")?;
    output(Command::new("cc").current_dir(&folder).args([
        "-shared",
        "-fPIC",
        "-o",
        "libnss_mark.so.2",
        "module.c",
    ]))?;

    let cluster = DevCluster::start();
    cluster.apply(MANIFESTS);
    let minter = cluster.service_account_token("ci", "jobpass-minter", Duration::from_secs(600));
    let kubeconfig = cluster.kubeconfig(&minter, "ci");
    let named = kubeconfig.replace("https://127.0.0.1:", "https://localhost:");
    ensure!(named != kubeconfig, "the dev cluster is not at 127.0.0.1");
    fs::write(path("kubeconfig"), named)?;

    // In a mount namespace, the trial's `nsswitch.conf` takes the place of the machine's.
    let mark = path("mark");
    let marked = |program: &mut Command| -> Result<(bool, String)> {
        let said = output(
            program
                .current_dir(&folder)
                .env("MARK", &mark)
                .env("LD_LIBRARY_PATH", folder.path()),
        )
        .context(
            "a program failed in the trial's mount namespace. If `unshare` or `mount` failed, run the \
             trial as root; in a container, also with CAP_SYS_ADMIN",
        )?;
        let marked = mark.exists();
        drop(fs::remove_file(&mark));
        Ok((marked, said))
    };
    let inside = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c"]);
        unshare.args([
            r#"mount --bind nsswitch.conf /etc/nsswitch.conf && exec "$@""#,
            "sh",
        ]);
        unshare
    };
    // This checks the trial itself: a program with the machine's own C library must load the module.
    let (loaded, _) = marked(inside().args(["getent", "hosts", "localhost"]))?;
    ensure!(
        loaded,
        "`getent hosts` did not load the module, so the trial proves nothing"
    );
    let (loaded, said) = marked(
        inside()
            .arg(jobpass)
            .args(["whoami", "--kubeconfig", "kubeconfig"]),
    )?;
    ensure!(
        said.contains("jobpass-minter"),
        "`jobpass whoami` printed: {said}"
    );
    ensure!(
        !loaded,
        "{} loaded a module of the machine's nsswitch.conf",
        jobpass.display()
    );
    Ok(())
}
