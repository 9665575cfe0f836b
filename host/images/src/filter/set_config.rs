//! `set-config:env=NAME=VALUE,label=KEY=VALUE,...`: changes the config of an image, and no layer.
//!
//! The options mean what those of `crane mutate` mean: a new entrypoint removes the command, as in Docker.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::reshape::{ConfigEdit, NoPass, Reshape, Reshaped, with};
use super::spec::unquoted;
use super::{Applied, Filter, Spec};
use occystrap_base::error::Result;
use occystrap_base::oci::RawObject;
use occystrap_base::oci::raw_object::{list, quoted};
use occystrap_base::oci::time::is_readable;
use occystrap_layer::image::Image;
use occystrap_net::context::Context;

const OPTIONS: [&str; 9] = [
    "env",
    "remove-env",
    "label",
    "remove-label",
    "entrypoint",
    "cmd",
    "user",
    "workdir",
    "created",
];

/// The filter `set-config`.
pub struct SetConfig {
    /// Variables, and texts for labels, in the order given.
    env: Vec<(String, String)>,
    labels: Vec<(String, String)>,
    removed_env: Vec<String>,
    removed_labels: Vec<String>,
    /// Words; an empty list removes the field.
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    /// Texts; an empty one removes the field.
    user: Option<String>,
    workdir: Option<String>,
    /// A time in the form of RFC 3339.
    created: Option<String>,
}

impl SetConfig {
    /// Creates the filter from its options.
    pub fn new(spec: &Spec) -> Result<Self> {
        spec.only(&OPTIONS)?;
        if OPTIONS.iter().all(|option| spec.all(option).is_empty()) {
            return Err(spec
                .error("nothing is set")
                .hint("such as set-config:label=org.opencontainers.image.version=1.0"));
        }
        let pairs = |option: &str| -> Result<Vec<(String, String)>> {
            let pair = |text: &&str| match text.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    Ok((name.to_owned(), unquoted(value).to_owned()))
                }
                _ => Err(spec.error(format!("{option}={text}: expected {option}=NAME=VALUE"))),
            };
            spec.all(option).iter().map(pair).collect()
        };
        let names = |option: &str| spec.all(option).into_iter().map(str::to_owned).collect();
        let one = |option: &str| Ok(spec.one(option)?.map(str::to_owned));
        Ok(Self {
            env: pairs("env")?,
            labels: pairs("label")?,
            removed_env: names("remove-env"),
            removed_labels: names("remove-label"),
            entrypoint: words(spec, "entrypoint")?,
            cmd: words(spec, "cmd")?,
            user: one("user")?,
            workdir: workdir(spec)?,
            created: created(spec)?,
        })
    }

    /// Returns the options that remove what the config does not have, and what they name.
    fn without_effect(
        &self,
        config: &RawObject<'_>,
    ) -> serde_json::Result<Vec<(&'static str, &str)>> {
        let run = config.object("config")?;
        let variables = run.list("Env")?.into_iter().map(serde_json::from_str::<String>);
        let variables = variables.collect::<serde_json::Result<Vec<String>>>()?;
        let labels = run.object("Labels")?;
        let has_variable = |name: &str| variables.iter().any(|known| is_variable(known, name));
        let has_label = |name: &str| labels.keys().any(|known| known == name);
        let env = self.removed_env.iter().filter(|name| !has_variable(name));
        let env = env.map(|name| ("remove-env", name.as_str()));
        let label = self.removed_labels.iter().filter(|name| !has_label(name));
        Ok(env.chain(label.map(|name| ("remove-label", name.as_str()))).collect())
    }

    fn change(&self, config: &mut RawObject<'_>) -> serde_json::Result<()> {
        if let Some(created) = &self.created {
            config.set("created", quoted(created));
        }
        let mut run = config.object("config")?;
        let set = |run: &mut RawObject<'_>, key: &str, text: &Option<String>| match text.as_deref()
        {
            None => {}
            Some("") => drop(run.remove(key)),
            Some(text) => run.set(key, quoted(text)),
        };
        let words = |run: &mut RawObject<'_>, key: &str, words: &Option<Vec<String>>| match words {
            None => {}
            Some(words) if words.is_empty() => drop(run.remove(key)),
            Some(words) => {
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                run.set(key, list(&words));
            }
        };
        words(&mut run, "Entrypoint", &self.entrypoint);
        if self.entrypoint.is_some() {
            run.remove("Cmd");
        }
        words(&mut run, "Cmd", &self.cmd);
        set(&mut run, "User", &self.user);
        set(&mut run, "WorkingDir", &self.workdir);
        self.change_env(&mut run)?;
        self.change_labels(&mut run)?;
        let run = run.render();
        if config.get("config").is_some() || run != "{}" {
            config.set("config", run);
        }
        Ok(())
    }

    /// Replaces a variable in its place; a new one comes last.
    fn change_env(&self, run: &mut RawObject<'_>) -> serde_json::Result<()> {
        if self.env.is_empty() && self.removed_env.is_empty() {
            return Ok(());
        }
        let known = run.list("Env")?.into_iter().map(serde_json::from_str::<String>);
        let mut variables = known.collect::<serde_json::Result<Vec<String>>>()?;
        variables
            .retain(|variable| !self.removed_env.iter().any(|name| is_variable(variable, name)));
        for (name, value) in &self.env {
            let text = format!("{name}={value}");
            match variables.iter_mut().find(|variable| is_variable(variable, name)) {
                Some(known) => *known = text,
                None => variables.push(text),
            }
        }
        let variables: Vec<String> = variables.iter().map(|variable| quoted(variable)).collect();
        if run.get("Env").is_some() || !variables.is_empty() {
            run.set("Env", list(&variables));
        }
        Ok(())
    }

    fn change_labels(&self, run: &mut RawObject<'_>) -> serde_json::Result<()> {
        if self.labels.is_empty() && self.removed_labels.is_empty() {
            return Ok(());
        }
        let mut labels = run.object("Labels")?;
        for name in &self.removed_labels {
            labels.remove(name);
        }
        for (name, value) in &self.labels {
            labels.set(name, quoted(value));
        }
        let labels = labels.render();
        if run.get("Labels").is_some() || labels != "{}" {
            run.set("Labels", labels);
        }
        Ok(())
    }
}

