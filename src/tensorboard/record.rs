//! The framing of event files: TensorFlow's `TFRecord` format.
//!
//! A record is the length of its data (u64, little-endian), the masked CRC-32C of these eight bytes
//! (u32), the data, and the masked CRC-32C of the data (u32).

/// Added after the rotation, so that the checksum of data that holds checksums stays useful.
const MASK: u32 = 0xa282_ead8;
const HEADER: usize = 12;
const FOOTER: usize = 4;

/// Why the bytes of an event file cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The last record is not complete, for example because the program was killed.
    #[error("the record at byte {0} is cut off")]
    Truncated(usize),
    /// A checksum differs.
    #[error("the record at byte {0} is damaged")]
    Damaged(usize),
    /// The data is not a message.
    #[error("record {0} is no event")]
    NoEvent(usize),
}

/// TensorFlow's checksum: CRC-32C, rotated right by 15 bits, plus a constant.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK)
}

/// Appends a record to `file`.
pub(super) fn append(file: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    file.extend_from_slice(&length);
    file.extend_from_slice(&masked_crc(&length).to_le_bytes());
    file.extend_from_slice(data);
    file.extend_from_slice(&masked_crc(data).to_le_bytes());
}

/// The records of the bytes of an event file. After an error there are no more.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    /// Reads `file` from its start.
    pub fn new(file: &'a [u8]) -> Self {
        Self { file, at: 0 }
    }

    fn read(&self) -> Result<&'a [u8], RecordError> {
        let at = self.at;
        let rest = &self.file[at..];
        let (length, crc) = rest
            .get(..HEADER)
            .and_then(|header| header.split_at_checked(HEADER - FOOTER))
            .ok_or(RecordError::Truncated(at))?;
        check(length, crc, at)?;
        let length = length
            .iter()
            .rev()
            .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(HEADER + FOOTER));
        let record = end
            .and_then(|end| rest.get(HEADER..end))
            .ok_or(RecordError::Truncated(at))?;
        let (data, crc) = record.split_at(record.len() - FOOTER);
        check(data, crc, at)?;
        Ok(data)
    }
}

fn check(data: &[u8], crc: &[u8], at: usize) -> Result<(), RecordError> {
    match masked_crc(data).to_le_bytes() == crc {
        true => Ok(()),
        false => Err(RecordError::Damaged(at)),
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.file.len() {
            return None;
        }
        let record = self.read();
        self.at = match &record {
            Ok(data) => self.at + HEADER + data.len() + FOOTER,
            Err(_) => self.file.len(),
        };
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_tensorflows() {
        // RFC 3720, appendix B.4: the CRC-32C of 32 zeros is 0x8a9136aa.
        let crc = 0x8a91_36aau32;
        let masked = crc.rotate_right(15).wrapping_add(MASK);
        assert_eq!(masked_crc(&[0; 32]), masked);
        // The first record of every file that TensorFlow writes: 24 bytes.
        assert_eq!(
            masked_crc(&24u64.to_le_bytes()).to_le_bytes(),
            [0xa3, 0x7f, 0x4b, 0x22]
        );
    }

    #[test]
    fn records_are_read_back_and_damage_is_found() {
        let mut file = Vec::new();
        for data in [&b"first"[..], b"", &[7; 300]] {
            append(&mut file, data);
        }
        let records: Vec<_> = Records::new(&file).collect();
        assert_eq!(records, [Ok(&b"first"[..]), Ok(b""), Ok(&[7; 300])]);
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 4;
            let found: Vec<_> = Records::new(&damaged).collect();
            assert!(matches!(found.last(), Some(Err(_))), "byte {at}");
        }
        let first = 5 + HEADER + FOOTER;
        for end in 1..file.len() {
            let found: Vec<_> = Records::new(&file[..end]).collect();
            let whole = [first, first + HEADER + FOOTER].contains(&end);
            assert_eq!(matches!(found.last(), Some(Ok(_))), whole, "{end} bytes");
        }
    }
}
