// Warnings, figures, publishers, losses and the log.

import { byId, list, make, mark, put, rows } from "./dom.js";
import { clock, count, date, duration, size } from "./format.js";
import { has, text } from "./texts.js";

export function showWarnings(present, now) {
  const found = [];
  const outbox = present.outbox;
  if (present.config.why_last_good) found.push(["alarm", text("warn_last_good", { why: present.config.why_last_good })]);
  if (outbox?.trouble) found.push(["alarm", text("warn_outbox", { why: outbox.trouble })]);
  if (present.is_clock_set === false) found.push(["warning", text("warn_clock")]);
  for (const one of present.certificates) {
    const key = one.ends_ns / 1e6 > now ? "warn_certificate" : "warn_certificate_ended";
    const values = { device: one.device, which: one.certificate, date: date(one.ends_ns / 1e6), remedy: one.remedy };
    found.push(["warning", text(key, values)]);
  }
  for (const setting of present.insecure) found.push(["warning", text("warn_insecure", { setting })]);
  byId("warnings").hidden = !found.length;
  list(byId("warning-list"), found, ([, words]) => words, () => make("li"), (element, [level, words]) => {
    mark(element, "level", level);
    put(element, words);
  });
}

export function showFigures(present) {
  const { devices, outbox, publishers } = present;
  const online = devices.filter((device) => device.phase === "online").length;
  const connected = publishers.filter((publisher) => publisher.connected).length;
  const waiting = Math.max(0, ...Object.values(outbox?.accounts ?? {}).map((account) => account.pending));
  const lost = Object.values(outbox?.lost ?? {}).reduce((sum, n) => sum + n, 0);
  const figures = [
    ["devices_online", `${online} / ${devices.length}`, online < devices.length],
    ["publishers_connected", `${connected} / ${publishers.length}`, connected < publishers.length],
    ["outbox_waiting", count(waiting), false],
    ["outbox_drained", drained(publishers, waiting), false],
    ["outbox_size", outbox ? `${size(outbox.used_bytes)} / ${size(outbox.max_bytes)}` : "–", isFull(outbox)],
    ["readings_lost", count(lost), lost > 0],
  ];
  const makeOne = () => make("div", "", make("dt"), make("dd"));
  list(byId("figures"), figures, ([key]) => key, makeOne, (element, [key, words, isOdd]) => {
    put(element.children[0], text(key));
    put(element.children[1], words);
    mark(element, "odd", String(isOdd));
  });
}

const isFull = (outbox) => outbox !== null && outbox.used_bytes > 0.8 * outbox.max_bytes;

function drained(publishers, waiting) {
  if (publishers.some((publisher) => !publisher.connected)) return text("not_connected_short");
  const behind = publishers.map((publisher) => publisher.replay).filter((replay) => replay.pending_readings);
  if (!behind.length) return text(waiting ? "keeps_up" : "empty");
  if (behind.some((replay) => replay.eta_s === null)) return text("stands_still");
  return duration(Math.max(...behind.map((replay) => replay.eta_s)));
}

export function showPublishers(present) {
  byId("no-publishers").hidden = present.publishers.length > 0;
  const classes = ["name", "state", "number", "number", "number", "number"];
  rows(byId("publishers"), present.publishers, (one) => one.id, (one, row) => {
    mark(row, "severity", one.connected ? "good" : "bad");
    const account = present.outbox?.accounts[one.id];
    const state = one.connected ? text("connected", { server: one.server }) : text("not_connected", { why: one.last_error });
    return [
      one.id,
      state,
      count(account?.pending ?? 0),
      drained([one], account?.pending ?? 0),
      count(one.acknowledged),
      count(one.refused),
    ];
  }, classes);
}

export function showLosses(losses) {
  byId("losses-table").hidden = !losses.length;
  byId("no-losses").hidden = losses.length > 0;
  const classes = ["", "name", "", "number", "", ""];
  rows(byId("losses"), losses, (one) => one.id, (one) => [
    clock(one.noted_ns / 1e6),
    one.device,
    has(`loss_${one.reason}`) ? text(`loss_${one.reason}`) : one.reason,
    one.readings ? count(one.readings) : text("unknown"),
    `${clock(one.t_first_ns / 1e6)} – ${clock(one.t_last_ns / 1e6)}`,
    one.publisher === "*" ? text("all") : one.publisher,
  ], classes);
}

export function showLog(records) {
  const makeOne = () => make("li", "", make("time"), make("span", "level"), make("span", "message"));
  const keyed = records.map((record) => [JSON.stringify(record), record]);
  list(byId("log"), keyed, ([key]) => key, makeOne, (element, [, record]) => {
    mark(element, "level", record.level);
    put(element.children[0], clock(record.time_ms));
    put(element.children[1], text(`level_${record.level}`));
    const fields = Object.entries(record.fields).map(([name, word]) => `${name}=${word}`);
    put(element.children[2], [record.message, ...fields].join(" · "));
    element.children[2].lang = "en";
  });
}
