//! Trains a network of your own on data of your own: which way do the stripes of an image run?
//!
//! `cargo run --release --features train --example train`

use candle_core::{DType, Device, Module, ModuleT, Result, Tensor};
use candle_mish::nn::{Conv2dConfig, ConvNormAct, Linear, ParamStore, conv_norm_act, linear};
use candle_mish::ops::{Target, global_avg_pool2d};
use candle_mish::train::{Recipe, optimizer, step};
use candle_mish::{Activation, rng::Generator};
use candle_nn::VarBuilder;

struct Network(ConvNormAct, Linear);

impl Network {
    fn new(vb: VarBuilder) -> Result<Self> {
        let (mish, random) = (Activation::Mish, Generator::new(0));
        let conv = conv_norm_act(3, 8, Conv2dConfig::same(3), &mish, vb.pp("block"), &random)?;
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
    let noise = Tensor::randn(0f32, 1.0, stripes.shape(), device)?;
    let labels = (0..32).map(|i| u32::from(i >= 16)).collect::<Vec<_>>();
    Ok(((stripes + noise)?, Tensor::new(labels, device)?))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let device = Device::Cpu;
    let store = ParamStore::new(DType::F32, &device, 0);
    let model = Network::new(store.var_builder())?;
    let recipe = Recipe::default();
    let schedule = recipe.schedule_over(20);
    let groups = optimizer::ParameterGroup::split(store.params(), recipe.weight_decay);
    let mut optimizer = optimizer::RuleOptimizer::new(recipe.optimizer(), groups)?;
    for i in 0..20 {
        let (images, labels) = batch(&device)?;
        let forward = || Ok((model.forward_t(&images, true)?, None));
        let target = Target::Classes(&labels);
        let taken = step(forward, &target, &recipe, &mut optimizer, schedule.lr(i))?;
        println!("step {:2}: loss {:.4}", i + 1, taken.loss);
    }
    let (images, labels) = batch(&device)?;
    let right = model.forward_t(&images, false)?.argmax(1)?.eq(&labels)?;
    let correct: u8 = right.to_vec1::<u8>()?.iter().sum();
    println!("{correct} of 32 new images are correct");
    assert!(correct > 28);
    Ok(store.save(std::env::temp_dir().join("stripes.safetensors"))?)
}
