//! Panels, axes, curves and the legend.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Curves;
use super::axis::Axis;
use crate::graph::{cell, cut};
use crate::train::Record;

/// Heights of a panel, and of what is below the last.
pub(super) const PANEL: u32 = 200;
pub(super) const LOWEST_PANEL: u32 = 100;
pub(super) const FOOT: u32 = 30;

const MARGIN: u32 = 14;
/// Above the curves of a panel, for its name; below them, for ticks.
const NAME: u32 = 26;
const TICKS: u32 = 22;
const LINE: u32 = 24;
/// What a letter takes.
const LETTER: u32 = 7;
const SWATCH: u32 = 22;

/// The backend has whole coordinates; curves want finer ones.
const SCALE: u32 = 4;

/// Okabe and Ito's colours, which colour-blind people tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
const INK: RGBColor = RGBColor(51, 51, 51);
const FRAME: RGBColor = RGBColor(150, 150, 150);
const GRID: RGBColor = RGBColor(230, 230, 230);

/// More points than these are not marked.
const MARKED: usize = 40;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

impl Curves<'_> {
    /// Splits that have one of the values, with the ends of their places in the legend: line, left.
    fn legend(&self, width: u32) -> Vec<(&str, u32, u32)> {
        let (mut line, mut left) = (0, MARGIN);
        let mut places = Vec::new();
        for split in self.history.splits() {
            if self.values.iter().all(|name| self.points(split, name).is_empty()) {
                continue;
            }
            let taken = SWATCH + LETTER * cell(split).chars().count() as u32 + 24;
            if left > MARGIN && left + taken > width {
                (line, left) = (line + 1, MARGIN);
            }
            places.push((split, line, left));
            left += taken;
        }
        places
    }

    /// Height of title and legend.
    pub(super) fn head(&self, width: u32) -> u32 {
        let lines = self.legend(width).last().map_or(0, |(_, line, _)| line + 1);
        MARGIN / 2 + LINE * (u32::from(!self.title.is_empty()) + lines)
    }

    fn points(&self, split: &str, name: &str) -> Vec<(f64, f64)> {
        let across = |record: &Record| if self.by_step { record.step } else { record.epoch } as f64;
        let height = |value: f64| if self.log_scale { value.log10() } else { value };
        let points = self.history.of(split).filter_map(|record| {
            let value = record.value(name)?;
            Some((across(record), height(value)))
        });
        points.filter(|(_, y)| y.is_finite()).collect()
    }

    pub(super) fn draw(&self, (width, height): (u32, u32)) -> Result<String, Box<dyn Error>> {
        let mut text = String::new();
        let root = SVGBackend::with_string(&mut text, (width * SCALE, height * SCALE));
        let root = root.into_drawing_area();
        root.fill(&WHITE)?;
        self.draw_head(&root, width)?;
        let top = self.head(width);
        let panel = (height - top - FOOT) / self.values.len() as u32;
        let panels = self.panels(width, panel);
        let across = panels.iter().flat_map(|panel| &panel.curves).flatten().map(|point| point.0);
        let across = Axis::whole(across, f64::from(width) / 80.0);
        // Their vertical axes are one above the other.
        let letters = panels.iter().map(|panel| panel.up.widest()).max().unwrap_or(0);
        let left = MARGIN + LETTER * letters + 10;
        for (k, shown) in (0..).zip(panels) {
            let area = root.clone();
            let area = area.shrink((0, (top + k * panel) * SCALE), (width * SCALE, panel * SCALE));
            shown.draw(&area, left, across.clone())?;
        }
        let what = if self.by_step { "step" } else { "epoch" };
        let middle = place((left + width - 2 * MARGIN) / 2, height - FOOT / 2 - 2);
        root.draw_text(what, &style(13, HPos::Center), middle)?;
        root.present()?;
        drop(root);
        let size =
            |scale: u32| format!("width=\"{}\" height=\"{}\"", width * scale, height * scale);
        Ok(text.replacen(&size(SCALE), &size(1), 1))
    }

    fn draw_head(&self, root: &Area<'_>, width: u32) -> Drawn {
        let mut top = MARGIN / 2;
        if !self.title.is_empty() {
            let middle = place(width / 2, top + LINE / 2);
            let title = cut(&self.title, (width / 9) as usize);
            root.draw_text(&title, &style(16, HPos::Center), middle)?;
            top += LINE;
        }
        for (k, (split, line, left)) in self.legend(width).into_iter().enumerate() {
            let middle = top + line * LINE + LINE / 2;
            let (from, to) = (place(left, middle - 2), place(left + SWATCH, middle + 2));
            root.draw(&Rectangle::new([from, to], colour(k).filled()))?;
            let beside = place(left + SWATCH + 8, middle);
            root.draw_text(&cell(split), &style(13, HPos::Left), beside)?;
        }
        Ok(())
    }

    fn panels(&self, width: u32, height: u32) -> Vec<Panel> {
        let ticks = f64::from(height - NAME - TICKS) / 28.0;
        let splits: Vec<&str> = self.legend(width).into_iter().map(|place| place.0).collect();
        let panel = |name: &String| {
            let curves: Vec<_> = splits.iter().map(|split| self.points(split, name)).collect();
            let heights = curves.iter().flatten().map(|point| point.1);
            let up = match self.log_scale {
                true => Axis::logarithmic(heights, ticks),
                false => Axis::linear(heights, ticks),
            };
            Panel { name: cell(name), curves, up }
        };
        self.values.iter().map(panel).collect()
    }
}

/// One value: a curve, maybe without points, of each split in the legend.
struct Panel {
    name: String,
    curves: Vec<Vec<(f64, f64)>>,
    up: Axis,
}

impl Panel {
    fn draw(self, area: &Area<'_>, left: u32, across: Axis) -> Drawn {
        area.draw_text(&self.name, &style(14, HPos::Left), place(MARGIN, NAME / 2))?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(NAME * SCALE)
            .margin_right(2 * MARGIN * SCALE)
            .set_label_area_size(LabelAreaPosition::Left, left * SCALE)
            .set_label_area_size(LabelAreaPosition::Bottom, TICKS * SCALE)
            .build_cartesian_2d(across, self.up)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(SCALE))
            .light_line_style(TRANSPARENT)
            .axis_style(FRAME.stroke_width(SCALE))
            .label_style(("sans-serif", 12 * SCALE, &INK))
            .set_all_tick_mark_size(4 * SCALE)
            .draw()?;
        for (k, curve) in self.curves.into_iter().enumerate() {
            if curve.len() <= MARKED {
                let mark = |&point: &_| Circle::new(point, 5 * SCALE / 2, colour(k).filled());
                chart.draw_series(curve.iter().map(mark))?;
            }
            chart.draw_series(LineSeries::new(curve, colour(k).stroke_width(2 * SCALE)))?;
        }
        Ok(())
    }
}

fn colour(k: usize) -> RGBColor {
    COLOURS[k % COLOURS.len()]
}

fn place(left: u32, top: u32) -> (i32, i32) {
    ((left * SCALE) as i32, (top * SCALE) as i32)
}

fn style(size: u32, at: HPos) -> TextStyle<'static> {
    ("sans-serif", size * SCALE, &INK).into_text_style(&(0, 0)).pos(Pos::new(at, VPos::Center))
}
