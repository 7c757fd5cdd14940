//! The proxy module.
