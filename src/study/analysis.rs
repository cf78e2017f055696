//! From the outcomes of runs to figures with intervals and tests.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use toml::Value;

use super::definition::{Settings, Study};
use super::error::StudyError;
use super::metric::Metric;
use super::outcome::Outcome;
use super::published_column::{PublishedColumn, PublishedValue, column, shown, value};
use super::statistics::{
    BlockDifference, CohensD, Interval, Summary, TTest, block_difference, cohens_d,
    detectable_difference, detectable_paired_difference, friedman, holm, mann_whitney, mean,
    paired_t_test, probability_of_superiority, welch_t_test, wilcoxon,
};

/// The results of a study so far. Accuracies are fractions in [0, 1].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analysis {
    /// The title of the study.
    pub title: String,
    /// The outcome that is compared.
    pub metric: Metric,
    /// The values of axes that others are compared with.
    #[serde(serialize_with = "by_name")]
    pub baseline: Settings,
    /// The publications that the cells and comparisons have figures of.
    pub published: Vec<PublishedColumn>,
    /// Runs of the study.
    pub planned: usize,
    /// Runs that finished.
    pub finished: usize,
    /// Runs that failed.
    pub failed: usize,
    /// The figures of each combination of settings.
    pub cells: Vec<CellResult>,
    /// Each cell compared with the baseline.
    pub comparisons: Vec<ComparisonResult>,
    /// Each setting compared with the baseline over all values of the other axes.
    pub overall: Vec<OverallResult>,
    /// The ranks of the settings over the values of the other axes.
    pub ranking: Option<Ranking>,
}

/// The figures of a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellResult {
    /// The values of the compared axes.
    #[serde(flatten, serialize_with = "by_name")]
    pub axes: Settings,
    /// Runs that finished.
    pub n: usize,
    /// The mean, standard deviation, intervals; none if no run has finished.
    #[serde(flatten)]
    pub summary: Option<Summary>,
    /// The outcomes of finished runs, in the order of the repetitions.
    pub values: Vec<f64>,
    /// The reasons of the runs that failed.
    pub failures: Vec<String>,
    /// The figure of each of [`Analysis::published`].
    pub published: Vec<Option<PublishedValue>>,
    /// The outcome of each repetition.
    #[serde(skip)]
    pub(super) by_repetition: Vec<Option<f64>>,
}

/// A cell compared with the baseline. Differences are the cell's value minus the baseline's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparisonResult {
    /// The values of the cell's axes.
    #[serde(flatten, serialize_with = "by_name")]
    pub axes: Settings,
    /// Finished runs of the cell and of the baseline.
    pub n: [usize; 2],
    /// Pairs of finished runs.
    pub pairs: usize,
    /// The difference of the means: over pairs where there are at least two, otherwise over all runs.
    pub difference: f64,
    /// Its 95 % interval: of the paired t-test if there are at least two pairs, otherwise of Welch's.
    pub ci95: Option<Interval>,
    /// The p-value of Welch's t-test.
    pub welch_p: Option<f64>,
    /// The p-value of the paired t-test.
    pub paired_p: Option<f64>,
    /// The p-value of the Mann-Whitney U test.
    pub mann_whitney_p: Option<f64>,
    /// The p-value of Wilcoxon's signed-rank test.
    pub wilcoxon_p: Option<f64>,
    /// `paired_p`, or `welch_p` with fewer than two pairs, after Holm's correction over all comparisons.
    pub holm_p: Option<f64>,
    /// Cohen's d.
    pub cohens_d: Option<f64>,
    /// Its 95 % interval.
    pub cohens_d_ci95: Option<Interval>,
    /// The probability that a run of the cell has a higher value than one of the baseline.
    pub superiority: Option<f64>,
    /// The smallest difference that the test would have found with a probability of 80 %.
    pub detectable: Option<f64>,
    /// The difference in each of [`Analysis::published`].
    pub published: Vec<Option<f64>>,
}

