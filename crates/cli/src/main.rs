//! `jobpass`: see the library.

fn main() -> std::process::ExitCode {
    jobpass::main()
}
