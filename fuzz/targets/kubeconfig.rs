//! Finds the credentials in a kubeconfig that says anything.

#![no_main]

use jobpass_core::{inputs::options::{Inputs, Opt}, minter::Minter, process::environment::Environment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // With these lines, it is YAML, and no path of a file.
    let kubeconfig = format!("apiVersion: v1\nkind: Config\n{text}");
    let inputs = Inputs::from([(Opt::Kubeconfig, kubeconfig.as_str())]);
    drop(Minter::credentials(&inputs, &Environment::default()));
});
