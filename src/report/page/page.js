// The sections of the page. Every part of the records may be absent.
const records = JSON.parse(document.getElementById("records").textContent);
const report = records.report ?? {};
const columns = at(records, "metrics", "columns") ?? {};
const steps = columns.step ?? [];
const page = document.getElementById("page"), contents = element("ul");
const phaseNames = ["data", "forward", "backward", "comm_exposed", "optimizer", "graph", "checkpoint", "other"];
const phaseColour = name => phaseNames.includes(name) ? `var(--${name})` : "var(--c4)";
const has = name => (columns[name] ?? []).some(isNumber);
const lastOf = name => (columns[name] ?? []).findLast(isNumber);
const hostOf = rank => at((report.ranks ?? []).find(one => one.rank === rank), "host");
let errors = 0;

/** A heading with its content; what fails to be drawn says so and leaves the rest alone. */
function section(id, title, fill, {short = title} = {}) {
  const grid = element("div", {class: "grid"});
  page.append(element("section", {id, "aria-labelledby": id + "-title"}, element("h2", {id: id + "-title"}, title), grid));
  contents.append(element("li", {}, element("a", {href: "#" + id}, short)));
  try {
    fill(grid);
  } catch (error) {
    ++errors;
    console.error(title + ": " + error.stack);
    grid.append(element("p", {class: "missing"}, "This part could not be drawn: " + error.message));
  }
}
const card = (parent, title, ...children) => { const made = element("div", {class: "card"}, title ? element("h3", {style: "margin-bottom:6px"}, title) : null, children); parent.append(made); return made; };
const missing = (parent, title, hint) => card(parent, title, element("p", {class: "missing"}, absent + (hint ? ": " + hint : "")));
const leftOut = (parent, key) => report[key + "_left_out"] ? parent.append(element("p", {class: "quiet small wide"}, report[key + "_left_out"] + " more are in report.json")) : null;

/** Events with their step, in words. */
const events = (at(records, "events", "shown") ?? []).map(event => {
  const {schema, attempt, time, event: name, step, ...details} = event;
  return {...event, text: Object.entries(details).map(([key, value]) => words(key) + " " + (isNumber(value) ? (Number.isInteger(value) ? value : digits(value, 4)) : typeof value === "string" ? value : JSON.stringify(value))).join(", ")};
});
for (const one of report.stragglers ?? []) events.push({event: "straggler", step: one.from_step, text: rankName(one.rank, one.host) + " in " + words(one.section), added: true});
const firstStep = steps[0], lastStep = steps[steps.length - 1];
const drawnEvents = events.filter(event => isNumber(event.step) && event.step >= firstStep && event.step <= lastStep && !["started", "finished"].includes(event.event));

function head() {
  const state = records.state, exit = records.exit ?? {}, names = {finished: "finished", running: "running", stopped: "stopped, can go on", failed: "failed", lost: "ended without a word", empty: "nothing recorded yet"};
  const attempt = at(report, "attempt") ?? lastOf("attempt") ?? at(exit, "attempt");
  document.title = records.run + " · Trireme report";
  document.getElementById("top").append(
    element("div", {class: "head"}, element("h1", {}, records.run), element("span", {class: "badge " + state, id: "state"}, names[state] ?? state)),
    element("p", {class: "where"}, records.path, " · page made ", records.made.replace("T", " ").replace(/\.\d+Z/, " UTC"), isNumber(attempt) ? " · attempt " + attempt : ""));
  document.getElementById("contents").append(contents);
}

function verdict() {
  const told = report.verdict ?? {}, kind = told.kind ?? "unknown";
  const tone = ["failed", "lost"].includes(records.state) ? "bad" : kind === "compute-bound" ? "good" : kind === "unknown" ? "" : "warn";
  const evidence = Object.entries(told.evidence ?? {}).filter(([, value]) => value !== null && value !== 0);
  const show = (name, value) => !isNumber(value) ? (Array.isArray(value) ? value.join(", ") : String(value)) : /(share|excess|goodput|fraction|utilisation|mfu)$/.test(name) ? percent(value) : /seconds/.test(name) ? seconds(value) : /bytes/.test(name) ? bytes(value) : digits(value);
  contents.append(element("li", {}, element("a", {href: "#verdict"}, "Verdict")));
  page.append(element("section", {class: "card verdict " + tone, id: "verdict", tabindex: "-1"}, element("h2", {}, "Verdict"),
    element("p", {class: "words"}, told.text ?? "Not recorded: no step was measured."),
    (told.advice ?? []).length ? element("ul", {}, told.advice.map(one => element("li", {}, one))) : null,
    evidence.length ? element("ul", {class: "chips", "aria-label": "Evidence"}, evidence.map(([name, value]) => element("li", {}, words(name.replace(/_(share|seconds|bytes)$/, "")) + " ", element("b", {}, show(name, value))))) : null,
    records.estimated && report.verdict ? element("p", {class: "note small"}, "This is estimated from the logged steps, without the single ranks: " + (records.note ?? "there is no report.json yet") + ".") : null,
    (records.unread ?? []).map(one => element("p", {class: "note small"}, one))));
  tiles();
}

