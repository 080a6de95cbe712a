//! Figures in rows, and whether they are what they should be.

use std::time::Duration;

/// A table on stdout, its first column to the left and all others to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        let head = head.iter().map(ToString::to_string).collect();
        Self { rows: vec![head] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    #[expect(clippy::print_stdout, reason = "what a bench is for")]
    pub(crate) fn print(&self, title: &str) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(String::len).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        println!("\n{title}");
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let cell = match column {
                    0 => format!("  {cell:width$}"),
                    _ => format!("  {cell:>width$}"),
                };
                line.push_str(&cell);
            }
            println!("{line}");
        }
    }
}

/// One line for a target: what it is, and whether it is met.
#[expect(clippy::print_stdout, reason = "what a bench is for")]
pub(crate) fn verdict(met: bool, what: &str) {
    let met = if met { "met" } else { "NOT met" };
    println!("  => {met}: {what}");
}

/// The least, the median and the most.
pub(crate) fn spread<T: Copy + PartialOrd>(values: &[T]) -> [T; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    [
        sorted[0],
        sorted[sorted.len() / 2],
        sorted[sorted.len() - 1],
    ]
}

pub(crate) fn median<T: Copy + PartialOrd>(values: &[T]) -> T {
    spread(values)[1]
}

pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}
