//! Who and what a schedule can strike, and how.

use std::{
    slice,
    thread::sleep,
    time::{Duration, Instant},
};

use magpie_sim::proxy::{CommitProxy, Proxy};

use crate::{
    database::Database,
    listener::Listener,
    pair::{Group, Pair},
    plan::until_or,
    schedule::{Client, Fault, Net, Schedule},
    town::{Home, Server, Town},
    writer::Writer,
};

/// All that is there. What is missing cannot be struck.
pub(crate) struct Stage<'stage> {
    server: &'stage mut Server,
    writers: &'stage mut [Writer],
    listeners: &'stage mut [Listener],
    clients: Option<&'stage Proxy>,
    connections: Option<&'stage Proxy>,
    commits: Option<&'stage CommitProxy>,
    database: Option<&'stage Database>,
    standby: Option<&'stage Database>,
}

impl<'stage> Stage<'stage> {
    pub(crate) fn of_pair(pair: &'stage mut Pair) -> Self {
        Self {
            server: &mut pair.town.server,
            writers: slice::from_mut(&mut pair.writer),
            listeners: slice::from_mut(&mut pair.listener),
            clients: None,
            connections: None,
            commits: None,
            database: None,
            standby: None,
        }
    }

    pub(crate) fn of_group(town: &'stage mut Town, group: &'stage mut Group) -> Self {
        Self {
            server: &mut town.server,
            writers: &mut group.writers,
            listeners: &mut group.listeners,
            clients: None,
            connections: None,
            commits: None,
            database: None,
            standby: None,
        }
    }

    /// With a proxy between clients and server.
    pub(crate) const fn behind(mut self, clients: &'stage Proxy) -> Self {
        self.clients = Some(clients);
        self
    }

    /// With a database of its own.
    pub(crate) const fn over(mut self, database: &'stage Database) -> Self {
        self.database = Some(database);
        self
    }

    /// With a proxy between server and database.
    pub(crate) const fn through(mut self, connections: &'stage Proxy) -> Self {
        self.connections = Some(connections);
        self
    }

    /// With a proxy that breaks commits.
    pub(crate) const fn committing(mut self, commits: &'stage CommitProxy) -> Self {
        self.commits = Some(commits);
        self
    }

    /// With a standby of the database.
    pub(crate) const fn with_standby(mut self, standby: &'stage Database) -> Self {
        self.standby = Some(standby);
        self
    }

