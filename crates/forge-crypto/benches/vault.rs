//! Sealing, opening and API keys, beside bare AEADs: how long each takes.

mod rivals;

use criterion::{Criterion, criterion_group, criterion_main};

fn all(c: &mut Criterion) {
    let groups = [
        ("seal", rivals::seal()),
        ("open", rivals::open()),
        ("api key", rivals::api_key()),
    ];
    for (name, runs) in groups {
        let mut group = c.benchmark_group(name);
        for (name, mut call) in runs {
            group.bench_function(name, |b| b.iter(&mut call));
        }
        group.finish();
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
