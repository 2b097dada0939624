//! The tables of docs/benchmarks.md, and what its plots show.

use anyhow::Context as _;
use serde_json::Value;

use super::{
    Figures, NEVER,
    plot::{Chart, Line, Scale},
    rows::Rows,
};
use crate::report::grouped;

/// The tables stand between these lines.
const BEGIN: &str = "<!-- figures begin: made by `magpie-bench page` -->\n";
const END: &str = "<!-- figures end -->\n";

const IN_FLIGHT: [u32; 4] = [1, 4, 16, 64];
const RATES: [u32; 3] = [2_000, 10_000, 20_000];

/// `text` with other tables.
///
/// # Errors
///
/// It has no place for them.
pub(super) fn replace(text: &str, tables: &str) -> anyhow::Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .context("no line where tables begin")?;
    let (_, after) = rest.split_once(END).context("no line where tables end")?;
    Ok(format!("{before}{BEGIN}{tables}{END}{after}"))
}

/// All tables, in Markdown.
pub(super) fn tables(figures: &Figures) -> String {
    let mut text = String::new();
    for store in figures.stores() {
        text.push_str(&format!("\n### {}\n\n", title(store)));
        let rows = Rows::of(figures, store);
        let rows = rows.iter().map(|row| row.as_slice());
        table(
            &mut text,
            &["what", "figure", "beside the floor", "wanted"],
            rows,
        );
        text.push_str(&format!("\n{}\n", faults(figures, store)));
        let kept = kept(figures, store);
        if !kept.is_empty() {
            text.push_str("\nThe tables after all of it:\n\n");
            table(&mut text, &KEPT, kept.iter().map(Vec::as_slice));
        }
    }
    text.push_str("\n### Floors in the same runs\n\n");
    let floors = floors(figures);
    let mut columns = vec!["what"];
    columns.extend(figures.stores().into_iter().map(title));
    table(&mut text, &columns, floors.iter().map(Vec::as_slice));
    text.push('\n');
    text
}

fn title(store: &str) -> &str {
    match store {
        "embedded" => "Embedded store",
        "postgresql" => "PostgreSQL",
        "postgresql-2" => "PostgreSQL, two shards",
        other => other,
    }
}

fn table<'a>(text: &mut String, columns: &[&str], rows: impl Iterator<Item = &'a [String]>) {
    text.push_str(&format!("| {} |\n", columns.join(" | ")));
    text.push_str(&format!("|{}\n", " --- |".repeat(columns.len())));
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
}

/// Whether anything went wrong, in any run.
fn faults(figures: &Figures, store: &str) -> String {
    let mut found = String::new();
    let of_store = figures
        .0
        .iter()
        .filter(|it| it.get("store") == Some(&store.into()));
    for figure in of_store.clone() {
        for name in NEVER {
            let count = figure.get(name).and_then(Value::as_f64).unwrap_or_default();
            if count > 0.0 {
                let kind = figure
                    .get("type")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                found.push_str(&format!(" {kind}: {count} {name}."));
            }
        }
    }
    let runs = of_store.filter_map(|it| it.get("runs")?.as_u64()).max();
    let runs = match runs {
        Some(1) => "One run".to_owned(),
        runs => format!("Medians of {} runs", runs.unwrap_or_default()),
    };
    if found.is_empty() {
        format!("{runs}. Nothing was refused, lost, doubled or disordered.")
    } else {
        format!("{runs}. **Wrong:**{found}")
    }
}

/// Columns of [`kept`].
const KEPT: [&str; 7] = [
    "table",
    "rows",
    "updates",
    "of them HOT",
    "dead rows",
    "pages",
    "pages of indexes",
];

