//! Records as events of the Open Cybersecurity Schema Framework.
//!
//! Signing in and out is the class Authentication, what concerns accounts Account Change, the rest
//! API Activity. What has no attribute there is in `unmapped`.

use serde_json::{Map, Value, json};

use crate::escape::escape;
use crate::event::Event;
use crate::kind::{Kind, Outcome, Severity};
use crate::record::Record;

/// The version of OCSF that is written.
pub const OCSF_VERSION: &str = "1.6.0";

const ACCOUNT_CHANGE: u32 = 3001;
const AUTHENTICATION: u32 = 3002;
const API_ACTIVITY: u32 = 6003;
const OTHER: u32 = 99;

/// What was done, as the class has it: a number and its name.
fn activity(class: u32, event: &Event) -> (u32, &str) {
    let verb = event.action.rsplit(['.', '_']).next().unwrap_or_default();
    match (class, verb) {
        (AUTHENTICATION, "in") => (1, "Logon"),
        (AUTHENTICATION, "out") => (2, "Logoff"),
        (ACCOUNT_CHANGE | API_ACTIVITY, "create" | "add" | "allow") => (1, "Create"),
        (ACCOUNT_CHANGE, "lock") => (9, "Lock"),
        (ACCOUNT_CHANGE, "delete" | "remove" | "disallow") => (6, "Delete"),
        (API_ACTIVITY, "read" | "list" | "export") => (2, "Read"),
        (API_ACTIVITY, "update" | "change" | "rotate" | "renew") => (3, "Update"),
        (API_ACTIVITY, "delete" | "remove" | "revoke" | "erase" | "prune") => (4, "Delete"),
        _ => (OTHER, &event.action),
    }
}

