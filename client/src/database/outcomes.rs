//! Outcomes are kept for whoever waits for one, and not for ever.

use std::time::Duration;

use rusqlite::params;

use super::Database;
use crate::error::LocalError;

/// How long an outcome is kept.
const KEPT_FOR: Duration = Duration::from_hours(30 * 24);

/// Outcomes that are deleted at once; what is left is for the next time.
const PRUNED_MAX: i64 = 1_000;

/// An id begins with the moment when it was made, so old ones come first. A
/// request may also have waited long and be done only now.
const HAS_OLD: &str = "
    SELECT 1 FROM outcomes WHERE id < ?1 AND committed_at_ms < ?2 LIMIT 1";

const PRUNE: &str = "
    DELETE FROM outcomes
     WHERE id IN (SELECT id FROM outcomes WHERE id < ?1 AND committed_at_ms < ?2
                   ORDER BY id LIMIT ?3)";

impl Database {
    /// Deletes outcomes of more than 30 days ago, at most [`PRUNED_MAX`]. Writes
    /// only if there are any.
    pub(crate) fn prune_outcomes(&mut self, now_ms: i64) -> Result<(), LocalError> {
        let kept_for_ms = i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX);
        let before_ms = now_ms.saturating_sub(kept_for_ms).max(0);
        // The first 48 bits of a UUIDv7 are milliseconds since 1970.
        let below = (u128::from(before_ms.unsigned_abs()) << 80).to_be_bytes();
        let has_old = self
            .connection
            .prepare_cached(HAS_OLD)?
            .exists(params![below, before_ms])?;
        if has_old {
            self.connection
                .execute(PRUNE, params![below, before_ms, PRUNED_MAX])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

    fn keep(database: &Database, id_at_ms: i64, number: u8, committed_at_ms: i64) {
        let mut id = (u128::from(id_at_ms.unsigned_abs()) << 80).to_be_bytes();
        id[15] = number;
        let values = params![id, committed_at_ms];
        let insert = "INSERT INTO outcomes (id, kind, conversation, seq, committed_at_ms)
                      VALUES (?1, 1, x'', 1, ?2)";
        database.connection.execute(insert, values).unwrap();
    }

    fn kept(database: &Database) -> i64 {
        let count = "SELECT count(*) FROM outcomes";
        let mut ask = database.connection.prepare(count).unwrap();
        ask.query_row([], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_outcome_is_kept_for_thirty_days_after_it_was_committed() {
        let directory = tempfile::tempdir().unwrap();
        let mut database = Database::open(directory.path()).unwrap();
        let now = 1_000 * DAY_MS;
        // Done long ago, read long ago, done now after a long wait, done lately.
        keep(&database, now - 31 * DAY_MS, 1, now - 31 * DAY_MS);
        keep(&database, now - 31 * DAY_MS, 2, 0);
        keep(&database, now - 31 * DAY_MS, 3, now);
        keep(&database, now - 29 * DAY_MS, 4, now - 29 * DAY_MS);
        database.prune_outcomes(now).unwrap();
        assert_eq!(kept(&database), 2);
    }

    /// D9.
    #[test]
    fn whoever_opens_a_home_deletes_a_bounded_number_of_old_outcomes() {
        let directory = tempfile::tempdir().unwrap();
        let mut database = Database::open(directory.path()).unwrap();
        database.connection.execute_batch("BEGIN").unwrap();
        for day in 0..6 {
            for number in 0..=u8::MAX {
                keep(&database, day * DAY_MS, number, 0);
            }
        }
        database.connection.execute_batch("COMMIT").unwrap();
        database.prune_outcomes(1_000 * DAY_MS).unwrap();
        assert_eq!(kept(&database), 6 * 256 - PRUNED_MAX);
        Home::open(directory.path()).unwrap();
        assert_eq!(kept(&database), 0);
    }
}
