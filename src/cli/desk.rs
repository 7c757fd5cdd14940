//! Where a command is carried out: by the running server if one answers on the control socket,
//! else on the store itself. The caller does not have to know which.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rempart_storage::{SledStore, StoreError};

use crate::admin::{AdminError, AdminReply, AdminRequest, Done, Office};
use crate::config::Config;
use crate::control::Client;

/// How long we wait for a store that is open elsewhere: a server that is starting answers soon,
/// and another command is soon done.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Carries requests out.
pub enum Desk {
    /// The running server does it.
    Server(Client),
    /// Nobody runs, so we do it.
    Store(Box<Office>),
}

impl Desk {
    /// Finds the server, or opens the store.
    pub fn open(config: Config) -> Result<Self, AdminError> {
        let start = Instant::now();
        loop {
            if let Some(client) = Client::connect(&config.control)? {
                return Ok(Self::Server(client));
            }
            let Some(folder) = config.storage.folder() else {
                return Err(AdminError(format!(
                    "{}: no server answers, and with storage in memory there is nothing without \
                     one; start it with `rempart run`",
                    config.control.display()
                )));
            };
            match SledStore::open(folder) {
                Ok(store) => {
                    let office = Office::new(Arc::new(config), Arc::new(store));
                    return Ok(Self::Store(Box::new(office)));
                }
                Err(StoreError::Locked { .. }) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                }
                Err(error @ StoreError::Locked { .. }) => {
                    let control = config.control.display();
                    return Err(AdminError(format!("{error}; nobody answers at {control}")));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Carries out one request and hands every row of the answer to `each`.
    pub fn ask(
        &mut self,
        request: &AdminRequest,
        each: &mut dyn FnMut(AdminReply),
    ) -> Result<Done, AdminError> {
        match self {
            Self::Server(client) => client.ask(request, each),
            Self::Store(office) => office.execute_offline(request, each),
        }
    }

    /// Carries out a request that has no rows and says what was done.
    pub fn tell(&mut self, request: &AdminRequest) -> Result<String, AdminError> {
        self.ask(request, &mut |_| {}).map(|done| done.text)
    }
}
