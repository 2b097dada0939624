//! A chart of lines, as SVG.

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// The plotted area: left, top, right, bottom.
const AREA: [f64; 4] = [80.0, 44.0, 500.0, 360.0];

/// How far up a value lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scale {
    /// From 0.
    Linear,
    /// In powers of ten.
    Logarithmic,
}

/// A line of values, one for each place of the chart; a place may be empty.
pub(super) struct Line {
    pub(super) name: String,
    /// Lines of the same thing have the same colour.
    pub(super) of: String,
    /// A dashed line has no points: it is a floor or a tail.
    pub(super) dashed: bool,
    pub(super) values: Vec<Option<f64>>,
}

/// What is shown.
pub(super) struct Chart {
    pub(super) title: String,
    /// What the places are.
    pub(super) across: String,
    pub(super) places: Vec<String>,
    pub(super) scale: Scale,
    pub(super) lines: Vec<Line>,
}

impl Chart {
    /// A complete document.
    pub(super) fn to_svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
        );
        text(
            &mut svg,
            AREA[0],
            24.0,
            "start\" font-weight=\"bold",
            &self.title,
        );
        let (low, high, ticks) = self.range();
        let up = |value: f64| {
            let [value, low, high] = [value, low, high].map(|it| self.scaled(it));
            AREA[3] - (value - low) / (high - low) * (AREA[3] - AREA[1])
        };
        for tick in ticks {
            let y = up(tick);
            path(&mut svg, &[(AREA[0], y), (AREA[2], y)], "#dddddd", "1");
            text(&mut svg, AREA[0] - 8.0, y + 4.0, "end", &short(tick));
        }
        for (index, place) in self.places.iter().enumerate() {
            text(
                &mut svg,
                self.across(index),
                AREA[3] + 20.0,
                "middle",
                place,
            );
        }
        let middle = f64::midpoint(AREA[0], AREA[2]);
        text(&mut svg, middle, AREA[3] + 44.0, "middle", &self.across);
        for (row, line) in self.lines.iter().enumerate() {
            let colour = self.colour(line);
            let values = line.values.iter().enumerate();
            let points: Vec<(f64, f64)> = values
                .filter_map(|(index, value)| Some((self.across(index), up((*value)?))))
                .collect();
            let style = if line.dashed {
                "2\" stroke-dasharray=\"6 4"
            } else {
                "2"
            };
            path(&mut svg, &points, colour, style);
            if !line.dashed {
                for (x, y) in &points {
                    put(
                        &mut svg,
                        &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"),
                    );
                }
            }
            let y = AREA[1] + 20.0 * row as f64 + 8.0;
            path(
                &mut svg,
                &[(AREA[2] + 16.0, y), (AREA[2] + 44.0, y)],
                colour,
                style,
            );
            text(
                &mut svg,
                AREA[2] + 52.0,
                y + 4.0,
                "start\" font-size=\"11",
                &line.name,
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// The lowest and the highest shown value, and those with a line across.
    fn range(&self) -> (f64, f64, Vec<f64>) {
        let values = || {
            self.lines
                .iter()
                .flat_map(|line| line.values.iter().flatten())
        };
        let most = values().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let least = values().copied().fold(most, f64::min).max(0.001);
        match self.scale {
            Scale::Linear => {
                let unit = 10_f64.powf(most.log10().floor());
                let steps = [0.2, 0.5, 1.0, 2.0].map(|it| it * unit);
                let step = steps.into_iter().find(|step| most / step <= 6.0);
                let step = step.unwrap_or(unit);
                let count = (most / step).ceil() as u32;
                let ticks = (0..=count).map(|it| f64::from(it) * step).collect();
                (0.0, f64::from(count) * step, ticks)
            }
            Scale::Logarithmic => {
                let (low, high) = (least.log10().floor() as i32, most.log10().ceil() as i32);
                let high = high.max(low + 1);
                let ticks = (low..=high).map(|it| 10_f64.powi(it)).collect();
                (10_f64.powi(low), 10_f64.powi(high), ticks)
            }
        }
    }

    fn scaled(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
        }
    }

    fn across(&self, index: usize) -> f64 {
        let each = (AREA[2] - AREA[0]) / self.places.len().max(1) as f64;
        AREA[0] + each * (index as f64 + 0.5)
    }

    fn colour(&self, line: &Line) -> &'static str {
        const COLOURS: [&str; 4] = ["#1b6ca8", "#c8553d", "#3b8b4f", "#7d4e9e"];
        let mut things: Vec<&str> = self.lines.iter().map(|it| it.of.as_str()).collect();
        things.dedup();
        let index = things.iter().position(|it| *it == line.of);
        let index = index.unwrap_or_default() % COLOURS.len();
        COLOURS.get(index).copied().unwrap_or("#000000")
    }
}

fn path(svg: &mut String, points: &[(f64, f64)], colour: &str, width: &str) {
    let points: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let points = points.join(" ");
    put(
        svg,
        &format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
        ),
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    put(
        svg,
        &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222222\">{text}</text>"
        ),
    );
}

fn put(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

/// A tick's value: 80,000 or 0.1.
fn short(value: f64) -> String {
    if value >= 100.0 {
        crate::report::grouped(value)
    } else {
        format!("{value}")
    }
}
