//! Which column each box of a picture stands in, and which links are not drawn through.
//!
//! Links that close a circle lead back; without them the longest way from a start gives the column.
//! A link that would be long, or one of many that lead back to one node, becomes a reference: it ends
//! at a chip that names the node. So does each link but the first to a node in a picture of more than
//! [`DRAWN_THROUGH_MAX`] boxes, which makes a tree of it.

use std::collections::HashMap;

use super::picture::{Look, Picture, Shape};

/// The most boxes for which crossings are reduced and links drawn through.
pub(super) const DRAWN_THROUGH_MAX: usize = 2_000;
/// How many columns a link may span.
const SPAN_MAX: usize = 6;
/// How many links may lead back to one node.
const BACK_MAX: usize = 3;
/// How many crossings of columns all links may have together.
const PASSES_MAX: usize = 5_000;

/// Where the boxes of a picture stand.
#[derive(Debug)]
pub(super) struct Layers {
    /// The column of each box.
    pub(super) layer: Vec<usize>,
    /// In which order a walk along the links, first link first, meets the boxes.
    pub(super) rank: Vec<usize>,
    /// Which links lead back.
    pub(super) back: Vec<bool>,
}

/// Finds columns; puts chips in place of links that are not drawn through.
pub(super) fn layers(picture: &mut Picture) -> Layers {
    let walk = Walk::new(picture);
    if picture.boxes.len() > DRAWN_THROUGH_MAX {
        let others: Vec<_> = (0..picture.links.len()).filter(|&link| !walk.is_first[link]).collect();
        refer(picture, others);
    } else {
        let layer = walk.layers(picture);
        refer(picture, far(picture, &walk, &layer));
    }
    let walk = Walk::new(picture);
    Layers { layer: walk.layers(picture), rank: walk.rank, back: walk.back }
}

/// Returns the links that are not drawn through.
fn far(picture: &Picture, walk: &Walk, layer: &[usize]) -> Vec<usize> {
    let mut n_back = vec![0; picture.boxes.len()];
    for (link, _) in picture.links.iter().zip(&walk.back).filter(|&(_, &back)| back) {
        n_back[link.to] += 1;
    }
    let mut passes = 0;
    let mut is_far = |(index, link): (usize, &super::picture::Link)| {
        let span = layer[link.from].abs_diff(layer[link.to]) + usize::from(walk.back[index]);
        let is_far = span > SPAN_MAX
            || span > 1 && passes + span > PASSES_MAX
            || walk.back[index] && n_back[link.to] > BACK_MAX;
        passes += if is_far { 0 } else { span };
        is_far.then_some(index)
    };
    picture.links.iter().enumerate().filter_map(&mut is_far).collect()
}

/// Lets links end at chips that name where they lead.
fn refer(picture: &mut Picture, links: Vec<usize>) {
    let mut chips = HashMap::new();
    for index in links {
        let (from, to) = (picture.links[index].from, picture.links[index].to);
        let next = picture.boxes.len();
        let chip = *chips.entry((from, to)).or_insert(next);
        if chip == next {
            let title = format!("→ {}", picture.boxes[to].title);
            let id = format!("{}r{next}", picture.boxes[from].id);
            picture.boxes.push(Shape { id, look: Look::Word, title, notes: Vec::new(), reachable: true });
        }
        picture.links[index].to = chip;
    }
}

/// A walk along all links, depth first.
struct Walk {
    rank: Vec<usize>,
    back: Vec<bool>,
    /// Which links led to a box that had not been met.
    is_first: Vec<bool>,
    /// Boxes, each after all that it leads to, but for links back.
    leaving: Vec<usize>,
}

impl Walk {
    fn new(picture: &Picture) -> Walk {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Left,
        }
        let out = picture.links_out();
        let n_links = picture.links.len();
        let mut walk = Walk {
            rank: vec![0; picture.boxes.len()],
            back: vec![false; n_links],
            is_first: vec![false; n_links],
            leaving: Vec::new(),
        };
        let mut state = vec![State::New; picture.boxes.len()];
        let mut met = 0;
        for start in 0..picture.boxes.len() {
            let mut open: Vec<(usize, usize)> = Vec::new();
            if state[start] == State::New {
                open.push((start, 0));
            }
            while let Some((at, next)) = open.last_mut() {
                if state[*at] == State::New {
                    state[*at] = State::Open;
                    walk.rank[*at] = met;
                    met += 1;
                }
                let Some(&link) = out[*at].get(*next) else {
                    state[*at] = State::Left;
                    walk.leaving.push(*at);
                    open.pop();
                    continue;
                };
                *next += 1;
                let to = picture.links[link].to;
                match state[to] {
                    State::New => {
                        walk.is_first[link] = true;
                        open.push((to, 0));
                    }
                    State::Open => walk.back[link] = true,
                    State::Left => (),
                }
            }
        }
        walk
    }

    /// Returns the length of the longest way to each box.
    fn layers(&self, picture: &Picture) -> Vec<usize> {
        let out = picture.links_out();
        let mut layer = vec![0; picture.boxes.len()];
        for &at in self.leaving.iter().rev() {
            for &link in out[at].iter().filter(|&&link| !self.back[link]) {
                let to = picture.links[link].to;
                layer[to] = layer[to].max(layer[at] + 1);
            }
        }
        layer
    }
}
