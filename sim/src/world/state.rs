//! A fingerprint of the world: two worlds with the same one have the same future.

use std::{
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hasher as _},
};

use super::World;

/// Hashes what is written.
struct Sink(DefaultHasher);

impl fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl World {
    /// What is in databases, processes and under way; not what was noted.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut sink = Sink(DefaultHasher::new());
        let written = self.write_state(&mut sink);
        debug_assert!(written.is_ok(), "hashing does not fail");
        sink.0.finish()
    }

    fn write_state(&self, sink: &mut Sink) -> fmt::Result {
        write!(sink, "{:?}{:?}{:?}", self.log, self.orphans, self.pushes)?;
        write!(sink, "{}", self.server_clock_ms)?;
        for device in &self.devices {
            device.write_state(sink)?;
        }
        for opened in &self.opened {
            for (age, number) in opened.iter().rev().enumerate() {
                let Some(connection) = self.connections.get(*number) else {
                    continue;
                };
                let session = self.sessions.get(number);
                let (up, down) = (&connection.up, &connection.down);
                if session.is_none() && down.is_empty() {
                    continue;
                }
                write!(sink, "{age}{session:?}{}{}", up.ended, down.ended)?;
                write!(sink, "{}{}", up.swallows, down.swallows)?;
                for frame in up.under_way() {
                    sink.0.write(frame);
                }
                sink.write_char('|')?;
                for frame in down.under_way() {
                    sink.0.write(frame);
                }
            }
        }
        Ok(())
    }
}
