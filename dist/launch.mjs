// Finds the jobpass-github binary for this machine, checks its SHA-256 against the digest in the same commit, and runs it.
//
// A full-SHA pin of this action fixes checksums.json, and so the binary, wherever the binary comes from. This
// file downloads nothing, follows no "latest" version, and runs nothing without a matching digest.
//
// The digest protects against a wrong, broken or poisoned file, and not against the user of the job: a program of that user can swap the
// binary between hashing and running, preload a library into this process, or rewrite this file.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const DIST = dirname(fileURLToPath(import.meta.url));
const NEXT_STEP = "use the commit of a release, or of a fork with a binary (docs/install.md#from-a-fork)";
const windows = process.platform === "win32";

// The oldest Node.js on which this launcher is tested. GitHub's runner has 24 from version 2.327.1 on, as action.yml requires. Other runners
// have other versions.
const LEAST_NODE = 20;

// Variables that the dynamic loader and libc obey before the first line of the binary runs.
const LOADER = /^(LD_|DYLD_|GCONV_PATH$|GLIBC_TUNABLES$)/;

// Variables that make other code run in this process before the first line of this file.
const BEFORE_US = ["LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "OPENSSL_CONF", "OPENSSL_MODULES", "NODE_OPTIONS"];

// Variables for the trusted certificates, which the binary's TLS library reads from its process. In post, all
// variables that later steps wrote to GITHUB_ENV apply. So the launcher sets these two to the values in the
// state. The binary itself restores PATH. All other variables stay as they are, because an exec plugin in a
// kubeconfig may need them.
const PINNED = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

export function launch(verb) {
  const failed = (message, token = "is not revoked, and still works") => fail(`${message}${verb === "post" ? unrevoked(token) : ""}`);
  // The runner signals this process alone: SIGINT, 7.5 s later SIGTERM, 2.5 s later kill. This passes each on, and waits for the binary.
  // The code before `spawn` is synchronous, so an early signal is delivered when the child exists. On Windows the runner sends Ctrl-C and
  // Ctrl-Break to the console, so also to the child, and `kill` would end the child before it can revoke.
  let child;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"]) {
    process.on(signal, () => windows || child?.kill(signal));
  }
  try {
    checkNode(verb);
    const binary = checkedBinary();
    if (verb === "post") warnOf(BEFORE_US.filter((name) => process.env[name]));
    // With NODE_DEBUG, Node writes the environment of a child to the log, with its secrets. It does not do
    // that for a program that replaces Node itself.
    if (process.env.NODE_DEBUG && process.execve && !windows) process.execve(binary, [binary, verb], environment(undefined, process.env, verb));
    if (process.env.NODE_DEBUG) throw new Error("NODE_DEBUG is set, with which Node.js writes secrets to the log: unset it");
    child = spawn(binary, [verb], { stdio: "inherit", detached: false, env: environment(process.pid, process.env, verb) });
    child.on("error", (error) => failed(`cannot start ${binary} (${error.code ?? error.message}): ${advice(error)}`));
    child.on("exit", (code, signal) => {
      const end = signal ? `was killed by ${signal}` : own(code) ? undefined : `ended with exit code ${code}, which is not one of jobpass's own`;
      if (end) failed(`${binary} ${end}${verb === "main" ? ": if it left a token, the end of the job revokes it" : ""}`, "may still work");
      process.exitCode = code ?? 128 + constants.signals[signal];
    });
  } catch (error) {
    failed(error.message);
  }
}

// If the action's folder is mounted `noexec`, no other copy of the binary helps.
function advice(error) {
  return error.code === "EACCES" ? `its folder may be mounted noexec, or the file is not executable; else ${NEXT_STEP}` : NEXT_STEP;
}

// 126 and 127 come from a shell or from the dynamic loader, and a number above 255 comes from a crash on
// Windows. jobpass itself never ends with these exit codes.
function own(code) {
  return code !== 126 && code !== 127 && code <= 255;
}

// In post, a launcher that cannot run the binary leaves a token that works. The names come from the state, which other steps cannot write.
// Only names that are valid in Kubernetes go into a command.
function unrevoked(token) {
  const name = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
  const { receipt, connection } = recorded() ?? {};
  // main also saved the anchor's name separately, in case the state is damaged. The state `none` means that no
  // anchor is left.
  const saved = process.env.STATE_jobpass === "none" ? "" : process.env.STATE_anchor ?? "";
  const [savedNamespace = "", savedAnchor = ""] = saved.split("/");
  const { anchor = savedAnchor, namespace = savedNamespace } = receipt ?? {};
  if (!name.test(anchor) || !name.test(namespace)) return "";
  const server = /^https:\/\/[-\w.:[\]/]+$/.test(connection?.server) ? ` at the API server ${connection.server}` : "";
  return `. The token ${token}: revoke it with \`kubectl delete secret ${anchor} --namespace ${namespace}\`${server}`;
}

