//! Custom ops, layers and training for convolutional networks on
//! [Candle](https://github.com/huggingface/candle), with any activation and
//! [Mish](https://arxiv.org/abs/1908.08681) first.
//!
//! The networks themselves (ResNet, EfficientNet, DenseNet, …) are in the package
//! `candle-mish-models`, the program `mish` is in `candle-mish-cli`.
//!
//! # The op
//! [`mish`] is a Candle op with its own backward pass. It takes f32, f64, f16 and bf16 tensors of
//! any shape and layout. More than forty other activations have names in [`Activation`], which is
//! a Candle [`Module`](candle_core::Module).
//!
//! ```
//! use candle_core::{Device, Module, Result, Var};
//! use candle_mish::{Activation, mish};
//!
//! # fn main() -> Result<()> {
//! let x = Var::new(&[-1f32, 0.0, 1.0], &Device::Cpu)?;
//! let y = mish(&x)?;
//! assert_eq!(y.to_vec1::<f32>()?[1], 0.0);
//!
//! let gradients = y.sum_all()?.backward()?;
//! let slope = gradients.get(&x).expect("x is a variable").to_vec1::<f32>()?;
//! assert!((slope[1] - 0.6).abs() < 1e-6);
//!
//! let silu: Activation = "silu".parse().expect("a known name");
//! assert_eq!(silu.forward(&x)?.dims(), [3]);
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//! [`nn`] has convolution, batch, group and layer norm, pooling, dropout, stochastic depth, channel
//! attention and activations, with PyTorch's keys and defaults. A [`ParamStore`](nn::ParamStore)
//! creates their parameters from a seed.
//!
//! # Training
//! [`autograd::value_and_grad`] is a faster backward pass than Candle's for networks of these ops.
//! Candle's `loss.backward()` works too and gives the same gradients.
//!
//! ```
//! use candle_core::{DType, Device, Module, ModuleT, Result, Tensor};
//! use candle_mish::nn::{self, Conv2dConfig, ParamStore};
//! use candle_mish::ops::{CrossEntropy, Target, cross_entropy, global_avg_pool2d};
//! use candle_mish::rng::Generator;
//! use candle_mish::{Activation, autograd};
//!
//! # fn main() -> Result<()> {
//! let device = Device::Cpu;
//! let store = ParamStore::new(DType::F32, &device, 0);
//! let vb = store.var_builder();
//! let (config, random) = (Conv2dConfig::same(3), Generator::new(0));
//! let conv = nn::conv_norm_act(3, 8, config, &Activation::Mish, vb.clone(), &random)?;
//! let classifier = nn::linear_no_bias(8, 10, vb.pp("fc"))?;
//!
//! let images = Tensor::randn(0f32, 1.0, (4, 3, 8, 8), &device)?;
//! let labels = Tensor::new(&[0u32, 1, 2, 3], &device)?;
//! let (loss, (), gradients) = autograd::value_and_grad(|| {
//!     let features = global_avg_pool2d(&conv.forward_t(&images, true)?)?;
//!     let logits = classifier.forward(&features)?;
//!     let target = Target::Classes(&labels);
//!     Ok((cross_entropy(&logits, &target, &CrossEntropy::default())?, ()))
//! })?;
//! assert!(loss.to_scalar::<f32>()?.is_finite());
//! for (name, parameter) in store.params() {
//!     let gradient = gradients.get(&parameter).expect("every parameter has a gradient");
//!     assert_eq!(gradient.shape(), parameter.shape(), "{name}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`propagation`] has the mean-field theory of random networks: the edge of chaos of every activation.
//!
//! With the feature `train`, [`train::train`] is a complete loop: optimizers, schedules,
//! checkpoints, exact resume, and records of every epoch. `train::step` takes one step:
//! `examples/train.rs` trains a custom network on custom data with it.
//!
//! # Features
//! No feature is on by default: ops and layers only. Each feature includes those that it needs.
//!
//! | feature | adds |
//! | --- | --- |
//! | `checkpoint` | [`checkpoint`]: safetensors, PyTorch's files of all ages, atomic writes, `ParamStore::save` and `load` |
//! | `hub` | [`hub`]: verified downloads from the Hugging Face Hub |
//! | `data` | [`data`]: CIFAR, image folders, a synthetic set, augmentation, the loader |
//! | `eval` | [`eval`]: accuracy, loss, calibration, confidence intervals |
//! | `train` | [`train`]: recipes, optimizers, schedules, the training loop; [`plot`]: plots of activations and networks |
//! | `swap` | [`swap`]: studies of trained networks with other activations |
//! | `study` | [`study`]: statistics of many runs |
//! | `onnx` | [`onnx`]: export of a recorded forward pass |
//! | `cuda`, `cudnn`, `nccl`, `metal` | GPU kernels, and the same features of Candle |
//! | `accelerate`, `mkl` | the same features of Candle |

pub mod activation;
#[cfg(any(feature = "checkpoint", feature = "data"))]
#[cfg_attr(
    not(feature = "checkpoint"),
    allow(dead_code, reason = "the cache of data sets uses a part of it")
)]
mod atomic;
pub mod autograd;
#[cfg(feature = "checkpoint")]
pub mod checkpoint;
#[cfg(feature = "data")]
pub mod data;
pub mod device;
#[cfg(feature = "eval")]
pub mod eval;
#[cfg(feature = "hub")]
pub mod hub;
pub mod landscape;
#[cfg(feature = "hub")]
mod lock;
pub mod nn;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod ops;
#[cfg(feature = "train")]
mod page;
mod parallel;
pub mod pattern;
#[cfg(any(feature = "checkpoint", feature = "data"))]
#[cfg_attr(
    not(all(feature = "checkpoint", feature = "data")),
    allow(dead_code, unused_imports, reason = "each feature uses a part of it")
)]
mod pickle;
#[cfg(feature = "train")]
pub mod plot;
pub mod propagation;
#[cfg(feature = "train")]
pub mod report;
pub mod rng;
mod serde_text;
mod simd;
#[cfg(feature = "study")]
pub mod study;
pub mod suggest;
#[cfg(feature = "swap")]
pub mod swap;
#[cfg(feature = "train")]
pub mod tensorboard;
#[cfg(feature = "train")]
pub mod train;

pub use activation::{Activation, ParseActivationError};
pub use ops::activation::{Mish, mish, mish_inplace};
pub use simd::instruction_set;