pub(super) fn value(record: &Record) -> Value {
    let event = &record.event;
    let class = match event.kind {
        Kind::Authentication => AUTHENTICATION,
        Kind::UserManagement | Kind::AllowListChange => ACCOUNT_CHANGE,
        _ => API_ACTIVITY,
    };
    let (activity, name) = activity(class, event);
    let severity = match event.severity {
        Severity::Low => (1, "Informational"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    };
    let status = match event.outcome {
        Outcome::Success => (1, "Success"),
        _ => (2, "Failure"),
    };
    let text = |text: &Option<String>| text.as_deref().map(|text| escape(text).into_owned());
    let mut user = Map::new();
    put(&mut user, "uid", text(&event.actor.id));
    put(&mut user, "name", text(&event.actor.login));
    if user.is_empty() {
        put(&mut user, "name", Some("anonymous".to_owned()));
    }
    let source = match event.source.address {
        Some(address) => json!({ "ip": address.to_string() }),
        None => json!({ "name": "unknown" }),
    };
    let mut actor = json!({ "user": user });
    if let Some(session) = text(&event.actor.session) {
        actor["session"] = json!({ "uid": session });
    }
    let mut value = json!({
        "metadata": {
            "version": OCSF_VERSION,
            "product": {
                "name": "forge-audit",
                "vendor_name": "Forge",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "uid": record.hash.to_string(),
            "sequence": record.seq,
            "original_time": record.occurred.to_string(),
            "event_code": event.action,
        },
        "time": record.time.as_micros() / 1000,
        "category_uid": class / 1000,
        "class_uid": class,
        "activity_id": activity,
        "activity_name": name,
        "type_uid": class * 100 + activity,
        "severity_id": severity.0,
        "severity": severity.1,
        "status_id": status.0,
        "status": status.1,
        "status_detail": event.outcome.as_str(),
        "message": event.action,
        "actor": actor,
        "src_endpoint": source,
    });
    let mut request = Map::new();
    put(&mut request, "user_agent", text(&event.source.user_agent));
    put(&mut request, "uid", text(&event.request_id));
    if !request.is_empty() {
        value["http_request"] = Value::Object(request);
    }
    match class {
        API_ACTIVITY => value["api"] = json!({ "operation": event.action }),
        _ => value["user"] = value["actor"]["user"].clone(),
    }
    if class == AUTHENTICATION {
        value["service"] = json!({ "name": "Forge" });
    }
    let mut unmapped = Map::new();
    put(&mut unmapped, "kind", Some(event.kind.to_string()));
    put(
        &mut unmapped,
        "owasp",
        event.owasp().map(|word| word.to_string()),
    );
    put(&mut unmapped, "resource", text(&event.resource));
    if let Some(details) = event.details_value() {
        unmapped.insert("details".to_owned(), details);
    }
    value["unmapped"] = Value::Object(unmapped);
    value
}

fn put(object: &mut Map<String, Value>, name: &str, text: Option<String>) {
    if let Some(text) = text {
        object.insert(name.to_owned(), text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;
    use crate::clock::Timestamp;
    use crate::event::{Actor, Source};
    use crate::export::Format;
    use crate::owasp::Owasp;

    /// The part of the schema, version 1.6.0, that is written: for each class and object its
    /// attributes with their types, which are required, and of which there must be one.
    const SCHEMA: &str = include_str!("../../tests/schema/ocsf-1.6.0.json");

    /// Whether `object` is what the schema calls `name`.
    fn check(schema: &Value, name: &str, object: &Value, problems: &mut Vec<String>) {
        let rule = &schema["objects"][name];
        if rule["attributes"].is_null() {
            problems.push(format!("{name} is not in the excerpt"));
            return;
        }
        let names = |list: &str| {
            let names = rule[list].as_array().into_iter().flatten();
            names.map(|name| name.as_str().unwrap()).collect::<Vec<_>>()
        };
        for required in names("required") {
            if object.get(required).is_none() {
                problems.push(format!("{name} without {required}"));
            }
        }
        let one_of = names("at_least_one");
        if !one_of.is_empty() && !one_of.iter().any(|one| object.get(*one).is_some()) {
            problems.push(format!("{name} without one of {one_of:?}"));
        }
        for (attribute, value) in object.as_object().unwrap() {
            let Some(kind) = rule["attributes"][attribute].as_str() else {
                problems.push(format!("{name} has no {attribute}"));
                continue;
            };
            let fits = match kind {
                "string" => value.is_string(),
                "integer" => value.is_i64(),
                "any" => value.is_object(),
                "ip" => value
                    .as_str()
                    .is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
                object => {
                    check(schema, object, value, problems);
                    true
                }
            };
            if !fits {
                problems.push(format!("{name}.{attribute} is no {kind}: {value}"));
            }
            let allowed = &rule["enums"][attribute];
            if !allowed.is_null() && allowed.get(value.to_string()).is_none() {
                problems.push(format!("{name}.{attribute} cannot be {value}"));
            }
        }
    }

    #[test]
    fn every_event_is_as_the_schema_has_it() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!(schema["version"], OCSF_VERSION);
        let mut events: Vec<Event> = Owasp::ALL.iter().map(|word| word.event()).collect();
        for kind in Kind::ALL {
            for outcome in Outcome::ALL {
                for severity in Severity::ALL {
                    let event = Event::new(*kind, "x.create").outcome(*outcome);
                    events.push(event.severity(*severity));
                }
            }
        }
        let whole = |event: Event| {
            event
                .actor(Actor::new("7").login("octo").session("s"))
                .source(
                    Source::new()
                        .address("::1".parse().unwrap())
                        .user_agent("curl"),
                )
                .resource("x")
                .request_id("r")
                .details(&json!({ "n": 1 }))
        };
        events.extend(events.clone().into_iter().map(whole));
        for event in events {
            let record = Chain::new().append(event, Timestamp::from_micros(1));
            let value: Value = serde_json::from_str(&Format::Ocsf.line(&record)).unwrap();
            let class = value["class_uid"].as_u64().unwrap();
            let mut problems = Vec::new();
            check(&schema, &class.to_string(), &value, &mut problems);
            assert_eq!(problems, Vec::<String>::new(), "{value}");
            let activity = value["activity_id"].as_u64().unwrap();
            assert_eq!(value["category_uid"], class / 1000);
            assert_eq!(value["type_uid"], class * 100 + activity);
            let rule = &schema["objects"][class.to_string()]["enums"];
            for (id, name) in [
                ("activity_id", "activity_name"),
                ("severity_id", "severity"),
                ("status_id", "status"),
            ] {
                let caption = &rule[id][value[id].to_string()];
                assert!(*caption == value[name] || value[id] == OTHER, "{value}");
            }
        }
    }

    #[test]
    fn the_schema_finds_what_is_wrong() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let record = Chain::new().append(Event::sign_in(Outcome::Success), Timestamp::default());
        let right = value(&record);
        for (pointer, wrong) in [
            ("/service", Value::Null),
            ("/activity_id", json!(77)),
            ("/time", json!("now")),
            ("/metadata/version", Value::Null),
            ("/user", json!({})),
            ("/src_endpoint", json!({ "ip": "here" })),
            ("/other", json!(1)),
        ] {
            let mut changed = right.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let parent = changed
                .pointer_mut(parent)
                .unwrap()
                .as_object_mut()
                .unwrap();
            match wrong {
                Value::Null => drop(parent.remove(name)),
                wrong => drop(parent.insert(name.to_owned(), wrong)),
            }
            let mut problems = Vec::new();
            check(&schema, "3002", &changed, &mut problems);
            assert_eq!(problems.len(), 1, "{pointer}: {problems:?}");
        }
    }
}
