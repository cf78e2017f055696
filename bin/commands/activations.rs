//! `mish activations`: lists the activations.

use candle_core::{DType, Device};
use candle_mish::activation::Activation;
use candle_mish::nn::{ParamStore, act};
use candle_mish::ops::activation::has_kernel;
use candle_mish::rng::Generator;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Done;
use crate::output;

#[derive(Serialize)]
struct Row {
    name: &'static str,
    parameters: Vec<Parameter>,
    aliases: &'static [&'static str],
    /// Whether training changes the parameters.
    learned: bool,
    /// Whether it has a vector kernel and fuses with the normalisation before it.
    fused: bool,
}

#[derive(Serialize)]
struct Parameter {
    name: &'static str,
    default: f64,
}

fn row(activation: &Activation) -> anyhow::Result<Row> {
    let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    act(activation, 1, store.var_builder(), &Generator::new(0))?;
    let parameters = activation.parameters().into_iter();
    Ok(Row {
        name: activation.name(),
        parameters: parameters
            .map(|(name, default)| Parameter { name, default })
            .collect(),
        aliases: activation.aliases(),
        learned: store.num_params() > 0,
        fused: has_kernel(activation),
    })
}

/// Prints the activations.
///
/// # Errors
/// If stdout is closed.
pub fn run(context: &Context) -> anyhow::Result<Done> {
    let rows: Vec<Row> = Activation::all()
        .map(|activation| row(&activation))
        .collect::<anyhow::Result<_>>()?;
    if context.json {
        output::json(&rows)?;
        return Ok(Done::Complete);
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["activation", "parameters", "fused", "aliases"]);
    for row in &rows {
        let parameters: Vec<String> = row.parameters.iter().map(Parameter::text).collect();
        let learned = if row.learned { " (learned)" } else { "" };
        table.add_row([
            row.name,
            &format!("{}{learned}", parameters.join(", ")),
            if row.fused { "yes" } else { "" },
            &row.aliases.join(", "),
        ]);
    }
    output::text(&table.trim_fmt())?;
    output::text(
        "\nParameters follow a colon, in this order: --activation leaky_relu:0.1\n\
         A fused activation has a vector kernel and runs within the normalisation before it.",
    )?;
    Ok(Done::Complete)
}

impl Parameter {
    /// `slope = 0.01`, with at most four decimals.
    fn text(&self) -> String {
        let rounded = (self.default * 1e4).round() / 1e4;
        format!("{} = {rounded}", self.name)
    }
}
