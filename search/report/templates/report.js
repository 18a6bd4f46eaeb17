"use strict";
(() => {
const D = JSON.parse(document.getElementById("data").textContent);
const PREDICTED = ["latency_s", "power_w", "energy_j"];
const COUNT = D.front.params.length, DEVICES = D.devices.length;

// ---- small tools: text always becomes a text node, never markup -----------------------------------------------
const $ = (id) => document.getElementById(id);
function put(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "on") for (const [event, f] of Object.entries(value)) node.addEventListener(event, f);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}
const el = (tag, attributes, ...children) => put(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => put(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
function fmt(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value) || Math.abs(value) >= 10 ** (digits - 1)) return Math.round(value).toLocaleString("en-US");
  return value.toPrecision(digits);
}
const fixed = (value, decimals) => value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const show = (value) => (value === null ? "–" : Array.isArray(value) ? value.join(",") : String(value));
const quoted = (word) => (/^[\w@%+=:,./#-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);
const plural = (n, noun) => `${fmt(n)} ${noun}${n === 1 ? "" : "s"}`;

// ---- data: three sets of columns with one way to read them ------------------------------------------------------
const published = { miou: { mean: D.published.map((p) => p.miou) }, devices: D.devices.map((_, d) => Object.fromEntries(
  PREDICTED.map((m) => [m, Object.fromEntries(["mean", "low", "high"].map((part) => [part, D.published.map((p) => p.devices[d][m][part])]))]))) };
for (const m of ["params", "macs", "weight_bytes", "memory_bytes"]) published[m] = D.published.map((p) => p[m]);
/** Every candidate that tighter limits put on the front, its first rows being the run's front by rank. */
function unpack(p) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const whole = (text) => Array.from(new Int32Array(bytes(text)));
  const real = Object.fromEntries(Object.entries(p.columns).map(([name, text]) => [name, Array.from(new Float64Array(bytes(text)))]));
  const rows = whole(p.rows), setting = whole(p.setting);
  const points = (v) => 50 + 25 * Math.log(v / (100 - v)), percent = (v) => 100 / (1 + Math.exp((50 - v) / 25));
  const center = real.miou.map(points), sd = real["miou.sd"];
  const set = { rows, setting, params: real.params, macs: real.macs, weight_bytes: real.weight_bytes, memory_bytes: real.memory_bytes,
    miou: { mean: real.miou, low: center.map((c, i) => percent(c - p.reach * sd[i])), high: center.map((c, i) => percent(c + p.reach * sd[i])), center, sd },
    source: rows.map(() => D.front.source[0]), assumes: rows.map((_, i) => D.front.assumes[i] ?? ""), clocks: p.clocks.map((mhz) => setting.map((s) => mhz[s])), idle: p.idle.map((w) => setting.map((s) => w[s])), spec: {} };
  set.devices = D.devices.map((device, d) => Object.fromEntries(PREDICTED.filter((m) => `${d}.${m}` in real).map((m) => {
    const mean = real[`${d}.${m}`], spread = real[`${d}.${m}.sd`], cut = (v, i) => (m === "power_w" ? clamp(v, set.idle[d][i], device.limit_w) : v);
    const bound = (sign) => mean.map((v, i) => cut(v * Math.exp(sign * p.reach * spread[i]), i));
    return [m, { mean, low: bound(-1), high: bound(1), sd: spread }];
  })));
  set.fastest = D.devices.map((_, d) => ({ mean: real[`${d}.fastest`], sd: real[`${d}.fastest.sd`] }));
  for (const name of Object.keys(D.fields)) set.spec[name] = rows.map(() => 0);
  for (const space of p.spaces) {
    const own = rows.map((_, i) => i).filter((i) => rows[i] >= space.first && rows[i] < space.first + space.count);
    const put = (name, place) => own.forEach((i) => { set.spec[name][i] = place(rows[i] - space.first); });
    for (const [name, place] of Object.entries(space.fixed)) put(name, () => place);
    let stride = 1;
    for (const [name, places] of [...space.choices].reverse()) {
      const step = stride;
      put(name, (row) => places[Math.floor(row / step) % places.length]);
      stride *= places.length;
    }
  }
  set.points = points; set.percent = percent;
  return set;
}
const P = D.pool, F = P ? unpack(P) : D.front, ALL = F.params.length;
const SETS = { front: F, expected: D.expected, tried: D.tried, cloud: D.cloud, published };
function read(set, metric, device, i, part = "mean") {
  const column = device === null || device === undefined ? set[metric] : set.devices[device][metric];
  return Array.isArray(column) ? column[i] : (column[part] || column.mean)[i];
}
const along = (set, axis, i, part) => read(set, axis.metric, axis.device, i, part) / axis.scale;
const axisOf = (name) => D.axes.find((a) => a.name === name) || D.axes.find((a) => a.name.split("@")[0] === name);
const label = (axis) => (axis.unit ? `${axis.title}, ${axis.unit}` : axis.title);
const varying = Object.keys(D.fields).filter((f) => [F, D.expected, D.tried].flatMap((set) => [...new Set(set.spec[f])]).some((v, _, all) => v !== all[0]));
const field = (name, i, set = F) => show(D.fields[name][set.spec[name][i]]);
const KINS = 3, kin = (i) => D.fields.family[F.spec.family[i]];
const measured = (i) => !F.source[i].startsWith("predicted");

// ---- limits: bounds in SI units, loosest (what the search allowed) to tightest ------------------------------------
/** Probability that a standard normal variable exceeds z (complementary error function, Numerical Recipes 6.2.2). */
function upperTail(z) {
  const x = Math.abs(z) / Math.SQRT2, t = 2 / (2 + x);
  const c = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277];
  const tail = 0.5 * t * Math.exp(-x * x + c.reduceRight((sum, k) => sum * t + k, 0));
  return z >= 0 ? tail : 1 - tail;
}
const idle = (set, device, i) => (set.idle ? set.idle[device][i] : D.devices[device].idle_w);
function quantile(set, metric, device, i, score) {
  const value = read(set, metric, device, i) * Math.exp(score * read(set, metric, device, i, "sd"));
  return metric === "power_w" ? clamp(value, idle(set, device, i), D.devices[device].limit_w) : value;
}
/** Probability that a metric is above a bound in SI units: 0 or 1 for what is counted. */
function failure(set, metric, device, i, bound) {
  if (!PREDICTED.includes(metric)) return read(set, metric, null, i) > bound ? 1 : 0;
  if (metric === "power_w" && bound >= D.devices[device].limit_w) return 0;
  if (metric === "power_w" && bound < idle(set, device, i)) return 1;
  const tail = (mean, sd) => { const gap = Math.log(bound / mean); return sd > 0 ? upperTail(gap / sd) : gap < 0 ? 1 : 0; };
  const own = tail(read(set, metric, device, i), read(set, metric, device, i, "sd"));
  // No network is sooner done at a slower clock, whatever the widths of two intervals say.
  return metric === "latency_s" && set.fastest ? Math.max(own, tail(set.fastest[device].mean[i], set.fastest[device].sd[i])) : own;
}
const worst = (set, metric, i, score) => PREDICTED.includes(metric)
  ? Math.max(...D.devices.map((_, d) => quantile(set, metric, d, i, score))) : read(set, metric, null, i);
const limits = D.limits.filter((l) => !P || P.limited.includes(l.metric)).map((l) => ({ ...l, si: (v) => (l.inverse ? 1 / v : v * l.scale), own: (b) => (l.inverse ? 1 / b : b / l.scale) }));
function active() {
  return limits.filter((l) => l.value !== null || l.bound < l.loosest);
}
for (const l of limits) {
  const all = (set, n) => Array.from({ length: n }, (_, i) => worst(set, l.metric, i, D.score));
  const front = all(F, ALL), largest = [...front, ...(P ? [] : all(D.cloud, D.cloud.params.length))].reduce((a, b) => Math.max(a, b));
  l.loosest = l.value === null ? largest * 1.5 : l.si(l.value);
  l.tightest = Math.min(front.reduce((a, b) => Math.min(a, b)), l.loosest * 0.999);
  l.bound = l.loosest;
}
const miou = F.miou.mean;
const extreme = (f, values) => values.reduce((a, b) => f(a, b));
const floor = P
  ? { least: D.least_miou ?? extreme(Math.min, F.miou.low), most: extreme(Math.max, F.miou.center.map((c, i) => F.percent(c - D.score * F.miou.sd[i]))), at: D.least_miou ?? -Infinity, loosest: D.least_miou ?? -Infinity }
  : { least: extreme(Math.min, miou), most: extreme(Math.max, miou), at: -Infinity, loosest: -Infinity };
const within = { front: [], expected: [], tried: [], cloud: [] };
let best = -1, order = [], selected = D.breakdown.rank - 1, pointed = null;
function filter() {
  // Of two limits on one metric the tighter counts; what each is passed with adds up (Boole's inequality).
  const tightest = new Map();
  for (const l of active()) tightest.set(l.metric, Math.min(l.bound, tightest.get(l.metric) ?? Infinity));
  const sum = (set, i, slack) => [...tightest].reduce((total, [metric, bound]) =>
    total + (PREDICTED.includes(metric) ? D.devices.map((_, d) => d) : [null]).reduce((s, d) => s + failure(set, metric, d, i, bound * slack), 0), 0);
  // Six digits are kept of what is only shown, so that a limit met exactly may look missed by the seventh.
  const looks = (set, i) => set.miou.mean[i] >= floor.at && sum(set, i, 1.00005) <= D.allowed + 1e-6;
  const below = floor.at > -Infinity && P ? F.points(floor.at) : null;
  const holds = (i) => sum(F, i, 1) + (below === null ? 0 : upperTail((F.miou.center[i] - below) / F.miou.sd[i])) <= D.allowed + 1e-12;
  for (const kind of Object.keys(within)) if (kind !== "front" || !P) within[kind] = SETS[kind].params.map((_, i) => looks(SETS[kind], i));
  order = P ? frontOf(F.params.map((_, i) => i).filter(holds)) : within.front.flatMap((ok, i) => (ok ? [i] : []));
  if (P) { within.front = F.params.map(() => false); for (const i of order) within.front[i] = true; }
  best = order.length ? order[0] : -1;
}
/** Ranks of values, equal for those that differ by rounding only, as search.pareto.levels has them. */
function levels(values) {
  const places = values.map((_, k) => k).sort((a, b) => values[a] - values[b]), out = new Array(values.length);
  let rank = 0;
  places.forEach((k, n) => {
    const [here, before] = [values[k], values[places[n - 1]]];
    if (n && here - before > 1e-9 * Math.max(Math.abs(here), Math.abs(before))) rank += 1;
    out[k] = rank;
  });
  return out;
}
/** Of rows of the pool those that no other dominates in the objectives, each network once, in the order of the search. */
function frontOf(rows) {
  const ranks = P.objectives.map(([metric, device, sign]) => levels(rows.map((i) => sign * read(F, metric, device, i))));
  const compare = (a, b) => { for (const column of ranks) if (column[a] !== column[b]) return column[a] - column[b]; return 0; };
  const sorted = rows.map((_, k) => k).sort((a, b) => compare(a, b) || F.setting[rows[a]] - F.setting[rows[b]] || F.rows[rows[a]] - F.rows[rows[b]]);
  const kept = [], out = [];
  let seen = new Set();
  for (const k of sorted) {
    const equal = kept.length > 0 && compare(kept[kept.length - 1], k) === 0;
    if (!equal && kept.some((other) => ranks.every((column) => column[other] <= column[k]))) continue;
    if (!equal) { kept.push(k); seen = new Set(); }
    if (!seen.has(F.rows[rows[k]])) { seen.add(F.rows[rows[k]]); out.push(rows[k]); }
  }
  return out;
}

// ---- head and controls ------------------------------------------------------------------------------------------
function head() {
  const first = D.chosen - 1, [, range] = spell(F, axisOf("miou"), first);
  $("head").append(
    el("h1", {}, D.run),
    el("p", {}, D.question, `; all limits together with probability ${D.query.confidence}. Objectives: ${D.query.objectives.join(", ")}.`),
    el("div", { class: "tiles" },
      ...[["enumerated", "candidates enumerated"], ["feasible", "within all limits"]].filter(([k]) => D.counts[k] !== null && D.counts[k] !== undefined)
        .map(([k, text]) => el("div", { class: "tile" }, el("b", {}, fmt(D.counts[k])), el("span", {}, text))),
      D.study?.trials ? el("div", { class: "tile" }, el("b", {}, fmt(D.study.trials.complete)), el("span", {}, "trials complete")) : null,
      el("div", { class: "tile" }, el("b", {}, fmt(COUNT)), el("span", {}, D.counts.complete ? "on the front: complete" : D.study ? "on the front of those measured" : "on the front")),
      el("div", { class: "tile" }, el("b", {}, `${fixed(miou[first], 1)} %`), el("span", {}, `mIOU of the chosen one${range ? ` (${range})` : ""}`)),
      ...D.devices.map((d, i) => el("div", { class: "tile" }, el("b", {}, `${fmt(1e3 * F.devices[i].latency_s.mean[first])} ms`), el("span", {}, `its latency on ${d.label}`)))));
}
const STEPS = 1000;
function slider(l) {
  const place = () => Math.round((STEPS * Math.log(l.bound / l.tightest)) / Math.log(l.loosest / l.tightest));
  const range = el("input", { type: "range", min: 0, max: STEPS, value: STEPS, "aria-label": `${l.title} limit`, "data-limit": l.name });
  const number = el("input", { type: "number", step: "any", min: 0, "aria-label": `${l.title} limit${l.unit ? `, ${l.unit}` : ""}` });
  const box = el("label", {}, el("span", {}, `${l.title} ${l.inverse ? "≥" : "≤"}`), el("span", { class: "amount" }, number, l.unit ? ` ${l.unit}` : ""), range);
  l.refresh = () => {
    const on = active().includes(l);
    box.classList.toggle("off", !on);
    number.value = Number((l.own(l.bound) / l.prefix).toPrecision(4));
    range.value = place();
    range.setAttribute("aria-valuetext", `${on ? "" : "no limit, all are below "}${number.value} ${l.unit}`);
  };
  range.addEventListener("input", () => {
    const at = Number(range.value);
    l.bound = at >= STEPS ? l.loosest : l.si(Number(l.own(l.tightest * (l.loosest / l.tightest) ** (at / STEPS)).toPrecision(3)));
    changed();
  });
  number.addEventListener("change", () => {
    const asked = Number((Number(number.value) * l.prefix).toPrecision(6));
    l.bound = asked > 0 ? Math.min(l.si(asked), l.loosest) : l.loosest;
    changed();
  });
  return box;
}
let status, again, floorBox;
function controls() {
  const range = el("input", { type: "range", min: 0, max: STEPS, value: 0, "aria-label": "least mIOU", "data-limit": "miou" });
  const amount = el("span", { class: "amount" });
  floorBox = { refresh: () => { amount.textContent = `${fixed(Math.max(floor.at, floor.least), 1)} %`; if (floor.at === floor.loosest) range.value = 0; } };
  range.addEventListener("input", () => {
    floor.at = Number(range.value) ? Number((floor.least + ((floor.most - floor.least) * Number(range.value)) / STEPS).toPrecision(3)) : floor.loosest;
    changed();
  });
  status = el("span", { role: "status", id: "status" });
  again = el("div", {});
  const reset = el("button", { type: "button", on: { click: () => { for (const l of limits) l.bound = l.loosest; floor.at = floor.loosest; changed(); } } }, "Reset limits");
  const bars = el("label", {}, el("span", {}, "error bars"), el("input", { type: "checkbox", checked: true, id: "bars", on: { change: () => charts.forEach(draw) } }));
  $("controls").append(...limits.map(slider), el("label", {}, el("span", {}, P ? "mIOU ≥" : "mIOU ≥ (estimate)"), amount, range), el("div", { class: "state" }, status, reset, bars), again);
  again.className = "state";
}
function tell() {
  const kept = order.length, tighter = limits.some((l) => l.bound < l.loosest) || (P && floor.at > floor.loosest);
  const answer = best < 0 ? "." : `; best: ${nameOf(best)}, mIOU ${fixed(miou[best], 1)} %.`;
  status.textContent = P ? `${kept ? fmt(kept) : "None"} on the complete front within these limits${answer}` : `${fmt(kept)} of ${fmt(COUNT)} on this front are within these limits${answer}`;
  again.replaceChildren();
  if (!tighter || D.study) return;
  const space = D.named ? "" : " (SPACE: the name in your zoo.yaml of the space under Certificate)";
  again.append(el("span", { class: "fine" }, P ? `The complete answer, not only what is left of the run's front; the same as of${space}:` : `This counts the front of the search only, which is complete for the search's own limits. Under tighter ones other candidates, or these at slower clocks, may be better; this asks for the complete answer${space}:`), el("code", { class: "block" }, tightened()));
}
/** The command that asks for the answer at the sliders' position. */
function tightened() {
  let line = D.command;
  const put = (option, value) => {
    const text = `${option} ${value}`;
    line = line.includes(`${option} `) ? line.replace(new RegExp(`${option} \\S+`), text) : line.replace(" --confidence", ` ${text} --confidence`);
  };
  for (const l of active()) put(l.option, Number(l.own(l.bound).toPrecision(6)));
  if (P && floor.at > floor.loosest) put("--min-miou", floor.at);
  return line;
}
const nameOf = (i) => (i < COUNT ? `#${i + 1}` : "one that is not on the run's front");
function changed() {
  filter();
  for (const l of limits) l.refresh();
  floorBox.refresh();
  tell();
  charts.forEach(draw);
  if (best >= 0 && !within.front[selected]) choose(best);
  table();
}

// ---- shortlist: what differs by more than its uncertainty, before all the rest ------------------------------------
function shortlist() {
  const list = D.shortlist;
  if (!list.length) return;
  const axes = D.axes.filter((a) => a.objective), first = list[0], gain = Math.max(...list.map((s) => s.gain)), tells = list.find((s) => s.gain === gain);
  const cell = (a, i) => { const [mean, range] = spell(D.front, a, i); return el("td", { class: "num" }, mean, range ? el("span", { class: "range" }, ` ${range}`) : null); };
  const clocks = D.open_clock ? D.devices.map((d) => el("th", { scope: "col" }, `${d.label}, MHz`)) : [];
  const assumed = (s) => D.front.assumes[s.rank - 1] || "–", assuming = list.some((s) => D.front.assumes[s.rank - 1]);
  $("shortlist").hidden = false;
  $("listed").append(
    el("p", {}, `${plural(list.length, "candidate")} that differ by more than what is uncertain about them. P(best) is the probability of being the best of this front in ${D.query.objectives[0]} within the limits.`),
    el("div", { class: "scroll free" }, el("table", {},
      el("thead", {}, el("tr", {}, ["#", "P(best)", "cannot be told from"].map((t) => el("th", { scope: "col" }, t)), axes.map((a) => el("th", { scope: "col" }, unitOf(a) ? label(a) : a.title)), clocks, assuming ? el("th", { scope: "col" }, "assumed in mIOU") : null)),
      el("tbody", {}, list.map((s) => el("tr", {}, el("td", {}, el("button", { type: "button", class: "plain", on: { click: () => choose(s.rank - 1) } }, `${s.rank}${s.knee ? " (knee)" : ""}`)),
        el("td", {}, s.p_best >= 0.005 ? `${fixed(100 * s.p_best, 0)} %` : "< 1 %"), el("td", {}, fmt(s.indistinguishable)), axes.map((a) => cell(a, s.rank - 1)), D.open_clock ? D.devices.map((_, k) => el("td", {}, fmt(D.front.clocks[k][s.rank - 1], 5))) : [], assuming ? el("td", {}, assumed(s)) : null))))),
    el("p", { class: "fine" }, `${plural(first.indistinguishable, "other")} of ${fmt(COUNT)} on the front cannot be told from #${first.rank} in ${D.query.objectives[0]}`,
      first.cheaper !== first.rank ? `; #${first.cheaper} is the least of them in ${D.query.objectives[1]} and nowhere dearer.` : ".", gain >= 0.05 ? ` Training #${tells.rank} would tell most: it raises the mIOU of the choice by ${fixed(gain, 2)} points on average.` : ""));
}

// ---- scales and frames --------------------------------------------------------------------------------------------
function ticks(low, high, count) {
  const raw = (high - low) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const out = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) out.push([k * step, fixed(k * step + 0, decimals)]);
  return out;
}
function frame(width, height, xs, ys, xLabel, yLabel) {
  const box = { left: 50, right: width - 20, top: 12, bottom: height - 44 };
  const scale = ([low, high], a, b) => (v) => a + ((v - low) / (high - low)) * (b - a);
  const px = scale(xs, box.left, box.right), py = scale(ys, box.bottom, box.top);
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}` });
  for (const [v, text] of ticks(...xs, (box.right - box.left) / 85)) root.append(svg("line", { class: "grid", x1: px(v), x2: px(v), y1: box.top, y2: box.bottom }), svg("text", { class: "tick", x: px(v), y: box.bottom + 16, "text-anchor": "middle" }, text));
  for (const [v, text] of ticks(...ys, (box.bottom - box.top) / 50)) root.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: py(v), y2: py(v) }), svg("text", { class: "tick", x: box.left - 6, y: py(v) + 4, "text-anchor": "end" }, text));
  root.append(svg("rect", { class: "frame", x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top }),
    svg("text", { x: (box.left + box.right) / 2, y: height - 8, "text-anchor": "middle" }, xLabel),
    svg("text", { x: 0, y: 0, transform: `translate(13 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
  return { root, box, px, py };
}
function domain(values, extra = []) {
  const low = Math.min(...values), high = Math.max(...values);
  const wide = extra.filter((v) => Number.isFinite(v) && v <= high + 0.6 * (high - low) && v >= low - 0.6 * (high - low));
  const a = Math.min(low, ...wide), b = Math.max(high, ...wide), margin = 0.07 * (b - a || Math.abs(b) || 1);
  return [a >= 0 ? Math.max(0, a - margin) : a - margin, b + margin];
}
const dots = (points) => points.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("");
const starPath = (x, y, r) => Array.from({ length: 10 }, (_, k) => {
  const angle = (Math.PI * k) / 5 - Math.PI / 2, radius = k % 2 ? r * 0.42 : r;
  return `${k ? "L" : "M"}${(x + radius * Math.cos(angle)).toFixed(1)} ${(y + radius * Math.sin(angle)).toFixed(1)}`;
}).join("") + "Z";
const diamond = (x, y, r) => `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`;
const circle = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
const square = (x, y, r) => `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`;

