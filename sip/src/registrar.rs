//! The registrar module.
