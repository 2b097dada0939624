//! What each step does.

use std::time::Duration;

use magpie_protocol::{id::UserId, limits::ACK_DELAY, wire::v1};

use super::{
    Broken, Mutant, World,
    content::Content,
    log::Append,
    network::{Connection, Pipe},
    step::{Act, Step},
};

impl World {
    /// One thing happens.
    ///
    /// # Errors
    ///
    /// The first promise that is [`Broken`].
    pub fn step(&mut self, step: Step) -> Result<(), Broken> {
        if step.act.is_fault() {
            self.effort.faults += u64::from(self.fault(step)?);
        } else {
            self.happen(step)?;
        }
        self.check_cursors()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "faults are elsewhere")]
    fn happen(&mut self, step: Step) -> Result<(), Broken> {
        let Step { device, a, b, .. } = step;
        let user = UserId::new([u8::try_from(b).unwrap_or_default(); 16]);
        let context = self.context();
        match step.act {
            Act::HandIn => self.hand_in(device, a, Content::Text(b)),
            Act::Join => self.hand_in(device, a, Content::Join(user)),
            Act::Leave => self.hand_in(device, a, Content::Leave(user)),
            Act::Connect => drop(self.connect(device)?),
            Act::Send => {
                if let Some(it) = self.devices.get_mut(device) {
                    it.send(a, context);
                }
                self.flush_device(device)?;
            }
            Act::Up => {
                if let Some(connection) = self.connection(step) {
                    self.move_up(connection, a)?;
                }
            }
            Act::Down => self.move_down(device, a)?,
            Act::Commit => self.commit(step, a)?,
            Act::Deliver => self.deliver(step, a)?,
            Act::Store => self.store(device, a)?,
            Act::Ack => self.ack(device)?,
            Act::Ping => {
                if let Some(it) = self.devices.get_mut(device) {
                    it.ping(context.now);
                }
                self.flush_device(device)?;
            }
            Act::Wait => self.wait(Duration::from_micros(a as u64))?,
            Act::Tail => self.tail(),
            Act::Fence => self.fence(step)?,
            Act::Settle => self.settle(a),
            Act::Sleep => self.sleep(device),
            Act::Wake => self.wake(device),
            Act::WakeArrives => self.wake_arrives(device),
            Act::BackUp => {
                if let Some(it) = self.devices.get_mut(device) {
                    it.back_up();
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Something goes wrong. Whether it hit anything.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is no fault is elsewhere"
    )]
    fn fault(&mut self, step: Step) -> Result<bool, Broken> {
        let Step { device, a, b, .. } = step;
        let context = self.context();
        Ok(match step.act {
            Act::CommitFails => {
                let Some((connection, link)) = self.session(step) else {
                    return Ok(false);
                };
                let hit = link.waiting_count() > 0;
                link.commit_fails(a, context);
                self.flush_server(connection)?;
                hit
            }
            Act::CommitUnknown => {
                let batch = self.lose_answer(step, a)?;
                if b == 1 {
                    self.append(&batch);
                }
                !batch.is_empty()
            }
            Act::CommitLate => {
                let batch = self.lose_answer(step, a)?;
                let hit = !batch.is_empty();
                self.orphans.extend(Some(batch).filter(|_| hit));
                hit
            }
            Act::LoseBell => self
                .session(step)
                .is_some_and(|(_, link)| std::mem::take(&mut link.rung)),
            Act::Cut => {
                let newest = self.newest(device);
                newest.map(|it| it.cut(a, b)).is_some()
            }
            Act::HalfOpen => {
                let hit = self.newest(device).is_some();
                self.half_open(device);
                hit
            }
            Act::Repeat => self.tamper(device, b == 1, |it| it.repeat(a)),
            Act::Lose => self.tamper(device, b == 1, |it| it.lose(a)),
            Act::Replay => {
                let former = self
                    .connection(step)
                    .and_then(|it| self.connections.get(it));
                let again = former.map(Connection::replay);
                let hit = again.is_some();
                again.into_iter().for_each(|it| self.open(device, it));
                hit
            }
            Act::CrashDevice => self.crash_device(device, super::Device::crash),
            Act::RollBack => {
                self.rolled_back.insert(device);
                self.checked.remove(&device);
                self.crash_device(device, super::Device::roll_back)
            }
            Act::CrashServer => {
                self.crash_server();
                self.effort.kills += 1;
                true
            }
            Act::Restore => self.restore(a, b == 1),
            _ => self.unheard_fault(step),
        })
    }

    /// Something goes wrong that no process notices at once. Whether it hit anything.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are elsewhere")]
    fn unheard_fault(&mut self, step: Step) -> bool {
        let Step { device, a, b, .. } = step;
        match step.act {
            Act::Swallow => {
                let newest = self.newest(device);
                let pipe = newest.map(|it| if b == 1 { &mut it.up } else { &mut it.down });
                pipe.map(|it| it.swallows = true).is_some()
            }
            // How long it takes to store is the clock's to say.
            Act::Dawdle => self.newest(device).is_some(),
            Act::ServerClock => {
                self.server_clock_ms += jump_ms(a, b);
                true
            }
            Act::DeviceClock => {
                let it = self.devices.get_mut(device);
                it.map(|it| it.clock_ms += jump_ms(a, b)).is_some()
            }
            Act::WakeLost => {
                let hit = self.pushes.remove(&device);
                self.effort.wakes_lost += u64::from(hit);
                hit
            }
            _ => false,
        }
    }

    /// The connection that a step names.
    pub(super) fn connection(&self, step: Step) -> Option<usize> {
        let opened = self.opened.get(step.device)?;
        opened.get(opened.len().checked_sub(step.age + 1)?).copied()
    }

    fn session(&mut self, step: Step) -> Option<(usize, &mut super::ServerLink)> {
        let connection = self.connection(step)?;
        Some((connection, self.sessions.get_mut(&connection)?))
    }

    fn commit(&mut self, step: Step, count: usize) -> Result<(), Broken> {
        let context = self.context();
        let Some(connection) = self.connection(step) else {
            return Ok(());
        };
        let Some(link) = self.sessions.get_mut(&connection) else {
            return Ok(());
        };
        let appended = link.commit(count, &mut self.log, context);
        self.flush_server(connection)?;
        self.ring(&appended);
        Ok(())
    }

    fn ring(&mut self, appended: &[(usize, u64)]) {
        if let Some(last) = appended.last() {
            self.unsynced = appended.len();
            self.sessions.values_mut().for_each(|it| it.ring(*last));
        }
    }

    fn deliver(&mut self, step: Step, count: usize) -> Result<(), Broken> {
        let context = self.context();
        let Some(connection) = self.connection(step) else {
            return Ok(());
        };
        if let Some(link) = self.sessions.get_mut(&connection) {
            self.effort.paged += link.deliver(count, &mut self.log, context) as u64;
        }
        self.flush_server(connection)
    }

    fn ack(&mut self, device: usize) -> Result<(), Broken> {
        let soon = self.now + ACK_DELAY;
        if let Some(it) = self.devices.get_mut(device)
            && it.owes_ack(self.now)
        {
            it.handle_timeout(soon);
        }
        self.flush_device(device)
    }

    pub(super) fn tail(&mut self) {
        if self.mutant != Mutant::TrustsTheDoorbell {
            self.sessions.values_mut().for_each(|it| it.rung = true);
        }
    }

    fn fence(&mut self, step: Step) -> Result<(), Broken> {
        let context = self.context();
        let Some(connection) = self.connection(step) else {
            return Ok(());
        };
        if let Some(link) = self.sessions.get_mut(&connection)
            && link.is_fenced(&self.log)
        {
            link.end(v1::ErrorCode::Replaced, context);
        }
        self.flush_server(connection)
    }

    fn lose_answer(&mut self, step: Step, count: usize) -> Result<Vec<Append>, Broken> {
        let context = self.context();
        let Some(connection) = self.connection(step) else {
            return Ok(Vec::new());
        };
        let Some(link) = self.sessions.get_mut(&connection) else {
            return Ok(Vec::new());
        };
        let batch = link.commit_unknown(count, &self.log, context);
        self.flush_server(connection)?;
        Ok(batch)
    }

    fn append(&mut self, batch: &[Append]) {
        let context = self.context();
        let mut appended = Vec::new();
        for append in batch {
            let length = self.log.length();
            let at = self.log.append(append, context);
            appended.extend(at.filter(|_| self.log.length() > length));
        }
        self.ring(&appended);
    }

    pub(super) fn settle(&mut self, choice: usize) {
        if !self.orphans.is_empty() {
            let batch = self.orphans.remove(choice % self.orphans.len());
            self.append(&batch);
        }
    }

    pub(super) fn newest(&mut self, device: usize) -> Option<&mut Connection> {
        let link = self.devices.get(device)?.link.as_ref()?;
        self.connections.get_mut(link.connection)
    }

    /// The device connects anew, and the server goes on with the old connection:
    /// what is under way on it still arrives.
    fn half_open(&mut self, device: usize) {
        let Some(it) = self.devices.get_mut(device) else {
            return;
        };
        let connection = it.link.as_ref().map(|link| link.connection);
        it.lose_connection(self.mutant);
        if let Some(network) = connection.and_then(|it| self.connections.get_mut(it)) {
            network.up.silent = true;
        }
    }

    fn tamper(&mut self, device: usize, up: bool, how: impl Fn(&mut Pipe) -> bool) -> bool {
        let Some(connection) = self.newest(device) else {
            return false;
        };
        let Connection {
            up: to_server,
            down,
            tampered,
            ..
        } = connection;
        let hit = how(if up { to_server } else { down });
        *tampered |= hit;
        hit
    }

    fn crash_device(
        &mut self,
        device: usize,
        how: impl Fn(&mut super::Device, magpie_protocol::moment::Moment, Mutant),
    ) -> bool {
        let (now, mutant) = (self.now, self.mutant);
        let Some(it) = self.devices.get_mut(device) else {
            return false;
        };
        let connection = it.link.as_ref().map(|link| link.connection);
        how(it, now, mutant);
        if let Some(network) = connection.and_then(|index| self.connections.get_mut(index)) {
            network.up.ended = true;
            network.down.cut(0);
        }
        true
    }

    /// Only the log is left. A batch under way may still be committed.
    fn crash_server(&mut self) {
        for connection in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.end_session(connection);
        }
        if self.mutant == Mutant::AnswersBeforeCommit {
            self.log.forget(self.unsynced);
            self.checked.clear();
        }
        self.unsynced = 0;
    }

    fn restore(&mut self, lost: usize, is_former: bool) -> bool {
        if is_former && !self.log.has_former() {
            return false;
        }
        self.crash_server();
        // What was under way to the old database never reaches the new one.
        self.orphans.clear();
        self.log.restore(lost, is_former, self.mutant);
        self.checked.clear();
        true
    }

    fn sleep(&mut self, device: usize) {
        let may = |it: &super::Device| it.local.outbox.is_empty() && !it.fresh;
        if self.devices.get(device).is_some_and(may) {
            self.hang_up(device);
            if let Some(it) = self.devices.get_mut(device) {
                it.asleep = true;
            }
        }
    }

    /// A push is due when what the device has confirmed is behind something that
    /// is for it; one is under way at a time (D8).
    pub(super) fn wake(&mut self, device: usize) {
        let Some(it) = self.devices.get(device) else {
            return;
        };
        let owed = self.log.is_owed(it.id, it.user);
        let (head, epoch) = (self.log.head(), self.log.epoch());
        let Some(row) = self.log.rows.get_mut(&it.id) else {
            return;
        };
        let again = row.woken.is_some() || row.lowered;
        let is_due = (owed && !(row.woken.is_some() && self.mutant == Mutant::WakesOnce))
            || self.mutant == Mutant::WakesForNothing;
        if !is_due || !self.pushes.insert(device) {
            return;
        }
        self.wakes.push(magpie_audit::Wake {
            device,
            at: super::device::micros(self.now),
            epoch,
            owed: head.sum(),
            confirmed: row.confirmed.sum(),
            again,
        });
        (row.woken, row.lowered) = (Some(head), false);
        self.effort.wakes += 1;
    }

    pub(super) fn wake_arrives(&mut self, device: usize) {
        if self.pushes.remove(&device)
            && let Some(it) = self.devices.get_mut(device)
        {
            it.asleep = false;
        }
    }

    pub(super) fn wait(&mut self, time: Duration) -> Result<(), Broken> {
        self.now = self.now + time;
        for device in 0..self.devices.len() {
            self.time_out_device(device)?;
        }
        for connection in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.time_out_session(connection)?;
        }
        Ok(())
    }

    pub(super) fn time_out_device(&mut self, device: usize) -> Result<(), Broken> {
        let context = self.context();
        let Some(it) = self.devices.get_mut(device) else {
            return Ok(());
        };
        if self.mutant == Mutant::ResendsOnTimer {
            it.resend(context);
        }
        let alive = it.handle_timeout(context.now);
        self.flush_device(device)?;
        if !alive {
            self.hang_up(device);
        }
        Ok(())
    }

    pub(super) fn time_out_session(&mut self, connection: usize) -> Result<(), Broken> {
        let now = self.now;
        let link = self.sessions.get_mut(&connection);
        let alive = link.is_none_or(|link| link.handle_timeout(now));
        self.flush_server(connection)?;
        if !alive {
            self.end_session(connection);
        }
        Ok(())
    }
}

/// How far a clock jumps by so many seconds, ahead if `b` is 1.
fn jump_ms(seconds: usize, b: usize) -> i64 {
    let ms = i64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
    if b == 1 { ms } else { -ms }
}
