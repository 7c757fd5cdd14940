//! Every maximum of the protocol layer, each with its reason.
//!
//! A message beyond one of them is refused before anything of it is kept, so that no peer decides
//! how much memory or time one message takes.

/// Octets of one message, head and body. UDP cannot carry more (RFC 768: a 16-bit length), and
/// a stream that could would let one peer hold as much memory as it likes.
pub const MESSAGE_MAX: usize = 65_535;

/// Header lines of one message. The longest honest ones (a call through six proxies) stay under
/// 60; the index of a message stays under 6 KiB with this limit.
pub const HEADERS_MAX: usize = 256;

/// Octets of a Request-URI; longer is answered with 414 (RFC 3261 section 21.4.12). GRUUs and
/// conference URIs stay under 500.
pub const REQUEST_URI_MAX: usize = 2_048;

/// Largest CSeq number: RFC 3261 section 8.1.1.5 wants it under 2^31.
pub const CSEQ_MAX: u32 = 0x7fff_ffff;

/// Octets of a method name that we did not define. Longer ones are noise, and the method goes into
/// logs and keys.
pub const METHOD_MAX: usize = 128;

/// Parameters, and headers, of one URI. Real ones have five at most; comparison goes over them for
/// each other, so the number must not be the sender's to choose.
pub const URI_PARTS_MAX: usize = 32;

/// Octets of an address of record: fits every store's key, and no phone has a longer one.
pub const AOR_MAX: usize = 255;

/// Octets of each text kept with a binding besides its contact: Call-ID, instance, User-Agent,
/// Allow. Real ones stay under 200, and bindings are kept by the hundred thousand.
pub const BINDING_TEXT_MAX: usize = 512;

/// Path values of one registration (RFC 3327): more edge proxies in a row than anybody has.
pub const PATHS_MAX: usize = 8;
