//! Recipes by name and from files.

use candle_mish::train::Recipe;
use serde_json::Value;

use crate::{failure, json, mish, success, train};

fn names() -> Vec<String> {
    let rows = json(mish(&["recipes"]));
    let rows = rows.as_array().expect("a list");
    let name = |row: &Value| row["name"].as_str().expect("a name").to_string();
    rows.iter().map(name).collect()
}

#[test]
fn recipes_are_listed_and_valid() {
    let names = names();
    assert_eq!(names.len(), 9);
    let (listed, _) = success(mish(&["recipes"]));
    for name in &names {
        assert!(listed.contains(name), "{name}");
        let (text, _) = success(mish(&["recipes", name]));
        let recipe = Recipe::parse(&text).expect(name);
        let row = json(mish(&["recipes", name]));
        for key in ["about", "source"] {
            let line = row[key].as_str().expect("a line");
            assert!(!line.is_empty() && !line.starts_with('#'), "{name}: {line}");
            assert!(listed.contains(line), "{name}: {line}");
        }
        assert_eq!(row["recipe"]["epochs"], recipe.epochs, "{name}");
        assert_eq!(recipe.needs_pretrained, name.starts_with("finetune"));
        let model = recipe.needs_model.as_deref().unwrap_or("resnet20");
        let mut dry = mish(&["train", model, "--dry-run", "--dataset", "synthetic"]);
        dry.args(["--recipe", name]);
        if recipe.needs_pretrained {
            let said = format!("--recipe {name} needs --pretrained");
            assert!(failure(dry, 2).contains(&said), "{name}");
        } else {
            let config = json(dry);
            assert_eq!(config["recipe"]["lr"], recipe.lr, "{name}");
            assert_eq!(config["recipe"]["epochs"], recipe.epochs, "{name}");
        }
    }
    let error = failure(mish(&["recipes", "qick"]), 2);
    assert!(
        error.contains("unknown recipe 'qick'; did you mean 'quick'?"),
        "{error}"
    );
    let error = failure(mish(&["train", "resnet20", "--recipe", "timm"]), 2);
    assert!(error.contains("unknown recipe 'timm'"), "{error}");
}

#[test]
fn recipes_of_one_network_name_it() {
    for (recipe, network) in [("fast", "airbench94"), ("speedrun", "speedrun75")] {
        let dry = |model: &[&str]| {
            let mut dry = mish(&["train", "--dry-run", "--dataset", "synthetic"]);
            dry.args(["--recipe", recipe]).args(model);
            dry
        };
        let config = json(dry(&[]));
        assert_eq!(config["model"], network);
        assert_eq!(config["recipe"]["opt"], "nmuon");
        assert!(config["recipe"].get("needs_model").is_none());
        assert_eq!(json(dry(&[network])), config);
        let error = failure(dry(&["resnet20"]), 2);
        let said = format!("--recipe {recipe} is for {network}, not for resnet20");
        assert!(error.contains(&said), "{error}");
    }
}

#[test]
fn a_pattern_that_names_no_parameter_leaves_no_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    let flags = ["--opt", "muon", "--fallback-list", "head.*"];
    let error = failure(train(&run, &flags), 2);
    assert!(
        error.contains("--fallback-list is \"head.*\", must be the name of a parameter"),
        "{error}"
    );
    assert!(!run.exists());
}

#[test]
fn the_quick_recipe_is_the_default() {
    let (text, _) = success(mish(&["recipes", "quick"]));
    let quick = Recipe::parse(&text).expect("a recipe");
    assert_eq!(quick, Recipe::default());
}

#[test]
fn errors_of_a_recipe_file_name_the_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("recipe.toml");
    for (text, said) in [
        (
            "lr = 0.1\n\nlearning_rate = 0.1\n",
            "line 3: unknown field `learning_rate`",
        ),
        ("# a comment\nlr = 'fast'\n", "line 2: invalid type"),
        (
            "lr = 0.1\nepochs = 5\nmomentum = 1.5\n",
            "line 3: momentum is 1.5",
        ),
        (
            "lr = 0.1\nswa_lr = 0.05\n",
            "line 2: swa_lr needs swa_start",
        ),
        ("epochs = 3\nlr = \n", "line 2: "),
        (
            "epochs = 3\nswa_start = 4\n",
            "line 2: swa_start is 4, must be at most 3",
        ),
        (
            "opt = 'sgd'\nmuon_fallback = 'sgd'\n",
            "line 2: muon_fallback needs",
        ),
    ] {
        std::fs::write(&file, text).expect("written");
        let mut command = mish(&["train", "resnet20", "--dry-run", "--recipe"]);
        command.arg(&file);
        let error = failure(command, 1);
        let expected = format!("--recipe {}: {said}", file.display());
        assert!(error.contains(&expected), "{error}");
    }
}
