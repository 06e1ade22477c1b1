// Charts: each draws itself for the width it has, tells how many marks it drew, answers pointer and arrow keys, and has a text
// alternative and its values as a table.

/**
 * A figure in a card. `draw(plot, width)` fills `plot` and returns {marks, positions, describe(position), show(position)}:
 * what the pointer or the arrow keys walk over. `where(x, y)` gives the position under the pointer.
 */
function chart(parent, {id, title, alternative, controls = [], legend, draw, values, wide}) {
  const tip = element("div", {class: "tip", role: "status", "aria-live": "polite", hidden: true});
  const plot = element("div", {class: "plot", tabindex: "0", role: "img", "aria-label": title + ". " + alternative});
  const box = element("div", {style: "position:relative"}, plot, tip);
  const figure = element("figure", {id, class: "card" + (wide ? " wide" : "")},
    element("div", {class: "caption"}, element("figcaption", {}, title), element("div", {class: "controls"}, controls)),
    box, legend, values && valuesTable(values));
  parent.append(figure);
  let drawn = null, position = -1, width = 0;

  const hide = () => { tip.hidden = true; position = -1; if (drawn && drawn.show) drawn.show(-1); };
  const show = (next, x, y) => {
    if (!drawn || !drawn.positions) return;
    position = Math.max(0, Math.min(drawn.positions - 1, next));
    const seen = drawn.show(position);
    tip.replaceChildren(...[].concat(drawn.describe(position)));
    tip.hidden = false;
    const left = x ?? seen.x, top = y ?? seen.y;
    const size = tip.getBoundingClientRect();
    tip.style.left = Math.max(0, Math.min(width - size.width, left > width / 2 ? left - size.width - 12 : left + 12)) + "px";
    tip.style.top = Math.max(0, top - size.height / 2) + "px";
  };
  const redraw = () => {
    const now = Math.floor(plot.clientWidth);
    if (now <= 0) return;
    width = now;
    hide();
    plot.replaceChildren();
    drawn = draw(plot, width);
    figure.dataset.drawn = "true";
    figure.dataset.marks = drawn.marks;
  };
  plot.addEventListener("pointermove", event => {
    if (!drawn || !drawn.where) return;
    const place = plot.getBoundingClientRect();
    const found = drawn.where(event.clientX - place.left, event.clientY - place.top);
    if (found >= 0) show(found, event.clientX - place.left, event.clientY - place.top); else hide();
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", event => {
    if (!drawn || !drawn.positions) return;
    const row = drawn.columns ?? 10;
    const moves = {ArrowRight: position + 1, ArrowLeft: position - 1, ArrowDown: position + row, ArrowUp: position - row, Home: 0, End: drawn.positions - 1};
    if (event.key === "Escape") hide();
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(moves[event.key]);
  });
  redraws.push(redraw);
  new ResizeObserver(() => { if (Math.abs(plot.clientWidth - width) >= 1) redraw(); }).observe(plot);
  redraw();
  return {figure, redraw};
}
const redraws = [];
// Canvases hold colours, not variables of the style sheet.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraws.forEach(redraw => redraw()));

/** The values behind a chart, filled in when it is opened; `values()` gives {head, rows}. */
function valuesTable(values) {
  const details = element("details", {class: "data"}, element("summary", {}, "Values"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const {head, rows} = values(), stride = Math.ceil(rows.length / 60);
    const shown = rows.filter((_, i) => i % stride === 0 || i === rows.length - 1);
    details.append(element("div", {class: "scroll tall"}, element("table", {},
      element("thead", {}, element("tr", {}, head.map((name, i) => element("th", {class: i ? "n" : false, scope: "col"}, name)))),
      element("tbody", {}, shown.map(row => element("tr", {}, row.map((cell, i) => element("td", {class: i ? "n" : false}, cell))))))));
  });
  return details;
}

