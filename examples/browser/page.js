import { SECONDS, median, numbers, openModel, probabilities, readTable, signalOf, stretches } from "./label.js";

const $ = id => document.getElementById(id);
const COLOURS = ["#56b4e9", "#e69f00", "#2fb68a", "#dd96bd", "#f08a4b", "#c9bb2c", "#a99be0", "#c9a17a", "#9fb4c2", "#b4d37a"];
const colour = number => COLOURS[number % COLOURS.length];
const state = { model: null, modelName: "", table: null, name: "", signal: null, rows: [], run: 0 };

function svg(name, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== "") element.textContent = text;
  return element;
}
function swatch(number) {
  const box = svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" });
  box.append(svg("rect", { width: 10, height: 10, rx: 2, fill: colour(number) }));
  return box;
}
function element(name, ...inside) {
  const made = document.createElement(name);
  made.append(...inside);
  return made;
}
function fail(error) {
  $("error").textContent = error.message ?? String(error);
  $("error").hidden = false;
  $("status").textContent = "";
}

// ---- files

async function take(files) {
  $("error").hidden = true;
  try {
    for (const file of files) {
      if (file.name.endsWith(".onnx")) await takeModel(new Uint8Array(await file.arrayBuffer()), file.name);
      else await takeRecording(await file.text(), file.name);
    }
    await label();
  } catch (error) { fail(error); }
}
async function takeModel(bytes, name) {
  $("status").textContent = "opening the model";
  $("result").hidden = true;
  state.model = await openModel(bytes);
  state.modelName = name;
  const { classes, channels, rate, steps } = state.model;
  $("facts").textContent = `${name}: ${classes.join(", ")}; ${channels.join(", ")} at ${rate} Hz, windows of ${steps / rate} s`;
  if (state.table) guess();
}
async function takeRecording(text, name) {
  state.table = readTable(text);
  state.name = name;
  if (state.model) guess();
}

// ---- columns and units: guessed from names and values, and changed by the reader

const PATTERNS = {
  time: [/^(time|timestamp|t|seconds|datetime|date)$/, /time/, /^(s|ms|ns)$/],
  acc: axis => [RegExp(`^(acc|accel|acceleration|accelerometer|a)${axis}$`), RegExp(`acc.*${axis}$`), RegExp(`^${axis}$`)],
  gyro: axis => [RegExp(`^(gyro|gyr|gyroscope|rotationrate|g|w)${axis}$`), RegExp(`gyr.*${axis}$`), RegExp(`rot.*${axis}$`)],
};
function likeliest(patterns) {
  const plain = state.table.header.map(name => name.toLowerCase().replace(/\(.*\)|\[.*\]|[^a-z]/g, ""));
  for (const pattern of patterns) {
    const place = plain.findIndex(name => pattern.test(name));
    if (place >= 0) return state.table.header[place];
  }
  return state.table.header[0];
}
function lengths(columns, sensor) {
  const parts = Object.keys(columns).filter(name => name.startsWith(sensor)).map(name => numbers(state.table, columns[name]));
  return parts.length ? parts[0].map((_, i) => Math.hypot(...parts.map(values => values[i]))).filter(value => !Number.isNaN(value)) : [];
}
function guess() {
  const columns = { time: likeliest(PATTERNS.time) };
  for (const name of state.model.channels) columns[name] = likeliest(PATTERNS[name.split("_")[0]](name.slice(-1)));
  const times = numbers(state.table, columns.time).filter(value => !Number.isNaN(value));
  const step = times.length > 1 ? median(times.slice(1).map((t, i) => t - times[i])) : 1;
  const time = Object.keys(SECONDS).find(unit => 1 / (step * SECONDS[unit]) >= 1 && 1 / (step * SECONDS[unit]) < 5000) ?? "s";
  const still = median(lengths(columns, "acc"));
  const acc = still > 100 ? "mg" : still > 4 ? "m/s2" : "g";
  const turns = lengths(columns, "gyro").sort();
  const gyro = turns.length && turns[Math.floor(0.99 * turns.length)] > 35 ? "deg/s" : "rad/s";
  offer(columns, { time, acc, gyro });
}
function offer(columns, units) {
  const select = (id, options, chosen, text) => {
    const made = element("select", ...options.map(name => new Option(name, name, false, name === chosen)));
    made.id = id;
    made.addEventListener("change", label);
    return element("label", text, made);
  };
  const sensors = [...new Set(state.model.channels.map(name => name.split("_")[0]))];
  const same = { acc: ["g", "m/s2", "mg"], gyro: ["rad/s", "deg/s"] };
  $("choices").replaceChildren(
    ...Object.entries(columns).map(([name, column]) => select(`column-${name}`, state.table.header, column, name)),
    select("unit-time", Object.keys(SECONDS), units.time, "unit of time"),
    ...sensors.map(name => select(`unit-${name}`, same[name], units[name], `unit of ${name}`)),
  );
  $("settings").hidden = false;
}

