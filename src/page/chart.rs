//! Line charts as SVG.

use maud::{Markup, PreEscaped, html};

use super::document::SERIES;
use super::scale::Scale;
use super::{colour, dash};

const WIDTH: f64 = 480.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const PLOT: f64 = 230.0;
/// From the plot to the legend.
const AXIS: f64 = 44.0;
const LINE: f64 = 18.0;
/// The width of a character of the legend, about.
const CHARACTER: f64 = 6.7;
/// Points of a line are drawn as dots if it has at most this many.
const DOTS: usize = 20;

/// A line of a chart.
pub(crate) struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its colour and dashes.
    pub style: usize,
    /// Points (x, y) in the order of x. A value that is not finite interrupts the line.
    pub points: Vec<(f64, f64)>,
}

/// The spread around a line: its lower and upper ends.
pub(crate) struct Band {
    /// The style of its line.
    pub style: usize,
    /// Points (x, low, high) in the order of x.
    pub points: Vec<(f64, f64, f64)>,
}

/// Lines over numbers. If all are whole, such as epochs, so are the ticks.
pub(crate) struct LineChart {
    /// What the y axis shows, with its unit.
    pub title: String,
    /// What the x axis shows.
    pub x: &'static str,
    /// The lines.
    pub curves: Vec<Curve>,
}

impl LineChart {
    /// The chart as an `svg` element.
    pub(crate) fn svg(&self) -> Markup {
        self.svg_with(&[])
    }

    /// The chart with bands behind its lines, as an `svg` element.
    pub(crate) fn svg_with(&self, bands: &[Band]) -> Markup {
        let (width, height) = self.size();
        html! {
            svg viewBox=(format!("0 0 {width} {height}")) role="img"
                aria-label=(format!("{} over {}: {}", self.title, self.x, self.names())) {
                (self.content(bands))
            }
        }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self
            .curves
            .iter()
            .map(|curve| curve.name.as_str())
            .collect();
        names.join(", ")
    }

    /// The width and the height of the chart.
    fn size(&self) -> (f64, f64) {
        let rows = self.curves.len().div_ceil(self.legend_columns());
        (WIDTH, TOP + PLOT + AXIS + LINE * rows as f64)
    }

    /// Columns of the legend, as many as its longest name allows.
    fn legend_columns(&self) -> usize {
        let longest = self.curves.iter().map(|curve| curve.name.chars().count());
        let longest = 44.0 + CHARACTER * longest.max().unwrap_or(0) as f64;
        (((WIDTH - LEFT - RIGHT) / longest) as usize).max(1)
    }

    fn content(&self, bands: &[Band]) -> Markup {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let xs = || points().map(|point| point.0);
        let x_scale = match xs().all(|x| x.fract() == 0.0) {
            true => Scale::whole(xs(), 8.0),
            false => Scale::covering(xs(), 8.0),
        };
        let ends = bands.iter().flat_map(|band| &band.points);
        let ends = ends.flat_map(|(_, low, high)| [*low, *high]);
        let y_scale = Scale::covering(points().map(|point| point.1).chain(ends), 7.0);
        let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * x_scale.place(value);
        let y = |value: f64| TOP + PLOT * (1.0 - y_scale.place(value));
        let columns = self.legend_columns();
        let cell = (WIDTH - LEFT - RIGHT) / columns as f64;
        let right = WIDTH - RIGHT;
        html! {
            text x="0" y="14" font-weight="600" { (self.title) }
            @for value in y_scale.ticks() {
                line.grid x1=(LEFT) x2=(right) y1=(px(y(value))) y2=(px(y(value))) {}
                text x=(LEFT - 7.0) y=(px(y(value) + 4.0)) text-anchor="end" { (y_scale.label(value)) }
            }
            @for value in x_scale.ticks() {
                text x=(px(x(value))) y=(TOP + PLOT + 17.0) text-anchor="middle" { (value) }
            }
            text x=(right) y=(TOP + PLOT + 34.0) text-anchor="end" { (self.x) }
            @for band in bands {
                @let low = band.points.iter().map(|(x, low, _)| (*x, *low));
                @let high = band.points.iter().rev().map(|(x, _, high)| (*x, *high));
                polygon class=(colour(band.style)) fill="currentColor" opacity="0.15"
                    points=(low.chain(high).map(|point| {
                        format!("{:.1},{:.1}", x(point.0), y(point.1))
                    }).collect::<Vec<_>>().join(" ")) {}
            }
            @for curve in &self.curves {
                g class=(colour(curve.style)) {
                    @for part in parts(&curve.points) {
                        polyline.line stroke-dasharray=(dash(curve.style))
                            points=(part.iter().map(|point| {
                                format!("{:.1},{:.1}", x(point.0), y(point.1))
                            }).collect::<Vec<_>>().join(" ")) {}
                        @if curve.points.len() <= DOTS {
                            @for point in part {
                                circle.dot cx=(px(x(point.0))) cy=(px(y(point.1))) r="2.6" {}
                            }
                        }
                    }
                }
            }
            @for (i, curve) in self.curves.iter().enumerate() {
                @let left = LEFT + cell * (i % columns) as f64;
                @let base = TOP + PLOT + AXIS + LINE * (i / columns) as f64 + 8.0;
                g class=(colour(curve.style)) {
                    line.line x1=(px(left)) x2=(px(left + 28.0)) y1=(base - 4.0) y2=(base - 4.0)
                        stroke-dasharray=(dash(curve.style)) {}
                }
                text x=(px(left + 34.0)) y=(base) { (curve.name) }
            }
        }
    }
}

