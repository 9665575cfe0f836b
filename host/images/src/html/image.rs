//! The parts of a page that describe one image, without its findings.

use super::map::{Bytes, Canvas};
use super::text::{LONGEST_TEXT, add, count, escaped, path};
use crate::info::history::{HistoryStep, of_view, shorten};
use crate::source::view::View;
use crate::usage::tree::NodeId;
use crate::usage::{Survey, SurveyedLayer};
use occystrap_base::terminal::size::size;

/// Most layers with a map, the largest ones. The others are in the table only.
const MOST_LAYER_MAPS: usize = 40;

/// Most rows in the tables of files, of wasted files and of directories with waste.
const MOST_FILES: usize = 20;

/// Most steps of the history that are shown.
const MOST_STEPS: usize = 400;

/// The map of an image on a wide screen. It is hidden on a narrow one, where its labels would be too small.
const WIDE: Canvas = Canvas { width: 1_120, height: 540, class: "wide" };

/// The map of an image on a narrow screen.
const NARROW: Canvas = Canvas { width: 420, height: 540, class: "narrow" };

/// The map of a layer.
const LAYER: Canvas = Canvas { width: 420, height: 230, class: "" };

/// Returns the facts below the title.
pub fn facts(view: &View, survey: &Survey) -> String {
    let mut html = String::from("<dl>\n");
    let digest = view.manifest.as_ref().map(|manifest| manifest.digest.to_string());
    let id = view.config.promised.digest.map(|digest| digest.to_string());
    let created = view.config.document["created"].as_str().map(str::to_owned);
    let known = [("Manifest", digest), ("Image ID", id), ("Created", created)];
    for (label, value) in known {
        if let Some(value) = value {
            let value = escaped(&value, 200);
            add(&mut html, format_args!("<dt>{label}</dt><dd><code>{value}</code></dd>\n"));
        }
    }
    let layers = count(survey.layers.len(), "layer", "layers");
    let bytes = survey.size_text();
    add(&mut html, format_args!("<dt>Files</dt><dd>{bytes} in {layers}</dd>\n"));
    let wasted = match survey.known_wasted() {
        None => "not known".to_owned(),
        Some(0) => "nothing".to_owned(),
        Some(bytes) => format!("{} ({})", size(bytes), percent(bytes, survey.size)),
    };
    add(&mut html, format_args!("<dt>Wasted</dt><dd>{wasted}</dd>\n"));
    html += "</dl>\n";
    if let Some(unread) = survey.unread_text() {
        add(
            &mut html,
            format_args!(
                "<p class=\"warning\">Not all is known: {unread} to the end. Files that were not read are missing in the maps, and what was not read may delete or replace others.</p>\n"
            ),
        );
    }
    if survey.incomplete {
        html += "<p class=\"warning\">The image has more members than are kept: all numbers are too small.</p>\n";
    }
    html
}

/// Returns the map of all layers together, and the largest files below it.
pub fn merged(survey: &Survey) -> String {
    let bytes = Bytes::of(&survey.tree, None);
    let mut html = String::from("<h2>Where the bytes are</h2>\n");
    if bytes.whole() == 0 && !survey.unread.is_empty() {
        return html + "<p class=\"warning\">No file with content could be read.</p>\n";
    }
    if bytes.whole() == 0 {
        return html + "<p>The layers have no files with content.</p>\n";
    }
    html += "<p class=\"dim\">The files of all layers; each area is in proportion to its bytes. \
             <span class=\"key\"></span> Wasted: a later layer deletes or replaces the file, so that no container sees it. \
             Small files of a directory share an area.</p>\n";
    let label = "The files of all layers, by size";
    html += &bytes.svg(WIDE, label);
    html += &bytes.svg(NARROW, label);
    html += &largest(survey);
    html
}