function tiles() {
  const ranks = (report.ranks ?? []).length + (report.ranks_left_out ?? 0) || at(report, "history", "ranks") || at(events.findLast(event => isNumber(event.ranks)), "ranks");
  const hosts = new Set((report.ranks ?? []).map(one => one.host).filter(Boolean)).size;
  const evaluation = (records.eval ?? []).findLast(one => isNumber(one.loss));
  const fast = isNumber(lastOf("tokens_per_second")) && lastOf("tokens_per_second") > 0 ? "tokens" : "samples";
  const peak = at(report, "memory", "peak");
  const shown = [
    ["Step", isNumber(lastStep) ? String(lastStep) : undefined, isNumber(lastOf("epoch")) ? "epoch " + lastOf("epoch") : ""],
    ["Loss", isNumber(lastOf("loss")) ? digits(lastOf("loss"), 4) : undefined, evaluation ? "evaluation " + digits(evaluation.loss, 4) : ""],
    ["Step time", isNumber(mean(report.step_seconds)) ? seconds(mean(report.step_seconds)) : undefined, "mean of the run"],
    [fast + " a second", isNumber(lastOf(fast + "_per_second")) ? count(lastOf(fast + "_per_second")) : undefined, "last logged"],
    ["Peak memory", isNumber(at(peak, "max")) ? bytes(peak.max) : undefined, rankName(at(peak, "max_rank"), at(peak, "max_host"))],
    ["Ranks", ranks ? String(ranks) : undefined, hosts ? hosts + (hosts === 1 ? " host" : " hosts") : ""],
    ["Goodput", isNumber(at(report, "goodput", "goodput")) ? percent(report.goodput.goodput) : undefined, "useful part of the time"],
    ["Model FLOPs", isNumber(mean(report.model_flops_per_second)) ? count(mean(report.model_flops_per_second)) + "FLOP/s" : undefined, isNumber(report.mfu) ? "MFU " + percent(report.mfu) : "of each rank"],
  ].filter(([, value]) => value !== undefined);
  if (shown.length) page.append(element("dl", {class: "tiles"}, shown.map(([name, value, note]) => element("div", {}, element("dt", {}, name), element("dd", {title: value}, value, note ? element("small", {}, note) : null)))));
}

function state(grid) {
  const exit = records.exit, counts = at(records, "events", "counts") ?? {};
  const text = {finished: "All steps are done.", running: "The run is going on; a later page knows more.", stopped: "Stopped; the same command goes on from the last checkpoint.",
    failed: "The run failed.", lost: "The run ended without exit.json: it was killed, or its machine was lost. The same command resumes it.", empty: "No step has been logged."}[records.state];
  const lines = [element("p", {}, element("b", {class: records.state}, text))];
  if (exit && exit.code !== 0) {
    lines.push(element("p", {}, exit.message));
    if (exit.hint) lines.push(element("p", {class: "quiet"}, "hint: " + exit.hint));
    lines.push(element("p", {class: "quiet small"}, ["exit code " + exit.code, exit.kind, rankName(exit.rank, exit.host), isNumber(exit.step) && exit.step >= 0 ? "step " + exit.step : ""].filter(Boolean).join(" · ")));
  }
  const many = Object.entries(counts).filter(([name]) => !["started", "finished"].includes(name)).map(([name, number]) => number + " × " + name);
  if (many.length) lines.push(element("p", {class: "quiet small"}, many.join(" · ")));
  card(grid, "How it went", lines);
  const log = events.filter(event => !event.added);
  if (!log.length) return missing(grid, "Events");
  const shown = log.slice(-200).reverse();
  card(grid, "Events", element("div", {class: "scroll tall", style: "max-height:220px", tabindex: "0", role: "region", "aria-label": "Events"}, element("table", {}, element("thead", {}, element("tr", {}, ["time", "step", "event", "details"].map(name => element("th", {scope: "col"}, name)))),
    element("tbody", {}, shown.map(event => element("tr", {}, element("td", {class: "mono", style: "white-space:nowrap"}, String(event.time ?? "").slice(5, 19).replace("T", " ")), element("td", {}, isNumber(event.step) ? event.step : "–"), element("td", {}, event.event), element("td", {class: "name"}, event.text)))))));
}

