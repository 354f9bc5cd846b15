// Comparing and recognising, and how a result looks.

import { compare, identify } from "./service.js";
import { Take, lineOf } from "./take.js";
import { text } from "./texts.js";

export const NO_SCORE = -1; // of the service, when nobody is enrolled

// The scores that are shown: those of cosines, until the model says those of its back end.
let [lowest, highest] = [0, 1];
export function showScoresOf(about) { [lowest, highest] = about.score_range; }
export const share = (score) => Math.max(0, Math.min(1, (score - lowest) / (highest - lowest)));
export const shownScores = () => [lowest, (lowest + highest) / 2, highest];

// Shows a verdict, with the score on a bar and the threshold marked.
// `kind` is good, bad or doubt.
export function showVerdict(place, { kind, title, line = "", score, threshold }) {
  const box = document.createElement("div");
  box.className = "verdict";
  box.dataset.kind = kind;
  box.append(element("strong", title), ...(line ? [element("p", line)] : []));
  if (score !== undefined) box.append(bar(score, threshold));
  place.replaceChildren(box);
  return box;
}

export function element(name, words, className = "") {
  const found = document.createElement(name);
  found.textContent = words;
  if (className) found.className = className;
  return found;
}

function bar(score, threshold) {
  const found = element("div", "", "bar");
  const percent = (value) => `${100 * share(value)}%`;
  found.setAttribute("role", "img");
  found.style.setProperty("--score", percent(score));
  const known = threshold !== null;
  found.setAttribute("aria-label", text("scoreLabel", {
    score: score.toFixed(2), threshold: known ? threshold.toFixed(2) : text("none"),
  }));
  found.append(element("div", "", "fill"), element("span", `${text("score")} ${score.toFixed(2)}`, "of-score"));
  if (known) {
    found.style.setProperty("--threshold", percent(threshold));
    found.append(element("div", "", "mark"), element("span", `${text("threshold")} ${threshold.toFixed(2)}`, "of-threshold"));
  }
  return found;
}

// The name of a user, or the number of a speaker who is none.
export function shownName(speaker) {
  const numbered = /^speaker_(\d+)$/.exec(speaker);
  return numbered ? text("speakerNumber", { number: numbered[1] }) : speaker;
}

// Scrolls as far as is needed to see a new result.
export function reveal(result) {
  result.scrollIntoView({ block: "nearest" });
}

// Adds a button to a verdict, which leads to what one does next.
export function addNext(box, words, act) {
  const next = element("button", words);
  next.type = "button";
  next.onclick = act;
  box.append(next);
}

export function showError(place, error) {
  showVerdict(place, { kind: "bad", title: lineOf(error) });
}

// A panel with takes, an action that needs all of them, and a result.
function panel(place, act) {
  const takes = [...place.querySelectorAll(".take")].map((each) => new Take(each));
  const action = place.querySelector("[data-action]");
  const result = place.querySelector(".result");
  let show = () => result.replaceChildren();
  for (const take of takes) {
    take.addEventListener("change", () => {
      action.disabled = takes.some((each) => !each.file);
      show = () => result.replaceChildren();
      show();
    });
  }
  action.onclick = async () => {
    action.disabled = true;
    try {
      const found = await act(...takes.map((each) => each.file));
      show = () => found(result);
    } catch (error) {
      show = () => showError(result, error);
    }
    show();
    reveal(result);
    action.disabled = false;
  };
  document.addEventListener("language", () => show());
}

export function comparePanel(place) {
  panel(place, async (first, second) => {
    const { score, same_speaker: same, threshold } = await compare(first, second);
    return (result) => showVerdict(result, {
      kind: same === null ? "doubt" : same ? "good" : "bad",
      title: text(same === null ? "unknownThreshold" : same ? "sameSpeaker" : "otherSpeaker"),
      score, threshold,
    });
  });
}

export function recognisePanel(place, openEnrol) {
  panel(place, async (file) => {
    const { user, score, threshold } = await identify(file);
    if (score === NO_SCORE) {
      return (result) => {
        addNext(showVerdict(result, { kind: "doubt", title: text("nobody") }), text("enrolTitle"), openEnrol);
      };
    }
    return (result) => showVerdict(result, {
      kind: user === null ? "doubt" : "good",
      title: user ?? text("unknown"),
      line: user === null ? text("nearest") : "",
      score, threshold,
    });
  });
}
