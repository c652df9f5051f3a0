//! Pods over time, as areas one upon the other.

use super::text;
use crate::report::details::LAYERS;
use crate::rollout::{Forecast, Millis, Step};

/// How many pods there are of each of [`LAYERS`].
const PODS: [fn(&Step) -> i64; LAYERS.len()] = [
    |step| step.available - step.old.min(step.available),
    |step| step.old.min(step.available),
    |step| step.old + step.new - step.available,
    |step| step.terminating,
];

/// Where in a picture pods are drawn, and how exactly.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The left edge.
    pub left: f64,
    /// The upper edge.
    pub top: f64,
    /// From the first moment to the last.
    pub width: f64,
    /// From no pod to the most.
    pub height: f64,
    /// Digits after the point.
    pub digits: usize,
    /// No more moments than this are drawn.
    pub moments: usize,
}

/// Where in the picture a moment and a number of pods are.
pub struct Plot<'f> {
    forecast: &'f Forecast,
    frame: Frame,
    /// The right edge.
    pub end: Millis,
    /// The upper edge.
    pub most: i64,
}

impl<'f> Plot<'f> {
    /// Just large enough for this rollout.
    pub fn of(forecast: &'f Forecast, frame: Frame) -> Self {
        let last = forecast.steps.last().map_or(0, |step| step.at);
        // The last state is seen for a while, too.
        let end = last.saturating_add((last / 12).max(1_000));
        let pods = |step: &Step| step.old + step.new + step.terminating;
        let most = forecast.steps.iter().map(pods).max().unwrap_or(0);
        Plot { forecast, frame, end, most: most.max(forecast.replicas.into()).max(1) }
    }

    /// The same, large enough for `other` too.
    pub fn beside(self, other: &Plot) -> Self {
        Plot { end: self.end.max(other.end), most: self.most.max(other.most), ..self }
    }

    /// Where a moment is.
    pub fn x(&self, at: Millis) -> f64 {
        self.frame.left + self.frame.width * at as f64 / self.end as f64
    }

    /// Where a number of pods is.
    pub fn y(&self, pods: i64) -> f64 {
        self.frame.top + self.frame.height * (1.0 - pods as f64 / self.most as f64)
    }

    /// The pods of one layer.
    pub fn layer(&self, layer: usize) -> String {
        let class = LAYERS.get(layer).map_or("", |(class, _)| class);
        format!("<path class=\"{class}\" d=\"{}\"/>", self.area(layer))
    }

    /// Whether the layer has a pod at any moment.
    pub fn is_seen(&self, layer: usize) -> bool {
        PODS.get(layer).is_some_and(|pods| self.forecast.steps.iter().any(|step| pods(step) > 0))
    }

    /// The line at the pods that are asked for.
    pub fn asked(&self) -> String {
        let Frame { left, width, digits, .. } = self.frame;
        let (asked, right) = (self.y(self.forecast.replicas.into()), left + width);
        format!("<path class=\"asked\" d=\"M{left} {asked:.digits$}H{right}\"/>")
    }

    /// The numbers of pods that are written beside it.
    pub fn marks(&self) -> Vec<i64> {
        let replicas = self.forecast.replicas.into();
        let mut marks = vec![0, replicas];
        // Not on top of one another.
        if self.y(replicas) - self.y(self.most) > 12.0 {
            marks.push(self.most);
        }
        marks
    }

    /// One layer: there along its upper edge, and back along its lower one.
    fn area(&self, layer: usize) -> String {
        let steps = text::chosen(&self.forecast.steps, self.frame.moments);
        let digits = self.frame.digits;
        let height = |step: &Step, layers: usize| PODS.iter().take(layers).map(|pods| pods(step)).sum();
        let ends = steps.iter().skip(1).map(|step| step.at).chain([self.end]);
        let spans: Vec<(&Step, Millis)> = steps.iter().zip(ends).collect();
        let edge = |(step, end): &(&Step, Millis), layers, from_end: bool| {
            let second = self.x(if from_end { step.at } else { *end });
            let y = self.y(height(step, layers));
            format!("V{y:.digits$}H{second:.digits$}")
        };
        let there = spans.iter().map(|span| edge(span, layer + 1, false));
        let back = spans.iter().rev().map(|span| edge(span, layer, true));
        let path: String = there.chain(back).collect();
        let Frame { left, top, height, .. } = self.frame;
        format!("M{left} {}{path}Z", top + height)
    }
}
