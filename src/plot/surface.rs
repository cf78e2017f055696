//! Surfaces over a grid of points, projected to SVG files.

use maud::{Markup, html};

use super::colours::colour;
use super::figure::figure;
use super::heat_map::HeatMap;
use crate::page::Scale;

/// The size of a surface with its labels.
const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 430.0;
const TOP: f64 = 40.0;
/// The middle of the floor.
const CENTRE: (f64, f64) = (290.0, 270.0);
/// Half of a side of the floor, in pixels.
const HALF: f64 = 150.0;
/// The height of the axis of values.
const RISE: f64 = 170.0;
/// The view: turned about the vertical axis, and from above.
const TURN: f64 = 35.0;
const ELEVATION: f64 = 30.0;
/// Ticks of the axis of values, about.
const TICKS: f64 = 5.0;

/// Maps as surfaces next to each other in one SVG file, for light and dark pages: the height and the
/// colour show the value.
pub fn surfaces(title: &str, maps: &[HeatMap]) -> String {
    let size = (maps.len() as f64 * WIDTH, TOP + HEIGHT);
    let rules = ".axis { fill: none; stroke: currentColor; opacity: .5; } \
                 polygon { stroke: #0004; stroke-width: .5; stroke-linejoin: round; }";
    let content = html! {
        @for (i, map) in maps.iter().enumerate() {
            g transform=(format!("translate({:.1} {TOP})", i as f64 * WIDTH)) { (surface(map)) }
        }
    };
    figure(title, size, rules, &content)
}

/// The place on the page of a point of the box: x and y from -1 to 1, the value from 0 to 1.
fn project(x: f64, y: f64, value: f64) -> (f64, f64) {
    let (sin, cos) = TURN.to_radians().sin_cos();
    let (across, away) = (x * cos - y * sin, x * sin + y * cos);
    (
        CENTRE.0 + HALF * across,
        CENTRE.1 - HALF * ELEVATION.to_radians().sin() * away - RISE * value,
    )
}

fn surface(map: &HeatMap) -> Markup {
    let size = map.steps.len();
    let scale = Scale::covering(map.values.iter().copied(), TICKS);
    let coordinate = |i: usize| 2.0 * i as f64 / (size - 1) as f64 - 1.0;
    let place = |row: usize, column: usize| {
        let value = scale.place(map.values[row * size + column]);
        project(coordinate(column), coordinate(row), value)
    };
    // The far cells first: nearer ones cover them. Both coordinates grow away from the viewer.
    let cells = (0..size - 1).rev();
    let cells = cells.flat_map(|row| (0..size - 1).rev().map(move |column| (row, column)));
    let corners = |row: usize, column: usize| {
        [(0, 0), (0, 1), (1, 1), (1, 0)].map(|(up, right)| (row + up, column + right))
    };
    let mean = |row: usize, column: usize| {
        let values = corners(row, column).map(|(row, column)| map.values[row * size + column]);
        values.iter().sum::<f64>() / 4.0
    };
    let floor = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)];
    let floor = floor.map(|(x, y)| project(x, y, 0.0));
    let label = |i: usize| ((map.steps[i] * 100.0).round() / 100.0).to_string();
    html! {
        text x="40" y="14" font-weight="600" { (map.title) }
        polygon.axis points=(points(&floor)) {}
        @for (x, y) in [(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0)] {
            polyline.axis points=(points(&[project(x, y, 0.0), project(x, y, 1.0)])) {}
        }
        polyline.axis points=(points(&[(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0)].map(|(x, y)| project(x, y, 1.0)))) {}
        @for tick in scale.ticks() {
            @let (x, y) = project(-1.0, 1.0, scale.place(tick));
            polyline.axis points=(points(&[(x - 5.0, y), (x, y)])) {}
            text x=(px(x - 8.0)) y=(px(y + 4.0)) text-anchor="end" { (scale.label(tick)) }
        }
        @for (row, column) in cells {
            @let value = mean(row, column);
            @if value.is_finite() {
                @let [red, green, blue] = colour(scale.place(value));
                polygon fill=(format!("#{red:02x}{green:02x}{blue:02x}"))
                    points=(points(&corners(row, column).map(|(row, column)| place(row, column)))) {}
            }
        }
        @for i in [0, (size - 1) / 2, size - 1] {
            @let (x, y) = project(coordinate(i), -1.0, 0.0);
            text x=(px(x + 4.0)) y=(px(y + 16.0)) { (label(i)) }
            @let (x, y) = project(-1.0, coordinate(i), 0.0);
            text x=(px(x - 4.0)) y=(px(y + 16.0)) text-anchor="end" { (label(i)) }
        }
        @let (x, y) = project(0.0, -1.0, 0.0);
        text x=(px(x + 40.0)) y=(px(y + 34.0)) { "first direction" }
        @let (x, y) = project(-1.0, 0.0, 0.0);
        text x=(px(x - 40.0)) y=(px(y + 34.0)) text-anchor="end" { "second direction" }
    }
}

fn points(points: &[(f64, f64)]) -> String {
    let text = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}"));
    text.collect::<Vec<_>>().join(" ")
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bowl(size: usize) -> HeatMap {
        let steps: Vec<f64> = (0..size)
            .map(|i| i as f64 - (size - 1) as f64 / 2.0)
            .collect();
        let values = steps
            .iter()
            .flat_map(|y| steps.iter().map(move |x| x * x + y * y));
        HeatMap {
            title: "a < b".to_string(),
            values: values.collect(),
            steps,
        }
    }

    #[test]
    fn near_and_high_points_are_drawn_last_and_above() {
        let ((_, near), (_, far)) = (project(-1.0, -1.0, 0.0), project(1.0, 1.0, 0.0));
        assert!(near > far, "the page's y grows downwards");
        assert!(project(0.0, 0.0, 1.0).1 < project(0.0, 0.0, 0.0).1);
        let svg = surfaces("maps", &[bowl(3)]);
        let polygons: Vec<&str> = svg.split("<polygon fill").skip(1).collect();
        assert_eq!(polygons.len(), 4);
        // The corner that all cells share is the middle of the grid.
        let middle = points(&[project(0.0, 0.0, 0.0)]);
        assert!(polygons.iter().all(|cell| cell.contains(&middle)), "{svg}");
        let nearest = points(&[project(-1.0, -1.0, 1.0)]);
        assert!(polygons[3].contains(&nearest) && !polygons[0].contains(&nearest));
        assert!(svg.contains("a &lt; b"));
    }

    #[test]
    fn cells_with_values_that_are_not_finite_are_left_out() {
        let mut map = bowl(3);
        map.values[0] = f64::NAN;
        let svg = surfaces("maps", &[map]);
        assert_eq!(svg.matches("<polygon fill").count(), 3);
        assert!(!svg.contains("NaN"), "{svg}");
    }
}
