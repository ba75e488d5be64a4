//! Three-valued logic, with errors as a fourth value that is looked at like null.

use super::Register;
use crate::expression::reason::state::{FIRST_ERROR, NULL, VALUE};

#[inline]
fn each(
    a: &Register,
    b: &Register,
    out: &mut Register,
    n: usize,
    op: impl Fn((u64, u8), (u64, u8)) -> (u64, u8),
) {
    let left = a.values[..n].iter().zip(&a.states[..n]);
    let right = b.values[..n].iter().zip(&b.states[..n]);
    let results = out.values[..n].iter_mut().zip(&mut out.states[..n]);
    for (((&a, &a_state), (&b, &b_state)), (value, state)) in left.zip(right).zip(results) {
        (*value, *state) = op((a, a_state), (b, b_state));
    }
}

/// False if either is false, whatever the other is.
pub(super) fn and(a: &Register, b: &Register, out: &mut Register, n: usize) {
    each(a, b, out, n, |a, b| {
        if a == (0, VALUE) || b == (0, VALUE) {
            (0, VALUE)
        } else {
            (1, a.1.max(b.1))
        }
    });
}

/// True if either is true, whatever the other is.
pub(super) fn or(a: &Register, b: &Register, out: &mut Register, n: usize) {
    each(a, b, out, n, |a, b| {
        if a == (1, VALUE) || b == (1, VALUE) {
            (1, VALUE)
        } else {
            (0, a.1.max(b.1))
        }
    });
}

pub(super) fn is_null(a: &Register, out: &mut Register, n: usize) {
    let results = out.values[..n].iter_mut().zip(&mut out.states[..n]);
    for (&a_state, (value, state)) in a.states[..n].iter().zip(results) {
        *value = u64::from(a_state == NULL);
        *state = if a_state >= FIRST_ERROR {
            a_state
        } else {
            VALUE
        };
    }
}

/// `b` where the condition is true, else `c`; an error of the condition stays.
pub(super) fn select(
    condition: &Register,
    b: &Register,
    c: &Register,
    out: &mut Register,
    n: usize,
) {
    for row in 0..n {
        let (truth, known) = (condition.values[row], condition.states[row]);
        (out.values[row], out.states[row]) = if known >= FIRST_ERROR {
            (0, known)
        } else if (truth, known) == (1, VALUE) {
            (b.values[row], b.states[row])
        } else {
            (c.values[row], c.states[row])
        };
    }
}

pub(super) fn coalesce(a: &Register, b: &Register, out: &mut Register, n: usize) {
    each(a, b, out, n, |a, b| if a.1 == NULL { b } else { a });
}

/// Null where the condition is true, else `b`; an error of the condition stays.
pub(super) fn null_where(condition: &Register, b: &Register, out: &mut Register, n: usize) {
    each(condition, b, out, n, |condition, b| match condition {
        (_, error @ FIRST_ERROR..) => (0, error),
        (1, VALUE) => (0, NULL),
        _ => b,
    });
}
