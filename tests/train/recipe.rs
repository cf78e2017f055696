//! Recipes in TOML.

use candle_mish::data::ColorJitter;
use candle_mish::train::{OptimizerKind, Recipe, ScheduleKind};

fn message(toml: &str) -> String {
    Recipe::from_toml(toml).expect_err(toml).to_string()
}

#[test]
fn a_recipe_survives_toml() {
    let recipe = Recipe {
        opt: OptimizerKind::AdamW.into(),
        sched: ScheduleKind::MultiStep,
        decay_milestones: vec![3.0, 5.5],
        clip_grad: Some(1.0),
        lr: 1.0 / 3.0,
        seed: i64::MAX as u64,
        ..Recipe::default()
    };
    let jittered = |values: &[f64], aa: &str| Recipe {
        vflip: 0.1,
        degrees: 15.0,
        aa: aa.parse().ok(),
        color_jitter: ColorJitter::from_values(values).ok(),
        color_jitter_prob: Some(0.8),
        grayscale_prob: 0.2,
        gaussian_blur_prob: 0.3,
        ..Recipe::default()
    };
    let recipes = [
        recipe,
        Recipe::default(),
        jittered(&[0.4], "3a"),
        jittered(&[0.4, 0.3, 0.2], "rand-t3a-m9-mstd0.5"),
        jittered(&[0.4, 0.4, 0.4, 0.1], "3a-mstd0.5"),
    ];
    for recipe in recipes {
        let text = toml::to_string(&recipe).expect("TOML");
        assert_eq!(Recipe::from_toml(&text).expect("a recipe"), recipe);
    }
}

#[test]
fn missing_fields_have_their_defaults() {
    let recipe = Recipe::from_toml("lr = 0.05\nopt = 'adamw'\nsched = 'cosine'\n").expect("valid");
    let expected = Recipe {
        lr: 0.05,
        opt: OptimizerKind::AdamW.into(),
        sched: ScheduleKind::Cosine,
        ..Recipe::default()
    };
    assert_eq!(recipe, expected);
}

#[test]
fn errors_name_the_field_and_its_range() {
    assert_eq!(
        message("opt = 'adanw'"),
        "unknown optimizer 'adanw'; did you mean 'adamw'?"
    );
    assert_eq!(
        message("sched = 'cosin'"),
        "unknown schedule 'cosin'; did you mean 'cosine'?"
    );
    assert_eq!(
        message("loss = 'marign'"),
        "unknown loss 'marign'; did you mean 'margin'?"
    );
    assert_eq!(
        message("opt = 'lookahead_radan'"),
        "unknown optimizer 'lookahead_radan'; did you mean 'lookahead_radam'?"
    );
    assert!(message("opt = 'lookahead_zzz'").contains("one of sgd, sgdw"));
    assert!(message("opt = 'lookahead_'").contains("unknown optimizer 'lookahead_'"));
    assert_eq!(
        message("opt = 'muon'\nmuon_fallback = 'adam'"),
        "unknown muon fallback 'adam'; did you mean 'adamw'?"
    );
    assert_eq!(
        message("ns_coefficients = 'quintic'"),
        "ns_coefficients needs the optimizer muon or nmuon"
    );
    assert_eq!(
        message("clip_mode = 'agc'"),
        "clip_mode agc needs clip_grad; 0.01 is usual"
    );
    assert!(message("l1_penalty = -1.0").contains("l1_penalty is -1"));
    assert!(message("opt_betas = [0.9, 1.0]").contains("opt_betas is 1"));
    assert!(message("sched = 'zzz'").contains("one of onecycle, cosine"));
    assert_eq!(
        message("lr = -0.1"),
        "lr is -0.1, must be a positive number"
    );
    assert_eq!(message("lr = nan"), "lr is NaN, must be a positive number");
    assert_eq!(message("epochs = 0"), "epochs is 0, must be 1 or more");
    assert_eq!(
        message("batch_size = 0"),
        "batch_size is 0, must be 1 or more"
    );
    assert!(message("momentum = 1.0").contains("momentum is 1"));
    assert!(message("smoothing = 1.5").contains("smoothing is 1.5"));
    assert!(message("hflip = 2.0").contains("hflip is 2"));
    assert!(message("vflip = 2.0").contains("vflip is 2"));
    assert!(message("degrees = 181.0").contains("degrees is 181"));
    assert!(message("grayscale_prob = -1.0").contains("grayscale_prob is -1"));
    assert!(message("gaussian_blur_prob = nan").contains("gaussian_blur_prob is NaN"));
    assert!(message("aa = 'rnd-m9'").contains("did you mean 'rand'?"));
    assert!(message("aa = 'rand-q9'").contains("no parameter 'q9'"));
    assert_eq!(
        message("color_jitter_prob = 0.8"),
        "color_jitter_prob needs color_jitter; 0.4 is usual"
    );
    assert!(message("color_jitter = 0.4\naa = 'rand'").contains("color_jitter needs no aa"));
    assert_eq!(
        message("color_jitter = [0.4, 0.4, 0.4, 0.6]"),
        "color_jitter is [0.4, 0.4, 0.4, 0.6], must be between 0 and 0.5 for the hue"
    );
    assert!(message("color_jitter = [0.4, 0.4]").contains("2 values, must be 1, 3 or 4"));
    assert!(message("color_jitter = 'x'").contains("expected a number"));
    assert!(message("color_jitter = 0.4\ncolor_jitter_prob = 2.0").contains("is 2"));
    assert!(message("clip_grad = 0.0").contains("clip_grad is 0"));
    assert!(message("epochs = 3\nsched = 'cosine'\nwarmup_epochs = 5.0").contains("warmup_epochs"));
    assert!(message("decay_milestones = [5.0, 3.0]").contains("ascending"));
    assert!(message("layer_decay = 1.5").contains("layer_decay is 1.5"));
    assert!(message("head_warmup_epochs = 11.0").contains("head_warmup_epochs is 11"));
    let both = "freeze_backbone = true\nhead_warmup_epochs = 1.0";
    assert!(message(both).contains("freeze_backbone"));
    assert!(message("learning_rate = 0.1").contains("learning_rate"));
    for huge in [
        "epochs = 1000001",
        "batch_size = 9223372036854775807",
        "crop_padding = 9223372036854775807",
        "lr = 1e300",
        "decay_epochs = 1e-300",
        "decay_epochs = 1e-9",
        "div_factor = 1e-300",
        "final_div_factor = 1e300",
        "decay_rate = 1e300",
        "opt_eps = inf",
        "weight_decay = 1e300",
        "l1_penalty = inf",
        "l2_penalty = 1e300",
        "warmup_epochs = inf",
        "scale = [nan, 1.0]",
        "ratio = [0.0, inf]",
    ] {
        let field = huge.split(' ').next().expect("a field");
        let message = message(huge);
        assert!(
            message.starts_with(field) && message.contains("must be"),
            "{message}"
        );
        assert!(message.len() < 120, "{message}");
    }
    for broken in [
        "lr = 'fast'",
        "lr =",
        "epochs = -1",
        "crop_pad_mode = 'wrap'",
    ] {
        assert!(!message(broken).contains('\n'), "{broken}");
    }
}

