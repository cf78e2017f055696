//! The schedule of a recipe: its fields, their defaults and its parameters.

use super::error::RecipeError;
use super::fields::Recipe;
use super::kinds::{SchedOn, ScheduleKind};
use crate::train::schedule::{
    Clock, Constant, Cosine, Curve, Cycles, Exponential, MomentumCycle, MultiStep, OneCycle,
    Plateau, Poly, Schedule, Step, Tanh, Warmup,
};

/// The schedules with cycles.
const CYCLIC: &[ScheduleKind] = &[ScheduleKind::Cosine, ScheduleKind::Tanh, ScheduleKind::Poly];

const CYCLIC_NAMES: &str = "the schedule cosine, tanh or poly";

/// A field, the schedules that read it, and their names in words.
type Field = (&'static str, &'static [ScheduleKind], &'static str);

/// The fields that not all schedules read.
const FIELDS: &[Field] = {
    use ScheduleKind::{
        Constant, Cosine, Exponential, MultiStep, OneCycle, Plateau, Poly, Step, Tanh,
    };
    const WITH_WARMUP: &[ScheduleKind] = &[
        Cosine,
        Tanh,
        Poly,
        Step,
        MultiStep,
        Exponential,
        Plateau,
        Constant,
    ];
    &[
        (
            "warmup_epochs",
            WITH_WARMUP,
            "a schedule other than onecycle",
        ),
        ("warmup_lr", WITH_WARMUP, "a schedule other than onecycle"),
        (
            "warmup_prefix",
            &[Cosine, Tanh, Poly, Step, MultiStep, Exponential],
            "a schedule with decays other than onecycle and plateau",
        ),
        (
            "min_lr",
            &[Cosine, Tanh, Poly, Plateau],
            "the schedule cosine, tanh, poly or plateau",
        ),
        ("cooldown_epochs", CYCLIC, CYCLIC_NAMES),
        ("lr_cycle_limit", CYCLIC, CYCLIC_NAMES),
        ("lr_cycle_mul", CYCLIC, CYCLIC_NAMES),
        ("lr_cycle_decay", CYCLIC, CYCLIC_NAMES),
        ("lr_k_decay", &[Cosine, Poly], "the schedule cosine or poly"),
        ("poly_power", &[Poly], "the schedule poly"),
        ("tanh_lb", &[Tanh], "the schedule tanh"),
        ("tanh_ub", &[Tanh], "the schedule tanh"),
        ("pct_start", &[OneCycle], "the schedule onecycle"),
        ("div_factor", &[OneCycle], "the schedule onecycle"),
        ("final_div_factor", &[OneCycle], "the schedule onecycle"),
        ("cycle_momentum", &[OneCycle], "the schedule onecycle"),
        ("base_momentum", &[OneCycle], "the schedule onecycle"),
        ("max_momentum", &[OneCycle], "the schedule onecycle"),
        (
            "decay_epochs",
            &[Step, Exponential],
            "the schedule step or exponential",
        ),
        ("decay_milestones", &[MultiStep], "the schedule multistep"),
        (
            "decay_rate",
            &[Step, MultiStep, Exponential, Plateau],
            "the schedule step, multistep, exponential or plateau",
        ),
        ("patience_epochs", &[Plateau], "the schedule plateau"),
    ]
};

impl ScheduleKind {
    /// Checks that the schedule reads `field`, if it is a field of some schedules only.
    ///
    /// # Errors
    /// [`RecipeError::Needs`] with the schedules that read it.
    pub fn check_reads(self, field: &str) -> Result<(), RecipeError> {
        let found = FIELDS.iter().find(|(name, ..)| *name == field);
        match found {
            Some((field, kinds, needs)) if !kinds.contains(&self) => {
                Err(RecipeError::Needs { field, needs })
            }
            _ => Ok(()),
        }
    }

    /// Whether a warm-up comes before the curve: where the curve spans the rest of the run. Decays at
    /// given epochs count from the start of the run.
    fn prefix(self) -> bool {
        CYCLIC.contains(&self)
    }
}

impl Recipe {
    /// timm's `lr_cycle_decay`.
    const CYCLE_DECAY: f64 = 0.5;
    /// The power of timm's `PolyLRScheduler`. timm's script passes its `--decay-rate`, 0.1, instead.
    const POLY_POWER: f64 = 0.5;
    /// timm's bounds.
    const TANH_BOUNDS: [f64; 2] = [-7.0, 3.0];
    /// PyTorch's and timm's patience.
    const PATIENCE_EPOCHS: usize = 10;
    /// PyTorch's momenta at the peak of the rate and at its ends.
    const MOMENTA: [f64; 2] = [0.85, 0.95];

    /// The same recipe, with the default of each constant that its schedule uses.
    pub fn with_schedule_defaults(mut self) -> Self {
        if self.warmup_epochs > 0.0 && self.sched.check_reads("warmup_prefix").is_ok() {
            self.warmup_prefix.get_or_insert(self.sched.prefix());
        }
        if self.cycle_limit() > 1 {
            self.lr_cycle_mul.get_or_insert(1.0);
            self.lr_cycle_decay.get_or_insert(Self::CYCLE_DECAY);
        }
        match self.sched {
            ScheduleKind::Poly => {
                self.poly_power.get_or_insert(Self::POLY_POWER);
            }
            ScheduleKind::Tanh => {
                let [lb, ub] = self.tanh_bounds();
                (self.tanh_lb, self.tanh_ub) = (Some(lb), Some(ub));
            }
            ScheduleKind::Plateau => {
                self.patience_epochs.get_or_insert(Self::PATIENCE_EPOCHS);
            }
            ScheduleKind::OneCycle if self.cycle_momentum => {
                let [base, max] = self.momenta();
                (self.base_momentum, self.max_momentum) = (Some(base), Some(max));
            }
            _ => {}
        }
        self
    }

    pub(super) fn cycle_limit(&self) -> usize {
        self.lr_cycle_limit.unwrap_or(1)
    }

    pub(super) fn tanh_bounds(&self) -> [f64; 2] {
        let [lb, ub] = Self::TANH_BOUNDS;
        [self.tanh_lb.unwrap_or(lb), self.tanh_ub.unwrap_or(ub)]
    }

    /// The momenta of the one-cycle schedule: at the highest rate, and at the start and the end.
    pub(super) fn momenta(&self) -> [f64; 2] {
        let [base, max] = Self::MOMENTA;
        [
            self.base_momentum.unwrap_or(base),
            self.max_momentum.unwrap_or(max),
        ]
    }

    /// The schedule of a run with `steps_per_epoch` steps in each epoch.
    pub fn schedule(&self, steps_per_epoch: usize) -> Schedule {
        self.schedule_over(self.epochs.saturating_mul(steps_per_epoch) as u64)
    }

    /// The schedule of a run of `total_steps`. A duration in epochs takes the same fraction of the run
    /// as it takes of [`epochs`](Self::epochs).
    pub fn schedule_over(&self, total_steps: u64) -> Schedule {
        let updates = total_steps as f64 / self.epochs as f64;
        let clock = match self.sched_on {
            SchedOn::Updates => Clock::Updates,
            SchedOn::Epochs => Clock::Epochs { updates },
        };
        let warmup = match self.sched {
            ScheduleKind::OneCycle => Warmup::default(),
            sched => Warmup {
                lr: self.warmup_lr,
                length: self.time(self.warmup_epochs, updates),
                prefix: self.warmup_prefix.unwrap_or(sched.prefix()),
            },
        };
        Schedule {
            curve: self.curve(total_steps, updates, &warmup),
            warmup,
            clock,
        }
    }

    /// A number of epochs in the unit of time of the schedule: whole updates, or any number of epochs,
    /// as in timm.
    fn time(&self, epochs: f64, updates: f64) -> f64 {
        match self.sched_on {
            SchedOn::Updates => (epochs * updates).round(),
            SchedOn::Epochs => epochs,
        }
    }

    fn curve(&self, total_steps: u64, updates: f64, warmup: &Warmup) -> Curve {
        let time = |epochs| self.time(epochs, updates);
        let (lr, min_lr, gamma) = (self.lr, self.min_lr, self.decay_rate);
        let total = match self.sched_on {
            SchedOn::Updates => total_steps as f64,
            SchedOn::Epochs => self.epochs as f64,
        };
        let cycles = || {
            let before = if warmup.prefix { warmup.length } else { 0.0 };
            let cooldown = time(self.cooldown_epochs.unwrap_or(0.0));
            Cycles::over(
                (total - before - cooldown).max(1.0),
                self.cycle_limit(),
                self.lr_cycle_mul.unwrap_or(1.0),
                self.lr_cycle_decay.unwrap_or(Self::CYCLE_DECAY),
            )
        };
        let k_decay = self.lr_k_decay.unwrap_or(1.0);
        let updates_per_epoch = match self.sched_on {
            SchedOn::Updates => Some(updates),
            SchedOn::Epochs => None,
        };
        match self.sched {
            ScheduleKind::OneCycle => Curve::OneCycle(OneCycle {
                max_lr: lr,
                pct_start: self.pct_start,
                div_factor: self.div_factor,
                final_div_factor: self.final_div_factor,
                total,
                momentum: self.cycle_momentum.then(|| {
                    let [base, max] = self.momenta();
                    MomentumCycle { base, max }
                }),
            }),
            ScheduleKind::Cosine => Curve::Cosine(Cosine {
                lr,
                min_lr,
                cycles: cycles(),
                k_decay,
            }),
            ScheduleKind::Tanh => {
                let [lb, ub] = self.tanh_bounds();
                Curve::Tanh(Tanh {
                    lr,
                    min_lr,
                    cycles: cycles(),
                    lb,
                    ub,
                })
            }
            ScheduleKind::Poly => Curve::Poly(Poly {
                lr,
                min_lr,
                power: self.poly_power.unwrap_or(Self::POLY_POWER),
                cycles: cycles(),
                k_decay,
            }),
            ScheduleKind::Step => Curve::Step(Step {
                lr,
                gamma,
                epochs: self.decay_epochs,
                updates_per_epoch,
                decays: (self.epochs as f64 / self.decay_epochs).floor() as u64,
            }),
            ScheduleKind::MultiStep => Curve::MultiStep(MultiStep {
                lr,
                gamma,
                milestones: self.decay_milestones.iter().map(|e| time(*e)).collect(),
            }),
            ScheduleKind::Exponential => Curve::Exponential(Exponential {
                lr,
                gamma,
                interval: match updates_per_epoch {
                    Some(updates) => self.decay_epochs * updates,
                    None => self.decay_epochs,
                },
            }),
            ScheduleKind::Plateau => Curve::Plateau(Plateau::new(
                lr,
                gamma,
                min_lr,
                self.patience_epochs.unwrap_or(Self::PATIENCE_EPOCHS),
                self.eval_metric.direction(),
                self.warmup_epochs,
                updates_per_epoch.unwrap_or(1.0),
            )),
            ScheduleKind::Constant => Curve::Constant(Constant { lr }),
        }
    }
}
