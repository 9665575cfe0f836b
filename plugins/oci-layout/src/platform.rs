//! The platform of an image, as its config states it (OCI image specification, "Image Index": `platform`).

use crate::object::Object;

/// The keys of a platform, in the order of the specification. A config and an index use the same keys.
const PARTS: [&str; 5] = ["architecture", "os", "os.version", "os.features", "variant"];

/// Returns the platform as JSON text; `None` if the config does not state it.
pub fn from_config(config: &[u8]) -> Option<String> {
    let config = Object::parse(config)?;
    // Both keys are required.
    if config.text("os")?.is_empty() || config.text("architecture")?.is_empty() {
        return None;
    }
    let mut platform = Object::new();
    for part in PARTS {
        let value = config.get(part).filter(|value| !matches!(*value, "null" | "\"\"" | "[]"));
        if let Some(value) = value {
            platform.set(part, value.to_owned());
        }
    }
    Some(platform.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_has_only_what_the_config_states() {
        let config = br#"{"os":"linux","config":{"os":"x"},"architecture":"arm","variant":"v7","os.version":""}"#;
        let found = from_config(config).unwrap();
        assert_eq!(found, r#"{"architecture":"arm","os":"linux","variant":"v7"}"#);
        for none in ["{}", "[]", r#"{"os":"linux"}"#, r#"{"os":1,"architecture":"arm"}"#] {
            assert_eq!(from_config(none.as_bytes()), None);
        }
    }
}
