//! Gradients that several threads compute are the same bit for bit in every run.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::autograd::value_and_grad;
use candle_mish::ops::{Conv2dParams, conv2d};

type Size = (usize, usize, usize, usize);

/// The bits of the input and weight gradients of the sum of squares of a convolution.
fn gradients(x: &Var, w: &Var, params: &Conv2dParams) -> Result<Vec<Vec<u32>>> {
    let (_, _, gradients) =
        value_and_grad(|| Ok((conv2d(x, w, None, params)?.sqr()?.sum_all()?, ())))?;
    [x, w]
        .iter()
        .map(|v| {
            let gradient = gradients.get(v).map(Tensor::flatten_all);
            let values = gradient.transpose()?.map(|g| g.to_vec1::<f32>());
            let values = values.transpose()?.unwrap_or_default();
            assert_eq!(values.len(), v.elem_count());
            Ok(values.into_iter().map(f32::to_bits).collect())
        })
        .collect()
}

#[test]
fn gradients_are_the_same_bit_for_bit() -> Result<()> {
    let device = &Device::Cpu;
    let cases: [(Size, Size, usize, usize, usize); 5] = [
        ((33, 16, 32, 32), (16, 16, 3, 3), 1, 1, 1),
        ((17, 16, 32, 32), (32, 16, 3, 3), 2, 1, 1),
        ((9, 64, 16, 16), (64, 64, 1, 1), 1, 0, 1),
        ((9, 64, 16, 16), (64, 16, 3, 3), 1, 1, 4),
        ((9, 64, 16, 16), (64, 1, 3, 3), 1, 1, 64),
    ];
    for (x, w, stride, padding, groups) in cases {
        let params = Conv2dParams {
            stride: (stride, stride),
            padding: (padding, padding),
            groups,
            ..Conv2dParams::default()
        };
        let wave = |shape: Size, step: f64| {
            let len = (shape.0 * shape.1 * shape.2 * shape.3) as f64;
            let values = (Tensor::arange(0.0, len, device)? * step)?.sin()?;
            Var::from_tensor(&values.to_dtype(DType::F32)?.reshape(shape)?)
        };
        let (x, w) = (wave(x, 0.37)?, wave(w, 0.61)?);
        let first = gradients(&x, &w, &params)?;
        for _ in 0..5 {
            assert!(
                first == gradients(&x, &w, &params)?,
                "gradients differ: {params:?}"
            );
        }
    }
    Ok(())
}
