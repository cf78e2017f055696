//! The colours of heat maps.

/// Colours from dark to light that grow evenly in lightness and that people with colour blindness can
/// tell apart: every eighth of the map viridis (van der Walt and Smith, 2015).
const VIRIDIS: [[f64; 3]; 9] = [
    [68.0, 1.0, 84.0],
    [71.0, 44.0, 122.0],
    [59.0, 81.0, 139.0],
    [44.0, 113.0, 142.0],
    [33.0, 144.0, 141.0],
    [39.0, 173.0, 129.0],
    [92.0, 200.0, 99.0],
    [170.0, 220.0, 50.0],
    [253.0, 231.0, 37.0],
];

/// The colour of a value in [0, 1], red, green, blue.
pub(super) fn colour(value: f64) -> [u8; 3] {
    let place = value.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place as usize).min(VIRIDIS.len() - 2);
    let share = place - below as f64;
    let (low, high) = (VIRIDIS[below], VIRIDIS[below + 1]);
    std::array::from_fn(|i| (low[i] + share * (high[i] - low[i])).round() as u8)
}
