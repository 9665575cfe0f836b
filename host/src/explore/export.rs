//! Exporting one file: it is read from its layer on another thread, so that the view can be interrupted meanwhile.

use std::path::Path;

use ratatui::crossterm::event::{Event, KeyCode};

use super::draw;
use super::keys::FileExport;
use super::screen::{Screen, failed, next_event};
use super::state::State;
use occystrap_base::error::{Error, Kind, Result, printable};
use occystrap_base::files::new_file::NewFile;
use occystrap_base::terminal::progress::Progress;
use occystrap_base::terminal::size::size;
use occystrap_images::explore::{Explored, write_content};
use occystrap_net::context::Context;

/// Exports a file, and draws meanwhile. Esc stops it. Returns what to tell the user. Errors when a signal ends the
/// process's work, or the terminal fails.
pub fn run(
    export: &FileExport,
    state: &mut State<'_>,
    screen: &mut Screen,
    context: &Context,
) -> Result<String> {
    // A progress bar would draw over the view.
    let quiet = context.child().with_progress(Progress::hidden());
    let image = state.image();
    std::thread::scope(|scope| {
        let job = scope.spawn(|| write(export, image, &quiet));
        while !job.is_finished() {
            state.tell("Exporting ... Esc stops it".to_owned());
            let event = screen
                .draw(|frame| draw::all(frame, state))
                .map_err(|cause| failed(&cause))
                .and_then(|()| next_event(context));
            match event {
                Ok(Some(Event::Key(key))) if key.code == KeyCode::Esc => quiet.cancel.cancel(),
                Ok(_) => {}
                Err(error) => {
                    quiet.cancel.cancel();
                    return Err(error);
                }
            }
        }
        let shown = printable(&export.to.to_string_lossy());
        Ok(match job.join() {
            Ok(Ok(bytes)) => format!("Exported {} to {shown}", size(bytes)),
            Ok(Err(error)) if error.kind() == Kind::Interrupted => "The export was stopped".into(),
            Ok(Err(error)) => format!("Not exported: {error}"),
            Err(_) => "Not exported: a defect of occystrap".to_owned(),
        })
    })
}

/// Writes the file. A file that is there is kept, and a file that is not complete gets no name.
fn write(export: &FileExport, image: &Explored, context: &Context) -> Result<u64> {
    let to: &Path = &export.to;
    let failed =
        |cause: &std::io::Error| Error::io(Kind::Destination, "write", to.display(), cause);
    if to.symlink_metadata().is_ok() {
        return Err(Error::destination(format!("'{}' exists", to.display())));
    }
    let new = NewFile::at(to).map_err(|cause| failed(&cause))?;
    let bytes = write_content(&image.view, export.layer, &export.path, new.file(), context)?;
    context.cancel.check()?;
    new.publish_new().map_err(|cause| failed(&cause))?;
    Ok(bytes)
}
