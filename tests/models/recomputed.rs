//! Gradient checkpointing: the same bits with fewer activations in memory.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_mish::Activation;
use candle_mish::activation::LayerActivations;
use candle_mish::autograd::{step_memory, value_and_grad};
use candle_mish::nn::{LayerBlends, ParamStore};
use candle_mish::ops::{CrossEntropy, Target, cross_entropy};
use candle_mish::rng::{Generator, GeneratorState};
use candle_mish_models::{
    BuildContext, Mode, Model, ModelError, ModelSpec, Swap, check_options, create_with,
};

use crate::rule;

const STEPS: usize = 3;
const BATCH: usize = 2;

/// A network of each family that has stages of blocks, with the size of its images: smaller than
/// CIFAR's where the network takes that, for speed.
const NETWORKS: [(&str, usize); 18] = [
    ("resnet20", 16),
    ("seresnet18", 16),
    ("resnext50_32x4d", 16),
    ("wrn10_2", 16),
    ("resnetv2_20", 16),
    ("densenet_bc100_12", 16),
    ("vgg11_bn", 32),
    ("mobilenetv2_100", 16),
    ("shufflenet_v1_x1_0", 16),
    ("shufflenet_v2_x1_0", 16),
    ("squeezenet_bn", 16),
    ("inception_v3", 16),
    ("xception41", 16),
    ("efficientnet_b0", 16),
    ("darknet53", 16),
    ("peleenet", 16),
    ("resnet9", 16),
    ("cnn6", 16),
];

struct Network {
    size: usize,
    store: ParamStore,
    context: BuildContext,
    model: Box<dyn Model>,
}

impl Network {
    fn new(spec: &ModelSpec, size: usize, grad_checkpointing: bool) -> Result<Self> {
        let context = BuildContext {
            generator: Generator::new(5),
            grad_checkpointing,
            ..BuildContext::default()
        };
        Self::with_context(spec, size, context)
    }

    fn with_context(spec: &ModelSpec, size: usize, context: BuildContext) -> Result<Self> {
        let store = ParamStore::new(DType::F32, &Device::Cpu, 1);
        let model = create_with(spec, &context, store.var_builder());
        Ok(Self {
            size,
            model: model.map_err(candle_core::Error::wrap)?,
            store,
            context,
        })
    }

    fn loss(&self) -> Result<Tensor> {
        let images = rule::images((BATCH, 3, self.size, self.size))?;
        let logits = self.model.forward_t(&images, true)?;
        let labels = Tensor::new(&[3u32, 14], &Device::Cpu)?;
        cross_entropy(&logits, &Target::Classes(&labels), &CrossEntropy::default())
    }
}

fn bits(tensor: &Tensor) -> Result<Vec<u64>> {
    let values: Vec<f64> = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    Ok(values.into_iter().map(f64::to_bits).collect())
}

type Values = Vec<(String, Vec<u64>)>;

/// The losses and gradients of a few steps, all tensors after them, and the state of the generator.
fn steps(
    spec: &ModelSpec,
    size: usize,
    grad_checkpointing: bool,
) -> Result<(Values, GeneratorState)> {
    let network = Network::new(spec, size, grad_checkpointing)?;
    let mut found = Values::new();
    for step in 1..=STEPS {
        let (loss, (), gradients) = value_and_grad(|| Ok((network.loss()?, ())))?;
        found.push((format!("loss {step}"), bits(&loss)?));
        let params = network.store.params();
        assert_eq!(gradients.tensors().count(), params.len());
        for (name, var) in params {
            let var: Var = var;
            let gradient = gradients.get(&var).expect("a gradient");
            found.push((format!("gradient {step} of {name}"), bits(gradient)?));
            var.set(&(var.as_detached_tensor() - (gradient * 1e-3)?)?)?;
        }
    }
    for (name, tensor) in network.store.tensors() {
        found.push((name, bits(&tensor)?));
    }
    Ok((found, network.context.generator.state()))
}

