// Tests of the launcher, with small shell scripts in place of the binary. Run them with `node --test tests/launcher/launch.test.mjs`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";

const DIST = join(import.meta.dirname, "..", "..", "dist");
const PLATFORM = `${process.platform}-${process.arch}`;
const FILE = `jobpass-github-${PLATFORM}`;

/** A copy of the launcher in a folder of its own, with `script` as the binary and a checksums.json that fits. */
class Action {
  constructor(t, script = "exit 0") {
    this.root = mkdtempSync(join(tmpdir(), "launcher-"));
    t.after(() => rmSync(this.root, { recursive: true }));
    this.dist = join(this.root, "dist");
    for (const name of ["launch.mjs", "main.mjs", "post.mjs"]) cpSync(join(DIST, name), join(this.dist, name));
    this.binary = join(this.dist, "bin", FILE);
    this.replace(script);
  }

  checksums(binaries) {
    writeFileSync(join(this.dist, "checksums.json"), JSON.stringify({ version: "0.1.0", binaries }));
  }

  replace(script) {
    this.sha256 = put(this.binary, script);
    this.checksums({ [PLATFORM]: { file: FILE, sha256: this.sha256 } });
  }

  start(verb, env = {}) {
    const clean = { PATH: process.env.PATH, HOME: process.env.HOME };
    return spawn(process.execPath, [join(this.dist, `${verb}.mjs`)], { stdio: "pipe", env: { ...clean, ...env } });
  }

  async run(verb, env) {
    return ended(this.start(verb, env));
  }
}

function put(path, script) {
  const text = script.startsWith("#!") ? script : `#!/bin/sh\n${script}\n`;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return createHash("sha256").update(text).digest("hex");
}

async function ended(process) {
  let [out, err] = ["", ""];
  process.stdout.on("data", (data) => (out += data));
  process.stderr.on("data", (data) => (err += data));
  const [code, signal] = await once(process, "close");
  return { code, signal, out, err };
}

// `env` in sh would not do: a shell drops names with a dash, which the runner gives to inputs.
const ENV = `#!${process.execPath}\nconsole.log(JSON.stringify(Object.keys(process.env).sort()))`;

