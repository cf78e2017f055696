//! The table of weights on the Hub, and the names of weights.

use candle_mish_models::pretrained::{HubFile, Location, named, pretrained};
use candle_mish_models::{Stem, find};

fn address(text: &str) -> String {
    match named(None, text).expect(text).location {
        Location::Hub(file) => file.to_string(),
        Location::File(path) => path.display().to_string(),
    }
}

#[test]
fn every_row_is_of_a_network_and_a_form_that_there_is() {
    let mut seen = Vec::new();
    for row in pretrained() {
        let entry = find(row.model).expect(row.model);
        let (channels, ..) = entry.form(row.stem).expect(row.repo).input;
        assert_eq!(channels, 3);
        assert!(!seen.contains(&(row.model, row.tag)), "{} twice", row.repo);
        seen.push((row.model, row.tag));
        let classes: &[usize] = match row.stem {
            Stem::Cifar => &[10, 100],
            Stem::ImageNet => &[1000],
        };
        assert!(classes.contains(&row.num_classes), "{}", row.repo);
        assert!(row.crop_pct > 0.5 && row.crop_pct <= 1.0, "{}", row.repo);
        // Its address finds it, with and without the network's name.
        let text = format!("hf://{}", row.repo);
        for entry in [Some(entry), None] {
            assert_eq!(named(entry, &text).expect(&text).row, Some(row));
        }
    }
    let listed: usize = candle_mish_models::entries()
        .map(|entry| entry.pretrained().count())
        .sum();
    assert_eq!(listed, seen.len());
}

#[test]
fn weights_are_named_by_default_by_tag_by_address_and_by_file() {
    let resnet18 = find("resnet18").ok();
    let repo = |text: &str| named(resnet18, text).map(|named| named.row.map(|row| row.repo));
    assert_eq!(repo("").ok(), Some(Some("timm/resnet18.a1_in1k")));
    assert_eq!(repo("tv_in1k").ok(), Some(Some("timm/resnet18.tv_in1k")));
    assert_eq!(
        repo("resnet18.tv_in1k").ok(),
        Some(Some("timm/resnet18.tv_in1k"))
    );
    assert_eq!(
        repo("cifar100").ok(),
        Some(Some("edadaltocg/resnet18_cifar100"))
    );
    let message = repo("a9_in1k").expect_err("no such tag").to_string();
    assert!(
        message.contains("resnet18 has no weights 'a9_in1k'; there are a1_in1k, "),
        "{message}"
    );
    let message = named(find("resnet20").ok(), "")
        .expect_err("none")
        .to_string();
    assert!(
        message.contains("no weights of resnet20 are known"),
        "{message}"
    );
    assert!(named(None, "").is_err());

    let file = named(resnet18, "weights/own.safetensors").expect("a file");
    assert_eq!(
        (file.location, file.row),
        (Location::File("weights/own.safetensors".into()), None)
    );
    for same in [
        "hf://some-one/a.net_1",
        "hf://some-one/net@v1.0",
        "hf://some-one/net@refs%2Fpr%2F1/sub/weights.safetensors",
    ] {
        assert_eq!(address(same), same);
    }
    let parsed = named(None, "hf://some-one/net@refs%2Fpr%2F1/sub/w.pth").expect("an address");
    let expected = HubFile {
        repo: "some-one/net".into(),
        revision: Some("refs/pr/1".into()),
        file: Some("sub/w.pth".into()),
    };
    assert_eq!(parsed.location, Location::Hub(expected));
    for wrong in [
        "hf://",
        "hf://one",
        "hf://one/",
        "hf:///two",
        "hf://one/two@",
        "hf://one/two/",
        "hf://one/../../etc",
        "hf://../two",
        "hf://one/two@../x",
        "hf://one/two@v1/../../x",
        "hf://one two/three",
    ] {
        let message = named(None, wrong).expect_err(wrong).to_string();
        assert!(
            message.contains("expected hf://owner/name"),
            "{wrong}: {message}"
        );
    }
}
