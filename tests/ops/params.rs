//! The store of a network's parameters.

use std::collections::HashMap;
use std::sync::Barrier;

use candle_core::{DType, Device, Result, Tensor};
use candle_mish::nn::ParamStore;
use candle_nn::Init;

const NORMAL: Init = Init::Randn {
    mean: 0.0,
    stdev: 1.0,
};

fn store(seed: u64) -> ParamStore {
    ParamStore::new(DType::F32, &Device::Cpu, seed)
}

#[test]
fn a_value_depends_on_the_seed_and_the_name_only() -> Result<()> {
    let values = |store: &ParamStore, name: &str| -> Result<Vec<f32>> {
        store
            .var_builder()
            .get_with_hints(5, name, NORMAL)?
            .to_vec1()
    };
    let (first, second) = (store(1), store(1));
    values(&second, "created.before")?;
    assert_eq!(values(&first, "a")?, values(&second, "a")?);
    assert_ne!(values(&first, "a")?, values(&first, "b")?);
    assert_ne!(values(&first, "a")?, values(&store(2), "a")?);
    Ok(())
}

#[test]
fn initial_values_have_the_requested_distribution() -> Result<()> {
    let store = store(3);
    let vb = store.var_builder();
    let moments = |t: &Tensor| -> Result<(f32, f32)> {
        let mean = t.mean_all()?.to_scalar::<f32>()?;
        let var = (t - mean as f64)?.sqr()?.mean_all()?.to_scalar::<f32>()?;
        Ok((mean, var.sqrt()))
    };
    let (mean, std) = moments(&vb.get_with_hints(100_000, "normal", NORMAL)?)?;
    assert!(
        mean.abs() < 0.02 && (std - 1.0).abs() < 0.02,
        "{mean} {std}"
    );
    let init = Init::Uniform { lo: -2.0, up: 4.0 };
    let uniform = vb.get_with_hints(100_000, "uniform", init)?;
    let (mean, std) = moments(&uniform)?;
    assert!(
        (mean - 1.0).abs() < 0.02 && (std - 3f32.sqrt()).abs() < 0.02,
        "{mean} {std}"
    );
    let conv = vb.get_with_hints(
        (64, 32, 3, 3),
        "conv",
        candle_nn::init::DEFAULT_KAIMING_NORMAL,
    )?;
    let (_, std) = moments(&conv)?;
    assert!((std - (2f32 / 288.0).sqrt()).abs() < 0.001, "{std}");
    Ok(())
}

#[test]
fn parameters_and_buffers_are_listed_in_the_order_of_creation() -> Result<()> {
    let store = store(0);
    let vb = store.var_builder().pp("bn");
    for name in ["weight", "running_mean", "bias", "running_var"] {
        vb.get_with_hints(2, name, Init::Const(0.0))?;
    }
    vb.get_with_hints_dtype((), "num_batches_tracked", Init::Const(0.0), DType::I64)?;
    let names = |list: Vec<(String, candle_core::Var)>| -> Vec<String> {
        list.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(store.params()), ["bn.weight", "bn.bias"]);
    assert_eq!(
        names(store.buffers()),
        [
            "bn.running_mean",
            "bn.running_var",
            "bn.num_batches_tracked"
        ]
    );
    assert_eq!(store.num_params(), 4);
    Ok(())
}

#[test]
fn a_frozen_view_shares_the_values_and_tracks_nothing() -> Result<()> {
    let store = store(0);
    let weight = store.var_builder().get_with_hints(3, "weight", NORMAL)?;
    let frozen = store.frozen().var_builder().get(3, "weight")?;
    assert!(weight.track_op() && !frozen.track_op());
    store.params()[0]
        .1
        .set(&Tensor::new(&[1f32, 2.0, 3.0], &Device::Cpu)?)?;
    assert_eq!(frozen.to_vec1::<f32>()?, [1.0, 2.0, 3.0]);
    assert!(store.frozen().var_builder().get(3, "other").is_err());
    Ok(())
}