for (const verb of ["main", "post"]) {
  test(`${verb} runs the binary with its verb and keeps its exit code and output`, async (t) => {
    const action = new Action(t, 'echo "$# $1"; echo oops >&2; exit 3');
    assert.deepEqual(await action.run(verb), { code: 3, signal: null, out: `1 ${verb}\n`, err: "oops\n" });
  });

  test(`${verb} fails closed without checksums.json`, async (t) => {
    const action = new Action(t, "echo ran");
    rmSync(join(action.dist, "checksums.json"));
    const { code, out } = await action.run(verb);
    assert.equal(code, 1);
    assert.match(out, /^::error title=jobpass::.*checksums\.json is missing.*: use the commit of a release, or of a fork with a binary \(docs\/install\.md#from-a-fork\)\n$/);
  });
}

for (const [what, text] of [["no JSON", "{"], ["no version", '{"binaries": {}}'], ["null", '{"version": "1", "binaries": null}'],
  ["no digest", `{"version": "1", "binaries": {"${PLATFORM}": {"file": "x"}}}`], ["a path", `{"version": "1", "binaries": {"${PLATFORM}": {"file": "../x", "sha256": ""}}}`]]) {
  test(`a checksums.json with ${what} is refused`, async (t) => {
    const action = new Action(t, "echo ran");
    writeFileSync(join(action.dist, "checksums.json"), text);
    const { code, out } = await action.run("main");
    assert.equal(code, 1);
    assert.match(out, /^::error title=jobpass::.*checksums\.json cannot be read as .*: use the commit of a release, or of a fork with a binary .*\n$/);
  });
}

// The tests have no old Node.js, so they put another version into `process` before the launcher runs.
function olderNode(action) {
  const path = join(action.root, "older.cjs");
  writeFileSync(path, 'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "18.19.1" } });');
  return { NODE_OPTIONS: `--require=${path}` };
}

test("main on an old Node.js mints nothing and says which runner has a newer one", async (t) => {
  const action = new Action(t, "echo ran");
  const { code, out } = await action.run("main", olderNode(action));
  assert.equal(code, 1);
  assert.match(out, /^::error title=jobpass::this runner has Node\.js 18\.19\.1, and jobpass needs 20 or later: .*2\.327\.1.*`jobpass exec`, which needs no Node\.js\n$/);
});

test("post on an old Node.js says so and revokes", async (t) => {
  const action = new Action(t, "echo ran");
  const { code, out } = await action.run("post", olderNode(action));
  assert.equal(code, 0);
  assert.match(out, /^::warning title=jobpass::this runner has Node\.js 18\.19\.1, .*\n/);
  assert.match(out, /\nran\n$/);
});

test("a platform without a binary is refused", async (t) => {
  const action = new Action(t, "echo ran");
  action.checksums({ "plan9-mips": { file: FILE, sha256: action.sha256 } });
  const { code, out } = await action.run("main");
  assert.equal(code, 1);
  assert.match(out, new RegExp(`^::error title=jobpass::.*no binary for ${PLATFORM}, only for plan9-mips: .*the command line.*\n$`));
});

test("a binary in neither place is refused, and both places are named", async (t) => {
  const action = new Action(t);
  rmSync(action.binary);
  const { code, out } = await action.run("main", { RUNNER_TOOL_CACHE: join(action.root, "cache") });
  assert.equal(code, 1);
  const cached = join(action.root, "cache", "jobpass", "0.1.0", process.arch, FILE);
  assert.ok(out.startsWith(`::error title=jobpass::the binary is not at ${action.binary} nor at ${cached}: use the commit of a release`), out);
});

test("a digest that differs is refused, and both digests are named", async (t) => {
  const action = new Action(t);
  const found = put(action.binary, "echo ran");
  const { code, out } = await action.run("main");
  assert.equal(code, 1);
  assert.ok(out.startsWith(`::error title=jobpass::${action.binary} has SHA-256 ${found}, but `), out);
  assert.ok(out.includes(`says ${action.sha256}: it was not run; use the commit of a release`), out);
});

test("the tool cache serves when the action carries no binary, under the same digest", async (t) => {
  const action = new Action(t);
  rmSync(action.binary);
  const cached = join(action.root, "cache", "jobpass", "0.1.0", process.arch, FILE);
  const env = { RUNNER_TOOL_CACHE: join(action.root, "cache") };
  action.checksums({ [PLATFORM]: { file: FILE, sha256: put(cached, "echo from the cache") } });
  assert.equal((await action.run("post", env)).out, "from the cache\n");

  put(cached, "echo swapped");
  const { code, out } = await action.run("post", env);
  assert.equal(code, 1);
  assert.match(out, /has SHA-256/);
});

test("a binary that cannot be started is one clear error", async (t) => {
  const action = new Action(t);
  chmodSync(action.binary, 0o644);
  const { code, out } = await action.run("main");
  assert.equal(code, 1);
  assert.match(out, /^::error title=jobpass::cannot start .* \(EACCES\): its folder may be mounted noexec, .*the commit of a release/);
});

for (const [signal, code] of [["SIGINT", 40], ["SIGTERM", 41], ["SIGHUP", 42]]) {
  test(`${signal} to the launcher alone reaches the binary, which decides how to end`, async (t) => {
    // The sleeper's output goes to /dev/null, so that only the script keeps the pipe open.
    const action = new Action(
      t,
      `end() { echo "got $1"; kill $sleeper; exit $2; }
       trap 'end SIGINT 40' INT; trap 'end SIGTERM 41' TERM; trap 'end SIGHUP 42' HUP
       sleep 60 >/dev/null 2>&1 & sleeper=$!
       echo ready
       wait`,
    );
    const launcher = action.start("post");
    const [ready] = await once(createInterface(launcher.stdout), "line");
    assert.equal(ready, "ready");
    const end = ended(launcher);
    launcher.kill(signal);
    assert.deepEqual(await end, { code, signal: null, out: `got ${signal}\n`, err: "" });
  });
}

test("the runner's SIGINT, then SIGTERM: the launcher stays until the binary is done", async (t) => {
  const action = new Action(
    t,
    `trap 'echo revoking' INT; trap 'echo revoked; kill $sleeper; exit 0' TERM
     sleep 60 >/dev/null 2>&1 & sleeper=$!
     echo ready
     wait; wait`,
  );
  const launcher = action.start("post");
  const lines = createInterface(launcher.stdout)[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, "ready");
  launcher.kill("SIGINT");
  assert.equal((await lines.next()).value, "revoking");
  launcher.kill("SIGTERM");
  assert.equal((await lines.next()).value, "revoked");
  assert.deepEqual(await once(launcher, "exit"), [0, null]);
});

test("death by a signal becomes 128+n, and is said", async (t) => {
  const main = await new Action(t, "kill -TERM $$").run("main");
  assert.equal(main.code, 143);
  assert.match(main.out, /^::error title=jobpass::.* was killed by SIGTERM: if it left a token, the end of the job revokes it\n$/);
  const post = await new Action(t, "kill -SEGV $$").run("post");
  assert.equal(post.code, 139);
  assert.match(post.out, /^::error title=jobpass::.* was killed by SIGSEGV\n$/);
});

const RECEIPT = { anchor: "jobpass-a1", namespace: "ci" };
const STATE = JSON.stringify({ connection: { server: "https://10.0.0.1:6443" }, receipt: RECEIPT });
const BREAKS = {
  "killed": (action) => action,
  "ended by something else": (action) => action.replace("exit 127"),
  "refused": (action) => put(action.binary, "echo swapped"),
  "without a binary": (action) => rmSync(action.binary),
  "without digests": (action) => rmSync(join(action.dist, "checksums.json")),
  "without a right to run it": (action) => chmodSync(action.binary, 0o644),
  "on another platform": (action) => action.checksums({ "plan9-mips": { file: FILE, sha256: action.sha256 } }),
};
for (const [how, change] of Object.entries(BREAKS)) {
  test(`post says how to end the token when it cannot: ${how}`, async (t) => {
    const action = new Action(t, "kill -KILL $$");
    change(action);
    const { code, out } = await action.run("post", { STATE_jobpass: STATE });
    assert.notEqual(code, 0);
    const token = ["killed", "ended by something else"].includes(how) ? "may still work" : "is not revoked, and still works";
    const end = `. The token ${token}: revoke it with \`kubectl delete secret jobpass-a1 --namespace ci\` at the API server https://10.0.0.1:6443\n`;
    assert.ok(/^::error [^\n]*\n$/.test(out) && out.endsWith(end), out);
    const main = await action.run("main", { STATE_jobpass: STATE });
    assert.doesNotMatch(main.out, /kubectl/);
  });
}

test("only names that Kubernetes can have made become part of a command", async (t) => {
  for (const state of [{ receipt: { ...RECEIPT, anchor: "a; curl evil" } }, { receipt: RECEIPT, connection: { server: "https://a` curl evil" } }]) {
    const { out } = await new Action(t, "kill -KILL $$").run("post", { STATE_jobpass: JSON.stringify(state) });
    assert.doesNotMatch(out, /curl/);
  }
});

test("post knows the anchor although the state is damaged", async (t) => {
  const action = new Action(t, "kill -KILL $$");
  const { out } = await action.run("post", { STATE_jobpass: "{garbled", STATE_anchor: "ci/jobpass-a1" });
  assert.match(out, /\. The token may still work: revoke it with `kubectl delete secret jobpass-a1 --namespace ci`\n$/);
  for (const state of [{ STATE_jobpass: "none", STATE_anchor: "ci/jobpass-a1" }, {}]) {
    assert.doesNotMatch((await action.run("post", state)).out, /kubectl/);
  }
});

for (const code of [0, 1, 7, 130, 143]) {
  test(`post adds nothing to what the binary says with its own exit code ${code}`, async (t) => {
    const ended = await new Action(t, `echo said; exit ${code}`).run("post", { STATE_jobpass: STATE });
    assert.deepEqual([ended.code, ended.out], [code, "said\n"]);
  });
}

const HOSTILE = {
  LD_LIBRARY_PATH: "/nowhere",
  DYLD_INSERT_LIBRARIES: "/nowhere",
  GCONV_PATH: "/nowhere",
  GLIBC_TUNABLES: "glibc.malloc.check=3",
};

test("main gets the job's environment without the loader's variables", async (t) => {
  const env = { ...HOSTILE, KUBECONFIG: "/k", AWS_PROFILE: "x", INPUT_NAMESPACE: "ci" };
  const { out } = await new Action(t, ENV).run("main", env);
  assert.deepEqual(JSON.parse(out), ["AWS_PROFILE", "HOME", "INPUT_NAMESPACE", "JOBPASS_LAUNCHER", "KUBECONFIG", "PATH"]);
});

test("post gets the same, with the trusted certificates as they were in main", async (t) => {
  const show = `#!${process.execPath}\nconst { SSL_CERT_FILE, SSL_CERT_DIR, LD_PRELOAD, AWS_PROFILE } = process.env;
console.log(JSON.stringify([SSL_CERT_FILE, SSL_CERT_DIR, LD_PRELOAD, AWS_PROFILE]))`;
  const later = { ...HOSTILE, SSL_CERT_FILE: "/evil", SSL_CERT_DIR: "/evil", AWS_PROFILE: "x" };
  const last = (out) => out.trimEnd().split("\n").at(-1);
  const seen = async (state) => JSON.parse(last((await new Action(t, show).run("post", { ...later, ...state })).out));
  const recorded = { STATE_jobpass: JSON.stringify({ environment: { SSL_CERT_FILE: "/ours", PATH: "/bin" } }) };
  assert.deepEqual(await seen(recorded), ["/ours", null, null, "x"]);
  assert.deepEqual(await seen({ STATE_jobpass: "{}" }), [null, null, null, "x"]);
  assert.deepEqual(await seen({ STATE_jobpass: "{garbled" }), [null, null, null, "x"]);
  assert.deepEqual(await seen({}), [null, null, null, "x"]);
});

// The tests do not run on Windows, so they put its name into `process` before the launcher runs.
function onWindows(action, script) {
  const preload = join(action.root, "windows.cjs");
  writeFileSync(preload, 'Object.defineProperty(process, "platform", { value: "win32" }); Object.defineProperty(process, "arch", { value: "x64" });');
  const file = "jobpass-github-win32-x64.exe";
  action.checksums({ "win32-x64": { file, sha256: put(join(action.dist, "bin", file), script) } });
  return { NODE_OPTIONS: `--require=${preload}` };
}

test("on Windows the binary ends in .exe, and a variable is the same in capitals and in small letters", async (t) => {
  const action = new Action(t);
  const show = `#!${process.execPath}\nconsole.log(JSON.stringify(Object.entries(process.env).filter(([name]) => !/^(PATH|HOME|NODE)/.test(name))))`;
  const env = { ...onWindows(action, show), jobpass_launcher: "7", Ssl_Cert_File: "/evil", ld_preload: "", Input_Namespace: "ci" };
  const { out } = await action.run("main", { ...env });
  const main = Object.fromEntries(JSON.parse(out));
  assert.deepEqual(Object.keys(main).sort(), ["INPUT_NAMESPACE", "JOBPASS_LAUNCHER", "SSL_CERT_FILE"]);
  assert.notEqual(main.JOBPASS_LAUNCHER, "7");
  const last = (out) => out.trimEnd().split("\n").at(-1);
  assert.deepEqual(JSON.parse(last((await action.run("post", env)).out)), [["INPUT_NAMESPACE", "ci"]]);
});

test("post says what ran before it, and goes on", async (t) => {
  const { code, out } = await new Action(t, "echo revoked").run("post", { LD_PRELOAD: "", OPENSSL_MODULES: "/nowhere", LD_AUDIT: "/nowhere.so" });
  assert.equal(code, 0);
  assert.match(out, /^::warning title=jobpass::LD_AUDIT, OPENSSL_MODULES made other programs run .* replace the credential\nrevoked\n$/);
  const main = await new Action(t, "echo minted").run("main", { LD_AUDIT: "/nowhere.so" });
  assert.equal(main.out, "minted\n");
});

for (const verb of ["main", "post"]) {
  test(`${verb} shows no variable with NODE_DEBUG`, async (t) => {
    const env = { NODE_DEBUG: "child_process", INPUT_KUBECONFIG: "the-minters-token", JOBPASS_LAUNCHER: "1" };
    const { code, out, err } = await new Action(t, 'echo "$1 $INPUT_KUBECONFIG $JOBPASS_LAUNCHER" | tr a-z A-Z; exit 3').run(verb, env);
    assert.doesNotMatch(out + err, /the-minters-token/);
    // With `process.execve`, the launcher replaces itself by the binary. Older versions of Node.js lack it.
    if (process.execve) assert.deepEqual([code, out], [3, `${verb.toUpperCase()} THE-MINTERS-TOKEN \n`]);
    else assert.match(out, /^::error title=jobpass::NODE_DEBUG is set/);
  });
}

test("a path is no command", async (t) => {
  const action = new Action(t, "echo ran");
  action.checksums({ [PLATFORM]: { file: "##[error]x", sha256: "0" } });
  const { out } = await action.run("main");
  assert.ok(out.includes("## [error]x") && !out.includes("##["), out);
});
