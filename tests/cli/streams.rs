//! Logs, shells, files and ports of Pods, through the proxy of a job.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rstest::rstest;

use super::Desk;
use crate::{
    github::step::Ended,
    support::{self, wait_for_end},
};

/// The permissions for logs, shells and ports. `exec` is a `get` over WebSocket, and a `create` over SPDY.
const OPERATOR: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: operator, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: [pods/log, pods/exec, pods/attach, pods/portforward], verbs: [get, create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator}
subjects: [{kind: ServiceAccount, name: scanner, namespace: NAMESPACE}]
"#;

/// The protocol that carries the streams of a shell between kubectl and the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    WebSocket,
    Spdy,
}

impl Protocol {
    /// The variables with which kubectl chooses the protocol.
    fn variables(self) -> [(&'static str, &'static str); 2] {
        let websocket = if self == Self::WebSocket { "true" } else { "false" };
        [
            ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websocket),
            ("KUBECTL_PORT_FORWARD_WEBSOCKETS", websocket),
        ]
    }

    fn method(self) -> &'static str {
        if self == Self::WebSocket { "GET" } else { "POST" }
    }
}

impl Desk {
    fn operator() -> Self {
        let desk = Self::new();
        desk.cluster.apply(OPERATOR);
        desk
    }

    fn exec_over(&self, protocol: Protocol, script: &str) -> Child {
        let variables = protocol.variables();
        let export = variables.map(|(name, value)| format!("export {name}={value}\n"));
        self.start_exec(&["--proxy"], &format!("set -e\n{}{script}", export.concat()))
    }

    /// Waits until the API server has answered a request for this part of a Pod.
    fn wait_until_open(&self, part: &str, protocol: Protocol) {
        self.cluster.wait_for(Duration::from_secs(60), |requests| {
            let is_open = requests.iter().any(|request| {
                request.path.contains(part) && request.method == protocol.method() && request.status.is_some()
            });
            is_open.then_some(())
        });
    }
}

#[rstest]
fn shells_and_files_pass(#[values(Protocol::WebSocket, Protocol::Spdy)] protocol: Protocol) {
    let desk = Desk::operator();
    desk.cluster.run_pod(
        "a",
        r#"echo first; while read -r line; do echo "got $line"; test "$line" != end; done"#,
    );
    let script = r#"
        echo in | kubectl exec -i a -- sed s/in/echoed/
        status=0; kubectl exec a -- sh -c 'echo out; echo err >&2; exit 7' > out 2> err || status=$?
        test $status = 7; grep -qx out out; grep -qx err err
        # The command ends before its input.
        mkfifo input; (echo one; exec sleep 60) > input & kubectl exec -i a -- head -n 1 < input; kill $!; rm input
        head -c 3000000 /dev/urandom > there
        kubectl exec -i a -- cat < there > back; cmp there back
        kubectl cp there a:copied; kubectl cp a:copied again; cmp there again
        printf 'one\nend\n' | kubectl attach -i a
        kubectl logs a > whole; kubectl logs -f a | cmp whole
        cat whole; rm there back again out err whole"#;
    let ended = Ended::of(desk.exec_over(protocol, script)).succeeded();
    for says in ["echoed", "first\ngot one\ngot end\n"] {
        assert!(ended.log.contains(says), "{says}: {}", ended.log);
    }
    let shells = desk.cluster.requests().into_iter();
    let shells =
        shells.filter(|request| request.path.contains("/exec?") || request.path.contains("/attach?"));
    let shells = shells
        .map(|request| (request.method, request.status))
        .collect::<Vec<_>>();
    assert!(shells.len() >= 6, "{shells:?}");
    let expected = (protocol.method().to_owned(), Some(101));
    assert!(shells.iter().all(|shell| *shell == expected), "{shells:?}");
    desk.assert_all_gone(&ended.log);
}

/// A client sends a megabyte to a port of a Pod, ends its side, and then reads the answer.
#[rstest]
fn a_port_is_forwarded(#[values(Protocol::WebSocket, Protocol::Spdy)] protocol: Protocol) {
    let desk = Desk::operator();
    desk.cluster.run_pod("a", "cat");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("read");
        text.reverse();
        stream.write_all(&text).expect("written");
    });
    let script = format!("exec kubectl port-forward pod/a :{port}");
    let mut child = desk.exec_over(protocol, &script);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let forwarded = lines.find_map(|line| {
        let line = line.expect("text");
        let (_, rest) = line.split_once("Forwarding from 127.0.0.1:")?;
        rest.split(' ').next()?.parse::<u16>().ok()
    });
    let mut stream = TcpStream::connect(("127.0.0.1", forwarded.expect("a port"))).expect("kubectl listens");
    let said = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    let mut writer = stream.try_clone().expect("a socket");
    let sent = said.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).expect("written");
        writer.shutdown(Shutdown::Write).expect("closed");
    });
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("read");
    writing.join().expect("written");
    server.join().expect("answered");
    heard.reverse();
    assert!(heard == said, "{} of {} bytes", heard.len(), said.len());
    desk.wait_until_open("/portforward", protocol);
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    )
    .expect("it is there");
    let ended = Ended::of(child);
    desk.assert_all_gone(&ended.log);
}

/// Shells and logs that are open when the job ends are closed within 100 ms of the anchor's deletion.
#[rstest]
fn the_end_of_a_job_ends_its_shells_and_logs(
    #[values(Protocol::WebSocket, Protocol::Spdy)] protocol: Protocol,
) {
    let desk = Desk::operator();
    desk.cluster.run_pod("a", "echo first; cat");
    let (minted, group_of_mint) = desk.mint_with_proxy(&[]);
    let arguments: [&[&str]; 3] = [
        &["exec", "-i", "a", "--", "cat"],
        &["attach", "-i", "a"],
        &["logs", "-f", "a"],
    ];
    let clients = arguments.map(|arguments| {
        let mut kubectl = support::scrubbed(Command::new(support::tool("kubectl")));
        kubectl
            .env("KUBECONFIG", desk.path("kc"))
            .envs(protocol.variables())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = kubectl.spawn().expect("kubectl starts");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(b"hello\n").expect("written");
        // The first line shows that the streams are open. kubectl waits for 30 s if it has only begun to open
        // them.
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !["hello\n", "first\n"].contains(&&*line) {
            line.clear();
            assert!(output.read_line(&mut line).expect("text") > 0, "{arguments:?}");
        }
        thread::spawn(move || {
            let _ = child.wait().expect("it ends");
            drop((input, output));
            Instant::now()
        })
    });
    assert!(clients.iter().all(|client| !client.is_finished()));
    desk.run(&["revoke", "--kubeconfig-file", "kc"]).succeeded();
    wait_for_end(group_of_mint);
    // jobpass deletes the anchor as soon as the proxy is closed.
    let revoked = desk.cluster.wait_for(Duration::from_secs(10), |requests| {
        let mut anchors = requests.iter().filter(|request| request.method == "DELETE");
        anchors.next().map(|request| request.arrived)
    });
    for client in clients {
        let took = client.join().expect("it ends").saturating_duration_since(revoked);
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
    desk.assert_nothing_left(&minted);
}
