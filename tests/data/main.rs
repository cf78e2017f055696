//! Data sets, their caches, augmentation and the loader.

mod cache;
mod fixture;
mod folder;
mod hub;
mod loader;
mod real;
mod split;
mod synthetic;