/// Returns the table of the largest files.
fn largest(survey: &Survey) -> String {
    let tree = &survey.tree;
    let mut files: Vec<(u64, usize, NodeId)> = Vec::new();
    let mut all = 0_usize;
    for node in tree.nodes() {
        for version in tree.versions(node).iter().filter(|one| one.size > 0) {
            all += 1;
            let at = files.partition_point(|(known, ..)| *known >= version.size);
            if at < MOST_FILES {
                files.insert(at, (version.size, version.layer, node));
                files.truncate(MOST_FILES);
            }
        }
    }
    let mut html = String::from(
        "<h3>Largest files</h3>\n<table><tr><th class=\"n\">size</th><th class=\"n\">layer</th><th>file</th></tr>\n",
    );
    for (bytes, layer, node) in &files {
        let file = path(&String::from_utf8_lossy(&tree.path(*node)));
        add(
            &mut html,
            format_args!(
                "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td><code>{file}</code></td></tr>\n",
                size(*bytes),
                layer + 1
            ),
        );
    }
    html += "</table>\n";
    left_out(all - files.len(), "file", "files", &mut html);
    html
}

/// Returns the tables of what is wasted.
pub fn waste(survey: &Survey) -> String {
    let mut html = String::from("<h2>Waste</h2>\n");
    let files = survey.waste();
    if let Some(unread) = survey.unread_text() {
        add(&mut html, format_args!("<p class=\"warning\">Not all is known: {unread}.</p>\n"));
    }
    if files.is_empty() && !survey.unread.is_empty() {
        return html;
    }
    if files.is_empty() {
        return html + "<p class=\"good\">No layer deletes or replaces a file of another.</p>\n";
    }
    let directories = survey.waste_by_directory();
    html += "<h3>By directory</h3>\n<table><tr><th class=\"n\">wasted</th><th class=\"n\">files</th><th>directory</th></tr>\n";
    for one in directories.iter().take(MOST_FILES) {
        add(
            &mut html,
            format_args!(
                "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td><code>{}/</code></td></tr>\n",
                size(one.size),
                one.files,
                path(&String::from_utf8_lossy(&one.path))
            ),
        );
    }
    html += "</table>\n";
    left_out(directories.len().saturating_sub(MOST_FILES), "directory", "directories", &mut html);
    html += "<h3>By file</h3>\n<table><tr><th class=\"n\">size</th><th class=\"n\">layer</th><th>what became of it</th><th>file</th></tr>\n";
    for one in files.iter().take(MOST_FILES) {
        add(
            &mut html,
            format_args!(
                "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{} by layer {}</td><td><code>{}</code></td></tr>\n",
                size(one.size),
                one.layer + 1,
                one.fate,
                one.by + 1,
                path(&String::from_utf8_lossy(&one.path))
            ),
        );
    }
    html += "</table>\n";
    left_out(files.len().saturating_sub(MOST_FILES), "file", "files", &mut html);
    html
}

/// Returns a card for each layer: numbers, step and map. `number` is that of the image in the page.
pub fn layers(survey: &Survey, number: usize) -> String {
    let mut html = String::from("<h2>Layers</h2>\n");
    let mut largest: Vec<&SurveyedLayer> =
        survey.layers.iter().filter(|layer| layer.size > 0).collect();
    largest.sort_by_key(|layer| std::cmp::Reverse(layer.size));
    let without_map = largest.len().saturating_sub(MOST_LAYER_MAPS);
    largest.truncate(MOST_LAYER_MAPS);
    if without_map > 0 {
        let layers = count(without_map, "smaller layer has", "smaller layers have");
        add(&mut html, format_args!("<p class=\"dim\">{layers} no map.</p>\n"));
    }
    html += "<div class=\"layers\">\n";
    for layer in &survey.layers {
        let has_map = largest.iter().any(|large| large.index == layer.index);
        html += &card(survey, layer, number, has_map);
    }
    html += "</div>\n";
    html
}

