//! Max-Breadth (RFC 5393 section 5): how many branches one request may have at once, wherever it is
//! forked, so that a few proxies that fork to each other cannot multiply it without end.

use crate::message::{HeaderName, Message};
use crate::refusal::Refusal;

/// The breadth of a request that names none (RFC 5393 section 5.3.1), and the most that we grant.
pub const BREADTH_DEFAULT: u32 = 60;

/// The breadth that a request came with.
pub fn breadth(request: Message<'_>) -> u32 {
    let written = request.header(HeaderName::MaxBreadth);
    let number = written.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    number.map_or(BREADTH_DEFAULT, |breadth: u32| breadth.min(BREADTH_DEFAULT))
}

/// What branch number `branch` (from 0) of `branches` parallel ones gets of `breadth`: the sum is
/// never more than what came in, and no share is zero.
///
/// # Errors
/// 440 where there are more branches than breadth (RFC 5393 section 5.3.3).
pub fn breadth_share(breadth: u32, branches: usize, branch: usize) -> Result<u32, Refusal> {
    let refused = || Refusal::MaxBreadth;
    let count = u32::try_from(branches).map_err(|_| refused())?;
    let each = breadth.checked_div(count).filter(|each| *each > 0).ok_or_else(refused)?;
    let rest = u32::try_from(branch).is_ok_and(|branch| branch < breadth % count);
    Ok(each + u32::from(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::OwnedMessage;
    use proptest::prelude::*;

    fn breadth_of(value: &str) -> u32 {
        let text = format!(
            "OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
             From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: x\r\nCSeq: 7 OPTIONS\r\n{value}\r\n"
        );
        breadth(OwnedMessage::new(text.into_bytes()).expect("a message of this test").view())
    }

    #[test]
    fn breadth_is_sixty_unless_the_request_says_less() {
        assert_eq!(breadth_of(""), 60);
        assert_eq!(breadth_of("Max-Breadth: 5\r\n"), 5);
        assert_eq!(breadth_of("Max-Breadth: 4000000000\r\n"), 60);
        assert_eq!(breadth_of("Max-Breadth: wide\r\n"), 60);
    }

    #[test]
    fn more_branches_than_breadth_are_refused() {
        assert_eq!(breadth_share(2, 3, 0), Err(Refusal::MaxBreadth));
        assert_eq!(breadth_share(0, 1, 0), Err(Refusal::MaxBreadth));
        assert_eq!(breadth_share(60, 0, 0), Err(Refusal::MaxBreadth));
        assert_eq!(breadth_share(1, 1, 0), Ok(1));
    }

    proptest! {
        #[test]
        fn shares_use_up_the_breadth_and_no_more(breadth in 1..100u32, branches in 1..100usize) {
            let shares: Result<Vec<u32>, _> =
                (0..branches).map(|branch| breadth_share(breadth, branches, branch)).collect();
            match shares {
                Ok(shares) => {
                    prop_assert_eq!(shares.iter().sum::<u32>(), breadth);
                    prop_assert!(shares.iter().all(|share| *share > 0));
                }
                Err(_) => prop_assert!(branches > breadth as usize),
            }
        }
    }
}
