//! What to say about a name that no network has.

use candle_mish::suggest::correct;
use candle_mish_models as models;

/// Networks that a message lists.
const SHOWN: usize = 6;
/// A shorter part of a name matches too many networks.
const SHORTEST_PART: usize = 3;

/// The message about an unknown `name`, to which the registry may have a `suggestion`.
pub fn message(name: &str, suggestion: Option<&str>) -> String {
    if name.contains(['*', '?']) {
        return format!("no network matches '{name}'; `mish models` lists all");
    }
    let advice = match name {
        "true" | "false" => {
            format!("an option takes it after =, as in --grad-checkpointing={name}")
        }
        _ => match similar(name, suggestion) {
            Some(similar) => format!("did you mean {similar}?"),
            None => "`mish models` lists all".to_string(),
        },
    };
    format!("unknown model '{name}'; {advice}")
}

/// The network whose name differs by a slip, or those with `name` in their name or family, or the
/// suggestion.
fn similar(name: &str, suggestion: Option<&str>) -> Option<String> {
    let slip = correct(name, models::entries().map(|entry| entry.name));
    if let Some(name) = slip {
        return Some(format!("'{name}'"));
    }
    let lower = name.to_lowercase();
    let family = match lower.len() >= SHORTEST_PART {
        true => models::list(&lower),
        false => Vec::new(),
    };
    let names: Vec<&str> = family.iter().map(|entry| entry.name).collect();
    match names.as_slice() {
        [] => suggestion.map(|name| format!("'{name}'")),
        [one] => Some(format!("'{one}'")),
        [first @ .., last] if names.len() <= SHOWN => {
            Some(format!("{} or {last}", first.join(", ")))
        }
        names => Some(format!(
            "one of {} and {} more",
            names[..SHOWN].join(", "),
            names.len() - SHOWN
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn families_are_listed_and_slips_corrected() {
        let slip = message("resnet_20", Some("resnet18"));
        assert_eq!(slip, "unknown model 'resnet_20'; did you mean 'resnet20'?");
        let family = message("densenet", Some("densenet201"));
        assert!(family.contains("densenet121"), "{family}");
        assert!(family.ends_with('?'), "{family}");
        let other = message("zzz", None);
        assert_eq!(other, "unknown model 'zzz'; `mish models` lists all");
        let pattern = message("resnt*", Some("resnet9"));
        let expected = "no network matches 'resnt*'; `mish models` lists all";
        assert_eq!(pattern, expected);
        assert!(message("false", None).ends_with("--grad-checkpointing=false"));
    }
}
