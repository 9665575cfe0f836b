//! Secrets of this process, and the automaton that finds them all in one pass.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::spelling::{self, Extent, Pattern};
use super::view::MaskedView;

/// Logins that are known at a time. A run has a handful. In a program that embeds the library and logs in for thousands
/// of users, those used longest ago are forgotten.
pub const MOST_LOGINS: usize = 1024;

/// Tokens that are known at a time. A token is sent for minutes, and the answers that could repeat it arrive within
/// seconds.
pub const MOST_TOKENS: usize = 256;

/// Signatures of URLs, and logins in receipts, that are known at a time. Every redirect brings some, and they must not
/// push the tokens out. A server that could repeat them does so in the next answer.
pub const MOST_SIGNATURES: usize = 64;

/// Bytes of the longest secret that is kept. Servers accept no longer header.
const LARGEST: usize = 64 * 1024;

/// Words of the user's URIs that are remembered.
const MOST_SHOWN: usize = 1024;

/// Characters of the shortest password that is too strong to be part of a name by chance.
const STRONG: usize = 12;

/// Bytes of the shortest pattern that is searched for across white space. A shorter one would be found in sentences.
const ACROSS_LINES: usize = 12;

/// Words that this program prints itself: the names of its options and the values of its documents. A password that is
/// one of them is not masked. The mask would break commands and documents, and reveal the password.
pub const OWN_WORDS: &str = "access access-denied added admin all-platforms allow allow-anyone allow-delete allow-net allow-plain \
    allow-registry amd64 answer answer-within anyone application arch architecture archive arm64 artifact authfile \
    batch batch-time-limit blob blobs bundle bytes ca-bundle cache canonical catalog cert changed check checksums \
    chunk chunk_size command compression concurrency config config-digest config-size credentials debug delete \
    denied destination diff-id digest digest-mismatch directory distribution dive dive-ci docker dockerpush \
    downstream dry-run efficiency error errors exclude expand expected explore export fail fail-if fail-on failed \
    fails false fast file filter force foreign foreign-layers format found friendly from from-source fsync full \
    grace gzip help hint host html htpasswd https ignore ignored image image-parallel images index index.json info \
    insecure inspect interrupted json kind latest layer layer-cache layer-data layer-digest layer-missing layer-size \
    layer.tar layers layout level library limit linux listen localhost login manifest manifest.json manifests \
    max-workers max_workers message metrics mismatch missing mode mounts name names nested netrc netrc-file network \
    no-verify none normalize-timestamps not-found not-verified null objects occystrap oci-layout opaque \
    opencontainers origin output output-format output-plugin page parallel password path plain platform platforms \
    plugin plugin-dir process proxy quiet rate rate-limit receipt receipts recheck referrers regex registry remember \
    removed repair repository retries root script script-friendly search secret set-config sha256 shell size \
    size-mismatch socket source source-failed spool spool-size squash status strict summary symlink target targets \
    temp temp-dir text time time-limit tls-cert tls-key token top tree true unchecked unconfirmed unique \
    unique_names unknown unreadable unsupported untrusted upstream usage user username variant verbose verification \
    verified verify verify-full version warning warnings wasted when when-upstream-fails whiteout whole with within \
    workers zstd";

/// Returns whether a word is one of [`OWN_WORDS`].
#[must_use]
pub fn is_own_word(word: &str) -> bool {
    OWN_WORDS.split_whitespace().any(|own| own == word)
}

/// Whether any secret is known. Most runs have none, and then masking costs nothing.
static ANY: AtomicBool = AtomicBool::new(false);

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);

/// Kind of a secret, which decides how long it is known.
#[derive(Clone, Copy)]
pub(super) enum SecretKind {
    /// Known as long as the process runs.
    Own,
    /// Known until [`MOST_LOGINS`] others were used.
    Login,
    /// Known until [`MOST_TOKENS`] others were used.
    Token,
    /// Known until [`MOST_SIGNATURES`] others were seen.
    Signature,
}

#[derive(Default)]
struct Table {
    own: VecDeque<String>,
    logins: VecDeque<String>,
    tokens: VecDeque<String>,
    signatures: VecDeque<String>,
    /// Lower-case words that the user has shown.
    shown: HashSet<String>,
    /// Automaton for the secrets that are known; made when it is needed.
    finder: Option<Arc<Finder>>,
}

impl Table {
    fn is_empty(&self) -> bool {
        [&self.own, &self.logins, &self.tokens, &self.signatures].iter().all(|list| list.is_empty())
    }

