//! Drawing the view: two lists side by side, or one of them where the terminal is narrow; below them what is selected,
//! and the keys.
//!
//! Text of an image goes through [`shown`]: it has no control characters, and it is cut at the edge.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::findings;
use super::keys::HELP;
use super::state::{Focus, Mode, Scope, State, TreeRow};
use occystrap_base::error::printable;
use occystrap_base::terminal::size::size;
use occystrap_base::terminal::summary::amount;
use occystrap_base::terminal::table::cut;
use occystrap_images::check::Severity;
use occystrap_images::usage::tree::{Effect, NodeKind};
use occystrap_layer::overlay::Fate;

/// Smallest terminal that is drawn on.
const SMALLEST: (u16, u16) = (24, 6);

/// Columns from which both lists are drawn.
const BOTH: u16 = 72;

/// Lines from which what is selected is described.
const DESCRIBED: u16 = 14;

/// Draws everything.
pub fn all(frame: &mut Frame<'_>, state: &mut State<'_>) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let (width, height) = SMALLEST;
        let text = format!("Make it {width}x{height} or larger; q ends");
        frame.render_widget(Paragraph::new(cut(&text, area.width.into())), area);
        return;
    }
    let details = if area.height >= DESCRIBED { 4 } else { 0 };
    let line = |y: u16| Rect { x: 0, y, width: area.width, height: 1 };
    title(frame, state, line(0));
    let body = Rect { x: 0, y: 1, width: area.width, height: area.height - 3 - details };
    match area.width >= BOTH {
        true => {
            let left = (body.width * 2 / 5).min(64);
            layers(frame, state, Rect { width: left, ..body });
            let rest = Rect { x: left + 1, width: body.width - left - 1, ..body };
            files(frame, state, rest);
        }
        false if state.focus == Focus::Layers => layers(frame, state, body),
        false => files(frame, state, body),
    }
    if details > 0 {
        let place = Rect { x: 0, y: body.y + body.height, width: area.width, height: details };
        describe(frame, state, place);
    }
    prompt(frame, state, line(area.height - 2));
    keys(frame, state, line(area.height - 1));
    match state.mode {
        Mode::Help => help(frame, area),
        Mode::Findings => findings(frame, state, area),
        _ => {}
    }
}

/// Returns text of an image that cannot drive the terminal, as much as fits.
fn shown(text: &str, room: u16) -> String {
    cut(&printable(text), room.into())
}

/// Returns a style with a colour, unless colours are not wanted (no-color.org).
fn coloured(colour: Color) -> Style {
    match std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        true => Style::new(),
        false => Style::new().fg(colour),
    }
}

fn write(frame: &mut Frame<'_>, area: Rect, text: impl Into<Line<'static>>) {
    frame.render_widget(Paragraph::new(text.into()), area);
}

/// Draws the name of the image and its sums.
fn title(frame: &mut Frame<'_>, state: &State<'_>, area: Rect) {
    let image = state.image();
    let survey = &image.survey;
    let wasted = match survey.known_wasted() {
        Some(bytes) => format!("{} wasted", size(bytes)),
        None => "waste not known".to_owned(),
    };
    let platform = match image.platform.as_str() {
        "" => String::new(),
        platform => format!("{platform}  "),
    };
    let mut text = format!("{}  {platform}{} of files, {wasted}", image.name, survey.size_text());
    for (severity, one, several) in [
        (Severity::Error, "error", "errors"),
        (Severity::Unchecked, "unchecked", "unchecked"),
        (Severity::Warning, "warning", "warnings"),
    ] {
        match image.findings.count(severity) {
            0 => {}
            number => text += &format!(", {}", amount(number as u64, one, several)),
        }
    }
    let style = Style::new().add_modifier(Modifier::BOLD);
    write(frame, area, Line::styled(shown(&text, area.width), style));
}

/// Returns the style of a heading: that of the list with the keys stands out.
fn heading(has_keys: bool) -> Style {
    let style = Style::new().add_modifier(Modifier::BOLD);
    if has_keys { style.add_modifier(Modifier::UNDERLINED) } else { style }
}

/// Returns the first entry to draw, so that the selected one is on the screen.
fn first(first: usize, selected: usize, height: usize) -> usize {
    let lowest = (selected + 1).saturating_sub(height);
    first.clamp(lowest, selected.max(lowest))
}

/// Returns the style of an entry.
fn entry_style(is_selected: bool, has_keys: bool) -> Style {
    match (is_selected, has_keys) {
        (true, true) => Style::new().add_modifier(Modifier::REVERSED),
        (true, false) => Style::new().add_modifier(Modifier::BOLD),
        (false, _) => Style::new(),
    }
}

