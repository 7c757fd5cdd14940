//! Many users at once: each line stands for itself, all of a batch are durable together.

use super::office::Emit;
use super::{AdminError, AdminReply, Change, Done, ImportRow, Office, RefusedRow};
use crate::timestamp::now_unix;

impl Office {
    /// Adds or changes the users of these lines; the count is that of the loaded ones.
    pub(super) fn import(
        &self,
        rows: &[ImportRow],
        emit: Emit,
    ) -> Result<(Done, Change), AdminError> {
        let now = now_unix();
        let mut good = Vec::with_capacity(rows.len());
        for row in rows {
            match self.credentials(&row.account) {
                Ok(credentials) => good.push(self.row(credentials, now)?.0),
                Err(AdminError(reason)) => {
                    emit(AdminReply::Refused(RefusedRow { line: row.line, reason }));
                }
            }
        }
        self.commit(&good)?;
        let done = Done::new(format!("loaded {}", good.len()), good.len() as u64);
        Ok((done, Change::Subscribers(good.into_iter().map(|row| row.aor).collect())))
    }
}
