//! The host's own look at what a receipt names, wherever that is.

use super::claims::Claims;
use super::object::Object;
use super::{Level, check, engine, layout, registry, unpacked, web};
use crate::context::Context;
use crate::error::Result;
use crate::memory::Memory;
use crate::output::target::Endpoint;
use crate::output::{Grant, Target};
use crate::receipt::Receipt;

/// Look at everything that a receipt names, and at what readers of it look at besides. `claims` are those
/// of its config. Errors when the user interrupts.
pub fn of(
    receipt: &Receipt,
    target: &Target,
    grant: &Grant,
    claims: &Claims,
    level: Level,
    memory: &Memory,
    context: &Context,
) -> Result<Vec<Object>> {
    let (expectations, journal) = (&receipt.expectations, &receipt.journal);
    match grant {
        Grant::Storage(destination) => {
            let cancel = &context.cancel;
            let mut objects =
                check::objects(expectations, journal, destination, level, memory, cancel)?;
            if claims.is_settled() {
                unpacked::judge_plain(expectations, claims, destination, &mut objects);
            }
            claims.judge(expectations, &mut objects);
            if let Endpoint::TaggedDirectory(..) = &target.endpoint {
                layout::beside(destination, expectations, &mut objects);
            }
            Ok(objects)
        }
        Grant::Repository(remote) => {
            let asked = registry::Asked { remote, memory, context, named: None };
            registry::objects(expectations, claims, level, &asked)
        }
        Grant::Web(site) => web::objects(expectations, claims, site, level, memory, context),
        Grant::Engine(named) => engine::objects(expectations, claims, named, level, memory),
    }
}
