//! The drawing as a picture for documents: SVG 1.1, with nothing but its own colours and no script.
//!
//! Calls run from left to right. An outcome, or a word such as `@back`, stands beside each node that
//! leads to it. A link that would be long or one of many back to a node ends at a chip with the node's
//! label. Above 2000 boxes every node is drawn through to once, and all other links end at chips.

use std::fmt::Write as _;

use super::layout::{
    Frame, KEYS, LABEL, LABEL_LINE, NOTE, NOTE_LINE, PADDING, PILL, Route, TITLE, TITLE_LINE, layout,
};
use super::measure::Font;
use super::picture::{Look, Picture, Shape, Stroke};
use super::words::clean;
use super::{Graph, Kind};

/// Around everything.
const MARGIN: f64 = 36.0;
const LEGEND_HEIGHT: f64 = 44.0;
const FONTS: &str = "Helvetica, Arial, 'Liberation Sans', sans-serif";

const INK: &str = "#1e293b";
const FAINT: &str = "#64748b";
const ALARM: &str = "#dc2626";

/// The colours of a box: its border, its inside, its title.
fn colors(look: Look, is_failure: bool) -> [&'static str; 3] {
    match look {
        Look::Start => ["#334155", "#334155", "#ffffff"],
        Look::Everywhere => ["#94a3b8", "#f8fafc", INK],
        Look::Menu => ["#3b82f6", "#eff6ff", INK],
        Look::Entry => ["#d97706", "#fffbeb", INK],
        Look::End | Look::Outcome if is_failure => ["#e11d48", "#ffe4e6", "#881337"],
        Look::End | Look::Outcome => ["#16a34a", "#dcfce7", "#14532d"],
        Look::Word => ["#cbd5e1", "#f1f5f9", "#475569"],
    }
}

/// Returns the drawing.
pub fn svg(graph: &Graph) -> String {
    let mut picture = Picture::new(graph);
    let layout = layout(&mut picture);
    let failures = failures(&picture);
    let legend = legend(&picture, &failures);
    let width = layout.width.max(legend.1) + 2.0 * MARGIN;
    let height = layout.height + LEGEND_HEIGHT + 2.0 * MARGIN;
    let mut text = String::new();
    head(&mut text, graph, width, height);
    for (link, route) in picture.links.iter().zip(&layout.routes) {
        line(&mut text, route, link.stroke);
    }
    for route in layout.routes.iter().filter(|route| !route.label.is_empty()) {
        label(&mut text, route);
    }
    for ((shape, frame), is_failure) in picture.boxes.iter().zip(&layout.frames).zip(&failures) {
        node(&mut text, shape, frame, *is_failure);
    }
    // Writing to a string can't fail.
    let _ = writeln!(text, "</g>\n<g transform=\"translate({MARGIN} {})\">", height - MARGIN - 8.0);
    text.push_str(&legend.0);
    text.push_str("</g>\n</svg>\n");
    text
}

fn head(text: &mut String, graph: &Graph, width: f64, height: f64) {
    let root = escape(&clean(&graph.nodes[graph.root()].label));
    let count = |is_it: fn(&Kind) -> bool| graph.nodes.iter().filter(|place| is_it(&place.kind)).count();
    let menus = count(|kind| matches!(kind, Kind::Menu));
    let entries = count(|kind| matches!(kind, Kind::Entry(_)));
    let ends = count(|kind| matches!(kind, Kind::End(_)));
    let _ = write!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"dtmfd-title dtmfd-desc\" \
         width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"{FONTS}\">\n\
         <title id=\"dtmfd-title\">Call flow: {root}</title>\n\
         <desc id=\"dtmfd-desc\">An IVR tree that begins at {root}. Menus: {menus}. Entries: {entries}. \
         Ends: {ends}. Choices: solid lines; no input: dashed; no match: dotted.</desc>\n\
         <defs><marker id=\"dtmfd-arrow\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
         <path d=\"M0.5 0.5 7.5 4 0.5 7.5 2 4Z\" fill=\"{FAINT}\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#ffffff\"/>\n\
         <g transform=\"translate({MARGIN} {MARGIN})\">\n",
    );
}

