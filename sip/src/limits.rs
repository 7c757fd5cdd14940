//! The limits module.