/// With dropout, stochastic depth and running statistics, and once with random slopes.
#[test]
fn gradient_checkpointing_gives_the_same_bits() -> Result<()> {
    let rrelu: Activation = "rrelu".parse().expect("an activation");
    let networks = NETWORKS.map(|(name, size)| (name, size, Activation::Mish {}));
    for (model, size, activation) in networks.into_iter().chain([("resnet20", 16, rrelu)]) {
        let spec = ModelSpec {
            activation,
            drop_rate: 0.2,
            drop_path_rate: 0.3,
            ..ModelSpec::new(model)
        };
        let (plain, before) = steps(&spec, size, false)?;
        let (again, after) = steps(&spec, size, true)?;
        assert_eq!(plain.len(), again.len());
        for ((name, plain), (_, again)) in plain.iter().zip(&again) {
            assert!(plain == again, "{model} with {activation}: {name}");
        }
        assert_eq!(before, after, "{model} with {activation}");
    }
    Ok(())
}

/// The blend of the first layer is over, that of the third has not started, all others are in progress.
#[test]
fn gradient_checkpointing_of_a_blend_gives_the_same_bits() -> Result<()> {
    let spec = ModelSpec {
        activation: Activation::Relu,
        ..ModelSpec::new("resnet20")
    };
    let gradients = |grad_checkpointing| -> Result<Values> {
        let blends = LayerBlends::default();
        let swap = Swap {
            to: Activation::Mish,
            layers: Vec::new(),
            fitted: LayerActivations::default(),
            blend: Some(blends.clone()),
        };
        let context = BuildContext {
            swap: Some(swap),
            grad_checkpointing,
            ..BuildContext::default()
        };
        let network = Network::with_context(&spec, 16, context)?;
        let paths = ["act1", "layer1.0.act1", "layer1.0.act2"].map(String::from);
        blends.set_in_order(&paths, 0.5);
        let (loss, (), gradients) = value_and_grad(|| Ok((network.loss()?, ())))?;
        let mut found = vec![("loss".to_string(), bits(&loss)?)];
        for (name, var) in network.store.params() {
            let gradient = gradients.get(&var).expect("a gradient");
            found.push((name, bits(gradient)?));
        }
        Ok(found)
    };
    assert!(gradients(false)? == gradients(true)?);
    Ok(())
}

#[test]
fn gradient_checkpointing_takes_less_memory() -> Result<()> {
    let mut shares = Vec::new();
    for (model, size) in NETWORKS {
        let spec = ModelSpec::new(model);
        let peak = |grad_checkpointing| -> Result<usize> {
            let network = Network::new(&spec, size, grad_checkpointing)?;
            // Of many images, so that the gradients of the weights do not count.
            Ok(step_memory(BATCH, || network.loss())?.peak(10_000))
        };
        let (plain, again) = (peak(false)?, peak(true)?);
        shares.push((model, again as f64 / plain as f64));
    }
    assert!(shares.iter().all(|(_, share)| *share < 0.8), "{shares:.2?}");
    Ok(())
}

/// Feature maps of a training forward pass have gradients for what came before them.
#[test]
fn maps_inside_of_blocks_keep_their_graph() -> Result<()> {
    let network = Network::new(&ModelSpec::new("xception41"), 16, true)?;
    let images = rule::images((BATCH, 3, 16, 16))?;
    let (_, (), gradients) = value_and_grad(|| {
        let maps = network.model.feature_maps(&images, &[0], Mode::Train)?;
        Ok((candle_mish::ops::global_avg_pool2d(&maps[0])?, ()))
    })?;
    let params = network.store.params();
    let (first, var) = &params[0];
    assert!(gradients.get(var).is_some(), "{first}");
    Ok(())
}

#[test]
fn networks_without_blocks_refuse_it() {
    let context = BuildContext {
        grad_checkpointing: true,
        ..BuildContext::default()
    };
    let names = NETWORKS.map(|(name, _)| name);
    for name in names.into_iter().chain(["inception_resnet_v2"]) {
        check_options(&ModelSpec::new(name), &context).expect(name);
    }
    let error = check_options(&ModelSpec::new("mlp_2x8"), &context).expect_err("no blocks");
    let said = "grad_checkpointing has no effect on mlp_2x8, which has no blocks";
    assert_eq!(error.to_string(), said);
    assert!(matches!(error, ModelError::NoEffect(_)));
}