/** Rows of the front, among those within the limits, that nobody beats on two axes; by the first axis. */
function stairs(x, y) {
  const rows = within.front.map((ok, i) => (ok ? i : -1)).filter((i) => i >= 0);
  const key = (axis, i) => axis.better * along(F, axis, i);
  rows.sort((a, b) => key(x, a) - key(x, b) || key(y, a) - key(y, b));
  let least = Infinity;
  return rows.filter((i) => key(y, i) < least && ((least = key(y, i)), true)).sort((a, b) => along(F, x, a) - along(F, x, b));
}

// ---- the charts of the front ----------------------------------------------------------------------------------------
const charts = [];
function chart(xName, yName) {
  const c = { x: axisOf(xName), y: axisOf(yName), hold: el("div", {}) };
  const pick = (which) => el("select", { "aria-label": `${which === "x" ? "horizontal" : "vertical"} axis`, on: { change: (e) => { c[which] = D.axes[e.target.selectedIndex]; draw(c); } } },
    D.axes.map((a) => el("option", { selected: a === c[which] }, a.title)));
  charts.push(c);
  $("charts").append(el("figure", { class: "front" }, el("figcaption", {}, pick("y"), "against", pick("x")), c.hold));
}
function limitLines(axis) {
  if (axis.metric === "miou") return floor.at > -Infinity ? [[floor.at, `≥ ${fixed(floor.at, 1)} %`]] : [];
  return active().filter((l) => l.metric === axis.metric).map((l) => [l.bound / axis.scale, `${l.inverse ? "≥" : "≤"} ${fmt(l.own(l.bound) / l.prefix)}${l.unit ? ` ${l.unit}` : ""}`]);
}
function draw(c) {
  const width = Math.max(300, Math.round(c.hold.clientWidth || 480)), height = Math.round(clamp(width * 0.68, 270, 460));
  const every = (axis) => Object.values(SETS).flatMap((set) => set.params.map((_, i) => along(set, axis, i)));
  const given = (axis) => limits.filter((l) => l.metric === axis.metric && l.value !== null).map((l) => l.loosest / axis.scale);
  const f = frame(width, height, domain(every(c.x), given(c.x)), domain(every(c.y), given(c.y)), label(c.x), label(c.y));
  const at = (set, i) => [f.px(along(set, c.x, i)), f.py(along(set, c.y, i))];
  const rows = (set, keep) => set.params.map((_, i) => i).filter(keep);
  const line = stairs(c.x, c.y), onLine = new Set(line);
  const clip = `clip${charts.indexOf(c)}`;
  const inner = svg("g", { "clip-path": `url(#${clip})` });
  const path = (name, d) => inner.append(svg("path", { class: name, d }));
  f.root.append(svg("clipPath", { id: clip }, svg("rect", { x: f.box.left, y: f.box.top, width: f.box.right - f.box.left, height: f.box.bottom - f.box.top })), inner);
  path("out", dots(rows(D.cloud, (i) => !within.cloud[i]).map((i) => at(D.cloud, i))) + dots(rows(F, (i) => i < COUNT && !within.front[i]).map((i) => at(F, i))));
  path("cloud", dots(rows(D.cloud, (i) => within.cloud[i]).map((i) => at(D.cloud, i))));
  if ($("bars").checked) path("bars", line.filter((_, k) => k % Math.ceil(line.length / 22) === 0).map((i) => cross(c, f, F, i)).join(""));
  if (line.length) path("stairs", staircasePath(c, line.map((i) => at(F, i))));
  path("expected", rows(D.expected, (i) => within.expected[i]).map((i) => circle(...at(D.expected, i), 3)).join(""));
  path("tried", rows(D.tried, (i) => within.tried[i]).map((i) => square(...at(D.tried, i), 3.5)).join(""));
  D.families.forEach((name, k) => {
    const own = (i) => !measured(i) && kin(i) === name;
    path(`weak kin${k % KINS}`, dots(rows(F, (i) => within.front[i] && !onLine.has(i) && own(i)).map((i) => at(F, i))));
    path(`dot kin${k % KINS}`, dots(line.filter(own).map((i) => at(F, i))));
  });
  path("trained", rows(F, (i) => within.front[i] && measured(i)).map((i) => square(...at(F, i), 4)).join(""));
  for (const [v, text] of limitLines(c.x)) {
    const x = f.px(v);
    if (x > f.box.right + 1) inner.append(svg("text", { class: "limit-name", x: f.box.right - 5, y: f.box.bottom - 7, "text-anchor": "end" }, `${text} →`));
    else inner.append(svg("line", { class: "limit", x1: x, x2: x, y1: f.box.top, y2: f.box.bottom }), svg("text", { class: "limit-name", x: x - 5, y: f.box.bottom - 7, "text-anchor": "end" }, text));
  }
  for (const [v, text] of limitLines(c.y)) {
    const y = f.py(v);
    if (y < f.box.top - 1) inner.append(svg("text", { class: "limit-name", x: f.box.left + 5, y: f.box.top + 14 }, `${text} ↑`));
    else inner.append(svg("line", { class: "limit", x1: f.box.left, x2: f.box.right, y1: y, y2: y }), svg("text", { class: "limit-name", x: f.box.left + 5, y: y - 5 }, text));
  }
  const marks = D.published.map((_, i) => at(published, i));
  if (c.x.metric === "miou" || c.y.metric === "miou") names(inner, f, marks, [...marks, ...line.map((i) => at(F, i))], best >= 0 ? at(F, best) : null);
  if (best >= 0) path("star", starPath(...at(F, best), 10));
  const over = svg("g", { "clip-path": `url(#${clip})` });
  f.root.append(over);
  put(f.root, { role: "img", tabindex: 0, "aria-label": `${label(c.y)} against ${label(c.x)}: ${plural(order.length, "candidate")} within the limits, ${line.length} of them beaten by none on these two axes. Arrow keys move along those.` }, []);
  Object.assign(c, { f, at, line, over });
  f.root.addEventListener("pointermove", (e) => hover(c, e));
  f.root.addEventListener("pointerleave", () => point(null));
  f.root.addEventListener("click", (e) => { hover(c, e); if (pointed && pointed.kind === "front") choose(pointed.i); });
  f.root.addEventListener("keydown", (e) => keys(c, e));
  c.hold.replaceChildren(f.root);
  rings();
}
function cross(c, f, set, i) {
  const span = (axis, px) => [px(along(set, axis, i, "low")), px(along(set, axis, i, "high"))];
  const [x, y] = [f.px(along(set, c.x, i)), f.py(along(set, c.y, i))], [x0, x1] = span(c.x, f.px), [y0, y1] = span(c.y, f.py);
  return (Math.abs(x1 - x0) > 0.5 ? `M${x0.toFixed(1)} ${y.toFixed(1)}H${x1.toFixed(1)}` : "") + (Math.abs(y1 - y0) > 0.5 ? `M${x.toFixed(1)} ${y0.toFixed(1)}V${y1.toFixed(1)}` : "");
}
/** What is reachable: between two points of the front one gets the worse value of the second axis. */
function staircasePath(c, points) {
  const towardsWorseX = c.x.better === 1;
  return points.map(([x, y], k) => {
    if (!k) return `M${x.toFixed(1)} ${y.toFixed(1)}`;
    return towardsWorseX ? `H${x.toFixed(1)}V${y.toFixed(1)}` : `V${y.toFixed(1)}H${x.toFixed(1)}`;
  }).join("");
}
/** Published networks, named where a name fits beside everything else; the others are named on hover. */
function names(group, f, marks, points, star) {
  const taken = points.map(([x, y]) => [x - 4, y - 4, x + 4, y + 4]);
  if (star) taken.push([star[0] - 11, star[1] - 11, star[0] + 11, star[1] + 11]);
  const hits = (a) => taken.some((b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]);
  marks.forEach(([x, y], i) => {
    const w = D.published[i].name.length * 6.3 + 4;
    const spots = [8, 16, 28, 44, 64].flatMap((r) => [[r, r * 0.7], [-r, -r * 0.7], [r, -r * 0.7], [-r, r * 0.7], [r * 1.3, 0], [-r * 1.3, 0], [r * 0.3, r * 1.3], [-r * 0.3, -r * 1.3], [r * 0.3, -r * 1.3], [-r * 0.3, r * 1.3]]);
    const boxes = spots.map(([dx, dy]) => { const left = dx > 0 ? x + dx : x + dx - w; return [left, y + dy - 8, left + w, y + dy + 6, dx, dy]; });
    const free = boxes.find((b) => b[0] > f.box.left + 2 && b[2] < f.box.right - 2 && b[1] > f.box.top + 2 && b[3] < f.box.bottom - 2 && !hits(b));
    if (free) {
      taken.push(free);
      group.append(svg("line", { class: "leader", x1: x, y1: y, x2: free[4] > 0 ? free[0] : free[2], y2: y + free[5] }), svg("text", { class: "name", x: free[0] + 2, y: y + free[5] + 4 }, D.published[i].name));
    }
    group.append(svg("path", { class: "paper", d: diamond(x, y, 5) }));
  });
}
function rings() {
  for (const c of charts) {
    if (!c.over) continue;
    const parts = [];
    const ring = (set, i, r) => { const [x, y] = c.at(set, i); parts.push(svg("path", { class: "ring-bars", d: cross(c, c.f, set, i) }), svg("circle", { class: "ring", cx: x, cy: y, r })); };
    if (selected >= 0) ring(F, selected, 7);
    if (pointed) ring(SETS[pointed.kind], pointed.i, 9);
    c.over.replaceChildren(...parts);
  }
}

