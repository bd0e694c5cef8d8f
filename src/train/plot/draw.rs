//! Panels, axes, curves and the legend.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Curves;
use super::axis::Axis;
use crate::graph::cell;
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
        let count = self.values.len() as u32;
        let top = self.head(width);
        let panel = (height - top - FOOT) / count;
        let splits: Vec<&str> = self.legend(width).into_iter().map(|place| place.0).collect();
        for (k, name) in (0..).zip(&self.values) {
            let last = k + 1 == count;
            let size = (width * SCALE, (panel + if last { FOOT } else { 0 }) * SCALE);
            let area = root.clone().shrink((0, (top + k * panel) * SCALE), size);
            self.draw_panel(&area, name, &splits, last)?;
        }
        root.present()?;
        drop(root);
        let scaled = |size: u32| size * SCALE;
        let (wide, high) = (scaled(width), scaled(height));
        let size = format!("width=\"{wide}\" height=\"{high}\"");
        Ok(text.replacen(&size, &format!("width=\"{width}\" height=\"{height}\""), 1))
    }

    fn draw_head(&self, root: &Area<'_>, width: u32) -> Drawn {
        let mut top = MARGIN / 2;
        if !self.title.is_empty() {
            let middle = place(width / 2, top + LINE / 2);
            root.draw_text(&cell(&self.title), &style(16, HPos::Center), middle)?;
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

    fn draw_panel(&self, area: &Area<'_>, name: &str, splits: &[&str], last: bool) -> Drawn {
        let (width, height) = area.dim_in_pixel();
        let (width, height) = (width / SCALE, height / SCALE);
        let foot = TICKS + if last { FOOT } else { 0 };
        let curves: Vec<_> = splits.iter().map(|split| self.points(split, name)).collect();
        let all = || curves.iter().flatten();
        let heights = all().map(|point| point.1);
        let ticks = f64::from(height - NAME - foot) / 40.0;
        let up = match self.log_scale {
            true => Axis::logarithmic(heights, ticks),
            false => Axis::linear(heights, ticks),
        };
        let across = Axis::whole(all().map(|point| point.0), f64::from(width) / 80.0);

        area.draw_text(&cell(name), &style(14, HPos::Left), place(MARGIN, NAME / 2))?;
        let left = MARGIN + LETTER * up.widest() + 10;
        let mut chart = ChartBuilder::on(area)
            .margin_top(NAME * SCALE)
            .margin_left(MARGIN * SCALE)
            .margin_right(2 * MARGIN * SCALE)
            .set_label_area_size(LabelAreaPosition::Left, (left - MARGIN) * SCALE)
            .set_label_area_size(LabelAreaPosition::Bottom, foot * SCALE)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(SCALE))
            .light_line_style(TRANSPARENT)
            .axis_style(FRAME.stroke_width(SCALE))
            .label_style(("sans-serif", 12 * SCALE, &INK))
            .set_all_tick_mark_size(4 * SCALE)
            .draw()?;
        if last {
            let what = if self.by_step { "step" } else { "epoch" };
            let middle = place((left + width - 2 * MARGIN) / 2, height - FOOT / 2 - 2);
            area.draw_text(what, &style(13, HPos::Center), middle)?;
        }
        for (k, curve) in curves.into_iter().enumerate() {
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
