//! In which order the items of each column stand: barycentre sweeps, as long as they help.

/// A box, or the place where a link passes a column.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) layer: usize,
    /// What begins the order: items of a walk along the links in the order of the walk.
    pub(super) rank: (usize, usize),
    /// The box of the same column that it stays below: the one at which its link turns around.
    pub(super) anchor: Option<usize>,
}

/// A part of a link, from an item to one in the next column on the right.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) left: usize,
    pub(super) right: usize,
    /// Where at the left item it begins, in parts of its height.
    pub(super) at: f64,
}

/// How often all columns are gone through, there and back.
const ROUNDS_MAX: usize = 8;

/// Returns the items of each column, from top to bottom.
pub(super) fn order(items: &[Item], segments: &[Segment], reduce_crossings: bool) -> Vec<Vec<usize>> {
    let n_layers = items.iter().map(|item| item.layer + 1).max().unwrap_or(0);
    let mut columns = vec![Vec::new(); n_layers];
    for (index, item) in items.iter().enumerate() {
        columns[item.layer].push(index);
    }
    for column in &mut columns {
        column.sort_by_key(|&item| items[item].rank);
    }
    if !reduce_crossings {
        return columns;
    }
    let mut sweep = Sweep::new(items, segments, n_layers);
    let mut best = (sweep.crossings(&columns), columns.clone());
    for round in 0..ROUNDS_MAX {
        if best.0 == 0 {
            break;
        }
        let from_left = round % 2 == 0;
        let layers: Vec<usize> =
            if from_left { (0..n_layers).collect() } else { (0..n_layers).rev().collect() };
        for layer in layers {
            sweep.sort(&mut columns[layer], from_left);
        }
        let crossings = sweep.crossings(&columns);
        if crossings < best.0 {
            best = (crossings, columns.clone());
        }
    }
    best.1
}

struct Sweep<'a> {
    items: &'a [Item],
    segments: &'a [Segment],
    /// The segments that come to each item from the left, and from the right.
    from_left: Vec<Vec<usize>>,
    from_right: Vec<Vec<usize>>,
    /// The segments that begin in each column.
    by_layer: Vec<Vec<usize>>,
    /// Each item's place in its column.
    place: Vec<usize>,
}

impl Sweep<'_> {
    fn new<'a>(items: &'a [Item], segments: &'a [Segment], n_layers: usize) -> Sweep<'a> {
        let mut sweep = Sweep {
            items,
            segments,
            from_left: vec![Vec::new(); items.len()],
            from_right: vec![Vec::new(); items.len()],
            by_layer: vec![Vec::new(); n_layers],
            place: vec![0; items.len()],
        };
        for (index, segment) in segments.iter().enumerate() {
            sweep.from_left[segment.right].push(index);
            sweep.from_right[segment.left].push(index);
            sweep.by_layer[items[segment.left].layer].push(index);
        }
        sweep
    }

    fn number(&mut self, column: &[usize]) {
        for (place, &item) in column.iter().enumerate() {
            self.place[item] = place;
        }
    }

    /// Sorts a column by where its items' neighbours are; one without any stays where it is.
    fn sort(&mut self, column: &mut [usize], from_left: bool) {
        let center = |place: usize, item: usize| {
            let near = if from_left { &self.from_left[item] } else { &self.from_right[item] };
            let at = |&segment: &usize| {
                let Segment { left, right, at } = &self.segments[segment];
                if from_left { self.place[*left] as f64 + at } else { self.place[*right] as f64 - at / 8.0 }
            };
            if near.is_empty() {
                return place as f64;
            }
            near.iter().map(at).sum::<f64>() / near.len() as f64
        };
        let mut sorted: Vec<(f64, bool, usize)> = Vec::with_capacity(column.len());
        for (place, &item) in column.iter().enumerate() {
            let anchor = self.items[item].anchor;
            let box_place = anchor.map(|anchor| (self.place[anchor], anchor));
            let (at, by) = box_place.unwrap_or((place, item));
            sorted.push((center(at, by), anchor.is_some(), item));
        }
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (slot, (_, _, item)) in column.iter_mut().zip(sorted) {
            *slot = item;
        }
        self.number(column);
    }

    /// Returns how many pairs of segments cross.
    fn crossings(&mut self, columns: &[Vec<usize>]) -> usize {
        for column in columns {
            self.number(column);
        }
        let mut crossings = 0;
        for (segments, right) in self.by_layer.iter().zip(columns.iter().skip(1)) {
            let mut ends: Vec<(f64, usize)> = segments
                .iter()
                .map(|&segment| &self.segments[segment])
                .map(|segment| (self.place[segment.left] as f64 + segment.at, self.place[segment.right]))
                .collect();
            ends.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            // A tree of sums (Fenwick's) counts the ends further down that came before.
            let mut sums = vec![0; right.len() + 1];
            for (n_before, &(_, end)) in ends.iter().enumerate() {
                let mut n_up_to = 0;
                let mut index = end + 1;
                while index > 0 {
                    n_up_to += sums[index];
                    index &= index - 1;
                }
                crossings += n_before - n_up_to;
                let mut index = end + 1;
                while index < sums.len() {
                    sums[index] += 1;
                    index += index & index.wrapping_neg();
                }
            }
        }
        crossings
    }
}
