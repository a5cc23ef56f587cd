//! What the monitor and its guard count.
#![cfg(feature = "metrics")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use forge_monitor::{
    GuardLayer, LapLayer, LogSink, ManualClock, Monitor, PeerAddress, RecordMetrics, Scenario,
    Signal, SignalClass, SignalKind, Timestamp,
};
use http::{Request, Response};
use http_body_util::Full;
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::{ServiceBuilder, ServiceExt};

#[tokio::test(start_paused = true)]
async fn counts_signals_decisions_blocks_and_refusals() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    // The test's runtime has one thread, so the monitor's task records here as well.
    let _local = metrics::set_default_local_recorder(&recorder);

    let clock = ManualClock::new(Timestamp::from_micros(0));
    let scenario = |name, simulate| {
        Scenario::count(name, SignalClass::AuthFailed)
            .threshold(0)
            .block_for(Duration::from_secs(60))
            .simulate(simulate)
            .build()
            .unwrap()
    };
    let monitor = Monitor::builder()
        .scenario(scenario("trial", true))
        .scenario(scenario("first", false))
        .blocks_per_minute(3)
        .queue(4)
        .clock(clock.clone())
        .on_event(RecordMetrics)
        .alert_sink("kept", LogSink)
        .start()
        .await
        .unwrap();
    let client = |last| SocketAddr::from(([192, 0, 2, last], 40_000));
    // Five signals into a queue of four, then four blocks due where three are allowed.
    for last in 0..5 {
        monitor.emit(Signal::new(SignalKind::AuthFailed).address(client(last).ip()));
    }
    monitor.flush().await;

    let guard = GuardLayer::new(monitor.guard(), PeerAddress).on_refusal(RecordMetrics);
    let service = ServiceBuilder::new()
        .layer(guard)
        .service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
    for peer in [Some(client(0)), None] {
        let mut request = Request::new(());
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 403);
    }

    let lines = |text: &str| -> Vec<String> {
        let samples = text.lines().filter(|line| {
            !line.starts_with('#') && !line.is_empty() && !line.contains("_seconds")
        });
        let mut samples: Vec<_> = samples.map(str::to_owned).collect();
        samples.sort();
        samples
    };
    // Gauges are told once a second.
    let settled = [
        "forge_monitor_blocks 3",
        "forge_monitor_outbox_depth 0",
        "forge_monitor_queue_depth 0",
    ];
    let are_told = async {
        while !settled.iter().all(|line| rendered.render().contains(line)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, are_told).await.unwrap();
    let counted = lines(&rendered.render());
    let expected = [
        r#"forge_monitor_alert_deliveries_total{sink="kept",outcome="delivered"} 4"#,
        r#"forge_monitor_alerts_total{scenario="first",severity="critical"} 1"#,
        r#"forge_monitor_alerts_total{scenario="first",severity="warning"} 3"#,
        r#"forge_monitor_blocks 3"#,
        r#"forge_monitor_decisions_total{scenario="first",outcome="made"} 3"#,
        r#"forge_monitor_decisions_total{scenario="first",outcome="rate_cap"} 1"#,
        r#"forge_monitor_decisions_total{scenario="trial",outcome="simulated"} 4"#,
        r#"forge_monitor_evictions_total 0"#,
        r#"forge_monitor_guard_refusals_total{reason="blocked"} 1"#,
        r#"forge_monitor_guard_refusals_total{reason="unknown_address"} 1"#,
        r#"forge_monitor_outbox_depth 0"#,
        r#"forge_monitor_panics_total 0"#,
        r#"forge_monitor_queue_depth 0"#,
        r#"forge_monitor_signals_dropped_total{kind="auth_failed"} 1"#,
        r#"forge_monitor_signals_total{kind="auth_failed"} 4"#,
    ];
    for line in expected {
        assert!(counted.contains(&line.to_owned()), "{line}\n{counted:#?}");
    }
    let timed = rendered.render();
    for name in ["detector", "alert_delivery", "outbox_age"] {
        let name = format!("forge_monitor_{name}_seconds");
        assert!(timed.contains(&name), "{name}\n{timed}");
    }

    monitor
        .lift(monitor.blocks()[0].id, "a test")
        .await
        .unwrap();
    clock.advance(Duration::from_secs(60));
    monitor.flush().await;
    let after = rendered.render();
    assert!(
        after.contains(r#"forge_monitor_decisions_ended_total{how="expired"} 2"#),
        "{after}"
    );
    assert!(
        after.contains(r#"forge_monitor_decisions_ended_total{how="lifted"} 1"#),
        "{after}"
    );
}

#[tokio::test]
async fn every_layer_is_timed_also_for_a_request_that_it_refuses() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();
    let _local = metrics::set_default_local_recorder(&recorder);
    RecordMetrics::begin(&["log"]);
    let refuse = tower::util::MapRequestLayer::new(|request: Request<()>| request);
    let service = ServiceBuilder::new()
        .layer(LapLayer::new("first"))
        .layer(refuse)
        .layer(LapLayer::new("second"))
        .layer(LapLayer::end())
        .service_fn(async |request: Request<()>| {
            assert_eq!(request.extensions().len(), 0, "nothing is left behind");
            Ok::<_, Infallible>(Response::new(()))
        });
    service.oneshot(Request::new(())).await.unwrap();
    let dropping = ServiceBuilder::new()
        .layer(LapLayer::new("second"))
        .service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
    dropping.oneshot(Request::new(())).await.unwrap();
    let text = rendered.render();
    for line in [
        r#"forge_monitor_layer_seconds_count{layer="first"} 1"#,
        r#"forge_monitor_layer_seconds_count{layer="second"} 2"#,
        r#"forge_monitor_failures_total{part="scenario"} 0"#,
        r#"forge_monitor_alert_deliveries_total{sink="log",outcome="dead"} 0"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