function loss(grid) {
  if (!has("loss")) return missing(grid, "Loss", "no step has been logged");
  // One that runs away, or a spike, would leave nothing to see of the rest.
  const sorted = columns.loss.filter(isNumber).sort((a, b) => a - b);
  let isLog = sorted[0] > 0 && sorted[sorted.length - 1] > 8 * sorted[sorted.length >> 1];
  const evaluations = (records.eval ?? []).filter(one => isNumber(one.step)), unfinite = columns.loss.filter(value => !isNumber(value)).length;
  const series = [{name: "train", colour: "var(--c1)", steps, values: columns.loss}];
  if (evaluations.length) series.push({name: "evaluation", colour: "var(--c2)", steps: evaluations.map(one => one.step), values: evaluations.map(one => one.loss), dots: evaluations.length < 60});
  const made = curves(grid, {id: "chart-loss", title: "Loss", wide: true, height: 300, series, events: drawnEvents, format: value => digits(value, 4), log: () => isLog,
    alternative: `From ${digits(columns.loss.find(isNumber), 4)} at step ${firstStep} to ${digits(lastOf("loss"), 4)} at step ${lastStep}` + (unfinite ? `, ${unfinite} values are not finite` : ""),
    controls: [toggle("log scale", isLog, on => { isLog = on; made.redraw(); })]});
  if (unfinite) grid.append(element("p", {class: "note small wide"}, unfinite + " of the shown values of the loss are not finite: the curve has gaps there."));
  if (has("lr")) curves(grid, {id: "chart-lr", title: "Learning rate", height: 170, zero: true, series: [{name: "lr", colour: "var(--c3)", steps, values: columns.lr}], format: value => digits(value, 3), alternative: `${digits(lastOf("lr"))} at the end`});
  if (has("grad_norm")) curves(grid, {id: "chart-grad", title: "Gradient norm before clipping", height: 170, series: [{name: "grad norm", colour: "var(--c4)", steps, values: columns.grad_norm}], format: value => digits(value, 3), alternative: `${digits(lastOf("grad_norm"))} at the end`, log: () => { const values = columns.grad_norm.filter(value => value > 0); return values.length > 1 && Math.max(...values) > 100 * Math.min(...values); }});
}

function speed(grid) {
  const fast = has("tokens_per_second") && columns.tokens_per_second.some(value => value > 0) ? "tokens_per_second" : "samples_per_second";
  if (!has(fast) && !has("step_seconds")) return missing(grid, "Throughput and step time");
  const middle = values => { const sorted = values.filter(isNumber).sort((a, b) => a - b); return sorted[sorted.length >> 1]; };
  if (has(fast)) curves(grid, {id: "chart-throughput", title: words(fast)[0].toUpperCase() + words(fast).slice(1), zero: true, series: [{name: words(fast), colour: "var(--c1)", steps, values: columns[fast]}], events: drawnEvents, format: count, alternative: `Median ${count(middle(columns[fast]))}, last ${count(lastOf(fast))}`});
  if (has("step_seconds")) curves(grid, {id: "chart-step", title: "Step time", zero: true, series: [{name: "step", colour: "var(--c2)", steps, values: columns.step_seconds}], events: drawnEvents, format: seconds, alternative: `Median ${seconds(middle(columns.step_seconds))}, longest ${seconds(Math.max(...columns.step_seconds.filter(isNumber)))}`});
}

function phases(grid) {
  const names = Object.keys(columns).filter(name => /^phases\/[^/]+$/.test(name) && columns[name].some(value => value > 0)).map(name => name.slice(7)).sort((a, b) => phaseNames.indexOf(a) - phaseNames.indexOf(b));
  let share = false;
  if (names.length) {
    const made = curves(grid, {id: "chart-phases", title: "Where a step's time goes (mean of the ranks)", wide: true, stacked: true, share: () => share, format: seconds, events: drawnEvents.filter(event => event.event !== "saved"),
      series: names.map(name => ({name, colour: phaseColour(name), steps, values: columns["phases/" + name]})), alternative: "Mean phases: " + names.map(name => words(name) + " " + seconds(mean(at(report, "phases", name)))).join(", "),
      controls: [toggle("as shares", false, on => { share = on; made.redraw(); })]});
  }
  const rows = Object.entries(report.phases ?? {}).map(([name, spread]) => ({name, ...spread})), step = mean(report.step_seconds);
  if (rows.length) table(grid, {id: "table-phases", caption: "Phases of a mean step over the ranks", rows, limit: 20, columns: [{name: "phase", text: true, value: row => words(row.name)}, {name: "mean", value: row => row.mean, format: seconds}, {name: "share", value: row => step > 0 ? row.mean / step : undefined, format: percent, meter: true},
    {name: "least", value: row => row.min, format: seconds}, {name: "p95", value: row => row.p95, format: seconds}, {name: "most", value: row => row.max, format: seconds}, {name: "most on", text: true, value: row => rankName(row.max_rank, row.max_host) || "–"}]});
  if (!names.length && !rows.length) missing(grid, "Phases");
}

