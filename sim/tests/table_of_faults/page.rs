//! The table as it stands in `docs/reliability.md`.

use std::fmt::{Debug, Write as _};

use super::{Area, Cell, Fault, cells::CELLS, rows};

pub(super) const BEGIN: &str = "<!-- faults: written by the code -->\n";
pub(super) const END: &str = "<!-- end of faults -->\n";

impl Area {
    const fn title(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Database => "The server's database",
            Self::Network => "The network",
            Self::Time => "Time",
            Self::Pushes => "Pushes",
            Self::Nodes => "Several nodes",
            Self::Stored => "What is stored",
        }
    }
}

fn names<T: Debug>(all: &[T]) -> String {
    let names: Vec<String> = all.iter().map(|it| format!("`{it:?}`")).collect();
    names.join(", ")
}

fn tests(all: &[&str]) -> String {
    let names: Vec<String> = all.iter().map(|it| format!("`{it}`")).collect();
    names.join(", ")
}

fn row(number: usize, fault: &Fault) -> String {
    let Fault {
        name,
        weights,
        mutants,
        tests: all,
        remark,
        ..
    } = fault;
    let parts = [tests(all), (*remark).to_owned()];
    let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    let (weights, mutants) = (names(weights), names(mutants));
    format!(
        "| {number} | {name} | {weights} | {mutants} | {} |\n",
        parts.join(". ")
    )
}

fn cell(cell: &Cell) -> String {
    let Cell {
        moment,
        rule,
        mutants,
        tests: all,
    } = cell;
    let (mutants, all) = (names(mutants), tests(all));
    format!("| {moment} | {rule} | {mutants} | {all} |\n")
}

/// Both tables.
pub(super) fn page() -> String {
    let mut page = String::new();
    let mut number = 0;
    for area in Area::ALL {
        writeln!(page, "\n**{}**\n", area.title()).unwrap();
        page +=
            "| | fault | simulated as | mistakes that it finds | tried on the real thing by |\n";
        page += "| --- | --- | --- | --- | --- |\n";
        for fault in rows::all().filter(|it| it.area == area) {
            number += 1;
            page += &row(number, fault);
        }
    }
    page += "\n**Moments that are easy to get wrong**\n\n";
    page += "| fault and moment | what must be true | mistakes that are found | tried on the real thing by |\n";
    page += "| --- | --- | --- | --- |\n";
    for it in CELLS {
        page += &cell(it);
    }
    page.push('\n');
    page
}
