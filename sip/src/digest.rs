//! The digest module.
