//! Lists by themselves, and the order of means.

use super::*;
use crate::pipeline::{Pipeline, Score, ScoreRule};

fn plan(n: u16, descending: bool, field: usize) -> ScorePlan {
    let text = "ringmill = 1\n[stream.s]\nkey = \"k\"\ntime = { field = \"at\" }\n\
                [stream.s.fields]\nk = { id = 1, type = \"u64\" }\nat = { id = 2, type = \"time\" }\n\
                i = { id = 3, type = \"i64\" }\nf = { id = 4, type = \"f64\" }\n";
    let pipeline = Pipeline::parse(text).unwrap();
    let score = Score {
        rule: ScoreRule::MeanBest { n },
        field: Some(field),
        descending,
    };
    ScorePlan::new(&pipeline.streams[0], score)
}

fn words(plan: &ScorePlan, values: &[i64]) -> [u64; 2] {
    let sort_keys = values
        .iter()
        .map(|value| plan.sort_key(value.cast_unsigned()));
    plan.mean_words(sort_keys)
}

#[test]
fn a_list_keeps_the_best_and_of_equal_ones_the_first() {
    let mut slab = Slab::new(unit_words::<MOMENT_ENTRY>(5));
    let mut list = List::<MOMENT_ENTRY>::default();
    let mut all = Vec::new();
    for step in 0..200_u64 {
        let entry = [step * 7919 % 23, step, 0];
        all.push(entry);
        all.sort_unstable();
        list.insert(&mut slab, 5, &entry);
        let expected = all[..all.len().min(5)].as_flattened();
        assert_eq!(list.entries(&slab), expected);
        let last = all.iter().take(5).map(|entry| entry[1]).max().unwrap();
        assert_eq!(list.reached(&slab).stamp_ns, last);
        assert!(List::is_valid(list.entries(&slab), 5));
    }
    assert!(!List::is_valid(&[2, 0, 0, 1, 0, 0], 5), "not in order");
    assert!(!List::is_valid(&[0; 6], 1), "too many");
    assert!(!List::is_valid(&[0; 5], 5), "half an entry");
}

#[test]
fn what_an_entry_would_make_is_what_it_makes() {
    for n in [1, 2, 3, 7, 64] {
        let mut slab = Slab::new(unit_words::<1>(n));
        let mut list = List::<1>::default();
        for step in 0..300_u64 {
            let sort_key = step * 7919 % 101;
            let before: Vec<u64> = list.sort_keys(&slab).collect();
            let with = with(list, &slab, n, sort_key);
            list.insert(&mut slab, n, &[sort_key]);
            let after: Vec<u64> = list.sort_keys(&slab).collect();
            match with {
                Some((sort_keys, len)) => assert_eq!(sort_keys[..len], after),
                None => assert_eq!(before, after),
            }
        }
    }
}

#[test]
fn trap_9_means_of_great_integers_are_told_apart() {
    let plan = plan(3, true, 2);
    let great = 1 << 60;
    let lists: [&[i64]; 8] = [
        &[i64::MAX, i64::MAX, i64::MAX],
        &[i64::MAX, i64::MAX, i64::MAX - 1],
        &[great + 1, great + 1, great + 1],
        &[great + 1, great + 1, great],
        &[great + 1, great],
        &[great + 1, great, great],
        &[-5, -6],
        &[i64::MIN, i64::MIN],
    ];
    let words: Vec<_> = lists.iter().map(|values| words(&plan, values)).collect();
    assert!(
        words.is_sorted_by(|better, worse| better < worse),
        "{words:?}"
    );
}

#[test]
fn trap_10_the_order_of_means_is_that_of_fractions_both_ways() {
    let mut means = Vec::new();
    for count in 1..=64_i64 {
        for sum in [-129, -64, -1, 0, 1, 2, 31, 63, 64, 65, 1000] {
            let mut values = vec![0; count as usize];
            values[0] = sum;
            means.push((sum, count, values));
        }
    }
    let (falling, rising) = (plan(64, true, 2), plan(64, false, 2));
    for (sum, count, values) in &means {
        let exact = *sum as f64 / *count as f64;
        for plan in [&falling, &rising] {
            let read = plan.mean_scalar(64, words(plan, values));
            assert_eq!(read, Scalar::F64(exact), "{sum} / {count}");
        }
        for (other_sum, other_count, others) in &means {
            let exact = (sum * other_count).cmp(&(other_sum * count));
            let found = words(&rising, values).cmp(&words(&rising, others));
            assert_eq!(found, exact, "{sum} / {count}, {other_sum} / {other_count}");
            let found = words(&falling, values).cmp(&words(&falling, others));
            assert_eq!(found, exact.reverse(), "{sum} / {count}");
        }
    }
}

#[test]
fn means_of_the_greatest_floats_are_finite() {
    let plan = plan(64, true, 3);
    let mean = |values: &[f64]| {
        let sort_keys = values.iter().map(|value| plan.sort_key(value.to_bits()));
        plan.mean_scalar(64, plan.mean_words(sort_keys))
    };
    assert_eq!(mean(&[f64::MAX; 64]), Scalar::F64(f64::MAX));
    assert_eq!(mean(&[f64::MAX, f64::MIN]), Scalar::F64(0.0));
    assert_eq!(mean(&[1.0, 1e100, 1.0, -1e100]), Scalar::F64(0.5));
    assert_eq!(mean(&[0.5, 0.25]), Scalar::F64(0.375));
}
