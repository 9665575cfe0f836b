//! The steps of an engine's history, and the layers that they made.
//!
//! The history has no mark for a step that made no layer, and a step that made one without a file in it has 0 bytes as
//! well (`RUN mkdir`, `RUN rm`, `WORKDIR`). What is certain is returned, and nothing is guessed.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use occystrap_net::docker::EngineHistoryStep;

/// Instructions of a Dockerfile that change the config only.
const OF_THE_CONFIG: [&str; 13] = [
    "ARG",
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
];

/// A step as an engine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineStep {
    /// Whether it made a layer; `None` if that is not certain.
    pub makes_layer: Option<bool>,
    /// Number of the layer that it made, from 0; `None` if it made none, or if that is not certain.
    pub layer: Option<usize>,
    /// Bytes of its files, as the engine counts.
    pub size: u64,
    /// Time in the form of RFC 3339; `None` if the engine does not give it.
    pub created: Option<String>,
}

/// What is known of one step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It has files.
    Layer,
    /// It made no layer.
    Nothing,
    /// It may have made a layer without files.
    Open,
}

/// Assigns steps to the layers of the image, of which there are `layers`.
#[must_use]
pub fn assign(steps: &[EngineHistoryStep], layers: usize) -> Vec<EngineStep> {
    let known = |step: &EngineHistoryStep| match () {
        () if step.size > 0 => Known::Layer,
        () if is_of_the_config(&step.created_by) => Known::Nothing,
        () => Known::Open,
    };
    let mut all: Vec<Known> = steps.iter().map(known).collect();
    let count = |all: &[Known], kind: Known| all.iter().filter(|one| **one == kind).count();
    if count(&all, Known::Layer) + count(&all, Known::Open) < layers {
        // A builder that makes one layer of many steps counts it with the last of them, whatever that is.
        for known in &mut all {
            if *known == Known::Nothing {
                *known = Known::Open;
            }
        }
    }
    let open = count(&all, Known::Open);
    // How many of the open steps made a layer. `None` where the history is not that of this image.
    let needed = layers.checked_sub(count(&all, Known::Layer)).filter(|needed| *needed <= open);
    let (mut before, mut open_before) = (0, 0);
    let mut assigned = Vec::new();
    for (step, known) in steps.iter().zip(all) {
        let (makes_layer, layer) = match (known, needed) {
            (Known::Nothing, Some(_)) => (Some(false), None),
            (_, None) => (None, None),
            (Known::Layer, Some(needed)) => {
                let least = before + needed.saturating_sub(open - open_before);
                let most = before + open_before.min(needed);
                (Some(true), (least == most).then_some(least))
            }
            (Known::Open, Some(0)) => (Some(false), None),
            (Known::Open, Some(needed)) if needed == open => {
                (Some(true), Some(before + open_before))
            }
            (Known::Open, Some(_)) => (None, None),
        };
        before += usize::from(known == Known::Layer);
        open_before += usize::from(known == Known::Open);
        let created = time(step.created);
        assigned.push(EngineStep { makes_layer, layer, size: step.size, created });
    }
    assigned
}

/// Returns the size of each layer, lowest first; `None` where it is not certain.
#[must_use]
pub fn sizes(steps: &[EngineStep], layers: usize) -> Vec<Option<u64>> {
    let mut sizes = vec![None; layers];
    for step in steps {
        if let Some(size) = step.layer.and_then(|layer| sizes.get_mut(layer)) {
            *size = Some(step.size);
        }
    }
    sizes
}

/// Returns whether a command is an instruction that never makes a layer. Docker's classic builder and Podman write
/// `/bin/sh -c #(nop)` in front of it, buildkit nothing.
fn is_of_the_config(command: &str) -> bool {
    let command = command.strip_prefix("/bin/sh -c #(nop)").unwrap_or(command);
    command.split_whitespace().next().is_some_and(|word| OF_THE_CONFIG.contains(&word))
}

/// Returns a time in seconds since 1970 as text. Engines write 0, or the year 1, for a time that is not known.
fn time(seconds: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|_| seconds > 0)?;
    time.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(steps: &[(&str, u64)]) -> Vec<EngineHistoryStep> {
        let step = |(command, size): &(&str, u64)| EngineHistoryStep {
            created_by: (*command).to_owned(),
            size: *size,
            ..EngineHistoryStep::default()
        };
        steps.iter().map(step).collect()
    }

    /// The layer of each step: a number, `-` for none, `?` where it is not certain, `L` for a layer of unknown number.
    fn assigned(of: &[(&str, u64)], layers: usize) -> String {
        let letter = |step: EngineStep| match (step.makes_layer, step.layer) {
            (Some(false), _) => "-".to_owned(),
            (Some(true), Some(layer)) => layer.to_string(),
            (Some(true), None) => "L".to_owned(),
            (None, _) => "?".to_owned(),
        };
        assign(&steps(of), layers).into_iter().map(letter).collect()
    }

    #[test]
    fn only_certain_steps_are_assigned() {
        let nop = "/bin/sh -c #(nop)  CMD [\"sh\"]";
        // Sizes alone.
        assert_eq!(assigned(&[("ADD x", 5), (nop, 0), ("RUN y", 7)], 2), "0-1");
        // The step of 0 bytes must have made the second layer.
        assert_eq!(assigned(&[("ADD x", 5), ("RUN mkdir y", 0), ("ENV A=b", 0)], 2), "01-");
        // A command that starts with a word like an instruction is none.
        assert_eq!(assigned(&[("ADD x", 5), ("ENVOY", 0)], 2), "01");
        // One of two: the layers around them are certain all the same.
        let of = [("ADD x", 5), ("RUN a", 0), ("COPY y", 7), ("RUN b", 0), ("COPY z", 9)];
        assert_eq!(assigned(&of, 4), "0?L?3");
        assert_eq!(assigned(&of, 5), "01234");
        assert_eq!(assigned(&of, 3), "0-1-2");
        assert_eq!(sizes(&assign(&steps(&of), 4), 4), [Some(5), None, None, Some(9)]);
    }

    #[test]
    fn a_history_that_does_not_fit_tells_nothing() {
        assert_eq!(assigned(&[("ADD x", 5), ("COPY y", 7)], 1), "??");
        assert_eq!(assigned(&[("ADD x", 5)], 2), "?");
        assert_eq!(assigned(&[], 2), "");
        // One layer of several steps, as buildah makes it, with the last of them.
        assert_eq!(assigned(&[("RUN a", 0), ("CMD b", 0)], 2), "01");
        assert_eq!(assigned(&[("RUN a", 0), ("CMD b", 6)], 1), "-0");
    }

    #[test]
    fn a_time_that_is_not_known_is_not_told() {
        assert_eq!(time(1_700_000_000).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!((time(0), time(-62_135_596_800), time(i64::MAX)), (None, None, None));
    }
}
