//! The framing module.
