//! The uri module.