/// A coordinate without digits that nobody sees.
fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// The parts of a line between values that are not finite.
fn parts(points: &[(f64, f64)]) -> impl Iterator<Item = &[(f64, f64)]> {
    let parts = points.split(|point| !point.1.is_finite());
    parts.filter(|part| !part.is_empty())
}

/// Charts in rows as an SVG file, for light and dark pages.
pub(crate) fn standalone(title: &str, charts: &[LineChart]) -> String {
    const GAP: f64 = 24.0;
    const MARGIN: f64 = 12.0;
    const HEADING: f64 = 34.0;
    const COLUMNS: usize = 4;
    let each = charts
        .iter()
        .map(|chart| chart.size().1)
        .fold(0.0, f64::max);
    let width = charts.len().min(COLUMNS) as f64 * (WIDTH + GAP) - GAP + 2.0 * MARGIN;
    let rows = charts.len().div_ceil(COLUMNS).max(1) as f64;
    let height = HEADING + rows * each + (rows - 1.0) * GAP + MARGIN;
    let left = |i: usize| MARGIN + (i % COLUMNS) as f64 * (WIDTH + GAP);
    let top = |i: usize| HEADING + (i / COLUMNS) as f64 * (each + GAP);
    let style = "
        svg { color: #1f2328; --line: #8884; font-family: system-ui, sans-serif; font-size: 12px; }
        text { fill: currentColor; } .grid { stroke: var(--line); } .dot { fill: currentColor; }
        .line { fill: none; stroke: currentColor; stroke-width: 2; }
        @media (prefers-color-scheme: dark) { svg { color: #e6edf3; } }";
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
            viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(title) {
            style { (PreEscaped(style)) (PreEscaped(SERIES)) }
            text x=(MARGIN) y="22" font-size="16" font-weight="600" { (title) }
            @for (i, chart) in charts.iter().enumerate() {
                g transform=(format!("translate({} {})", left(i), top(i))) {
                    (chart.content(&[]))
                }
            }
        }
    };
    svg.into_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        let curve = |i: usize| Curve {
            name: format!("<run {i}>"),
            style: i,
            points: points.clone(),
        };
        LineChart {
            title: "loss".to_string(),
            x: "epoch",
            curves: (0..3).map(curve).collect(),
        }
    }

    #[test]
    fn lines_are_drawn_and_names_escaped() {
        let svg = chart(vec![(1.0, 0.5), (2.0, 0.25)]).svg().into_string();
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(
            svg.contains("&lt;run 2&gt;") && svg.contains("role=\"img\""),
            "{svg}"
        );
        assert!(svg.contains("class=\"s1\""), "{svg}");
    }

    #[test]
    fn the_axis_covers_bands() {
        let chart = chart(vec![(1.0, 0.5), (2.0, 0.6)]);
        let band = Band {
            style: 1,
            points: vec![(1.0, 0.0, 1.0), (2.0, 0.1, 4.9)],
        };
        let svg = chart.svg_with(&[band]).into_string();
        assert_eq!(svg.matches("<polygon class=\"s1\"").count(), 1);
        assert!(
            svg.contains(">5</text>") || svg.contains(">5.0</text>"),
            "{svg}"
        );
        assert!(!chart.svg().into_string().contains("<polygon"));
    }

    #[test]
    fn a_value_that_is_not_finite_interrupts_a_line() {
        let points = vec![(1.0, 0.5), (2.0, f64::NAN), (3.0, 0.25), (4.0, 0.2)];
        let svg = chart(points).svg().into_string();
        assert_eq!(svg.matches("<polyline").count(), 6);
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn a_file_holds_all_charts() {
        let charts = [chart(vec![(1.0, 0.5)]), chart(Vec::new())];
        let svg = standalone("a & b", &charts);
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &amp; b") && svg.contains("prefers-color-scheme"));
        assert_eq!(svg.matches("translate(").count(), 2);
    }
}
