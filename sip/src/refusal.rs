//! The refusal module.
