//! The memory of a job's processes.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    time::Duration,
};

use memchr::memmem;
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use super::{Desk, proxy::WRITER};
use crate::{github::step::Ended, support::group};

/// The length of the parts of a token for which the test searches, in bytes.
const PART: usize = 24;
/// The number of bytes to read at once.
const CHUNK: usize = 1 << 20;

/// Whether the memory of a process holds one of the needles. Skips the regions that nobody can read.
fn holds(process: Pid, needles: &[&str]) -> bool {
    let folder = Path::new("/proc").join(process.as_raw_nonzero().to_string());
    let maps = fs::read_to_string(folder.join("maps")).expect("the process runs");
    let memory = File::open(folder.join("mem")).expect("the memory of the test's own descendant");
    let regions = maps.lines().filter_map(|line| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
    });
    let mut bytes = vec![0; CHUNK + PART];
    for region in regions {
        // The chunks overlap, so that each part of a token is whole in one of them.
        for start in region.clone().step_by(CHUNK) {
            let length = bytes.len().min((region.end - start) as usize);
            let Ok(read) = memory.read_at(&mut bytes[..length], start) else {
                continue;
            };
            if needles
                .iter()
                .any(|needle| memmem::find(&bytes[..read], needle.as_bytes()).is_some())
            {
                return true;
            }
        }
    }
    false
}

/// With the proxy, the search finds no token in the memory of any process. Without the proxy, it finds the
/// token in each process, which shows that the search works.
#[rstest]
fn no_process_of_the_job_has_the_token_in_its_memory(#[values(true, false)] proxy: bool) {
    let desk = Desk::new();
    desk.cluster.apply(WRITER);
    let options: &[&str] = if proxy { &["--proxy"] } else { &[] };
    let script = r#"config=$(cat "$KUBECONFIG"); kubectl get configmaps --watch; echo ${#config} > length"#;
    let child = desk.start_exec(options, script);
    desk.cluster.wait_for(Duration::from_secs(60), |requests| {
        let mut watches = requests.iter().filter(|request| request.path.contains("watch="));
        watches.any(|request| request.status.is_some()).then_some(())
    });
    let token = desk.cluster.issued().remove(0);
    let (_, signature) = token.rsplit_once('.').expect("a JWT");
    let claims = token.split('.').nth(1).expect("a JWT");
    let needles = [
        &signature[..PART],
        &signature[signature.len() - PART..],
        &claims[claims.len() - PART..],
    ];
    let jobpass = Pid::from_child(&child);
    let processes = group(child.id())
        .into_iter()
        .filter(|process| *process != jobpass);
    let finds = processes
        .map(|process| (holds(process, &needles), process))
        .collect::<Vec<_>>();
    // The processes are the shell and kubectl.
    assert_eq!(finds.len(), 2, "{finds:?}");
    assert!(finds.iter().all(|(holds, _)| *holds != proxy), "{finds:?}");
    for (_, process) in finds {
        let name = Path::new("/proc")
            .join(process.as_raw_nonzero().to_string())
            .join("comm");
        if fs::read_to_string(name).is_ok_and(|name| name == "kubectl\n") {
            kill_process(process, Signal::TERM).expect("it runs");
        }
    }
    let ended = Ended::of(child).succeeded();
    fs::remove_file(desk.path("length")).expect("written");
    desk.assert_all_gone(&ended.log);
}