function ranks(grid) {
  const history = report.history ?? {}, items = history.items ?? {}, bins = history.steps ?? [];
  const names = [...phaseNames, "step_seconds", "allocated", "reserved", "peak", "rss"].filter(name => Array.isArray(items[name]) && items[name].length === bins.length);
  for (const name of Object.keys(items)) if (!names.includes(name) && Array.isArray(items[name]) && items[name].length === bins.length) names.push(name);
  // What tells ranks apart: a step lasts as long on those that wait as on the one they wait for.
  if (names.includes("typical_working_seconds")) {
    items.working_seconds = items.typical_working_seconds;
    names[names.indexOf("typical_working_seconds")] = "working_seconds";
    names.unshift(names.splice(names.indexOf("working_seconds"), 1)[0]);
  } else if (names.includes("step_seconds") && names.includes("comm_exposed")) {
    items.working_seconds = items.step_seconds.map((bin, i) => bin.map((value, rank) => isNumber(value) ? value - (items.comm_exposed[i][rank] ?? 0) : null));
    names.unshift("working_seconds");
  }
  const ranksCount = history.ranks ?? 0;
  if (!bins.length || !ranksCount || !names.length) missing(grid, "Heat map of ranks and time", "the history comes with report.json");
  else heatMaps(grid, items, bins, names, ranksCount);
  rankTable(grid);
}

function heatMaps(grid, items, bins, names, ranksCount) {
  const span = bin => (bin > 0 ? bins[bin - 1] + 1 : Math.min(firstStep ?? 1, bins[0])) + "–" + bins[bin];
  const formatOf = name => ["allocated", "reserved", "peak", "rss"].includes(name) || /bytes/.test(name) ? bytes : name === "power_watts" ? value => digits(value) + " W" : name === "celsius" ? value => digits(value) + " °C" : ["utilisation", "throttled"].includes(name) ? percent : seconds;
  let chosen = names[0], relative = false;
  const median = bin => { const sorted = items[chosen][bin].filter(isNumber).sort((a, b) => a - b); const half = sorted.length >> 1; return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2; };
  const legend = element("p", {class: "quiet small", style: "margin:6px 0 0"});
  const show = value => relative ? (value > 0 ? "+" : "") + percent(value) : formatOf(chosen)(value);
  const cells = () => {
    const middles = bins.map((_, bin) => median(bin));
    const value = (rank, bin) => { const one = items[chosen][bin][rank]; return !isNumber(one) ? null : relative ? (middles[bin] > 0 ? one / middles[bin] - 1 : 0) : one; };
    const values = Array.from({length: ranksCount}, (_, rank) => bins.map((_, bin) => value(rank, bin)));
    const sorted = values.flat().filter(isNumber).sort((a, b) => a - b);
    // One slow rank among hundreds shall stand out, but a few extremes must not take all the colours.
    let low = sorted[Math.floor(sorted.length * 0.01)] ?? 0, high = Math.min(sorted[sorted.length - 1] ?? 1, 4 * (sorted[Math.ceil(sorted.length * 0.95) - 1] ?? 1) - 3 * low);
    if (relative) { low = 0; high = Math.max(0.1, high); }
    legend.replaceChildren(show(low), element("span", {class: "scale", style: "background:" + heatScale()}), show(high), " · a row is a rank, a column up to " + Math.max(...bins.map((bin, i) => bin - (i ? bins[i - 1] : 0))) + " steps");
    return {values, low, high};
  };
  const made = heatMap(grid, {id: "chart-heat", title: "Every rank over time", wide: true, columns: bins.length, rows: ranksCount, cells, legend, name: rank => "rank " + rank, label: bin => "step " + count(bins[bin]),
    alternative: `${ranksCount} ranks by ${bins.length} stretches of time; choose what is shown. Arrow keys walk over the cells.`,
    describe: (rank, bin) => { const value = items[chosen][bin][rank], middle = median(bin); return [element("b", {}, rankName(rank, hostOf(rank))), element("div", {}, "steps " + span(bin)), element("div", {}, words(chosen) + ": " + formatOf(chosen)(value)), element("div", {}, middle > 0 ? (value >= middle ? "+" : "") + percent(value / middle - 1) + " against the median rank" : "")]; },
    controls: [choice("show", [chosen, ...names.filter(name => name !== chosen)], name => { chosen = name; made.redraw(); }), toggle("against the median rank", false, on => { relative = on; made.redraw(); })],
    values: () => ({head: ["rank", ...bins.map((_, bin) => span(bin))], rows: Array.from({length: ranksCount}, (_, rank) => [rank, ...bins.map((_, bin) => formatOf(chosen)(items[chosen][bin][rank]))])})});

  if (!items.step_seconds || ranksCount < 2) return;
  const slowest = bins.map((_, bin) => {
    const works = (items.working_seconds ?? items.step_seconds)[bin], order = works.map((value, rank) => [value, rank]).filter(([value]) => isNumber(value)).sort((a, b) => b[0] - a[0]);
    if (order.length < 2) return null;
    const others = order.slice(1).map(([value]) => value).sort((a, b) => a - b), half = others.length >> 1, middle = others.length % 2 ? others[half] : (others[half - 1] + others[half]) / 2;
    return {rank: order[0][1], excess: middle > 0 ? order[0][0] / middle - 1 : 0};
  });
  const often = new Map();
  for (const one of slowest) if (one && one.excess > 0.05) often.set(one.rank, (often.get(one.rank) ?? 0) + 1);
  const worst = [...often].sort((a, b) => b[1] - a[1]).slice(0, 4), summary = worst.length ? "More than 5 % slower than the others: " + worst.map(([rank, many]) => `${rankName(rank, hostOf(rank))} in ${percent(many / bins.length)} of the time`).join(", ") : "No rank was ever more than 5 % slower than the others.";
  const most = Math.max(0.1, ...slowest.map(one => one ? one.excess : 0));
  heatMap(grid, {id: "chart-slowest", title: "The slowest rank, and by how much it is slower", wide: true, columns: bins.length, rows: 1, cellHeight: 26, cells: () => ({values: [slowest.map(one => one ? Math.max(0, one.excess) : null)], low: 0, high: most}), name: () => "slowest", label: bin => slowest[bin] ? "rank " + slowest[bin].rank : "", alternative: summary,
    legend: element("p", {class: "quiet small", style: "margin:6px 0 0"}, summary), describe: (_, bin) => slowest[bin] ? [element("b", {}, rankName(slowest[bin].rank, hostOf(slowest[bin].rank))), element("div", {}, "steps " + span(bin)), element("div", {}, "works " + percent(slowest[bin].excess) + " longer than the median of the others")] : ["–"]});
}

