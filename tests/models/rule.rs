//! Weights and inputs that a fixed rule makes from a tensor's name. tests/reference/rule.py describes
//! the rule.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_mish::nn::ParamStore;

fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn uniform(name: &str, count: usize) -> Vec<f64> {
    let start = fnv1a(name);
    let draw = |i: usize| {
        let z = start
            .wrapping_add(i as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        (z >> 40) as f64 / (1u64 << 24) as f64
    };
    (0..count).map(draw).collect()
}

/// Images [N, C, H, W] from `u`, with a level and a slope for each plane.
fn planes(u: &[f64], name: &str, shape: &Shape) -> Result<Vec<f64>> {
    let (images, channels, height, width) = shape.dims4()?;
    let of_planes = |name: String| uniform(&name, images * channels);
    let (levels, slopes) = (
        of_planes(format!("{name}.level")),
        of_planes(format!("{name}.slope")),
    );
    let value = |(i, u): (usize, &f64)| {
        let (plane, row) = (i / (height * width), i / width % height);
        let (level, slope) = (2.0 * levels[plane] - 1.0, 2.0 * slopes[plane] - 1.0);
        let height = 2.0 * row as f64 / (height - 1).max(1) as f64 - 1.0;
        (2.0 * u - 1.0) + level + slope * height
    };
    Ok(u.iter().enumerate().map(value).collect())
}

/// The images of shape [N, C, H, W], rounded to f32 as in the reference.
pub fn images(shape: impl Into<Shape>) -> Result<Tensor> {
    let (name, shape) = ("input", shape.into());
    let values = planes(&uniform(name, shape.elem_count()), name, &shape)?;
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    Tensor::from_vec(values, &shape, &Device::Cpu)
}

/// The parameter or buffer `name`, rounded to f32 as in the reference.
pub fn tensor(name: &str, shape: &Shape, gain: f64) -> Result<Tensor> {
    let dims = shape.dims();
    let fan_in: usize = match name {
        "digit_caps.weight" => dims[1],
        _ => dims.iter().skip(1).product(),
    };
    let value = |u: f64| match name.rsplit('.').next().unwrap_or(name) {
        "running_var" => 0.75 + 0.5 * u,
        "weight" if dims.len() == 1 => 0.75 + 0.5 * u,
        "running_mean" | "bias" => 0.1 * (2.0 * u - 1.0),
        _ => gain * (3.0 / fan_in as f64).sqrt() * (2.0 * u - 1.0),
    };
    let values: Vec<f32> = uniform(name, shape.elem_count())
        .into_iter()
        .map(|u| value(u) as f32)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Sets all tensors of the store by the rule.
pub fn fill(store: &ParamStore, gain: f64) -> Result<()> {
    let mut checkpoint = HashMap::new();
    for (name, var) in store.tensors() {
        let value = if name.ends_with("num_batches_tracked") {
            Tensor::zeros((), DType::I64, &Device::Cpu)?
        } else {
            tensor(&name, var.shape(), gain)?
        };
        checkpoint.insert(name, value);
    }
    let report = store.load_tensors(&checkpoint)?;
    assert!(report.is_exact(), "{report}");
    Ok(())
}

/// A hash of the names and shapes in a checkpoint of the store.
pub fn digest(store: &ParamStore) -> String {
    let mut tensors = store.tensors();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    let line = |(name, tensor): &(String, Tensor)| {
        let dims: Vec<String> = tensor.dims().iter().map(ToString::to_string).collect();
        format!("{name} {}\n", dims.join("x"))
    };
    let lines: String = tensors.iter().map(line).collect();
    format!("{:016x}", fnv1a(&lines))
}
