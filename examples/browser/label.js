// From a CSV file and an exported model to labels. Nothing here needs a page: it also runs in workers and in Node.js.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send

export const UNITS = { "g": 1, "m/s2": 1 / 9.80665, "mg": 1e-3, "rad/s": 1, "deg/s": Math.PI / 180 };
export const SECONDS = { "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9 };
const BATCH = 256; // windows that are computed at once

// The metadata of an ONNX file: pairs of text in field 14 of its outermost message.
export function metadata(bytes) {
  const text = new TextDecoder();
  const found = {};
  const fields = (from, to, each) => {
    let at = from;
    const varint = () => {
      let value = 0;
      for (let shift = 1; at < to; shift *= 128) {
        const byte = bytes[at++];
        value += (byte & 127) * shift;
        if (byte < 128) return value;
      }
      throw new Error("this is not an ONNX file");
    };
    while (at < to) {
      const key = varint(), kind = key & 7;
      if (kind === 2) {
        const size = varint();
        each(key >> 3, at, at + size);
        at += size;
      } else if (kind === 0) varint();
      else if (kind === 1) at += 8;
      else if (kind === 5) at += 4;
      else throw new Error("this is not an ONNX file");
    }
    if (at !== to) throw new Error("this ONNX file is not whole");
  };
  fields(0, bytes.length, (field, from, to) => {
    if (field !== 14) return;
    const pair = {};
    fields(from, to, (number, a, b) => { pair[number] = text.decode(bytes.subarray(a, b)); });
    found[pair[1]] = pair[2];
  });
  return found;
}

// A model and what its metadata say of it.
export async function openModel(bytes) {
  const facts = metadata(bytes);
  for (const name of ["classes", "channels", "rate_hz", "steps"])
    if (!(name in facts)) throw new Error(`the file states no ${name}; expected a model that 'otolith export' wrote`);
  const classes = JSON.parse(facts.classes);
  if (!classes.length) throw new Error("this file is an encoder and knows no labels; export a classifier");
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  const rate = Number(facts.rate_hz), steps = Number(facts.steps);
  return { session, classes, channels: JSON.parse(facts.channels), rate, steps };
}

// A table with a header: its column names and its cells as text. Lines with another number of cells are left out.
export function readTable(text) {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  const delimiter = [",", ";", "\t"].reduce((a, b) => (lines[0].split(b).length > lines[0].split(a).length ? b : a));
  const cells = line => line.split(delimiter).map(cell => cell.trim().replace(/^"(.*)"$/, "$1"));
  const header = cells(lines[0]);
  const rows = lines.slice(1).map(cells).filter(row => row.length === header.length);
  if (header.length < 2 || rows.length < 2) throw new Error("the file holds no table with a header; expected CSV");
  if (header.every(name => name !== "" && !Number.isNaN(Number(name))))
    throw new Error("the first line holds numbers; expected a header with the names of the columns");
  return { header, rows };
}

// One column as numbers; dates become seconds. An empty cell is NaN.
export function numbers(table, name) {
  const place = table.header.indexOf(name);
  if (place < 0) throw new Error(`no column ${name}; the columns are ${table.header.join(", ")}`);
  return Float64Array.from(table.rows, row => {
    if (row[place] === "") return NaN;
    const value = Number(row[place]);
    if (!Number.isNaN(value)) return value;
    const date = Date.parse(row[place]);
    if (Number.isNaN(date)) throw new Error(`column ${name} holds '${row[place]}'; expected a number`);
    return date / 1000;
  });
}

export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function interpolate(wanted, time, values) {
  const out = new Float64Array(wanted.length);
  let k = 0;
  for (let i = 0; i < wanted.length; i++) {
    while (k < time.length - 2 && time[k + 1] <= wanted[i]) k++;
    const share = Math.min(1, Math.max(0, (wanted[i] - time[k]) / (time[k + 1] - time[k])));
    out[i] = values[k] + share * (values[k + 1] - values[k]);
  }
  return out;
}

const range = (from, to, step) => Float64Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);

