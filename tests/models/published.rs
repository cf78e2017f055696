//! Sizes that papers and other libraries publish. No script of this repository computed them.

use candle_mish_models::find;

/// A network for ImageNet, its parameters and its multiply-adds. Empty if none are published that
/// are counted in the same way.
type Row = (&'static str, &'static str, &'static str);

/// torchvision 0.28, table of weights: parameters, and multiply-adds ("GFLOPS") at the same image
/// size.
const TORCHVISION: [Row; 24] = [
    ("resnet18", "11689512", "1.81 G"),
    ("resnet34", "21797672", "3.66 G"),
    ("resnet50", "25557032", "4.09 G"),
    ("resnet101", "44549160", "7.80 G"),
    ("resnet152", "60192808", "11.51 G"),
    ("wide_resnet50_2", "68883240", "11.40 G"),
    ("resnext50_32x4d", "25028904", "4.23 G"),
    ("densenet121", "7978856", "2.83 G"),
    ("densenet161", "28681000", "7.73 G"),
    ("densenet169", "14149480", "3.36 G"),
    ("densenet201", "20013928", "4.29 G"),
    ("vgg11", "132863336", "7.61 G"),
    ("vgg11_bn", "132868840", "7.61 G"),
    ("vgg13", "133047848", "11.31 G"),
    ("vgg13_bn", "133053736", "11.31 G"),
    ("vgg16", "138357544", "15.47 G"),
    ("vgg16_bn", "138365992", "15.47 G"),
    ("vgg19", "143667240", "19.63 G"),
    ("vgg19_bn", "143678248", "19.63 G"),
    ("mobilenetv2_100", "3504872", "0.30 G"),
    ("shufflenet_v2_x1_0", "2278604", "0.14 G"),
    ("squeezenet1_0", "1248424", "0.82 G"),
    ("squeezenet1_1", "1235496", "0.35 G"),
    ("efficientnet_b0", "5288548", "0.39 G"),
];

/// timm's tables of results: parameters.
const TIMM: [Row; 11] = [
    ("seresnet50", "28.09 M", ""),
    ("mobilenetv1_100", "4.23 M", ""),
    ("mobilenetv2_100", "3.50 M", ""),
    ("inception_v3", "23.83 M", ""),
    ("inception_resnet_v2", "55.84 M", ""),
    ("xception41", "26.97 M", ""),
    ("efficientnet_b1", "7.79 M", ""),
    ("efficientnet_b2", "9.11 M", ""),
    ("darknet53", "41.61 M", ""),
    ("cspdarknet53", "27.64 M", ""),
    ("cspresnet50", "21.62 M", ""),
];

/// The papers that the registry names.
const PAPERS: [Row; 6] = [
    ("mobilenetv1_100", "4.2 M", "569 M"),
    ("efficientnet_b0", "5.3 M", "0.39 G"),
    ("efficientnet_b1", "7.8 M", ""),
    ("legacy_xception", "22855952", ""),
    ("peleenet", "2.8 M", "508 M"),
    ("shufflenet_v1_x1_0", "", "137 M"),
];

/// Networks that the papers describe for CIFAR-10, with the number of features.
const CIFAR10: [(&str, &str, usize); 5] = [
    ("wrn40_4", "8.9 M", 256),
    ("wrn22_10", "26.8 M", 640),
    ("wrn28_10", "36.5 M", 640),
    ("densenet_bc100_12", "0.8 M", 342),
    ("resnet20", "0.27 M", 64),
];

/// Checks that `value` rounds to `text`, unless that is empty.
fn assert_printed(what: &str, value: f64, text: &str) {
    let (number, unit) = match text.split_once(' ') {
        Some((number, "M")) => (number, 1e6),
        Some((number, "G")) => (number, 1e9),
        _ => (text, 1.0),
    };
    let digits = number.split_once('.').map_or(0, |(_, digits)| digits.len());
    let ours = format!("{:.digits$}", value / unit);
    assert!(
        text.is_empty() || ours == number,
        "{what}: {ours}, not {text}"
    );
}

#[test]
fn sizes_are_those_that_were_published() {
    for (name, params, multiply_adds) in TORCHVISION.into_iter().chain(TIMM).chain(PAPERS) {
        let entry = find(name).expect("a network");
        let form = entry.imagenet.expect("a form for ImageNet");
        assert_printed(name, form.params as f64, params);
        assert_printed(name, form.multiply_adds as f64, multiply_adds);
    }
    for (name, params, features) in CIFAR10 {
        let entry = find(name).expect("a network");
        let fewer = 90 * (features + 1);
        assert_printed(name, (entry.cifar.params - fewer) as f64, params);
    }
}
