//! Digest authentication (RFC 2617, 7616, 8760) from stored HA1, without clear passwords.

mod ha1;

pub use ha1::Ha1;
