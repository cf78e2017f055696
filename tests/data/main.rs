//! Data sets, their caches, augmentation and the loader.

mod cache;
mod fixture;
mod folder;
mod hub;
mod image_folder;
mod loader;
mod preprocess;
mod real;
mod split;
mod synthetic;