// ---- pointing at a candidate ----------------------------------------------------------------------------------------
function hover(c, event) {
  const place = c.f.root.getBoundingClientRect(), zoom = c.f.root.viewBox.baseVal.width / place.width;
  const mx = (event.clientX - place.left) * zoom, my = (event.clientY - place.top) * zoom;
  let found = null, nearest = 18;
  for (const [kind, set, allowance] of [["front", F, 0], ["published", published, 0], ["tried", D.tried, 1], ["expected", D.expected, 3], ["cloud", D.cloud, 6]]) {
    for (let i = 0; i < set.params.length; i++) {
      if (kind === "front" && i >= COUNT && !within.front[i]) continue;
      const [x, y] = c.at(set, i), away = Math.hypot(x - mx, y - my) + allowance + (within[kind] && !within[kind][i] ? 8 : 0);
      if (away < nearest) [found, nearest] = [{ kind, i }, away];
    }
  }
  point(found, event.pageX, event.pageY);
}
function point(found, x, y) {
  pointed = found;
  rings();
  const tip = $("tip");
  tip.hidden = !found;
  if (!found) return;
  tip.replaceChildren(...describe(found.kind, found.i));
  const { width, height } = tip.getBoundingClientRect(), room = document.documentElement.clientWidth;
  tip.style.left = `${clamp(x + 16 + width > window.scrollX + room ? x - width - 16 : x + 16, window.scrollX + 4, Math.max(window.scrollX + 4, window.scrollX + room - width - 4))}px`;
  tip.style.top = `${y + 16 + height > window.scrollY + window.innerHeight ? Math.max(window.scrollY + 4, y - height - 16) : y + 16}px`;
}
function keys(c, event) {
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[event.key];
  if (event.key === "Escape") point(null);
  if (event.key === "Enter" && pointed && pointed.kind === "front") choose(pointed.i);
  if (!step || !c.line.length) return;
  event.preventDefault();
  const now = c.line.indexOf(pointed && pointed.kind === "front" ? pointed.i : selected);
  const i = c.line[clamp(now + step, 0, c.line.length - 1)], [x, y] = c.at(F, i), place = c.f.root.getBoundingClientRect();
  const zoom = place.width / c.f.root.viewBox.baseVal.width;
  point({ kind: "front", i }, place.left + window.scrollX + x * zoom, place.top + window.scrollY + y * zoom);
}
function specLine(kind, i) {
  if (kind === "published") return el("div", { class: "spec" }, el("span", { class: "same" }, D.published[i].source));
  const value = (name) => (kind === "cloud" ? D.cloud.values[name][D.cloud.spec[name][i]] : field(name, i, SETS[kind]));
  const has = (f) => !["–", "", "None"].includes(value(f));
  const open = varying.filter(has).map((f) => el("span", {}, `${f} `, el("b", {}, value(f))));
  return el("div", { class: "spec" }, open, Object.keys(D.fields).filter((f) => !varying.includes(f) && has(f)).map((f) => el("span", { class: "same" }, `${f} ${value(f)}`)));
}
/** A value along an axis and its interval, as text; parameters to the unit. */
function spell(set, a, i) {
  const [mean, low, high] = ["mean", "low", "high"].map((part) => along(set, a, i, part));
  if (a.metric === "params") return [fmt(set.params[i]), ""];
  const f = (v) => (a.metric === "miou" ? fixed(v, 1) : fmt(v));
  return [f(mean), low < high ? `${f(low)}–${f(high)}` : ""];
}
const unitOf = (a) => (a.metric === "params" ? "" : a.unit);
function numbers(kind, i) {
  return el("table", {}, D.axes.map((a) => {
    const [mean, range] = spell(SETS[kind], a, i);
    return el("tr", {}, el("th", { class: "text", scope: "row" }, a.title), el("td", { class: "num" }, `${mean} ${unitOf(a)}`), el("td", { class: "num" }, el("span", { class: "range" }, range)));
  }));
}
const titleOf = (kind, i) => ({ front: `${i < COUNT ? `#${i + 1}` : "under tighter limits"}${i === best ? " (best within the limits)" : ""}`, expected: "expected on the front", tried: "measured, not on the front", cloud: D.study ? "a candidate" : "feasible, but dominated", published: D.published[i]?.name })[kind];
const originOf = (kind, i) => ({ front: `mIOU ${F.source[i]}${F.assumes[i] ? `; assumed: ${F.assumes[i]}` : ""}`, expected: `mIOU ${D.expected.source[i]}`, tried: `mIOU ${D.tried.source[i]}`, cloud: "mIOU predicted", published: "mIOU published; cost predicted" })[kind];
function describe(kind, i) {
  const outside = within[kind] && !within[kind][i] ? " · outside the limits" : "";
  return [el("h4", {}, titleOf(kind, i) + outside), specLine(kind, i), numbers(kind, i), el("div", { class: "fine" }, originOf(kind, i))];
}
function choose(i) {
  selected = i;
  const own = i < COUNT, name = own ? `${D.folder}#${i + 1}` : `RUN#${order.indexOf(i) + 1}`, word = quoted(name), size = D.query.space.size;
  const lines = [...(own ? [] : [tightened()]), `zoo show ${word} --layers`, ...D.query.devices.map((d, k) => `zoo predict ${word} --device ${d.name} --clock-mhz ${F.clocks[k][i]} --size ${size}`), `zoo export ${word} --size ${size} -o candidate.onnx`, `zoo report ${word}`];
  $("one").replaceChildren(el("div", { class: "cols" },
    el("div", {}, el("h3", {}, own ? `${name}${i === D.chosen - 1 ? ", the chosen one" : ""}` : "On the front under tighter limits"), specLine("front", i), numbers("front", i), el("p", { class: "fine" }, originOf("front", i), `; ${measured(i) ? "other " : ""}intervals at ${D.query.confidence}.`)),
    el("div", {}, el("h3", {}, "Take it away"), own ? "" : el("p", { class: "fine" }, "The run's own front does not have this one; the first command searches within the sliders' limits."), ...lines.map((line) => el("code", { class: "block" }, line)),
      el("p", { class: "fine" }, "The export comes with the spec as YAML, a model card, and the command that repeats this search."))));
  rings();
  for (const row of document.querySelectorAll("#rows tbody tr")) row.classList.toggle("on", Number(row.dataset.i) === i);
}

// ---- table ------------------------------------------------------------------------------------------------------------
const sorted = { by: 0, down: false, all: false };
const place = (i) => order.indexOf(i) + 1;
const columns = [["#", place, (i) => el("button", { type: "button", class: "plain", "aria-label": `show candidate ${place(i)}` }, `${place(i)}`)],
  ...(P ? [[`${D.run}#`, (i) => (i < COUNT ? i + 1 : Infinity), (i) => (i < COUNT ? `${i + 1}` : "–")]] : []),
  ...D.axes.map((a) => [unitOf(a) ? label(a) : a.title, (i) => along(F, a, i), (i) => {
    const [mean, range] = spell(F, a, i);
    return range ? [mean, el("span", { class: "range" }, ` ${range}`)] : mean;
  }, false, a.better]),
  ...(D.open_clock ? D.devices.map((d, k) => [D.devices.length > 1 ? `clock of ${d.label}, MHz` : "clock, MHz", (i) => F.clocks[k][i], (i) => fmt(F.clocks[k][i], 5)]) : []),
  ...varying.map((f) => [f, (i) => { const v = D.fields[f][F.spec[f][i]]; return typeof v === "number" ? v : show(v); }, (i) => field(f, i), true])];
function table() {
  const [, key] = columns[sorted.by], sign = sorted.down ? -1 : 1;
  const rows = within.front.map((ok, i) => (ok ? i : -1)).filter((i) => i >= 0);
  const order = (a, b) => { const u = key(a), v = key(b); return (typeof u === "number" ? u - v : String(u).localeCompare(String(v), "en", { numeric: true })) * sign || a - b; };
  rows.sort(order);
  const shown = sorted.all ? rows : rows.slice(0, 40);
  const sortBy = (k) => { sorted.down = sorted.by === k ? !sorted.down : columns[k][4] === -1; sorted.by = k; table(); $("rows").querySelectorAll("th button")[k].focus(); };
  const header = columns.map(([name, , , text], k) => el("th", { scope: "col", class: text ? "text" : null, "aria-sort": sorted.by === k ? (sorted.down ? "descending" : "ascending") : null }, el("button", { type: "button", on: { click: () => sortBy(k) } }, name)));
  const body = shown.map((i) => el("tr", { "data-i": i, "data-spec": P ? F.rows[i] : null, "data-setting": P ? F.setting[i] : null, class: i === selected ? "on" : null, on: { click: () => choose(i) } }, columns.map(([, , cell, text]) => el("td", { class: text ? "text" : "num" }, cell(i)))));
  const more = rows.length > shown.length ? el("p", {}, el("button", { type: "button", on: { click: () => { sorted.all = true; table(); } } }, `Show all ${fmt(rows.length)}`)) : null;
  $("rows").replaceChildren(el("p", { class: "fine" }, `${plural(rows.length, "candidate")} within the limits; a click on a heading sorts, a click on a row shows the candidate above.`),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Candidates" }, el("table", {}, el("thead", {}, el("tr", {}, header)), el("tbody", {}, body))), more || "");
}

// ---- what a limit costs -------------------------------------------------------------------------------------------------
const value = (steps, x) => { let y = null; for (let i = 0; i < steps.x.length && steps.x[i] <= x; i++) y = steps.miou[i]; return y; };
function stairChart(hold, series, xLabel, unit, line) {
  const render = () => {
    const width = Math.max(300, Math.round(hold.clientWidth || 480)), height = Math.round(clamp(width * 0.55, 240, 380));
    const edge = Math.max(...series.map((s) => s.steps.x[s.steps.x.length - 1]), line || 0);
    const f = frame(width, height, domain([...series.flatMap((s) => s.steps.x), edge]), domain(series.flatMap((s) => s.steps.miou)), xLabel, "best mIOU, %");
    series.forEach((s, k) => f.root.append(svg("path", { class: k ? "stairs other" : "stairs", d: s.steps.x.map((x, i) => `${i ? "H" : "M"}${f.px(x).toFixed(1)}${i ? "V" : " "}${f.py(s.steps.miou[i]).toFixed(1)}`).join("") + `H${f.px(edge).toFixed(1)}` })));
    if (line) f.root.append(svg("line", { class: "limit", x1: f.px(line), x2: f.px(line), y1: f.box.top, y2: f.box.bottom }), svg("text", { class: "limit-name", x: f.px(line) - 5, y: f.box.bottom - 8, "text-anchor": "end" }, `≤ ${fmt(line)} ${unit}`));
    const rule = svg("line", { class: "ring-bars", y1: f.box.top, y2: f.box.bottom, visibility: "hidden" });
    f.root.append(rule);
    put(f.root, { role: "img", "aria-label": `Best mIOU against ${xLabel}: ${series.map((s) => `${s.name} from ${fixed(s.steps.miou[0], 1)} to ${fixed(s.steps.miou[s.steps.miou.length - 1], 1)} %`).join("; ")}` }, []);
    f.root.addEventListener("pointermove", (e) => {
      const place = f.root.getBoundingClientRect(), mx = clamp(((e.clientX - place.left) * width) / place.width, f.box.left, f.box.right);
      const xs = [...series[0].steps.x, edge], at = clamp(xs[0] + ((mx - f.px(xs[0])) / (f.px(edge) - f.px(xs[0]))) * (edge - xs[0]), 0, Infinity);
      put(rule, { x1: mx, x2: mx, visibility: "visible" }, []);
      stairTip(series, at, unit, e);
    });
    f.root.addEventListener("pointerleave", () => { rule.setAttribute("visibility", "hidden"); $("tip").hidden = true; });
    hold.replaceChildren(f.root);
  };
  redraw.push(render);
  render();
}
function stairTip(series, at, unit, event) {
  const steps = series[0].steps, next = steps.x.findIndex((x) => x > at), now = value(steps, at);
  point(null);
  const lines = series.map((s) => { const y = value(s.steps, at); return el("div", {}, `${s.name}: ${y === null ? "nothing" : `${fixed(y, 2)} %`}`); });
  if (series.length === 1 && next > 0) lines.push(el("div", { class: "fine" }, `the next gain is ${fixed(steps.miou[next] - now, 2)} points, for ${fmt(steps.x[next] - at)} ${unit} more`));
  if (series.length === 2) { const [a, b] = series.map((s) => value(s.steps, at)); if (a !== null && b !== null) lines.push(el("div", {}, `given up: ${fixed(a - b, 2)} points`)); }
  const tip = $("tip");
  tip.replaceChildren(el("h4", {}, `at ${fmt(at, 4)} ${unit}`), ...lines);
  tip.hidden = false;
  tip.style.left = `${clamp(event.pageX + 16, 4, document.documentElement.clientWidth - tip.offsetWidth - 4)}px`;
  tip.style.top = `${event.pageY + 16}px`;
}
const redraw = [];
function costs() {
  const hold = $("costs");
  if (!D.sensitivity.length) { hold.append(el("p", {}, "Candidates of this search were not all predicted, so their best mIOU is not known for every value of a limit.")); return; }
  hold.append(el("p", { class: "fine" }, "Best predicted mIOU for every value of one limit, the search's other limits as they are; all limits together with the search's probability. Computed over the whole space, not only over the front. Central estimates: the interval of each prediction is wider than most steps."));
  const grid = el("div", { class: "pair" });
  hold.append(grid);
  for (const s of D.sensitivity) {
    const box = el("div", {}), name = s.unit ? `${s.title} limit, ${s.unit}` : `limit on the number of ${s.title}`;
    grid.append(el("figure", {}, el("figcaption", {}, el("b", {}, `Best mIOU against the limit on ${s.title}`)), box));
    const own = D.limits.find((l) => l.name === s.limit), limit = limits.find((l) => l.metric === own.metric && l.value !== null);
    stairChart(box, [{ name: "best mIOU", steps: s }], name, s.unit, limit ? limit.loosest / own.scale / own.prefix : null);
  }
  if (!D.regret.length) return;
  hold.append(el("h3", {}, "Regret: one network for all devices"), el("p", { class: "fine" }, "What the joint answer gives up against the answer for each device alone, at equal limits."),
    el("div", { class: "scroll free" }, el("table", {}, el("thead", {}, el("tr", {}, ["device", "best mIOU alone, %", "best joint mIOU, %", "given up, points", "most given up at any latency, points"].map((t, k) => el("th", { class: k ? null : "text" }, t)))),
      el("tbody", {}, D.regret.map((r) => el("tr", {}, el("td", { class: "text" }, r.device), el("td", {}, fixed(r.own, 2)), el("td", {}, fixed(r.joint, 2)), el("td", {}, fixed(r.lost, 2)), el("td", {}, `${fixed(r.largest.lost, 2)} (at ${fmt(r.largest.latency_ms)} ms)`)))))));
  const pair = el("div", { class: "pair" });
  hold.append(pair);
  for (const r of D.regret) {
    const box = el("div", {});
    pair.append(el("figure", {}, el("figcaption", {}, el("b", {}, `Fronts on ${r.device}`), "solid: within the limits on it alone; dashed: on every device"), box));
    stairChart(box, [{ name: "alone", steps: r.own_front }, { name: "joint", steps: r.joint_front }], `latency on ${r.device}, ms`, "ms", null);
  }
}

// ---- layers and kernels ---------------------------------------------------------------------------------------------------
function grouped(key) {
  const out = new Map();
  for (const layer of D.breakdown.layers) {
    const k = key(layer);
    if (k === null) continue;
    const sum = out.get(k) || { params: 0, macs: 0, layers: 0, s: D.devices.map(() => 0), share: D.devices.map(() => 0) };
    sum.params += layer.params; sum.macs += layer.macs; sum.layers += 1;
    layer.kernels.forEach((one, d) => { if (one) { sum.s[d] += one.s; sum.share[d] += one.share; } });
    out.set(k, sum);
  }
  return [...out];
}
function stage(layer) {
  const parts = layer.name.split("."), first = parts[0];
  const crowded = D.breakdown.layers.filter((l) => l.name.split(".")[0] === first).length > D.breakdown.layers.length / 2;
  return crowded && parts.length > 1 ? `${first}.${parts[1]}` : first;
}
const gauge = (share, d) => { const bar = el("span", { class: d ? "bar other" : "bar" }); bar.style.width = `${(100 * share).toFixed(2)}px`; return bar; };
function sums(title, rows, sort) {
  if (sort) rows.sort((a, b) => b[1].s[0] - a[1].s[0]);
  return el("div", {}, el("h3", {}, title), el("div", { class: "scroll free" }, el("table", {},
    el("thead", {}, el("tr", {}, el("th", { class: "text" }, "part"), D.devices.map((d) => el("th", { class: "text", colspan: 2 }, `device time${DEVICES > 1 ? ` on ${d.label}` : ""}`)), el("th", {}, "parameters"), el("th", {}, "MACs, M"))),
    el("tbody", {}, rows.map(([name, s]) => el("tr", {}, el("td", { class: "text" }, name), s.share.map((share, d) => [el("td", { class: "num" }, `${fixed(1e3 * s.s[d], 2)} ms, ${fixed(100 * share, 1)} %`), el("td", { class: "text" }, gauge(share, d))]), el("td", {}, fmt(s.params)), el("td", {}, fmt(s.macs / 1e6))))))));
}
function parts() {
  const b = D.breakdown, kernels = (l, d) => l.kernels[d];
  const list = el("details", {}, el("summary", {}, `All ${b.layers.length} layers`),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Layers" }, el("table", {}, el("thead", {}, el("tr", {}, ["layer", "op", "in", "out"].map((t) => el("th", { class: "text" }, t)), el("th", {}, "parameters"), el("th", {}, "MACs, M"),
      D.devices.map((d) => [el("th", {}, `time${DEVICES > 1 ? ` on ${d.label}` : ""}, µs`), el("th", {}, "share, %"), el("th", {}, "of peak, %"), el("th", {}, "of bandwidth, %"), el("th", { class: "text" }, "rests on")]))),
    el("tbody", {}, b.layers.map((l) => el("tr", {}, [l.name, l.op, l.in, l.out].map((t) => el("td", { class: "text" }, t)), el("td", {}, l.params ? fmt(l.params) : ""), el("td", {}, l.macs ? fmt(l.macs / 1e6) : ""),
      D.devices.map((_, d) => { const k = kernels(l, d); return k ? [fmt(1e6 * k.s), fixed(100 * k.share, 2), fixed(100 * k.peak, 1), fixed(100 * k.bandwidth, 1), k.rests].map((t, n) => el("td", { class: n === 4 ? "text" : null }, t)) : [el("td", { class: "text fine", colspan: 5 }, l.op === "Input" ? "" : "no kernel of its own")]; })))))));
  $("parts").append(el("p", {}, `Candidate #${b.rank} at ${D.query.space.size}, batch 1: ${D.devices.map((d, i) => `${b.devices[i].kernels} kernels on ${d.label}${b.devices[i].host_bound ? " (the host's dispatch takes longer than the device)" : ""}`).join(", ")}. zoo report ${D.folder}#RANK takes another one apart.`),
    el("div", { class: DEVICES > 1 ? "cols one" : "cols" }, sums("By stage", grouped((l) => (l.op === "Input" ? null : stage(l))), false), sums("By kind of kernel", grouped((l) => (l.kernels[0] ? l.kernels[0].kind : null)), true)), list);
}

