// Colours as [red, green, blue], the contrast of two of them (WCAG 2.1), and what is behind an element.
const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
const light = colour => {
  const [r, g, b] = colour.slice(0, 3).map(value => value / 255)
    .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
};
const behind = (element, view) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = rgb(view.getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const mixed = (over, opacity, under) => over.map((value, at) => value * opacity + under[at] * (1 - opacity));
// The colour of a cell of a map: its folders shine through each other.
const cell = (svg, view) => {
  const under = svg.parentElement.closest('svg.map svg') ? null : behind(svg.closest('svg.map'), view);
  const rect = svg.querySelector(':scope > rect');
  const style = view.getComputedStyle(rect);
  const opacity = Number(style.fillOpacity);
  return mixed(rgb(style.fill).slice(0, 3), opacity, under || behind(svg.closest('svg.map'), view));
};
const measure = (frame, width) => {
  const view = frame.contentWindow, page = frame.contentDocument;
  const wide = [], cut = [], faint = [];
  if (page.documentElement.scrollWidth > width) wide.push(['page', page.documentElement.scrollWidth]);
  for (const element of page.body.querySelectorAll('*')) {
    if (element.closest('svg') && !element.matches('svg.map')) continue;
    const box = element.getBoundingClientRect();
    if (box.width && box.right > width + 0.5) wide.push([element.outerHTML.slice(0, 120), box.right]);
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (own && box.width && contrast(rgb(view.getComputedStyle(element).color), behind(element, view)) < 4.5)
      faint.push(element.outerHTML.slice(0, 120));
  }
  for (const text of page.querySelectorAll('svg.map svg > text')) {
    const svg = text.parentElement, own = text.getBoundingClientRect();
    // The box of an SVG inside another one includes what it clips.
    const box = svg.querySelector(':scope > rect').getBoundingClientRect();
    if (!box.width) continue;
    if (own.right > box.right + 0.5) cut.push([text.textContent, own.right - box.right]);
    if (contrast(rgb(view.getComputedStyle(text).fill), cell(svg, view)) < 4.5) faint.push(svg.outerHTML.slice(0, 300));
  }
  const maps = [...page.querySelectorAll('svg.wide, svg.narrow')].filter(map => map.getBoundingClientRect().width > 0);
  return {
    width, wide, cut, faint, maps: maps.length,
    dark: view.matchMedia('(prefers-color-scheme: dark)').matches,
    requests: view.performance.getEntriesByType('resource').length,
    scripts: page.scripts.length,
  };
};
(async () => {
  const measured = [];
  for (const width of widths) {
    const frame = document.createElement('iframe');
    frame.style = `width:${width}px;height:900px;border:0`;
    const loaded = new Promise(done => frame.onload = done);
    frame.src = page;
    document.body.append(frame);
    await loaded;
    measured.push(measure(frame, width));
    frame.remove();
  }
  const pre = document.createElement('pre');
  pre.textContent = JSON.stringify(measured);
  document.body.append(pre);
})();
