//! The places of a treemap: each entry gets an area in proportion to its bytes, inside the area of its folder
//! (Bruls, Huizing, van Wijk: "Squarified Treemaps", 2000).
//!
//! Areas that a reader cannot see are put together, so that the number of cells depends on the area of the map and not on
//! the number of files. This module knows nothing of images.

/// Smallest area of a cell of its own, in square units. Smaller entries of a folder share a cell.
const SMALLEST_CELL: f64 = 260.0;

/// Smallest width and height of a folder whose entries are shown.
const SMALLEST_FOLDER: (f64, f64) = (34.0, 34.0);

/// Height of the line with the name of a folder.
const HEADING: f64 = 15.0;

/// Distance between a folder's border and its entries.
const BORDER: f64 = 2.0;

/// Number of colours. The last one is for folders whose entries have colours of their own.
pub const HUES: usize = 8;

/// A folder with more than this fraction of the map, two thirds, has no colour of its own: all of the map would have it.
const DOMINANT: (u64, u64) = (2, 3);

/// A rectangle, in units of the drawing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// An entry of a folder. `K` is the key by which the entries of a folder are requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreemapEntry<K> {
    /// Its name; of a folder with one entry, the names of both with a slash in between.
    pub name: String,
    /// Bytes of it and of everything in it.
    pub size: u64,
    /// Those of them that no container sees.
    pub wasted: u64,
    /// The key, if it is a folder.
    pub folder: Option<K>,
    /// Its fate in a few words; may be empty.
    pub note: String,
}

/// The kind of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// A folder whose entries have cells of their own.
    Folder,
    /// A file, or a folder that is shown as one.
    Leaf,
    /// This many small entries of a folder.
    Group(usize),
}

/// A cell of the drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Its place.
    pub area: Area,
    /// Its kind.
    pub kind: CellKind,
    /// Path from the root, or the folder of a group.
    pub path: String,
    /// Its last component.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Those of them that no container sees.
    pub wasted: u64,
    /// Its fate in a few words; may be empty.
    pub note: String,
    /// Number of its colour, below [`HUES`].
    pub hue: usize,
}

/// Returns the cells of a map, each folder before its entries. `entries` returns the entries of a folder in any order;
/// `root` is its first argument.
pub fn layout<K: Copy>(
    area: Area,
    root: K,
    entries: &mut dyn FnMut(K) -> Vec<TreemapEntry<K>>,
) -> Vec<Cell> {
    let mut map = Map { cells: Vec::new(), hues: 0, whole: 0, entries };
    map.fill(area, root, "", None);
    map.cells
}

/// A map that is being made.
struct Map<'a, K> {
    cells: Vec<Cell>,
    /// Number of colours that were given.
    hues: usize,
    /// Bytes of the whole map.
    whole: u64,
    entries: &'a mut dyn FnMut(K) -> Vec<TreemapEntry<K>>,
}

impl<K: Copy> Map<'_, K> {
    /// Adds the cells of the entries of a folder. `hue` is the colour of all of them, if they have no own ones.
    fn fill(&mut self, area: Area, folder: K, path: &str, hue: Option<usize>) {
        let mut listed = (self.entries)(folder);
        listed.retain(|entry| entry.size > 0);
        let whole: u64 = listed.iter().map(|entry| entry.size).sum();
        if whole == 0 || area.width <= 0.0 || area.height <= 0.0 {
            return;
        }
        self.whole = self.whole.max(whole);
        let scale = area.width * area.height / whole as f64;
        let shown = grouped(listed, scale);
        let sizes: Vec<f64> = shown.iter().map(|(entry, _)| entry.size as f64 * scale).collect();
        let places = squarify(&sizes, area);
        for ((entry, group), area) in shown.into_iter().zip(places) {
            let entry = chain(entry, self.entries);
            let path = match (group, path.is_empty()) {
                (Some(_), _) => path.to_owned(),
                (None, true) => entry.name.clone(),
                (None, false) => format!("{path}/{}", entry.name),
            };
            let is_open = area.width >= SMALLEST_FOLDER.0 && area.height >= SMALLEST_FOLDER.1;
            let inner = entry.folder.filter(|_| is_open);
            let (hue, below) = match hue {
                Some(hue) => (hue, Some(hue)),
                None if inner.is_some() && self.is_dominant(entry.size) => (HUES - 1, None),
                None => {
                    let next = self.hues % (HUES - 1);
                    self.hues += 1;
                    (next, Some(next))
                }
            };
            self.cells.push(Cell {
                area,
                kind: match (group, inner) {
                    (Some(count), _) => CellKind::Group(count),
                    (None, Some(_)) => CellKind::Folder,
                    (None, None) => CellKind::Leaf,
                },
                path: path.clone(),
                name: entry.name,
                size: entry.size,
                wasted: entry.wasted,
                note: entry.note,
                hue,
            });
            if let Some(inner) = inner {
                let area = Area {
                    x: area.x + BORDER,
                    y: area.y + HEADING,
                    width: area.width - 2.0 * BORDER,
                    height: area.height - HEADING - BORDER,
                };
                self.fill(area, inner, &path, below);
            }
        }
    }

    fn is_dominant(&self, size: u64) -> bool {
        let (part, of) = DOMINANT;
        u128::from(size) * u128::from(of) > u128::from(self.whole) * u128::from(part)
    }
}

