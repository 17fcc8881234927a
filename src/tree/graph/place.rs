//! At which height the items of each column stand: as near to their neighbours as their order and
//! the space between them allow.

/// What has to be placed.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) height: f64,
    /// The least space around it: half of it above, half below.
    pub(super) space: f64,
}

/// Two heights that would best be the same: that of the first item plus its offset, and the second's.
#[derive(Debug)]
pub(super) struct Tie {
    pub(super) left: (usize, f64),
    pub(super) right: (usize, f64),
    pub(super) weight: f64,
}

/// How often all columns are gone through.
const ROUNDS: usize = 14;

/// Returns the top of each item.
pub(super) fn place(columns: &[Vec<usize>], bodies: &[Body], ties: &[Tie]) -> Vec<f64> {
    let mut tops = vec![0.0; bodies.len()];
    for column in columns {
        let mut top = 0.0;
        for &item in column {
            tops[item] = top;
            top += bodies[item].height + bodies[item].space;
        }
    }
    let mut from_left: Vec<Vec<usize>> = vec![Vec::new(); bodies.len()];
    let mut from_right: Vec<Vec<usize>> = vec![Vec::new(); bodies.len()];
    for (index, tie) in ties.iter().enumerate() {
        from_left[tie.right.0].push(index);
        from_right[tie.left.0].push(index);
    }
    for round in 0..ROUNDS {
        let leftwards = round % 2 == 0;
        let both = round >= ROUNDS / 2;
        let each: Box<dyn Iterator<Item = &Vec<usize>>> =
            if leftwards { Box::new(columns.iter().rev()) } else { Box::new(columns.iter()) };
        for column in each {
            let wishes: Vec<(f64, f64)> = column
                .iter()
                .map(|&item| {
                    let left = from_left[item].iter().filter(|_| both || !leftwards).map(|&tie| {
                        let Tie { left, right, weight } = &ties[tie];
                        (tops[left.0] + left.1 - right.1, *weight)
                    });
                    let right = from_right[item].iter().filter(|_| both || leftwards).map(|&tie| {
                        let Tie { left, right, weight } = &ties[tie];
                        (tops[right.0] + right.1 - left.1, *weight)
                    });
                    let (sum, weight) = left
                        .chain(right)
                        .fold((0.0, 0.0), |(sum, all), (top, weight)| (sum + top * weight, all + weight));
                    // One without neighbours stays, and gives way to all others.
                    if weight > 0.0 { (sum / weight, weight) } else { (tops[item], 0.01) }
                })
                .collect();
            settle(column, bodies, &wishes, &mut tops);
        }
    }
    let least = tops.iter().copied().fold(f64::INFINITY, f64::min);
    tops.iter_mut().for_each(|top| *top -= least);
    tops
}

/// Puts a column's items as near as they can be to where they would be best, by least squares: items
/// that want to be in one place form a block, which is where its mean wants to be.
fn settle(column: &[usize], bodies: &[Body], wishes: &[(f64, f64)], tops: &mut [f64]) {
    struct Block {
        mean: f64,
        weight: f64,
        n_items: usize,
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut offsets = Vec::with_capacity(column.len());
    let mut offset = 0.0;
    for (index, &item) in column.iter().enumerate() {
        if let Some(&above) = index.checked_sub(1).and_then(|index| column.get(index)) {
            offset += bodies[above].height + (bodies[above].space + bodies[item].space) / 2.0;
        }
        offsets.push(offset);
        let (wish, weight) = wishes[index];
        let mut block = Block { mean: wish - offset, weight, n_items: 1 };
        while let Some(above) = blocks.pop_if(|above| above.mean >= block.mean) {
            let weight = above.weight + block.weight;
            block.mean = (above.mean * above.weight + block.mean * block.weight) / weight;
            block.weight = weight;
            block.n_items += above.n_items;
        }
        blocks.push(block);
    }
    let means = blocks.iter().flat_map(|block| std::iter::repeat_n(block.mean, block.n_items));
    for ((&item, offset), mean) in column.iter().zip(offsets).zip(means) {
        tops[item] = mean + offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_space_and_goes_where_the_neighbours_are() {
        let body = |height| Body { height, space: 10.0 };
        let bodies = [body(20.0), body(20.0), body(20.0), body(20.0)];
        let tie = |right| Tie { left: (0, 10.0), right: (right, 10.0), weight: 1.0 };
        let tops = place(&[vec![0], vec![1, 2, 3]], &bodies, &[tie(1), tie(2), tie(3)]);
        let gap = |a: usize, b: usize| tops[b] - tops[a];
        assert!((gap(1, 2) - 30.0).abs() < 1e-6 && (gap(2, 3) - 30.0).abs() < 1e-6, "{tops:?}");
        assert!(gap(0, 2).abs() < 1e-6, "{tops:?}");
    }
}
