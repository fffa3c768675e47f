//! `traces_target_info`: the resources that make spans, with their attributes.

use super::limit::{Life, Limit, Written};
use super::resources::InfoLabels;
use hashbrown::HashMap;
use std::sync::Arc;

/// Resources of a project that have a series; each may have some KiB of labels.
const MAX_TARGETS: usize = 5_000;

/// The resources that made spans of late.
#[derive(Debug, Default)]
pub struct Targets {
    lives: HashMap<Arc<InfoLabels>, Life>,
}

impl Targets {
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<InfoLabels>, &Life)> {
        self.lives.iter()
    }

    /// Notes that a resource made spans.
    pub fn touch(&mut self, labels: &Arc<InfoLabels>, now_ms: i64, limit: &mut Limit) {
        let has_room = self.lives.len() < MAX_TARGETS;
        match self.lives.get_mut(labels) {
            Some(life) => life.used_ms = now_ms,
            None if has_room && limit.take(1) => {
                self.lives.insert(Arc::clone(labels), Life::new(now_ms, now_ms));
            }
            None => limit.overflowed += 1,
        }
    }

    /// Takes in what was kept.
    pub fn restore(&mut self, labels: InfoLabels, used_ms: i64, limit: &mut Limit) {
        let life = Life { zero_ms: used_ms, used_ms, written: Written::Stored };
        if self.lives.insert(Arc::new(labels), life).is_none() {
            limit.take_anyway(1);
        }
    }

    /// Ends the series of those that made no spans since a time.
    pub fn forget_before(&mut self, used_ms: i64, limit: &mut Limit) {
        let before = self.lives.len();
        self.lives.retain(|_, life| life.used_ms >= used_ms);
        limit.give_back(before - self.lives.len());
    }
}
