//! Host names looked up in the DNS: A and AAAA, bounded in number and time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use rempart_actors::wire::{Resolved, Resolver};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Look-ups under way together.
const LOOKUPS_MAX: usize = 64;

/// Look-ups that may wait for a place among them; more are refused at once.
const WAITING_MAX: usize = 1024;

/// How long a look-up may take, its wait included.
const DEADLINE: Duration = Duration::from_secs(3);

/// The resolver of the server. Clones share its cache and bounds.
#[derive(Clone)]
pub struct Dns {
    /// The runtime it was made on, which owns its sockets.
    runtime: Handle,
    /// `None` on a host without a usable resolver configuration.
    resolver: Option<TokioResolver>,
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Dns {
    /// A resolver that asks `servers`, or those of the system where the list is empty.
    ///
    /// Must be called on a tokio runtime that lives as long as the server: look-ups run there. On
    /// a host without a resolver configuration every look-up fails, which is logged here once.
    pub fn new(servers: &[SocketAddr]) -> Self {
        let built = build(servers);
        if let Err(error) = &built {
            tracing::warn!(%error, "no host name can be looked up; set dns.servers");
        }
        Self {
            runtime: Handle::current(),
            resolver: built.ok(),
            places: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            queue: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    async fn look_up(&self, name: &str) -> Resolved {
        let resolver = self.resolver.as_ref().ok_or("no name server is configured")?;
        let _place = self.places.acquire().await.map_err(|error| error.to_string())?;
        let found = resolver.lookup_ip(absolute(name)).await.map_err(|error| error.to_string())?;
        Ok(found.iter().collect())
    }
}

impl Resolver for Dns {
    fn resolve(&self, name: String, done: Box<dyn FnOnce(Resolved) + Send>) {
        let Ok(waiting) = self.queue.clone().try_acquire_owned() else {
            return done(Err("too many look-ups".to_owned()));
        };
        let dns = self.clone();
        self.runtime.spawn(async move {
            let found = timeout(DEADLINE, dns.look_up(&name)).await;
            drop(waiting);
            done(found.unwrap_or_else(|_| Err("the name servers do not answer".to_owned())));
        });
    }
}

/// With a final dot, so that no search domain of the host is tried behind a stranger's name.
fn absolute(name: &str) -> String {
    if name.ends_with('.') || name.parse::<IpAddr>().is_ok() {
        return name.to_owned();
    }
    format!("{name}.")
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let builder = if servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| error.to_string())?
    } else {
        let servers = servers.iter().map(server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let mut builder = builder;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Two tries fit into our own deadline.
    options.timeout = DEADLINE / 2;
    options.attempts = 1;
    builder.build().map_err(|error| error.to_string())
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::sync::mpsc;
    use std::thread;

    /// Answers `queries` queries: A with 192.0.2.5, everything else with nothing.
    fn name_server(queries: usize) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("bound");
        thread::spawn(move || {
            for _ in 0..queries {
                let mut query = [0; 512];
                let Ok((length, from)) = socket.recv_from(&mut query) else { return };
                socket.send_to(&answer(&query[..length]), from).ok();
            }
        });
        address
    }

    /// The question repeated, and the address behind it where an A record was asked for.
    fn answer(query: &[u8]) -> Vec<u8> {
        let name = query[12..].iter().position(|octet| *octet == 0).expect("a name") + 13;
        let question = &query[12..name + 4];
        let is_a = query[name..name + 2] == [0, 1];
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
        answer.extend(question);
        if is_a {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 5]);
        }
        answer
    }

    fn resolve(dns: &Dns, name: &str) -> mpsc::Receiver<Resolved> {
        let (sender, receiver) = mpsc::channel();
        dns.resolve(name.to_owned(), Box::new(move |found| drop(sender.send(found))));
        receiver
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_name_is_looked_up_at_the_servers_of_the_config() {
        let dns = Dns::new(&[name_server(2)]);
        let found = resolve(&dns, "phone.example").recv().expect("an answer");
        assert_eq!(found, Ok(vec![IpAddr::from([192, 0, 2, 5])]));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_address_needs_no_name_server() {
        let dns = Dns::new(&["127.0.0.1:9".parse().expect("an address")]);
        let found = resolve(&dns, "2001:db8::1").recv().expect("an answer");
        assert_eq!(found, Ok(vec!["2001:db8::1".parse().expect("an address")]));
    }

    #[tokio::test]
    async fn look_ups_over_the_bound_are_refused_at_once() {
        let dns = Dns::new(&["127.0.0.1:9".parse().expect("an address")]);
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| resolve(&dns, "a.example")).collect();
        let refused = resolve(&dns, "b.example").try_recv().expect("at once");
        assert_eq!(refused, Err("too many look-ups".to_owned()));
        drop(waiting);
    }

    #[test]
    fn no_search_domain_is_tried() {
        assert_eq!(absolute("phone.example"), "phone.example.");
        assert_eq!(absolute("phone.example."), "phone.example.");
        assert_eq!(absolute("192.0.2.1"), "192.0.2.1");
    }
}
