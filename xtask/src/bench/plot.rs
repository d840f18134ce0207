//! Figures as a picture: a bar for each, on a logarithmic axis. Colours that the colour-blind tell
//! apart, on white or on dark.

use std::fmt::Write as _;

const LEFT: f64 = 340.0;
const WIDTH: f64 = 520.0;
const LINE: f64 = 26.0;
const TOP: f64 = 40.0;

/// One bar, from the axis' beginning to `end`, with a mark where there is one.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) label: String,
    /// This product's, and not the peer's.
    pub(super) ours: bool,
    pub(super) end: f64,
    pub(super) mark: Option<f64>,
}

/// What the bars are of.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) explanation: &'a str,
    pub(super) unit: &'a str,
    /// The axis, in powers of ten.
    pub(super) from: i32,
    pub(super) to: i32,
}

impl Plot<'_> {
    pub(super) fn draw(&self, bars: &[Bar]) -> String {
        let Self {
            title,
            explanation,
            unit,
            from,
            to,
        } = self;
        let mut lines = String::new();
        let mut y = TOP;
        for bar in bars {
            let text = y + LINE * 0.6;
            let end = self.place(bar.end);
            write!(
                lines,
                "<text x=\"{x}\" y=\"{text}\" text-anchor=\"end\">{label}</text>\n\
                 <rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"16\" fill=\"{colour}\"/>\n\
                 <text x=\"{after:.1}\" y=\"{text}\">{value:.2}{unit}</text>\n",
                x = LEFT - 8.0,
                label = bar.label,
                width = end - LEFT,
                colour = if bar.ours { "#0072b2" } else { "#e69f00" },
                after = end + 6.0,
                value = bar.end,
            )
            .unwrap_or_default();
            if let Some(mark) = bar.mark {
                let x = self.place(mark);
                writeln!(
                    lines,
                    "<rect x=\"{x:.1}\" y=\"{y}\" width=\"3\" height=\"16\" fill=\"#808080\"/>"
                )
                .unwrap_or_default();
            }
            y += LINE;
        }
        let mut axis = String::new();
        for power in *from..=*to {
            let value = 10_f64.powi(power);
            write!(
                axis,
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{y}\" stroke=\"#808080\" \
                 stroke-opacity=\"0.4\"/>\n\
                 <text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{value}{unit}</text>\n",
                x = self.place(value),
                below = y + 18.0,
            )
            .unwrap_or_default();
        }
        let (width, height) = (LEFT + WIDTH + 80.0, y + 30.0);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\" fill=\"#808080\">\n\
             <title>{title}</title>\n\
             <text x=\"{LEFT}\" y=\"20\">{explanation}</text>\n\
             {axis}{lines}</svg>\n"
        )
    }

    fn place(&self, value: f64) -> f64 {
        let (from, to) = (f64::from(self.from), f64::from(self.to));
        let power = value.log10().clamp(from, to);
        LEFT + WIDTH * (power - from) / (to - from)
    }
}
