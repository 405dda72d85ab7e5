//! Finds the credentials in a kubeconfig of any text. jobpass must not panic.

#![no_main]

use std::panic;

use jobpass_core::{inputs::options::{Inputs, Opt}, minter::Minter, process::environment::Environment};
use libfuzzer_sys::fuzz_target;

/// jobpass catches the panics of this parser. libFuzzer would report them before jobpass can.
fn expect_panics_of_the_parser() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let at = panic.location().map_or("", |at| at.file());
        if !at.contains("libyaml-safer") {
            report(panic);
        }
    }));
}

fuzz_target!(init: expect_panics_of_the_parser(), |text: &str| {
    // jobpass could take one line for the path of a file, and open the file. So the text has more lines.
    let kubeconfig = format!("apiVersion: v1\nkind: Config\n{text}");
    let inputs = Inputs::from([(Opt::Kubeconfig, kubeconfig.as_str())]);
    drop(Minter::credentials(&inputs, &Environment::default()));
});
