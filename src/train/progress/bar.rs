//! A bar on a terminal.

use std::time::{Duration, Instant};

use console::{Term, measure_text_width, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Pass;
use super::figures::{brief, clock, count};

/// Shorter passes have no bar.
const PATIENCE: Duration = Duration::from_millis(500);
const BETWEEN: Duration = Duration::from_millis(100);

/// Columns of the bar itself.
const NARROWEST: usize = 10;
const WIDEST: usize = 40;

pub(super) struct Bar {
    term: Term,
    /// While it is on the screen.
    drawn: Option<ProgressBar>,
    /// When it was drawn.
    last: Option<Instant>,
    turns: usize,
}

impl Bar {
    /// None unless a person is there to see it.
    pub fn on_stderr() -> Option<Bar> {
        let visible = !ProgressDrawTarget::stderr().is_hidden();
        visible.then(|| Bar { term: Term::stderr(), drawn: None, last: None, turns: 0 })
    }

    /// Draws the pass, if it is time.
    pub fn show(&mut self, pass: &Pass) {
        let now = Instant::now();
        let due = self.last.map_or(pass.begun + PATIENCE, |last| last + BETWEEN);
        if now >= due {
            self.last = Some(now);
            self.draw(pass, now - pass.begun);
        }
    }

    #[cold]
    fn draw(&mut self, pass: &Pass, since: Duration) {
        self.turns += 1;
        let line = line(pass, since.as_secs_f64(), self.turns, self.width());
        let bar = self.drawn.get_or_insert_with(|| {
            let plain = ProgressStyle::with_template("{msg}").expect("a template");
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(plain)
        });
        bar.set_message(line);
    }

    /// Columns of the terminal, but the last: terminals differ in what they do when it is written.
    pub fn width(&self) -> usize {
        usize::from(self.term.size().1).saturating_sub(1)
    }

    pub fn clear(&mut self) {
        self.last = None;
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
        }
    }

    /// Does something while the bar is not on the screen.
    pub fn suspended(&self, act: impl FnOnce()) {
        match &self.drawn {
            Some(bar) => bar.suspend(act),
            None => act(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What is on the screen. Where it is too narrow the bar is left out, then rate, loss and time.
fn line(pass: &Pass, seconds: f64, turn: usize, width: usize) -> String {
    let rate = pass.rows as f64 / seconds;
    let part = pass.total.map(|total| (pass.rows as f64 / total.max(1) as f64).min(1.0));
    let done = match part {
        Some(part) => format!("{:>3}%", (100.0 * part) as u8),
        None => format!("{} {} rows", ["|", "/", "-", "\\"][turn % 4], count(pass.rows as f64)),
    };
    let loss = match pass.loss {
        (_, 0) => String::new(),
        (sum, rows) => format!("loss {}", brief(sum / rows as f64)),
    };
    let left = pass.total.map(|total| total.saturating_sub(pass.rows) as f64 / rate);
    let time = match left {
        Some(left) if left.is_finite() => format!("ETA {}", clock(left)),
        Some(_) => String::new(),
        None => clock(seconds),
    };
    let mut parts = [pass.what.clone(), done, format!("{} rows/s", count(rate)), loss, time];

    let figures = joined(&parts[1..], "  ");
    let taken = measure_text_width(&parts[0]) + measure_text_width(&figures) + " [] ".len();
    let room = width.saturating_sub(taken).min(WIDEST);
    match part {
        Some(part) if room >= NARROWEST => {
            return format!("{} [{}] {figures}", parts[0], arrow(part, room));
        }
        _ => {}
    }
    let fits = |parts: &[String], gap: &str| measure_text_width(&joined(parts, gap)) <= width;
    if fits(&parts, "  ") {
        return joined(&parts, "  ");
    }
    for least in 2..parts.len() {
        if !fits(&parts, " ") {
            parts[least].clear();
        }
    }
    truncate_str(&joined(&parts, " "), width, "").into_owned()
}

fn joined(parts: &[String], gap: &str) -> String {
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.map(|part| &**part).collect::<Vec<_>>().join(gap)
}

fn arrow(part: f64, width: usize) -> String {
    let done = (part * width as f64) as usize;
    let head = if done < width { ">" } else { "" };
    format!("{:<width$}", format!("{}{head}", "=".repeat(done)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(what: &str, total: Option<u64>) -> Pass {
        let mut pass = Pass::new(what, total);
        pass.advance(4_500_000, Some(0.5));
        pass.advance(0, Some(f64::NAN));
        pass.advance(500_000, None);
        pass
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let pass = pass("epoch 3/10", Some(11_000_000));
        let at = |width| line(&pass, 4.0, 1, width);
        assert_eq!(
            at(100),
            "epoch 3/10 [==================>                     ]  45%  1.2M rows/s  loss 0.5000  ETA 0:05"
        );
        assert_eq!(at(64), "epoch 3/10 [====>     ]  45%  1.2M rows/s  loss 0.5000  ETA 0:05");
        assert_eq!(at(63), "epoch 3/10   45%  1.2M rows/s  loss 0.5000  ETA 0:05");
        assert_eq!(at(50), "epoch 3/10  45% 1.2M rows/s loss 0.5000 ETA 0:05");
        assert_eq!(at(39), "epoch 3/10  45% loss 0.5000 ETA 0:05");
        assert_eq!(at(30), "epoch 3/10  45% ETA 0:05");
        assert_eq!(at(20), "epoch 3/10  45%");
        assert_eq!(at(8), "epoch 3/");
        assert_eq!(at(0), "");
        (0..200).for_each(|width| assert!(at(width).chars().count() <= width));
    }

    #[test]
    fn rows_are_counted_where_their_number_is_not_known() {
        let pass = pass("scoring", None);
        let turns: Vec<String> = (0..5).map(|turn| line(&pass, 4.0, turn, 79)).collect();
        assert_eq!(turns[0], "scoring  | 5.0M rows  1.2M rows/s  loss 0.5000  0:04");
        assert_eq!(turns[1], "scoring  / 5.0M rows  1.2M rows/s  loss 0.5000  0:04");
        assert_eq!(turns[4], turns[0]);
    }

    #[test]
    fn odd_numbers_of_rows_are_shown_too() {
        let shown = |rows, total| {
            let mut pass = Pass::new("x", Some(total));
            pass.advance(rows, None);
            line(&pass, 2.0, 1, 30)
        };
        assert_eq!(shown(0, 0), "x [>          ]   0%  0 rows/s");
        assert_eq!(shown(0, 10), "x [>          ]   0%  0 rows/s");
        assert_eq!(shown(30, 10), "x  100%  15 rows/s  ETA 0:00");
        assert!(shown(u64::MAX, u64::MAX).contains("100%"));
    }
}