// ---- labels

async function label() {
  if (!state.model || !state.table) {
    $("status").textContent = state.model ? "Now a recording." : state.table ? "Now a model." : "";
    return;
  }
  const run = ++state.run;
  $("error").hidden = true;
  $("status").textContent = "labelling";
  try {
    const value = id => $(id)?.value;
    const columns = { time: value("column-time") };
    for (const name of state.model.channels) columns[name] = value(`column-${name}`);
    const units = { time: value("unit-time"), acc: value("unit-acc"), gyro: value("unit-gyro") };
    const signal = signalOf(state.table, state.model, columns, units);
    const start = performance.now();
    const likely = await probabilities(state.model, signal, share => { $("status").textContent = `labelled ${Math.round(100 * share)} %`; });
    if (run !== state.run) return;
    const took = performance.now() - start;
    state.signal = signal;
    state.rows = stretches(state.model, likely);
    $("status").textContent =
      `${state.name}: ${lasting(signal[0].length / state.model.rate)}, ${likely.length} windows in ${took.toFixed(0)} ms; `
      + `time in ${units.time}` + Object.entries({ acc: units.acc, gyro: units.gyro }).filter(([, unit]) => unit)
        .map(([name, unit]) => `, ${name} in ${unit}`).join("");
    show();
  } catch (error) { if (run === state.run) { $("result").hidden = true; fail(error); } }
}

// ---- what is shown

const two = n => String(Math.floor(n)).padStart(2, "0");
const clock = s => (s >= 3600 ? `${Math.floor(s / 3600)}:${two((s % 3600) / 60)}` : Math.floor(s / 60)) + `:${two(s % 60)}`;
function lasting(s) {
  if (s < 60) return `${s.toFixed(0)} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min ${two(s % 60)} s` : `${Math.floor(s / 3600)} h ${two((s % 3600) / 60)} min`;
}

function show() {
  const totals = new Map();
  for (const row of state.rows) totals.set(row.number, (totals.get(row.number) ?? 0) + row.end - row.start);
  const order = [...totals].sort((a, b) => b[1] - a[1]);
  $("legend").replaceChildren(...order.map(([number, seconds]) =>
    element("li", swatch(number), state.model.classes[number] + " ", element("span", lasting(seconds)))));
  $("rows").replaceChildren(...state.rows.map(row => {
    const name = element("td", swatch(row.number), row.label);
    return element("tr", element("td", clock(row.start)), element("td", clock(row.end)), name, element("td", row.probability.toFixed(2)));
  }));
  $("result").hidden = false;
  draw();
}

const PLOT = { left: 34, ribbon: 34, height: 220, top: 8 };
const ticks = (span, most) => [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400].find(step => span / step <= most) ?? 172800;

