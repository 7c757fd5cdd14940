//! Carries requests out on the store. The same code serves a stopped server's command line and a
//! running server's control socket, which then brings the change into force.

use std::sync::Arc;

use ipnet::IpNet;
use rempart_sip::digest::Ha1;
use rempart_sip::flow::SourceKey;
use rempart_sip::uri::Aor;
use rempart_storage::{
    Ban, Batch, Evidence, Row, Store, Subscriber, Suspension, TrustedAddress, for_each_ban,
    for_each_subscriber, for_each_suspension, for_each_trusted, put_ban, put_subscriber,
    put_trusted, remove_subscriber, remove_trusted, subscriber,
};
use serde::{Deserialize, Serialize};

use super::{
    Account, AdminError, AdminReply, AdminRequest, BanRow, Lift, Origin, Secret, SubscriberRow,
    TrustedRow, Who, location,
};
use crate::config::Config;
use crate::config::names::LocalNames;
use crate::config::trusted::TrustedEntry;
use crate::timestamp::{now_unix, rfc3339};

/// How a request ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, one line for people; empty after a listing.
    pub text: String,
    /// How many rows were shown, changed or removed.
    pub count: u64,
}

impl Done {
    /// So many, in words.
    pub fn new(text: impl Into<String>, count: u64) -> Self {
        Self { text: text.into(), count }
    }

    fn listed(count: u64) -> Self {
        Self::new("", count)
    }
}

/// What a running server must be told after the store was changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// These users.
    Subscribers(Vec<Aor>),
    /// The address table.
    Trusted,
    /// A new ban.
    Banned(Ban),
}

/// Takes one row of an answer.
pub type Emit<'a> = &'a mut dyn FnMut(AdminReply);

/// The store, and the config that says who is local.
#[derive(Clone)]
pub struct Office {
    /// The config as it was read.
    pub config: Arc<Config>,
    /// Which domains are ours.
    pub names: LocalNames,
    /// Where changes go.
    pub store: Arc<dyn Store>,
}

impl Office {
    /// The office of a config on this host.
    pub fn new(config: Arc<Config>, store: Arc<dyn Store>) -> Self {
        Self { names: LocalNames::here(&config), config, store }
    }

    /// Carries out any request while no server runs: bindings come from the journal in the
    /// store's folder.
    pub fn execute_offline(&self, request: &AdminRequest, emit: Emit) -> Result<Done, AdminError> {
        match (request, self.config.storage.folder()) {
            (AdminRequest::LocationShow(who), Some(folder)) => {
                location::show(folder, &self.aor(&who.user)?, emit)
            }
            (AdminRequest::LocationRemove(who), Some(folder)) => {
                location::remove(folder, &self.aor(&who.user)?)
            }
            (AdminRequest::Explain { about }, _) => self.explain(about, emit),
            _ => self.execute(request, emit).map(|(done, _)| done),
        }
    }

    /// Carries out what needs nothing but the store; rows go to `emit` on the way. Waits for the
    /// disk. What only a running server knows is refused.
    pub fn execute(
        &self,
        request: &AdminRequest,
        emit: Emit,
    ) -> Result<(Done, Change), AdminError> {
        match request {
            AdminRequest::SubscriberAdd(account) => self.add(account),
            AdminRequest::SubscriberPasswd(account) => self.change(account),
            AdminRequest::SubscriberRemove(who) => self.remove(who),
            AdminRequest::SubscriberShow(who) => unchanged(self.show(who, emit)),
            AdminRequest::SubscriberList => unchanged(self.list(emit)),
            AdminRequest::SubscriberImport { rows } => self.import(rows, emit),
            AdminRequest::TrustAdd(entry) => self.trust(entry),
            AdminRequest::TrustRemove { net, port, transport } => {
                let transport = transport.map(Into::into);
                let count = remove_trusted(&*self.store, &net.0, *port, transport)?;
                self.distrusted(&net.0, count)
            }
            AdminRequest::TrustList => unchanged(self.trusted(emit)),
            AdminRequest::BanList => unchanged(self.bans(emit)),
            AdminRequest::BanAdd { address, secs, reason } => {
                self.ban(SourceKey::of(*address), *secs, reason)
            }
            AdminRequest::Unban(lift) => unchanged(self.unban(lift)),
            AdminRequest::LocationShow(_)
            | AdminRequest::LocationRemove(_)
            | AdminRequest::Explain { .. }
            | AdminRequest::Status
            | AdminRequest::Reload => {
                Err(AdminError("only a running server can do that; start it".to_owned()))
            }
        }
    }

