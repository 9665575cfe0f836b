//! The history of an image: which step made which layer.

use serde::Serialize;
use serde_json::Value;

use crate::source::view::View;

/// The largest number of steps that is read: more than any image has. Further steps are left out.
const MOST_STEPS: usize = 10_000;

/// A step that built an image (OCI image specification, "Image Configuration", `history`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryStep {
    /// Time, as written in the config.
    pub created: Option<String>,
    /// The command.
    pub created_by: Option<String>,
    /// Comment of the builder.
    pub comment: Option<String>,
    /// Whether it made no layer; `None` if that is not known.
    pub empty_layer: Option<bool>,
    /// Bytes of its files, as an engine counts; `None` for other sources.
    pub size: Option<u64>,
    /// Number of the layer that it made, from 0; `None` if it made none, or if that is not known.
    pub layer: Option<usize>,
}

/// Returns the steps of a config. If there are as many layers as steps that are not marked as empty, each such step gets
/// the number of its layer; else it is not known which step made which layer.
pub fn steps(config: &Value, layers: usize) -> Vec<HistoryStep> {
    let listed = config["history"].as_array();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let step = |entry: &Value| HistoryStep {
        created: text(&entry["created"]),
        created_by: text(&entry["created_by"]),
        comment: text(&entry["comment"]),
        empty_layer: Some(entry["empty_layer"].as_bool().unwrap_or_default()),
        size: None,
        layer: None,
    };
    let mut steps: Vec<HistoryStep> =
        listed.into_iter().flatten().take(MOST_STEPS).map(step).collect();
    let makes = |step: &&mut HistoryStep| step.empty_layer == Some(false);
    if steps.iter_mut().filter(makes).count() == layers {
        let makers = steps.iter_mut().filter(makes);
        makers.zip(0..).for_each(|(step, index)| step.layer = Some(index));
    }
    steps
}

/// Returns the steps of a view. Of an image in an engine, what the engine says of each step counts.
pub fn of_view(view: &View) -> Vec<HistoryStep> {
    let mut steps = steps(&view.config.document, view.layers.len());
    for (step, known) in steps.iter_mut().zip(&view.engine_steps) {
        step.empty_layer = known.makes_layer.map(|makes| !makes);
        step.layer = known.layer;
        step.size = Some(known.size);
    }
    steps
}

/// Returns a command as its author wrote it: without the text that Docker and buildkit put around it.
#[must_use]
pub fn shorten(command: &str) -> String {
    let command = command.strip_suffix("# buildkit").unwrap_or(command).trim();
    // Build arguments stand in front of the shell: `|2 A=1 B=2 /bin/sh -c make`.
    let (arguments, run) = match command.strip_prefix("RUN ") {
        Some(rest) => (rest.starts_with('|'), rest),
        None => (command.starts_with('|'), command),
    };
    let shell = ["/bin/sh -c ", "/bin/bash -c "].into_iter().find_map(|shell| match arguments {
        true => run.split_once(shell).map(|(_, rest)| rest),
        false => run.strip_prefix(shell),
    });
    let words = match shell {
        Some(script) => match script.trim_start().strip_prefix("#(nop)") {
            Some(instruction) => instruction.to_owned(),
            None => format!("RUN {script}"),
        },
        None => command.to_owned(),
    };
    // Scripts are indented over several lines.
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_reads_as_it_was_written() {
        for (command, shown) in [
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", "CMD [\"sh\"]"),
            ("/bin/sh -c #(nop) ADD file:ab in / ", "ADD file:ab in /"),
            ("/bin/sh -c apt-get  \\\n   update", "RUN apt-get \\ update"),
            ("RUN /bin/sh -c make # buildkit", "RUN make"),
            ("RUN |2 A=1 B=2 /bin/sh -c make all # buildkit", "RUN make all"),
            ("|1 A=1 /bin/sh -c make", "RUN make"),
            ("COPY /a /b # buildkit", "COPY /a /b"),
            ("bazel build ...", "bazel build ..."),
            ("", ""),
        ] {
            assert_eq!(shorten(command), shown, "{command}");
        }
    }

    #[test]
    fn steps_are_aligned_or_not_at_all() {
        let config = json!({ "history": [
            { "created_by": "a" }, { "created_by": "b", "empty_layer": true }, { "created_by": "c" },
        ] });
        let layers =
            |count| steps(&config, count).iter().map(|step| step.layer).collect::<Vec<_>>();
        assert_eq!(layers(2), [Some(0), None, Some(1)]);
        assert_eq!(layers(3), [None, None, None]);
        assert_eq!(steps(&Value::Null, 1), []);
    }
}
