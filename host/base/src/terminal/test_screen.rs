//! A terminal for tests: it keeps the lines that were drawn.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::TermLike;

/// The lines of a terminal, the line of its cursor, and the number of its columns.
#[derive(Debug, Clone, Default)]
pub struct TestScreen(Arc<Mutex<(Vec<String>, usize)>>, u16);

impl TestScreen {
    fn at<T>(&self, act: impl FnOnce(&mut Vec<String>, &mut usize) -> T) -> io::Result<T> {
        let mut screen = self.0.lock().unwrap();
        let (lines, row) = &mut *screen;
        if lines.len() <= *row {
            lines.resize(*row + 1, String::new());
        }
        Ok(act(lines, row))
    }

    /// Returns an empty screen with this number of columns.
    pub fn of(columns: u16) -> Self {
        Self(Arc::default(), columns)
    }

    /// Returns the number of characters of the longest line.
    pub fn widest(&self) -> usize {
        let lines = self.0.lock().unwrap().0.clone();
        lines.iter().map(|line| line.chars().count()).max().unwrap()
    }

    /// Waits until the bars are drawn, and returns all lines that are not empty.
    pub fn lines(&self) -> Vec<String> {
        std::thread::sleep(Duration::from_millis(20));
        let screen = self.0.lock().unwrap();
        let lines = screen.0.iter().map(|line| line.trim().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }
}

impl TermLike for TestScreen {
    fn width(&self) -> u16 {
        self.1
    }
    fn height(&self) -> u16 {
        20
    }
    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.at(|_, row| *row = row.saturating_sub(n))
    }
    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.at(|_, row| *row += n)
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.move_cursor_down(1)
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        let columns = usize::from(self.1);
        self.at(|lines, row| {
            // A terminal continues in the next line when a line is full.
            if lines[*row].chars().count() >= columns && !text.is_empty() {
                *row += 1;
                lines.resize(lines.len().max(*row + 1), String::new());
            }
            lines[*row].push_str(text);
        })
    }
    fn clear_line(&self) -> io::Result<()> {
        self.at(|lines, row| lines[*row].clear())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
