//! The transaction module.
