//! The scan module.