function rankTable(grid) {
  const rows = report.ranks ?? [];
  if (!rows.length) return missing(grid, "Ranks");
  const works = row => isNumber(row.step_seconds) ? row.step_seconds - (at(row, "phases", "comm_exposed") ?? 0) : undefined;
  table(grid, {id: "table-ranks", caption: "Ranks: mean step", rows, by: 3, limit: 16, columns: [{name: "rank", value: row => row.rank}, {name: "host", text: true, value: row => row.host}, {name: "step", value: row => row.step_seconds, format: seconds}, {name: "working", value: works, format: seconds, meter: true},
    {name: "waits for data", value: row => at(row, "data_wait", "share") ?? at(row, "phases", "data") / row.step_seconds, format: percent}, {name: "waits for others", value: row => at(row, "communication", "exposed_seconds") / row.step_seconds, format: percent}, {name: "peak memory", value: row => at(row, "memory", "peak"), format: bytes}, {name: "resident", value: row => at(row, "memory", "rss"), format: bytes}]});
  leftOut(grid, "ranks");
}

function memory(grid) {
  const kinds = report.memory_kinds ?? {}, colours = {parameters: "var(--forward)", gradients: "var(--backward)", optimizer: "var(--optimizer)", buffers: "var(--graph)", activations: "var(--data)", batches: "var(--checkpoint)", other: "var(--other)"};
  const names = ["allocated", "peak", "reserved"].filter(name => has("memory/" + name + "/max"));
  if (names.length) {
    const lines = {allocated: "var(--c1)", peak: "var(--c2)", reserved: "var(--c3)"}, peak = at(report, "memory", "peak");
    curves(grid, {id: "chart-memory", title: "Memory of the fullest rank", zero: true, format: bytes, series: names.map(name => ({name, colour: lines[name], dashed: name === "reserved", steps, values: columns[`memory/${name}/max`], detail: i => isNumber(at(columns, `memory/${name}/max_rank`, i)) ? " · rank " + columns[`memory/${name}/max_rank`][i] : ""})),
      alternative: peak ? `Peak ${bytes(peak.max)} ${rankName(peak.max_rank, peak.max_host)}` : ""});
  } else missing(grid, "Memory over time");
  if (has("memory/rss/max")) curves(grid, {id: "chart-resident", title: "Resident memory of the largest process", zero: true, format: bytes, series: [{name: "resident", colour: "var(--c4)", steps, values: columns["memory/rss/max"], detail: i => isNumber(at(columns, "memory/rss/max_rank", i)) ? " · rank " + columns["memory/rss/max_rank"][i] : ""}],
    alternative: `${bytes(lastOf("memory/rss/max"))} at the end`});
  const timed = Object.keys(colours).filter(name => (columns["memory_kinds/" + name] ?? []).some(value => value > 0));
  if (timed.length) curves(grid, {id: "chart-kinds-time", title: "What holds it at the fullest moment of the steps (mean of the ranks)", wide: true, stacked: true, format: bytes, height: 220, alternative: timed.map(words).join(", "),
    series: timed.map(name => ({name, colour: colours[name], steps, values: columns["memory_kinds/" + name]}))});
  const parts = Object.keys(colours).filter(name => mean(kinds[name]) > 0).map(name => ({name, colour: colours[name], value: mean(kinds[name])}));
  for (const name of Object.keys(kinds)) if (!(name in colours) && name !== "total" && mean(kinds[name]) > 0) parts.push({name, colour: "var(--c4)", value: mean(kinds[name])});
  if (parts.length) {
    const total = at(kinds, "total");
    bar(grid, {id: "chart-kinds", title: "At the fullest moment of the run", parts, format: bytes, alternative: parts.map(part => words(part.name) + " " + bytes(part.value)).join(", ")});
    table(grid, {id: "table-kinds", caption: "Kinds over the ranks", columns: [{name: "kind", text: true, value: row => words(row.name)}, {name: "mean", value: row => mean(row), format: bytes, meter: true}, ...(report.memory_forecast ? [{name: "forecast", value: row => report.memory_forecast[row.name], format: bytes}] : []), {name: "most", value: row => row.max, format: bytes}, {name: "most on", text: true, value: row => rankName(row.max_rank, row.max_host) || "–"}],
      rows: [...parts.map(part => ({name: part.name, ...(isNumber(kinds[part.name]) ? {mean: kinds[part.name]} : kinds[part.name])})), ...(total ? [{name: "total", ...(isNumber(total) ? {mean: total} : total)}] : [])]}).classList.remove("wide");
  } else missing(grid, "What holds it");
  const leaks = report.leaks;
  if (Array.isArray(leaks)) {
    if (leaks.length) table(grid, {id: "table-leaks", caption: "Memory that keeps growing", rows: leaks, columns: [{name: "what", text: true, value: row => words(row.what)}, {name: "rank", value: row => row.rank}, {name: "host", text: true, value: row => row.host}, {name: "growth a step", value: row => row.bytes_per_step, format: bytes}, {name: "from step", value: row => row.from_step}, {name: "to step", value: row => row.to_step}]});
    else card(grid, "Growth", element("p", {class: "quiet"}, "No memory that keeps growing was found."));
  } else missing(grid, "Growth");
}

