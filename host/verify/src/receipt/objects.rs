//! Checks the objects of a receipt, whatever kind of destination they are in.

use crate::derive::layout;
use crate::look::{check, engine_image, registry, unpacked, web};
use crate::verdict::claims::Claims;
use crate::verdict::object::CheckedObject;
use occystrap_base::error::Result;
use occystrap_images::level::Level;
use occystrap_net::context::Context;
use occystrap_output::destination::ReadAccess;
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::receipt::Receipt;
use occystrap_output::write::target::Endpoint;
use occystrap_output::write::target::Target;

/// Checks everything that a receipt names, and what readers of the format need beside that. `claims` are the promises
/// of its config. Errors when the user interrupts.
pub fn of(
    receipt: &Receipt,
    target: &Target,
    access: &ReadAccess,
    claims: &Claims,
    level: Level,
    memory: &HashMemo,
    context: &Context,
) -> Result<Vec<CheckedObject>> {
    let (expectations, journal) = (&receipt.expectations, &receipt.journal);
    match access {
        ReadAccess::Storage(destination) => {
            let cancel = &context.cancel;
            let mut objects =
                check::objects(expectations, journal, destination, level, memory, cancel)?;
            if claims.is_settled() {
                unpacked::compare_plain(expectations, claims, destination, &mut objects);
            }
            claims.compare(expectations, &mut objects);
            if let Endpoint::TaggedDirectory(..) = &target.endpoint {
                layout::beside(destination, expectations, &mut objects);
            }
            Ok(objects)
        }
        ReadAccess::Repository(remote) => {
            let asked = registry::QueriedRepository { remote, memory, context, named: None };
            registry::objects(expectations, claims, level, &asked)
        }
        ReadAccess::Web(site) => web::objects(expectations, claims, site, level, memory, context),
        ReadAccess::Engine(named) => {
            engine_image::objects(expectations, claims, named, level, memory)
        }
    }
}
