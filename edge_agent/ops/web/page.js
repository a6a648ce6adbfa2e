// The status page: asks the agent, shows what it says, and goes on asking when it does not answer.

import { byId, put } from "./dom.js";
import * as devices from "./devices.js";
import { clock, duration } from "./format.js";
import { showFigures, showLog, showLosses, showPublishers, showWarnings } from "./sections.js";
import { change, load, other, text } from "./texts.js";

const PAUSE_MS = 1000;
const WAIT_MS = 10000;
const LOSSES_EVERY_MS = 10000;

let present = null;
let lossesAt = -Infinity;
let losses = [];
let heardAt = null;

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(WAIT_MS) });
  byId("logout").hidden = !answer.headers.has("edge-agent-session");
  if (answer.status === 401) location.assign("/login");
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

async function look() {
  present = await ask("/api/overview");
  if (performance.now() - lossesAt > LOSSES_EVERY_MS) {
    losses = (await ask("/api/losses")).losses;
    lossesAt = performance.now();
  }
  const wanted = devices.wanted();
  const detail = wanted && (await ask(wanted));
  heardAt = Date.now();
  show();
  devices.showDevice(detail);
}

function show() {
  showLink(true);
  if (!present) return;
  const now = present.now_ns / 1e6;
  const name = present.name || present.gateway;
  document.title = `${name} · edge-agent`;
  put(byId("gateway"), name);
  const facts = [present.name && present.gateway, present.code, `edge-agent ${present.version}`];
  facts.push(text("up", { time: duration((present.now_ns - present.started_ns) / 1e9) }));
  put(byId("about"), facts.filter(Boolean).join(" · "));
  showWarnings(present, now);
  showFigures(present);
  devices.showList(present.devices, now);
  showPublishers(present);
  showLosses(losses);
  showLog(present.log);
}

function showLink(isThere) {
  const link = byId("link");
  document.body.classList.toggle("stale", !isThere);
  if (isThere) put(link, text("live"));
  else put(link, heardAt ? text("lost", { time: clock(heardAt) }) : text("never"));
}

async function watch() {
  for (;;) {
    if (!document.hidden) {
      try {
        await look();
      } catch (problem) {
        if (!(problem instanceof TypeError || problem instanceof DOMException)) console.warn(problem);
        showLink(false);
      }
    }
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, PAUSE_MS);
      devices.onChange(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

function tellLanguage() {
  const button = byId("language");
  put(button, text("other_language"));
  button.lang = other() === "zh" ? "zh-CN" : "en";
}

await load();
tellLanguage();
byId("language").addEventListener("click", () => {
  change();
  tellLanguage();
  show();
  devices.changed();
});
devices.begin();
await watch();
