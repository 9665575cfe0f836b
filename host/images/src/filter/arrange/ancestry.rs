//! The folders above the members of a layer, which come in the order of the canonical form.

use super::key;

/// Which folders above the next member are listed.
#[derive(Default)]
pub struct Ancestry {
    /// Keys of listed folders, each above the next.
    open: Vec<Vec<u8>>,
    /// Key of a member that is no folder, as long as the members are beneath it.
    closed: Option<Vec<u8>>,
}

impl Ancestry {
    /// Takes the next member. Returns the keys of the folders above it that are not listed, the uppermost first. Engines
    /// cannot create what is beneath a member that is no folder: nothing is missing there.
    pub fn missing(&mut self, key: &[u8]) -> Vec<Vec<u8>> {
        if self.closed.as_ref().is_some_and(|closed| key::is_above(closed, key)) {
            return Vec::new();
        }
        self.closed = None;
        while self.open.last().is_some_and(|last| !key::is_above(last, key)) {
            self.open.pop();
        }
        let depth = self.open.last().map_or(0, Vec::len);
        let missing = key::above(key).filter(|above| above.len() > depth);
        missing.map(<[u8]>::to_vec).collect()
    }

    /// Adds a listed folder, after [`Self::missing`] was asked.
    pub fn open(&mut self, key: &[u8]) {
        self.open.push(key.to_vec());
    }

    /// Adds a member that is no folder, after [`Self::missing`] was asked.
    pub fn close(&mut self, key: &[u8]) {
        if self.closed.is_none() {
            self.closed = Some(key.to_vec());
        }
    }
}
