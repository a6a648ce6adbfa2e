// Numbers, times and durations as a person reads them.

import { locale, text } from "./texts.js";

const UNITS = [[86400, "days"], [3600, "hours"], [60, "minutes"]];

export function duration(seconds) {
  const s = Math.max(0, seconds);
  for (const [size, unit] of UNITS) if (s >= size) return text(unit, { n: Math.floor(s / size) });
  return text("seconds", { n: s < 10 ? s.toFixed(1) : Math.floor(s) });
}

export const count = (n) => new Intl.NumberFormat(locale(), { maximumFractionDigits: 0 }).format(n);

export function size(bytes) {
  let power = 0;
  while (bytes >= 1024 && power < 4) {
    bytes /= 1024;
    power += 1;
  }
  return `${bytes.toFixed(power && bytes < 100 ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

export function clock(ms) {
  const date = new Date(ms);
  const isToday = new Date().toDateString() === date.toDateString();
  const day = isToday ? {} : { month: "2-digit", day: "2-digit" };
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  return new Intl.DateTimeFormat(locale(), { ...day, ...time }).format(date);
}

export const date = (ms) => new Intl.DateTimeFormat(locale(), { dateStyle: "medium" }).format(new Date(ms));

export function value(v) {
  if (v === null) return "–";
  if (typeof v === "boolean") return text(v ? "on" : "off");
  if (typeof v === "number" && !Number.isInteger(v)) return String(Number(v.toPrecision(7)));
  return String(v);
}