/// Returns the card of a layer.
fn card(survey: &Survey, layer: &SurveyedLayer, number: usize, has_map: bool) -> String {
    let shown = layer.index + 1;
    let mut html = String::new();
    let made_by = layer.created_by.as_deref().unwrap_or("-");
    add(
        &mut html,
        format_args!(
            "<section class=\"layer\" id=\"image-{number}-layer-{shown}\"><h3>Layer {shown}: {}</h3>\n<p><code>{}</code></p>\n",
            layer.size_text(),
            escaped(made_by, LONGEST_TEXT)
        ),
    );
    let part = |bytes: u64| bytes as f64 / survey.size.max(1) as f64 * 100.0;
    add(
        &mut html,
        format_args!(
            "<div class=\"bar\"><i style=\"width:{:.2}%\"></i><i class=\"waste\" style=\"width:{:.2}%\"></i></div>\n",
            part(layer.size.saturating_sub(layer.wasted)),
            part(layer.wasted)
        ),
    );
    let mut facts = Vec::new();
    if !layer.is_read {
        facts.push("could not be read to the end".to_owned());
    }
    facts.extend(layer.stored.map(|bytes| format!("{} stored", size(bytes))));
    for (files, what) in
        [(layer.added, "added"), (layer.replaced, "replaced"), (layer.deleted, "deleted")]
    {
        if files > 0 && layer.is_effect_known {
            facts.push(format!("{} {what}", count(files as usize, "file", "files")));
        }
    }
    if layer.freed > 0 && layer.is_effect_known {
        facts.push(format!("deletes {} of lower layers", size(layer.freed)));
    }
    match (layer.is_waste_known, layer.wasted) {
        (_, 0) => {}
        (true, bytes) => facts.push(format!("{} of it wasted", size(bytes))),
        (false, bytes) => facts.push(format!("at least {} of it wasted", size(bytes))),
    }
    add(&mut html, format_args!("<p class=\"dim\">{}</p>\n", facts.join(", ")));
    if has_map {
        let bytes = Bytes::of(&survey.tree, Some(layer.index));
        html += &bytes.svg(LAYER, &format!("The files of layer {shown}, by size"));
    }
    html += "</section>\n";
    html
}

/// Returns the steps of the history.
pub fn history(view: &View, survey: &Survey, number: usize) -> String {
    let steps = of_view(view);
    let mut html = String::from("<h2>Steps</h2>\n");
    if steps.is_empty() {
        return html + "<p>The image has no history.</p>\n";
    }
    html += "<ol class=\"steps\">\n";
    for step in steps.iter().take(MOST_STEPS) {
        html += &item(step, survey, number);
    }
    html += "</ol>\n";
    left_out(steps.len().saturating_sub(MOST_STEPS), "step", "steps", &mut html);
    html
}

/// Returns one step.
fn item(step: &HistoryStep, survey: &Survey, number: usize) -> String {
    let command = step.created_by.as_deref().map(shorten).unwrap_or_default();
    let command = if command.is_empty() { "(no command)" } else { &command };
    let mut html = format!("<li><code>{}</code>", escaped(command, LONGEST_TEXT));
    let mut facts = Vec::new();
    if let Some(layer) = step.layer {
        let shown = layer + 1;
        let bytes = survey.layers.get(layer).map(SurveyedLayer::size_text).unwrap_or_default();
        facts.push(format!("<a href=\"#image-{number}-layer-{shown}\">layer {shown}</a>, {bytes}"));
    } else if step.empty_layer == Some(true) {
        facts.push("no layer".to_owned());
    }
    if let Some(created) = &step.created {
        facts.push(escaped(created, 60));
    }
    if let Some(comment) = step.comment.as_ref().filter(|comment| !comment.is_empty()) {
        facts.push(escaped(comment, 200));
    }
    if !facts.is_empty() {
        add(&mut html, format_args!("<br><span class=\"dim\">{}</span>", facts.join(" · ")));
    }
    html += "</li>\n";
    html
}

/// Adds how many entries a table leaves out.
fn left_out(number: usize, one: &str, more: &str, to: &mut String) {
    if number > 0 {
        let left = count(number, &format!("more {one} is"), &format!("more {more} are"));
        add(to, format_args!("<p class=\"dim\">{left} not listed.</p>\n"));
    }
}

/// Returns a share in percent.
fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 / whole.max(1) as f64 * 100.0;
    if share < 1.0 { "less than 1 %".to_owned() } else { format!("{share:.0} %") }
}
