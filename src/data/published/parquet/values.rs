//! The values of a column.

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, Int32Type, Int64Type};

/// Rows per read, whatever number a file claims.
const BLOCK: usize = 4096;

/// All values of a column of integers without nulls.
pub(super) fn integers(column: ColumnReader, rows: usize) -> Result<Vec<i64>, String> {
    match column {
        ColumnReader::Int64ColumnReader(reader) => values::<Int64Type>(reader, rows),
        ColumnReader::Int32ColumnReader(reader) => {
            let values = values::<Int32Type>(reader, rows)?;
            Ok(values.into_iter().map(i64::from).collect())
        }
        _ => Err("labels are not integers".to_owned()),
    }
}

/// All values of a column without nulls.
pub(super) fn values<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: usize,
) -> Result<Vec<T::T>, String> {
    let mut values = Vec::new();
    let mut levels = Vec::new();
    let mut read = 0;
    while read < rows {
        levels.clear();
        let block = BLOCK.min(rows - read);
        let (records, _, _) = reader
            .read_records(block, Some(&mut levels), None, &mut values)
            .map_err(|error| error.to_string())?;
        if records == 0 {
            break;
        }
        read += records;
    }
    if values.len() != rows {
        return Err(format!("{} values for {rows} rows", values.len()));
    }
    Ok(values)
}
