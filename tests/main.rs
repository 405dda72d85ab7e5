//! The end-to-end tests. They are one program, so that they share one control plane.
//!
//! Some examples are from the guide "Token Management", which mints tokens with `kubectl create token`. Its
//! pipelines must also work with jobpass.

mod access;
mod cli;
mod clients;
mod cluster;
mod dev;
mod doctor;
mod faults;
mod github;
mod gitlab;
mod leaks;
mod oidc;
mod quickstart;
mod setup;
mod support;
mod sweep;
