//! Bindings while no server runs: read from the journal, and removed there.

use std::path::Path;

use rempart_sip::registrar::Binding;
use rempart_sip::uri::Aor;
use rempart_storage::Journal;

use super::{AdminError, AdminReply, BindingRow, Done, Emit};
use crate::timestamp::now_unix;

/// Shows the bindings of a user that have not expired.
pub fn show(folder: &Path, aor: &Aor, emit: Emit) -> Result<Done, AdminError> {
    let (_, bindings) = replay(folder, aor)?;
    for binding in &bindings {
        emit(AdminReply::Binding(BindingRow::of(aor, binding)));
    }
    Ok(Done::new("", bindings.len() as u64))
}

/// Removes the bindings of a user; they are gone when it returns.
pub fn remove(folder: &Path, aor: &Aor) -> Result<Done, AdminError> {
    let (journal, bindings) = replay(folder, aor)?;
    journal.append(aor.as_str(), &[]);
    journal.flush().map_err(|error| AdminError(format!("{}: {error}", folder.display())))?;
    Ok(removed(aor, bindings.len() as u64))
}

/// What was removed, in words.
pub(crate) fn removed(aor: &Aor, count: u64) -> Done {
    let text = match count {
        0 => format!("{aor} is not registered"),
        1 => format!("removed 1 binding of {aor}"),
        _ => format!("removed {count} bindings of {aor}"),
    };
    Done::new(text, count)
}

fn replay(folder: &Path, aor: &Aor) -> Result<(Journal, Vec<Binding>), AdminError> {
    let mut last = Vec::new();
    let journal = Journal::open(folder, |user, bindings| {
        if user == aor.as_str() {
            last = bindings;
        }
    })?;
    let now = now_unix();
    last.retain(|binding| binding.expires_at > now);
    Ok((journal, last))
}

#[cfg(test)]
mod tests {
    use rempart_sip::flow::{Flow, Transport};

    use super::*;

    fn binding(expires_at: u64) -> Binding {
        let address = "192.0.2.1:5060".parse().expect("an address");
        Binding {
            contact: b"sip:alice@192.0.2.1".to_vec(),
            q: 500,
            expires_at,
            call_id: b"1".to_vec(),
            cseq: 1,
            path: Vec::new(),
            flow: Flow {
                transport: Transport::Udp,
                local: address,
                remote: address,
                connection: 0,
            },
            instance: Vec::new(),
            reg_id: 0,
            user_agent: b"phone".to_vec(),
            allow: Vec::new(),
            via_is_source: true,
        }
    }

    fn rows(folder: &Path, aor: &Aor) -> Vec<AdminReply> {
        let mut rows = Vec::new();
        show(folder, aor, &mut |row| rows.push(row)).expect("a listing");
        rows
    }

    #[test]
    fn live_bindings_are_shown_and_removed_for_good() {
        let folder = tempfile::tempdir().expect("a folder");
        let alice = Aor::parse("alice@a.example").expect("an address");
        let bob = Aor::parse("bob@a.example").expect("an address");
        let journal = Journal::open(folder.path(), |_, _| {}).expect("a journal");
        journal.append(alice.as_str(), &[binding(u64::from(u32::MAX)), binding(1)]);
        journal.append(bob.as_str(), &[binding(u64::from(u32::MAX))]);
        journal.flush().expect("a flush");
        drop(journal);

        let shown = rows(folder.path(), &alice);
        let [AdminReply::Binding(row)] = shown.as_slice() else { panic!("{shown:?}") };
        assert_eq!((row.source.as_str(), row.q), ("udp:192.0.2.1:5060", 0.5));
        assert_eq!(row.user_agent.as_deref(), Some("phone"));
        let done = remove(folder.path(), &alice).expect("a removal");
        assert_eq!(done.text, "removed 1 binding of alice@a.example");
        assert!(rows(folder.path(), &alice).is_empty());
        assert_eq!(rows(folder.path(), &bob).len(), 1);
        let done = remove(folder.path(), &alice).expect("a removal");
        assert_eq!(done.text, "alice@a.example is not registered");
    }
}
