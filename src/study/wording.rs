//! Results in words.

use toml::Value;

use super::analysis::{Analysis, ComparisonResult, OverallResult};
use super::definition::plain;
use super::metric::Metric;
use super::statistics::Interval;

/// The significance level of the findings.
const LEVEL: f64 = 0.05;

/// Settings in one line, such as `activation mish, lr 0.1`.
pub fn describe(settings: &[(String, Value)]) -> String {
    let text = settings
        .iter()
        .map(|(name, value)| format!("{name} {}", plain(value)));
    text.collect::<Vec<_>>().join(", ")
}

/// A p-value as text.
pub fn p_value(p: f64) -> String {
    match p {
        p if p < 1e-4 => "< 0.0001".to_owned(),
        p if p < 0.1 => format!("{p:.4}"),
        p => format!("{p:.2}"),
    }
}

/// A p-value in a sentence: `p = 0.0123` or `p < 0.0001`.
fn p_equation(p: f64) -> String {
    let value = p_value(p);
    if value.starts_with('<') {
        format!("p {value}")
    } else {
        format!("p = {value}")
    }
}

/// An interval of a value as text.
pub fn interval(metric: Metric, interval: Interval) -> String {
    format!(
        "{} to {}",
        metric.text(interval.low),
        metric.text(interval.high)
    )
}

impl Analysis {
    /// What the comparisons found and what they do not show, a sentence or two for each.
    pub fn findings(&self) -> Vec<String> {
        let comparisons = self
            .comparisons
            .iter()
            .map(|comparison| self.finding(comparison));
        let overall = self
            .overall
            .iter()
            .map(|result| self.overall_finding(result));
        comparisons
            .chain(overall)
            .chain(self.ranking_finding())
            .collect()
    }

    fn finding(&self, comparison: &ComparisonResult) -> String {
        let (metric, name) = (self.metric, describe(&comparison.axes));
        let difference = metric.difference(comparison.difference);
        let Some((ci95, p)) = comparison.ci95.zip(comparison.holm_p) else {
            return format!(
                "{name}: {difference} from the baseline. One pair of runs, equal runs or equal \
                 differences have no test: the seed alone changes results."
            );
        };
        let (n, test) = match comparison.paired_p {
            Some(_) => (format!("{} pairs", comparison.pairs), "paired t-test"),
            None => (
                format!("n = {} and {}", comparison.n[0], comparison.n[1]),
                "Welch's t-test",
            ),
        };
        let detail = format!(
            "95 % interval {}, {test} {} after Holm's correction, {n}",
            interval(metric, ci95),
            p_equation(p)
        );
        if p < LEVEL {
            return format!("{name}: {difference} from the baseline ({detail}).");
        }
        let missed = comparison.detectable.map_or_else(String::new, |smallest| {
            format!(
                " Even without correction, this test would probably miss differences below {}.",
                metric.difference(smallest).trim_start_matches('+')
            )
        });
        let uncorrected = match ci95.low > 0.0 || ci95.high < 0.0 {
            true => " The interval is not corrected.",
            false => "",
        };
        format!(
            "{name}: no difference from the baseline found ({difference}; {detail}).{uncorrected}{missed}"
        )
    }

    fn overall_finding(&self, result: &OverallResult) -> String {
        let metric = self.metric;
        let tested = result.ci95.zip(result.p);
        let detail = tested.map_or_else(String::new, |(ci95, p)| {
            format!(
                " (95 % interval {}, {} without correction)",
                interval(metric, ci95),
                p_equation(p)
            )
        });
        format!(
            "{} over {} other settings: {} on average{detail}; {} better, {} undecided, {} worse.",
            describe(&result.axes),
            result.blocks,
            metric.difference(result.difference),
            result.wins,
            result.ties,
            result.losses,
        )
    }

    fn ranking_finding(&self) -> Option<String> {
        let ranking = self.ranking.as_ref()?;
        let found = if ranking.p < LEVEL {
            "differ"
        } else {
            "do not differ significantly"
        };
        Some(format!(
            "Mean ranks over {} other settings {found} (Friedman's test, {}). Ranks closer than \
             {:.2} are not distinguished (Nemenyi).",
            ranking.blocks,
            p_equation(ranking.p),
            ranking.critical_difference
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_p_values_have_no_equals_sign() {
        assert_eq!(p_equation(1e-9), "p < 0.0001");
        assert_eq!(p_equation(0.01234), "p = 0.0123");
        assert_eq!(p_equation(0.3), "p = 0.30");
    }
}
