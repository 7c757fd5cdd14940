//! The edit module.
