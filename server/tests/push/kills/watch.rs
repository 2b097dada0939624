//! What the database itself saw of wakes: triggers note each in the transaction
//! that writes it down, with what its device had confirmed by then, and each device
//! that was put back, without a token: what it answered before says nothing any more.

use std::path::Path;

use magpie_protocol::{id::DeviceId, seq::Position};
use magpie_sim::postgres::{self, Client};
use rusqlite::Connection;
use tokio::runtime::Handle;
use uuid::Uuid;

/// A try counts as once more if its wake was sent before, or if its device was
/// put back since (then the wake before says nothing any more).
const WATCH_EMBEDDED: &str = "
    CREATE TABLE written (
        number    INTEGER PRIMARY KEY,
        device    BLOB NOT NULL,
        token     TEXT NOT NULL,
        wake_id   INTEGER NOT NULL,
        position  INTEGER NOT NULL,
        confirmed INTEGER NOT NULL,
        again     INTEGER NOT NULL
    );
    CREATE TRIGGER first_try AFTER INSERT ON wakes WHEN new.tries > 0 BEGIN
        INSERT INTO written (device, token, wake_id, position, confirmed, again)
        SELECT d.device_id, p.token, new.wake_id, new.position, c.cursor, 0
          FROM devices d
          JOIN push_addresses p ON p.device = d.key
          JOIN cursors c ON c.device = d.key
         WHERE d.key = new.device;
    END;
    CREATE TRIGGER next_try AFTER UPDATE ON wakes
     WHEN new.tries > old.tries OR new.tries > 0
          AND (new.position <> old.position OR new.wake_id <> old.wake_id) BEGIN
        INSERT INTO written (device, token, wake_id, position, confirmed, again)
        SELECT d.device_id, p.token, new.wake_id, new.position, c.cursor,
               old.tries = 0 OR new.wake_id = old.wake_id AND new.position = old.position
          FROM devices d
          JOIN push_addresses p ON p.device = d.key
          JOIN cursors c ON c.device = d.key
         WHERE d.key = new.device;
    END;
    CREATE TRIGGER put_back AFTER UPDATE ON cursors WHEN new.cursor < old.cursor BEGIN
        INSERT INTO written (device, token, wake_id, position, confirmed, again)
        SELECT device_id, '', 0, 0, 0, 0 FROM devices WHERE key = new.device;
    END;";

const WATCH_POSTGRES: &str = "
    CREATE TABLE written (
        number    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        device    uuid NOT NULL,
        token     text NOT NULL,
        wake_id   bigint NOT NULL,
        position  bigint NOT NULL,
        confirmed bigint NOT NULL,
        again     boolean NOT NULL
    );
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        is_again boolean := false;
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            is_again := old.tries = 0
                OR new.wake_id = old.wake_id AND new.position = old.position;
        END IF;
        INSERT INTO written (device, token, wake_id, position, confirmed, again)
        SELECT d.device_id, p.token, new.wake_id, new.position,
               c.cursor[(new.position >> 56)::integer + 1], is_again
          FROM devices d
          JOIN push_addresses p ON p.device_key = d.key
          JOIN cursors c ON c.device_key = d.key
         WHERE d.key = new.device_key;
        RETURN NULL;
    END $$;
    CREATE TRIGGER first_try AFTER INSERT ON wakes
       FOR EACH ROW WHEN (new.tries > 0) EXECUTE FUNCTION note();
    CREATE TRIGGER next_try AFTER UPDATE ON wakes
       FOR EACH ROW WHEN (new.tries > old.tries OR new.tries > 0
           AND (new.position <> old.position OR new.wake_id <> old.wake_id))
       EXECUTE FUNCTION note();
    CREATE FUNCTION note_back() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO written (device, token, wake_id, position, confirmed, again)
        SELECT device_id, '', 0, 0, 0, false FROM devices
         WHERE key = new.device_key
           AND EXISTS (SELECT FROM unnest(old.cursor, new.cursor) AS place (before, now)
                        WHERE now < before);
        RETURN NULL;
    END $$;
    CREATE TRIGGER put_back AFTER UPDATE ON cursors
       FOR EACH ROW WHEN (new.cursor <> old.cursor) EXECUTE FUNCTION note_back();";

const FIND_WRITTEN: &str = "
    SELECT device, token, wake_id, position, confirmed, again FROM written ORDER BY number";

/// A wake, or another try of one; or a device that was put back.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) device: DeviceId,
    pub(super) token: String,
    pub(super) id: u64,
    pub(super) position: Position,
    /// What its device had confirmed of that shard.
    pub(super) confirmed: Position,
    pub(super) again: bool,
}

impl Written {
    pub(super) fn is_put_back(&self) -> bool {
        self.token.is_empty()
    }

