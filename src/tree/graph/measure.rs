//! How wide text is, without a font: Helvetica's widths, which Arial and Liberation Sans share, and
//! some room for fonts that run wider.

use unicode_width::UnicodeWidthChar as _;

/// The widths of `' '..='~'` in thousandths of the font's size.
#[rustfmt::skip]
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];
/// What other fonts may take more.
const ROOM: f64 = 1.08;

/// A size of text and its weight.
#[derive(Clone, Copy)]
pub(super) struct Font {
    /// In pixels.
    pub(super) size: f64,
    pub(super) is_bold: bool,
}

impl Font {
    /// Returns the width of a text in pixels.
    pub(super) fn width(self, text: &str) -> f64 {
        text.chars().map(|character| self.width_of(character)).sum()
    }

    fn width_of(self, character: char) -> f64 {
        let thousandths = match (u32::from(character)).checked_sub(32) {
            Some(index) if index < 95 => f64::from(WIDTHS[index as usize]),
            // Letters of other scripts are about as wide as a capital, those of East Asia a square.
            _ if character.width() == Some(2) => 1_050.0,
            _ => 780.0,
        };
        thousandths / 1_000.0 * self.size * ROOM * if self.is_bold { 1.07 } else { 1.0 }
    }

    /// Returns a text cut to a width, with an ellipsis where something is missing.
    pub(super) fn cut(self, text: &str, width: f64) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let mut left = width - self.width_of('…');
        let fits = |&character: &char| {
            left -= self.width_of(character);
            left >= 0.0
        };
        let mut cut: String = text.chars().take_while(fits).collect();
        cut.truncate(cut.trim_end().len());
        cut.push('…');
        cut
    }

    /// Returns a text in at most `lines_max` lines of a width, broken at spaces where there are some.
    pub(super) fn wrap(self, text: &str, width: f64, lines_max: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut rest = text.trim();
        while lines.len() + 1 < lines_max && self.width(rest) > width {
            let mut taken = 0.0;
            let fits = rest.char_indices().find(|&(_, character)| {
                taken += self.width_of(character);
                taken > width
            });
            let end = fits.map_or(rest.len(), |(at, _)| at);
            // The space at which it breaks may be the first that doesn't fit.
            let ends_word = |at: &usize| rest[*at..].starts_with(' ') && *at > 0;
            let Some(at) = (0..=end).rev().filter(|&at| rest.is_char_boundary(at)).find(ends_word) else {
                break;
            };
            lines.push(rest[..at].trim_end().to_owned());
            rest = rest[at..].trim_start();
        }
        lines.push(self.cut(rest, width));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FONT: Font = Font { size: 10.0, is_bold: false };

    #[test]
    fn cuts_and_wraps_within_the_width() {
        assert_eq!(["Account", "number"], *FONT.wrap("Account number", 50.0, 2));
        assert_eq!("Acc…", FONT.cut("Account", 32.0));
        for text in
            ["", "a", "Donaudampfschifffahrtsgesellschaft", "a b c d e f g h i", "日本語の 電話 メニュー"]
        {
            for lines_max in 1..4 {
                let lines = FONT.wrap(text, 40.0, lines_max);
                assert!((1..=lines_max).contains(&lines.len()), "{lines:?}");
                assert!(lines.iter().all(|line| FONT.width(line) <= 40.0), "{lines:?}");
            }
        }
    }
}
