//! Finding records, and reading them without believing them.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::{COLUMNS, index_of, integer};
use crate::chain::Hash;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::query::{Filter, Order, Selection};
use crate::record::Stored;

/// The statement and its values. The texts of the statement are constants: values are only bound.
pub(super) fn select(selection: &Selection) -> (String, Vec<Value>) {
    // Time never decreases with the sequence, so that a range of time is one of the sequence, and
    // any index serves it.
    const SINCE: &str = "seq >= (SELECT seq FROM audit_records WHERE time >= ? \
                         ORDER BY time, seq LIMIT 1)";
    const UNTIL: &str = "seq < coalesce((SELECT seq FROM audit_records WHERE time >= ? \
                         ORDER BY time, seq LIMIT 1), 9223372036854775807)";
    let Filter {
        from,
        until,
        actor,
        kind,
        action,
        at_least,
        outcome,
        address,
        resource,
        request_id,
    } = &selection.filter;
    let text = |part: &Option<String>| part.clone().map(Value::Text);
    let micros = |time: &Option<Timestamp>| time.map(|time| Value::Integer(time.as_micros()));
    let (beyond, order) = match selection.order {
        Order::NewestFirst => ("seq < ?", "DESC"),
        Order::OldestFirst => ("seq > ?", "ASC"),
    };
    let terms = [
        (beyond, selection.beyond.map(integer)),
        (SINCE, micros(from)),
        (UNTIL, micros(until)),
        ("actor = ?", text(actor)),
        ("kind = ?", kind.map(|kind| Value::Text(kind.to_string()))),
        ("action = ?", text(action)),
        (
            "severity >= ?",
            at_least.map(|least| Value::Integer(least.code().into())),
        ),
        (
            "outcome = ?",
            outcome.map(|outcome| Value::Text(outcome.to_string())),
        ),
        (
            "address = ?",
            address.map(|address| Value::Text(address.to_string())),
        ),
        ("resource = ?", text(resource)),
        ("request_id = ?", text(request_id)),
    ];
    let (terms, mut values): (Vec<_>, Vec<_>) = terms
        .into_iter()
        .filter_map(|(term, value)| Some((term, value?)))
        .unzip();
    let filter = if terms.is_empty() {
        "true".to_owned()
    } else {
        terms.join(" AND ")
    };
    values.push(integer(selection.limit));
    (
        format!("SELECT {COLUMNS} FROM audit_records WHERE {filter} ORDER BY seq {order} LIMIT ?"),
        values,
    )
}

pub(super) fn rows(
    db: &Connection,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<Stored>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_map(params_from_iter(values), stored)?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A row as it is found. A value of another type than it should have, which only somebody who
/// owns the file can write, reads as nothing: then the record does not verify.
fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let micros = |column| {
        row.get_ref(column)
            .map(|value| value.as_i64().unwrap_or(i64::MIN))
    };
    let blob = |column| {
        row.get_ref(column)
            .map(|value| value.as_blob().unwrap_or_default())
    };
    let hash = |column| blob(column).map(|bytes| Hash(bytes.try_into().unwrap_or_default()));
    let mut stored = Stored {
        seq: sequence(row, 0)?,
        time: Timestamp::from_micros(micros(1)?),
        occurred: Timestamp::from_micros(micros(2)?),
        prev: hash(3)?,
        hash: hash(4)?,
        canonical: blob(5)?.to_vec(),
        index_agrees: false,
    };
    if let Some(event) = stored.event() {
        let mut agrees = true;
        for (column, value) in (6..).zip(&index_of(&event)) {
            agrees &= row.get_ref(column)? == ValueRef::from(value);
        }
        stored.index_agrees = agrees;
    }
    Ok(stored)
}

pub(super) fn sequence(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    // A negative sequence can only be forged; as 0 it stands where no record stands.
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::{Kind, Severity};

    fn plan(filter: Filter) -> String {
        let mut db = Connection::open_in_memory().unwrap();
        super::super::migrate(&mut db).unwrap();
        let selection = Selection {
            filter,
            order: Order::NewestFirst,
            beyond: Some(9),
            limit: 10,
        };
        let (sql, values) = select(&selection);
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = explain.query_map(params_from_iter(values), |row| row.get::<_, String>(3));
        lines
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn queries_are_planned_by_an_index_and_never_sort() {
        let from = Some(Timestamp::from_micros(1));
        let text = || Some("x".to_owned());
        for (index, filter) in [
            ("PRIMARY KEY", Filter::default()),
            (
                "PRIMARY KEY",
                Filter {
                    at_least: Some(Severity::High),
                    ..Filter::default()
                },
            ),
            (
                "by_time",
                Filter {
                    from,
                    until: from,
                    ..Filter::default()
                },
            ),
            (
                "by_kind",
                Filter {
                    kind: Some(Kind::Session),
                    from,
                    ..Filter::default()
                },
            ),
            (
                "by_action",
                Filter {
                    action: text(),
                    from,
                    ..Filter::default()
                },
            ),
            (
                "by_actor",
                Filter {
                    actor: text(),
                    from,
                    ..Filter::default()
                },
            ),
            (
                "by_address",
                Filter {
                    address: "::1".parse().ok(),
                    ..Filter::default()
                },
            ),
            (
                "by_request_id",
                Filter {
                    request_id: text(),
                    ..Filter::default()
                },
            ),
        ] {
            let plan = plan(filter);
            assert!(plan.contains(index), "{index}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{index}: {plan}");
        }
    }
}
