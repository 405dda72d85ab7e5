//! `jobpass-gitlab`: see the library.

fn main() -> std::process::ExitCode {
    jobpass_gitlab::main()
}