    /// Lets every fault strike, and what it stopped go on. Half-open connections
    /// stay so: their ends must find out.
    pub(crate) fn play(mut self, schedule: &Schedule) {
        let began_at = Instant::now();
        for (at, fault) in &schedule.0 {
            sleep((began_at + *at).saturating_duration_since(Instant::now()));
            self.strike(*fault);
        }
        self.server.signal("CONT");
        for proxy in [self.clients, self.connections].into_iter().flatten() {
            proxy.cut_none();
            proxy.pass();
        }
        if let Some(connections) = self.connections {
            // The kernel ends what is half-open, after TCP_USER_TIMEOUT. Not here,
            // where it is the proxy that is silent and not the network.
            connections.cut_all();
        }
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::KillServer => {
                self.server.kill();
                self.server.start();
            }
            Fault::StopServer => self.server.signal("STOP"),
            Fault::ContinueServer => self.server.signal("CONT"),
            Fault::Kill(client) => self.kill(client),
            Fault::Save(client) => self.with_killed(client, |home, _, _| home.save()),
            Fault::RollBack(client) => self.roll_back(client),
            Fault::LoseCommit(fate) => {
                let commits = there(self.commits, "a proxy that breaks commits");
                let struck = commits.struck();
                commits.strike(fate);
                until_or(
                    "a commit meets its fate",
                    || commits.struck() > struck,
                    || self.server.said(),
                );
            }
            Fault::FillDisk(lasts) => {
                let cluster = self.database().cluster();
                cluster.fill_disk().unwrap();
                sleep(lasts);
                cluster.clear_disk().unwrap();
            }
            Fault::RestartPostgres => self.database().restart(),
            Fault::KillPostgres => self.database().kill_and_restart(),
            Fault::EndBackends(count) => self.database().end_backends(count),
            Fault::FailOver => self.fail_over(),
            Fault::Cut(net)
            | Fault::CutInMidFrame(net, _)
            | Fault::HalfOpen(net)
            | Fault::Stall(net, ..)
            | Fault::Swallow(net, ..)
            | Fault::Delay(net, ..)
            | Fault::Refuse(net, _) => strike_net(self.net(net), fault),
        }
    }

    fn database(&self) -> &'stage Database {
        there(self.database, "a database of its own")
    }

    fn net(&self, net: Net) -> &'stage Proxy {
        let proxy = match net {
            Net::Clients => self.clients,
            Net::Database => self.connections,
        };
        there(proxy, &format!("a proxy for {net}"))
    }

    fn kill(&mut self, client: Client) {
        match client {
            Client::Writer(index) => {
                self.writers[index].kill();
                self.writers[index].start();
            }
            Client::Listener(index) => {
                self.listeners[index].kill();
                self.listeners[index].start();
            }
        }
    }

    /// Kills all clients of a home, does something to it, and starts them again.
    fn with_killed(
        &mut self,
        client: Client,
        change: impl FnOnce(&Home, &mut [&mut Writer], &mut [&mut Listener]),
    ) {
        let home = match client {
            Client::Writer(index) => self.writers[index].home.clone(),
            Client::Listener(index) => self.listeners[index].home.clone(),
        };
        let is_there = |other: &Home| other.device == home.device;
        let writers = self.writers.iter_mut().filter(|it| is_there(&it.home));
        let listeners = self.listeners.iter_mut().filter(|it| is_there(&it.home));
        let (mut writers, mut listeners): (Vec<_>, Vec<_>) =
            (writers.collect(), listeners.collect());
        listeners.iter_mut().for_each(|it| it.kill());
        writers.iter_mut().for_each(|it| it.kill());
        change(&home, &mut writers, &mut listeners);
        listeners.iter_mut().for_each(|it| it.start());
        writers.iter_mut().for_each(|it| it.start());
    }

    fn roll_back(&mut self, client: Client) {
        let owed: Vec<usize> = self.writers.iter().map(Writer::owes).collect();
        let devices: Vec<String> = self
            .writers
            .iter()
            .map(|it| it.home.device.clone())
            .collect();
        self.with_killed(client, |home, writers, listeners| {
            home.roll_back();
            for writer in writers {
                let before = devices.iter().position(|it| *it == writer.home.device);
                writer.forget(before.map_or(0, |index| owed[index]));
            }
            listeners.iter_mut().for_each(|it| it.forget());
        });
    }

    fn fail_over(&self) {
        let standby = there(self.standby, "a standby");
        self.database().cluster().kill().unwrap();
        standby.promote();
        self.net(Net::Database).redirect(standby.address());
    }
}

/// What a schedule asks for and the test has not got.
fn there<T>(it: Option<T>, what: &str) -> T {
    it.unwrap_or_else(|| panic!("this test has not got {what}"))
}

fn strike_net(proxy: &Proxy, fault: Fault) {
    if let Fault::CutInMidFrame(_, lasts) = fault {
        proxy.cut_each_after(500..=20_000);
        proxy.cut_all();
        sleep(lasts);
        proxy.cut_none();
    } else if let Fault::Stall(_, direction, lasts) = fault {
        proxy.stall(direction);
        sleep(lasts);
        proxy.pass();
    } else if let Fault::Swallow(_, direction, lasts) = fault {
        proxy.swallow(direction);
        sleep(lasts);
        proxy.cut_all();
        proxy.pass();
    } else if let Fault::Delay(_, direction, by, lasts) = fault {
        proxy.delay(direction, by);
        sleep(lasts);
        proxy.pass();
    } else if let Fault::Refuse(_, lasts) = fault {
        proxy.refuse();
        sleep(lasts);
        proxy.pass();
    } else if let Fault::HalfOpen(_) = fault {
        proxy.half_open_all();
    } else {
        proxy.cut_all();
    }
}

/// How long a fault keeps the schedule from going on.
pub(crate) const fn lasts(fault: Fault) -> Duration {
    match fault {
        Fault::CutInMidFrame(_, lasts)
        | Fault::Stall(_, _, lasts)
        | Fault::Swallow(_, _, lasts)
        | Fault::Delay(_, _, _, lasts)
        | Fault::Refuse(_, lasts)
        | Fault::FillDisk(lasts) => lasts,
        Fault::KillServer
        | Fault::StopServer
        | Fault::ContinueServer
        | Fault::Kill(_)
        | Fault::Save(_)
        | Fault::RollBack(_)
        | Fault::Cut(_)
        | Fault::HalfOpen(_)
        | Fault::LoseCommit(_)
        | Fault::RestartPostgres
        | Fault::KillPostgres
        | Fault::EndBackends(_)
        | Fault::FailOver => Duration::ZERO,
    }
}
