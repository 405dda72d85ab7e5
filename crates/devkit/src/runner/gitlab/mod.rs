//! A GitLab runner.
