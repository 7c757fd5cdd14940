//! Keyed MACs that let us recognise what we once gave out, without keeping state: nonce, To-tag,
//! branch, dialog seal (guard.md section 2, R68).

/// The secret that everything here rests on, and the one before it, which is honoured still.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Makes and checks.
    pub current: [u8; 32],
    /// Checks only: what was given out before the last rotation.
    pub previous: Option<[u8; 32]>,
}

/// Keys must not reach a log.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(hidden)")
    }
}
