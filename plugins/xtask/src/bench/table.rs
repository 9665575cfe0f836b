//! Tables in Markdown, so that the output can be copied into docs/performance.md.

use std::fmt;

/// A table. The first column contains words, the others contain numbers.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let empty = String::new();
        let cell = |row: &Vec<String>, column| row.get(column).unwrap_or(&empty).clone();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| cell(row, column).chars().count()).max())
            .map(|width| width.unwrap_or(0).max(3))
            .collect();
        for (index, row) in self.rows.iter().enumerate() {
            write!(f, "|")?;
            for (column, &width) in widths.iter().enumerate() {
                let text = cell(row, column);
                match column {
                    0 => write!(f, " {text:<width$} |")?,
                    _ => write!(f, " {text:>width$} |")?,
                }
            }
            writeln!(f)?;
            if index == 0 {
                write!(f, "|")?;
                for (column, &width) in widths.iter().enumerate() {
                    let line = "-".repeat(width - 1);
                    match column {
                        0 => write!(f, " {line}- |")?,
                        _ => write!(f, " {line}: |")?,
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Returns a number of bytes as MiB.
pub fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["what", "s"]);
        table.row(vec!["a long one".into(), "1.25".into()]);
        assert_eq!(
            table.to_string(),
            "| what       |    s |\n| ---------- | ---: |\n| a long one | 1.25 |\n"
        );
    }
}