function communication(grid) {
  const rows = report.communication, perRank = (report.ranks ?? []).map(row => row.communication).filter(Boolean);
  const average = name => perRank.reduce((sum, one) => sum + (one[name] ?? 0), 0) / Math.max(1, perRank.length);
  const told = report.communication_seconds ?? {};
  const exposed = mean(told.exposed) ?? (perRank.length ? average("exposed_seconds") : mean(at(report, "phases", "comm_exposed"))), busy = mean(told.busy) ?? (perRank.length ? average("busy_seconds") : undefined);
  if (isNumber(exposed) && isNumber(busy) && Math.max(busy, exposed) > 0) {
    const hidden = mean(told.hidden) ?? Math.max(0, busy - exposed);
    bar(grid, {id: "chart-comm", title: "Communication of a mean step", wide: true, format: seconds, parts: [{name: "exposed: the step waits", colour: "var(--comm_exposed)", value: exposed}, {name: "hidden behind compute", colour: "var(--optimizer)", value: hidden}], alternative: `${seconds(exposed)} exposed, ${seconds(hidden)} hidden behind compute`});
  } else if (isNumber(exposed) && exposed > 0) card(grid, "Communication of a mean step", element("p", {}, seconds(exposed) + " exposed"), element("p", {class: "missing"}, "what is hidden behind compute: " + absent));
  else card(grid, "Communication of a mean step", element("p", {class: "quiet"}, perRank.length ? "None." : absent));
  if (Array.isArray(rows) && rows.length) table(grid, {id: "table-communication", caption: "Collectives of a mean step", rows, by: 4, columns: [{name: "group", text: true, value: row => row.group}, {name: "operation", text: true, value: row => words(row.operation)}, {name: "calls", value: row => mean(row.calls), format: value => digits(value)}, {name: "bytes", value: row => mean(row.bytes), format: bytes}, {name: "busy", value: row => mean(row.busy_seconds), format: seconds, meter: true},
    {name: "waited", value: row => mean(row.waited_seconds), format: seconds}, {name: "bandwidth", value: row => mean(row.bytes_per_second), format: value => isNumber(value) ? bytes(value) + "/s" : "–"}, {name: "slowest", value: row => at(row, "bytes_per_second", "min"), format: value => isNumber(value) ? bytes(value) + "/s" : "–"}]});
  else missing(grid, "Collectives");
  leftOut(grid, "communication");
}