#[test]
fn the_defaults_of_an_optimizer_are_filled_in() {
    let filled = |toml: &str| {
        let recipe = Recipe::from_toml(toml).expect("valid");
        let filled = recipe.clone().with_optimizer_defaults();
        assert_eq!(filled.optimizer(), recipe.optimizer());
        filled.validate().expect("valid");
        filled
    };
    assert_eq!(filled(""), Recipe::default());
    let lion = filled("opt = 'lion'");
    assert_eq!((lion.opt_betas, lion.opt_eps), (Some([0.9, 0.99]), None));
    let own = filled("opt = 'lookahead_adam'\nopt_eps = 0.5");
    assert_eq!(
        (own.opt_betas, own.opt_eps),
        (Some([0.9, 0.999]), Some(0.5))
    );
    let text = toml::to_string(&filled("opt = 'nmuon'")).expect("TOML");
    for line in [
        "opt = \"nmuon\"",
        "muon_fallback = \"adamw\"",
        "ns_coefficients = \"quintic\"",
        "ns_steps = 5",
        "adjust_lr_fn = \"match_rms_adamw\"",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// Fine-tuning with the recipe of a run follows the whole schedule in fewer steps.
#[test]
fn a_schedule_scales_to_the_number_of_steps() {
    let cosine = Recipe {
        epochs: 50,
        sched: ScheduleKind::Cosine,
        warmup_epochs: 5.0,
        ..Recipe::default()
    };
    assert_eq!(cosine.schedule(2), cosine.schedule_over(100));
    let squeezed = cosine.schedule_over(20);
    assert!(squeezed.lr(1) < cosine.lr && squeezed.lr(19) < 0.01 * cosine.lr);
    assert_eq!(squeezed.lr(2), cosine.lr);
    let steps = Recipe {
        epochs: 30,
        sched: ScheduleKind::Step,
        decay_epochs: 10.0,
        ..Recipe::default()
    };
    let squeezed = steps.schedule_over(30);
    let rates = [0, 9, 10, 20].map(|step| squeezed.lr(step) / steps.lr);
    for (found, expected) in rates.iter().zip([1.0, 1.0, 0.1, 0.01]) {
        assert!((found - expected).abs() < 1e-12, "{rates:?}");
    }
}
