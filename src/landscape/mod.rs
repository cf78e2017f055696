//! The loss of a trained network around its weights, along random directions: Li et al., "Visualizing
//! the Loss Landscape of Neural Nets" (2018, arXiv:1712.09913).
//!
//! A [`Direction`] has a random tensor for each parameter, scaled to the weights by a
//! [`Normalisation`]. [`scan`] moves the weights along one or two directions and evaluates the network
//! at each point. [`hessian_eigenvalues`] measures the curvature at the weights.

mod direction;
mod hessian;
mod lanczos;
mod scan;

pub use direction::{Direction, Ignored, Normalisation, normalise};
pub use hessian::hessian_eigenvalues;
pub use lanczos::{Eigenvalue, LanczosOptions, lanczos};
pub use scan::{Point, grid, scan};