/// Draws the list of layers.
fn layers(frame: &mut Frame<'_>, state: &mut State<'_>, area: Rect) {
    let has_keys = state.focus == Focus::Layers;
    let line = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    let text = format!(" {:>3} {:>9} {:>9} {}", "#", "size", "wasted", "layer");
    write(frame, line(0), Line::styled(cut(&text, area.width.into()), heading(has_keys)));
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    state.first_layer = first(state.first_layer, state.layer, height);
    let all = &state.image().survey.layers;
    for (y, layer) in (1..).zip(all.iter().skip(state.first_layer).take(height)) {
        let is_selected = layer.index == state.layer;
        let mark = if is_selected { '>' } else { ' ' };
        // What is not known is not 0.
        let wasted = match (layer.is_waste_known, layer.wasted) {
            (false, _) => "?".to_owned(),
            (true, 0) => String::new(),
            (true, bytes) => size(bytes),
        };
        let bytes = if layer.is_read { size(layer.size) } else { "?".to_owned() };
        let made_by = layer.created_by.as_deref().unwrap_or("-");
        let number = layer.index + 1;
        let text = format!("{mark}{number:>3} {bytes:>9} {wasted:>9} {made_by}");
        let style = entry_style(is_selected, has_keys);
        write(frame, line(y), Line::styled(shown(&text, area.width), style));
    }
}

/// Draws the tree.
fn files(frame: &mut Frame<'_>, state: &mut State<'_>, area: Rect) {
    let has_keys = state.focus == Focus::Files;
    let line = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    let (layer, all) = (state.layer + 1, state.image().survey.layers.len());
    let mut text = match state.scope {
        Scope::Merged if layer == all => "The image".to_owned(),
        Scope::Merged => format!("The image after layer {layer} of {all}"),
        Scope::Changes => format!("Changes of layer {layer}"),
    };
    text += if state.by_size { ", by size" } else { ", by name" };
    if !state.filter().is_empty() {
        text += &format!(", with '{}'", state.filter());
    }
    write(frame, line(0), Line::styled(shown(&text, area.width), heading(has_keys)));
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    state.height = height;
    state.first_row = first(state.first_row, state.row, height);
    if state.rows().is_empty() {
        let text = if state.filter().is_empty() { "(nothing)" } else { "(no name has the text)" };
        write(frame, line(1), text);
    }
    let rows = state.rows().iter().enumerate().skip(state.first_row).take(height);
    for (y, (number, row)) in (1..).zip(rows) {
        let style = entry_style(number == state.row, has_keys);
        write(frame, line(y), row_line(state, row, area.width).style(style));
    }
}