#[test]
fn loading_reports_differences() -> Result<()> {
    let store = store(0);
    let vb = store.var_builder();
    for (name, len) in [("kept", 2), ("missing", 1), ("reshaped", 3)] {
        vb.get_with_hints(len, name, Init::Const(0.0))?;
    }
    let device = &Device::Cpu;
    let checkpoint = HashMap::from([
        ("kept".to_string(), Tensor::new(&[1f64, 2.0], device)?),
        ("reshaped".to_string(), Tensor::new(&[1f32], device)?),
        ("unexpected".to_string(), Tensor::new(&[1f32], device)?),
    ]);
    let report = store.load_tensors(&checkpoint)?;
    assert!(!report.is_exact());
    assert_eq!(report.missing, ["missing"]);
    assert_eq!(report.unexpected, ["unexpected"]);
    assert_eq!(report.mismatched.len(), 1);
    assert_eq!(
        report.to_string(),
        "wrong shape: reshaped (is [1], must be [3]); missing: missing; unexpected: unexpected"
    );
    assert_eq!(vb.get(2, "kept")?.to_vec1::<f32>()?, [1.0, 2.0]);

    let own = store.tensors().into_iter().collect::<HashMap<_, _>>();
    assert!(store.load_tensors(&own)?.is_exact());
    Ok(())
}

#[test]
fn one_name_has_one_shape() -> Result<()> {
    let store = store(0);
    let vb = store.var_builder();
    vb.get_with_hints(3, "weight", NORMAL)?;
    let error = vb.get(4, "weight").expect_err("another shape");
    assert!(error.to_string().contains("weight"), "{error}");
    Ok(())
}

#[test]
fn threads_that_request_one_name_share_one_variable() -> Result<()> {
    const THREADS: usize = 4;
    let store = store(0);
    let barrier = Barrier::new(THREADS);
    let request = || {
        let vb = store.var_builder();
        barrier.wait();
        // Large, so that all threads draw the values at the same time.
        vb.get_with_hints((1000, 1000), "weight", NORMAL)
    };
    let tensors: Vec<Tensor> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(request)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        let tensors = joined.map(|tensor| tensor.expect("no panic"));
        tensors.collect::<Result<_>>()
    })?;
    let params = store.params();
    assert_eq!((params.len(), store.tensors().len()), (1, 1));
    let (_, var) = &params[0];
    assert!(tensors.iter().all(|tensor| tensor.id() == var.id()));
    Ok(())
}

#[cfg(feature = "checkpoint")]
#[test]
fn a_store_is_saved_and_loaded() -> std::result::Result<(), Box<dyn std::error::Error>> {
    use candle_mish::nn::batch_norm2d;
    use candle_nn::ModuleT;

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("network.safetensors");
    let saved = store(4);
    let vb = saved.var_builder();
    vb.get_with_hints((2, 3), "fc.weight", NORMAL)?;
    let norm = batch_norm2d(3, vb.pp("bn"))?;
    norm.forward_t(&Tensor::randn(0f32, 1.0, (2, 3, 4, 4), &Device::Cpu)?, true)?;
    saved.save(&path)?;

    let loaded = store(5);
    let vb = loaded.var_builder();
    vb.get_with_hints((2, 3), "fc.weight", NORMAL)?;
    batch_norm2d(3, vb.pp("bn"))?;
    assert!(loaded.load(&path)?.is_exact());
    for ((name, saved), (_, loaded)) in saved.tensors().iter().zip(loaded.tensors()) {
        let bits = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        assert_eq!(bits(saved)?, bits(&loaded)?, "{name}");
    }

    let missing = folder.path().join("missing.safetensors");
    let error = loaded.load(&missing).expect_err("no such file");
    assert!(error.to_string().contains("missing.safetensors"), "{error}");
    Ok(())
}
