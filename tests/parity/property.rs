//! Tries a property on generated cases. Prints the seed, and reduces a failing case to a smaller one that
//! still fails.

use std::{env, fmt::Debug};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

/// The variable for the seed of a run: a number, or `random`. Without it, each run tries the same cases. A
/// new failure then comes from a change in the code.
const SEED: &str = "JOBPASS_PARITY_SEED";
/// The variable that multiplies the number of cases.
const TIMES: &str = "JOBPASS_PARITY_TIMES";

/// Fails if `differs` returns a difference for a case. Shows the case after its reduction.
#[expect(clippy::print_stdout, reason = "the test runner shows it with a failure")]
pub(crate) fn holds<S: Strategy>(
    name: &str,
    cases: u32,
    strategy: &S,
    differs: impl Fn(&S::Value) -> Option<String>,
) where
    S::Value: Debug,
{
    let seed = match env::var(SEED) {
        Ok(text) if text == "random" => fresh(),
        Ok(text) => text
            .parse()
            .expect("JOBPASS_PARITY_SEED is a number, or `random`"),
        Err(_) => 0,
    };
    let times = env::var(TIMES).map_or(1, |text| text.parse().expect("JOBPASS_PARITY_TIMES is a number"));
    let cases = cases * times;
    println!("{name}: {cases} cases, {SEED}={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4096,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let result = runner.run(strategy, |case| match differs(&case) {
        Some(difference) => Err(TestCaseError::fail(difference)),
        None => Ok(()),
    });
    if let Err(error) = result {
        panic!("{error}\n{SEED}={seed} plays this run again");
    }
}

fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::from(now.expect("after 1970").subsec_nanos()) ^ u64::from(std::process::id()) << 32
}