/// Returns the line of a row.
fn row_line(state: &State<'_>, row: &TreeRow, room: u16) -> Line<'static> {
    let tree = &state.image().survey.tree;
    let (mark, colour) = match row.effect {
        Some(Effect::Added) => ('A', Some(Color::Green)),
        Some(Effect::Replaced) => ('M', Some(Color::Yellow)),
        Some(Effect::Deleted) => ('D', Some(Color::Red)),
        None if row.is_changed => ('~', Some(Color::Yellow)),
        None => (' ', None),
    };
    let bytes = match row.is_gone {
        true => format!("-{}", size(row.size)),
        false => size(row.size),
    };
    let version = tree.at(row.node, state.layer);
    let is_folder =
        row.open.is_some() || version.is_some_and(|one| one.kind == NodeKind::Directory);
    let handle = match row.open {
        Some(true) => "▾ ",
        Some(false) => "▸ ",
        None => "  ",
    };
    let name = String::from_utf8_lossy(tree.name(row.node)).into_owned();
    let end = match version.map(|version| version.kind) {
        _ if is_folder => "/",
        Some(NodeKind::Symlink) => "@",
        _ => "",
    };
    // Deep trees stay readable: what is left of the line shows the name.
    let indent = " ".repeat((row.depth * 2).min(usize::from(room / 3)));
    let text = shown(&format!(" {bytes:>9} {indent}{handle}{name}{end}"), room.saturating_sub(1));
    let style = colour.map_or(Style::new(), coloured);
    Line::from(vec![Span::styled(mark.to_string(), style), Span::styled(text, style)])
}

/// Describes the selected layer and the selected path.
fn describe(frame: &mut Frame<'_>, state: &State<'_>, area: Rect) {
    let line = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    let rule = "─".repeat(area.width.into());
    write(frame, line(0), Line::styled(rule, Style::new().add_modifier(Modifier::DIM)));
    if let Some(layer) = state.image().survey.layers.get(state.layer) {
        let made_by = layer.created_by.as_deref().unwrap_or("-");
        let text = format!("Layer {}: {made_by}", layer.index + 1);
        write(frame, line(1), shown(&text, area.width));
        let mut text = format!("  {} of files", layer.size_text());
        if let Some(stored) = layer.stored {
            text += &format!(", {} stored", size(stored));
        }
        if !layer.is_read {
            text += ", could not be read to the end";
        }
        for (number, what) in
            [(layer.added, "added"), (layer.replaced, "replaced"), (layer.deleted, "deleted")]
        {
            if number > 0 && layer.is_effect_known {
                text += &format!(", {number} {what}");
            }
        }
        if layer.freed > 0 && layer.is_effect_known {
            text += &format!(", deletes {} of lower layers", size(layer.freed));
        }
        write(frame, line(2), shown(&text, area.width));
    }
    if let Some(node) = state.selected() {
        write(frame, line(3), shown(&fate(state, node), area.width));
    }
}

/// Returns a path, and what the layers do to it.
fn fate(state: &State<'_>, node: occystrap_images::usage::tree::NodeId) -> String {
    let tree = &state.image().survey.tree;
    let mut text = format!("/{}", String::from_utf8_lossy(&tree.path(node)));
    let mut parts = Vec::new();
    for version in tree.versions(node).iter().filter(|one| one.kind != NodeKind::Directory) {
        let mut part = format!("layer {}", version.layer + 1);
        match version.fate {
            Fate::Present => {}
            Fate::Deleted(by) => part += &format!(", deleted by {}", by + 1),
            Fate::Replaced(by) => part += &format!(", replaced by {}", by + 1),
        }
        if version.kind == NodeKind::HardLink
            && let Some((target, _)) = tree.content(version)
        {
            let target = String::from_utf8_lossy(&tree.path(target)).into_owned();
            part += &format!(", a hard link to /{target}");
        }
        parts.push(part);
    }
    if !parts.is_empty() {
        text += &format!("  ({})", parts.join("; "));
    }
    text
}

/// Draws the open prompt, or the last message.
fn prompt(frame: &mut Frame<'_>, state: &State<'_>, area: Rect) {
    let (label, text) = match &state.mode {
        Mode::Filter => ("Show names with: ", state.filter()),
        Mode::Export(name) => ("Export to: ", name.as_str()),
        Mode::Browse | Mode::Help | Mode::Findings => {
            return write(frame, area, shown(state.message(), area.width));
        }
    };
    // The end of the text is where it is edited.
    let room = usize::from(area.width).saturating_sub(label.len() + 2);
    let text = printable(text);
    let hidden = text.chars().count().saturating_sub(room);
    let text: String = text.chars().skip(hidden).collect();
    let line = cut(&format!("{label}{text}▏"), area.width.into());
    write(frame, area, Line::styled(line, Style::new().add_modifier(Modifier::BOLD)));
}

/// Draws the most important keys.
fn keys(frame: &mut Frame<'_>, state: &State<'_>, area: Rect) {
    let text = match &state.mode {
        Mode::Browse => {
            "q end  Tab list  ↑↓→← move  m changes  / filter  e export  c check  ? help"
        }
        Mode::Filter => "Enter keep  Esc forget  Ctrl-U clear",
        Mode::Export(_) => "Enter export  Esc leave  Ctrl-U clear",
        Mode::Help => "any key closes the help",
        Mode::Findings => "↑↓ PgUp PgDn move  any other key closes the findings",
    };
    let style = Style::new().add_modifier(Modifier::DIM);
    write(frame, area, Line::styled(cut(text, area.width.into()), style));
}

/// Draws the help over everything but the keys.
fn help(frame: &mut Frame<'_>, area: Rect) {
    let area = Rect { height: area.height - 1, ..area };
    frame.render_widget(Clear, area);
    let title = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = vec![Line::styled("Keys", title)];
    for (key, what) in HELP {
        lines.push(cut(&format!("  {key:<20} {what}"), area.width.into()).into());
    }
    lines.push("".into());
    let marks = "A added, M replaced, D deleted, ~ changed below: by the selected layer";
    lines.push(cut(&format!("  {marks}"), area.width.into()).into());
    frame.render_widget(Paragraph::new(lines), area);
}

/// Draws the findings of `check` over everything but the keys.
fn findings(frame: &mut Frame<'_>, state: &mut State<'_>, area: Rect) {
    let area = Rect { height: area.height - 1, ..area };
    frame.render_widget(Clear, area);
    let lines = findings::lines(&state.image().findings, area.width.into());
    state.finding_height = area.height.into();
    let most = lines.len().saturating_sub(area.height.into());
    state.first_finding = state.first_finding.min(most);
    let style = |heading: bool| match heading {
        true => Style::new().add_modifier(Modifier::BOLD),
        false => Style::new(),
    };
    let shown = lines.into_iter().skip(state.first_finding).take(area.height.into());
    let shown: Vec<Line<'static>> =
        shown.map(|line| Line::styled(line.text, style(line.is_heading))).collect();
    frame.render_widget(Paragraph::new(shown), area);
}