/// A setting compared with the baseline over the values of all other axes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverallResult {
    /// The setting.
    #[serde(flatten, serialize_with = "by_name")]
    pub axes: Settings,
    /// Values of the other axes with both settings.
    pub blocks: usize,
    /// The mean difference from the baseline, from a linear model with an effect of each block.
    pub difference: f64,
    /// Its 95 % interval.
    pub ci95: Option<Interval>,
    /// Its p-value.
    pub p: Option<f64>,
    /// Blocks whose 95 % interval is on the better side of 0.
    pub wins: usize,
    /// Blocks whose interval contains 0, or that have none.
    pub ties: usize,
    /// Blocks whose interval is on the worse side of 0.
    pub losses: usize,
}

/// Friedman's test with Nemenyi's critical difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranking {
    /// The settings with their mean ranks; rank 1 is the best.
    pub settings: Vec<RankedSetting>,
    /// Blocks with all settings.
    pub blocks: usize,
    /// The p-value of Friedman's test.
    pub p: f64,
    /// Settings whose mean ranks differ by less are not distinguished at the 5 % level.
    pub critical_difference: f64,
}

/// A setting and its rank.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankedSetting {
    /// The setting.
    #[serde(flatten, serialize_with = "by_name")]
    pub axes: Settings,
    /// Its mean rank.
    pub mean_rank: f64,
}

fn by_name<S: Serializer>(settings: &Settings, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(settings.iter().map(|(name, value)| (name, value)))
}

