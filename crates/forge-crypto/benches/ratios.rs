//! Sealing, opening and API keys, beside bare AEADs: how many times as long as the first each takes.
//!
//! All take turns, a few dozen calls each, and the fastest turn counts: so the ratios hold on a
//! machine that has other things to do, where measuring one after the other does not.

mod rivals;

use std::time::{Duration, Instant};

const TURNS: usize = 4000;
const CALLS: u32 = 50;

fn main() {
    let groups = [
        ("seal", rivals::seal()),
        ("open", rivals::open()),
        ("api key", rivals::api_key()),
    ];
    for (group, mut runs) in groups {
        let mut fastest = vec![Duration::MAX; runs.len()];
        for _ in 0..TURNS {
            for ((_, call), fastest) in runs.iter_mut().zip(&mut fastest) {
                let began = Instant::now();
                for _ in 0..CALLS {
                    call();
                }
                *fastest = began.elapsed().min(*fastest);
            }
        }
        for ((name, _), time) in runs.iter().zip(&fastest) {
            let ratio = time.as_secs_f64() / fastest[0].as_secs_f64();
            let each = *time / CALLS;
            println!("{group:<8} {name:<14} {each:>8.0?} {ratio:>6.2}");
        }
    }
}
