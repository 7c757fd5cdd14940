//! The screen module.
