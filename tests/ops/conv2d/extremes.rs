//! Sizes and parameters at their limits, and what is refused.

use candle_core::{DType, Result, Tensor};
use candle_mish::ops::{Conv2dParams, conv2d};

use super::case::{check, plain};
use crate::support::device;

test_all_devices_with_products! {
    sizes_that_overflow_are_refused,
    what_does_not_fit_is_named,
}

/// The message of the error that a convolution of zeros in f32 gives.
fn message(
    x: &[usize],
    w: &[usize],
    bias: Option<&Tensor>,
    params: &Conv2dParams,
) -> Result<String> {
    let zeros = |shape| Tensor::zeros(shape, DType::F32, &device());
    Ok(match conv2d(&zeros(x)?, &zeros(w)?, bias, params) {
        Ok(y) => format!("no error: {y:?}"),
        Err(e) => e.to_string(),
    })
}

/// The default parameters after `change`.
fn with(change: impl Fn(&mut Conv2dParams)) -> Conv2dParams {
    let mut params = Conv2dParams::default();
    change(&mut params);
    params
}

/// Numbers that overflow a size or a position, with 32 or 64 bits.
const HUGE: [usize; 8] = [
    i32::MAX as usize,
    u32::MAX as usize,
    usize::MAX / 5,
    usize::MAX / 3,
    usize::MAX / 2,
    usize::MAX / 2 + 1,
    usize::MAX - 1,
    usize::MAX,
];

fn sizes_that_overflow_are_refused() -> Result<()> {
    let (x, w) = ([1, 2, 5, 6], [2, 2, 3, 3]);
    for huge in HUGE {
        for (params, part) in [
            (with(|p| p.padding.0 = huge), "height 5 with padding"),
            (with(|p| p.padding.1 = huge), "width 6 with padding"),
            (with(|p| p.dilation.0 = huge), "too small"),
            (with(|p| p.dilation.1 = huge), "too small"),
            (with(|p| p.groups = huge), "groups"),
            (
                with(|p| (p.padding.0, p.dilation.0) = (huge, huge)),
                "too large",
            ),
            (
                with(|p| (p.padding, p.dilation) = ((huge, huge), (huge, huge))),
                "too large",
            ),
        ] {
            let message = message(&x, &w, None, &params)?;
            assert!(
                message.contains(part),
                "{message:?} should say {part:?}: {params:?}"
            );
        }
    }
    // Each size fits in a `usize`, but their product does not.
    let wide = with(|p| p.padding = (1 << 29, 1 << 29));
    assert!(message(&x, &[64, 2, 3, 3], None, &wide)?.contains("too large"));
    Ok(())
}

/// A result of petabytes is an error, not an abort.
#[test]
fn results_that_do_not_fit_in_memory_are_refused() -> Result<()> {
    let wide = with(|p| p.padding = (1 << 24, 1 << 24));
    for (x, w, groups) in [
        ([1, 2, 5, 6], [2, 2, 3, 3], 1),
        ([1, 2, 5, 6], [2, 1, 3, 3], 2),
    ] {
        let message = message(&x, &w, None, &Conv2dParams { groups, ..wide })?;
        assert!(message.contains("memory"), "{message}");
    }
    Ok(())
}

/// A stride larger than the image has no effect, and neither has the dilation of a kernel with one
/// tap. A dilation and a padding larger than the image allocate no memory for the distance.
#[test]
fn distances_beyond_the_image_agree_with_the_definition() -> Result<()> {
    for (c_in, c_out, groups) in [(2, 3, 1), (16, 32, 1), (1, 2, 3)] {
        for huge in HUGE {
            let mut case = plain(2, c_in, c_out, (5, 6), 3);
            case.params.groups = groups;
            case.bias = true;
            let mut cases = vec![case; 3];
            cases[0].params.stride = (huge, huge);
            cases[1].params.stride = (1, huge);
            cases[2].kernel = (3, 1);
            cases[2].params.dilation = (1, huge);
            for case in cases {
                check(&case, DType::F32, 2e-6)?;
                check(&case, DType::F64, 1e-13)?;
            }
        }
        for far in [1000, 1 << 20, (1 << 30) - 8] {
            let mut case = plain(2, c_in, c_out, (5, 6), 3);
            case.params.groups = groups;
            case.params.padding = (far, 1);
            case.params.dilation = (far, 1);
            check(&case, DType::F32, 2e-6)?;
            check(&case, DType::F64, 1e-13)?;
            case.kernel = (2, 2);
            case.params.padding = (far / 2, far / 2);
            case.params.dilation = (far, far);
            check(&case, DType::F32, 2e-6)?;
            check(&case, DType::F64, 1e-13)?;
        }
    }
    Ok(())
}

fn what_does_not_fit_is_named() -> Result<()> {
    let device = &device();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, device);
    let (x, w) = ([1, 4, 5, 5], [6, 4, 3, 3]);
    let default = Conv2dParams::default();
    let of_dtypes = |x_dtype, w_dtype| -> Result<String> {
        let (x, w) = (zeros(&x)?.to_dtype(x_dtype)?, zeros(&w)?.to_dtype(w_dtype)?);
        Ok(match conv2d(&x, &w, None, &default) {
            Ok(y) => format!("no error: {y:?}"),
            Err(e) => e.to_string(),
        })
    };
    for (message, part) in [
        (message(&[1, 3, 5, 5], &w, None, &default)?, "has 3"),
        (message(&[4, 5, 5], &w, None, &default)?, "4 dimensions"),
        (message(&x, &[6, 4, 3], None, &default)?, "4 dimensions"),
        (message(&x, &w, None, &with(|p| p.groups = 4))?, "groups"),
        (
            message(&x, &w, None, &with(|p| p.groups = 2))?,
            "groups = 2 takes 8",
        ),
        (message(&x, &w, None, &with(|p| p.groups = 0))?, "groups"),
        (
            message(&x, &w, None, &with(|p| p.stride = (1, 0)))?,
            "stride",
        ),
        (
            message(&x, &w, None, &with(|p| p.dilation = (0, 1)))?,
            "dilation",
        ),
        (
            message(&x, &w, None, &with(|p| p.dilation = (1, 3)))?,
            "width 5",
        ),
        (message(&[1, 4, 2, 5], &w, None, &default)?, "height 2"),
        (message(&x, &[6, 4, 0, 3], None, &default)?, "empty"),
        (
            message(&x, &w, Some(&zeros(&[5])?), &default)?,
            "bias must be [6]",
        ),
        (of_dtypes(DType::F32, DType::BF16)?, "BF16"),
        (of_dtypes(DType::U8, DType::U8)?, "U8"),
    ] {
        assert!(message.contains(part), "{message:?} should say {part:?}");
    }
    Ok(())
}
