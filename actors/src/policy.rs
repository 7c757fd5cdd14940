//! Who may reach whom (R8, R15 to R18), as one pure table.

use std::fmt;

use rempart_sip::flow::Flow;
use rempart_sip::refusal::Refusal;
use rempart_sip::uri::Aor;
use rempart_storage::{Reach, TrustedAddress};

use crate::decisions::Who;
use crate::trusted;

/// Who asks.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A subscriber of ours, authenticated (R13).
    Local(Aor),
    /// Someone else's user: nothing proves his name.
    Foreign,
    /// A source in the address table (R19), and whether its From names one of our users.
    Trusted {
        /// The entry that trusts it.
        entry: Box<TrustedAddress>,
        /// From is one of our domains.
        local_from: bool,
    },
}

impl Caller {
    /// The ring that remembers what he does.
    pub(crate) fn who(&self) -> Who {
        match self {
            Self::Foreign => Who::Stranger,
            Self::Local(_) | Self::Trusted { .. } => Who::Known,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(aor) => write!(f, "local caller {aor}"),
            Self::Foreign => f.write_str("foreign caller"),
            Self::Trusted { local_from: true, .. } => f.write_str("trusted caller, local From"),
            Self::Trusted { local_from: false, .. } => f.write_str("trusted caller, foreign From"),
        }
    }
}

/// Whom he asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A user of one of our domains.
    Local,
    /// A user of another domain.
    Foreign,
    /// A telephone number behind a gateway.
    Pstn,
}

/// Whether `caller` may reach `callee`.
///
/// # Errors
///
/// `403 Not relaying` (R17) or `403 Not Allowed` (R18).
pub fn allow(caller: &Caller, callee: Callee, flow: &Flow) -> Result<(), Refusal> {
    match (caller, callee) {
        (Caller::Local(_), _) | (Caller::Foreign, Callee::Local) => Ok(()),
        (Caller::Foreign, Callee::Foreign) => Err(Refusal::NotRelaying),
        (Caller::Foreign, Callee::Pstn) => Err(Refusal::NotAllowed),
        (Caller::Trusted { entry, local_from }, Callee::Pstn) => {
            let named = *local_from || entry.pstn_any_from;
            let may = named && trusted::may(entry, Reach::Pstn, flow);
            may.then_some(()).ok_or(Refusal::NotAllowed)
        }
        (Caller::Trusted { entry, .. }, Callee::Local) => reach(entry, Reach::Local, flow),
        (Caller::Trusted { entry, .. }, Callee::Foreign) => reach(entry, Reach::Foreign, flow),
    }
}

fn reach(entry: &TrustedAddress, what: Reach, flow: &Flow) -> Result<(), Refusal> {
    trusted::may(entry, what, flow).then_some(()).ok_or(Refusal::NotRelaying)
}

#[cfg(test)]
mod tests {
    use rempart_sip::flow::Transport;

    use super::*;

    fn verdict(caller: &Caller, callee: Callee) -> Option<Refusal> {
        let address = "192.0.2.1:5060".parse().expect("an address");
        let transport = Transport::Udp;
        let flow = Flow { transport, local: address, remote: address, connection: 0 };
        allow(caller, callee, &flow).err()
    }

    fn trusted(local_from: bool, may: &[Reach]) -> Caller {
        let mut entry = TrustedAddress::new("192.0.2.1/32".parse().expect("a network"));
        entry.may = may.to_vec();
        Caller::Trusted { entry: Box::new(entry), local_from }
    }

    #[test]
    fn local_users_call_anywhere() {
        let caller = Caller::Local(Aor::parse("101@example.org").expect("an AOR"));
        for callee in [Callee::Local, Callee::Foreign, Callee::Pstn] {
            assert_eq!(verdict(&caller, callee), None);
        }
    }

    #[test]
    fn foreign_users_call_local_users_only() {
        assert_eq!(verdict(&Caller::Foreign, Callee::Local), None);
        assert_eq!(verdict(&Caller::Foreign, Callee::Foreign), Some(Refusal::NotRelaying));
        assert_eq!(verdict(&Caller::Foreign, Callee::Pstn), Some(Refusal::NotAllowed));
    }

    #[test]
    fn a_trusted_source_reaches_its_scope_and_no_pstn_for_a_foreign_from() {
        let all = [Reach::Local, Reach::Pstn, Reach::Foreign];
        assert_eq!(verdict(&trusted(true, &all), Callee::Pstn), None);
        assert_eq!(verdict(&trusted(false, &all), Callee::Pstn), Some(Refusal::NotAllowed));
        assert_eq!(verdict(&trusted(false, &all), Callee::Foreign), None);
        let local = trusted(true, &[Reach::Local]);
        assert_eq!(verdict(&local, Callee::Pstn), Some(Refusal::NotAllowed));
        assert_eq!(verdict(&local, Callee::Foreign), Some(Refusal::NotRelaying));
    }
}