    /// Reads a user the operator named.
    pub fn aor(&self, text: &str) -> Result<Aor, AdminError> {
        Ok(self.names.aor(text)?)
    }

    /// The user of a suspension: in canonical form where it is one of ours, else as written.
    pub fn suspended_user(&self, text: &str) -> String {
        self.names.aor(text).map_or_else(|_| text.to_owned(), |aor| aor.to_string())
    }

    /// Who an account is and what proves it; an error is about what the operator wrote.
    pub(super) fn credentials(&self, account: &Account) -> Result<(Aor, Ha1), AdminError> {
        let aor = self.aor(&account.user)?;
        let realm = account.user.rsplit_once('@').map_or("", |(_, host)| host);
        let realm = crate::config::listen::canonical_host(realm).unwrap_or_default();
        if matches!(account.secret, Secret::Ha1(_)) && realm != aor.domain() {
            return Err(AdminError(format!(
                "an HA1 holds for one realm, and {} is kept under the realm {}",
                account.user,
                aor.domain()
            )));
        }
        let ha1 = account.secret.ha1(&aor)?;
        Ok((aor, ha1))
    }

    /// The row to store, and whether it takes the place of another; an error is the store's.
    pub(super) fn row(
        &self,
        (aor, ha1): (Aor, Ha1),
        now: u64,
    ) -> Result<(Subscriber, bool), AdminError> {
        let before = subscriber(&*self.store, &aor)?;
        let created = before.as_ref().map_or(now, |before| before.created);
        Ok((Subscriber { aor, ha1, created, changed: now }, before.is_some()))
    }

    fn add(&self, account: &Account) -> Result<(Done, Change), AdminError> {
        let (row, exists) = self.row(self.credentials(account)?, now_unix())?;
        if exists {
            let user = &row.aor;
            return Err(AdminError(format!(
                "{user} exists; `rempart subscriber passwd {user}` changes the password"
            )));
        }
        put_subscriber(&*self.store, &row)?;
        let done = Done::new(format!("added {}", row.aor), 1);
        Ok((done, Change::Subscribers(vec![row.aor])))
    }

    fn change(&self, account: &Account) -> Result<(Done, Change), AdminError> {
        let (row, exists) = self.row(self.credentials(account)?, now_unix())?;
        if !exists {
            return Err(unknown_user(&row.aor));
        }
        put_subscriber(&*self.store, &row)?;
        let done = Done::new(format!("changed the password of {}", row.aor), 1);
        Ok((done, Change::Subscribers(vec![row.aor])))
    }

    fn remove(&self, who: &Who) -> Result<(Done, Change), AdminError> {
        let aor = self.aor(&who.user)?;
        if !remove_subscriber(&*self.store, &aor)? {
            return Err(unknown_user(&aor));
        }
        Ok((Done::new(format!("removed {aor}"), 1), Change::Subscribers(vec![aor])))
    }

    fn show(&self, who: &Who, emit: Emit) -> Result<Done, AdminError> {
        let aor = self.aor(&who.user)?;
        let row = subscriber(&*self.store, &aor)?.ok_or_else(|| unknown_user(&aor))?;
        emit(AdminReply::Subscriber(SubscriberRow::from(&row)));
        Ok(Done::listed(1))
    }

    fn list(&self, emit: Emit) -> Result<Done, AdminError> {
        let mut count = 0;
        for_each_subscriber(&*self.store, |row| {
            count += 1;
            emit(AdminReply::Subscriber(SubscriberRow::from(&row)));
        })?;
        Ok(Done::listed(count))
    }

    pub(super) fn commit(&self, rows: &[Subscriber]) -> Result<(), AdminError> {
        let mut batch = Batch::new();
        rows.iter().for_each(|row| row.stage(&mut batch));
        Ok(self.store.commit(batch)?)
    }

    fn trust(&self, entry: &TrustedEntry) -> Result<(Done, Change), AdminError> {
        if entry.may.is_empty() {
            return Err(AdminError("the entry may do nothing; name local, pstn or foreign".into()));
        }
        put_trusted(&*self.store, &TrustedAddress::from(entry))?;
        let places: Vec<&str> = entry.may.iter().map(|place| place.name()).collect();
        let (net, may) = (entry.net.0, places.join(", "));
        let text = format!("{net} may send to {may} without a password, except REGISTER");
        Ok((Done::new(text, 1), Change::Trusted))
    }

