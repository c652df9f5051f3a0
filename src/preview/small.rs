//! Two rollouts in small pictures, with the same scale: parts of a page, which brings the
//! colours.

use super::plot::{Frame, Plot};
use super::text;
use crate::report::details::LAYERS;
use crate::rollout::Forecast;

/// Within `report::details::VIEW_BOX`.
const FRAME: Frame = Frame { left: 26.0, top: 6.0, width: 310.0, height: 74.0, digits: 0, moments: 40 };

/// To a tenth of a second, which is more than can be seen.
const TENTH: u64 = 100;

/// The picture of a rollout, drawn as large as `beside` needs it.
pub fn picture(forecast: &Forecast, beside: Option<&Forecast>) -> String {
    let plot = Plot::of(forecast, FRAME);
    let plot = match beside {
        Some(other) => plot.beside(&Plot::of(other, FRAME)),
        None => plot,
    };
    let layers = (0..LAYERS.len()).filter(|layer| plot.is_seen(*layer)).map(|layer| plot.layer(layer));
    let mut svg: String = layers.collect();
    let (bottom, right) = (FRAME.top + FRAME.height, FRAME.left + FRAME.width);
    svg += &format!("<path class=\"axis\" d=\"M{} {}V{bottom}H{right}\"/>", FRAME.left, FRAME.top);
    svg += &plot.asked();
    for pods in plot.marks() {
        svg += &format!(
            "<text class=\"y\" x=\"{}\" y=\"{:.0}\">{pods}</text>",
            FRAME.left - 5.0,
            plot.y(pods) + 4.0
        );
    }
    let y = bottom + 14.0;
    svg += &format!("<text x=\"{}\" y=\"{y}\">0s</text>", FRAME.left);
    svg + &format!(
        "<text class=\"end\" x=\"{right}\" y=\"{y}\">{}</text>",
        text::seconds(plot.end / TENTH * TENTH)
    )
}
