//! The history of a squashed image: each step stays and is marked as one without a layer, and a last step stands for the
//! new layer, as in `docker build --squash`.

use occystrap_base::oci::RawObject;
use occystrap_base::oci::raw_object::{list, quoted};

/// Changes the history of a config whose layers above the lowest `below` of `count` became one. A config without history
/// gets none. Errors when the history is not a list of objects.
pub fn squashed(config: &mut RawObject<'_>, below: usize, count: usize) -> serde_json::Result<()> {
    let steps = config.list("history")?;
    if steps.is_empty() {
        return Ok(());
    }
    let (mut makers, mut created) = (0, None);
    let mut all = Vec::with_capacity(steps.len() + 1);
    for step in steps {
        let mut step = RawObject::parse(step)?;
        created = step.get("created").map(str::to_owned).or(created);
        if step.get("empty_layer") != Some("true") {
            makers += 1;
            if makers > below {
                step.set("empty_layer", "true");
            }
        }
        all.push(step.render());
    }
    // A history that is shorter than the layers does not say which step made which layer.
    if makers >= below {
        let mut step = RawObject::default();
        if let Some(created) = created {
            step.set("created", created);
        }
        step.set("created_by", quoted("occystrap squash"));
        step.set("comment", quoted(&format!("layers {} to {count}", below + 1)));
        all.push(step.render());
    }
    config.set("history", list(&all));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"history":[{"created":"2020-01-01T00:00:00Z","created_by":"ADD"},
 {"created_by":"ENV", "empty_layer":true},{"created_by":"RUN 1","x": 7},{"created":"2021-01-01T00:00:00Z","created_by":"RUN 2"}]}"#;

    fn of(config: &str, below: usize, count: usize) -> Vec<String> {
        let mut config = RawObject::parse(config).unwrap();
        squashed(&mut config, below, count).unwrap();
        config.list("history").unwrap().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn steps_stay_and_a_new_one_has_the_layer() {
        let all = of(CONFIG, 1, 3);
        assert_eq!(
            all[..2].join(" "),
            r#"{"created":"2020-01-01T00:00:00Z","created_by":"ADD"} {"created_by":"ENV", "empty_layer":true}"#
        );
        assert_eq!(all[2], r#"{"created_by":"RUN 1","x": 7,"empty_layer":true}"#);
        assert!(all[3].ends_with(r#""created_by":"RUN 2","empty_layer":true}"#));
        let new = r#"{"created":"2021-01-01T00:00:00Z","created_by":"occystrap squash","comment":"layers 2 to 3"}"#;
        assert_eq!(all[4..], [new]);
        assert_eq!(of(CONFIG, 0, 3).iter().filter(|step| !step.contains("empty_layer")).count(), 1);
    }

    #[test]
    fn a_short_history_gets_no_step_that_would_stand_for_another_layer() {
        assert_eq!(of(CONFIG, 4, 6).len(), 4);
        assert_eq!(of(CONFIG, 3, 6).len(), 5);
        assert!(of("{}", 0, 6).is_empty() && of(r#"{"history":null}"#, 0, 6).is_empty());
    }
}
