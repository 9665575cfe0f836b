//! Secrets in the environment variables of this process.

use std::sync::Once;

use super::hide::logins_in;
use occystrap_base::secret;

/// Remembers the secrets in the environment, so that no output shows them. The first call reads them. The program calls
/// this before it reads its command line, and a session of the library before anything else.
pub fn keep_secrets_of_environment() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let secrets = of_environment(|name| std::env::var(name).ok());
        secrets.iter().for_each(|own| secret::keep_own(own));
    });
}

/// Returns the password for registries, and the logins of proxies and of other URIs.
fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];
    let upper = PROXIES.map(str::to_uppercase);
    let proxies = PROXIES.into_iter().chain(upper.iter().map(String::as_str));
    // Users may type a URI where occystrap expects a path, a number or a choice.
    const VALUES: [&str; 14] = [
        "DOCKER_HOST",
        "OCCYSTRAP_CA_BUNDLE",
        "OCCYSTRAP_COMPRESSION",
        "OCCYSTRAP_FORCE",
        "OCCYSTRAP_IMAGE_PARALLEL",
        "OCCYSTRAP_LAYER_CACHE",
        "OCCYSTRAP_PARALLEL",
        "OCCYSTRAP_PLUGIN_DIR",
        "OCCYSTRAP_RATE_LIMIT",
        "OCCYSTRAP_RETRIES",
        "OCCYSTRAP_TEMP_DIR",
        "OCCYSTRAP_VERIFY",
        "OCCYSTRAP_VERIFY_FULL",
        "REGISTRY_AUTH_FILE",
    ];
    let mut secrets: Vec<String> =
        proxies.chain(VALUES).filter_map(&variable).flat_map(|proxy| logins_in(&proxy)).collect();
    secrets.extend(variable("OCCYSTRAP_PASSWORD"));
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_s_logins_are_known() {
        let variable = |name: &str| {
            let value = match name {
                "HTTPS_PROXY" => "http://me:Pr%2Bxy-one@proxy:3128",
                "http_proxy" => "me:proxy-two@proxy:3128",
                "all_proxy" => "socks5://proxy:1080",
                "OCCYSTRAP_PASSWORD" => "of-the-environment",
                "DOCKER_HOST" => "tcp://me:of-the-engine@h:2375",
                "OCCYSTRAP_PARALLEL" => "https://me:of-a-number@h",
                "OCCYSTRAP_VERIFY" => "me:of-a-choice@h",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let mut secrets = of_environment(variable);
        secrets.sort();
        secrets.dedup();
        let expected = [
            "Pr+xy-one",
            "of-a-choice",
            "of-a-number",
            "of-the-engine",
            "of-the-environment",
            "proxy-two",
        ];
        assert_eq!(secrets, expected);
    }
}
