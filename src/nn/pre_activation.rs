//! Activation layers and their inputs, observed while a network runs.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::{ModuleT, Result, Tensor};

use super::layer_input::{ObservedLayer, visit_layers};

/// Runs `body` on this thread. Returns its result, and for each activation layer that it applied, in
/// order, the path of the layer and `map` of its input.
///
/// Meanwhile fused ops compute the norm and the activation separately, so that there is an input.
///
/// # Errors
/// The errors of `body` and of `map`.
pub fn map_pre_activations<T: 'static, R>(
    map: impl Fn(&Tensor) -> Result<T> + 'static,
    body: impl FnOnce() -> Result<R>,
) -> Result<(R, Vec<(String, T)>)> {
    map_activations(move |_, input| map(input), body)
}

/// As [`map_pre_activations`], with `map` of each activation layer and its input. What `map` runs is
/// not observed.
///
/// # Errors
/// The errors of `body` and of `map`.
pub fn map_activations<T: 'static, R>(
    map: impl Fn(&dyn ModuleT, &Tensor) -> Result<T> + 'static,
    body: impl FnOnce() -> Result<R>,
) -> Result<(R, Vec<(String, T)>)> {
    let mapped: Rc<RefCell<Vec<(String, T)>>> = Rc::default();
    let visit = {
        let mapped = Rc::clone(&mapped);
        move |path: &str, layer: &dyn ModuleT, input: &Tensor| {
            let value = map(layer, input)?;
            mapped.borrow_mut().push((path.to_string(), value));
            Ok(())
        }
    };
    let result = visit_layers(ObservedLayer::Activation, visit, body);
    Ok((result?, mapped.take()))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, ModuleT};

    use super::*;
    use crate::activation::Activation;
    use crate::nn::layer_input::observes_activations;
    use crate::nn::{Conv2dConfig, ParamStore, conv_norm_act};
    use crate::rng::Generator;

    #[test]
    fn a_fused_block_shows_the_input_of_its_activation() -> Result<()> {
        let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
        let random = Generator::new(0);
        let block = |activation| {
            let vb = store.var_builder().pp("block");
            conv_norm_act(3, 8, Conv2dConfig::same(3), &activation, vb, &random)
        };
        let (mish, none) = (block(Activation::Mish {})?, block(Activation::Identity)?);
        let images = Tensor::randn(0f32, 1.0, (2, 3, 6, 6), &Device::Cpu)?;
        let values = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
        let (y, seen) = map_pre_activations(values, || mish.forward_t(&images, false))?;
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].0, "block.bn.act");
        assert_eq!(seen[0].1, values(&none.forward_t(&images, false)?)?);
        let difference = (y - mish.forward_t(&images, false)?)?.abs()?.max_all()?;
        assert!(difference.to_scalar::<f32>()? < 1e-6);
        // The layer can be applied to its input.
        let apply = |layer: &dyn ModuleT, x: &Tensor| {
            let y = layer.forward_t(x, false)?;
            y.flatten_all()?.to_vec1::<f32>()
        };
        let (y, seen) = map_activations(apply, || mish.forward_t(&images, false))?;
        assert_eq!(seen, [("block.bn.act".to_string(), values(&y)?)]);
        let (_, seen) = map_pre_activations(values, || none.forward_t(&images, false))?;
        assert_eq!(seen, [], "the identity is no activation");
        assert!(!observes_activations());
        Ok(())
    }
}
