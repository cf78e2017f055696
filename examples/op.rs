//! Mish in a plain candle-nn model: fits y = sin(x) with Candle's own layers, backward pass and
//! optimizer.
//!
//! `cargo run --release --example op`

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_mish::mish;
use candle_nn::{AdamW, Linear, Optimizer, VarBuilder, VarMap, linear, loss};

struct Mlp {
    hidden: [Linear; 2],
    head: Linear,
}

impl Mlp {
    fn new(vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            hidden: [linear(1, 32, vb.pp("fc1"))?, linear(32, 32, vb.pp("fc2"))?],
            head: linear(32, 1, vb.pp("head"))?,
        })
    }
}

impl Module for Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = mish(&self.hidden[0].forward(x)?)?;
        let x = mish(&self.hidden[1].forward(&x)?)?;
        self.head.forward(&x)
    }
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    let variables = VarMap::new();
    let model = Mlp::new(VarBuilder::from_varmap(&variables, DType::F32, &device))?;
    let mut optimizer = AdamW::new_lr(variables.all_vars(), 0.01)?;

    let x = Tensor::arange(-300f32, 300.0, &device)?.reshape((600, 1))?;
    let x = (x * 0.01)?;
    let y = x.sin()?;
    for step in 0..500 {
        let loss = loss::mse(&model.forward(&x)?, &y)?;
        // Candle's backward pass calls the derivative of the op.
        optimizer.backward_step(&loss)?;
        if step % 100 == 0 {
            println!(
                "step {step:3}: mean squared error {:.5}",
                loss.to_scalar::<f32>()?
            );
        }
    }
    let error = loss::mse(&model.forward(&x)?, &y)?.to_scalar::<f32>()?;
    println!("at the end: mean squared error {error:.5}");
    assert!(error < 0.01);
    Ok(())
}
