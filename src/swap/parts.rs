//! The parts of a network: its stages and its layers.

/// The last of the layers at `paths` in each stage.
pub(super) fn last_of_stages(paths: &[String]) -> Vec<String> {
    let mut last: Vec<String> = Vec::new();
    for path in paths {
        match last.last_mut() {
            Some(own) if stage(own) == stage(path) => own.clone_from(path),
            _ => last.push(path.clone()),
        }
    }
    last
}

/// The stages (`layer1.*`) with more than one of the layers at `paths`, then the layers.
pub(super) fn parts(paths: &[String]) -> Vec<String> {
    let mut stages: Vec<String> = paths.iter().filter_map(|path| stage(path)).collect();
    stages.dedup();
    let members = |pattern: &str| {
        let of = |path: &&String| stage(path).as_deref() == Some(pattern);
        paths.iter().filter(of).count()
    };
    stages.retain(|pattern| members(pattern) > 1);
    // A stage with all layers would repeat the swap of the whole network.
    stages.retain(|pattern| members(pattern) < paths.len());
    stages.extend(paths.iter().cloned());
    stages
}

/// The pattern of the stage of the layer at `path`: the path up to its first number, as in
/// `layer2.*`, `blocks.3.*` and `features.denseblock1.*`, or else its first component.
fn stage(path: &str) -> Option<String> {
    let (modules, _) = path.rsplit_once('.')?;
    let mut end = 0;
    for module in modules.split('.') {
        end += module.len() + 1;
        if module.ends_with(|c: char| c.is_ascii_digit()) {
            return Some(format!("{}.*", &modules[..end - 1]));
        }
    }
    let first = modules.split('.').next()?;
    Some(format!("{first}.*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str]) -> Vec<String> {
        parts(&paths.iter().map(|p| p.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn a_stage_ends_at_its_number() {
        for (path, pattern) in [
            ("layer2.0.act1", "layer2.*"),
            ("blocks.3.1.bn1.act", "blocks.3.*"),
            (
                "features.denseblock1.denselayer2.act1",
                "features.denseblock1.*",
            ),
            ("stages.0.blocks.1.act", "stages.0.*"),
            ("features.act", "features.*"),
        ] {
            assert_eq!(stage(path).as_deref(), Some(pattern), "{path}");
        }
        assert_eq!(stage("act1"), None);
    }

    #[test]
    fn stages_come_first_and_have_more_than_one_layer() {
        assert_eq!(
            of(&["act1", "layer1.0.act1", "layer1.0.act2", "layer2.0.act1"]),
            [
                "layer1.*",
                "act1",
                "layer1.0.act1",
                "layer1.0.act2",
                "layer2.0.act1"
            ]
        );
        assert_eq!(
            of(&["features.a.act", "features.b.act"]),
            ["features.a.act", "features.b.act"]
        );
    }
}