function stragglers(grid) {
  const rows = report.stragglers;
  if (!Array.isArray(rows)) return missing(grid, "Stragglers");
  if (!rows.length) return void card(grid, null, element("p", {class: "quiet", style: "margin:0"}, "No rank was named a straggler."));
  table(grid, {id: "table-stragglers", rows, by: 3, columns: [{name: "rank", value: row => row.rank}, {name: "host", text: true, value: row => row.host}, {name: "section", text: true, value: row => words(row.section)}, {name: "slower by", value: row => row.excess, format: percent, meter: true}, {name: "from step", value: row => row.from_step}, {name: "to step", value: row => row.to_step}]});
}

function goodput(grid) {
  const ledger = report.goodput;
  if (!ledger) return missing(grid, "Goodput");
  const colours = {useful_seconds: "var(--optimizer)", startup_seconds: "var(--forward)", checkpoint_seconds: "var(--checkpoint)", evaluation_seconds: "var(--backward)", waiting_seconds: "var(--data)", other_seconds: "var(--other)", lost_seconds: "var(--comm_exposed)", down_seconds: "var(--graph)"};
  const names = {useful_seconds: "useful steps", startup_seconds: "start-up", lost_seconds: "lost work", down_seconds: "down"};
  const parts = Object.keys(colours).filter(name => ledger[name] > 0).map(name => ({name: names[name] ?? words(name.replace("_seconds", "")), colour: colours[name], value: ledger[name]}));
  if (parts.length) bar(grid, {id: "chart-goodput", title: `Where ${seconds(ledger.wall_seconds)} went` + (isNumber(ledger.goodput) ? `: goodput ${percent(ledger.goodput)}` : ""), wide: true, format: seconds, parts, alternative: parts.map(part => part.name + " " + seconds(part.value)).join(", ")});
  else missing(grid, "Goodput");
  const attempts = ledger.attempts ?? [];
  if (attempts.length > 1) {
    const keys = [...new Set(attempts.flatMap(Object.keys))].filter(name => attempts.some(one => ["number", "string"].includes(typeof one[name])));
    table(grid, {id: "table-attempts", caption: "Attempts", rows: attempts, columns: keys.map(name => ({name: words(name.replace(/_seconds$/, "")), value: row => row[name], text: attempts.some(one => typeof one[name] === "string"), format: /seconds/.test(name) ? seconds : count}))});
  }
}

function units(grid) {
  const rows = report.units ?? [];
  if (!rows.length) return missing(grid, "Units of the model");
  table(grid, {id: "table-units", rows, limit: 24, columns: [{name: "unit", text: true, value: row => row.name}, {name: "forward", value: row => mean(row.forward_seconds), format: seconds, meter: true}, {name: "backward", value: row => mean(row.backward_seconds), format: seconds, meter: true}, {name: "activations", value: row => at(row, "activations_bytes", "max"), format: bytes, meter: true},
    {name: "parameters", value: row => at(row, "bytes", "parameters"), format: bytes}, {name: "gradients", value: row => at(row, "bytes", "gradients"), format: bytes}, {name: "optimizer", value: row => at(row, "bytes", "optimizer"), format: bytes}]});
  grid.append(element("p", {class: "quiet small wide"}, "Times are of one micro-step, means over the ranks; activations are the most that one kept from its forward to its backward."));
  leftOut(grid, "units");
}

function sections(grid) {
  const rows = report.sections ?? [];
  if (!rows.length) return missing(grid, "Sections");
  table(grid, {id: "table-sections", rows, limit: 24, columns: [{name: "section", text: true, value: row => row.name}, {name: "category", text: true, value: row => words(row.category)}, {name: "ranks", value: row => row.ranks}, {name: "calls", value: row => row.calls, format: value => digits(value)}, {name: "time of all", value: row => mean(row.seconds), format: seconds, meter: true}, {name: "most", value: row => at(row, "seconds", "max"), format: seconds},
    {name: "on", text: true, value: row => rankName(at(row, "seconds", "max_rank"), at(row, "seconds", "max_host"))}, {name: "memory kept", value: row => mean(row.memory_delta), format: bytes}, {name: "peak memory", value: row => at(row, "memory_peak", "max"), format: bytes}]});
  grid.append(element("p", {class: "quiet small wide"}, "Calls and times are of a rank, means over the ranks that called; memory is above that at a call's beginning, where it is tracked."));
  leftOut(grid, "sections");
}