impl Filter for SetConfig {
    /// Returns the same key whatever is set: layers stay as they are.
    fn key(&self) -> Option<String> {
        Some("set-config".to_owned())
    }

    fn reshapes(&self) -> Option<&dyn Reshape> {
        Some(self)
    }

    fn begin<'a>(&'a self, _image: &'a Image) -> Box<dyn Applied + 'a> {
        Box::new(NoPass)
    }
}

impl Reshape for SetConfig {
    fn reads_layers(&self) -> bool {
        false
    }

    fn reshape(&self, image: &Image, context: &Context) -> Result<Reshaped> {
        let mut config = ConfigEdit::of(image)?;
        let mut without_effect = Vec::new();
        config.change(|config| {
            without_effect = self.without_effect(config)?;
            self.change(config)
        })?;
        for (option, name) in without_effect {
            let what = if option == "remove-env" { "variable" } else { "label" };
            let image = context.called(&image.name);
            context.warnings.say(&format!(
                "set-config: {option}={name} has no effect: {image} has no such {what}"
            ));
        }
        Ok(Reshaped::same(&with(image, image.layers.clone(), config.finish(), context)))
    }
}

/// Returns whether an entry of `Env` sets the variable of this name.
fn is_variable(entry: &str, name: &str) -> bool {
    entry.split_once('=').map_or(entry, |(known, _)| known) == name
}

/// Returns the words of an option: a JSON list, or one word for each time that the option is given.
fn words(spec: &Spec, option: &str) -> Result<Option<Vec<String>>> {
    match spec.all(option).as_slice() {
        [] => Ok(None),
        [""] => Ok(Some(Vec::new())),
        [text] if text.starts_with('[') => match serde_json::from_str(text) {
            Ok(words) => Ok(Some(words)),
            Err(cause) => Err(spec
                .error(format!("{option}={text}: {cause}"))
                .hint(format!(
                    "such as -f 'set-config:{option}=[\"/bin/app\",\"--port=80\"]', with the quotes for the shell"
                ))),
        },
        words => Ok(Some(words.iter().map(|word| (*word).to_owned()).collect())),
    }
}

/// Returns the working directory. Engines take an absolute path only.
fn workdir(spec: &Spec) -> Result<Option<String>> {
    match spec.one("workdir")? {
        Some(path) if !path.is_empty() && !path.starts_with('/') => Err(spec
            .error(format!("workdir={path}: expected an absolute path"))
            .hint(format!("write workdir=/{path}"))),
        path => Ok(path.map(str::to_owned)),
    }
}

