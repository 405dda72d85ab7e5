//! Random ids.

use std::fs;

/// A version 4 UUID.
pub(crate) fn uid() -> String {
    let uid = fs::read_to_string("/proc/sys/kernel/random/uuid");
    uid.expect("the kernel provides random UUIDs").trim().to_owned()
}