// In main, an old Node.js is an error, because no token exists yet. In post, it is only a warning, because
// jobpass may have to revoke a token.
function checkNode(verb) {
  if (Number.parseInt(process.versions.node, 10) >= LEAST_NODE) return;
  const message = `this runner has Node.js ${process.versions.node}, and jobpass needs ${LEAST_NODE} or later: update the runner (GitHub's brings Node.js 24 from version 2.327.1 on), or run the command with \`jobpass exec\`, which needs no Node.js`;
  if (verb === "main") throw new Error(message);
  command("warning", message);
}

function checkedBinary() {
  const platform = `${process.platform}-${process.arch}`;
  const { version, binaries } = checksums();
  if (!Object.hasOwn(binaries, platform)) {
    const supported = Object.keys(binaries).join(", ");
    throw new Error(`the action has no binary for ${platform}, only for ${supported}: on such a runner, build the command line \`jobpass\` from its source, and call \`jobpass mint\` and \`jobpass revoke\` in steps`);
  }
  const { file, sha256 } = binaries[platform] ?? {};
  if (typeof sha256 !== "string" || typeof file !== "string" || file !== basename(file)) throw unreadable();
  const places = [join(DIST, "bin", file)];
  if (process.env.RUNNER_TOOL_CACHE) {
    places.push(join(process.env.RUNNER_TOOL_CACHE, "jobpass", version, process.arch, file));
  }
  for (const place of places) {
    const found = digest(place);
    if (found === undefined) continue;
    if (found === sha256) return place;
    throw new Error(`${place} has SHA-256 ${found}, but dist/checksums.json says ${sha256}: it was not run; ${NEXT_STEP}`);
  }
  throw new Error(`the binary is not at ${places.join(" nor at ")}: ${NEXT_STEP}`);
}

function checksums() {
  const path = join(DIST, "checksums.json");
  try {
    const { version, binaries } = JSON.parse(readFileSync(path, "utf8"));
    if (typeof version === "string" && typeof binaries === "object" && binaries !== null) return { version, binaries };
  } catch (error) {
    if (error.code === "ENOENT") throw new Error(`${path} is missing, so no binary can be trusted: ${NEXT_STEP}`);
  }
  throw unreadable();
}

function unreadable() {
  const path = join(DIST, "checksums.json");
  return new Error(`${path} cannot be read as {"version": ..., "binaries": {PLATFORM: {"file": ..., "sha256": ...}}}: ${NEXT_STEP}`);
}

function digest(path) {
  try {
    return createHash("sha256").update(readFileSync(path)).digest("hex");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw new Error(`cannot read ${path} (${error.code}): ${NEXT_STEP}`);
  }
}

function environment(launcher, all, verb) {
  // Windows does not distinguish the variables `Path` and `PATH`. A later step may have set either.
  const variables = Object.entries(all).map(([name, value]) => [windows ? name.toUpperCase() : name, value]);
  const kept = Object.fromEntries(variables.filter(([name]) => !LOADER.test(name.toUpperCase())));
  // In main, the binary gets the launcher's process id, and stops minting if somebody kills the launcher. In
  // post, the binary goes on revoking.
  delete kept.JOBPASS_LAUNCHER;
  if (verb === "main" && launcher !== undefined) kept.JOBPASS_LAUNCHER = String(launcher);
  if (verb === "post") {
    const then = recorded()?.environment;
    for (const name of PINNED) {
      delete kept[name];
      if (typeof then?.[name] === "string") kept[name] = then[name];
    }
  }
  return kept;
}

function recorded() {
  try {
    return JSON.parse(process.env.STATE_jobpass);
  } catch {
    return undefined; // The binary says what is wrong with the state.
  }
}

// A step wrote them to GITHUB_ENV, or they are the machine's own. Revoking is still right.
function warnOf(names) {
  if (names.length === 0) return;
  const list = names.join(", ");
  command("warning", `${list} made other programs run inside this step before jobpass: they could read the minter's credential. If nobody set this on purpose, find the step that set it, and replace the credential`);
}

function fail(message) {
  command("error", message);
  process.exitCode = 1;
}

function command(level, message) {
  // A workflow command escapes %, CR and LF, and ##[ counts anywhere in a line. Otherwise a path could start a command.
  const data = message.replaceAll("##[", "## [").replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
  console.log(`::${level} title=jobpass::${data}`);
}
