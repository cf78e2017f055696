//! Training: optimizers, schedules, recipes, checkpoints, and the loop with its resume.

mod checkpoint;
mod optimizer;
mod recipe;
mod schedule;
mod trainer;
