//! Heat maps with contour lines as SVG files.

use maud::html;

use super::colours::colour;
use super::figure::figure;
use crate::page::Scale;

const PLOT: f64 = 380.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 48.0;
const GAP: f64 = 30.0;
/// Width of the bar of colours with its labels.
const LEGEND: f64 = 84.0;
/// Steps of the bar of colours.
const BAR: usize = 64;
/// Contour lines, about.
const CONTOURS: f64 = 12.0;

/// Values over a grid of points with the same coordinates in both axes.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// What the values are.
    pub title: String,
    /// The coordinates, in increasing order, at least 2.
    pub steps: Vec<f64>,
    /// Rows from the smallest y up, each from the smallest x on. Values that are not finite are left
    /// out.
    pub values: Vec<f64>,
}

/// Maps next to each other as one SVG file, for light and dark pages.
pub fn heat_maps(title: &str, maps: &[HeatMap]) -> String {
    let each = LEFT + PLOT + LEGEND;
    let width = maps.len() as f64 * (each + GAP);
    let height = TOP + PLOT + BOTTOM;
    let rules = "rect { shape-rendering: crispEdges; } \
                 .contour { fill: none; stroke: #fffc; stroke-width: .8; }";
    let content = html! {
        @for (i, map) in maps.iter().enumerate() {
            g transform=(format!("translate({:.1} 0)", i as f64 * (each + GAP))) { (map.content()) }
        }
    };
    figure(title, (width, height), rules, &content)
}

impl HeatMap {
    fn content(&self) -> maud::Markup {
        let size = self.steps.len();
        let cell = PLOT / size as f64;
        let scale = Scale::covering(self.values.iter().copied(), CONTOURS);
        let hex = |place: f64| {
            let [red, green, blue] = colour(place);
            format!("#{red:02x}{green:02x}{blue:02x}")
        };
        let place = |i: usize| LEFT + cell * (i as f64 + 0.5);
        let middle = |i: usize| TOP + PLOT - cell * (i as f64 + 0.5);
        let finite = self
            .values
            .iter()
            .enumerate()
            .filter(|(_, value)| value.is_finite());
        let labels = [0, (size - 1) / 2, size - 1];
        let bar = LEFT + PLOT + 16.0;
        html! {
            text x=(LEFT) y=(TOP - 10.0) font-weight="600" { (self.title) }
            @for (i, value) in finite {
                rect x=(px(LEFT + cell * (i % size) as f64))
                    y=(px(TOP + PLOT - cell * (i / size + 1) as f64))
                    width=(px(cell + 0.3)) height=(px(cell + 0.3)) fill=(hex(scale.place(*value))) {}
            }
            @for level in scale.ticks() {
                @let lines = self.contour(level, &|x, y| (LEFT + cell * (x + 0.5), TOP + PLOT - cell * (y + 0.5)));
                @if !lines.is_empty() { path.contour d=(lines) {} }
            }
            @for i in labels {
                text x=(px(place(i))) y=(TOP + PLOT + 16.0) text-anchor="middle" { (step(self.steps[i])) }
                text x=(LEFT - 6.0) y=(px(middle(i) + 4.0)) text-anchor="end" { (step(self.steps[i])) }
            }
            text x=(LEFT + PLOT) y=(TOP + PLOT + 36.0) text-anchor="end" { "first direction" }
            text x=(LEFT) y=(TOP + PLOT + 36.0) { "upwards: second direction" }
            @for i in 0..BAR {
                @let height = PLOT / BAR as f64;
                rect x=(bar) y=(px(TOP + PLOT - height * (i + 1) as f64)) width="14"
                    height=(px(height + 0.3)) fill=(hex((i as f64 + 0.5) / BAR as f64)) {}
            }
            @for value in scale.ticks() {
                text x=(bar + 19.0) y=(px(TOP + PLOT * (1.0 - scale.place(value)) + 4.0)) {
                    (scale.label(value))
                }
            }
        }
    }

    /// The lines on which the values are `level`, as the data of a path: marching squares with linear
    /// interpolation. `position` gives the coordinates of a point of the grid.
    fn contour(&self, level: f64, position: &dyn Fn(f64, f64) -> (f64, f64)) -> String {
        let size = self.steps.len();
        let mut path = String::new();
        for row in 0..size - 1 {
            for column in 0..size - 1 {
                // Around the cell.
                let corners = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(right, up)| {
                    let value = self.values[(row + up) * size + column + right];
                    ((column + right) as f64, (row + up) as f64, value - level)
                });
                if corners.iter().any(|corner| !corner.2.is_finite()) {
                    continue;
                }
                let mut crossings = Vec::new();
                for i in 0..4 {
                    let (a, b) = (corners[i], corners[(i + 1) % 4]);
                    if (a.2 < 0.0) != (b.2 < 0.0) {
                        let share = a.2 / (a.2 - b.2);
                        crossings.push((a.0 + share * (b.0 - a.0), a.1 + share * (b.1 - a.1)));
                    }
                }
                for pair in crossings.chunks_exact(2) {
                    let [from, to] = [pair[0], pair[1]].map(|(x, y)| position(x, y));
                    path.push_str(&format!(
                        "M{:.1} {:.1}L{:.1} {:.1}",
                        from.0, from.1, to.0, to.1
                    ));
                }
            }
        }
        path
    }
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// A coordinate with at most two decimals.
fn step(value: f64) -> String {
    ((value * 100.0).round() / 100.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contours_of_a_slope_are_straight() {
        let map = HeatMap {
            title: "x".to_string(),
            steps: vec![0.0, 1.0, 2.0],
            values: [0.0, 1.0, 2.0].repeat(3),
        };
        let path = map.contour(0.5, &|x, y| (x, y));
        assert_eq!(path, "M0.5 0.0L0.5 1.0M0.5 1.0L0.5 2.0");
        assert_eq!(map.contour(5.0, &|x, y| (x, y)), "");
    }

    #[test]
    fn values_that_are_not_finite_are_left_out() {
        let map = HeatMap {
            title: "a < b".to_string(),
            steps: vec![-1.0, 1.0],
            values: vec![0.0, 1.0, f64::NAN, 2.0],
        };
        let svg = heat_maps("maps", &[map]);
        assert_eq!(svg.matches("<rect").count(), 3 + BAR);
        assert!(svg.contains("a &lt; b") && !svg.contains("NaN"), "{svg}");
    }
}