    fn add(&mut self, kind: SecretKind, secret: &str) {
        let (list, most) = match kind {
            SecretKind::Own => (&mut self.own, usize::MAX),
            SecretKind::Login => (&mut self.logins, MOST_LOGINS),
            SecretKind::Token => (&mut self.tokens, MOST_TOKENS),
            SecretKind::Signature => (&mut self.signatures, MOST_SIGNATURES),
        };
        let fits = (super::SHORTEST..=LARGEST).contains(&secret.len());
        if !fits {
            return;
        }
        if let Some(at) = list.iter().position(|known| known == secret) {
            // It is used again: it moves to the end, and is forgotten last.
            let known = list.remove(at);
            list.extend(known);
            return;
        }
        if list.len() == most {
            list.pop_front();
        }
        list.push_back(secret.to_owned());
        self.finder = None;
    }

    /// Returns whether a secret can be distinguished from other text.
    fn is_masked(&self, secret: &str) -> bool {
        let word = secret.to_ascii_lowercase();
        let weak = secret.len() < STRONG && secret.chars().all(is_of_name);
        !is_own_word(&word) && (!weak || !self.shown.contains(&word))
    }
}

/// Returns whether a character is usual in the name of a repository, a host or a tag.
fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
}

/// Secrets that a text is searched for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// All secrets that are known.
    All,
    /// Logins and tokens, which this program sent or was given, but not the signatures of URLs.
    Sent,
}

/// Automaton that finds every spelling of every secret.
struct Finder {
    automaton: AhoCorasick,
    patterns: Vec<Pattern>,
    /// Number of the patterns, from the first, that belong to logins and tokens. The others belong to signatures alone.
    sent: usize,
}

impl Finder {
    fn of(table: &Table) -> Option<Self> {
        let mut seen = HashSet::new();
        let logins = table.own.iter().chain(&table.logins).filter(|login| table.is_masked(login));
        let logins = logins.flat_map(|login| spelling::of(login));
        let tokens = table.tokens.iter().flat_map(|token| spelling::of(token));
        let signatures =
            table.signatures.iter().flat_map(|signature| spelling::of_signature(signature));
        let mut is_new = |pattern: &Pattern| seen.insert(pattern.clone());
        let mut patterns: Vec<Pattern> = logins.chain(tokens).filter(&mut is_new).collect();
        let sent = patterns.len();
        patterns.extend(signatures.filter(is_new));
        // Other kinds of automaton search faster and take longer to build. Texts are short, so that building counts
        // more.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::NoncontiguousNFA))
            .build(patterns.iter().map(|pattern| &pattern.bytes))
            .ok()?;
        Some(Self { automaton, patterns, sent })
    }

    /// Returns the places of secrets in a text, in order and not touching.
    fn find(&self, text: &[u8], among: Among) -> Vec<Range<usize>> {
        let patterns = match among {
            Among::All => self.patterns.as_slice(),
            Among::Sent => self.patterns.get(..self.sent).unwrap_or_default(),
        };
        let mut places = Vec::new();
        for view in MaskedView::all(text) {
            self.find_in(&view, 0, patterns, &mut places);
            if let Some(view) = view.squeezed() {
                self.find_in(&view, ACROSS_LINES, patterns, &mut places);
            }
        }
        joined(places)
    }

    fn find_in(
        &self,
        view: &MaskedView,
        shortest: usize,
        patterns: &[Pattern],
        places: &mut Vec<Range<usize>>,
    ) {
        let bytes = spelling::canonical(&view.bytes);
        for found in self.automaton.find_overlapping_iter(&bytes) {
            let Some(pattern) = patterns.get(found.pattern().as_usize()) else { continue };
            let mut part = found.range();
            if part.len() < shortest {
                continue;
            }
            match pattern.extent {
                // A short number is in a digest by chance, and commands and documents need their digests.
                Extent::Word | Extent::Anywhere
                    if part.len() < STRONG && is_in_digest(&bytes, &part) =>
                {
                    continue;
                }
                Extent::Anywhere => {}
                Extent::Word if is_alone(&bytes, &part) => {}
                Extent::Word => continue,
                // Across white space the run would go on into the next word.
                Extent::Run if shortest > 0 => {}
                Extent::Run => part = run(&view.bytes, part),
            }
            places.push(view.range(&part));
        }
    }
}

fn is_alone(text: &[u8], part: &Range<usize>) -> bool {
    let beside =
        |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    !beside(part.start.checked_sub(1)) && !beside(Some(part.end))
}

/// Returns whether a part is within the digits of a SHA-256 digest.
fn is_in_digest(text: &[u8], part: &Range<usize>) -> bool {
    const DIGITS: usize = 64;
    let around = |byte: &&u8| byte.is_ascii_hexdigit();
    let before = text[..part.start].iter().rev().take_while(around).count();
    let after = text[part.end..].iter().take_while(around).count();
    text[part.clone()].iter().all(u8::is_ascii_hexdigit) && before + part.len() + after == DIGITS
}

