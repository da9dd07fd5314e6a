"""What is seen of a page on a screen: scripts that a browser runs, and contrast."""

import re

import numpy as np

# Of each cell of the tables, behind a sticky first column or not: whether a part of it is cut.
CUT = """() => [...document.querySelectorAll(".wide")].flatMap(box => {
  const table = box.querySelector("table.sortable");
  if (!table) return [];
  const frame = box.getBoundingClientRect(), rows = [...table.rows];
  const sticky = box.classList.contains("paged");
  const left = sticky && box.clientWidth > rows[0].cells[0].offsetWidth
    ? rows[0].cells[0].getBoundingClientRect().right : frame.left;
  return rows.flatMap(row => [...row.cells].slice(1)).filter(cell => {
    const own = cell.getBoundingClientRect();
    const hidden = own.right <= left + 1 || own.left >= frame.right - 1;
    return !hidden && (own.left < left - 1 || own.right > frame.right + 1);
  }).map(cell => cell.textContent);
})"""
# Title and ranges of each chart, its frame in pixels, and the ends of its error bars.
FRAMES = """() => {
  const found = [];
  const walk = view => {
    if (view.frame) {
      const m = view.model, box = view.frame.bbox;
      const range = r => [r.start, r.end];
      const bars = m.renderers.filter(r => r.data_source && r.data_source.data.low)
        .flatMap(r => [...r.data_source.data.low, ...r.data_source.data.high]);
      found.push({axis: m.below[0]?.axis_label?.text, x: range(m.x_range), y: range(m.y_range),
                  width: box.width, height: box.height, bars, title: m.title?.text});
    }
    for (const child of view.child_views ?? []) walk(child);
  };
  for (const view of Object.values(Bokeh.index)) walk(view);
  return found;
}"""
# Of the rows of traversals: the middles of their names, and of the rows themselves, in pixels.
ROWS = """() => {
  const sheet = document.querySelector(".images:not([hidden]) .sheet:has(ol)");
  const image = sheet.querySelector("img").getBoundingClientRect();
  const names = [...sheet.querySelectorAll("li")], high = image.height / names.length;
  return names.map((name, i) => {
    const own = name.getBoundingClientRect();
    return [name.textContent, (own.top + own.bottom) / 2, image.top + (i + 0.5) * high, own.right,
            image.left];
  });
}"""


def luminance(colour):
    """Of "rgb(118, 118, 118)", 0 to 1 (WCAG 2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
