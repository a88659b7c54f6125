"use strict";
(() => {
const D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const cellStart = new Float32Array(bytes(D.cells.start).buffer), cellLikely = bytes(D.cells.probability);
const pieces = D.signal.pieces.map(p => ({ start: p.start, step: p.step, values: new Int8Array(bytes(p.values).buffer) }));
const R = D.runs, DAY = 86400, total = Math.max(D.seconds, 1e-3);
let from = 0, to = total, cursor = null;

// the last place of a sorted list that is not after t; -1 before all
function place(list, t) {
  let low = 0, high = list.length;
  while (low < high) { const mid = (low + high) >> 1; if (list[mid] <= t) low = mid + 1; else high = mid; }
  return low - 1;
}
const gapStart = D.gaps.map(g => g[0]);
function at(t) {
  const k = place(R.start, t);
  if (k >= 0 && t < R.end[k]) {
    const c = place(cellStart, t), likely = c < 0 ? 255 : cellLikely[c];
    return { label: R.label[k], name: D.labels[R.label[k]].name, likely: likely === 255 ? null : likely / 100 };
  }
  const g = place(gapStart, t);
  return { label: -1, name: g >= 0 && t < D.gaps[g][1] ? D.gaps[g][2] : "no data", likely: null };
}
const two = n => String(Math.floor(n)).padStart(2, "0");
function clock(t, fine) {
  const s = ((t + D.offset) % DAY + DAY) % DAY, shown = fine === "s" ? Math.floor(s) : s;
  const text = two(s / 3600) + ":" + two(s % 3600 / 60);
  return fine ? text + ":" + two(shown % 60) + (fine === "ms" ? "." + Math.floor(s * 10 % 10) : "") : text;
}
function dayName(k) {
  if (D.day === null) return "day " + (k + 1);
  const d = new Date(D.day + "T00:00:00Z"); d.setUTCDate(d.getUTCDate() + k);
  return d.toISOString().slice(0, 10);
}
const when = (t, fine) => (D.day !== null || total > DAY ? dayName(Math.floor((t + D.offset) / DAY)) + " " : "") + clock(t, fine);
function lasting(s) {
  if (s < 60) return s.toFixed(0) + " s";
  return s < 3600 ? (s / 60).toFixed(0) + " min" : Math.floor(s / 3600) + " h " + two(s % 3600 / 60) + " min";
}
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function fit(canvas) {
  const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, Math.round(box.width * ratio)); canvas.height = Math.max(1, Math.round(box.height * ratio));
  const g = canvas.getContext("2d"); g.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [g, box.width, box.height];
}
// each pixel column gets the label that lasts longest in it, in the strength of its mean probability
function ribbon(g, a, b, x0, width, y, height) {
  g.fillStyle = style("--band"); g.fillRect(x0, y, width, height);
  g.fillStyle = g.strokeStyle = style("--soft"); g.lineWidth = 1;
  D.gaps.forEach(gap => {  // hatched where the device was not worn, a thin line where data are missing
    const x1 = x0 + Math.max(0, (gap[0] - a) / (b - a) * width), x2 = x0 + Math.min(width, (gap[1] - a) / (b - a) * width);
    if (x2 <= x1) return;
    if (gap[2] !== "not worn") { g.fillRect(x1, y + height / 2 - .5, Math.max(1, x2 - x1), 1); return; }
    g.save(); g.beginPath(); g.rect(x1, y, x2 - x1, height); g.clip(); g.globalAlpha = .5; g.beginPath();
    for (let x = x1 - height; x < x2; x += 7) { g.moveTo(x, y + height); g.lineTo(x + height, y); }
    g.stroke(); g.restore();
  });
  const scale = (b - a) / width, ratio = window.devicePixelRatio || 1, step = 1 / ratio;
  let k = Math.max(0, place(R.start, a));
  const time = new Float64Array(D.labels.length);
  for (let x = 0; x < width; x += step) {
    const low = a + x * scale, high = low + step * scale;
    time.fill(0);
    while (k < R.start.length && R.end[k] <= low) k++;
    for (let j = k; j < R.start.length && R.start[j] < high; j++)
      time[R.label[j]] += Math.min(R.end[j], high) - Math.max(R.start[j], low);
    let best = 0; for (let j = 1; j < time.length; j++) if (time[j] > time[best]) best = j;
    if (!(time[best] > 0)) continue;
    const first = Math.max(0, place(cellStart, low)), last = Math.max(first, place(cellStart, high));
    let sum = 0, count = 0;
    for (let c = first; c <= last && c < cellLikely.length; c++) if (cellLikely[c] < 255) { sum += cellLikely[c]; count++; }
    g.globalAlpha = count ? .3 + .7 * sum / count / 100 : 1;
    g.fillStyle = style(D.labels[best].colour); g.fillRect(x0 + x, y, step + .05, height);
  }
  g.globalAlpha = 1;
}
// rows of 24 h from midnight; a recording of a few hours has one row of its own length
const short = total <= 6 * 3600 && Math.floor(D.offset / DAY) === Math.floor((D.offset + total - 1e-6) / DAY);
const rows = [];
if (short) rows.push({ start: 0, end: total, name: D.day === null ? "" : D.day });
else for (let k = 0; k * DAY - D.offset < total - 1e-6; k++)
  rows.push({ start: k * DAY - D.offset, end: (k + 1) * DAY - D.offset, name: dayName(k) });
for (const row of rows) {
  const line = document.createElement("div"), name = document.createElement("b");
  line.className = "row"; name.textContent = row.name; row.canvas = document.createElement("canvas");
  row.canvas.className = "ribbon"; line.append(name, row.canvas); $("ribbons").append(line);
}
const scaleRow = document.createElement("div"), hours = document.createElement("canvas");
scaleRow.className = "row"; hours.id = "scale"; scaleRow.append(document.createElement("b"), hours); $("ribbons").append(scaleRow);

const STEPS = [.1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
function ticks(g, a, b, x0, width, y, grid) {
  const room = width / 76, step = STEPS.find(s => (b - a) / s <= room) || STEPS[STEPS.length - 1];
  g.fillStyle = style("--soft"); g.strokeStyle = style("--line"); g.lineWidth = 1; g.textBaseline = "top"; g.font = "12px system-ui, sans-serif";
  let end = -Infinity;  // where the last text ends
  for (let t = Math.ceil((a + D.offset) / step - 1e-9) * step - D.offset; t <= b + 1e-6; t += step) {
    const x = x0 + (t - a) / (b - a) * width;
    if (grid) { g.beginPath(); g.moveTo(x, grid[0]); g.lineTo(x, grid[1]); g.stroke(); }
    const midnight = Math.abs((t + D.offset) % DAY) < 1e-6;
    let text = step < 1 ? clock(t, "ms") : step < 60 ? clock(t, "s") : clock(t);
    if (grid && midnight && D.day !== null) text = dayName(Math.round((t + D.offset) / DAY));
    if (!grid && midnight && t > a + 1) text = "24:00";
    const wide = g.measureText(text).width, at = Math.min(Math.max(x - wide / 2, x0), x0 + width - wide);
    if (at < end + 6) continue;  // there is no room for it
    g.textAlign = "left"; g.fillText(text, at, y); end = at + wide;
  }
}
function drawRows() {
  for (const row of rows) {
    const [g, width, height] = fit(row.canvas);
    g.clearRect(0, 0, width, height); ribbon(g, row.start, row.end, 0, width, 2, height - 4);
    const x1 = (Math.max(from, row.start) - row.start) / (row.end - row.start) * width;
    const x2 = (Math.min(to, row.end) - row.start) / (row.end - row.start) * width;
    if (x2 > x1 && (from > 0 || to < total)) {
      g.strokeStyle = style("--mark"); g.lineWidth = 2; g.strokeRect(Math.max(1, x1), 1, Math.max(3, Math.min(width - 1, x2) - Math.max(1, x1)), height - 2);
    }
  }
  const [g, width] = fit(hours); g.clearRect(0, 0, width, 40); ticks(g, rows[0].start, rows[0].end, 0, width, 2, null);
}
const BAND = 46, LEFT = 40, FOOT = 22;
function drawView() {
  const [g, width, height] = fit($("view")), inner = width - LEFT, bottom = height - FOOT, top = BAND + 10;
  g.clearRect(0, 0, width, height);
  ribbon(g, from, to, LEFT, inner, 0, BAND);
  ticks(g, from, to, LEFT, inner, bottom + 5, [top, bottom]);
  let most = .05;  // the largest value in view scales the axis
  const scale = (to - from) / inner, columns = [];
  for (const p of pieces) {
    const count = p.values.length / 6, first = Math.max(0, Math.floor((from - p.start) / p.step));
    const last = Math.min(count, Math.ceil((to - p.start) / p.step));
    for (let k = first; k < last;) {
      const x = Math.floor((p.start + k * p.step - from) / scale);
      const low = [127, 127, 127], high = [-127, -127, -127], begun = k;
      do {
        for (let c = 0; c < 3; c++) {
          low[c] = Math.min(low[c], p.values[6 * k + 2 * c]); high[c] = Math.max(high[c], p.values[6 * k + 2 * c + 1]);
        }
        k++;
      } while (k < last && Math.floor((p.start + k * p.step - from) / scale) === x);
      columns.push([x, Math.max(1, p.step / scale), low, high, begun === first]);
      for (let c = 0; c < 3; c++) most = Math.max(most, Math.abs(low[c]) * D.signal.bound / 127, Math.abs(high[c]) * D.signal.bound / 127);
    }
  }
  const middle = (top + bottom) / 2, per = (bottom - top) / 2 / (most * 1.05);
  const mark = [.02, .05, .1, .2, .5, 1, 2, 4, 8, 16].find(m => m * 2.5 >= most) || 16;
  g.font = "12px system-ui, sans-serif"; g.textAlign = "right"; g.textBaseline = "middle"; g.strokeStyle = style("--line");
  for (let v = -Math.floor(most / mark) * mark; v <= most + 1e-9; v += mark) {
    const y = middle - v * per; g.beginPath(); g.moveTo(LEFT, y); g.lineTo(width, y); g.stroke();
    g.fillStyle = style("--soft"); g.fillText((Math.round(v * 100) / 100 + 0) + " g", LEFT - 5, y);
  }
  g.save(); g.beginPath(); g.rect(LEFT, top, inner, bottom - top); g.clip(); g.globalAlpha = .7;
  for (let c = 0; c < 3; c++) {
    g.fillStyle = style(D.axes[c].colour);
    let before = null;
    for (const [x, w, low, high, begins] of columns) {
      let a = low[c], b = high[c];
      if (before && !begins) { a = Math.min(a, before[1]); b = Math.max(b, before[0]); }  // columns touch
      const y1 = middle - b * D.signal.bound / 127 * per, y2 = middle - a * D.signal.bound / 127 * per;
      g.fillRect(LEFT + x, y1 - .5, w + .5, Math.max(1.3, y2 - y1 + 1)); before = [low[c], high[c]];
    }
  }
  g.restore();
  if (cursor !== null && cursor >= from && cursor <= to) {
    const x = LEFT + (cursor - from) / (to - from) * inner;
    g.strokeStyle = style("--mark"); g.lineWidth = 1; g.beginPath(); g.moveTo(x, 0); g.lineTo(x, bottom); g.stroke();
  }
}
let asked = false;
function draw() { if (!asked) { asked = true; requestAnimationFrame(() => { asked = false; drawRows(); drawView(); }); } }
function caption() {
  $("range").textContent = when(from, "s") + " – " + (total > DAY ? when(to, "s") : clock(to, "s")) + " (" + lasting(to - from) + ")";
}
function show(a, b) {
  const least = Math.min(2, total), length = Math.min(total, Math.max(least, b - a));
  from = Math.min(Math.max(0, a + (b - a - length) / 2), total - length); to = from + length; caption(); draw();
}
function zoom(factor, middle) {
  const m = middle === undefined ? (from + to) / 2 : middle;
  show(m - (m - from) * factor, m + (to - m) * factor);
}
function read(t) {
  cursor = Math.min(Math.max(0, t), total - 1e-6);
  const found = at(cursor), out = $("readout"); out.textContent = "";
  const strong = document.createElement("strong"); strong.textContent = found.name;
  out.append(when(cursor, to - from < 120 ? "ms" : "s") + "  ", strong);
  if (found.likely !== null) out.append("  probability " + found.likely.toFixed(2));
  draw();
}
// pointers: one drags or reads, two pinch
const view = $("view"), held = new Map();
const timeAt = x => { const box = view.getBoundingClientRect(); return from + (x - box.left - LEFT) / (box.width - LEFT) * (to - from); };
view.addEventListener("pointerdown", e => { held.set(e.pointerId, e.clientX); try { view.setPointerCapture(e.pointerId); } catch (_) { } read(timeAt(e.clientX)); });
view.addEventListener("pointermove", e => {
  if (!held.has(e.pointerId)) { read(timeAt(e.clientX)); return; }
  const before = [...held.values()], width = view.getBoundingClientRect().width - LEFT, old = held.get(e.pointerId);
  held.set(e.pointerId, e.clientX);
  if (held.size === 1) { const moved = (old - e.clientX) / width * (to - from); show(from + moved, to + moved); read(timeAt(e.clientX)); return; }
  const now = [...held.values()], apart = v => Math.max(10, Math.abs(v[0] - v[1]));
  zoom(apart(before) / apart(now), timeAt((now[0] + now[1]) / 2));
});
for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, e => held.delete(e.pointerId));
view.addEventListener("wheel", e => { e.preventDefault(); zoom(Math.exp(Math.max(-60, Math.min(60, e.deltaY)) * .004), timeAt(e.clientX)); read(timeAt(e.clientX)); }, { passive: false });
view.addEventListener("keydown", e => {
  const length = to - from, keys = { ArrowLeft: () => show(from - length / 4, to - length / 4), ArrowRight: () => show(from + length / 4, to + length / 4),
    "+": () => zoom(.5), "=": () => zoom(.5), "-": () => zoom(2), Home: () => show(0, total) };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});
for (const row of rows) {
  const time = e => { const box = row.canvas.getBoundingClientRect(); return row.start + (e.clientX - box.left) / box.width * (row.end - row.start); };
  row.canvas.addEventListener("pointermove", e => read(time(e)));
  row.canvas.addEventListener("click", e => { const half = Math.min(to - from, Math.max(120, (row.end - row.start) / 24)) / 2, t = time(e); show(t - half, t + half); read(t); });
}
$("in").onclick = () => zoom(.5); $("out").onclick = () => zoom(2); $("all").onclick = () => show(0, total);
$("left").onclick = () => show(from - (to - from) / 2, to - (to - from) / 2); $("right").onclick = () => show(from + (to - from) / 2, to + (to - from) / 2);

const time = D.labels.map(() => 0);
R.label.forEach((k, n) => { time[k] += R.end[n] - R.start[n]; });
D.labels.forEach((label, k) => {
  if (!time[k]) return;
  const item = document.createElement("li"), spot = document.createElement("i"), amount = document.createElement("span");
  spot.style.background = `var(${label.colour})`; amount.textContent = lasting(time[k]); item.append(spot, label.name, amount); $("legend").append(item);
});
for (const [name, chosen] of [["not worn", true], ["missing", false]]) {
  const lost = D.gaps.filter(gap => (gap[2] === "not worn") === chosen).reduce((sum, gap) => sum + gap[1] - gap[0], 0);
  if (!lost) continue;
  const item = document.createElement("li"), spot = document.createElement("i"), amount = document.createElement("span");
  spot.className = chosen ? "hatched" : "line"; amount.textContent = lasting(lost); item.append(spot, name, amount); $("legend").append(item);
}
D.axes.forEach(axis => {
  const item = document.createElement("li"), spot = document.createElement("i");
  spot.style.background = `var(${axis.colour})`; spot.style.height = ".25rem"; spot.style.verticalAlign = "4px"; item.append(spot, axis.name); $("legend").append(item);
});
addEventListener("resize", draw); matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
const wanted = /^#t=([\d.]+)(?:-([\d.]+))?$/.exec(location.hash);  // page.html#t=3600-7200 shows this time
if (wanted) { if (wanted[2]) show(+wanted[1], +wanted[2]); read(+wanted[1]); }
caption(); drawRows(); drawView(); document.body.dataset.ready = "yes";
})();
