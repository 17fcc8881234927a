//! Where everything in a picture stands: columns from left to right, links through the gaps between.
//!
//! A link leaves its box on the right, at a height of its own, runs through its label, and from gap to
//! gap: across a column it is an item among the others, so it meets no box. Links back leave on the
//! right too, and come to their box from the left.

use super::layers::{DRAWN_THROUGH_MAX, Layers, layers};
use super::measure::Font;
use super::order::{self, Item, Segment};
use super::picture::{Look, Picture};
use super::place::{self, Body, Tie};
use super::words::Line;

pub(super) const TITLE: Font = Font { size: 13.0, is_bold: true };
pub(super) const NOTE: Font = Font { size: 10.5, is_bold: false };
pub(super) const PILL: Font = Font { size: 11.5, is_bold: true };
pub(super) const KEYS: Font = Font { size: 11.0, is_bold: true };
pub(super) const LABEL: Font = Font { size: 11.0, is_bold: false };

pub(super) const TITLE_LINE: f64 = 17.0;
pub(super) const NOTE_LINE: f64 = 14.0;
pub(super) const LABEL_LINE: f64 = 14.0;
/// The space between a box's edge and its text, at the sides and above.
pub(super) const PADDING: (f64, f64) = (15.0, 10.0);
/// Between a box and the label of a link, and between that and the link.
const LABEL_GAP: f64 = 9.0;

const TEXT_WIDTH: f64 = 180.0;
const PILL_WIDTH: f64 = 210.0;
const BOX_WIDTH_MIN: f64 = 128.0;
const KEYS_WIDTH: f64 = 90.0;
const LABEL_WIDTH: f64 = 160.0;
const LABEL_LINES_MAX: usize = 5;
/// More than any height, and yet little enough to count in.
const BELOW_ALL: f64 = 1e9;
/// What a label takes beside its lines.
const LABEL_SPACE: f64 = 6.0;

/// Where everything stands, in pixels.
#[derive(Debug)]
pub(super) struct Layout {
    /// By the boxes of the picture.
    pub(super) frames: Vec<Frame>,
    /// By the links of the picture.
    pub(super) routes: Vec<Route>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Where a box stands and what is in it.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) title: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// Where a link runs.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Key strings, or what happened, and a label: line by line, cut.
    pub(super) label: Vec<(String, String)>,
    pub(super) label_width: f64,
    /// Where the label begins, and the height of its middle, which is that of the link's beginning.
    pub(super) label_at: (f64, f64),
    /// Where it leaves its box, and where it ends.
    pub(super) ends: [(f64, f64); 2],
    /// Between them: curves to each point, and straight on from the first to the second of a pair.
    pub(super) passes: Vec<[(f64, f64); 2]>,
    /// How far it swings out where it turns around; 0 if it runs from left to right.
    pub(super) swing: f64,
    /// Where it leaves the column of its box.
    pub(super) leaves_at: f64,
}

/// Returns where everything in the picture stands; puts chips in place of links that would be long.
pub(super) fn layout(picture: &mut Picture) -> Layout {
    let layers = layers(picture);
    let n_boxes = picture.boxes.len();
    let mut plan = Plan::new(picture, &layers);
    let columns = order::order(&plan.items, &plan.segments, n_boxes <= DRAWN_THROUGH_MAX);
    let tops = place::place(&columns, &plan.bodies, &plan.ties);
    let height = tops.iter().zip(&plan.bodies).map(|(top, body)| top + body.height).fold(0.0, f64::max);

    let n_layers = columns.len();
    let mut rights = vec![0.0; n_layers];
    let mut lefts = vec![0.0; n_layers];
    let mut x = 0.0;
    for layer in 0..n_layers {
        lefts[layer] = x;
        let of_layer = |&item: &usize| if item < n_boxes { plan.extents[item] } else { 0.0 };
        rights[layer] = x + columns[layer].iter().map(of_layer).fold(0.0, f64::max);
        x = rights[layer] + gap(layer, &plan, &tops);
    }
    for (index, frame) in plan.frames.iter_mut().enumerate() {
        (frame.x, frame.y) = (lefts[layers.layer[index]], tops[index]);
        if picture.boxes[index].look == Look::Start {
            // What holds everywhere is wider: the call begins beside its first node all the same.
            frame.x += rights[layers.layer[index]] - lefts[layers.layer[index]] - plan.extents[index];
        }
    }
    plan.route(picture, &layers, &tops, &lefts, &rights);
    let width = rights.last().copied().unwrap_or(0.0);
    Layout { frames: plan.frames, routes: plan.routes, width, height }
}

/// Returns how wide the gap after a column is: curves that rise much need more.
fn gap(layer: usize, plan: &Plan, tops: &[f64]) -> f64 {
    let rise = |segment: &Segment| (tops[segment.left] - tops[segment.right]).abs();
    let steepest = plan.by_layer.get(layer).map_or(0.0, |segments| {
        segments.iter().map(|&segment| rise(&plan.segments[segment])).fold(0.0, f64::max)
    });
    (40.0 + steepest / 8.0).min(120.0)
}

