use proptest::prelude::*;

use super::*;

fn schedules(lr: f64, steps: u64, factor: f64) -> [Schedule; 6] {
    [
        Schedule::constant(lr),
        Schedule::step(lr, steps, factor),
        Schedule::multi_step(lr, &[steps * 3, steps], factor),
        Schedule::exponential(lr, factor),
        Schedule::cosine(lr, steps),
        Schedule::inverse_sqrt(lr, steps),
    ]
}

proptest! {
    #[test]
    fn laws(
        lr in 1e-6..10.0f64,
        steps in prop_oneof![1..50u64, Just(u64::MAX)],
        factor in 0.0..=1.0f64,
        end in 0.0..=1.0f64,
        warm_up in prop_oneof![0..20u64, Just(u64::MAX)],
        mut at in prop::collection::vec(prop_oneof![0..200u64, any::<u64>(), Just(u64::MAX)], 8),
    ) {
        let steps = steps / 4 + 1;
        at.sort_unstable();
        for plain in schedules(lr, steps, factor) {
            plain.check().unwrap();
            prop_assert_eq!(plain.at(0), lr);
            let down = plain.clone().down_to(end * lr);
            prop_assert_eq!(down.at(0), lr);
            for s in [&plain, &down] {
                let rates: Vec<f64> = at.iter().map(|&step| s.at(step)).collect();
                // Decays, to rounding, within its ends.
                let slack = lr * 1e-15;
                let ends = s.down_to.unwrap_or(0.0) - slack..=lr + slack;
                prop_assert!(rates.windows(2).all(|w| w[1] <= w[0] + slack), "{s:?}");
                prop_assert!(rates.iter().all(|rate| ends.contains(rate)), "{s:?} {rates:?}");
                // The warm-up is a line to the begin, then the schedule is as it was.
                let warm = s.clone().warm_up(warm_up);
                prop_assert_eq!(warm.at(warm_up), lr);
                for &step in &at {
                    match step.checked_sub(warm_up) {
                        Some(own) => prop_assert_eq!(warm.at(step), s.at(own)),
                        None => {
                            let line = lr * (step as f64 / warm_up as f64);
                            prop_assert_eq!(warm.at(step), line);
                            prop_assert!(line <= lr);
                        }
                    }
                }
                let floored = s.clone().at_least(lr / 2.0);
                for &step in &at {
                    prop_assert_eq!(floored.at(step), s.at(step).max(lr / 2.0));
                }
                let json = serde_json::to_string(&warm).unwrap();
                prop_assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), warm);
            }
        }
    }

    #[test]
    fn no_arguments_panic(
        lr in proptest::num::f64::ANY,
        end in proptest::num::f64::ANY,
        factor in prop_oneof![proptest::num::f64::ANY, 0.0..=1.0f64],
        steps in any::<u64>(),
        step in any::<u64>(),
    ) {
        for s in schedules(lr, steps / 3, factor) {
            let s = s.down_to(end).at_least(end).warm_up(steps);
            let rate = s.at(step);
            let extreme = lr.abs().max(end.abs()) > f64::MAX / 4.0;
            prop_assert!(s.check().is_err() || extreme || rate.is_finite(), "{s:?}: {rate}");
        }
    }
}

#[test]
fn formulas() {
    let at = |s: Schedule, steps: [u64; 4]| steps.map(|step| s.at(step));
    let multi = Schedule::multi_step(1.0, &[2, 5], 0.5);
    assert_eq!(at(multi, [1, 2, 4, 5]), [1.0, 0.5, 0.5, 0.25]);
    assert_eq!(at(Schedule::step(8.0, 3, 0.5), [2, 3, 5, 6]), [8.0, 4.0, 4.0, 2.0]);
    assert_eq!(at(Schedule::exponential(8.0, 0.5), [0, 1, 2, 3]), [8.0, 4.0, 2.0, 1.0]);
    assert_eq!(at(Schedule::inverse_sqrt(6.0, 1), [0, 3, 8, 35]), [6.0, 3.0, 2.0, 1.0]);
    assert_eq!(at(Schedule::cosine(2.0, 8), [0, 4, 8, 9]), [2.0, 1.0, 0.0, 0.0]);
    assert_eq!(at(Schedule::of(|s| s as f64).warm_up(2), [0, 2, 3, 4]), [0.0, 0.0, 1.0, 2.0]);
    assert_eq!(at(0.25.into(), [0, 1, 9, u64::MAX]), [0.25; 4]);
}

#[test]
fn the_order_of_what_is_said_does_not_matter() {
    let one = Schedule::cosine(1.0, 9).warm_up(3).at_least(0.25).down_to(0.125);
    assert_eq!(one, Schedule::cosine(1.0, 9).down_to(0.125).at_least(0.25).warm_up(3));
}

#[test]
fn what_makes_no_sense_is_found() {
    let message = |s: Schedule| s.check().map_err(|error| error.message().to_owned());
    let bad = |s: Schedule, part: &str| {
        let error = s.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Value);
        assert!(error.to_string().contains(part), "{error}");
    };
    bad(f64::NAN.into(), "Schedule::constant: the learning rate is NaN");
    bad(Schedule::step(1.0, 0, 0.5), "Schedule::step: `every` is 0 steps");
    bad(Schedule::step(1.0, 1, 1.5), "the factor is 1.5, not from 0 to 1");
    bad(Schedule::multi_step(1.0, &[], f64::NAN), "the factor is NaN");
    bad(Schedule::exponential(1.0, -0.5), "Schedule::exponential: the factor is -0.5");
    bad(Schedule::cosine(1.0, 0), "Schedule::cosine: `steps` is 0");
    bad(Schedule::inverse_sqrt(1.0, 0), "Schedule::inverse_sqrt: `steps` is 0");
    bad(Schedule::cosine(1.0, 1).down_to(f64::INFINITY), "the end rate is inf");
    bad(Schedule::constant(1.0).at_least(f64::NAN), "the least rate is NaN");
    bad(Schedule::of(|_| 1.0).down_to(0.5), "Schedule::of: a closure says itself");
    assert_eq!(message(Schedule::of(|_| f64::NAN)), Ok(()));
}

#[test]
fn a_closure_is_saved_as_a_mark() {
    let own = Schedule::of(|step| step as f64);
    assert_eq!(own, own.clone());
    let json = serde_json::to_string(&own).unwrap();
    assert_eq!(json, r#"{"closure":{}}"#);
    let read: Schedule = serde_json::from_str(&json).unwrap();
    assert!(own.is_closure() && read.is_closure() && read != own);
    assert!(read.at(3).is_nan());
    assert!(read.check().unwrap_err().message().contains("give it again"));
    assert!(!Schedule::constant(1.0).is_closure());
    let data = Schedule::step(0.1, u64::MAX, 0.3).warm_up(u64::MAX - 1);
    let json = serde_json::to_string(&data).unwrap();
    assert_eq!(
        json,
        r#"{"step":{"lr":0.1,"every":18446744073709551615,"factor":0.3},"warm_up":18446744073709551614}"#
    );
    assert!(serde_json::from_str::<Schedule>(r#"{"nonsense":{}}"#).is_err());
}

#[test]
fn schedules_go_to_other_threads() {
    fn goes<T: Send + Sync>(_: &T) {}
    goes(&Schedule::of(|_| 1.0));
}
