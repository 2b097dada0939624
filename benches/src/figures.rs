//! What is made of many runs' JSON lines: medians, tables, plots.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    path::Path,
};

use anyhow::Context as _;
use serde_json::Value;

use crate::args;

mod medians;
mod page;
mod plot;
mod rows;

/// Counts of what must not happen, in whatever was measured: the worst run counts, not
/// the median.
const NEVER: [&str; 7] = [
    "refused",
    "lost",
    "disordered",
    "immortal",
    "sign_ins_failed",
    "missing",
    "broke_again",
];

/// Prints the medians of a file of figures, a JSON line for each thing that was
/// measured.
///
/// # Errors
///
/// The file is not one of figures, or standard output is closed.
pub(crate) fn medians(args: &args::Medians) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    for median in medians::of(&read(&args.figures)?) {
        writeln!(out, "{median}")?;
    }
    Ok(())
}

/// Makes tables and plots of a file of medians.
///
/// # Errors
///
/// The file is not one of medians, or something cannot be written.
pub(crate) fn page(args: &args::Page) -> anyhow::Result<()> {
    use std::io::Write as _;
    let figures = Figures(read(&args.medians)?);
    let tables = page::tables(&figures);
    match &args.docs {
        Some(path) => {
            let text = fs::read_to_string(path);
            let text = text.with_context(|| format!("{} is not readable", path.display()))?;
            fs::write(path, page::replace(&text, &tables)?)?;
        }
        None => std::io::stdout().lock().write_all(tables.as_bytes())?,
    }
    let Some(dir) = &args.plots else {
        return Ok(());
    };
    fs::create_dir_all(dir)?;
    for (name, chart) in [
        ("throughput.svg", page::throughput(&figures)),
        ("latency.svg", page::latency(&figures)),
    ] {
        fs::write(dir.join(name), chart.to_svg())?;
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let file = fs::File::open(path);
        Box::new(file.with_context(|| format!("{} is not readable", path.display()))?)
    };
    let lines = BufReader::new(file).lines();
    let parsed = lines.map(|line| Ok(serde_json::from_str(&line?)?));
    let all: anyhow::Result<Vec<Value>> = parsed.collect();
    all.with_context(|| format!("{} does not hold JSON lines", path.display()))
}

/// Medians, one object for each thing that was measured.
pub(crate) struct Figures(Vec<Value>);

impl Figures {
    /// Which stores were measured, in the order of the file.
    fn stores(&self) -> Vec<&str> {
        let mut stores: Vec<&str> = Vec::new();
        for store in self.0.iter().filter_map(|it| it.get("store")?.as_str()) {
            if !stores.contains(&store) {
                stores.push(store);
            }
        }
        stores
    }

    /// What was measured with this store and these settings.
    fn find(&self, store: &str, kind: &str, settings: &[(&str, Value)]) -> Option<&Value> {
        self.0.iter().find(|it| {
            let is = |field: &str, value: &Value| it.get(field) == Some(value);
            is("store", &store.into())
                && is("type", &kind.into())
                && settings.iter().all(|(field, value)| is(field, value))
        })
    }

    /// A figure of it: a name, or a name and one within it, `deliver_ms/p99`.
    fn number(
        &self,
        store: &str,
        kind: &str,
        settings: &[(&str, Value)],
        name: &str,
    ) -> Option<f64> {
        self.find(store, kind, settings)
            .and_then(|it| it.pointer(&format!("/{name}"))?.as_f64())
    }
}
