// The list of devices, problems first, and the one that is looked at with its points.

import { byId, list, make, mark, put, rows } from "./dom.js";
import { duration, value } from "./format.js";
import { has, text } from "./texts.js";

const ORDER = { failed: 0, offline: 1, connecting: 2, online: 4, disabled: 5 };
let shown = [];
let chosen = null;
let wake = () => {};

export const onChange = (resume) => (wake = resume);
export const changed = () => wake();

export function begin() {
  chosen = fromAddress();
  addEventListener("hashchange", () => choose(fromAddress()));
  byId("device-search").addEventListener("input", () => showList(shown));
  byId("only-problems").addEventListener("change", () => showList(shown));
  byId("point-search").addEventListener("input", () => wake());
  byId("back").addEventListener("click", () => {
    const last = chosen;
    location.hash = "";
    document.body.classList.remove("one");
    byId("device-list").known?.get(last)?.querySelector("a").focus();
  });
  byId("device-list").addEventListener("keydown", byArrow);
}

export function wanted() {
  if (chosen === null && shown.length && !matchMedia("(max-width: 720px)").matches) chosen = sorted(shown)[0].id;
  if (chosen === null) return null;
  const search = byId("point-search").value;
  return `/api/devices/${encodeURIComponent(chosen)}${search && `?search=${encodeURIComponent(search)}`}`;
}

function fromAddress() {
  if (!location.hash.startsWith("#/")) return location.hash === "#devices" ? chosen : null;
  try {
    return decodeURIComponent(location.hash.slice(2));
  } catch {
    return null;
  }
}

function choose(device) {
  chosen = device;
  document.body.classList.toggle("one", location.hash.startsWith("#/"));
  byId("point-search").value = "";
  showList(shown);
  if (device !== null && matchMedia("(max-width: 720px)").matches) byId("device").focus();
  wake();
}

function byArrow(event) {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const next = step && (event.target.closest("li")?.[step] ?? (event.target === this ? this.firstElementChild : null));
  if (!next) return;
  next.querySelector("a").focus();
  event.preventDefault();
}

const isTroubled = (device) => device.phase !== "online" || device.not_good > 0;
const rank = (device) => (device.phase === "online" && device.not_good ? 3 : ORDER[device.phase]);

function sorted(devices) {
  return devices.toSorted((one, two) => rank(one) - rank(two));
}

export function showList(devices) {
  shown = devices;
  const search = byId("device-search").value.trim().toLowerCase();
  const isFiltered = byId("only-problems").checked;
  const found = sorted(devices).filter((device) => {
    const words = `${device.id} ${device.name} ${device.driver} ${device.reason}`.toLowerCase();
    return words.includes(search) && (!isFiltered || isTroubled(device));
  });
  list(byId("device-list"), found, (device) => device.id, makeEntry, tellEntry);
  byId("no-devices").hidden = found.length > 0;
  put(byId("no-devices"), text(devices.length ? "none_found" : "none_configured"));
}

function makeEntry(device) {
  const parts = ["mark", "name", "id", "state", "reason"].map((name) => make("span", name));
  parts[0].ariaHidden = "true";
  parts[4].lang = "en";
  const link = make("a", "", ...parts);
  link.href = `#/${encodeURIComponent(device.id)}`;
  return make("li", "", link);
}

function tellEntry(entry, device) {
  const link = entry.firstElementChild;
  const [, name, id, state, reason] = link.children;
  mark(entry, "state", stateOf(device));
  if (device.id === chosen) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
  put(name, device.name || device.id);
  put(id, device.name ? device.id : "");
  put(state, stateWords(device));
  put(reason, device.phase === "online" ? "" : device.reason);
}

function stateOf(device) {
  if (device.phase === "online") return device.not_good ? "doubtful" : "online";
  return device.phase;
}

function stateWords(device) {
  const isDoubtful = stateOf(device) === "doubtful";
  return isDoubtful ? text("not_good", { n: device.not_good, total: device.points_count }) : text(device.phase);
}

export function showDevice(device) {
  const isThere = device !== null && device !== undefined;
  document.body.classList.toggle("one", location.hash.startsWith("#/"));
  byId("device").hidden = !isThere;
  if (!isThere) return;
  const now = device.now_ns;
  put(byId("device-title"), device.name || device.id);
  const state = byId("device-state");
  mark(state, "state", stateOf(device));
  const since = device.since_ns ? text("since", { time: duration((now - device.since_ns) / 1e9) }) : "";
  put(state, [stateWords(device), since].filter(Boolean).join(" · "));
  put(byId("device-reason"), [device.phase === "online" ? "" : device.reason, ...(device.remarks ?? [])].filter(Boolean).join("; "));
  put(byId("device-facts"), [device.id, device.driver, device.code].filter(Boolean).join(" · "));
  const cut = device.points.length < device.matching ? "points_cut" : "points_count";
  put(byId("point-count"), text(cut, { n: device.points.length, total: device.total }));
  const classes = ["name", "number value", "unit", "quality", "number"];
  rows(byId("points"), device.points, (point) => `${device.id}/${point.name}`, (point, row) => cells(point, row, now), classes);
}

function cells(point, row, now) {
  mark(row, "severity", point.severity);
  if (row.title !== point.description) row.title = point.description;
  const age = point.time_ns ? duration((now - point.time_ns) / 1e9) : "–";
  return [point.name, value(point.value), unit(point), quality(point), age];
}

function unit(point) {
  const range = point.range ? `(${value(point.range.low)} … ${value(point.range.high)})` : "";
  return [point.unit, range].filter(Boolean).join(" ");
}

function quality(point) {
  const key = `q_${point.quality}`;
  return has(key) ? text(key) : `${text(`severity_${point.severity}`)} (${point.quality})`;
}