function draw() {
  const width = Math.max(240, $("plot").clientWidth), { left, ribbon, height, top } = PLOT, bottom = top + ribbon + 10 + height;
  const { rate, channels } = state.model, total = state.signal[0].length / rate;
  const x = t => left + (t / total) * (width - left - 6);
  const acc = [0, 1, 2].filter(k => channels[k]?.startsWith("acc"));
  const shown = acc.length ? acc : channels.map((_, k) => k).slice(0, 3);
  const unit = acc.length ? "g" : "rad/s";
  let low = -0.1, high = 0.1;
  for (const k of shown) for (const value of state.signal[k]) { low = Math.min(low, value); high = Math.max(high, value); }
  const y = value => bottom - 8 - ((value - low) / (high - low)) * (height - 16);
  const said = [...new Set(state.rows.map(row => row.label))].join(", ");
  const made = svg("svg", { viewBox: `0 0 ${width} ${bottom + 44}`, role: "img", "aria-label": `Labels over time (${said}) and the signal in ${unit}; the timeline below lists them` });
  const gap = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].find(step => (high - low) / step <= 6) ?? 100;
  for (let n = Math.ceil(low / gap); n * gap <= high; n++) {
    const value = n * gap;
    made.append(svg("line", { class: "grid", x1: left, x2: width - 6, y1: y(value), y2: y(value) }));
    made.append(svg("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toFixed(1)))));
  }
  made.append(svg("text", { x: left, y: bottom + 40 }, unit === "g" ? "acceleration in g" : "angular rate in rad/s"));
  for (let t = 0, step = ticks(total, (width - left) / 70); t <= total; t += step)
    made.append(svg("text", { x: x(t), y: bottom + 18, "text-anchor": t === 0 ? "start" : "middle" }, clock(t)));
  for (const row of state.rows) {
    const wide = x(row.end) - x(row.start);
    made.append(svg("rect", { x: x(row.start), y: top, width: Math.max(0.5, wide), height: ribbon, fill: colour(row.number) }));
    if (wide > 7.5 * row.label.length + 8)
      made.append(svg("text", { class: "name", x: x(row.start) + wide / 2, y: top + ribbon / 2 + 4, "text-anchor": "middle" }, row.label));
  }
  shown.forEach((k, place) => {
    made.append(svg("path", { class: `axis ${"xyz"[place]}`, d: path(state.signal[k], rate, x, y, width - left) }));
    const at = width - 6 - 34 * (shown.length - place);
    made.append(svg("line", { class: `key ${"xyz"[place]}`, "stroke-width": 2, x1: at, x2: at + 14, y1: bottom + 36, y2: bottom + 36 }));
    made.append(svg("text", { x: at + 18, y: bottom + 40 }, channels[k].slice(-1)));
  });
  const cursor = svg("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
  made.append(cursor);
  made.addEventListener("pointermove", event => {
    const box = made.getBoundingClientRect(), t = ((event.clientX - box.left - left) / (box.width - left - 6)) * total;
    const row = state.rows.find(each => t >= each.start && t < each.end);
    if (t < 0 || t > total) return;
    cursor.setAttribute("x1", x(t)); cursor.setAttribute("x2", x(t)); cursor.setAttribute("visibility", "visible");
    $("readout").textContent = `${clock(t)}  ` + (row ? `${row.label}, probability ${row.probability.toFixed(2)}` : "shorter than a window");
  });
  $("plot").replaceChildren(made);
}
// a line through the lowest and the highest value of each pixel column
function path(values, rate, x, y, columns) {
  const size = Math.max(1, Math.floor(values.length / columns)), parts = [];
  for (let at = 0; at < values.length; at += size) {
    let low = at, high = at;
    for (let i = at; i < Math.min(values.length, at + size); i++) {
      if (values[i] < values[low]) low = i;
      if (values[i] > values[high]) high = i;
    }
    for (const i of low === high ? [low] : low < high ? [low, high] : [high, low]) parts.push(`${x(i / rate).toFixed(1)} ${y(values[i]).toFixed(1)}`);
  }
  return "M" + parts.join("L");
}

export function timeline() {
  const quoted = text => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return ["start_s,end_s,label,probability", ...state.rows.map(row =>
    `${row.start.toFixed(2)},${row.end.toFixed(2)},${quoted(row.label)},${row.probability.toFixed(3)}`)].join("\n") + "\n";
}

// ---- events

$("model").addEventListener("change", event => take(event.target.files));
$("recording").addEventListener("change", event => take(event.target.files));
document.addEventListener("dragover", event => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", event => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", event => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
$("save").addEventListener("click", () => {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([timeline()], { type: "text/csv" }));
  link.download = state.name.replace(/\.[^.]*$/, "") + ".timeline.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});
new ResizeObserver(() => { if (state.rows.length && !$("result").hidden) draw(); }).observe($("result"));

// index.html?model=model.onnx opens a model that lies next to the page
const wanted = new URLSearchParams(location.search).get("model");
if (wanted) {
  fetch(wanted).then(async answer => {
    if (!answer.ok) throw new Error(`no model at '${wanted}' (${answer.status})`);
    await takeModel(new Uint8Array(await answer.arrayBuffer()), wanted);
    await label();
  }).catch(fail);
}