// ---- provenance and certificate -----------------------------------------------------------------------------------------------
const grid = (headings, rows, texts = 1) => el("div", { class: "scroll free" }, el("table", {}, el("thead", {}, el("tr", {}, headings.map((t, k) => el("th", { class: k < texts || k === headings.length - 1 ? "text" : null }, t)))),
  el("tbody", {}, rows.map((row) => el("tr", {}, row.map((t, k) => el("td", { class: k < texts ? "text" : k === headings.length - 1 ? "text long" : "num" }, t)))))));
const flat = (v, name) => (v !== null && typeof v === "object" && !Array.isArray(v) ? Object.entries(v).flatMap(([k, inner]) => flat(inner, name ? `${name}.${k}` : k)) : [[name, typeof v === "object" ? JSON.stringify(v) : show(v)]]);
const percent = (v) => (v === null || v === undefined ? "–" : `${fixed(100 * v, 1)} %`);
function sources() {
  const hold = $("sources");
  hold.append(el("h3", {}, "mIOU"));
  for (const a of D.accuracy || []) {
    const e = a.leave_one_out, b = a.leave_value_out;
    hold.append(el("p", {}, `${D.families.length > 1 ? `Family ${a.family}. ` : ""}Predicted by the model “${a.name}”. Protocol: ${a.protocol}. ${a.why ? `Form: ${a.form}; ${a.why}. ` : ""}Refitted without each of the ${a.networks_are ?? "published networks"} in turn, it is off by ${fixed(e.mae, 2)} points on average (${e.n} networks, ${percent(e.within_90)} inside their 90 % intervals)${b ? `; without all networks of one value of a curve, by ${fixed(b.mae, 2)}` : ""}. Noise of one training run: ${a.noise_sd} points${a.figures_are ? "" : ", assumed"}.`),
      el("details", {}, el("summary", {}, `${a.figures.length} ${a.figures_are ?? "published figures"} it rests on`), grid(["network or change", "kind", "value", "protocol", "source"], a.figures.map((f) => [f.name, f.kind, fixed(f.value, 1), f.protocol, f.source]), 2)),
      el("details", {}, el("summary", {}, `${a.effects.length} effects it adds up`), grid(["effect", "prior, points", "posterior, points", "from figures", "basis"], a.effects.map((f) => [f.name, `${fmt(f.prior.mean)} ± ${fmt(f.prior.sd)}`, `${fmt(f.posterior.mean)} ± ${fmt(f.posterior.sd)}`, f.fitted ? "yes" : "no: prior only", f.basis]))),
      el("details", {}, el("summary", {}, `${a.networks_are ? "Networks" : "Published networks"} beside predictions made without them`), grid(["network", a.networks_are ? "measured" : "published", "predicted", "interval", "error", "knows enough"], e.points.map((p) => [p.name, fixed(p.published, 1), fixed(p.predicted, 1), `${fixed(p.low, 1)}–${fixed(p.high, 1)}`, fixed(p.error, 1), p.supported ? "yes" : "no: an effect is in this network alone"]))));
  }
  if (!D.accuracy) hold.append(el("p", {}, `Accuracy: ${D.query.accuracy}. ${[...new Set(D.front.source)].join("; ")}.`), D.accuracy_used ? grid(["", ""], flat(D.accuracy_used, "")) : "");
  if (D.study) hold.append(el("h3", {}, "The study"), el("p", {}, "This asks the same again:"), el("code", { class: "block" }, D.command), grid(["", ""], [...flat(D.study.sampler, "sampler"), ...flat(D.study.trials, "trials")]),
    D.study.differences?.length ? grid(["neighbours on the front", "difference, points", "noise reaches, points", "larger than the noise"], D.study.differences.map((d) => [d.ranks.map((n) => `#${n}`).join(" and "), fixed(d.difference, 2), fixed(d.noise, 2), d.exceeds_noise ? "yes" : "no"])) : "");
  hold.append(el("h3", {}, "Parameters, MACs, memory"), el("p", {}, "Counted from the lowered graph, exactly. One MAC is one multiply and one add of convolutions and linear layers. Weights are 32-bit floats. Memory is weights and the largest sum of live activations, at batch 1."));
  D.devices.forEach((d, i) => {
    const p = Object.entries(D.breakdown.devices[i].provenance).map(([k, v]) => `${k} ${percent(v)}`).join(", ");
    hold.append(el("h3", {}, `Latency, power and energy on ${d.label}`), el("p", {}, `${d.title}, ${d.stack}. Power: ${d.power_covers}. ${d.power_note} Device time of candidate #${D.breakdown.rank} rests on: ${p}.`),
      d.checked.length ? grid(["checked against published figures, each network left out", "figures", "mean error", "inside the interval", ""], d.checked.map((c) => [c.metric, c.points, percent(c.mape), percent(c.coverage), ""])) : "",
      el("details", {}, el("summary", {}, `Numbers of ${d.name}`), grid(["number", "value", "unit", "kind", "source"], Object.entries(d.numbers).map(([k, n]) => [k, n.value >= 1e6 ? n.value.toExponential(3) : fmt(n.value, 4), n.unit, n.kind, n.source])), el("p", { class: "fine" }, `Clocks: ${d.clocks}`), d.notes.map((t) => el("p", { class: "fine" }, t))));
  });
  if (D.published.length) hold.append(el("h3", {}, "Published networks in the charts"), el("p", { class: "fine" }, "Their mIOU is the published one, their cost is predicted like everybody's."), grid(["network", "mIOU, %", "source"], D.published.map((p) => [p.name, fixed(p.miou, 1), p.source])));
}
function proof() {
  const c = D.certificate, hold = $("proof");
  if (!Object.keys(c).length) { hold.append(el("p", {}, D.study ? "A study has no certificate: it measured some candidates, and others may be better. zoo search --resume goes on with it." : "This run has no certificate.")); return; }
  const hashes = flat(c.basis || {}, ""), counts = ["enumerated", "feasible", "front", "complete", "front_sha256"].filter((k) => k in c).map((k) => [k, show(c[k])]);
  if ("front_sha256" in c && !D.certified) hold.append(el("p", { class: "warning", role: "alert" }, "The front of this run is not the one that its certificate was written for: it was changed after the search."));
  hold.append(el("p", {}, "It binds the question and everything the answer rests on to the answer. To verify is to answer again: every combination is made a network, every member of the front is counted and priced on its own, and every other candidate is shown to be over a limit or dominated."),
    el("code", { class: "block" }, `zoo verify ${quoted(D.folder)}`),
    grid(["", ""], [...counts, ...hashes, ["sha256 of certificate.json", D.certificate_sha256], ["made by", `edgeseg-zoo ${D.version}`]]),
    el("details", {}, el("summary", {}, "The question, in full"), el("code", { class: "block" }, JSON.stringify(c.query || D.query))));
}

