import { load, text } from "./texts.js";

await load();
const problem = { "?failed": "login_failed", "?wait": "login_wait" }[location.search];
if (problem) document.getElementById("problem").textContent = text(problem);