/// A picture on the way to its layout. The first items are its boxes.
struct Plan {
    frames: Vec<Frame>,
    routes: Vec<Route>,
    /// How wide each box is with the labels on its right.
    extents: Vec<f64>,
    items: Vec<Item>,
    bodies: Vec<Body>,
    segments: Vec<Segment>,
    by_layer: Vec<Vec<usize>>,
    ties: Vec<Tie>,
    /// The items that each link passes.
    passes: Vec<Vec<usize>>,
    /// Where each link leaves its box, from the top.
    ports: Vec<f64>,
}

impl Plan {
    fn new(picture: &Picture, layers: &Layers) -> Plan {
        let mut plan = Plan {
            frames: picture.boxes.iter().map(frame).collect(),
            routes: picture.links.iter().map(|link| route(&link.label)).collect(),
            extents: Vec::new(),
            items: Vec::new(),
            bodies: Vec::new(),
            segments: Vec::new(),
            by_layer: vec![Vec::new(); layers.layer.iter().max().map_or(0, |last| last + 1)],
            ties: Vec::new(),
            passes: vec![Vec::new(); picture.links.len()],
            ports: vec![0.0; picture.links.len()],
        };
        plan.align_widths(picture, layers);
        for (index, (frame, links)) in plan.frames.iter_mut().zip(picture.links_out()).enumerate() {
            let needs = |link: usize| plan.routes[link].label.len().max(1) as f64 * LABEL_LINE + LABEL_SPACE;
            let all: f64 = links.iter().map(|&link| needs(link)).sum();
            frame.height = frame.height.max(all + LABEL_SPACE);
            let mut at = (frame.height - all) / 2.0;
            for &link in &links {
                plan.ports[link] = at + needs(link) / 2.0;
                at += needs(link);
            }
            let label = links.iter().map(|&link| plan.routes[link].label_width).fold(0.0, f64::max);
            let label = if label > 0.0 { label + 2.0 * LABEL_GAP } else { LABEL_GAP };
            plan.extents.push(frame.width + if links.is_empty() { 0.0 } else { label });
            let space = if links.is_empty() { 12.0 } else { 22.0 };
            plan.items.push(Item { layer: layers.layer[index], rank: (layers.rank[index], 0), anchor: None });
            plan.bodies.push(Body { height: frame.height, space });
        }
        for link in 0..picture.links.len() {
            plan.connect(picture, layers, link);
        }
        plan
    }

    /// Lets the nodes of a column be as wide as its widest.
    fn align_widths(&mut self, picture: &Picture, layers: &Layers) {
        let is_wide = |look| matches!(look, Look::Menu | Look::Entry | Look::Everywhere);
        let mut widths = vec![0.0f64; self.by_layer.len()];
        for ((frame, shape), &layer) in self.frames.iter().zip(&picture.boxes).zip(&layers.layer) {
            if is_wide(shape.look) {
                widths[layer] = widths[layer].max(frame.width);
            }
        }
        for ((frame, shape), &layer) in self.frames.iter_mut().zip(&picture.boxes).zip(&layers.layer) {
            if is_wide(shape.look) {
                frame.width = widths[layer];
            }
        }
    }

    /// Adds the items that a link passes, and what ties them to each other.
    fn connect(&mut self, picture: &Picture, layers: &Layers, link: usize) {
        let (from, to) = (picture.links[link].from, picture.links[link].to);
        let (first, last) = (layers.layer[from], layers.layer[to]);
        let is_back = layers.back[link];
        let passed: Vec<usize> =
            if is_back { (last..=first).rev().collect() } else { (first + 1..last).collect() };
        for layer in passed {
            self.passes[link].push(self.items.len());
            let anchor = [from, to].into_iter().find(|&end| is_back && layers.layer[end] == layer);
            // Below its anchor, else where the walk is when it comes to the end that is met later.
            let place = anchor.unwrap_or(if is_back { from } else { to });
            self.items.push(Item { layer, rank: (layers.rank[place], link + 1), anchor });
            self.bodies.push(Body { height: 1.0, space: 13.0 });
        }
        let middle = |item: usize, plan: &Plan| plan.bodies[item].height / 2.0;
        let port = (from, self.ports[link]);
        let end = (to, middle(to, self));
        let mut points: Vec<(usize, f64)> =
            self.passes[link].iter().map(|&item| (item, middle(item, self))).collect();
        if is_back {
            let below = |item: usize, plan: &Plan| (item, plan.bodies[item].height + 10.0);
            for (anchor, (item, _)) in [(from, points[0]), (to, points[points.len() - 1])] {
                self.ties.push(Tie { left: below(anchor, self), right: (item, 0.0), weight: 0.5 });
            }
            points.reverse();
        } else {
            points.insert(0, port);
            points.push(end);
        }
        for pair in points.windows(2) {
            let n_passes = pair.iter().filter(|(item, _)| *item >= picture.boxes.len()).count();
            let weight = [1.0, 2.0, 6.0][n_passes];
            self.ties.push(Tie { left: pair[0], right: pair[1], weight });
            let (left, right) = (pair[0].0, pair[1].0);
            self.by_layer[self.items[left].layer].push(self.segments.len());
            let at = pair[0].1 / self.bodies[left].height;
            self.segments.push(Segment { left, right, at });
        }
    }

