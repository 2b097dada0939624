//! The figures of one store, beside their floors and what is wanted of them.

use serde_json::Value;

use super::Figures;
use crate::report::grouped;

/// What the store's figures are to reach, and the floors they stand on.
pub(super) struct Wanted {
    in_flight_16: f64,
    in_flight_1: f64,
    /// Of the rows a second of the floor with 500 rows a commit.
    of_floor: Option<f64>,
    /// Milliseconds that p50 and p99 of the open loop at 2,000/s may lie above
    /// those of commits of one row.
    above_floor: Option<(f64, f64)>,
    sign_ins: Option<f64>,
    idle_kib: f64,
    /// The name of the floor with 500 rows a commit, and of that with one.
    floors: (&'static str, &'static str),
}

impl Wanted {
    pub(super) fn of(store: &str) -> Self {
        if store == "embedded" {
            return Self {
                in_flight_16: 15_000.0,
                in_flight_1: 5_000.0,
                of_floor: None,
                above_floor: None,
                sign_ins: None,
                idle_kib: 16.0,
                floors: ("sqlite_500_rows_per_second", "sqlite_1_commit_ms"),
            };
        }
        let one_shard = store == "postgresql";
        Self {
            in_flight_16: if one_shard { 40_000.0 } else { 50_000.0 },
            in_flight_1: 12_000.0,
            of_floor: one_shard.then_some(0.45),
            above_floor: Some((2.0, 15.0)),
            sign_ins: Some(1_000.0),
            idle_kib: 16.0,
            floors: ("append_500_rows_per_second", "postgres_1_commit_ms"),
        }
    }
}

/// A row: what, its figure, the figure against its floor, what is wanted.
pub(super) type Row = [String; 4];

