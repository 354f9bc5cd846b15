// Puts the page together: tabs, language, theme, token, and the panels.

import { conversationPanel } from "./conversation.js";
import { enrolPanel } from "./enrol.js";
import { livePanel } from "./live.js";
import { comparePanel, recognisePanel, showScoresOf } from "./panels.js";
import { model, onMissingToken } from "./service.js";
import { choose, chooseFirst, language, text } from "./texts.js";
import { usersPanel } from "./users.js";

const find = (id) => document.getElementById(id);
const tabs = [...document.querySelectorAll("[role=tab]")];

function open(name) {
  for (const tab of tabs) {
    const isChosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", isChosen);
    tab.tabIndex = isChosen ? 0 : -1;
    find(tab.id.slice(4)).hidden = !isChosen;
  }
  history.replaceState(null, "", `#${name}`);
  find(name).dispatchEvent(new Event("open"));
}

tabs.forEach((tab, place) => {
  tab.onclick = () => open(tab.id.slice(4));
  tab.onkeydown = (event) => {
    const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    next.focus();
    next.click();
  };
});
window.onhashchange = () => openAsked();

function openAsked() {
  const asked = location.hash.slice(1);
  open(tabs.some((tab) => tab.id === `tab-${asked}`) ? asked : "compare");
}

const dark = matchMedia("(prefers-color-scheme: dark)");

function showTheme() {
  document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
  document.dispatchEvent(new Event("theme"));
}

dark.onchange = showTheme;
find("theme").onclick = () => {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  showTheme();
};
find("language").onclick = () => choose(language() === "zh" ? "en" : "zh");

// Requests that need a token at the same time wait for the same dialog.
let asking = null;

onMissingToken((wasGiven) => {
  asking ??= new Promise((resolve) => {
    const dialog = find("token-dialog");
    dialog.querySelector(".said").textContent = wasGiven ? text("tokenWrong") : "";
    find("token").value = "";
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => {
      sessionStorage.setItem("token", find("token").value.trim());
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
});

let about = null;

function describeModel() {
  find("language").textContent = text("language");
  find("language").lang = language() === "zh" ? "en" : "zh-Hans";
  if (!about) return;
  const threshold = about.threshold === null ? text("none") : about.threshold.toFixed(2);
  find("model").textContent = text("modelLine", { model: about.model, dimension: about.embedding_dim, threshold });
  const notices = [...(about.synthetic_voices ? ["synthetic"] : []), ...(about.threshold === null ? ["unset"] : [])];
  find("notice").textContent = notices.map((key) => text(key)).join(" ");
  find("notice").hidden = !notices.length;
}

document.addEventListener("language", describeModel);
showTheme();
chooseFirst();
comparePanel(find("compare"));
recognisePanel(find("recognise"), () => open("enrol"));
const enrolment = enrolPanel(find("enrol"), () => (about?.backend === "cosine" ? about.threshold : null), () => open("recognise"));
function enrolSounds(name, sounds) {
  open("enrol");
  enrolment.useTakes(name, sounds);
  find("tab-enrol").focus();
}

livePanel(find("live"), (sounds) => enrolSounds("", sounds));
conversationPanel(find("conversation"), enrolSounds);
usersPanel(find("users"));
openAsked();
model().then(
  (found) => { about = found; showScoresOf(about); describeModel(); },
  (error) => { find("notice").textContent = error.message; find("notice").hidden = false; },
);
