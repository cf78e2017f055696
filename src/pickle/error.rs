//! Errors of pickles.

/// Why a pickle cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PickleError {
    /// The bytes end before the STOP instruction.
    #[error("its pickle breaks off: the file is incomplete, download or copy it again")]
    Truncated,
    /// No protocol has this instruction.
    #[error("its pickle has the unknown op-code 0x{opcode:02x} at byte {at}")]
    Opcode {
        /// The byte.
        opcode: u8,
        /// Its position.
        at: usize,
    },
    /// An instruction without the values that it needs.
    #[error("its pickle is damaged at byte {at}: {reason}")]
    Damaged {
        /// The position of the instruction.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// More instructions than allowed.
    #[error("its pickle builds too many values: more than {limit}")]
    TooManyValues {
        /// The allowed number.
        limit: usize,
    },
    /// A pickle that is complete only together with something outside the file.
    #[error("its pickle has {what}, which only the program that wrote it can resolve")]
    External {
        /// What refers to the outside.
        what: &'static str,
    },
    /// An array whose parts contradict each other.
    #[error("a NumPy array is damaged: {reason}")]
    Array {
        /// What is wrong.
        reason: String,
    },
}
