//! How a signal propagates through a random network: mean-field theory of wide networks at
//! initialisation, and random dense networks to compare it with.
//!
//! The theory is from Poole et al., "Exponential expressivity in deep neural networks through
//! transient chaos" (2016, arXiv:1606.05340) and Schoenholz et al., "Deep Information Propagation"
//! (2017, arXiv:1611.01232). Weights are normal with variance sigma_w^2 / fan-in, biases normal with
//! variance sigma_b^2. In a wide network the pre-activations of a layer are then normal, with the
//! variance q of the layer:
//!
//! - [`MeanField::variance_map`]: q of the next layer, `sigma_w^2 E[f(sqrt(q) z)^2] + sigma_b^2`;
//! - [`MeanField::chi`]: the factor of squared gradient norms from one layer to the one before,
//!   `sigma_w^2 E[f'(sqrt(q) z)^2]`. Gradients vanish below 1 and explode above it;
//! - [`edges_of_chaos`]: the sigma_w for which that factor is 1 where q stays the same, the edge of
//!   chaos.

mod dense;
mod edge;
mod hermite;
mod mean_field;
mod quadrature;

pub use dense::{DenseNetwork, Signals};
pub use edge::{Edge, edge_curve, edges_of_chaos};
pub use mean_field::{FixedPoint, MeanField, Phase};
pub use quadrature::normal_expectation;
