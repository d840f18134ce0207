//! The report as a picture: a bar from nought to the p95 of each, on a logarithmic axis, with a
//! mark at the p50. Colours that the colour-blind tell apart, on white or on dark.

use std::{fmt::Write as _, time::Duration};

use super::stats::Row;

const LEFT: f64 = 340.0;
const WIDTH: f64 = 520.0;
const LINE: f64 = 26.0;
const TOP: f64 = 40.0;

/// Of the axis, in seconds.
const FIRST: f64 = 0.01;
const LAST: f64 = 100.0;

/// Until the Service is switched; for who has none, until the lock is taken.
pub(super) fn draw(rows: &[Row]) -> String {
    let mut lines = String::new();
    let mut y = TOP;
    for row in rows {
        let Some(seen) = row.switch.or(row.lock) else {
            continue;
        };
        let ours = row.switch.is_some();
        let colour = if ours { "#0072b2" } else { "#e69f00" };
        let (middle, end) = (place(seen.p50), place(seen.p95));
        let label = format!("{}: {}", row.cause.words(), row.who);
        let text = y + LINE * 0.6;
        write!(
            lines,
            "<text x=\"{x}\" y=\"{text}\" text-anchor=\"end\">{label}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>\n\
             <rect x=\"{middle:.1}\" y=\"{y}\" width=\"3\" height=\"16\" fill=\"#808080\"/>\n\
             <text x=\"{after:.1}\" y=\"{text}\">{p95:.2} s</text>\n",
            x = LEFT - 8.0,
            width = end - LEFT,
            after = end + 6.0,
            p95 = seen.p95.as_secs_f64(),
        )
        .unwrap_or_default();
        y += LINE;
    }
    let mut axis = String::new();
    for seconds in [0.01, 0.1, 1.0, 10.0, 100.0] {
        let x = place(Duration::from_secs_f64(seconds));
        write!(
            axis,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{y}\" stroke=\"#808080\" \
             stroke-opacity=\"0.4\"/>\n\
             <text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{seconds} s</text>\n",
            below = y + 18.0,
        )
        .unwrap_or_default();
    }
    let (width, height) = (LEFT + WIDTH + 80.0, y + 30.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#808080\">\n\
         <title>Time from the loss of a leader until another leads</title>\n\
         <text x=\"{LEFT}\" y=\"20\">From the loss of a leader until the Service is switched \
         (client-go: until the lock is taken); bar: p95, mark: p50</text>\n\
         {axis}{lines}</svg>\n"
    )
}

fn place(time: Duration) -> f64 {
    let seconds = time.as_secs_f64().clamp(FIRST, LAST);
    LEFT + WIDTH * (seconds / FIRST).log10() / (LAST / FIRST).log10()
}
