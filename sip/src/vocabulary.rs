//! The vocabulary module.
