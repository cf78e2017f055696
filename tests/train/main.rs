//! Training: optimizers, schedules, recipes, checkpoints, and the loop with its resume.

mod accumulation;
mod any_recipe;
mod averages;
mod checkpoint;
mod communicator;
mod extension;
mod foreign_checkpoint;
mod hessian;
mod lr_find;
mod mixing;
mod optimizer;
mod pytorch_file;
mod recipe;
mod safety;
mod schedule;
mod sharded_checkpoint;
mod stopping;
mod subset;
mod trainer;
