"use strict";
// How numbers read, and small tools for elements.

const isNumber = value => typeof value === "number" && Number.isFinite(value);
const absent = "not recorded";

function digits(value, count = 3) {
  if (!isNumber(value)) return "–";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size >= count + 3 || size < -4) return value.toExponential(count - 1).replace("e+", "e");
  return value.toFixed(Math.max(0, Math.min(6, count - 1 - size)));
}

function count(value) {
  if (!isNumber(value)) return "–";
  for (const [unit, size] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e4]])
    if (Math.abs(value) >= 0.9995 * size) return digits(value / (unit === "k" ? 1e3 : size)) + " " + unit;
  return Number.isInteger(value) ? String(value) : digits(value);
}

function seconds(value) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 1e-3) return digits(value * 1e6) + " µs";
  if (size < 1) return digits(value * 1e3) + " ms";
  if (size < 120) return digits(value) + " s";
  const all = Math.round(value), two = part => String(part).padStart(2, "0");
  return Math.floor(all / 3600) + ":" + two(Math.floor(all / 60) % 60) + ":" + two(all % 60) + " h";
}

function bytes(value) {
  if (!isNumber(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (Math.abs(value) >= 1023.5 && unit + 1 < units.length) value /= 1024, ++unit;
  return (unit === 0 || Math.abs(value) >= 999.5 ? String(Math.round(value)) : digits(value)) + " " + units[unit];
}

function percent(value) {
  if (!isNumber(value)) return "–";
  const part = value * 100, size = Math.abs(part);
  return (part === 0 ? "0" : part.toFixed(size >= 10 ? 0 : size >= 1 ? 1 : 2)) + " %";
}
const words = name => String(name).replace(/_/g, " ");
const rankName = (rank, host) => isNumber(rank) && rank >= 0 ? "rank " + rank + (host ? " on " + host : "") : "";

/** A path of keys into an object; undefined where one is absent. */
function at(object, ...keys) {
  for (const key of keys) {
    if (object === null || typeof object !== "object") return undefined;
    object = object[key];
  }
  return object === null ? undefined : object;
}

/** The mean of a spread, or the number that stands for one. */
const mean = spread => isNumber(spread) ? spread : at(spread, "mean");

function add(parent, children) {
  for (const child of children.flat(3))
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  return parent;
}
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  return add(made, children);
}
function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return add(made, children);
}

/** 50.0 ms as 50 ms: for axes. */
const tidy = text => text.replace(/(\.\d*?)0+(?!\d)/, "$1").replace(/\.(?!\d)/, "");

/** Values at which an axis is marked; whole KiB, MiB, ... where `binary`. */
function ticks(low, high, most, binary) {
  if (binary) {
    const unit = 1024 ** Math.max(0, Math.floor(Math.log(Math.max(1, high)) / Math.log(1024) + 0.1));
    return ticks(low / unit, high / unit, most).map(mark => mark * unit);
  }
  const raw = (high - low) / Math.max(1, most), size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(part => part * size).find(part => part >= raw * 0.999);
  const marks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) marks.push(i * step);
  return marks;
}
function logTicks(low, high, most) {
  const marks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); ++power)
    for (const part of [1, 2, 5]) if (part * 10 ** power >= low * 0.999 && part * 10 ** power <= high * 1.001) marks.push(part * 10 ** power);
  const tens = marks.filter(mark => Math.abs(Math.log10(mark) - Math.round(Math.log10(mark))) < 1e-9);
  return marks.length < 2 ? ticks(low, high, most) : marks.length > 2 * most && tens.length > 1 ? tens : marks;
}
