//! `mish plot hessian`: the largest eigenvalues of the Hessian of the loss at trained weights.

use std::path::PathBuf;

use candle_mish::landscape::{Eigenvalue, LanczosOptions, hessian_eigenvalues};
use candle_mish::plot::loss_gradient;
use serde_json::json;

use super::images::{Trained, TrainedArgs};
use crate::args::range::{count, number, seed};
use crate::args::{METHOD, OUTPUT};
use crate::context::Context;
use crate::failure::{Done, usage};
use crate::output;
use crate::output_file::{Content, OutputFile};
use crate::table::{align_right, counted, table, thousands};

/// Limit of `--products`. Each keeps a vector of all weights.
const MAX_PRODUCTS: usize = 500;

/// Flags of `mish plot hessian`.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct HessianArgs {
    #[command(flatten)]
    trained: TrainedArgs,
    /// Eigenvalues to find
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count(1..=100), help_heading = METHOD)]
    count: usize,
    /// Maximum number of Hessian-vector products. Each needs two gradients over all images
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = count(1..=MAX_PRODUCTS), help_heading = METHOD)]
    products: usize,
    /// Stop once all residuals are at most this share of the largest eigenvalue
    #[arg(long, value_name = "X", default_value_t = 0.01, value_parser = number::<f64>(0.0..=1.0), help_heading = METHOD)]
    tolerance: f64,
    /// Distance of the gradients on each side, as a share of the norm of the weights
    #[arg(long, value_name = "X", default_value_t = 1e-3, value_parser = number::<f64>(1e-8..=1.0), help_heading = METHOD)]
    step: f64,
    /// Seed of the first vector
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed, help_heading = METHOD)]
    seed: u64,
    /// Write the eigenvalues as CSV
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    csv: Option<PathBuf>,
}

/// Finds the eigenvalues and prints them.
///
/// # Errors
/// If flags, weights or data are wrong, or a file cannot be written.
pub fn run(args: &HessianArgs, context: &Context) -> anyhow::Result<Done> {
    if args.products < args.count {
        return Err(usage(format!(
            "--products {}: {} eigenvalues need at least as many products",
            args.products, args.count
        )));
    }
    let table = OutputFile::given("--csv", &args.csv, Content::Csv)?;
    let Trained {
        network,
        spec,
        batches,
        title,
        images,
        ..
    } = args.trained.open(context)?;
    let params = network.store.params();
    let options = LanczosOptions {
        count: args.count,
        products: args.products,
        tolerance: args.tolerance,
        seed: args.seed,
    };
    let gradient = || loss_gradient(&*network.model, &params, &batches);
    let found = hessian_eigenvalues(&params, args.step, &options, gradient)?;
    if let Some(table) = table {
        table.write(csv(&found).as_bytes())?;
    }
    let converged = is_converged(&found, args.tolerance);
    if context.json {
        output::json(&json!({
            "model": spec.model,
            "activation": spec.activation,
            "images": images,
            "params": network.store.num_params(),
            "step": args.step,
            "seed": args.seed,
            "method": "Lanczos, Hessian-vector products by central differences of exact gradients",
            "eigenvalues": found,
            "converged": converged,
            "csv": args.csv,
        }))?;
    } else {
        let note = match converged {
            true => String::new(),
            false => format!(
                "\n\nNot converged after {}: a residual is above {} of the largest eigenvalue; raise \
                 --products",
                counted(args.products, "product"),
                args.tolerance
            ),
        };
        let text = text(&title, &found, network.store.num_params());
        output::text(&format!("{text}{note}"))?;
    }
    Ok(Done::Complete)
}

/// Whether all residuals are at most this share of the largest eigenvalue.
fn is_converged(found: &[Eigenvalue], tolerance: f64) -> bool {
    let largest = found.first().map_or(0.0, |first| first.value.abs());
    found.iter().all(|it| it.residual <= tolerance * largest)
}

fn csv(found: &[Eigenvalue]) -> String {
    let mut text = String::from("position,eigenvalue,residual\n");
    for (i, eigenvalue) in found.iter().enumerate() {
        let Eigenvalue { value, residual } = eigenvalue;
        text.push_str(&format!("{},{value},{residual}\n", i + 1));
    }
    text
}

fn text(title: &str, found: &[Eigenvalue], params: usize) -> String {
    let mut table = table(&["position", "eigenvalue", "residual"]);
    for (i, eigenvalue) in found.iter().enumerate() {
        table.add_row([
            (i + 1).to_string(),
            format!("{:.4}", eigenvalue.value),
            format!("{:.1e}", eigenvalue.residual),
        ]);
    }
    align_right(&mut table, 0..3);
    format!(
        "{title}: largest eigenvalues of the Hessian of the loss with respect to {} parameters, by \
         Lanczos' method; products are central differences of exact gradients\n\n{}",
        thousands(params as u64),
        table.trim_fmt()
    )
}
