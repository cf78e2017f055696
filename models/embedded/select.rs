//! Chooses embedded weights by the network and its activation.

use candle_mish::activation::Activation;

use crate::embedded::row::Embedded;
use crate::embedded::rows::ROWS;
use crate::error::ModelError;

/// The name of these weights where others are tags.
#[cfg(feature = "hub")]
pub(crate) const NAME: &str = "embedded";

/// All embedded weights. The weights of a network are together, its default first.
pub fn embedded() -> impl Iterator<Item = &'static Embedded> {
    ROWS.iter()
}

/// The embedded weights of the network called `model`: those with this activation, or else the
/// default. Which activation the weights have is up to the caller to check.
///
/// # Errors
/// [`ModelError::Option`] if the network has none, with those that exist.
pub(crate) fn find(
    model: Option<&str>,
    activation: Option<Activation>,
) -> Result<&'static Embedded, ModelError> {
    choose(&ROWS, model, activation)
}

fn choose<'a>(
    rows: &'a [Embedded],
    model: Option<&str>,
    activation: Option<Activation>,
) -> Result<&'a Embedded, ModelError> {
    let own = |row: &&Embedded| Some(row.model) == model;
    let with = |row: &&Embedded| Some(row.activation) == activation;
    let mut found = rows.iter().filter(own);
    let chosen = found.clone().find(with).or_else(|| found.next());
    chosen.ok_or_else(|| ModelError::Option(missing(rows, model)))
}

/// Why there are no such weights.
fn missing(rows: &[Embedded], model: Option<&str>) -> String {
    if rows.is_empty() {
        return "this build has no embedded weights".to_string();
    }
    let all = rows
        .iter()
        .map(|row| format!("{} with {}", row.model, row.activation));
    let all = all.collect::<Vec<_>>().join(", ");
    match model {
        None => format!("name the network of the embedded weights; there are {all}"),
        Some(model) => format!("{model} has no embedded weights; there are {all}"),
    }
}

#[cfg(test)]
mod tests {
    use candle_mish::activation::Activation;

    use super::{choose, embedded};
    use crate::embedded::row::Embedded;
    use crate::registry::find;

    const fn row(model: &'static str, activation: Activation) -> Embedded {
        Embedded {
            model,
            activation,
            dataset: "cifar100",
            num_classes: 100,
            top1: 0.5,
            sha256: "",
            bytes: &[],
        }
    }

    #[test]
    fn the_network_and_then_the_activation_decide() {
        let rows = [
            row("resnet20", Activation::Mish),
            row("resnet20", Activation::Relu),
            row("mobilenetv2_100", Activation::Relu6),
        ];
        let chosen = |model, activation| choose(&rows, Some(model), activation).expect("weights");
        assert_eq!(chosen("resnet20", None), &rows[0]);
        assert_eq!(chosen("resnet20", Some(Activation::Relu)), &rows[1]);
        // The caller reports that the weights have another activation.
        assert_eq!(chosen("resnet20", Some(Activation::Silu)), &rows[0]);
        assert_eq!(chosen("mobilenetv2_100", None), &rows[2]);
        let refused = |rows, model| {
            choose(rows, model, None)
                .expect_err("no weights")
                .to_string()
        };
        assert_eq!(
            refused(&rows, Some("vgg16")),
            "vgg16 has no embedded weights; there are resnet20 with mish, resnet20 with relu, \
             mobilenetv2_100 with relu6"
        );
        assert!(refused(&rows, None).starts_with("name the network of the embedded weights"));
        assert_eq!(
            refused(&[], Some("vgg16")),
            "this build has no embedded weights"
        );
    }

    #[test]
    fn rows_are_of_known_networks_and_together() {
        let mut seen: Vec<&str> = Vec::new();
        for row in embedded() {
            assert!(find(row.model).is_ok(), "{}", row.model);
            if seen.last() != Some(&row.model) {
                assert!(!seen.contains(&row.model), "{} comes twice", row.model);
                seen.push(row.model);
            }
        }
    }
}