// A low-pass filter: a windowed sinc, whose ends see the signal's first and last value.
function filtered(values, cut) {
  const half = Math.ceil(10 / cut);
  const taps = Float64Array.from({ length: 2 * half + 1 }, (_, i) => {
    const x = Math.PI * 0.9 * cut * (i - half);
    return (x === 0 ? 1 : Math.sin(x) / x) * (0.5 - 0.5 * Math.cos((Math.PI * i) / half));
  });
  const total = taps.reduce((a, b) => a + b);
  const last = values.length - 1;
  return values.map((_, at) => {
    let sum = 0;
    for (let i = 0; i < taps.length; i++) sum += taps[i] * values[Math.min(last, Math.max(0, at + i - half))];
    return sum / total;
  });
}

// Channels at the model's rate: what is too fast for that rate is filtered out, the rest is interpolated.
export function resample(time, channels, rate) {
  const own = 1 / median(time.slice(1).map((t, i) => t - time[i]));
  if (own > 1.05 * rate) {
    const even = range(time[0], time[time.length - 1], 1 / own);
    channels = channels.map(values => filtered(interpolate(even, time, values), rate / own));
    time = even;
  }
  const wanted = range(time[0], time[time.length - 1] + 0.5 / rate, 1 / rate);
  return channels.map(values => interpolate(wanted, time, values));
}

// The signal that a model sees: channels of a table in g and rad/s at the model's rate.
// `columns` names a column for each of the model's channels, and for `time`.
export function signalOf(table, model, columns, units) {
  const names = [columns.time, ...model.channels.map(name => columns[name])];
  const raw = names.map(name => numbers(table, name));
  const whole = table.rows.map((_, i) => raw.every(values => !Number.isNaN(values[i])));
  const [time, ...channels] = raw.map(values => values.filter((_, i) => whole[i]));
  const seconds = time.map(t => t * SECONDS[units.time]);
  if (seconds.length < 2) throw new Error("fewer than two lines hold all values");
  for (let i = 1; i < seconds.length; i++)
    if (!(seconds[i] > seconds[i - 1])) throw new Error(`the times in column ${columns.time} do not increase (line ${i + 2})`);
  const scaled = channels.map((values, k) => {
    const factor = UNITS[model.channels[k].startsWith("acc") ? units.acc : units.gyro];
    return values.map(value => value * factor);
  });
  return resample(seconds, scaled, model.rate);
}

// Probabilities of windows without overlap: one array per window, in the order of the classes.
export async function probabilities(model, signal, progress = () => {}) {
  const { steps, classes } = model, count = Math.floor(signal[0].length / steps), out = [];
  if (!count)
    throw new Error(
      `the recording lasts ${(signal[0].length / model.rate).toFixed(1)} s; a window lasts ${steps / model.rate} s`);
  for (let from = 0; from < count; from += BATCH) {
    const size = Math.min(BATCH, count - from);
    const x = new Float32Array(size * signal.length * steps);
    for (let w = 0; w < size; w++)
      for (let c = 0; c < signal.length; c++)
        x.set(signal[c].subarray((from + w) * steps, (from + w + 1) * steps), (w * signal.length + c) * steps);
    const windows = new ort.Tensor("float32", x, [size, signal.length, steps]);
    const values = (await model.session.run({ windows }, ["probabilities"])).probabilities.data;
    for (let w = 0; w < size; w++) out.push(values.slice(w * classes.length, (w + 1) * classes.length));
    progress((from + size) / count);
  }
  return out;
}

// Stretches of windows with the same label: start and end in seconds, label, mean probability of this label.
export function stretches(model, likely) {
  const seconds = model.steps / model.rate, found = [];
  likely.forEach((values, w) => {
    const best = values.indexOf(Math.max(...values));
    const last = found[found.length - 1];
    if (last && last.number === best) last.windows.push(values[best]);
    else found.push({ number: best, label: model.classes[best], start: w * seconds, windows: [values[best]] });
  });
  return found.map(({ windows, ...each }) => ({
    ...each,
    end: each.start + windows.length * seconds,
    probability: windows.reduce((a, b) => a + b) / windows.length,
  }));
}
