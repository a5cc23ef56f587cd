//! What one node decides holds at all.

use fake_github::OCTO_ADMIN;
use test_support::{Smtp, SmtpTls};

use crate::bans::{ATTACKER, blocks, from, until};
use crate::support::{Browser, ROOMY, Trial, only, postgres, seconds, with_action};

/// A server behind a proxy whose alerts go to that mail server.
async fn trial(mails: &Smtp, ca: &tempfile::NamedTempFile) -> Trial {
    let port = mails.addr.port().to_string();
    let settings = [
        ("proxies.trusted", "127.0.0.0/8"),
        ("alerts.email.host", "localhost"),
        ("alerts.email.port", &port),
        ("alerts.email.from", "forge@example.com"),
        ("alerts.email.to", "ops@example.com"),
        ("alerts.email.ca", ca.path().to_str().unwrap()),
    ];
    Trial::start_with(ROOMY.into_iter().chain(settings)).await
}

async fn fail_six_times(browser: &Browser) {
    for _ in 0..6 {
        let guess = "/auth/github/callback?code=x&state=guess";
        from(browser, ATTACKER, guess).await.problem(400);
    }
}

tests! {
    async fn a_ban_of_one_node_holds_at_each_and_each_lifts_it_for_all() {
        let mails = Smtp::start(SmtpTls::StartTls).await;
        let ca = crate::alerts::mails_ca(&mails);
        let trial = trial(&mails, &ca).await;
        let node = trial.another_node().await;
        let (here, there) = (trial.browser(), node.browser(&trial.browser()));
        from(&there, ATTACKER, "/").await.expect(200);
        fail_six_times(&here).await;
        trial.app.monitor.flush().await;
        from(&here, ATTACKER, "/").await.problem(403);
        until(|| !node.app.monitor.blocks().is_empty()).await;
        from(&there, ATTACKER, "/").await.problem(403);
        assert!(!trial.data().join("decisions.db").exists());

        // An admin at the other node lifts it.
        let admin = trial.sign_in(OCTO_ADMIN).await;
        let at_node = node.browser(&admin);
        let list = blocks(&at_node).await;
        assert_eq!(list, blocks(&admin).await);
        let id = list[0]["id"].as_str().unwrap().to_owned();
        at_node.delete(&format!("/api/admin/blocks/{id}")).await.expect(204);
        from(&there, ATTACKER, "/").await.expect(200);
        until(|| trial.app.monitor.blocks().is_empty()).await;
        from(&here, ATTACKER, "/").await.expect(200);

        // It began and is over, each told once, whichever node brings it.
        let mails = mails.wait_for(2).await;
        for app in [&trial.app, &node.app] {
            app.monitor.flush().await;
        }
        let subjects: Vec<_> = mails.iter().map(|of| of.header("subject").unwrap()).collect();
        assert!(subjects[0].starts_with("Forge [warning]"), "{subjects:?}");
        assert!(subjects[1].starts_with("Forge [resolved]"), "{subjects:?}");
        let waiting = trial.app.monitor.stats().outbox_depth;
        assert_eq!((mails.len(), waiting), (2, 0), "{subjects:?}");
        let events = trial.audit(&admin).await;
        assert_eq!(only(&events, "monitor.block")["details"]["decision"], id);
        // Who lifted it is on record where it was lifted.
        assert!(with_action(&events, "monitor.lift").is_empty());
        let lifted = trial.audit(&at_node).await;
        assert_eq!(only(&lifted, "monitor.lift")["details"]["decision"], id);
        node.end().await;
    }

    async fn a_ban_outlives_the_node_that_decided_it() {
        let settings = ROOMY.into_iter().chain([("proxies.trusted", "127.0.0.0/8")]);
        let trial = Trial::start_with(settings).await;
        fail_six_times(&trial.browser()).await;
        trial.app.monitor.flush().await;
        let node = trial.another_node().await;
        let (browser, app) = (node.browser(&trial.browser()), node.app.clone());
        drop(trial.stop().ended().await);
        assert_eq!(app.monitor.blocks().len(), 1);
        from(&browser, ATTACKER, "/").await.problem(403);
        assert!(postgres::dump().unwrap().contains("failed_authentications"));
        app.clock.advance(seconds(900));
        from(&browser, ATTACKER, "/").await.expect(200);
        node.end().await;
    }
}