const key = (colour, name, value) => element("div", {}, element("i", {style: "background:" + colour}), name, value === undefined ? null : ": ", value === undefined ? null : element("b", {}, value));
function legendOf(entries) {
  return element("ul", {class: "legend"}, entries.map(({colour, name, value, line}) =>
    element("li", {}, element("i", {class: line, style: line ? "border-color:" + colour : "background:" + colour}), words(name), value === undefined ? null : [" ", element("b", {}, value)])));
}
function toggle(label, on, change) {
  const button = element("button", {type: "button", "aria-pressed": String(on)}, label);
  button.addEventListener("click", () => {
    const now = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(now));
    change(now);
  });
  return button;
}
function choice(label, options, change) {
  const select = element("select", {"aria-label": label}, options.map(name => element("option", {value: name}, words(name))));
  select.addEventListener("change", () => change(select.value));
  return element("label", {}, label + " ", select);
}

const eventColours = {skipped: "var(--bad)", failed: "var(--bad)", lost: "var(--bad)", rolled_back: "var(--bad)", straggler: "var(--graph)",
  resumed: "var(--c1)", started: "var(--c1)", preempted: "var(--warn)", changed: "var(--c4)", saved: "var(--c3)", finished: "var(--good)"};

/** Axes of steps (x) and values (y) in an SVG that fills `plot`. */
function axes(plot, width, {height, low, high, first, last, log, format}) {
  const left = 62, right = 10, top = 10, bottom = 26;
  const inner = {left, top, right: width - right, bottom: height - bottom};
  const svg = shape("svg", {viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true"});
  const x = step => left + (last === first ? 0.5 : (step - first) / (last - first)) * (inner.right - left);
  const scale = log ? Math.log10 : value => value;
  const from = scale(low), to = scale(high);
  const y = value => inner.bottom - (to === from ? 0.5 : (scale(value) - from) / (to - from)) * (inner.bottom - top);
  for (const mark of log ? logTicks(low, high, 5) : ticks(low, high, 5, format === bytes)) {
    const place = y(mark);
    if (!(place >= top - 1 && place <= inner.bottom + 1)) continue;
    svg.append(shape("line", {class: "gridline", x1: left, x2: inner.right, y1: place, y2: place}),
      shape("text", {x: left - 6, y: place + 4, "text-anchor": "end"}, tidy(format(mark))));
  }
  svg.append(shape("line", {class: "axis", x1: left, x2: inner.right, y1: inner.bottom, y2: inner.bottom}));
  const marks = ticks(first, last === first ? first + 1 : last, Math.max(2, Math.floor(width / 110))).filter(mark => Number.isInteger(mark) && mark <= last);
  for (const mark of marks)
    svg.append(shape("text", {x: Math.min(x(mark), inner.right - 8), y: height - 8, "text-anchor": "middle"}, count(mark)));
  plot.append(svg);
  return {svg, x, y, inner};
}

/** Events at their steps: saves as ticks on the axis, all others as lines. Returns how many. */
function drawEvents(svg, events, x, inner) {
  for (const event of events) {
    const place = x(event.step), colour = eventColours[event.event] ?? "var(--quiet)";
    if (event.event === "saved") svg.append(shape("line", {x1: place, x2: place, y1: inner.bottom - 6, y2: inner.bottom, style: `stroke:${colour};stroke-width:2`, "data-event": "saved"}));
    else svg.append(shape("line", {class: "event", x1: place, x2: place, y1: inner.top, y2: inner.bottom, style: "stroke:" + colour, "data-event": event.event}));
  }
  return events.length;
}

function nearest(steps, step) {
  let low = 0, high = steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1; else high = middle;
  }
  return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low;
}

/** The range of values, with some air; from zero where that is near. */
function rangeOf(values, {log, zero}) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (isNumber(value) && (!log || value > 0)) { if (value < low) low = value; if (value > high) high = value; }
  if (low > high) return log ? [0.1, 1] : [0, 1];
  if (log) return [low / 1.1, high * 1.1];
  if (zero || (low > 0 && low < 0.5 * high)) low = Math.min(0, low);
  const air = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [low === 0 ? 0 : low - air, high + air];
}