    fn new(device: [u8; 16], token: String, numbers: [i64; 3], again: bool) -> Self {
        let [id, position, confirmed] = numbers.map(|it| u64::from_ne_bytes(it.to_ne_bytes()));
        Self {
            device: DeviceId::new(device),
            token,
            id,
            position: Position::new(position),
            confirmed: Position::new(confirmed),
            again,
        }
    }
}

/// A second pair of eyes on the store's database.
pub(super) enum Watch {
    Embedded(Box<Connection>),
    Postgres(Client, Handle),
}

impl Watch {
    /// Begins to watch a store that nobody has open.
    pub(super) fn embedded(dir: &Path) -> Self {
        let connection = Connection::open(dir.join("magpie.db")).unwrap();
        connection.execute_batch(WATCH_EMBEDDED).unwrap();
        Self::Embedded(Box::new(connection))
    }

    /// Begins to watch a store.
    pub(super) fn postgres(database: &str, outside: Handle) -> Self {
        let connect = postgres::shared().unwrap().connect(database);
        let client = outside.block_on(connect).unwrap();
        let watch = Self::Postgres(client, outside);
        watch.run(WATCH_POSTGRES);
        watch
    }

    fn run(&self, sql: &str) {
        match self {
            Self::Embedded(connection) => connection.execute_batch(sql).unwrap(),
            Self::Postgres(client, outside) => {
                outside.block_on(client.batch_execute(sql)).unwrap();
            }
        }
    }

    /// All wakes so far, in the order in which they were written down.
    pub(super) fn written(&self) -> Vec<Written> {
        match self {
            Self::Embedded(connection) => {
                let mut statement = connection.prepare_cached(FIND_WRITTEN).unwrap();
                let rows = statement.query_map([], |row| {
                    let numbers = [row.get(2)?, row.get(3)?, row.get(4)?];
                    Ok(Written::new(row.get(0)?, row.get(1)?, numbers, row.get(5)?))
                });
                rows.unwrap().collect::<Result<_, _>>().unwrap()
            }
            Self::Postgres(client, outside) => {
                let rows = outside.block_on(client.query(FIND_WRITTEN, &[])).unwrap();
                let written = rows.iter().map(|row| {
                    let device: Uuid = row.get(0);
                    let numbers = [row.get(2), row.get(3), row.get(4)];
                    Written::new(device.into_bytes(), row.get(1), numbers, row.get(5))
                });
                written.collect()
            }
        }
    }

    /// Wakes as they are: positions, tries, and when they are due.
    pub(super) fn waiting(&self) -> Vec<(i64, i64, i64)> {
        const FIND: &str =
            "SELECT position, CAST(tries AS bigint), due_at_ms FROM wakes ORDER BY due_at_ms";
        match self {
            Self::Embedded(connection) => {
                let mut statement = connection.prepare_cached(FIND).unwrap();
                let rows =
                    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
                rows.unwrap().collect::<Result<_, _>>().unwrap()
            }
            Self::Postgres(client, outside) => {
                let rows = outside.block_on(client.query(FIND, &[])).unwrap();
                let waiting = rows.iter().map(|it| (it.get(0), it.get(1), it.get(2)));
                waiting.collect()
            }
        }
    }

    /// The lease of whoever was killed is over: by the database's clock, which no
    /// test sets.
    pub(super) fn end_lease(&self) {
        if matches!(self, Self::Postgres(..)) {
            self.run("UPDATE wake_cursors SET held_until = now()");
        }
    }

    /// As if the duty had passed over everything, and forgotten it.
    pub(super) fn forget_owed(&self) {
        match self {
            Self::Embedded(_) => self.run(
                "DELETE FROM wakes;
                 UPDATE wake_cursor SET position = (SELECT position FROM log_head)",
            ),
            Self::Postgres(..) => self.run(
                "DELETE FROM wakes;
                 INSERT INTO wake_cursors (shard, position, holder, held_until)
                 SELECT shard, position, 0, now() FROM log_head
                     ON CONFLICT (shard) DO UPDATE SET position = excluded.position",
            ),
        }
    }

    /// As if each device were woken for what it has.
    pub(super) fn wake_all_for_nothing(&self) {
        match self {
            Self::Embedded(_) => self.run(
                "INSERT OR REPLACE INTO wakes (device, wake_id, position, tries, due_at_ms)
                 SELECT device, 1, cursor, 1, 9223372036854775807 FROM cursors",
            ),
            Self::Postgres(..) => self.run(
                "DELETE FROM wakes;
                 INSERT INTO wakes (device_key, wake_id, position, tries, due_at_ms)
                 SELECT device_key, 1, cursor[1], 1, 9223372036854775807 FROM cursors",
            ),
        }
    }
}