// ---- legend and start ---------------------------------------------------------------------------------------------------------
function legend() {
  const icon = (...shapes) => svg("svg", { width: 22, height: 16, "aria-hidden": "true" }, ...shapes);
  const entry = (text, ...shapes) => el("span", {}, icon(...shapes), text);
  const p = (name, d) => svg("path", { class: name, d });
  const others = D.tried.source.some((s) => s !== D.front.source[0]) ? " (most by the short protocol)" : "";
  if (D.families.length > 1) $("legend").append(...D.families.map((name, k) => entry(name, p(`dot kin${k % KINS}`, "M11 8h0"))));
  $("legend").append(entry("beaten by none on the two axes", p("stairs", "M1 12H11V4H21"), p("dot", "M11 4h0")), entry("on the front of all objectives", p("weak", "M11 8h0")),
    D.front.source.some((_, i) => measured(i)) ? entry("trained or measured mIOU", p("trained", square(11, 8, 4))) : "", D.tried.params.length ? entry(`measured, not on the front${others}`, p("tried", square(11, 8, 3.5))) : "", D.cloud.params.length ? entry(D.study ? "other candidates, predicted (a sample)" : "feasible, dominated (a sample)", p("cloud", "M11 8h0")) : "",
    D.expected.params.length ? entry("front expected from the trials", p("expected", circle(11, 8, 3))) : "", entry("outside the sliders' limits", p("out", "M11 8h0")), D.published.length ? entry("published mIOU", p("paper", diamond(11, 8, 5))) : "", entry("best within the limits", p("star", starPath(11, 8, 8))),
    entry("selected", svg("circle", { class: "ring", cx: 11, cy: 8, r: 6 })), entry("limit", p("limit", "M11 0V16")));
}
/** Of a study the points are of three kinds, which must not be taken for one another. */
function how() {
  if (!D.study) return;
  const expected = D.accuracy_used?.expected ? `${D.accuracy_used.expected}` : "from the trials";
  $("how").prepend(`Squares were measured: the mean of a candidate's runs, with its 95 % interval where it is on the front. Circles and grey dots were not: their mIOU is expected ${expected}. `);
}
head();
shortlist();
legend();
how();
controls();
for (const name of ["latency", "size", "energy", D.axes.find((a) => a.objective && !["miou", "weight_bytes", "latency_s", "energy_j"].includes(a.metric))?.name || "macs"]) chart(name, "miou");
changed();
choose(selected);
costs();
parts();
sources();
proof();
for (const link of document.querySelectorAll("nav a")) link.hidden = $(link.hash.slice(1)).hidden;
let pending = 0;
window.addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(() => { charts.forEach(draw); redraw.forEach((f) => f()); }); });
document.documentElement.dataset.ready = "true";
})();
