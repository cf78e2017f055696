//! Dropout and drop path: masks, means and seeds.

use candle_core::{DType, Result, Tensor};
use candle_mish::nn::{DropPath, Dropout};
use candle_mish::ops::{DropPathScale, drop_path, dropout};
use candle_mish::rng::Generator;
use candle_nn::ModuleT;

use super::HALVES;
use crate::support::{assert_close, check_gradients, device, strided, uniform, values};

test_devices! {
    dropout_keeps_the_mean_and_repeats_its_mask,
    drop_path_drops_whole_samples,
}

fn dropout_keeps_the_mean_and_repeats_its_mask() -> Result<()> {
    const N: usize = 200_000;
    let ones = Tensor::ones(N, DType::F64, &device())?;
    for p in [0.1, 0.5, 0.9] {
        let layer = |seed| Dropout::new(p, &Generator::new(seed));
        let (first, again, other) = (layer(7)?, layer(7)?, layer(8)?);
        let y = values(&first.forward_t(&ones, true)?);
        assert_eq!(y, values(&again.forward_t(&ones, true)?));
        assert_ne!(y, values(&first.forward_t(&ones, true)?));
        assert_ne!(y, values(&other.forward_t(&ones, true)?));
        let kept = 1.0 / (1.0 - p);
        assert!(y.iter().all(|v| *v == 0.0 || *v == kept));
        // Five standard deviations of the mean of N values.
        let bound = 5.0 * (p / (1.0 - p) / N as f64).sqrt();
        let mean = y.iter().sum::<f64>() / N as f64;
        assert!((mean - 1.0).abs() < bound, "{p}: {mean}");
        assert_eq!(values(&first.forward_t(&ones, false)?), values(&ones));
    }
    let none = Dropout::new(0.0, &Generator::new(7))?;
    assert_eq!(values(&none.forward_t(&ones, true)?), values(&ones));
    let x = uniform(1, (3, 4, 5));
    check_gradients(std::slice::from_ref(&x), |x| dropout(&x[0], 0.4, 9));
    assert_close(&dropout(&strided(&x), 0.4, 9)?, &dropout(&x, 0.4, 9)?, 0.0);
    for p in [-0.1, 1.0, f64::NAN] {
        assert!(Dropout::new(p, &Generator::new(7)).is_err());
        assert!(dropout(&x, p, 9).is_err());
    }
    Ok(())
}

fn drop_path_drops_whole_samples() -> Result<()> {
    const N: usize = 20_000;
    let ones = Tensor::ones((N, 3, 1), DType::F64, &device())?;
    for p in [0.2, 0.75] {
        let layer = |seed| DropPath::new(p, &Generator::new(seed));
        let y = values(&layer(3)?.forward_t(&ones, true)?);
        assert_eq!(y, values(&layer(3)?.forward_t(&ones, true)?));
        assert_ne!(y, values(&layer(4)?.forward_t(&ones, true)?));
        let kept = 1.0 / (1.0 - p);
        let whole = |s: &[f64]| s == [0.0; 3] || s == [kept; 3];
        assert!(y.chunks(3).all(whole));
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        let bound = 5.0 * (p / (1.0 - p) / N as f64).sqrt();
        assert!((mean - 1.0).abs() < bound, "{p}: {mean}");
        let unscaled = layer(3)?.scale_by_keep(false).forward_t(&ones, true)?;
        assert_close(
            &unscaled,
            &((Tensor::new(y, &device())? / kept)?.reshape((N, 3, 1))?),
            1e-15,
        );
        assert_eq!(values(&layer(3)?.forward_t(&ones, false)?), values(&ones));
    }
    let x = uniform(1, (6, 2, 3));
    check_gradients(std::slice::from_ref(&x), |x| {
        drop_path(&x[0], 0.5, DropPathScale::KeepMean, 2)
    });
    let y = drop_path(&x, 0.5, DropPathScale::KeepMean, 2)?;
    assert!(values(&y).contains(&0.0) && values(&y).iter().any(|v| *v != 0.0));
    assert_close(
        &drop_path(&strided(&x), 0.5, DropPathScale::KeepMean, 2)?,
        &y,
        0.0,
    );
    for dtype in HALVES {
        let x = x.to_dtype(dtype)?;
        let y = drop_path(&x, 0.5, DropPathScale::KeepMean, 2)?;
        // A factor of two is exact.
        assert_eq!(y.dtype(), dtype);
        assert_eq!(
            values(&y),
            values(&drop_path(
                &x.to_dtype(DType::F64)?,
                0.5,
                DropPathScale::KeepMean,
                2
            )?)
        );
    }
    // A dropped value is zero, even if it was infinite.
    let infinite = (&x * f64::INFINITY)?;
    assert_eq!(
        values(&drop_path(&infinite, 1.0, DropPathScale::KeepMean, 2)?),
        vec![0.0; 36]
    );
    let empty = uniform(1, (0, 2, 3));
    assert_eq!(
        drop_path(&empty, 0.5, DropPathScale::KeepMean, 2)?.dims(),
        [0, 2, 3]
    );
    for p in [-0.1, 1.1, f64::NAN] {
        assert!(DropPath::new(p, &Generator::new(7)).is_err());
        assert!(drop_path(&x, p, DropPathScale::KeepMean, 9).is_err());
    }
    Ok(())
}
