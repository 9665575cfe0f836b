//! Attestations: what stands beside images in an index and is none. What they say is for their
//! readers; here their bytes are compared with their digests.

use std::io::BufRead;

use super::finding::{Finding, Findings};
use super::layers::rule;
use crate::blob::{Stored, from_io, open_one};
use crate::context::Context;
use crate::error::Result;
use crate::image::{Content, Layer};
use crate::input::view::View;

/// Read every layer. Errors when the user interrupts.
pub fn check(view: &View, to: &mut Findings, context: &Context) -> Result<()> {
    let mut right = 0;
    for (index, kept) in view.layers.iter().enumerate() {
        let (Some(content), Some(digest)) = (kept.content.clone(), kept.promised.digest) else {
            continue;
        };
        let in_file = matches!(content, Content::File(_));
        let Some(size) = kept.size.filter(|_| in_file).or(kept.promised.size) else { continue };
        let layer = Layer {
            diff_id: digest,
            opaque: true,
            digest: Some(digest),
            size,
            media_type: kept.promised.media_type.clone().unwrap_or_default(),
            content,
            place: kept.called.clone(),
        };
        let read = open_one(&layer, context).map_or(Ok(()), |stored| read(stored, &layer.place));
        context.cancel.check()?;
        match read {
            Ok(()) => right += 1,
            Err(error) => to.push(Finding::unread(rule(&error), &error).layer(index)),
        }
    }
    if right > 0 && right == view.layers.len() {
        to.pass("layer-digest", format!("{right} layers hold what the manifest promises"));
    }
    Ok(())
}

/// To the end, where a digest that is another one is an error.
fn read(mut stored: Stored, place: &str) -> Result<()> {
    loop {
        let amount = stored.fill_buf().map_err(|cause| from_io(cause, place))?.len();
        if amount == 0 {
            return stored.finish().map_err(|cause| from_io(cause, place));
        }
        stored.consume(amount);
    }
}
