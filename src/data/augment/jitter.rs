//! Random brightness, contrast, saturation and hue, as torchvision's `ColorJitter`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::op::Op;
use crate::data::image::Image;
use crate::data::random::Draw;

/// How much brightness, contrast, saturation and hue vary.
///
/// Factors are uniform in `[max(0, 1 - x), 1 + x]` and the turn of the hue in `[-hue, hue]`; the four
/// changes have a random order. In files, one number for the first three, or a list of three or four.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Values", into = "Values")]
pub struct ColorJitter {
    /// The largest distance of the brightness factor from 1.
    pub brightness: f64,
    /// The largest distance of the contrast factor from 1.
    pub contrast: f64,
    /// The largest distance of the saturation factor from 1.
    pub saturation: f64,
    /// The largest turn of the hue, a share of the colour circle, at most 0.5.
    pub hue: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list of 3 or 4 numbers")]
enum Values {
    One(f64),
    List(Vec<f64>),
}

impl ColorJitter {
    /// One number for brightness, contrast and saturation, or a number for each, with or without hue.
    ///
    /// # Errors
    /// If there are 0, 2 or more than 4 numbers.
    pub fn from_values(values: &[f64]) -> Result<Self, String> {
        let (brightness, contrast, saturation, hue) = match *values {
            [all] => (all, all, all, 0.0),
            [brightness, contrast, saturation] => (brightness, contrast, saturation, 0.0),
            [brightness, contrast, saturation, hue] => (brightness, contrast, saturation, hue),
            _ => {
                return Err(format!(
                    "{} values, must be 1, 3 or 4: brightness, contrast, saturation, hue",
                    values.len()
                ));
            }
        };
        Ok(Self {
            brightness,
            contrast,
            saturation,
            hue,
        })
    }

    /// The numbers, as [`from_values`](Self::from_values) takes them.
    pub fn values(&self) -> Vec<f64> {
        let factors = [self.brightness, self.contrast, self.saturation];
        if self.hue != 0.0 {
            [&factors[..], &[self.hue]].concat()
        } else if factors.iter().all(|x| *x == factors[0]) {
            vec![factors[0]]
        } else {
            factors.to_vec()
        }
    }

    /// The range that a value is not in, if there is one.
    pub fn broken_range(&self) -> Option<&'static str> {
        let factors = [self.brightness, self.contrast, self.saturation];
        if !factors.iter().all(|x| (0.0..=MOST).contains(x)) {
            Some("between 0 and 1000 for brightness, contrast and saturation")
        } else if !(0.0..=0.5).contains(&self.hue) {
            Some("between 0 and 0.5 for the hue")
        } else if self.values() == [0.0] {
            Some("above 0 for one of brightness, contrast, saturation and hue")
        } else {
            None
        }
    }

    /// Draws the changes to an image.
    fn draw(&self, draw: &mut Draw) -> Vec<Op> {
        let order = draw.permutation(4);
        let factor =
            |x: f64, draw: &mut Draw| draw.range((1.0 - x).max(0.0) as f32, (1.0 + x) as f32);
        let ops = [
            (
                self.brightness,
                Op::Brightness(factor(self.brightness, draw)),
            ),
            (self.contrast, Op::Contrast(factor(self.contrast, draw))),
            (self.saturation, Op::Color(factor(self.saturation, draw))),
            (
                self.hue,
                Op::Hue(f64::from(draw.range(-self.hue as f32, self.hue as f32))),
            ),
        ];
        let chosen = order.into_iter().map(|i| ops[i]);
        chosen.filter(|(x, _)| *x > 0.0).map(|(_, op)| op).collect()
    }

    /// Draws changes and applies them to `image`.
    pub(super) fn apply(&self, image: &mut Image, draw: &mut Draw) {
        for op in self.draw(draw) {
            op.apply(image);
        }
    }
}

/// Larger factors give images of two values.
const MOST: f64 = 1000.0;

impl TryFrom<Values> for ColorJitter {
    type Error = String;

    fn try_from(values: Values) -> Result<Self, String> {
        match values {
            Values::One(value) => Self::from_values(&[value]),
            Values::List(values) => Self::from_values(&values),
        }
    }
}

impl FromStr for ColorJitter {
    type Err = String;

    /// Reads the numbers with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.trim().parse::<f64>().ok();
            number.ok_or_else(|| format!("'{text}' is not a number"))
        };
        let values: Vec<f64> = text.split(',').map(number).collect::<Result<_, _>>()?;
        let jitter = Self::from_values(&values)?;
        match jitter.broken_range() {
            None => Ok(jitter),
            Some(expected) => Err(format!("must be {expected}")),
        }
    }
}

impl From<ColorJitter> for Values {
    fn from(jitter: ColorJitter) -> Self {
        match jitter.values()[..] {
            [value] => Self::One(value),
            ref values => Self::List(values.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_in_their_ranges_and_the_order_varies() {
        let jitter = ColorJitter::from_values(&[0.4, 1.5, 0.2, 0.1]).unwrap();
        let mut first = [0; 4];
        let mut sums = [0.0; 4];
        for key in 0..1000 {
            let ops = jitter.draw(&mut Draw::new(&[key]));
            assert_eq!(ops.len(), 4);
            for (at, op) in ops.into_iter().enumerate() {
                let (kind, value, low, high) = match op {
                    Op::Brightness(x) => (0, f64::from(x), 0.6, 1.4),
                    Op::Contrast(x) => (1, f64::from(x), 0.0, 2.5),
                    Op::Color(x) => (2, f64::from(x), 0.8, 1.2),
                    Op::Hue(x) => (3, x, -0.1, 0.1),
                    other => panic!("{other:?}"),
                };
                assert!((low - 1e-6..=high + 1e-6).contains(&value), "{op:?}");
                first[kind] += usize::from(at == 0);
                sums[kind] += (value - low) / (high - low) / 1000.0;
            }
        }
        assert!(first.iter().all(|n| (190..310).contains(n)), "{first:?}");
        assert!(
            sums.iter().all(|mean| (0.45..0.55).contains(mean)),
            "{sums:?}"
        );
        let some = ColorJitter::from_values(&[0.0, 0.3, 0.0]).unwrap();
        let ops = some.draw(&mut Draw::new(&[1]));
        assert!(matches!(ops[..], [Op::Contrast(_)]), "{ops:?}");
    }

    #[test]
    fn values_are_read_and_written_in_timms_forms() {
        for text in ["0.4", "0.4,0.3,0.2", "0.4,0.4,0.4,0.1"] {
            let jitter: ColorJitter = text.parse().unwrap();
            let numbers: Vec<String> = jitter.values().iter().map(f64::to_string).collect();
            assert_eq!(numbers.join(","), text);
        }
        for (text, part) in [
            ("0.4,0.4", "2 values, must be 1, 3 or 4"),
            ("1,2,3,x", "'x' is not a number"),
            ("-0.1", "between 0 and 1000"),
            ("0.1,0.1,0.1,0.6", "between 0 and 0.5 for the hue"),
            ("0,0,0", "above 0"),
            ("nan", "between"),
        ] {
            let message = text.parse::<ColorJitter>().unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
