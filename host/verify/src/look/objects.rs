//! The host's own look at what a receipt names, wherever that is.

use super::{check, engine_image, registry, unpacked, web};
use crate::derive::layout;
use crate::verdict::claims::Claims;
use crate::verdict::object::CheckedObject;
use occystrap_base::error::Result;
use occystrap_images::level::Level;
use occystrap_net::context::Context;
use occystrap_output::destination::Grant;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::Receipt;
use occystrap_output::write::target::Endpoint;
use occystrap_output::write::target::Target;

/// Look at everything that a receipt names, and at what readers of it look at besides. `claims` are those
/// of its config. Errors when the user interrupts.
pub fn of(
    receipt: &Receipt,
    target: &Target,
    grant: &Grant,
    claims: &Claims,
    level: Level,
    memory: &HashMemo,
    context: &Context,
) -> Result<Vec<CheckedObject>> {
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
        Grant::Engine(named) => engine_image::objects(expectations, claims, named, level, memory),
    }
}
