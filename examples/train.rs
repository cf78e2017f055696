//! Trains a network of your own on data of your own: which way do the stripes of an image run?
//!
//! `cargo run --release --features train --example train`

use candle_core::{DType, Device, Module, ModuleT, Result, Tensor};
use candle_mish::Activation;
use candle_mish::nn::{Conv2dConfig, ConvNormAct, Linear, ParamStore, conv_norm_act, linear};
use candle_mish::ops::global_avg_pool2d;
use candle_mish::rng::Generator;
use candle_mish::train::optimizer::{ElementwiseOptimizer, ParameterGroup};
use candle_mish::train::{Recipe, step};
use candle_nn::VarBuilder;

struct Network(ConvNormAct, Linear);

impl Network {
    fn new(vb: VarBuilder) -> Result<Self> {
        let (config, mish, random) = (Conv2dConfig::same(3), Activation::Mish, Generator::new(0));
        let conv = conv_norm_act(3, 8, config, &mish, vb.pp("block"), &random)?;
        Ok(Self(conv, linear(8, 2, vb.pp("fc"))?))
    }
}

impl ModuleT for Network {
    fn forward_t(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        let features = global_avg_pool2d(&self.0.forward_t(images, train)?)?;
        self.1.forward(&features)
    }
}

/// `[32, 3, 8, 8]` noisy images and their labels: 0 for vertical stripes, 1 for horizontal ones.
fn batch(device: &Device) -> Result<(Tensor, Tensor)> {
    let wave = (Tensor::arange(0f32, 8.0, device)? * 1.5)?.sin()?;
    let vertical = wave.reshape((1, 1, 1, 8))?.broadcast_as((16, 3, 8, 8))?;
    let stripes = Tensor::cat(&[&vertical, &vertical.t()?], 0)?;
    let noise = Tensor::randn(0f32, 0.5, stripes.shape(), device)?;
    let labels = (0..32).map(|i| u32::from(i >= 16)).collect::<Vec<_>>();
    Ok(((stripes + noise)?, Tensor::new(labels, device)?))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let device = Device::Cpu;
    let store = ParamStore::new(DType::F32, &device, 0);
    let model = Network::new(store.var_builder())?;
    let recipe = Recipe::default();
    let groups = ParameterGroup::split(store.params(), recipe.weight_decay);
    let mut optimizer = ElementwiseOptimizer::new(recipe.rule(), groups)?;
    let schedule = recipe.schedule_over(100);
    for i in 0..100 {
        let (images, labels) = batch(&device)?;
        let forward = || Ok((model.forward_t(&images, true)?, None));
        let taken = step(forward, &labels, &recipe, &mut optimizer, schedule.lr(i))?;
        println!("step {i:2}: loss {:.4}", taken.loss);
    }
    let (images, labels) = batch(&device)?;
    let classes = model.forward_t(&images, false)?.argmax(1)?;
    assert_eq!(classes.to_vec1::<u32>()?, labels.to_vec1::<u32>()?);
    Ok(store.save(std::env::temp_dir().join("stripes.safetensors"))?)
}
