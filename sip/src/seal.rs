//! The seal module.
