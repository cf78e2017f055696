//! Web pages in a single file without external resources, light and dark: what all pages share.

mod chart;
mod document;
mod scale;

#[cfg(feature = "study")]
pub(crate) use chart::Band;
pub(crate) use chart::{Curve, LineChart, standalone};
pub(crate) use document::{definitions, document, head, wide};
pub(crate) use scale::Scale;

/// Colours that most people can distinguish (Okabe and Ito, "Color Universal Design", 2008), as
/// classes `s0` to `s6`. The style of the page has one shade of each for light and one for dark pages.
const COLOURS: usize = 7;
/// Dashes that distinguish lines without colour.
const DASHES: [&str; 5] = ["none", "7 3", "2 3", "10 3 2 3", "14 4"];

/// The class of the colour of a series. Shapes with it use `currentColor`.
pub(crate) fn colour(index: usize) -> String {
    format!("s{}", index % COLOURS)
}

/// The dashes of a series. 7 colours and 5 dashes, which have no common factor, distinguish 35 lines.
pub(crate) fn dash(index: usize) -> &'static str {
    DASHES[index % DASHES.len()]
}