/// Returns which boxes only no-input and no-match lead to.
fn failures(picture: &Picture) -> Vec<bool> {
    let mut by_keys = vec![false; picture.boxes.len()];
    let mut by_others = vec![false; picture.boxes.len()];
    for link in &picture.links {
        match link.stroke {
            Stroke::Solid => by_keys[link.to] = true,
            Stroke::Dashed | Stroke::Dotted => by_others[link.to] = true,
        }
    }
    by_keys.iter().zip(by_others).map(|(by_keys, by_others)| by_others && !by_keys).collect()
}

fn dashes(stroke: Stroke) -> &'static str {
    match stroke {
        Stroke::Solid => "",
        Stroke::Dashed => " stroke-dasharray=\"6 4\"",
        Stroke::Dotted => " stroke-dasharray=\"0.1 4\" stroke-linecap=\"round\"",
    }
}

fn line(text: &mut String, route: &Route, stroke: Stroke) {
    let [(x, y), end] = route.ends;
    let mut path = format!("M{x:.1} {y:.1}");
    if !route.label.is_empty() {
        let (left, _) = route.label_at;
        let _ = write!(path, "H{:.1}M{:.1} {y:.1}", left - 3.0, left + route.label_width + 3.0);
    }
    let _ = write!(path, "H{:.1}", route.leaves_at);
    let mut at = (route.leaves_at, y);
    for (index, &[from, to]) in route.passes.iter().enumerate() {
        // Where it turns around it swings out to the right; from then on it runs to the left.
        curve(&mut path, at, from, if index == 0 { route.swing } else { 0.0 });
        let _ = write!(path, "H{:.1}", to.0);
        at = to;
    }
    curve(&mut path, at, (end.0 - 1.5, end.1), -route.swing);
    let width = if stroke == Stroke::Dotted { 1.9 } else { 1.3 };
    let _ = writeln!(
        text,
        "<path class=\"link\" d=\"{path}\" fill=\"none\" stroke=\"{FAINT}\" stroke-width=\"{width}\"{} \
         marker-end=\"url(#dtmfd-arrow)\"/>",
        dashes(stroke)
    );
}

/// Draws on to a point, level at both ends. With a swing, both ends are level on the same side.
fn curve(path: &mut String, from: (f64, f64), to: (f64, f64), swing: f64) {
    let (out, back) = if swing == 0.0 {
        let middle = f64::midpoint(from.0, to.0);
        (middle, middle)
    } else if swing > 0.0 {
        let far = from.0.max(to.0) + swing;
        (far, far)
    } else {
        let far = from.0.min(to.0) + swing;
        (far, far)
    };
    let _ = write!(path, "C{out:.1} {:.1} {back:.1} {:.1} {:.1} {:.1}", from.1, to.1, to.0, to.1);
}

fn label(text: &mut String, route: &Route) {
    let (x, middle) = route.label_at;
    let mut y = middle - (route.label.len() - 1) as f64 * LABEL_LINE / 2.0 + LABEL.size * 0.35;
    for (keys, more) in &route.label {
        let _ = write!(
            text,
            "<text class=\"label\" x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{}\" fill=\"{INK}\">\
             <tspan font-weight=\"{}\">{}</tspan>",
            LABEL.size,
            weight(KEYS),
            escape(keys)
        );
        if !more.is_empty() {
            let _ = write!(text, " <tspan fill=\"#475569\">{}</tspan>", escape(more));
        }
        text.push_str("</text>\n");
        y += LABEL_LINE;
    }
}

fn weight(font: Font) -> &'static str {
    if font.is_bold { "bold" } else { "normal" }
}