/// Returns the time of the image: RFC 3339, or seconds since 1970.
fn created(spec: &Spec) -> Result<Option<String>> {
    let Some(text) = spec.one("created")? else { return Ok(None) };
    if is_readable(text) {
        return Ok(Some(text.to_owned()));
    }
    let seconds =
        text.parse().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let text_of = seconds.and_then(|time| time.format(&Rfc3339).ok());
    text_of.map(Some).ok_or_else(|| {
        spec.error(format!("created={text}: expected seconds since 1970, or a time"))
            .hint("such as created=2026-01-02T03:04:05Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Result<SetConfig> {
        SetConfig::new(&Spec::parse(text, &|_| None)?)
    }

    /// Returns what the filter makes of a config.
    fn of(text: &str, config: &str) -> String {
        let mut config = RawObject::parse(config).unwrap();
        filter(text).unwrap().change(&mut config).unwrap();
        config.render()
    }

    #[test]
    fn each_option_changes_its_field_and_nothing_else() {
        let config = r#"{"x":1e5,"created":"2020-01-01T00:00:00Z","config":{"Env":["PATH=/bin","A=1","AB=2"],"Cmd":["sh"],"Labels":{"a":"1","b":"2"},"User":"root","y":[1, 2]}}"#;
        for (text, from, to) in [
            ("set-config:env=A=x=y,env=C=", r#""A=1","AB=2"]"#, r#""A=x=y","AB=2","C="]"#),
            ("set-config:remove-env=A", r#""A=1","#, ""),
            ("set-config:label=b=3,label=c=\"x,y\"", r#""b":"2"}"#, r#""b":"3","c":"x,y"}"#),
            ("set-config:remove-label=a", r#""a":"1","#, ""),
            ("set-config:user=1000:1000", r#""root""#, r#""1000:1000""#),
            ("set-config:user=", r#""User":"root","#, ""),
            ("set-config:cmd=serve,cmd=--port=80", r#"["sh"]"#, r#"["serve","--port=80"]"#),
            ("set-config:cmd=[\"a b\"]", r#"["sh"]"#, r#"["a b"]"#),
            ("set-config:cmd=", r#""Cmd":["sh"],"#, ""),
            ("set-config:workdir=/srv", "[1, 2]}", r#"[1, 2],"WorkingDir":"/srv"}"#),
            ("set-config:created=86400", "2020-01-01T", "1970-01-02T"),
            ("set-config:created=1999-01-01T00:00:00Z", "2020-01-01T", "1999-01-01T"),
        ] {
            assert_eq!(of(text, config), config.replace(from, to), "{text}");
        }
        let made = of("set-config:entrypoint=/app", config);
        let expected = config
            .replace(r#""Cmd":["sh"],"#, "")
            .replace("[1, 2]", r#"[1, 2],"Entrypoint":["/app"]"#);
        assert_eq!(made, expected, "a new entrypoint removes the command");
        let made = of("set-config:cmd=x,entrypoint=/app", "{}");
        assert_eq!(made, r#"{"config":{"Entrypoint":["/app"],"Cmd":["x"]}}"#);
        assert_eq!(of("set-config:env=A=1", r#"{"config":null}"#), r#"{"config":{"Env":["A=1"]}}"#);
        assert_eq!(of("set-config:remove-label=a,remove-env=b", "{}"), "{}");
    }

    #[test]
    fn removing_what_is_not_there_has_no_effect() {
        let config = r#"{"config":{"Env":["A=1","B"],"Labels":{"k":"v"}}}"#;
        let config = RawObject::parse(config).unwrap();
        let made = filter(
            "set-config:remove-env=A,remove-env=B,remove-env=C,remove-label=k,remove-label=A",
        );
        let made = made.unwrap();
        let found = made.without_effect(&config).unwrap();
        assert_eq!(found, [("remove-env", "C"), ("remove-label", "A")]);
    }

    #[test]
    fn meaningless_options_are_named() {
        for (text, message) in [
            ("set-config", "nothing is set"),
            ("set-config:env=A", "env=A: expected env=NAME=VALUE"),
            ("set-config:label==x", "expected label=NAME=VALUE"),
            ("set-config:cmd=[1]", "cmd=[1]: invalid type"),
            ("set-config:workdir=srv", "expected an absolute path"),
            ("set-config:created=yesterday", "expected seconds since 1970"),
            ("set-config:user=a,user=b", "'user' is given twice"),
            ("set-config:ports=80", "there is no option 'ports'"),
        ] {
            let error = filter(text).err().unwrap().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
