//! Cells that differ only in what the study compares.

use crate::study::analysis::{Analysis, CellResult};
use crate::study::definition::Settings;

/// Cells with the same values of all axes except the baseline's.
pub(super) struct Block<'a> {
    /// The common values.
    pub axes: Settings,
    /// The cells, in order.
    pub cells: Vec<BlockCell<'a>>,
}

/// A cell of a block.
pub(super) struct BlockCell<'a> {
    /// Its position among all cells.
    pub position: usize,
    /// The values in which it differs from the other cells of the block.
    pub setting: Settings,
    /// The position of the setting among the study's settings: the same in all blocks.
    pub style: usize,
    pub cell: &'a CellResult,
}

/// The blocks of a study, in order. Without a baseline all cells are one block.
pub(super) fn blocks(analysis: &Analysis) -> Vec<Block<'_>> {
    let compared = |name: &str| {
        analysis.baseline.is_empty() || analysis.baseline.iter().any(|(key, _)| key == name)
    };
    let (mut blocks, mut settings): (Vec<Block<'_>>, Vec<Settings>) = (Vec::new(), Vec::new());
    for (position, cell) in analysis.cells.iter().enumerate() {
        let axes = cell.axes.iter().cloned();
        let (setting, axes): (Settings, Settings) = axes.partition(|(name, _)| compared(name));
        let style = settings.iter().position(|known| *known == setting);
        let style = style.unwrap_or_else(|| {
            settings.push(setting.clone());
            settings.len() - 1
        });
        let cell = BlockCell {
            position,
            setting,
            style,
            cell,
        };
        match blocks.iter_mut().find(|block| block.axes == axes) {
            Some(block) => block.cells.push(cell),
            None => blocks.push(Block {
                axes,
                cells: vec![cell],
            }),
        }
    }
    blocks
}
