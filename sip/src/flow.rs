//! The flow module.
