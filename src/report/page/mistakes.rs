//! The images that the network is wrong about, with its predictions.

use std::collections::HashMap;

use maud::{Markup, html};

use crate::eval::Prediction;
use crate::report::error::ReportError;
use crate::report::run_report::RunReport;

/// The images shown.
const IMAGES: usize = 24;
/// The most of them with the same class and the same prediction.
const ALIKE: usize = 2;
/// The most pixels of a side.
const SIDE: usize = 64;

/// The wrong predictions with the highest confidence.
pub(super) fn images(report: &RunReport<'_>) -> Result<Markup, ReportError> {
    let mut figures = Vec::new();
    for (index, prediction) in most_confident(report.predictions) {
        let png = report.dataset.test.thumbnail(index, SIDE)?.to_png()?;
        let (label, class) = (
            report.class(prediction.label),
            report.class(prediction.class),
        );
        figures.push(html! {
            figure {
                img src=(format!("data:image/png;base64,{}", base64(&png)))
                    alt=(format!("Test image {index} of class {label}, predicted as {class}"));
                figcaption {
                    strong { (class) } " " (format!("{:.0} %", 100.0 * prediction.confidence)) br;
                    "is " (label) " " (format!("({:.1} %)", 100.0 * prediction.label_probability)) br;
                    small { "test image " (index) }
                }
            }
        });
    }
    Ok(html! {
        @if figures.is_empty() { p { "No image is wrong." } } @else {
            p.note {
                "The errors with the highest confidence: the prediction with its probability, then "
                "the class with its probability. Images count from 0."
            }
            div.images { @for figure in &figures { (figure) } }
        }
    })
}

/// The wrong predictions with the highest confidence, with the numbers of their images.
fn most_confident(predictions: &[Prediction]) -> Vec<(usize, &Prediction)> {
    let wrong = predictions.iter().enumerate();
    let mut wrong: Vec<_> = wrong.filter(|(_, p)| !p.is_correct()).collect();
    wrong.sort_by(|(_, a), (_, b)| b.confidence.total_cmp(&a.confidence));
    let mut alike: HashMap<(u32, u32), usize> = HashMap::new();
    wrong.retain(|(_, p)| {
        let count = alike.entry((p.label, p.class)).or_default();
        *count += 1;
        *count <= ALIKE
    });
    wrong.truncate(IMAGES);
    wrong
}

/// Bytes in base64 (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(match digit > group.len() {
                true => '=',
                false => char::from(DIGITS[value as usize]),
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, expected) in cases {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn the_most_confident_errors_are_shown_and_few_of_a_kind() {
        let prediction = |label: u32, class: u32, confidence: f64| Prediction {
            label,
            class,
            confidence,
            label_probability: 0.1,
            rank: usize::from(label != class),
            loss: 1.0,
        };
        let predictions = [
            prediction(0, 1, 0.5),
            prediction(0, 1, 0.9),
            prediction(0, 1, 0.8),
            prediction(2, 2, 1.0),
            prediction(1, 0, 0.6),
        ];
        let shown: Vec<usize> = most_confident(&predictions)
            .iter()
            .map(|(i, _)| *i)
            .collect();
        assert_eq!(shown, [1, 2, 4]);
    }
}
