//! Which blobs a verification reads, and in which order.

use rusqlite::{Connection, ToSql};

use super::fault::StoreFault;
use super::rows::{BLOB, count, page, read_blob, stored};
use crate::ledger::clock::MOST_FUTURE;
use crate::ledger::holding::{BlobState, BlobSum, DueBlobs, DueMark, DueRequest, Subset};

/// Ten-thousandths of everything.
const WHOLE: u64 = 10_000;

/// Conditions of a request, with their values.
struct Conditions {
    text: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    fn new(request: &DueRequest<'_>, now: i64) -> Self {
        let mut all =
            Self { text: "checked_run <> ?".to_owned(), values: vec![Box::new(request.run.0)] };
        let bad = BlobState::Bad.rank();
        if let Some(host) = request.host {
            all.add("host = ?", vec![Box::new(host.to_owned())]);
        }
        if request.only_bad {
            all.add("rank = ?", vec![Box::new(bad)]);
        }
        match request.subset {
            Subset::All => {}
            Subset::Part { index, of } => {
                let of = i64::from(of.max(1));
                let index = (i64::from(index) - 1).rem_euclid(of);
                all.add(
                    "(rank = ? OR bucket % ? = ?)",
                    vec![Box::new(bad), Box::new(of), Box::new(index)],
                );
            }
            Subset::Share { ten_thousandths, turn } => {
                let share = u64::from(ten_thousandths).min(WHOLE);
                // 0 to 9,999: added, it moves the window back by one share for each turn.
                let shift = WHOLE - (turn % WHOLE * share) % WHOLE;
                all.add(
                    "(rank = ? OR (bucket + ?) % 10000 < ?)",
                    vec![Box::new(bad), Box::new(stored(shift)), Box::new(stored(share))],
                );
            }
        }
        if let Some(age) = request.older_than {
            // A time too far in the future is no time.
            all.add(
                "(rank = ? OR verified_at < ? OR verified_at > ?)",
                vec![
                    Box::new(bad),
                    Box::new(now.saturating_sub(stored(age))),
                    Box::new(now.saturating_add(MOST_FUTURE)),
                ],
            );
        }
        all
    }

    fn add(&mut self, text: &str, values: Vec<Box<dyn ToSql>>) {
        self.text.push_str(" AND ");
        self.text.push_str(text);
        self.values.extend(values);
    }

    fn values(&self) -> impl Iterator<Item = &dyn ToSql> {
        self.values.iter().map(|value| &**value)
    }
}

/// Returns a page of the blobs that are due.
pub fn due_blobs(
    connection: &Connection,
    request: &DueRequest<'_>,
    now: i64,
) -> Result<DueBlobs, StoreFault> {
    let mut conditions = Conditions::new(request, now);
    if let Some(DueMark { rank, verified_at, id }) = request.after {
        let values: Vec<Box<dyn ToSql>> = vec![Box::new(rank), Box::new(verified_at), Box::new(id)];
        conditions.add("(rank, verified_at, id) > (?, ?, ?)", values);
    }
    let most = page(request.most);
    let select = format!(
        "SELECT {BLOB}, id FROM blob WHERE {} ORDER BY rank, verified_at, id LIMIT {most}",
        conditions.text
    );
    let mut statement = connection.prepare_cached(&select)?;
    let values = rusqlite::params_from_iter(conditions.values());
    let rows = statement.query_map(values, |row| {
        let blob = read_blob(row)?;
        let verified_at = blob.verified_at.unwrap_or(0);
        let mark = DueMark { rank: blob.state.rank(), verified_at, id: row.get("id")? };
        Ok((blob, mark))
    })?;
    let mut due = DueBlobs::default();
    for row in rows {
        let (blob, mark) = row?;
        due.blobs.push(blob);
        due.next = Some(mark);
    }
    if due.blobs.len() < request.most.min(crate::ledger::LONGEST_PAGE) {
        due.next = None;
    }
    Ok(due)
}

/// Returns number and size of all blobs that are due.
pub fn sum_due(
    connection: &Connection,
    request: &DueRequest<'_>,
    now: i64,
) -> Result<BlobSum, StoreFault> {
    let conditions = Conditions::new(request, now);
    let select =
        format!("SELECT count(*), coalesce(sum(size), 0) FROM blob WHERE {}", conditions.text);
    let mut statement = connection.prepare_cached(&select)?;
    let read =
        |row: &rusqlite::Row<'_>| Ok(BlobSum { blobs: count(row, 0)?, bytes: count(row, 1)? });
    Ok(statement.query_row(rusqlite::params_from_iter(conditions.values()), read)?)
}