impl Study {
    /// Analyses the outcomes of [`runs`](Self::runs), in their order.
    ///
    /// # Errors
    /// If a finished run lacks the figure that the metric names.
    pub fn analyse(&self, outcomes: &[Outcome]) -> Result<Analysis, StudyError> {
        let cells = self.cell_results(outcomes)?;
        let comparisons = self.comparisons(&cells);
        let published = shown(self, &self.cells()).into_iter();
        let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|o| is(o)).count();
        Ok(Analysis {
            title: self.title.clone(),
            metric: self.metric,
            baseline: self.baseline.clone(),
            published: published.map(|source| column(source, self)).collect(),
            planned: outcomes.len(),
            finished: count(Outcome::is_finished),
            failed: count(|outcome| matches!(outcome, Outcome::Failed(_))),
            overall: self.overall(&cells),
            ranking: self.ranking(&cells),
            comparisons,
            cells,
        })
    }

    fn cell_results(&self, outcomes: &[Outcome]) -> Result<Vec<CellResult>, StudyError> {
        let repetitions = self.repetitions().len();
        let cells = self.cells();
        let published = shown(self, &cells);
        let figures = |cell: &Settings| {
            let figures = published.iter();
            let figures = figures.map(|source| value(source, self.metric, cell));
            figures.collect()
        };
        let mut cells: Vec<CellResult> = cells
            .into_iter()
            .map(|axes| CellResult {
                published: figures(&axes),
                axes,
                n: 0,
                summary: None,
                values: Vec::new(),
                failures: Vec::new(),
                by_repetition: vec![None; repetitions],
            })
            .collect();
        for (run, outcome) in self.runs().iter().zip(outcomes) {
            let cell = &mut cells[run.cell];
            match outcome {
                Outcome::Finished(_) | Outcome::Timed(_) => {
                    let value = self.metric.of(outcome);
                    cell.by_repetition[run.repetition] =
                        Some(value.ok_or_else(|| self.metric.lacks(&run.name))?);
                }
                Outcome::Failed(failure) => cell.failures.push(failure.reason.clone()),
                Outcome::Missing | Outcome::Started => {}
            }
        }
        for cell in &mut cells {
            cell.values = cell.by_repetition.iter().copied().flatten().collect();
            cell.n = cell.values.len();
            cell.summary = Summary::of(&cell.values);
        }
        Ok(cells)
    }

    /// The settings of a cell with the baseline's values.
    fn baseline_of(&self, cell: &Settings) -> Settings {
        let value = |(name, own): &(String, Value)| {
            let of_baseline = self.baseline.iter().find(|(key, _)| key == name);
            (
                name.clone(),
                of_baseline.map_or(own, |(_, value)| value).clone(),
            )
        };
        cell.iter().map(value).collect()
    }

    fn comparisons(&self, cells: &[CellResult]) -> Vec<ComparisonResult> {
        let with_baseline = cells.iter().filter_map(|cell| {
            let baseline = self.baseline_of(&cell.axes);
            let baseline = cells.iter().find(|other| other.axes == baseline)?;
            let other = baseline.axes != cell.axes && cell.n > 0 && baseline.n > 0;
            other.then(|| compare(cell, baseline))
        });
        let mut comparisons: Vec<ComparisonResult> = with_baseline.collect();
        let tested: Vec<usize> = (0..comparisons.len())
            .filter(|&i| comparisons[i].p().is_some())
            .collect();
        let p: Vec<f64> = tested.iter().filter_map(|&i| comparisons[i].p()).collect();
        for (i, adjusted) in tested.into_iter().zip(holm(&p)) {
            comparisons[i].holm_p = Some(adjusted);
        }
        comparisons
    }

    /// The values of the baseline's axes, and of the other compared axes, which make a block.
    fn split(&self, cell: &Settings) -> (Settings, Settings) {
        let of_baseline =
            |(name, _): &&(String, Value)| self.baseline.iter().any(|(key, _)| key == name);
        let (setting, block): (Vec<_>, Vec<_>) = cell.iter().partition(of_baseline);
        (
            setting.into_iter().cloned().collect(),
            block.into_iter().cloned().collect(),
        )
    }

    /// Cells by setting and block, both in the order of the grid.
    fn by_setting<'a>(&self, cells: &'a [CellResult]) -> Vec<(Settings, Vec<&'a CellResult>)> {
        let mut settings: Vec<(Settings, Vec<&CellResult>)> = Vec::new();
        for cell in cells {
            let (setting, _) = self.split(&cell.axes);
            match settings.iter_mut().find(|(known, _)| *known == setting) {
                Some((_, cells)) => cells.push(cell),
                None => settings.push((setting, vec![cell])),
            }
        }
        settings
    }

    fn overall(&self, cells: &[CellResult]) -> Vec<OverallResult> {
        let settings = self.by_setting(cells);
        let several = settings.first().is_some_and(|(_, blocks)| blocks.len() > 1);
        let baseline = settings.iter().find(|(setting, _)| {
            setting.len() == self.baseline.len()
                && self.baseline.iter().all(|pair| setting.contains(pair))
        });
        let Some((_, baseline)) = baseline.filter(|_| several && !self.baseline.is_empty()) else {
            return Vec::new();
        };
        let others = settings.iter().filter(|(_, cells)| cells != baseline);
        others
            .filter_map(|(setting, cells)| self.over_blocks(setting, cells, baseline))
            .collect()
    }

    fn over_blocks(
        &self,
        setting: &Settings,
        cells: &[&CellResult],
        baseline: &[&CellResult],
    ) -> Option<OverallResult> {
        // Both have the blocks in the order of the grid.
        let pairs = cells.iter().zip(baseline);
        let pairs: Vec<_> = pairs
            .filter(|(cell, baseline)| cell.n > 0 && baseline.n > 0)
            .collect();
        let blocks: Vec<BlockDifference<'_>> = pairs
            .iter()
            .map(|(cell, baseline)| BlockDifference {
                a: &cell.values,
                b: &baseline.values,
            })
            .collect();
        let model = block_difference(&blocks);
        let differences: Vec<f64> = blocks
            .iter()
            .map(|block| mean(block.a) - mean(block.b))
            .collect();
        let intervals = pairs
            .iter()
            .map(|(cell, baseline)| compare(cell, baseline).ci95);
        let sign = if self.metric.higher_is_better() {
            1.0
        } else {
            -1.0
        };
        let (mut wins, mut losses) = (0, 0);
        for interval in intervals.flatten() {
            wins += usize::from(sign * interval.low > 0.0 && sign * interval.high > 0.0);
            losses += usize::from(sign * interval.low < 0.0 && sign * interval.high < 0.0);
        }
        (!blocks.is_empty()).then(|| OverallResult {
            axes: setting.clone(),
            blocks: blocks.len(),
            difference: model.map_or(mean(&differences), |test| test.difference),
            ci95: model.map(|test| test.ci95),
            p: model.map(|test| test.p),
            wins,
            ties: blocks.len() - wins - losses,
            losses,
        })
    }

    fn ranking(&self, cells: &[CellResult]) -> Option<Ranking> {
        let settings = self.by_setting(cells);
        let sign = if self.metric.higher_is_better() {
            1.0
        } else {
            -1.0
        };
        let mut blocks: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (_, cells) in &settings {
            for (block, cell) in cells.iter().enumerate() {
                let summary = cell.summary.as_ref();
                blocks
                    .entry(block)
                    .or_default()
                    .extend(summary.map(|s| sign * s.mean));
            }
        }
        let complete = blocks
            .into_values()
            .filter(|block| block.len() == settings.len());
        let complete: Vec<Vec<f64>> = complete.collect();
        let test = friedman(&complete)?;
        let ranked = settings.into_iter().zip(&test.mean_ranks);
        Some(Ranking {
            settings: ranked
                .map(|((axes, _), mean_rank)| RankedSetting {
                    axes,
                    mean_rank: *mean_rank,
                })
                .collect(),
            blocks: complete.len(),
            p: test.p,
            critical_difference: test.critical_difference,
        })
    }
}

