//! Signing in and out as a person does, in a real browser: Debian's Chromium, headless.

mod trial;

use test_support::{Browser, require};
use trial::Trial;

/// A trial and a browser, or `None` where there is no browser.
fn start() -> Option<(Trial, Browser)> {
    let browser = require(Browser::start())?;
    Some((Trial::start(&[]), browser))
}

fn sign_in(browser: &Browser, trial: &Trial) {
    browser.click("Sign in with GitHub");
    authorize(browser, trial, "octo-user");
    browser.sees("Signed in as octo-user");
}

/// On the stand-in's page: chooses an account and lets Forge sign it in.
fn authorize(browser: &Browser, trial: &Trial, account: &str) {
    browser.sees("This is a local stand-in, not GitHub");
    assert!(browser.url().starts_with(&trial.github), "{browser:?}");
    browser.click(account);
    browser.click("Authorize");
}

/// Forge's style is let in by its policy, and the page fits a phone.
fn assert_looks_right(browser: &Browser) {
    let width = "return getComputedStyle(document.querySelector('main')).maxWidth";
    assert_eq!(browser.run(width), "640px", "the style is not applied");
    browser.resize(390, 844);
    let overflow = "return document.documentElement.scrollWidth - innerWidth";
    assert_eq!(browser.run(overflow), 0, "the page is wider than a phone");
}

#[test]
fn a_person_signs_in_and_out() {
    let Some((trial, browser)) = start() else {
        return;
    };
    let home = format!("{}/", trial.url);
    browser.open(&home);
    browser.sees("Sign in to go on.");
    assert_looks_right(&browser);

    browser.click("Sign in with GitHub");
    authorize(&browser, &trial, "octo-user");
    let page = browser.sees("Signed in as octo-user");
    assert_eq!(browser.url(), home);
    assert!(page.contains("this one"), "{page}");
    assert_looks_right(&browser);
    assert_eq!(
        browser.run("return document.cookie"),
        "",
        "a script reads the session"
    );

    browser.click("Sign out");
    browser.sees("Sign in to go on.");
    assert_eq!(browser.url(), home);
    assert_eq!(browser.complaints(), [""; 0]);
    trial.end();
}

#[test]
fn nothing_of_a_session_is_left_in_the_browser_once_it_is_over() {
    let Some((trial, browser)) = start() else {
        return;
    };
    browser.open(&format!("{}/", trial.url));
    sign_in(&browser, &trial);
    browser.run("document.querySelector('#client').value = 'my-agent'");
    browser.click("Make a token");
    browser.sees("Token for my-agent");
    browser.click("Back to the start");
    browser.sees("Signed in as octo-user");
    browser.click("Sign out");
    browser.sees("Sign in to go on.");

    browser.back();
    let page = browser.sees("Sign in to go on.");
    let how = "return performance.getEntriesByType('navigation')[0].type";
    assert_eq!(browser.run(how), "back_forward");
    assert!(!page.contains("octo-user"), "{page}");

    browser.open(&format!("{}/api/me", trial.url));
    browser.sees("This is a local stand-in, not GitHub");
    trial.end();
}

#[test]
fn a_stranger_is_told_plainly() {
    let Some((trial, browser)) = start() else {
        return;
    };
    browser.open(&format!("{}/", trial.url));
    browser.click("Sign in with GitHub");
    authorize(&browser, &trial, "octo-stranger");
    let page = browser.sees("This account is not allowed");
    for hint in ["octo-admin", "octo-user", "1001", "1002"] {
        assert!(!page.contains(hint), "{page}");
    }
    assert_looks_right(&browser);
    assert_only_refused(&browser);

    browser.click("Back to the start");
    browser.sees("Sign in to go on.");
    trial.end();
}

#[test]
fn a_person_who_cancels_is_not_signed_in() {
    let Some((trial, browser)) = start() else {
        return;
    };
    browser.open(&format!("{}/", trial.url));
    browser.click("Sign in with GitHub");
    browser.sees("This is a local stand-in, not GitHub");
    browser.click("Cancel");
    browser.sees("You did not let Forge sign you in");
    assert_looks_right(&browser);
    assert_only_refused(&browser);

    browser.click("Back to the start");
    browser.sees("Sign in to go on.");
    trial.end();
}

#[test]
fn a_page_that_needs_a_session_leads_to_sign_in_and_back() {
    let Some((trial, browser)) = start() else {
        return;
    };
    let page = format!("{}/api/me", trial.url);
    browser.open(&page);
    authorize(&browser, &trial, "octo-user");
    // The page of the stand-in names the account too, but not its number.
    let text = browser.sees(r#""github_id":1002"#);
    assert!(text.contains("octo-user"), "{text}");
    assert_eq!(browser.url(), page);
    assert_eq!(browser.complaints(), [""; 0]);
    trial.end();
}

#[test]
fn sign_in_begun_at_localhost_comes_to_its_end() {
    let Some((trial, browser)) = start() else {
        return;
    };
    browser.open(&trial.url.replace("127.0.0.1", "localhost"));
    sign_in(&browser, &trial);
    assert_eq!(browser.url(), format!("{}/", trial.url));
    assert_eq!(browser.complaints(), [""; 0]);
    trial.end();
}

/// The stand-in is another origin of the same site, so the browser sends the session's cookie.
#[test]
fn a_page_of_another_origin_cannot_sign_a_person_out() {
    let Some((trial, browser)) = start() else {
        return;
    };
    let home = format!("{}/", trial.url);
    browser.open(&home);
    sign_in(&browser, &trial);

    browser.open(&format!("{}/login/device", trial.github));
    browser.run(&format!(
        "const form = document.createElement('form');
         form.method = 'post';
         form.action = '{home}auth/logout';
         document.body.append(form);
         form.submit();"
    ));
    browser.sees("You may not do this.");
    browser.open(&home);
    browser.sees("Signed in as octo-user");
    trial.end();
}

#[test]
fn a_person_makes_a_token_for_an_agent() {
    let Some((trial, browser)) = start() else {
        return;
    };
    browser.open(&format!("{}/", trial.url));
    sign_in(&browser, &trial);
    browser.run("document.querySelector('#client').value = 'my-agent'");
    browser.click("Make a token");
    let page = browser.sees("Token for my-agent");
    assert!(page.contains("shown this once"), "{page}");
    assert_looks_right(&browser);
    assert_eq!(browser.complaints(), [""; 0]);

    browser.click("Back to the start");
    let page = browser.sees("mcp my-agent");
    assert!(page.contains("Signed in as octo-user"), "{page}");
    assert_looks_right(&browser);
    trial.end();
}

/// A browser follows no form from a page of this server to another origin, as its policy says: nor
/// by way of a redirect, as to sign in.
#[test]
fn a_form_that_is_sent_after_the_session_ended_leads_to_sign_in() {
    let Some((trial, browser)) = start() else {
        return;
    };
    let home = format!("{}/", trial.url);
    browser.open(&home);
    browser.sees("Sign in to go on.");
    browser.run(
        "const form = document.createElement('form');
         form.method = 'post';
         form.action = '/tokens';
         document.body.append(form);
         form.submit();",
    );
    browser.sees("Nothing was done. Sign in again");
    assert_looks_right(&browser);
    sign_in(&browser, &trial);
    assert_eq!(browser.url(), home);
    trial.end();
}

/// The console holds the page's own status and nothing else.
fn assert_only_refused(browser: &Browser) {
    let complaints = browser.complaints();
    let [refusal] = &*complaints else {
        panic!("{complaints:#?}");
    };
    assert!(refusal.contains("status of 403"), "{refusal}");
}
