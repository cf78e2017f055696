//! The list of networks as the page docs/models.md.

use super::rows::{Row, short_tags, size_cells};
use crate::commands::train::program;

/// The page docs/models.md.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut page = String::from(
        "# Networks\n\n\
         <!-- Written by `mish models --markdown`; a test compares. -->\n\n\
         Parameters and multiply-adds (of convolutions and linear layers, for one image), with an\n\
         activation without parameters. The CIFAR form has 100 classes and takes 32x32 images. The\n\
         ImageNet form has 1000 classes and takes images of the size given. `mish models NAME` shows\n\
         the layers of the CIFAR form, `mish models NAME --stem imagenet` the layers of the ImageNet\n\
         form. The column \"weights\" has the tags for `--pretrained`, the default first.\n",
    );
    let mut family = "";
    for row in rows {
        if row.family != family {
            family = row.family;
            page += &format!(
                "\n## {family}\n\n`{}`\n\n\
                 | model | CIFAR-100: parameters | multiply-adds | ImageNet: parameters | multiply-adds | input | weights | paper |\n\
                 | --- | ---: | ---: | ---: | ---: | --- | --- | --- |\n",
                program(family)
            );
        }
        let [params, multiply_adds, _] = size_cells(Some(&row.cifar));
        let [imagenet_params, imagenet_multiply_adds, input] = size_cells(row.imagenet.as_ref());
        let cells = [
            format!("`{}`", row.name),
            params,
            multiply_adds,
            imagenet_params,
            imagenet_multiply_adds,
            input,
            short_tags(&row.pretrained),
            paper_link(row.paper),
        ];
        page += &format!("| {} |\n", cells.join(" | "));
    }
    page += &weights_page(rows);
    page
}

/// The table of weights.
fn weights_page(rows: &[Row]) -> String {
    let mut page = String::from(
        "\n## Weights on the Hugging Face Hub\n\n\
         `--pretrained TAG` downloads them. `mish` preprocesses images as in the training of the\n\
         weights: it resizes with the filter, keeps the centre crop and normalises with mean and std.\n\n\
         | model | tag | repository | activation | classes | images | crop | filter | mean | std | licence |\n\
         | --- | --- | --- | --- | ---: | --- | ---: | --- | --- | --- | --- |\n",
    );
    let numbers = |values: [f32; 3]| values.map(|value| value.to_string()).join(", ");
    for (model, row) in rows
        .iter()
        .flat_map(|row| row.pretrained.iter().map(|w| (row.name, w)))
    {
        let repo = row.repo;
        let cells = [
            format!("`{model}`"),
            format!("`{}`", row.tag),
            format!("[{repo}](https://huggingface.co/{repo})"),
            row.activation.clone(),
            row.num_classes.to_string(),
            format!("{0}x{0}", row.input_size),
            row.crop_pct.to_string(),
            row.interpolation.to_string(),
            numbers(row.mean),
            numbers(row.std),
            row.license.to_string(),
        ];
        page += &format!("| {} |\n", cells.join(" | "));
    }
    page
}

/// A link for an arXiv number, or the text as it is.
fn paper_link(paper: &str) -> String {
    match paper.strip_prefix("arXiv:") {
        Some(number) => format!("[{paper}](https://arxiv.org/abs/{number})"),
        None => paper.to_string(),
    }
}
