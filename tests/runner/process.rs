//! One process of a job: its output, its end, and the signals with which a runner stops the process.

use std::io::{PipeReader, Read as _, Write as _, pipe};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

/// The events for which a job waits. One mailbox serves a whole GitHub job or GitLab pipeline, so that a
/// cancellation arrives during any process.
pub(super) struct Mailbox {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    /// The number of the current process. Events of earlier processes may still arrive.
    current: u64,
}

/// The handle with which another thread cancels a job.
#[derive(Clone)]
pub(super) struct Canceller(Sender<Event>);

enum Event {
    Cancel,
    Stop(Stop),
    Output(u64, Stream, Vec<u8>),
    Closed(u64),
    Exited(u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Output,
    Error,
}

/// The options for running and stopping a process.
pub(super) struct Manner<'a> {
    /// Whether standard output and standard error are one stream, in the order of writing.
    pub(super) merged: bool,
    pub(super) input: &'a str,
    /// Whether the process gets a process group of its own. Then signals go to the group; otherwise they go
    /// only to the process.
    pub(super) group: bool,
    pub(super) timeout: Option<Duration>,
    /// The signals in their order, each with the wait after it. SIGKILL follows the last wait.
    pub(super) signals: &'a [(Signal, Duration)],
    /// The time for which to read on after the process has ended, while other processes hold its streams
    /// open. `None` for no limit.
    pub(super) linger: Option<Duration>,
}

/// The ways to end a job from outside. Unlike a cancellation, they leave no time for `after_script`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// GitLab tells the runner that the job has ended already.
    Force,
    /// The runner gets SIGTERM.
    Terminate,
    /// The runner gets SIGKILL. The process continues, and its output is lost.
    Kill,
}

/// The code that handles the events of a process.
pub(super) trait Attendant {
    fn output(&mut self, stream: Stream, bytes: &[u8]);
    /// Reacts to the cancellation of the job. Returns whether to stop this process.
    fn cancelled(&mut self) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    Cancelled,
    TimedOut,
    FromOutside(Stop),
}

pub(super) struct End {
    pub(super) status: ExitStatus,
    pub(super) stopped: Option<Stopped>,
}

impl Default for Mailbox {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self {
            sender,
            receiver,
            current: 0,
        }
    }
}

impl Canceller {
    /// Cancels the job. Has no effect after the job has ended.
    pub(super) fn cancel(&self) {
        let _ = self.0.send(Event::Cancel);
    }

    /// Stops the job from outside. Has no effect after the job has ended.
    pub(super) fn stop(&self, how: Stop) {
        let _ = self.0.send(Event::Stop(how));
    }
}

impl Mailbox {
    pub(super) fn canceller(&self) -> Canceller {
        Canceller(self.sender.clone())
    }

    /// Whether somebody cancelled the job since the last process ended.
    pub(super) fn is_cancelled(&self) -> bool {
        self.receiver
            .try_iter()
            .any(|event| matches!(event, Event::Cancel))
    }

    /// Runs a process to its end. After [`Stop::Kill`], returns while the process still runs.
    pub(super) fn run(
        &mut self,
        command: Command,
        manner: &Manner<'_>,
        attendant: &mut dyn Attendant,
    ) -> std::io::Result<End> {
        self.current += 1;
        let gone = Arc::new(AtomicBool::new(false));
        let (mut child, mut open) = self.start(command, manner, &gone)?;
        let mut ladder = Ladder {
            pid: Pid::from_child(&child),
            manner,
            next: 0,
        };
        let mut stopped = None;
        let mut exited = false;
        let mut deadline = manner.timeout.map(after);
        while !exited || open > 0 {
            match self.next_event(deadline) {
                Some(Event::Cancel) => {
                    if attendant.cancelled() && stopped.is_none() && !(exited && manner.linger.is_some()) {
                        stopped = Some(Stopped::Cancelled);
                        deadline = ladder.climb();
                    }
                }
                Some(Event::Stop(Stop::Kill)) => {
                    gone.store(true, Ordering::Relaxed);
                    return Ok(End {
                        status: ExitStatus::from_raw(Signal::KILL.as_raw()),
                        stopped: Some(Stopped::FromOutside(Stop::Kill)),
                    });
                }
                Some(Event::Stop(how)) => {
                    if stopped.is_none() {
                        stopped = Some(Stopped::FromOutside(how));
                        deadline = ladder.climb();
                    }
                }
                Some(Event::Output(of, stream, bytes)) if of == self.current => {
                    attendant.output(stream, &bytes);
                }
                Some(Event::Closed(of)) if of == self.current => open -= 1,
                Some(Event::Exited(of)) if of == self.current => {
                    exited = true;
                    if let Some(linger) = manner.linger {
                        deadline = Some(after(linger));
                    }
                }
                Some(_) => {}
                None if exited && manner.linger.is_some() => break,
                None => {
                    stopped = stopped.or(Some(Stopped::TimedOut));
                    deadline = ladder.climb();
                }
            }
        }
        Ok(End {
            status: child.wait()?,
            stopped,
        })
    }