/// The rows of one store.
pub(super) struct Rows<'a> {
    figures: &'a Figures,
    store: &'a str,
    wanted: Wanted,
    rows: Vec<Row>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(figures: &'a Figures, store: &'a str) -> Vec<Row> {
        let mut rows = Self {
            figures,
            store,
            wanted: Wanted::of(store),
            rows: Vec::new(),
        };
        rows.pairs(16, Some(rows.wanted.in_flight_16), rows.wanted.of_floor);
        rows.pairs(1, Some(rows.wanted.in_flight_1), None);
        rows.pairs(4, None, None);
        rows.pairs(64, None, None);
        rows.open(2_000, rows.wanted.above_floor);
        rows.open(10_000, None);
        rows.open(20_000, None);
        rows.sign_in(false, rows.wanted.sign_ins);
        rows.sign_in(true, None);
        rows.new_device();
        rows.fan_out(1_000, 1_000);
        rows.fan_out(10_000, 5_000);
        rows.uploads(50);
        rows.uploads(200);
        rows.idle();
        rows.wakes();
        rows.silent();
        rows.flood();
        rows.returns(true, "a restart");
        rows.returns(false, "`kill -9`");
        rows.rows
    }

    fn pairs(&mut self, in_flight: u32, wanted: Option<f64>, of_floor: Option<f64>) {
        let settings = [("in_flight", in_flight.into())];
        let Some(rate) = self.number("pairs", &settings, "delivered_per_second") else {
            return;
        };
        let range = self.range("pairs", &settings, "delivered_per_second");
        let floor = self.number("floor", &[], self.wanted.floors.0);
        let ratio = floor.map(|floor| rate / floor);
        let floor = ratio.map(|ratio| format!("{ratio:.2} of the rows/s with 500 rows a commit"));
        let mut goals = Vec::new();
        goals.extend(wanted.map(|it| at_least(&grouped(it), rate >= it)));
        let of_floor = of_floor.zip(ratio);
        goals.extend(of_floor.map(|(it, ratio)| at_least(&format!("{it:.2}"), ratio >= it)));
        self.push(
            &format!("100 pairs, {in_flight} in flight"),
            format!("{} messages/s{range}", grouped(rate)),
            floor.unwrap_or_default(),
            goals.join(", "),
        );
        self.distribution("pairs", &settings, "send to accept", "accept_ms");
        self.distribution("pairs", &settings, "send to deliver", "deliver_ms");
        self.cpu("pairs", &settings);
    }

    fn open(&mut self, rate: u32, wanted: Option<(f64, f64)>) {
        let settings = [("rate", rate.into())];
        let percentile = |it| self.number("open", &settings, &format!("deliver_ms/{it}"));
        let (Some(p50), Some(p99)) = (percentile("p50"), percentile("p99")) else {
            return;
        };
        let floor = |it| self.number("floor", &[], &format!("{}/{it}", self.wanted.floors.1));
        let above = floor("p50")
            .zip(floor("p99"))
            .map(|(p50_floor, p99_floor)| (p50 - p50_floor, p99 - p99_floor));
        let beside = above
            .map(|(p50, p99)| format!("p50 {p50:+.1} ms, p99 {p99:+.1} ms to commits of 1 row"));
        let goals = wanted.zip(above).map(|((p50_max, p99_max), (p50, p99))| {
            let p50 = at_most(&format!("p50 {p50_max:+} ms"), p50 <= p50_max);
            let p99 = at_most(&format!("p99 {p99_max:+} ms"), p99 <= p99_max);
            format!("{p50}, {p99}")
        });
        self.push(
            &format!(
                "open loop, {} a second, send to deliver",
                grouped(rate.into())
            ),
            self.shown("open", &settings, "deliver_ms"),
            beside.unwrap_or_default(),
            goals.unwrap_or_default(),
        );
        self.cpu("open", &settings);
    }

    fn sign_in(&mut self, resume: bool, wanted: Option<f64>) {
        let settings = [("resume", resume.into())];
        let Some(rate) = self.number("sign_in", &settings, "per_second") else {
            return;
        };
        let range = self.range("sign_in", &settings, "per_second");
        let tls = if resume {
            "resumed"
        } else {
            "full TLS handshake"
        };
        self.push(
            &format!("sign-ins with a token, {tls}"),
            format!("{} a second{range}", grouped(rate)),
            String::new(),
            wanted
                .map(|it| at_least(&grouped(it), rate >= it))
                .unwrap_or_default(),
        );
        self.cpu("sign_in", &settings);
    }

    fn new_device(&mut self) {
        let number = |name| self.number("new_device", &[], name);
        let (Some(conversations), Some(p99)) = (number("conversations"), number("shown_ms/p99"))
        else {
            return;
        };
        let what = format!(
            "a new device with {} conversations shows the 50 most recent",
            grouped(conversations)
        );
        let shown = self.shown("new_device", &[], "shown_ms");
        let goal = at_most("p99 1 s", p99 <= 1_000.0);
        self.push(&what, shown, String::new(), goal);
        self.distribution("new_device", &[], "all of them", "all_ms");
        self.cpu("new_device", &[]);
    }

    /// Goals of the requirements on large groups.
    fn fan_out(&mut self, members: u32, online: u32) {
        let settings = [("members", members.into()), ("online", online.into())];
        let number = |name| self.number("fan_out", &settings, name);
        let Some(p99) = number("all_ms/p99") else {
            return;
        };
        let (accept, meanwhile) = (number("accept_ratio"), number("meanwhile_ratio"));
        let first = number("first_ms");
        let what = format!("one message to {} members", grouped(members.into()));
        let who = match members == online {
            true => "all have it".to_owned(),
            false => format!("all {} who are online have it", grouped(online.into())),
        };
        let shown = self.shown("fan_out", &settings, "all_ms");
        let goal = at_most("p99 1 s", p99 <= 1_000.0);
        self.push(&format!("{what}, {who}"), shown, String::new(), goal);
        if let Some(first) = first {
            let figure = format!("{} ms", grouped(first));
            self.push(
                "… the first, of a new group",
                figure,
                String::new(),
                String::new(),
            );
        }
        let ratios = [
            (
                "… send to accept",
                "accept_ms",
                accept,
                "of that with 10",
                1.5,
            ),
            (
                "… others meanwhile",
                "meanwhile_ms",
                meanwhile,
                "of idle",
                2.0,
            ),
        ];
        for (what, name, ratio, of, goal) in ratios {
            if let Some(ratio) = ratio {
                let shown = self.shown("fan_out", &settings, name);
                let goal = at_most(&format!("{goal}"), ratio <= goal);
                self.push(what, shown, format!("{ratio:.2} {of}"), goal);
            }
        }
    }

    /// Goals of the requirements on photos: with 50 for who talks, with 200 for memory.
    fn uploads(&mut self, count: u32) {
        let settings = [("uploads", count.into())];
        let number = |name| self.number("uploads", &settings, name);
        let Some(rate) = number("megabytes_per_second") else {
            return;
        };
        let (ratio, resident) = (number("meanwhile_ratio"), number("resident_mib"));
        let range = self.range("uploads", &settings, "megabytes_per_second");
        let figure = format!("{rate:.0} MB/s{range}");
        self.push(
            &format!("{count} uploads at once"),
            figure,
            String::new(),
            String::new(),
        );
        if let Some(ratio) = ratio {
            let shown = self.shown("uploads", &settings, "meanwhile_ms");
            let goal = match count {
                50 => at_most("2", ratio <= 2.0),
                _ => String::new(),
            };
            let beside = format!("p99 {ratio:.2} of idle");
            self.push("… others meanwhile", shown, beside, goal);
        }
        if let Some(resident) = resident {
            let figure = format!("{resident:.0} MiB");
            let goal = match count {
                200 => at_most("190 MiB", resident <= 190.0),
                _ => String::new(),
            };
            self.push("… the server's memory", figure, String::new(), goal);
        }
    }

    fn idle(&mut self) {
        let Some(each) = self.number("idle", &[], "resident_kib_each") else {
            return;
        };
        let goal = self.wanted.idle_kib;
        let range = self.range("idle", &[], "resident_kib_each");
        self.push(
            "idle, signed-in connection at 5,000",
            format!("{each:.1} KiB{range}"),
            String::new(),
            at_most(&format!("{goal} KiB"), each <= goal),
        );
    }

    /// Goals of the requirements on pushes.
    fn wakes(&mut self) {
        let number = |name| self.number("wakes", &[], name);
        let Some(p99) = number("wire_ms/p99") else {
            return;
        };
        let (rate, fresh) = (number("wakes_per_second"), number("fresh_ratio"));
        let outstanding = number("outstanding_ratio");
        let goal = at_most("p99 100 ms", p99 <= 100.0);
        let what = "sleeping devices, 500 a second, commit to push on the wire";
        let shown = self.shown("wakes", &[], "wire_ms");
        self.push(what, shown, String::new(), goal);
        if let Some(rate) = rate {
            let range = self.range("wakes", &[], "wakes_per_second");
            let figure = format!("{} a second{range}", grouped(rate));
            let goal = at_least("3,000", rate >= 3_000.0);
            self.push("… pushes, all at once", figure, String::new(), goal);
        }
        let groups = [
            (
                "… send to accept, 1,000 being woken",
                "fresh_ms",
                fresh,
                1.5,
            ),
            (
                "… send to accept, 1,000 woken",
                "outstanding_ms",
                outstanding,
                1.1,
            ),
        ];
        for (what, name, ratio, goal) in groups {
            let beside = ratio.map(|it| format!("{it:.2} of that with 10"));
            let goal = ratio.map(|it| at_most(&format!("{goal}"), it <= goal));
            let shown = self.shown("wakes", &[], name);
            self.push(
                what,
                shown,
                beside.unwrap_or_default(),
                goal.unwrap_or_default(),
            );
        }
    }

    fn silent(&mut self) {
        let number = |name| self.number("silent", &[], name);
        let Some(open) = number("open") else { return };
        let each = number("resident_kib_each");
        let above = number("above_percent").zip(number("drift_percent"));
        let closed = number("mute_closed_ms/max").zip(number("greeted_closed_ms/max"));
        let sign_in = number("sign_in_ms/p99");
        let what = format!("{} silent connections, each", grouped(open));
        if let Some(each) = each {
            let goal = at_most("48 KiB", each <= 48.0);
            self.push(&what, format!("{each:.1} KiB"), String::new(), goal);
        }
        if let Some((above, drift)) = above {
            let figure = format!("{above:+.1} %, from the first round to the last {drift:+.1} %");
            let goal = at_most("+5 %", above <= 5.0);
            self.push("… memory afterwards", figure, String::new(), goal);
        }
        if let Some((mute, greeted)) = closed {
            let (mute, greeted) = (mute / 1_000.0, greeted / 1_000.0);
            let figure = format!("without a byte {mute:.1} s, after TLS {greeted:.1} s");
            let goal = at_most("11 s and 16 s", mute <= 11.0 && greeted <= 16.0);
            self.push("… closed after, at most", figure, String::new(), goal);
        }
        if let Some(p99) = sign_in {
            let shown = self.shown("silent", &[], "sign_in_ms");
            let goal = at_most("p99 2 s", p99 <= 2_000.0);
            self.push("… sign-in with a password", shown, String::new(), goal);
        }
    }

    fn flood(&mut self) {
        let number = |name| self.number("flood", &[], name);
        let (Some(rate), Some(p99)) = (number("flood_per_second"), number("accept_ms/p99")) else {
            return;
        };
        self.push(
            &format!(
                "flood of {} TLS handshakes a second, others send to accept",
                grouped(rate)
            ),
            self.shown("flood", &[], "accept_ms"),
            String::new(),
            at_most("p99 1 s", p99 <= 1_000.0),
        );
    }

    fn returns(&mut self, announced: bool, after: &str) {
        let settings = [("announced", announced.into())];
        let number = |name| self.number("return", &settings, name);
        let (Some(count), Some(all)) = (number("connections"), number("all_back_seconds")) else {
            return;
        };
        let missing = number("missing").unwrap_or_default();
        let chat = number("accept_ms/p99");
        self.push(
            &format!("{} devices are back after {after}", grouped(count)),
            format!("{all:.1} s"),
            String::new(),
            at_most("10 s", all <= 10.0 && missing == 0.0),
        );
        if let Some(p99) = chat {
            let shown = self.shown("return", &settings, "accept_ms");
            let goal = at_most("p99 250 ms", p99 <= 250.0);
            let what = "… meanwhile, send to accept of those who are back";
            self.push(what, shown, String::new(), goal);
        }
    }

    fn distribution(&mut self, kind: &str, settings: &[(&str, Value)], what: &str, name: &str) {
        let shown = self.shown(kind, settings, name);
        self.push(&format!("… {what}"), shown, String::new(), String::new());
    }

    /// Where the processor time goes, as far as it was asked for.
    fn cpu(&mut self, kind: &str, settings: &[(&str, Value)]) {
        let parts = [
            ("server", "server_cpu_us"),
            ("database", "database_cpu_us"),
            ("load generator", "own_cpu_us"),
        ];
        let shown: Vec<String> = parts
            .into_iter()
            .filter_map(|(who, name)| {
                let micros = self.number(kind, settings, name)?;
                Some(format!("{who} {micros:.1} µs"))
            })
            .collect();
        if !shown.is_empty() {
            self.push(
                "… processor time each",
                shown.join(", "),
                String::new(),
                String::new(),
            );
        }
    }

    fn number(&self, kind: &str, settings: &[(&str, Value)], name: &str) -> Option<f64> {
        self.figures.number(self.store, kind, settings, name)
    }

    /// The extremes of several runs, in parentheses.
    fn range(&self, kind: &str, settings: &[(&str, Value)], name: &str) -> String {
        let extreme = |which| self.number(kind, settings, &format!("{which}/{name}"));
        match (extreme("least"), extreme("most")) {
            (Some(least), Some(most)) if least < most => {
                let [least, most] = [least, most].map(|it| {
                    if it < 100.0 {
                        format!("{it:.1}")
                    } else {
                        grouped(it)
                    }
                });
                format!(" ({least} to {most})")
            }
            (_, _) => String::new(),
        }
    }

    fn shown(&self, kind: &str, settings: &[(&str, Value)], name: &str) -> String {
        let parts = ["p50", "p90", "p99"].into_iter().filter_map(|it| {
            let ms = self.number(kind, settings, &format!("{name}/{it}"))?;
            Some(format!("{it} {ms:.1} ms"))
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    fn push(&mut self, what: &str, figure: String, floor: String, wanted: String) {
        self.rows.push([what.to_owned(), figure, floor, wanted]);
    }
}

fn at_least(goal: &str, met: bool) -> String {
    format!("at least {goal}: {}", verdict(met))
}

fn at_most(goal: &str, met: bool) -> String {
    format!("at most {goal}: {}", verdict(met))
}

fn verdict(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}
