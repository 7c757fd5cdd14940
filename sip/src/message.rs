//! The message module.
