//! The channel shuffle, against a transpose.

use candle_core::Result;
use candle_mish::nn::ChannelShuffle;
use candle_mish::ops::channel_shuffle;

use super::HALVES;
use crate::support::{assert_close, check_gradients, strided, uniform, values};

test_devices! {
    channels_are_shuffled_between_groups,
}

fn channels_are_shuffled_between_groups() -> Result<()> {
    for (groups, per_group) in [(1, 4), (4, 1), (2, 3), (3, 2), (3, 4)] {
        let channels = groups * per_group;
        let x = uniform(1, (2, channels, 3, 2));
        let expected = x
            .reshape((2, groups, per_group, 6))?
            .transpose(1, 2)?
            .reshape((2, channels, 3, 2))?;
        assert_close(&channel_shuffle(&x, groups)?, &expected, 0.0);
        assert_close(&channel_shuffle(&strided(&x), groups)?, &expected, 0.0);
        check_gradients(std::slice::from_ref(&x), |x| channel_shuffle(&x[0], groups));
        for dtype in HALVES {
            let y = channel_shuffle(&x.to_dtype(dtype)?, groups)?;
            assert_eq!(values(&y), values(&expected.to_dtype(dtype)?));
        }
    }
    for shape in [(0, 6, 2, 2), (2, 0, 2, 2), (2, 6, 0, 2)] {
        let y = channel_shuffle(&uniform(1, shape), 3)?;
        assert_eq!(y.dims4()?, shape);
    }
    let x = uniform(1, (2, 4, 2, 2));
    assert!(channel_shuffle(&x, 3).is_err());
    assert!(channel_shuffle(&x, 0).is_err());
    assert!(channel_shuffle(&uniform(1, 4), 2).is_err());
    assert!(ChannelShuffle::new(0).is_err());
    Ok(())
}