/// Returns entries with large enough areas, the largest first, and the small ones put together: what a container sees,
/// and what it does not see.
fn grouped<K: Copy>(
    entries: Vec<TreemapEntry<K>>,
    scale: f64,
) -> Vec<(TreemapEntry<K>, Option<usize>)> {
    let is_large = |entry: &TreemapEntry<K>| entry.size as f64 * scale >= SMALLEST_CELL;
    let (large, small): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_large);
    let mut shown: Vec<(TreemapEntry<K>, Option<usize>)> = match small.as_slice() {
        [] => Vec::new(),
        // A group of one would hide its name.
        [one] => vec![(one.clone(), None)],
        _ => {
            let (unseen, seen): (Vec<_>, Vec<_>) =
                small.into_iter().partition(|entry| entry.wasted == entry.size);
            [seen, unseen].into_iter().filter_map(together).collect()
        }
    };
    shown.extend(large.into_iter().map(|entry| (entry, None)));
    shown.sort_by(|(one, _), (other, _)| {
        other.size.cmp(&one.size).then_with(|| one.name.cmp(&other.name))
    });
    shown
}

/// Returns one entry for several.
fn together<K>(entries: Vec<TreemapEntry<K>>) -> Option<(TreemapEntry<K>, Option<usize>)> {
    let size = entries.iter().map(|entry| entry.size).sum();
    let wasted = entries.iter().map(|entry| entry.wasted).sum();
    let (name, note) = (format!("+{}", entries.len()), String::new());
    let group = TreemapEntry { name, size, wasted, folder: None, note };
    (!entries.is_empty()).then_some((group, Some(entries.len())))
}

/// Follows folders that have one entry only, and joins their names.
fn chain<K: Copy>(
    mut entry: TreemapEntry<K>,
    entries: &mut dyn FnMut(K) -> Vec<TreemapEntry<K>>,
) -> TreemapEntry<K> {
    while let Some(folder) = entry.folder {
        let mut inner = entries(folder).into_iter().filter(|inner| inner.size > 0);
        let (Some(only), None) = (inner.next(), inner.next()) else { break };
        entry = TreemapEntry { name: format!("{}/{}", entry.name, only.name), ..only };
    }
    entry
}

/// Returns a place in `area` for each size, which is its area. The sizes are sorted, the largest first, and their sum is
/// the area.
fn squarify(sizes: &[f64], area: Area) -> Vec<Area> {
    let (mut places, mut rest, mut from) = (Vec::with_capacity(sizes.len()), area, 0);
    while from < sizes.len() {
        let side = rest.width.min(rest.height).max(f64::MIN_POSITIVE);
        let mut sum = sizes[from];
        let mut to = from + 1;
        while to < sizes.len() {
            let more = sum + sizes[to];
            if worst(more, sizes[from], sizes[to], side)
                > worst(sum, sizes[from], sizes[to - 1], side)
            {
                break;
            }
            (sum, to) = (more, to + 1);
        }
        let (mut x, mut y) = (rest.x, rest.y);
        let is_column = rest.width >= rest.height;
        let thick = if to == sizes.len() {
            // The last row takes what is left, whatever was rounded before.
            if is_column { rest.width } else { rest.height }
        } else {
            sum / side
        };
        for size in &sizes[from..to] {
            let long = side * size / sum.max(f64::MIN_POSITIVE);
            match is_column {
                true => {
                    places.push(Area { x, y, width: thick, height: long });
                    y += long;
                }
                false => {
                    places.push(Area { x, y, width: long, height: thick });
                    x += long;
                }
            }
        }
        match is_column {
            true => {
                rest.x += thick;
                rest.width = (rest.width - thick).max(0.0);
            }
            false => {
                rest.y += thick;
                rest.height = (rest.height - thick).max(0.0);
            }
        }
        from = to;
    }
    places
}