    fn distrusted(&self, net: &IpNet, count: usize) -> Result<(Done, Change), AdminError> {
        if count > 0 {
            let done = Done::new(format!("{net} is trusted no more"), count as u64);
            return Ok((done, Change::Trusted));
        }
        let here = self.config.trusted.iter().any(|entry| entry.net.0 == *net);
        let advice =
            if here { "it stands in the config; remove it there" } else { "see trust list" };
        Err(AdminError(format!("the store holds no such entry for {net}; {advice}")))
    }

    fn trusted(&self, emit: Emit) -> Result<Done, AdminError> {
        let mut count = 0;
        let mut show = |entry: TrustedEntry, from: Origin| {
            count += 1;
            emit(AdminReply::Trusted(TrustedRow { entry, from }));
        };
        for entry in &self.config.trusted {
            show(entry.clone(), Origin::Config);
        }
        for_each_trusted(&*self.store, |row| show(TrustedEntry::from(&row), Origin::Store))?;
        Ok(Done::listed(count))
    }

    pub(super) fn bans(&self, emit: Emit) -> Result<Done, AdminError> {
        let (mut count, now) = (0, now_unix());
        let mut show = |row: BanRow| {
            count += 1;
            emit(AdminReply::Ban(row));
        };
        for_each_ban(&*self.store, |ban| {
            if ban.until > now {
                show(BanRow::from(&ban));
            }
        })?;
        for_each_suspension(&*self.store, |suspension| {
            if suspension.until > now {
                show(BanRow::from(&suspension));
            }
        })?;
        Ok(Done::listed(count))
    }

    fn ban(
        &self,
        source: SourceKey,
        secs: u64,
        reason: &str,
    ) -> Result<(Done, Change), AdminError> {
        let since = now_unix();
        let until = since.saturating_add(secs);
        let (evidence, reason) = (Evidence::Manual, reason.to_owned());
        let ban = Ban { source: network(source), reason, evidence, since, until, level: 0 };
        put_ban(&*self.store, &ban)?;
        let done = Done::new(format!("banned {source} until {}", rfc3339(until)), 1);
        Ok((done, Change::Banned(ban)))
    }

    /// Lifts what the store holds; a running server lifts its own first.
    pub(crate) fn unban(&self, lift: &Lift) -> Result<Done, AdminError> {
        let user = lift.user.as_deref().map(|user| self.suspended_user(user));
        let source = lift.source().map(network);
        let now = now_unix();
        let (mut batch, mut count) = (Batch::new(), 0);
        let mut delete = |table, key, until| {
            batch.delete(table, key);
            count += u64::from(until > now);
        };
        if user.is_none() {
            for_each_ban(&*self.store, |ban| {
                if source.is_some_and(|source| source.contains(&ban.source)) {
                    delete(Ban::TABLE, ban.key(), ban.until);
                }
            })?;
        }
        for_each_suspension(&*self.store, |row| {
            let same_user = user.as_ref().is_none_or(|user| *user == row.user);
            let same_source = source.is_none_or(|source| row.source == Some(source));
            if same_user && same_source {
                delete(Suspension::TABLE, row.key(), row.until);
            }
        })?;
        if !batch.is_empty() {
            self.store.commit(batch)?;
        }
        Ok(lifted(lift, count))
    }
}

/// What was lifted, in words.
pub(crate) fn lifted(lift: &Lift, count: u64) -> Done {
    let text = match count {
        0 => format!("nothing to lift for {lift}"),
        1 => format!("lifted 1 ban or suspension of {lift}"),
        _ => format!("lifted {count} bans and suspensions of {lift}"),
    };
    Done::new(text, count)
}

fn unchanged(done: Result<Done, AdminError>) -> Result<(Done, Change), AdminError> {
    done.map(|done| (done, Change::Nothing))
}

fn unknown_user(aor: &Aor) -> AdminError {
    AdminError(format!("no such user: {aor}; `rempart subscriber list` shows all"))
}

/// A source as the store keys bans: an IPv4 address, or an IPv6 /64.
pub fn network(source: SourceKey) -> IpNet {
    let address = source.address();
    let length = if address.is_ipv4() { 32 } else { 64 };
    // Both lengths fit their families.
    IpNet::new(address, length).unwrap_or_else(|_| IpNet::from(address))
}
