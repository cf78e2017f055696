//! Layers on the ops, named and keyed as in PyTorch.
