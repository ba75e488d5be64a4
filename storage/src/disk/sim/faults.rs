//! The fault atlas: what the simulated disk may do wrong, and what the log promises for each.
//!
//! | fault | promise |
//! |---|---|
//! | power loss, kill, late write of a killed process | survive |
//! | short write, transient error, write error, flush error, disk full | survive |
//! | read error that goes away, short read | survive |
//! | lost write, misdirected write | detect |
//! | bit flip at rest, a block put back to an older version | detect |
//! | a whole file gone, cut or blanked from some block on | detect, once a mark names its end |
//!
//! *Survive*: every entry that was reported durable is there after the next successful open, and
//! an open with no further faults succeeds. *Detect*: an open either refuses, or what it hands
//! out is a prefix of what was appended that lacks at most the last durable frame, and that only
//! if no mark was durable behind it.

/// A kind of fault that an operation can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Only a block-aligned prefix is written, and the call says so.
    ShortWrite,
    /// `EINTR`, `EAGAIN` or zero bytes; nothing happened.
    Transient,
    /// `EIO`; any subset of the sectors was written.
    WriteError,
    /// `ENOSPC`; nothing was written.
    NoSpace,
    /// A flush fails with `EIO`; any subset of what it covered is durable, and what is not will
    /// never be: the system believes it to be clean.
    FlushError,
    /// `EIO` on a read, once.
    ReadError,
    /// A read returns fewer bytes than asked for, and not in whole blocks.
    ShortRead,
    /// A write is reported as done and never happens.
    LostWrite,
    /// A write is reported as done and lands somewhere else.
    MisdirectedWrite,
}

/// What the log promises in the face of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Nothing durable is lost and the log opens again.
    Survive,
    /// The log may refuse to open; it never hands out wrong bytes.
    Detect,
}

impl Fault {
    /// Every fault, in the order of the counters.
    pub const ALL: [Fault; 9] = [
        Fault::ShortWrite,
        Fault::Transient,
        Fault::WriteError,
        Fault::NoSpace,
        Fault::FlushError,
        Fault::ReadError,
        Fault::ShortRead,
        Fault::LostWrite,
        Fault::MisdirectedWrite,
    ];

    /// The atlas.
    #[must_use]
    pub fn promise(self) -> Promise {
        match self {
            Fault::LostWrite | Fault::MisdirectedWrite => Promise::Detect,
            Fault::ShortWrite
            | Fault::Transient
            | Fault::WriteError
            | Fault::NoSpace
            | Fault::FlushError
            | Fault::ReadError
            | Fault::ShortRead => Promise::Survive,
        }
    }
}

/// How often each fault strikes an operation that it applies to, in 1/65,536.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    rates: [u32; Fault::ALL.len()],
}

impl FaultRates {
    /// No faults at all.
    pub const NONE: FaultRates = FaultRates {
        rates: [0; Fault::ALL.len()],
    };

    /// The same rates, with that of `fault` replaced.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: u32) -> FaultRates {
        self.rates[fault as usize] = rate;
        self
    }

    /// Rate of `fault`.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u32 {
        self.rates[fault as usize]
    }

    /// The same rates without the faults that the log only promises to detect.
    #[must_use]
    pub fn survivable(mut self) -> FaultRates {
        for fault in Fault::ALL {
            if fault.promise() == Promise::Detect {
                self.rates[fault as usize] = 0;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_rates_are_indexed_by_the_fault() {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index);
            let rates = FaultRates::NONE.with(fault, 9);
            assert_eq!(rates.of(fault), 9);
            let kept = fault.promise() == Promise::Survive;
            assert_eq!(rates.survivable() == rates, kept);
        }
    }
}
