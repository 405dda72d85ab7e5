//! The end-to-end tests. They are one program, so that they share one control plane.

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
