//! The benches work: each with as few rounds and messages as show it. What they measure here means nothing.

use std::error::Error;

use frankd_tests::bench::{self, BenchError, Part, Size};
use frankd_tests::service::binaries;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn works(part: Part, rows: &[&str]) -> Outcome {
    let Some(programs) = binaries() else { return Ok(()) };
    let measured = bench::run(part, &programs, &Size::SMOKE)?;
    let names: Vec<&str> = measured.iter().map(|row| row.name.as_str()).collect();
    assert!(names.starts_with(rows), "{names:?}");
    for row in &measured {
        assert_eq!(row.rounds.len(), Size::SMOKE.rounds);
        assert!(row.ratio().is_finite() && row.ratio() > 0.0, "{row:?}");
    }
    assert_eq!(bench::table(&measured).lines().count(), 1 + measured.len());
    Ok(())
}

#[test]
fn token_get_is_measured() -> Outcome {
    works(Part::Token, &["token.get, one kept connection", "token.get, one connection a call"])
}

#[test]
fn acceptance_is_measured() -> Outcome {
    works(Part::Accept, &["message.send, 1 senders", "message.send, 16 senders", "message.send, 64 senders"])
}

#[test]
fn delivery_is_measured() -> Outcome {
    works(Part::Delivery, &["delivery to the sandbox, 3 connections", "delivery to the sandbox, 16 connections"])
}

#[test]
fn parts_have_names() -> Outcome {
    assert_eq!("accept".parse::<Part>()?, Part::Accept);
    assert!(matches!("acept".parse::<Part>(), Err(BenchError::Part(_))));
    Ok(())
}
