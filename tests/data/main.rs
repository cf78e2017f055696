//! Data sets, their caches, augmentation and the loader.

mod cache;
mod download;
mod fixture;
mod folder;
mod hub;
mod idx;
mod image_folder;
mod images;
mod loader;
mod parquet;
mod preprocess;
mod python_version;
mod real;
#[path = "../support/hub.rs"]
mod server;
mod split;
mod synthetic;