/**
 * Curves over steps. series: [{name, colour, steps, values, detail(i), dots}]; the first one's steps are walked over. `stacked` fills
 * the space between them; `log` and `share` may be functions, read at each drawing.
 */
function curves(parent, {series, events = [], format, height = 250, log = () => false, share = () => false, stacked, zero, ...rest}) {
  const steps = series[0].steps;
  const draw = (plot, width) => {
    const isLog = log(), total = share() ? steps.map((_, i) => series.reduce((sum, one) => sum + (one.values[i] || 0), 0)) : null;
    const part = (one, i) => total ? (total[i] > 0 ? (one.values[i] || 0) / total[i] : 0) : one.values[i];
    const layers = stacked ? series.reduce((all, one) => [...all, steps.map((_, i) => (all.length ? all[all.length - 1][i] : 0) + (part(one, i) || 0))], []) : null;
    const [low, high] = total ? [0, 1] : rangeOf(layers ? layers[layers.length - 1] : series.flatMap(one => one.values), {log: isLog, zero: zero || stacked});
    const everyStep = series.flatMap(one => [one.steps[0], one.steps[one.steps.length - 1]]);
    const {svg, x, y, inner} = axes(plot, width, {height, low, high, first: Math.min(...everyStep), last: Math.max(...everyStep), log: isLog, format: total ? percent : format});
    let marks = 0;
    series.forEach((one, s) => {
      if (stacked) {
        const over = steps.map((step, i) => x(step).toFixed(1) + " " + y(layers[s][i]).toFixed(1));
        const under = steps.map((step, i) => x(step).toFixed(1) + " " + y(s ? layers[s - 1][i] : 0).toFixed(1)).reverse();
        svg.append(shape("path", {d: "M" + over.join("L") + "L" + under.join("L") + "Z", style: "fill:" + one.colour, "data-series": one.name}));
        marks += steps.length;
        return;
      }
      let path = "", pen = false;
      one.values.forEach((value, i) => {
        const drawable = isNumber(value) && (!isLog || value > 0);
        if (drawable) { path += (pen ? "L" : "M") + x(one.steps[i]).toFixed(1) + " " + y(value).toFixed(1); ++marks; }
        pen = drawable;
      });
      svg.append(shape("path", {class: "curve", d: path, style: "stroke:" + one.colour + (one.dashed ? ";stroke-dasharray:5 4" : ""), "data-series": one.name}));
      if (one.dots || one.steps.length === 1) one.values.forEach((value, i) => {
        if (isNumber(value) && (!isLog || value > 0)) svg.append(shape("circle", {cx: x(one.steps[i]), cy: y(value), r: 3, style: "fill:" + one.colour}));
      });
    });
    marks += drawEvents(svg, events, x, inner);
    const cursor = shape("line", {class: "cursor", y1: inner.top, y2: inner.bottom, visibility: "hidden"});
    svg.append(cursor);
    const describe = i => {
      const step = steps[i], width = steps.length > 1 ? (steps[steps.length - 1] - steps[0]) / 60 : 1;
      const near = events.filter(event => Math.abs(event.step - step) <= width).slice(0, 3);
      const lines = series.map(one => {
        const j = one.steps === steps ? i : nearest(one.steps, step);
        if (one.steps !== steps && Math.abs(one.steps[j] - step) > width) return null;
        const value = one.values[j];
        return key(one.colour, words(one.name), !isNumber(value) ? "not finite or absent" : (total ? percent(part(one, j)) + " · " : "") + format(value) + (one.detail ? one.detail(j) : ""));
      });
      return [element("div", {}, element("b", {}, "step " + step)), ...(stacked ? lines.reverse() : lines).filter(Boolean),
        ...near.map(event => element("div", {}, event.event + " at step " + event.step + (event.text ? ": " + event.text : "")))];
    };
    return {
      marks, positions: steps.length, describe,
      where: px => px < inner.left - 8 ? -1 : nearest(steps, steps[0] + (px - inner.left) / (inner.right - inner.left) * (steps[steps.length - 1] - steps[0])),
      show: i => { cursor.setAttribute("visibility", i < 0 ? "hidden" : "visible"); if (i >= 0) { const place = x(steps[i]); cursor.setAttribute("x1", place); cursor.setAttribute("x2", place); return {x: place, y: height / 2}; } },
    };
  };
  const drawnEvents = [...new Set(events.map(event => event.event))].map(name => ({colour: eventColours[name] ?? "var(--quiet)", name, line: name === "saved" ? "tick" : "line"}));
  return chart(parent, {draw, legend: legendOf([...series, ...drawnEvents]),
    values: () => ({head: ["step", ...series.filter(one => one.steps === steps).map(one => words(one.name))],
      rows: steps.map((step, i) => [step, ...series.filter(one => one.steps === steps).map(one => format(one.values[i]))])}), ...rest});
}