impl ComparisonResult {
    /// The p-value that Holm's correction takes.
    fn p(&self) -> Option<f64> {
        match self.pairs {
            0 | 1 => self.welch_p,
            _ => self.paired_p,
        }
    }
}

fn compare(cell: &CellResult, baseline: &CellResult) -> ComparisonResult {
    let (a, b) = (&cell.values, &baseline.values);
    let pairs = cell.by_repetition.iter().zip(&baseline.by_repetition);
    let pairs = pairs.filter_map(|(a, b)| Some(((*a)?, (*b)?)));
    let (paired_a, paired_b): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let paired = paired_t_test(&paired_a, &paired_b);
    let welch = welch_t_test(a, b);
    let are_paired = paired_a.len() > 1;
    let (test, difference): (Option<TTest>, f64) = match are_paired {
        true => (paired, mean(&paired_a) - mean(&paired_b)),
        false => (welch, mean(a) - mean(b)),
    };
    let effect: Option<CohensD> = cohens_d(a, b);
    let detectable = match are_paired {
        true => detectable_paired_difference(&paired_a, &paired_b),
        false => detectable_difference(a, b),
    };
    let published = cell.published.iter().zip(&baseline.published);
    ComparisonResult {
        axes: cell.axes.clone(),
        n: [a.len(), b.len()],
        pairs: paired_a.len(),
        difference: test.map_or(difference, |test| test.difference),
        ci95: test.map(|test| test.ci95),
        welch_p: welch.map(|test| test.p),
        paired_p: paired.map(|test| test.p),
        mann_whitney_p: mann_whitney(a, b).map(|test| test.p),
        wilcoxon_p: wilcoxon(&paired_a, &paired_b).map(|test| test.p),
        holm_p: None,
        cohens_d: effect.map(|effect| effect.d),
        cohens_d_ci95: effect.map(|effect| effect.ci95),
        superiority: probability_of_superiority(a, b),
        detectable,
        published: published
            .map(|(cell, baseline)| Some(cell.as_ref()?.value - baseline.as_ref()?.value))
            .collect(),
    }
}
