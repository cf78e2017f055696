//! Data sets, their caches, augmentation and the loader.

mod augment;
mod cache;
mod classes;
mod contact_sheet;
mod dirty_folder;
mod download;
mod environment;
mod fixture;
mod folder;
mod hub;
mod idx;
mod image_folder;
mod image_variants;
mod images;
mod loader;
mod loader_shards;
mod mixing;
mod parquet;
mod preprocess;
mod python_version;
mod real;
#[path = "../support/hub.rs"]
mod server;
mod split;
mod synthetic;
