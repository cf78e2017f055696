//! The sizes of training images, by epoch.

use std::fmt;
use std::str::FromStr;

use crate::serde_text::serde_as_text;

/// The largest size, as of [`Preprocess`](super::Preprocess).
const LARGEST: usize = 1 << 14;
const EXPECTED: &str = "expected EPOCH:SIZE,EPOCH:SIZE,… with ascending epochs, the first one 0, such \
                        as 0:20,4:28,8:32";

/// The height and width of training images, by epoch. As text, `0:20,4:28,8:32` is 20 pixels in the
/// first four epochs, 28 in the next four, and 32 from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSizes {
    /// The first epoch of each size, counted from 0, ascending from 0; the size.
    stages: Vec<(u64, usize)>,
}

impl ImageSizes {
    /// The size in an epoch, counted from 0.
    pub fn at(&self, epoch: u64) -> usize {
        let past = self.stages.partition_point(|(first, _)| *first <= epoch);
        self.stages[past.max(1) - 1].1
    }

    /// All sizes, in the order of their epochs.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.stages.iter().map(|(_, size)| *size)
    }
}

impl fmt::Display for ImageSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (epoch, size)) in self.stages.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{epoch}:{size}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageSizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let stage = |stage: &str| {
            let (epoch, size) = stage.trim().split_once(':')?;
            let (epoch, size) = (epoch.parse::<u64>().ok()?, size.parse::<usize>().ok()?);
            (1..=LARGEST).contains(&size).then_some((epoch, size))
        };
        let stages: Option<Vec<(u64, usize)>> = text.split(',').map(stage).collect();
        let valid = |stages: &Vec<(u64, usize)>| {
            stages[0].0 == 0 && stages.windows(2).all(|pair| pair[0].0 < pair[1].0)
        };
        match stages.filter(valid) {
            Some(stages) => Ok(Self { stages }),
            None => Err(format!("'{text}' is no list of image sizes; {EXPECTED}")),
        }
    }
}

serde_as_text!(ImageSizes);

#[cfg(test)]
mod tests {
    use super::ImageSizes;

    #[test]
    fn a_size_lasts_until_the_next() {
        let text = "0:20,4:28,8:32";
        let sizes: ImageSizes = text.parse().unwrap();
        let at = [0, 3, 4, 7, 8, 1000].map(|epoch| sizes.at(epoch));
        assert_eq!(at, [20, 20, 28, 28, 32, 32]);
        assert_eq!(sizes.to_string(), text);
        assert_eq!(sizes.sizes().collect::<Vec<_>>(), [20, 28, 32]);
        let spaced: ImageSizes = "0:20, 4:28, 8:32".parse().unwrap();
        assert_eq!(spaced, sizes);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "32",
            "1:20",
            "0:0",
            "0:20,",
            "0:20,0:32",
            "0:20,4:28,3:32",
            "0:x",
            "-1:20",
            "0:20:4",
            "0:99999",
            "0:20;4:28",
        ] {
            let error = text.parse::<ImageSizes>().expect_err(text);
            assert!(error.contains("0:20,4:28,8:32"), "{error}");
        }
    }
}