/// Returns a part with the characters of Base64, tokens and URL-safe Base64 around it (RFC 6750, 2.1).
fn run(text: &[u8], part: Range<usize>) -> Range<usize> {
    let belongs = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let before = text[..part.start].iter().rev().take_while(belongs).count();
    let after = text[part.end..].iter().take_while(belongs).count();
    part.start - before..part.end + after
}

/// Returns ranges in order, with touching ones joined.
fn joined(mut places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    places.sort_by_key(|place| (place.start, place.end));
    let mut joined: Vec<Range<usize>> = Vec::new();
    for place in places {
        match joined.last_mut() {
            Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
            _ => joined.push(place),
        }
    }
    joined
}

fn read() -> RwLockReadGuard<'static, Table> {
    TABLE.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Table> {
    TABLE.write().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn keep(kind: SecretKind, secret: &str) {
    let mut table = write();
    table.add(kind, secret);
    ANY.store(!table.is_empty(), Ordering::Release);
}

/// Remembers the words of a text: a weak password that is one of them is not masked.
pub(super) fn show(text: &str) {
    let words = text.split(|c| !is_of_name(c)).flat_map(|word| {
        // `localhost.example` is three words.
        std::iter::once(word).chain(word.split('.'))
    });
    let words = words.filter(|word| (super::SHORTEST..STRONG).contains(&word.len()));
    let mut table = write();
    for word in words {
        if table.shown.len() < MOST_SHOWN && table.shown.insert(word.to_owned()) {
            table.finder = None;
        }
    }
}

/// Returns whether there is any secret to search for.
pub(super) fn is_any_known() -> bool {
    ANY.load(Ordering::Acquire)
}

/// Returns the places of secrets in a text; `None` where there are none.
pub(super) fn find(text: &[u8], among: Among) -> Option<Vec<Range<usize>>> {
    if !is_any_known() {
        return None;
    }
    let finder = finder()?;
    Some(finder.find(text, among)).filter(|places| !places.is_empty())
}

fn finder() -> Option<Arc<Finder>> {
    if let Some(finder) = &read().finder {
        return Some(finder.clone());
    }
    let mut table = write();
    if table.finder.is_none() {
        table.finder = Finder::of(&table).map(Arc::new);
    }
    table.finder.clone()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Masks with its own secrets, so that tests do not see each other's.
    pub(in super::super) fn mask_with(secrets: &[&str], shown: &[&str], text: &str) -> String {
        let mut table = Table::default();
        secrets.iter().for_each(|secret| table.add(SecretKind::Login, secret));
        table.shown = shown.iter().map(|word| (*word).to_owned()).collect();
        let finder = Finder::of(&table).unwrap();
        super::super::replaced(text, &finder.find(text.as_bytes(), Among::All))
    }

    #[test]
    fn a_token_is_masked_in_its_encodings_and_a_signature_as_it_is() {
        use base64::Engine as _;
        let mut table = Table::default();
        table.add(SecretKind::Token, "tkJ8Yd3Nf5Bs1Hc0Ge6Ua9Zz");
        let finder = Finder::of(&table).unwrap();
        let base64 = base64::engine::general_purpose::STANDARD;
        let hex: String = "tkJ8Yd3Nf5Bs1Hc0Ge6Ua9Zz".bytes().map(|b| format!("{b:02x}")).collect();
        for text in [base64.encode("Bearer tkJ8Yd3Nf5Bs1Hc0Ge6Ua9Zz"), hex] {
            let places = finder.find(format!("a {text} b").as_bytes(), Among::All);
            assert_eq!(places.first(), Some(&(2..2 + text.len())), "{text}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_newest() {
        let mut table = Table::default();
        for number in 0..3 * MOST_TOKENS {
            table.add(SecretKind::Token, &format!("token-{number:08}"));
        }
        for number in 0..3 * MOST_TOKENS {
            table.add(SecretKind::Signature, &format!("signature-{number:08}"));
        }
        table.add(SecretKind::Own, "the-password");
        table.add(SecretKind::Login, "a-login");
        for number in 0..2 * MOST_LOGINS {
            table.add(SecretKind::Login, &format!("login-{number:08}"));
            // The login is used again.
            table.add(SecretKind::Login, "a-login");
        }
        assert_eq!((table.tokens.len(), table.logins.len()), (MOST_TOKENS, MOST_LOGINS));
        let finder = Finder::of(&table).unwrap();
        let newest = format!("token-{:08}", 3 * MOST_TOKENS - 1);
        assert!(finder.find(b"token-00000000 login-00000000", Among::All).is_empty());
        assert!(!finder.find(b"a-login", Among::All).is_empty());
        assert!(!finder.find(newest.as_bytes(), Among::All).is_empty());
        assert!(!finder.find(b"the-password", Among::All).is_empty());
    }
}
