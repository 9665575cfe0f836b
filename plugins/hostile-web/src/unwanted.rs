//! Requests that break rules, sent while writing and while verifying.

use occystrap_plugin::http_in::{self, Header, Range, Response};
use occystrap_plugin::http_out::{self, Method};
use occystrap_plugin::log;
use occystrap_plugin::types::ErrorCode;
use occystrap_plugin::writer::Error;

/// Sends the requests of a behaviour, `NAME` or `NAME=ARGUMENT`. Does nothing for an unknown behaviour.
pub fn send(behaviour: &str) -> Result<(), Error> {
    let (name, argument) = behaviour.split_once('=').unwrap_or((behaviour, ""));
    let folder = http_in::folder()?;
    match name {
        "get" => log_response(&http_in::get(argument, &[], None)?)?,
        "head" => log_response(&http_in::head(argument, &[])?)?,
        "hash" => drop(http_in::hash(argument)?),
        "put" => log_response(&http_out::send(Method::Put, argument, &[], b"evil")?)?,
        "post" => log_response(&http_out::send(Method::Post, argument, &[], b"evil")?)?,
        "mkcol" => log_response(&http_out::send(Method::Mkcol, argument, &[], b"")?)?,
        "put-file" => drop(http_out::put_file(argument, &[])?),
        "put-last" => drop(http_out::put_last(argument, &[], b"evil")?),
        // `header=NAME:VALUE`
        "header" => {
            let (name, value) = argument.split_once(':').unwrap();
            let header = Header { name: name.to_owned(), value: value.to_owned() };
            log_response(&http_out::send(Method::Post, &folder, &[header], b"")?)?;
        }
        "headers" => {
            let header = Header { name: "accept".to_owned(), value: "x".to_owned() };
            log_response(&http_in::get(&folder, &vec![header; 10_000], None)?)?;
        }
        "long-url" => drop(http_in::head(&format!("{folder}{}", "x".repeat(1 << 20)), &[])?),
        "range" => {
            drop(http_in::get(&folder, &[], Some(Range { offset: u64::MAX, len: u64::MAX }))?)
        }
        "send-big" => {
            let body = vec![0; (1 << 20) + 1];
            drop(http_out::send(Method::Put, &format!("{folder}big"), &[], &body)?);
        }
        "last-big" => {
            let body = vec![0; (4 << 20) + 1];
            drop(http_out::put_last(&format!("{folder}big"), &[], &body)?);
        }
        "lasts" => {
            for n in 0..1_000 {
                http_out::put_last(&format!("{folder}{n}"), &[], b"x")?;
            }
        }
        "flood" => loop {
            drop(http_in::head(&folder, &[])?);
        },
        "answers" => {
            let mut all = Vec::new();
            loop {
                all.push(http_in::get(&folder, &[], None)?);
            }
        }
        "read" => while !http_in::get(argument, &[], None)?.read(u32::MAX)?.is_empty() {},
        "read-all" => {
            let answer = http_in::get(argument, &[], None)?;
            while !answer.read(u32::MAX)?.is_empty() {}
        }
        _ => {}
    }
    Ok(())
}

/// Logs everything of a response that a plugin can read. The tests search the log for secrets.
fn log_response(answer: &Response) -> Result<(), ErrorCode> {
    let mut text = format!("status {}", answer.status());
    for header in answer.headers() {
        text += &format!("; {}: {}", header.name, header.value);
    }
    log::log(log::Level::Warn, &text);
    answer.read(100).map(drop)
}