    fn next_event(&self, deadline: Option<Instant>) -> Option<Event> {
        let Some(deadline) = deadline else {
            return Some(
                self.receiver
                    .recv()
                    .expect("this mailbox has a sender of its own"),
            );
        };
        match self
            .receiver
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("this mailbox has a sender of its own"),
        }
    }

    /// Starts the process, and the threads that read its output. Returns the process and the number of its
    /// open streams.
    fn start(
        &self,
        mut command: Command,
        manner: &Manner<'_>,
        gone: &Arc<AtomicBool>,
    ) -> std::io::Result<(Child, usize)> {
        let (output, writer) = pipe()?;
        let mut streams = vec![(Stream::Output, output)];
        let error_writer = if manner.merged {
            writer.try_clone()?
        } else {
            let (error, writer) = pipe()?;
            streams.push((Stream::Error, error));
            writer
        };
        command.stdin(Stdio::piped()).stdout(writer).stderr(error_writer);
        if manner.group {
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        let mut child = command.spawn()?;
        // The command keeps the write ends of the pipes open. With them, the streams would never end.
        drop(command);

        let open = streams.len();
        for (stream, reader) in streams {
            let (sender, of) = (self.sender.clone(), self.current);
            let gone = Arc::clone(gone);
            thread::spawn(move || read(reader, stream, of, &sender, &gone));
        }
        if let Some(mut stdin) = child.stdin.take() {
            let input = manner.input.to_owned();
            // The write blocks as long as the process does not read its input.
            thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        }
        let (sender, of, pid) = (self.sender.clone(), self.current, Pid::from_child(&child));
        thread::spawn(move || {
            // The process stays a zombie until `run` reaps it. Until then, no other process gets its id, and
            // so no signal reaches another process.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _ = sender.send(Event::Exited(of));
        });
        Ok((child, open))
    }
}

/// Reads until the stream ends, or until a test kills the runner.
fn read(mut reader: PipeReader, stream: Stream, of: u64, sender: &Sender<Event>, gone: &AtomicBool) {
    let mut buffer = [0; 8192];
    let moment = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    while !gone.load(Ordering::Relaxed) {
        if let Ok(0) = retry_on_intr(|| poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&moment))) {
            continue;
        }
        let Ok(length @ 1..) = reader.read(&mut buffer) else {
            break;
        };
        let event = Event::Output(of, stream, buffer[..length].to_vec());
        if sender.send(event).is_err() {
            return;
        }
    }
    let _ = sender.send(Event::Closed(of));
}

struct Ladder<'a> {
    pid: Pid,
    manner: &'a Manner<'a>,
    next: usize,
}

impl Ladder<'_> {
    /// Sends the next signal. Returns the time for the signal after it.
    fn climb(&mut self) -> Option<Instant> {
        let step = self.manner.signals.get(self.next);
        self.next += 1;
        let signal = step.map_or(Signal::KILL, |(signal, _)| *signal);
        // A process that has ended needs no signal.
        let _ = match self.manner.group {
            true => kill_process_group(self.pid, signal),
            false => kill_process(self.pid, signal),
        };
        step.map(|(_, patience)| after(*patience))
    }
}

fn after(time: Duration) -> Instant {
    Instant::now() + time
}