/** One bar cut into parts: [{name, colour, value}]. */
function bar(parent, {parts, format, ...rest}) {
  const all = parts.reduce((sum, part) => sum + part.value, 0);
  const draw = (plot, width) => {
    const height = 40, svg = shape("svg", {viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true"});
    let x = 0, marks = 0;
    const ends = [];
    for (const part of parts) {
      const size = all > 0 ? part.value / all * width : 0;
      ends.push(x + size);
      if (size > 0) {
        svg.append(shape("rect", {x: x.toFixed(2), y: 4, width: Math.max(0.5, size - 1).toFixed(2), height: 32, rx: 2, style: "fill:" + part.colour, "data-part": part.name}));
        ++marks;
      }
      x += size;
    }
    plot.append(svg);
    return {marks, positions: parts.length, where: px => ends.findIndex(end => px <= end), show: i => ({x: i > 0 ? ends[i - 1] : 0, y: 20}),
      describe: i => [key(parts[i].colour, words(parts[i].name), format(parts[i].value) + " (" + percent(parts[i].value / all) + ")")]};
  };
  return chart(parent, {draw, legend: legendOf(parts.map(part => ({...part, value: format(part.value) + " · " + percent(all > 0 ? part.value / all : 0)}))), ...rest});
}

/** From low (0) to high (1): light to dark on light ground, dark to light on dark ground. */
function heat(part) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const stops = dark ? [[24, 32, 42], [32, 82, 122], [64, 150, 190], [250, 215, 120]] : [[242, 246, 250], [158, 202, 225], [49, 130, 189], [8, 38, 86]];
  const place = Math.max(0, Math.min(1, part)) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(place));
  return stops[i].map((from, c) => Math.round(from + (stops[i + 1][c] - from) * (place - i)));
}
const heatScale = () => "linear-gradient(to right," + [0, 0.25, 0.5, 0.75, 1].map(part => `rgb(${heat(part).join(",")})`).join(",") + ")";

