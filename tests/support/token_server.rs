//! A token service for docker-registry (distribution project, "Token Authentication
//! Implementation"): gives JSON web tokens to [`USER`], for what they ask and nothing else.
//!
//! Signed with ES256. The registry learns of the key from a certificate, which each token carries
//! (`x5c`) and the configuration names as trusted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::real::{PASSWORD, USER};

/// Values that the registry and the tokens share.
const SERVICE: &str = "registry for tests & more";
const ISSUER: &str = "tests";

/// A running token service. Its threads end with the test binary.
pub struct TokenServer {
    host: String,
    /// The certificate in PEM.
    pub certificate: String,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    /// The certificate in DER and base64.
    certificate: String,
}

impl TokenServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let identity = rcgen::generate_simple_self_signed(["tokens".to_owned()]).unwrap();
        let (random, key) = (SystemRandom::new(), identity.signing_key.serialize_der());
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random);
        let certificate = STANDARD.encode(identity.cert.der());
        let signer = Arc::new(Signer { key: key.unwrap(), random, certificate });
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (signer, log) = (signer.clone(), log.clone());
                std::thread::spawn(move || answer(&stream, &signer, &log));
            }
        });
        Self { host, certificate: identity.cert.pem(), asked }
    }

    /// Scopes of the tokens that were given, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The part of docker-registry's configuration that names this service.
    pub fn configuration(&self, bundle: &str) -> String {
        format!(
            "auth: {{token: {{realm: 'http://{}/token', service: '{SERVICE}', issuer: '{ISSUER}', \
             rootcertbundle: '{bundle}'}}}}\n",
            self.host
        )
    }
}

fn answer(mut stream: &TcpStream, signer: &Signer, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let known = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let known = headers.iter().any(|line| {
        line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("authorization") && value == known
        })
    });
    let query = first.split([' ', '?']).nth(2).unwrap_or_default();
    let fields: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let right_service = fields.iter().any(|(name, value)| name == "service" && value == SERVICE);
    let (status, body) = match known && right_service {
        true => {
            let scopes = fields.iter().filter(|(name, _)| name == "scope");
            let scopes: Vec<_> = scopes.map(|(_, value)| value.as_ref()).collect();
            log.lock().unwrap().push(scopes.join(" "));
            ("200 OK", json!({"token": signer.token(&scopes.join(" ")), "expires_in": 300}))
        }
        false => ("401 Unauthorized", json!({})),
    };
    let body = body.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
}

impl Signer {
    fn token(&self, scopes: &str) -> String {
        let entry = |scope: &str| -> Option<Value> {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let actions: Vec<_> = actions.split(',').collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let claims = json!({
            "iss": ISSUER, "sub": USER, "aud": SERVICE, "jti": "1",
            "iat": now, "nbf": now - 60, "exp": now + 300,
            "access": scopes.split(' ').filter_map(entry).collect::<Vec<_>>(),
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
