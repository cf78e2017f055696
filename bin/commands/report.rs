//! `mish report`: rebuilds the report of a run.

use std::path::{Path, PathBuf};

use candle_core::ModuleT;
use candle_mish::data::{CheckedSplits, Dataset, Loader, LoaderConfig};
use candle_mish::eval::predict;
use candle_mish::report::{ReportError, RunReport, StoredRun, hash_data, hash_weights};
use candle_mish::train::run_folder::{LAST, REPORT};
use candle_mish_models::ModelArgs;
use serde::Serialize;

use super::origin::Origin;
use crate::args::range::check_batch;
use crate::args::{DataArgs, OUTPUT, PreprocessArgs};
use crate::context::Context;
use crate::failure::Done;
use crate::network::{Network, Weights};
use crate::output_file::{Content, OutputFile};
use crate::{classes, dataset, output, preprocessing};

/// What errors call the page in the run folder, which no flag names.
const OWN: &str = "the report";

/// Flags of `mish report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Run folder
    run: PathBuf,
    /// Output file [default: report.html in the run folder]
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    output: Option<PathBuf>,
    /// Folder with the files of the data set [default: as in the run]
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    data_dir: Option<PathBuf>,
    /// Folder for decoded images [default: as in the run]
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    cache_dir: Option<PathBuf>,
    /// Use only local files
    #[arg(long, help_heading = "Data")]
    offline: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    output: &'a Path,
    images: usize,
    top1: f64,
}

/// Evaluates the last weights of a run and writes its report.
///
/// # Errors
/// If the folder holds no run, or its data set is not available.
pub fn run(args: &ReportArgs, context: &Context) -> anyhow::Result<Done> {
    let run = StoredRun::read(&args.run)?;
    if run.records.is_empty() {
        return Err(ReportError::NoEpoch(args.run.clone()).into());
    }
    let path = args.output.clone().unwrap_or_else(|| args.run.join(REPORT));
    let flag = args.output.as_ref().map_or(OWN, |_| "--output");
    let file = OutputFile::new(flag, &path, Content::Html)?;
    let weights = Weights::read(&args.run.join(LAST), None, None)?;
    let spec = weights.spec(&ModelArgs::default())?;
    let flags = DataArgs {
        data_dir: args.data_dir.clone(),
        cache_dir: args.cache_dir.clone(),
        offline: args.offline,
        ..DataArgs::default()
    };
    let unchanged = PreprocessArgs::default();
    let mut origin = Origin::of(&weights, &spec.model, &flags)?;
    preprocessing::resolve(&mut origin.data, &weights, &spec, &unchanged)?;
    let dataset = dataset::open(&origin.data, CheckedSplits::Test, context)?;
    let dataset = classes::map(dataset, &origin.data, &weights, &spec)?.dataset;
    let dataset = preprocessing::with_channels(dataset, spec.in_chans)?;
    let batch_size = origin.recipe.batch_size;
    check_batch(batch_size.min(dataset.test.len()), &dataset.test)?;
    let network = Network::load(&spec, &weights)?;
    let (mean, std) = preprocessing::normalisation(&dataset, &weights, &unchanged)?;
    let config = LoaderConfig::in_order(batch_size, mean, std);
    let loader = Loader::new(dataset.test.clone(), config).on(network.store.device());
    let frozen = network.for_evaluation(&spec)?;
    let (images, top1) = write(file, &run, &dataset, &loader, &*frozen)?;
    if context.json {
        output::json(&Answer {
            output: &path,
            images,
            top1,
        })?;
    } else {
        output::text(&path.display().to_string())?;
    }
    Ok(Done::Complete)
}

/// Predicts the classes of the test images with `network` and writes the report of `run` to `file`.
/// `loader` has the test images of `dataset`. Returns their number and the top-1 accuracy.
///
/// # Errors
/// If a file cannot be read or the page cannot be written.
fn write(
    file: OutputFile<'_>,
    run: &StoredRun,
    dataset: &Dataset,
    loader: &Loader,
    network: &dyn ModuleT,
) -> anyhow::Result<(usize, f64)> {
    let batches = loader.epoch(0, 0);
    let batches = batches.map(|batch| batch.map(|batch| (batch.images, batch.labels)));
    let predictions = predict(network, batches)?;
    let page = RunReport {
        run,
        dataset,
        predictions: &predictions,
        data_files: &hash_data(dataset)?,
        weight_files: &hash_weights(&run.folder)?,
    }
    .page()?;
    file.write(page.as_bytes())?;
    let correct = predictions.iter().filter(|p| p.is_correct()).count();
    let top1 = correct as f64 / predictions.len().max(1) as f64;
    Ok((predictions.len(), top1))
}

/// Writes the report of the finished run in `folder` there.
///
/// # Errors
/// As [`run`].
pub fn write_in_folder(
    folder: &Path,
    dataset: &Dataset,
    test: &Loader,
    network: &dyn ModuleT,
) -> anyhow::Result<()> {
    let run = StoredRun::read(folder)?;
    let path = folder.join(REPORT);
    let file = OutputFile::new(OWN, &path, Content::Html)?;
    write(file, &run, dataset, test, network).map(drop)
}