/** Ranks (rows) by time (columns). `cells()` gives {rows: [[value by column] by row], low, high}; rows are named by `name(row)`. */
function heatMap(parent, {columns, rows, cells, name, label, describe, cellHeight, ...rest}) {
  const draw = (plot, width) => {
    const {values, low, high} = cells();
    const left = 62, bottom = 20, size = cellHeight ?? Math.max(1, Math.min(22, Math.floor(420 / rows)));
    const inner = Math.max(10, width - left - 10), height = size * rows;
    const canvas = element("canvas", {width: columns, height: rows, "aria-hidden": "true", style: `position:absolute;left:${left}px;top:0;width:${inner}px;height:${height}px`});
    const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
    let marks = 0;
    for (let row = 0; row < rows; ++row)
      for (let column = 0; column < columns; ++column) {
        const value = values[row][column];
        if (!isNumber(value)) continue;
        const [r, g, b] = heat(high > low ? (value - low) / (high - low) : 0);
        image.data.set([r, g, b, 255], 4 * (row * columns + column));
        ++marks;
      }
    context.putImageData(image, 0, 0);
    const svg = shape("svg", {viewBox: `0 0 ${width} ${height + bottom}`, width, height: height + bottom, "aria-hidden": "true"});
    const stride = Math.max(1, Math.ceil(14 / size), Math.ceil(rows / 24));
    for (let row = 0; row < rows; row += stride) svg.append(shape("text", {x: left - 6, y: row * size + Math.max(size / 2 + 4, 9), "text-anchor": "end"}, name(row)));
    const labels = Math.max(1, Math.min(columns, Math.floor(inner / 115)));
    for (let i = 0; i < labels; ++i) {
      const column = Math.floor((i + 0.5) * columns / labels);
      svg.append(shape("text", {x: left + (column + 0.5) * inner / columns, y: height + 15, "text-anchor": "middle"}, label(column)));
    }
    const frame = shape("rect", {width: Math.max(3, inner / columns), height: Math.max(3, size), visibility: "hidden", style: "fill:none;stroke:var(--text);stroke-width:1.5"});
    svg.append(frame);
    plot.append(canvas, svg);
    svg.style.position = "relative";
    return {
      marks, positions: rows * columns, columns, describe: i => describe(Math.floor(i / columns), i % columns),
      where: (px, py) => px < left || py >= height ? -1 : Math.min(rows - 1, Math.floor(py / size)) * columns + Math.min(columns - 1, Math.floor((px - left) / inner * columns)),
      show: i => {
        frame.setAttribute("visibility", i < 0 ? "hidden" : "visible");
        if (i < 0) return undefined;
        const px = left + i % columns * inner / columns, py = Math.floor(i / columns) * size;
        frame.setAttribute("x", px); frame.setAttribute("y", py);
        return {x: px, y: py};
      },
    };
  };
  return chart(parent, {draw, ...rest});
}

/** columns: [{name, value(row), format, text, meter}]; text columns sort by letters. Sorted by column `by`, largest first. */
function table(parent, {id, columns, rows, by, limit = 20, caption}) {
  let column = by ?? -1, falling = true, all = rows.length <= limit;
  const body = element("tbody"), scroll = element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption ?? id}), more = element("button", {type: "button", style: "margin-top:8px"});
  const heads = columns.map((one, i) => element("th", {scope: "col", class: one.text ? false : "n"}, element("button", {type: "button", onclick: () => {
    falling = column === i ? !falling : !one.text;
    column = i;
    fill();
  }}, one.name)));
  const most = columns.map(one => one.meter ? Math.max(...rows.map(row => one.value(row) || 0)) : 0);
  const fill = () => {
    const sorted = column < 0 ? [...rows] : [...rows].sort((a, b) => {
      const one = columns[column].value(a), two = columns[column].value(b);
      const order = columns[column].text ? String(one ?? "").localeCompare(String(two ?? "")) : (isNumber(one) ? one : -Infinity) - (isNumber(two) ? two : -Infinity);
      return falling ? -order || 0 : order || 0;
    });
    heads.forEach((head, i) => { if (i === column) head.setAttribute("aria-sort", falling ? "descending" : "ascending"); else head.removeAttribute("aria-sort"); });
    body.replaceChildren(...(all ? sorted : sorted.slice(0, limit)).map(row => element("tr", {}, columns.map((one, i) => {
      const value = one.value(row);
      return element("td", {class: !one.text ? "n" : String(value ?? "").length > 40 ? "long" : String(value ?? "").length > 24 ? "name" : "short"}, one.text ? String(value ?? "–") : (one.format ?? count)(value),
        one.meter ? element("span", {class: "meter", "aria-hidden": "true"}, element("span", {style: `width:${most[i] > 0 ? 100 * (value || 0) / most[i] : 0}%`})) : null);
    }))));
    more.textContent = all ? "Show the first " + limit : "Show all " + rows.length;
    more.hidden = rows.length <= limit;
    scroll.classList.toggle("tall", all && rows.length > 24);
  };
  more.addEventListener("click", () => { all = !all; fill(); });
  fill();
  const shown = element("div", {class: "card wide", id, "data-drawn": "true", "data-marks": String(rows.length)}, caption ? element("h3", {style: "margin-bottom:6px"}, caption) : null,
    scroll, more);
  scroll.append(element("table", {}, element("thead", {}, element("tr", {}, heads)), body));
  parent.append(shown);
  return shown;
}
