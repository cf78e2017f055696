//! The ops: values and gradients against oracles in f64.

#[macro_use]
mod support;

mod activation;
mod autograd;
mod autograd_ready;
mod capsule;
mod channels_last;
mod combine;
mod conv2d;
mod conv2d_grad;
mod conv2d_reference;
mod conv_norm_act;
mod devices;
mod distillation;
mod empty;
mod group_norm;
mod initialiser;
mod landscape;
mod linear;
mod loss;
mod mish;
mod nn;
mod norm_act;
mod norm_act_synchronised;
mod oracle;
mod params;
mod pool2d;
mod pool2d_gradient;
mod propagation;
mod recompute;
mod scale_add_act;
mod trace;