/// A row for each of the database's tables that was looked at.
fn kept(figures: &Figures, store: &str) -> Vec<Vec<String>> {
    let tables = figures.0.iter().filter_map(|it| {
        let name = it.get("table")?.as_str()?;
        (it.get("store") == Some(&store.into())).then_some(name)
    });
    let row = |name: &str| {
        let settings = [("table", name.into())];
        let count = |field| figures.number(store, "table", &settings, field);
        let shown = |field| count(field).map(grouped).unwrap_or_default();
        let hot = count("hot_updates").zip(count("updates").filter(|all| *all > 0.0));
        let hot = hot.map(|(hot, all)| format!("{:.1} %", 100.0 * hot / all));
        vec![
            format!("`{name}`"),
            shown("live_rows"),
            shown("updates"),
            hot.unwrap_or_default(),
            shown("dead_rows"),
            shown("pages"),
            shown("index_pages"),
        ]
    };
    tables.map(row).collect()
}

/// A row for each floor, with a column for each store.
fn floors(figures: &Figures) -> Vec<Vec<String>> {
    let rate = |value: f64| format!("{}/s", grouped(value));
    let ms = |value: f64| format!("{value:.2} ms");
    type Show<'a> = &'a dyn Fn(f64) -> String;
    let rows: [(&str, &str, Show<'_>); 14] = [
        (
            "TLS echo, 100 connections, 1 in flight",
            "echo_1_per_second",
            &rate,
        ),
        (
            "TLS echo, 100 connections, 16 in flight",
            "echo_16_per_second",
            &rate,
        ),
        ("`fdatasync` of 4 KiB, p50", "fdatasync_ms/p50", &ms),
        ("`fdatasync` of 4 KiB, p99", "fdatasync_ms/p99", &ms),
        ("SQLite, 1 row a commit", "sqlite_1_rows_per_second", &rate),
        (
            "SQLite, 500 rows a commit",
            "sqlite_500_rows_per_second",
            &rate,
        ),
        (
            "PostgreSQL, 1 row a commit",
            "postgres_1_rows_per_second",
            &rate,
        ),
        ("… p50", "postgres_1_commit_ms/p50", &ms),
        ("… p99", "postgres_1_commit_ms/p99", &ms),
        (
            "the store's append, 1 message a batch",
            "append_1_rows_per_second",
            &rate,
        ),
        ("… p50", "append_1_commit_ms/p50", &ms),
        (
            "the store's append, 500 messages a batch",
            "append_500_rows_per_second",
            &rate,
        ),
        ("… p50", "append_500_commit_ms/p50", &ms),
        ("… p99", "append_500_commit_ms/p99", &ms),
    ];
    let stores = figures.stores();
    let row = |(what, name, show): (&str, &str, Show<'_>)| {
        let values: Vec<_> = stores
            .iter()
            .map(|store| figures.number(store, "floor", &[], name))
            .collect();
        let is_there = values.iter().any(Option::is_some);
        is_there.then(|| {
            let shown = values
                .into_iter()
                .map(|it| it.map(show).unwrap_or_default());
            std::iter::once(what.to_owned()).chain(shown).collect()
        })
    };
    rows.into_iter().filter_map(row).collect()
}

/// Messages a second by messages in flight, and the floors.
pub(super) fn throughput(figures: &Figures) -> Chart {
    let mut lines = Vec::new();
    for store in figures.stores() {
        let rate = |in_flight: u32| {
            let settings = [("in_flight", in_flight.into())];
            figures.number(store, "pairs", &settings, "delivered_per_second")
        };
        lines.push(Line {
            name: title(store).to_owned(),
            of: store.to_owned(),
            dashed: false,
            values: IN_FLIGHT.map(rate).to_vec(),
        });
        let floor = figures.number(store, "floor", &[], "append_500_rows_per_second");
        if floor.is_some() && store == "postgresql" {
            lines.push(Line {
                name: "PostgreSQL, its floor of 500 rows".to_owned(),
                of: store.to_owned(),
                dashed: true,
                values: vec![floor; IN_FLIGHT.len()],
            });
        }
    }
    Chart {
        title: "100 pairs: messages a second, accepted and delivered".to_owned(),
        across: "messages in flight of each sender".to_owned(),
        places: IN_FLIGHT.map(|it| it.to_string()).to_vec(),
        scale: Scale::Linear,
        lines,
    }
}

/// Latency by offered rate.
pub(super) fn latency(figures: &Figures) -> Chart {
    let mut lines = Vec::new();
    for store in figures.stores() {
        for (percentile, dashed) in [("p50", false), ("p99", true)] {
            let ms = |rate: u32| {
                let name = format!("deliver_ms/{percentile}");
                figures.number(store, "open", &[("rate", rate.into())], &name)
            };
            lines.push(Line {
                name: format!("{}, {percentile}", title(store)),
                of: store.to_owned(),
                dashed,
                values: RATES.map(ms).to_vec(),
            });
        }
    }
    Chart {
        title: "Open loop: milliseconds from due to delivered".to_owned(),
        across: "messages a second offered".to_owned(),
        places: RATES.map(|it| grouped(it.into())).to_vec(),
        scale: Scale::Logarithmic,
        lines,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures() -> Figures {
        let pairs = |in_flight: u32, rate: f64, lost: f64| {
            json!({"store": "postgresql", "type": "pairs", "in_flight": in_flight, "runs": 5,
                   "delivered_per_second": rate, "lost": lost,
                   "deliver_ms": {"p50": 1.0, "p90": 2.0, "p99": 3.0},
                   "least": {"delivered_per_second": rate - 500.0},
                   "most": {"delivered_per_second": rate + 500.0}})
        };
        Figures(vec![
            json!({"store": "postgresql", "type": "floor", "append_500_rows_per_second": 80_000.0,
                   "postgres_1_commit_ms": {"p50": 0.5, "p99": 2.0}}),
            pairs(16, 44_000.0, 0.0),
            pairs(1, 11_000.0, 3.0),
            json!({"store": "postgresql", "type": "open", "rate": 2_000,
                   "deliver_ms": {"p50": 1.5, "p90": 2.0, "p99": 20.0}}),
            json!({"store": "postgresql", "type": "table", "table": "log_head", "live_rows": 1,
                   "updates": 2_000, "hot_updates": 1_999, "dead_rows": 7, "pages": 3,
                   "index_pages": 2}),
        ])
    }

    #[test]
    fn figures_stand_beside_their_floors_and_goals() {
        let tables = tables(&figures());
        for line in [
            "| 100 pairs, 16 in flight | 44,000 messages/s (43,500 to 44,500) \
             | 0.55 of the rows/s with 500 rows a commit \
             | at least 40,000: yes, at least 0.45: yes |",
            "| 100 pairs, 1 in flight | 11,000 messages/s (10,500 to 11,500) \
             | 0.14 of the rows/s with 500 rows a commit | at least 12,000: **no** |",
            "| open loop, 2,000 a second, send to deliver | p50 1.5 ms, p90 2.0 ms, p99 20.0 ms \
             | p50 +1.0 ms, p99 +18.0 ms to commits of 1 row \
             | at most p50 +2 ms: yes, at most p99 +15 ms: **no** |",
            "Medians of 5 runs. **Wrong:** pairs: 3 lost.",
            "| `log_head` | 1 | 2,000 | 100.0 % | 7 | 3 | 2 |",
        ] {
            assert!(tables.contains(line), "{line}\nis not in\n{tables}");
        }
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("before\n{BEGIN}old\n{END}after\n");
        let again = replace(&text, "new\n").unwrap();
        assert_eq!(again, format!("before\n{BEGIN}new\n{END}after\n"));
        assert!(replace("no marks", "new").is_err());
    }

    #[test]
    fn plots_show_every_measured_point() {
        let svg = throughput(&figures()).to_svg();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("stroke-dasharray"), "no floor in {svg}");
        assert!(latency(&figures()).to_svg().contains("20"));
    }
}
