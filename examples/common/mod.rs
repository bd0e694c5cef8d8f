//! What the examples share: options, errors in what was typed, files, memory, pictures.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::str::FromStr;

use sparsetape::train::{History, Progress};
use sparsetape::{Error, ErrorKind, Params, Result};

/// What was typed, by the names and defaults that the usage text states: `[--epochs 10]` is an option with a
/// default, `[--svg FILE]` one without, `[train.svm]` a file by its place.
#[derive(Debug)]
pub struct Options {
    usage: &'static str,
    values: BTreeMap<&'static str, Option<String>>,
    pub files: Vec<String>,
}

impl Options {
    /// Prints the usage and gives nothing if that is asked for.
    pub fn parse(usage: &'static str, args: Vec<String>) -> Result<Option<Options>> {
        if args.iter().any(|arg| arg == "--help" || arg == "-h") {
            println!("{usage}");
            return Ok(None);
        }
        let words = || usage.split_whitespace();
        let mut options = Options { usage, values: BTreeMap::new(), files: Vec::new() };
        for (name, default) in words().zip(words().skip(1)) {
            if let Some(name) = name.strip_prefix("[--") {
                let default = default.trim_end_matches(']');
                let stated = default.chars().any(|c| c.is_lowercase() || c.is_ascii_digit());
                options.values.insert(name, stated.then(|| default.to_owned()));
            }
        }
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--") else {
                options.files.push(arg);
                continue;
            };
            let known = options.values.get_mut(name);
            let value = known.ok_or_else(|| wrong(format!("there is no option {arg}\n{usage}")))?;
            *value = Some(args.next().ok_or_else(|| wrong(format!("{arg} of what?\n{usage}")))?);
        }
        let places = words().filter(|w| w.starts_with('[') && !w.starts_with("[--")).count();
        if let Some(extra) = options.files.get(places) {
            return Err(wrong(format!("one file too many: {extra}\n{usage}")));
        }
        if cfg!(not(feature = "plot")) && options.text("svg").is_some() {
            return Err(wrong("--svg needs the feature plot: cargo run --features plot .."));
        }
        options.start_threads()?;
        Ok(Some(options))
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_deref()
    }

    /// A number within these bounds.
    pub fn number<T>(&self, name: &str, least: T, most: T) -> Result<T>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let text = self.text(name).unwrap_or_default();
        let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
        number.ok_or_else(|| {
            let usage = self.usage;
            wrong(format!("--{name} {text:?} is not a number from {least} to {most}\n{usage}"))
        })
    }

    fn start_threads(&self) -> Result<()> {
        let threads = self.number("threads", 0, 1024)?;
        // Fails only if the pool exists already, as in tests.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        Ok(())
    }
}

/// An error in what was typed or read, not in code.
pub fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Value, message).nowhere()
}

/// Bars and lines on stderr; nothing in tests.
pub fn progress() -> Progress {
    if cfg!(test) { Progress::hidden() } else { Progress::new() }
}

/// The parameters with their bytes, and the largest resident size so far where the system tells.
pub fn print_memory(params: &Params) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib: Option<f64> = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok());
    print!("\n{params}");
    if let Some(kib) = kib {
        println!("peak memory {:.0} MB", kib / 1024.0);
    }
}

/// Draws the learning curves of this value, if a picture is asked for.
#[cfg(feature = "plot")]
pub fn save_svg(options: &Options, history: &History, name: &str) -> Result<()> {
    let Some(path) = options.text("svg") else { return Ok(()) };
    sparsetape::train::Curves::new(history).values([name]).save_svg(path)?;
    println!("drew {path}");
    Ok(())
}

/// Draws nothing: without the feature, no picture can be asked for.
#[cfg(not(feature = "plot"))]
pub fn save_svg(_: &Options, _: &History, _: &str) -> Result<()> {
    Ok(())
}

/// What `main` makes of a result.
pub fn exit<T>(result: Result<T>) -> ExitCode {
    match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
