//! `jobpass-github`: see the library.

fn main() -> std::process::ExitCode {
    jobpass_github::main()
}
