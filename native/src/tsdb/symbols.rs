//! Symbols: every label name and value once, as a u32.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Interned strings, back to back in one allocation.
pub struct Symbols {
    seed: u64,
    bytes: Vec<u8>,
    /// Where each symbol ends in `bytes`.
    ends: Vec<u32>,
    table: HashTable<u32>,
}

/// 4 GiB of distinct label text; offsets are u32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("label names and values take more than 4 GiB")]
pub struct SymbolsFull;

impl Symbols {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, bytes: Vec::new(), ends: Vec::new(), table: HashTable::new() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all symbols' text.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.bytes.len()
    }

    #[must_use]
    pub fn get(&self, symbol: u32) -> &str {
        std::str::from_utf8(self.raw(symbol)).unwrap_or_default()
    }

    #[must_use]
    pub fn raw(&self, symbol: u32) -> &[u8] {
        let end = self.ends[symbol as usize] as usize;
        let start = match symbol {
            0 => 0,
            n => self.ends[n as usize - 1] as usize,
        };
        &self.bytes[start..end]
    }

    #[must_use]
    pub fn find(&self, text: &str) -> Option<u32> {
        let hash = xxh3_64_with_seed(text.as_bytes(), self.seed);
        self.table.find(hash, |&s| self.raw(s) == text.as_bytes()).copied()
    }

    /// The symbol of `text`, new or known.
    ///
    /// # Errors
    /// When there is no room for new text.
    pub fn intern(&mut self, text: &str) -> Result<u32, SymbolsFull> {
        let hash = xxh3_64_with_seed(text.as_bytes(), self.seed);
        if let Some(&known) = self.table.find(hash, |&s| self.raw(s) == text.as_bytes()) {
            return Ok(known);
        }
        let symbol = u32::try_from(self.ends.len()).map_err(|_| SymbolsFull)?;
        let end = u32::try_from(self.bytes.len() + text.len()).map_err(|_| SymbolsFull)?;
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(end);
        let Self { seed, bytes, ends, table } = self;
        table.insert_unique(hash, symbol, |&s| {
            let end = ends[s as usize] as usize;
            let start = if s == 0 { 0 } else { ends[s as usize - 1] as usize };
            xxh3_64_with_seed(&bytes[start..end], *seed)
        });
        Ok(symbol)
    }
}