    /// Finds where links run, now that all items have their places.
    fn route(&mut self, picture: &Picture, layers: &Layers, tops: &[f64], lefts: &[f64], rights: &[f64]) {
        let mut coming: Vec<Vec<(f64, usize)>> = vec![Vec::new(); picture.boxes.len()];
        for (index, link) in picture.links.iter().enumerate() {
            let last = self.passes[index].last().map(|&item| tops[item]);
            let last = last.unwrap_or(tops[link.from] + self.ports[index]);
            // Links back come from below: the nearest of them arrives below all others.
            coming[link.to].push((if layers.back[index] { BELOW_ALL - last } else { last }, index));
        }
        let mut arrivals = vec![0.0; picture.links.len()];
        for (frame, links) in self.frames.iter().zip(&mut coming) {
            links.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let n_gaps = links.len().saturating_sub(1).max(1) as f64;
            let step = ((frame.height - 16.0).max(0.0) / n_gaps).min(10.0);
            for (place, &(_, link)) in links.iter().enumerate() {
                let from_middle = place as f64 - (links.len() - 1) as f64 / 2.0;
                arrivals[link] = frame.y + frame.height / 2.0 + from_middle * step;
            }
        }
        for (index, link) in picture.links.iter().enumerate() {
            let (from, to) = (&self.frames[link.from], &self.frames[link.to]);
            let y = from.y + self.ports[index];
            let route = &mut self.routes[index];
            route.label_at = (from.x + from.width + LABEL_GAP, y);
            route.ends = [(from.x + from.width, y), (to.x, arrivals[index])];
            route.leaves_at = rights[layers.layer[link.from]];
            route.swing = if layers.back[index] { 24.0 } else { 0.0 };
            for &item in &self.passes[index] {
                let layer = self.items[item].layer;
                let y = tops[item] + 0.5;
                let (left, right) = ((lefts[layer], y), (rights[layer], y));
                route.passes.push(if layers.back[index] { [right, left] } else { [left, right] });
            }
        }
    }
}

fn frame(shape: &super::picture::Shape) -> Frame {
    let (title, notes, width) = match shape.look {
        Look::Start | Look::Outcome | Look::Word => {
            let title = vec![PILL.cut(&shape.title, PILL_WIDTH)];
            let width = PILL.width(&title[0]) + 26.0;
            return Frame { title, width, height: 26.0, ..Frame::default() };
        }
        Look::End => {
            let title = TITLE.wrap(&shape.title, PILL_WIDTH, 1);
            (title, shape.notes.iter().map(|note| NOTE.cut(note, PILL_WIDTH)).collect(), 0.0)
        }
        Look::Everywhere | Look::Menu | Look::Entry => {
            let notes = shape.notes.iter().flat_map(|note| NOTE.wrap(note, TEXT_WIDTH, 3)).collect();
            (TITLE.wrap(&shape.title, TEXT_WIDTH, 3), notes, BOX_WIDTH_MIN)
        }
    };
    let notes: Vec<String> = notes;
    let texts = title.iter().map(|line| TITLE.width(line)).chain(notes.iter().map(|line| NOTE.width(line)));
    let side = if shape.look == Look::End { PADDING.0 + 5.0 } else { PADDING.0 };
    let width = (texts.fold(0.0, f64::max) + 2.0 * side).max(width);
    let height = title.len() as f64 * TITLE_LINE + notes.len() as f64 * NOTE_LINE + 2.0 * PADDING.1;
    Frame { title, notes, width, height, ..Frame::default() }
}

fn route(label: &[Line]) -> Route {
    let shown = if label.len() > LABEL_LINES_MAX { LABEL_LINES_MAX - 1 } else { label.len() };
    let cut = |line: &Line| (KEYS.cut(&line.what, KEYS_WIDTH), LABEL.cut(&line.more, LABEL_WIDTH));
    let mut lines: Vec<(String, String)> = label[..shown].iter().map(cut).collect();
    if shown < label.len() {
        lines.push(("…".to_owned(), format!("{} more", label.len() - shown)));
    }
    let width = |(keys, more): &(String, String)| {
        let more = if more.is_empty() { 0.0 } else { LABEL.width(more) + 4.0 };
        KEYS.width(keys) + more
    };
    let label_width = lines.iter().map(width).fold(0.0, f64::max);
    Route { label: lines, label_width, ..Route::default() }
}
