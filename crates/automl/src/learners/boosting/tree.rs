//! A decision tree over bins.

use serde::{Deserialize, Serialize};

/// Marks a child that is a leaf: the rest of the number is the leaf's.
const LEAF: u32 = 1 << 31;
/// Marks a node whose bins have no order: `threshold` is then unused.
const SET: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Node {
    feature: u32,
    /// Bins up to this go left.
    threshold: u8,
    /// 1 sends the missing (bin 0) right, as it wraps to 255; 0 sends them left.
    shift: u8,
    /// Number of the bin set, for a [`SET`] node.
    set: u16,
    children: [u32; 2],
}

/// The bins of a feature that go to the left child.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Split {
    /// Bins 1 to `bin`, and the missing if told so.
    Threshold { bin: u8, missing_left: bool },
    /// The bins whose bit is set.
    Categories([u64; 4]),
}

impl Split {
    pub(crate) fn is_left(&self, bin: u8) -> bool {
        match self {
            Self::Threshold { missing_left, .. } if bin == 0 => *missing_left,
            Self::Threshold { bin: threshold, .. } => bin <= *threshold,
            Self::Categories(set) => set[usize::from(bin >> 6)] >> (bin & 63) & 1 == 1,
        }
    }
}

/// The place at which a growing tree hangs its next node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// The parent node and which child of it; `None` at the root.
    parent: Option<(u32, usize)>,
}

impl Slot {
    pub(crate) const ROOT: Self = Self { parent: None };
}

/// A tree whose leaves hold a number each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    sets: Vec<[u64; 4]>,
    values: Vec<f32>,
}

impl Tree {
    /// Adds a decision and returns the slots of its left and right child.
    pub(crate) fn split(&mut self, slot: Slot, feature: usize, split: Split) -> [Slot; 2] {
        let number = self.nodes.len() as u32;
        let mut node =
            Node { feature: feature as u32, threshold: 0, shift: 0, set: 0, children: [LEAF; 2] };
        match split {
            Split::Threshold { bin, missing_left } => {
                node.shift = u8::from(!missing_left);
                node.threshold = bin - node.shift;
            }
            Split::Categories(set) => {
                node.shift = SET;
                node.set = self.sets.len() as u16;
                self.sets.push(set);
            }
        }
        self.nodes.push(node);
        self.hang(slot, number);
        [0, 1].map(|child| Slot { parent: Some((number, child)) })
    }

    /// Tells whether another node with a bin set may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.sets.len() < usize::from(u16::MAX)
    }

    /// Adds a leaf.
    pub(crate) fn leaf(&mut self, slot: Slot, value: f32) {
        let number = self.values.len() as u32;
        self.values.push(value);
        self.hang(slot, number | LEAF);
    }

    fn hang(&mut self, slot: Slot, child: u32) {
        if let Some((parent, side)) = slot.parent {
            self.nodes[parent as usize].children[side] = child;
        }
    }

    /// Hands over the leaf value of each row of `width` bins, in order. Eight rows
    /// walk down side by side: each waits for memory, so all wait at once.
    pub(crate) fn each(&self, rows: &[u8], width: usize, mut take: impl FnMut(usize, f32)) {
        const LANES: usize = 8;
        let mut first = 0;
        for block in rows.chunks(LANES * width) {
            let mut at = [LEAF; LANES];
            let lanes = block.len() / width;
            at[..lanes].fill(self.root());
            while at.iter().any(|at| at & LEAF == 0) {
                for (at, row) in at.iter_mut().zip(block.chunks_exact(width)) {
                    if *at & LEAF == 0 {
                        *at = self.step(*at, row);
                    }
                }
            }
            for (lane, at) in at[..lanes].iter().enumerate() {
                take(first + lane, self.values[(at & !LEAF) as usize]);
            }
            first += lanes;
        }
    }

    fn root(&self) -> u32 {
        if self.nodes.is_empty() { LEAF } else { 0 }
    }

    fn step(&self, at: u32, row: &[u8]) -> u32 {
        let node = &self.nodes[at as usize];
        let bin = row[node.feature as usize];
        let left = match node.shift {
            SET => self.sets[usize::from(node.set)][usize::from(bin >> 6)] >> (bin & 63) & 1 == 1,
            shift => bin.wrapping_sub(shift) <= node.threshold,
        };
        node.children[usize::from(!left)]
    }

    /// Tells whether a stored tree holds together: no index beyond its list, and
    /// children behind their parents, so that every walk ends.
    pub(crate) fn is_sound(&self, width: usize) -> bool {
        let leaves = self.values.len();
        let child = |at: usize, child: u32| match child & LEAF {
            0 => (child as usize) > at && (child as usize) < self.nodes.len(),
            _ => ((child & !LEAF) as usize) < leaves,
        };
        leaves > 0
            && self.values.iter().all(|value| value.is_finite())
            && self.nodes.iter().enumerate().all(|(at, node)| {
                (node.feature as usize) < width
                    && (node.shift != SET || usize::from(node.set) < self.sets.len())
                    && node.shift <= SET
                    && node.children.iter().all(|&next| child(at, next))
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stump(split: Split) -> Tree {
        let mut tree = Tree::default();
        let [left, right] = tree.split(Slot::ROOT, 0, split);
        tree.leaf(left, -1.0);
        tree.leaf(right, 1.0);
        tree
    }

    proptest! {
        #[test]
        fn a_stored_split_sends_rows_where_the_split_says(bin: u8, threshold in 1u8..=255, missing_left: bool, set: [u64; 4]) {
            for split in [Split::Threshold { bin: threshold, missing_left }, Split::Categories(set)] {
                let mut left = None;
                stump(split).each(&[bin], 1, |_, value| left = Some(value < 0.0));
                prop_assert_eq!(left, Some(split.is_left(bin)));
            }
        }
    }

    #[test]
    fn a_damaged_tree_is_not_sound() {
        let mut tree = stump(Split::Threshold { bin: 3, missing_left: true });
        assert!(tree.is_sound(1));
        assert!(!tree.is_sound(0));
        tree.nodes[0].children[0] = 0;
        assert!(!tree.is_sound(1));
    }
}