fn node(text: &mut String, shape: &Shape, frame: &Frame, is_failure: bool) {
    let [border, inside, ink] = colors(shape.look, is_failure);
    let Frame { x, y, width, height, .. } = *frame;
    let is_pill = matches!(shape.look, Look::Start | Look::End | Look::Outcome);
    let radius = if is_pill { (height / 2.0).min(20.0) } else { 7.0 };
    let border = if shape.reachable { border } else { ALARM };
    let dashed = shape.look == Look::Everywhere || !shape.reachable;
    let dash = if dashed { " stroke-dasharray=\"5 4\"" } else { "" };
    let _ = writeln!(
        text,
        "<rect class=\"box\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
         rx=\"{radius:.1}\" fill=\"{inside}\" stroke=\"{border}\" stroke-width=\"1.3\"{dash}/>"
    );
    let font = if frame.notes.is_empty() && (is_pill || shape.look == Look::Word) { PILL } else { TITLE };
    let all = frame.title.len() as f64 * TITLE_LINE + frame.notes.len() as f64 * NOTE_LINE;
    let mut baseline = y + (height - all) / 2.0 + TITLE_LINE * 0.75;
    let center = x + width / 2.0;
    let (at, anchor) = if is_pill || shape.look == Look::Word {
        (center, " text-anchor=\"middle\"")
    } else {
        (x + PADDING.0, "")
    };
    for (lines, font, ink, step) in
        [(&frame.title, font, ink, TITLE_LINE), (&frame.notes, NOTE, FAINT, NOTE_LINE)]
    {
        for line in lines {
            let _ = writeln!(
                text,
                "<text x=\"{at:.1}\" y=\"{baseline:.1}\" font-size=\"{}\" font-weight=\"{}\" \
                 fill=\"{ink}\"{anchor}>{}</text>",
                font.size,
                weight(font),
                escape(line)
            );
            baseline += step;
        }
    }
}

/// Returns what the lines and boxes of the picture mean, from the origin to the right, and its width.
fn legend(picture: &Picture, failures: &[bool]) -> (String, f64) {
    let has = |look: Look, is_failure: bool| {
        let is_it = |other: Look| other == look || other == Look::End && look == Look::Outcome;
        let mut boxes = picture.boxes.iter().zip(failures);
        // What is not an outcome looks the same however a call gets there.
        let is_failure = |failed: bool| look != Look::Outcome || failed == is_failure;
        boxes.any(|(shape, &failed)| is_it(shape.look) && is_failure(failed))
    };
    let mut text = String::new();
    let mut x = 0.0;
    let say = |text: &mut String, x: &mut f64, words: &str| {
        let _ = writeln!(
            text,
            "<text x=\"{x:.1}\" y=\"4\" font-size=\"{}\" fill=\"{FAINT}\">{words}</text>",
            NOTE.size
        );
        *x += NOTE.width(words) + 20.0;
    };
    for (look, is_failure, words) in [
        (Look::Menu, false, "menu"),
        (Look::Entry, false, "entry"),
        (Look::Outcome, false, "outcome"),
        (Look::Outcome, true, "outcome of no input or no match"),
        (Look::Word, false, "goes to"),
    ] {
        if !has(look, is_failure) {
            continue;
        }
        let [border, inside, _] = colors(look, is_failure);
        let radius = if look == Look::Outcome { 6 } else { 3 };
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"-6\" width=\"22\" height=\"12\" rx=\"{radius}\" fill=\"{inside}\" \
             stroke=\"{border}\"/>"
        );
        x += 28.0;
        say(&mut text, &mut x, words);
    }
    for (stroke, words) in
        [(Stroke::Solid, "keys"), (Stroke::Dashed, "no input"), (Stroke::Dotted, "no match")]
    {
        if !picture.links.iter().any(|link| link.stroke == stroke) {
            continue;
        }
        let _ = writeln!(
            text,
            "<path d=\"M{x:.1} 0h26\" stroke=\"{FAINT}\" stroke-width=\"1.6\"{} fill=\"none\"/>",
            dashes(stroke)
        );
        x += 32.0;
        say(&mut text, &mut x, words);
    }
    (text, x)
}

/// Returns a text as XML; what XML can't hold has been replaced by `clean`.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