/// Returns the worst ratio of the sides of a row with this sum, whose largest and smallest areas are given.
fn worst(sum: f64, largest: f64, smallest: f64, side: f64) -> f64 {
    let (square, sides) = (sum * sum, side * side);
    (sides * largest / square).max(square / (sides * smallest.max(f64::MIN_POSITIVE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAP: Area = Area { x: 0.0, y: 0.0, width: 1_000.0, height: 500.0 };

    fn file(name: &str, size: u64) -> TreemapEntry<usize> {
        TreemapEntry { name: name.into(), size, wasted: 0, folder: None, note: String::new() }
    }

    fn folder(name: &str, key: usize, size: u64) -> TreemapEntry<usize> {
        TreemapEntry { folder: Some(key), ..file(name, size) }
    }

    fn shown(folders: &[Vec<TreemapEntry<usize>>]) -> Vec<(String, u64)> {
        let cells = layout(MAP, 0, &mut |key: usize| folders[key].clone());
        cells.into_iter().map(|cell| (cell.path, cell.size)).collect()
    }

    #[test]
    fn a_folder_comes_before_its_entries_and_chains_are_one() {
        let folders = [
            vec![folder("usr", 1, 900), file("vmlinuz", 100)],
            vec![folder("lib", 2, 900)],
            vec![file("a", 500), file("b", 400)],
        ];
        let expected = [("usr/lib", 900), ("usr/lib/a", 500), ("usr/lib/b", 400), ("vmlinuz", 100)];
        assert_eq!(shown(&folders), expected.map(|(path, size)| (path.to_owned(), size)));
    }

    #[test]
    fn a_million_small_files_are_one_cell() {
        let mut small: Vec<_> = (0..100_000).map(|n| file(&format!("s{n}"), 1)).collect();
        small.push(file("large", 100_000));
        let cells = layout(MAP, 0, &mut |_: usize| small.clone());
        assert_eq!(cells.len(), 2);
        let group = cells.iter().find(|cell| cell.kind != CellKind::Leaf).unwrap();
        assert_eq!((group.kind, group.size), (CellKind::Group(100_000), 100_000));
        assert!((group.area.width * group.area.height - 250_000.0).abs() < 1.0);
        assert_eq!(layout(MAP, 0, &mut |_: usize| vec![file("empty", 0)]), []);
    }

    #[test]
    fn entries_of_a_folder_with_nearly_everything_have_colours_of_their_own() {
        let folders = [
            vec![folder("usr", 1, 900), file("vmlinuz", 100)],
            vec![file("a", 500), file("b", 400)],
        ];
        let cells = layout(MAP, 0, &mut |key: usize| folders[key].clone());
        let hues: Vec<(&str, usize)> =
            cells.iter().map(|cell| (cell.name.as_str(), cell.hue)).collect();
        assert_eq!(hues, [("usr", HUES - 1), ("a", 0), ("b", 1), ("vmlinuz", 2)]);
    }

    proptest! {
        #[test]
        fn every_cell_has_its_share_and_none_overlap(
            sizes in proptest::collection::vec(1_u64..1_000_000, 1..60)
        ) {
            let entries: Vec<_> =
                sizes.iter().enumerate().map(|(n, size)| file(&format!("{n}"), *size)).collect();
            let cells = layout(MAP, 0, &mut |_: usize| entries.clone());
            let whole: u64 = sizes.iter().sum();
            prop_assert_eq!(cells.iter().map(|cell| cell.size).sum::<u64>(), whole);
            for (at, cell) in cells.iter().enumerate() {
                let area = cell.area;
                let share = cell.size as f64 / whole as f64 * MAP.width * MAP.height;
                prop_assert!((area.width * area.height - share).abs() < share * 1e-6 + 1e-6);
                prop_assert!(area.x >= -1e-9 && area.x + area.width <= MAP.width + 1e-6);
                prop_assert!(area.y >= -1e-9 && area.y + area.height <= MAP.height + 1e-6);
                for other in &cells[at + 1..] {
                    let apart = area.x + area.width <= other.area.x + 1e-6
                        || other.area.x + other.area.width <= area.x + 1e-6
                        || area.y + area.height <= other.area.y + 1e-6
                        || other.area.y + other.area.height <= area.y + 1e-6;
                    prop_assert!(apart, "{:?} {:?}", cell, other);
                }
            }
        }
    }
}
