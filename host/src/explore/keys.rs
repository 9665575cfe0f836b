//! What keys do.

use std::path::PathBuf;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::{Focus, Mode, State};

/// The keys and what they do, for the help.
pub const HELP: [(&str, &str); 13] = [
    ("Tab", "go to the other list"),
    ("↑ ↓, j k", "select the entry above or below"),
    ("PgUp PgDn, Home End", "select further away"),
    ("→ ←, l h, Enter", "open or close a directory"),
    ("m", "the image after the selected layer, or only its changes"),
    ("s", "sort by size or by name"),
    ("/", "show only names with a text; with a slash, paths"),
    ("Esc", "leave a prompt, forget the text"),
    ("e", "export the selected file"),
    ("c", "the findings of check"),
    ("?", "this help"),
    ("q", "end"),
    ("Ctrl-C", "end with exit code 130"),
];

/// A file and the place to export it to.
pub struct FileExport {
    /// Number of the layer that has the content, from 0.
    pub layer: usize,
    /// Its path there.
    pub path: Vec<u8>,
    /// The place.
    pub to: PathBuf,
}

/// What the caller does after a key.
pub enum KeyAction {
    /// Draw again.
    Stay,
    /// End the view.
    End,
    /// End as SIGINT does.
    Interrupt,
    /// Export a file.
    Export(FileExport),
}

/// Applies a key.
pub fn press(key: KeyEvent, state: &mut State<'_>) -> KeyAction {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if is_control && key.code == KeyCode::Char('c') {
        return KeyAction::Interrupt;
    }
    match &mut state.mode {
        Mode::Browse if !is_control => return browse(key.code, state),
        Mode::Browse => {}
        Mode::Help => state.mode = Mode::Browse,
        Mode::Findings => findings(key.code, state),
        Mode::Filter => match key.code {
            KeyCode::Enter => state.mode = Mode::Browse,
            KeyCode::Esc => {
                state.mode = Mode::Browse;
                state.set_filter(String::new());
            }
            KeyCode::Char('u') if is_control => state.set_filter(String::new()),
            code if !is_control => {
                let mut text = state.filter().to_owned();
                edit(&mut text, code);
                state.set_filter(text);
            }
            _ => {}
        },
        Mode::Export(name) => match key.code {
            KeyCode::Esc => state.mode = Mode::Browse,
            KeyCode::Enter if !name.is_empty() => {
                let to = PathBuf::from(std::mem::take(name));
                state.mode = Mode::Browse;
                if let Some((layer, path)) = state.selected_content() {
                    return KeyAction::Export(FileExport { layer, path, to });
                }
            }
            KeyCode::Char('u') if is_control => name.clear(),
            code if !is_control => edit(name, code),
            _ => {}
        },
    }
    KeyAction::Stay
}

/// Edits the text of a prompt at its end.
fn edit(text: &mut String, code: KeyCode) {
    match code {
        KeyCode::Backspace => drop(text.pop()),
        KeyCode::Char(c) => text.push(c),
        _ => {}
    }
}

/// Applies a key while no prompt is open.
fn browse(code: KeyCode, state: &mut State<'_>) -> KeyAction {
    state.tell(String::new());
    let page = state.page() as isize;
    match code {
        KeyCode::Char('q') => return KeyAction::End,
        KeyCode::Tab | KeyCode::BackTab => state.switch_focus(),
        KeyCode::Up | KeyCode::Char('k') => state.step(-1),
        KeyCode::Down | KeyCode::Char('j') => state.step(1),
        KeyCode::PageUp => state.step(-page),
        KeyCode::PageDown => state.step(page),
        KeyCode::Home | KeyCode::Char('g') => state.step(isize::MIN),
        KeyCode::End | KeyCode::Char('G') => state.step(isize::MAX),
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l' | ' ')
            if state.focus == Focus::Layers =>
        {
            state.switch_focus();
        }
        KeyCode::Enter | KeyCode::Char(' ') => state.toggle(),
        KeyCode::Right | KeyCode::Char('l') => state.open(),
        KeyCode::Left | KeyCode::Char('h') => state.close(),
        KeyCode::Char('m') => state.switch_scope(),
        KeyCode::Char('s') => state.switch_order(),
        KeyCode::Char('/') => {
            (state.mode, state.focus) = (Mode::Filter, Focus::Files);
        }
        KeyCode::Esc => state.set_filter(String::new()),
        KeyCode::Char('e') => state.begin_export(),
        KeyCode::Char('c') => (state.mode, state.first_finding) = (Mode::Findings, 0),
        KeyCode::Char('?' | 'H') | KeyCode::F(1) => state.mode = Mode::Help,
        _ => {}
    }
    KeyAction::Stay
}

/// Applies a key while the findings are shown.
fn findings(code: KeyCode, state: &mut State<'_>) {
    let page = state.finding_height.saturating_sub(1).max(1) as isize;
    match code {
        KeyCode::Up | KeyCode::Char('k') => state.scroll_findings(-1),
        KeyCode::Down | KeyCode::Char('j') => state.scroll_findings(1),
        KeyCode::PageUp => state.scroll_findings(-page),
        KeyCode::PageDown | KeyCode::Char(' ') => state.scroll_findings(page),
        KeyCode::Home | KeyCode::Char('g') => state.first_finding = 0,
        KeyCode::End | KeyCode::Char('G') => state.first_finding = usize::MAX,
        _ => state.mode = Mode::Browse,
    }
}