function operators(grid) {
  const recorded = records.operators ?? (Array.isArray(report.operators) ? {operators: report.operators} : report.operators), rows = at(recorded, "operators") ?? [];
  if (!rows.length) return missing(grid, "Operators", "switch a profiler on, as with debug.enable or trireme debug RUN enable autograd_profiler");
  table(grid, {id: "table-operators", rows, by: 3, limit: 20, caption: isNumber(recorded.first_step) ? `Steps ${recorded.first_step} to ${recorded.last_step}` : undefined, columns: [{name: "operator", text: true, value: row => row.name}, {name: "kind", text: true, value: row => row.kind}, {name: "calls", value: row => mean(row.calls)}, {name: "self time", value: row => mean(row.self_seconds), format: seconds, meter: true}, {name: "share", value: row => row.share, format: percent}, {name: "total time", value: row => mean(row.total_seconds), format: seconds},
    {name: "FLOPs", value: row => mean(row.flops) || undefined}, {name: "bytes", value: row => mean(row.bytes) || undefined, format: bytes}]});
}

function hostAndSensors(grid) {
  const syncs = report.host_syncs, waits = report.host_sync_seconds, loads = report.load_seconds;
  if (!isNumber(mean(syncs))) missing(grid, "Host syncs");
  else card(grid, "Host syncs", element("p", {}, element("b", {}, digits(mean(syncs))), " a step: the host waits for the device" + (isNumber(mean(waits)) ? " " + seconds(mean(waits)) : "")),
    element("p", {class: "quiet small"}, "most " + digits(at(syncs, "max") ?? mean(syncs)) + " " + rankName(at(syncs, "max_rank"), at(syncs, "max_host"))),
    isNumber(mean(loads)) ? element("p", {class: "quiet small"}, "Loading threads work " + seconds(mean(loads)) + " for a step's batch.") : null);
  const sensors = report.sensors ?? {}, shown = {utilisation: ["busy", percent], power_watts: ["power", value => digits(value) + " W"], celsius: ["temperature", value => digits(value) + " °C"], throttled: ["held down", percent]};
  const rows = Object.keys(shown).filter(name => isNumber(mean(sensors[name]))).map(name => ({name, ...(isNumber(sensors[name]) ? {mean: sensors[name]} : sensors[name])}));
  if (rows.length) table(grid, {id: "table-sensors", caption: "Device sensors over the ranks", rows, columns: [{name: "sensor", text: true, value: row => shown[row.name][0]}, ...["min", "mean", "max"].map(which => ({name: which, text: true, value: row => isNumber(row[which]) ? shown[row.name][1](row[which]) : "–"})), {name: "most on", text: true, value: row => rankName(row.max_rank, row.max_host) || "–"}]}).classList.remove("wide");
  else missing(grid, "Device sensors", "there are none without a GPU");
}

function findings(grid) {
  const {digests = {}, findings = [], findings_count: many = 0} = records.debug ?? {};
  if (!Object.keys(digests).length) return missing(grid, "Debug switches", "none was on");
  card(grid, "Switches that reported", element("ul", {class: "chips"}, Object.entries(digests).map(([name, number]) => element("li", {}, words(name) + " ", element("b", {}, number + (number === 1 ? " digest" : " digests"))))));
  if (!findings.length) return void card(grid, "Findings", element("p", {class: "quiet"}, "Nothing to worry about was found."));
  table(grid, {id: "table-findings", caption: many > findings.length ? `The last ${findings.length} of ${many} findings` : "Findings", rows: [...findings].reverse(), limit: 20, columns: [{name: "step", value: row => row.step}, {name: "switch", text: true, value: row => words(row.switch ?? "")}, {name: "rank", value: row => row.rank}, {name: "host", text: true, value: row => row.host}, {name: "finding", text: true, value: row => row.text}]});
}

function configuration(grid) {
  if (!records.config) return missing(grid, "Configuration");
  grid.append(element("div", {class: "card wide"}, element("details", {id: "config"}, element("summary", {style: "margin:0"}, "config.yaml as it was resolved"), element("pre", {tabindex: "0"}, records.config))));
}

addEventListener("error", () => ++errors);
head();
verdict();
section("state-of-run", "State of the run", state, {short: "State"});
section("loss", "Loss", loss);
section("speed", "Throughput and step time", speed, {short: "Speed"});
section("phases", "Phases", phases);
section("ranks", "Ranks", ranks);
section("memory", "Memory", memory);
section("communication", "Communication", communication);
section("stragglers", "Stragglers", stragglers);
section("goodput", "Goodput", goodput);
section("units", "Units of the model", units, {short: "Units"});
section("sections", "Sections", sections);
section("operators", "Operators", operators);
section("host", "Host syncs and sensors", hostAndSensors, {short: "Sensors"});
section("debug", "Debug findings", findings, {short: "Debug"});
section("configuration", "Configuration", configuration, {short: "Config"});
document.getElementById("foot").append("Made by trireme report. This file needs no network: " + count(at(records, "metrics", "lines") ?? 0) + " logged steps, " + steps.length + " of them drawn, extremes among them.");
document.documentElement.dataset.errors = String(errors);
document.documentElement.dataset.ready = "true";
