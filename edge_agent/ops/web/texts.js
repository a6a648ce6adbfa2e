// What the page says, in the reader's language. All of it is in texts.json.

const STORED = "edge-agent-language";
let texts = {};
let language = "en";

export async function load() {
  texts = await (await fetch("/web/texts.json")).json();
  let wanted = null;
  try {
    wanted = localStorage.getItem(STORED);
  } catch {
    // Storage may be forbidden; the browser's language does.
  }
  use(wanted ?? navigator.language.slice(0, 2));
}

export function change() {
  use(other());
  try {
    localStorage.setItem(STORED, language);
  } catch {
    // Then it is for this visit.
  }
}

export const other = () => (language === "en" ? "zh" : "en");
export const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

export function text(key, values = {}) {
  return texts[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const has = (key) => key in texts[language];

function use(wanted) {
  language = wanted in texts ? wanted : "en";
  document.documentElement.lang = locale();
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.placeholder = text(element.dataset.label);
    element.ariaLabel = text(element.dataset.label);
  }
}
