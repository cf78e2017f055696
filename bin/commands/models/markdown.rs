//! The networks as the page docs/models.md.

use super::{Row, short_tags, size_cells};

/// The page docs/models.md.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut page = String::from(
        "# The networks\n\n\
         <!-- Written by `mish models --markdown`; a test compares. -->\n\n\
         Parameters and multiply-adds (of convolutions and linear layers, for one image) with an\n\
         activation that has no parameters of its own. The CIFAR form has 100 classes and takes\n\
         32x32 images, the ImageNet form has 1000 classes and the size given. `mish models NAME`\n\
         shows the layers of one, `--stem imagenet` those of its ImageNet form. The weights are those\n\
         that `--pretrained` takes from the Hugging Face Hub, the default first; their table is below.\n",
    );
    let mut family = "";
    for row in rows {
        if row.family != family {
            family = row.family;
            page += &format!(
                "\n## {family}\n\n`train-{family}`\n\n\
                 | model | CIFAR-100: parameters | multiply-adds | ImageNet: parameters | multiply-adds | input | weights | paper |\n\
                 | --- | ---: | ---: | ---: | ---: | --- | --- | --- |\n"
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

/// The page's table of weights.
fn weights_page(rows: &[Row]) -> String {
    let mut page = String::from(
        "\n## Weights on the Hugging Face Hub\n\n\
         With `--pretrained TAG`. The size of the images, the share that is kept of a scaled picture\n\
         and the filter are those that the weights were made for.\n\n\
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

/// A link for an arXiv number; any other text as it is.
fn paper_link(paper: &str) -> String {
    match paper.strip_prefix("arXiv:") {
        Some(number) => format!("[{paper}](https://arxiv.org/abs/{number})"),
        None => paper.to_string(),
    }
}
