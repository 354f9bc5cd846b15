// A conversation: who speaks when, heard turn by turn, and enrolled from its turns.

import { play, speakerColour } from "./audio.js";
import { element, reveal, showError, shownName, showVerdict } from "./panels.js";
import { diarize } from "./service.js";
import { Take } from "./take.js";
import { serviceLine, text } from "./texts.js";

const MOST_TAKES = 3, LONGEST = 60; // of an enrolment, and seconds of each
const WIDTH = 8; // pixels of a second, at least

const secondsOf = (turns) => turns.reduce((sum, { start, end }) => sum + end - start, 0);

function clock(time) {
  const tenths = Math.round(10 * time);
  return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

// `enrol(name, sounds)` opens the enrolment of samples.
export function conversationPanel(place, enrol) {
  const find = (selector) => place.querySelector(selector);
  const take = new Take(find(".take"));
  const count = find("[type=number]"), action = find("[data-action]"), result = find(".result");
  const timeline = find(".timeline"), rows = find(".speakers"), chosenLine = find(".chosen p");
  const hearButton = find(".hear"), enrolButton = find(".enrol-turn");
  let turns = [], buttons = []; // of the same length, in the order of time
  let sound = null; // what was diarized, as far as this browser can decode it
  let chosen = 0, stopPlaying = null;
  let show = () => {}; // the result, in the language of the page

  const turnsOf = (speaker) => turns.filter((turn) => turn.speaker === speaker);
  const cut = ({ start, end }) => sound.samples.subarray(Math.round(start * sound.rate), Math.round(end * sound.rate));

  function draw({ segments, duration }) {
    const speakers = [...new Set(segments.map((turn) => turn.speaker))];
    turns = segments;
    buttons = segments.map((turn, i) => {
      const button = element("button", "", "turn");
      button.type = "button";
      button.style.left = `${(100 * turn.start) / duration}%`;
      button.style.width = `${(100 * (turn.end - turn.start)) / duration}%`;
      button.setAttribute("aria-label", lineOf(turn));
      button.onclick = () => { choose(i); hear(); };
      return button;
    });
    rows.replaceChildren(...speakers.map((speaker, i) => {
      const row = element("li", ""), who = element("p", "", "who"), track = element("div", "", "track");
      row.style.setProperty("--speaker", speakerColour(i));
      const own = turnsOf(speaker);
      const total = text(own.length === 1 ? "spokeOnce" : "spoke", { seconds: secondsOf(own).toFixed(1), count: own.length });
      who.append(element("b", shownName(speaker)), element("span", total, "quiet"));
      track.append(...buttons.filter((_, at) => turns[at].speaker === speaker));
      row.append(who, track);
      return row;
    }));
    timeline.style.setProperty("--width", `${WIDTH * duration}px`);
    find(".end-time").textContent = clock(duration);
    timeline.hidden = !turns.length;
    if (turns.length) choose(Math.min(chosen, turns.length - 1));
  }

  function lineOf(turn) {
    return text("turn", { name: shownName(turn.speaker), start: clock(turn.start), end: clock(turn.end) });
  }

  function choose(i) {
    chosen = i;
    buttons.forEach((button, at) => {
      button.tabIndex = at === i ? 0 : -1;
      button.setAttribute("aria-pressed", at === i);
    });
    chosenLine.textContent = lineOf(turns[i]) + (sound ? "" : ` · ${text("notDecoded")}`);
    hearButton.textContent = text(stopPlaying ? "playing" : "play");
    hearButton.disabled = enrolButton.disabled = !sound;
  }

  function stop() {
    stopPlaying?.();
    stopPlaying = null;
  }

  function hear() {
    stop();
    if (!sound) return;
    const own = play(cut(turns[chosen]), sound.rate, () => {
      if (stopPlaying !== own) return; // another turn is heard by now
      stopPlaying = null;
      if (turns.length) choose(chosen);
    });
    stopPlaying = own;
    choose(chosen);
  }

  hearButton.onclick = () => {
    if (!stopPlaying) return hear();
    stop();
    choose(chosen);
  };
  // The chosen turn, and the longest others of the same speaker.
  enrolButton.onclick = () => {
    const turn = turns[chosen];
    const others = turnsOf(turn.speaker).filter((each) => each !== turn);
    others.sort((a, b) => (b.end - b.start) - (a.end - a.start));
    stop();
    choose(chosen);
    enrol(
      shownName(turn.speaker) === turn.speaker ? turn.speaker : "",
      [turn, ...others].slice(0, MOST_TAKES).map((each) => ({ samples: cut(each).slice(0, LONGEST * sound.rate), rate: sound.rate })),
    );
  };
  rows.onkeydown = (event) => {
    const to = { ArrowRight: chosen + 1, ArrowLeft: chosen - 1, Home: 0, End: turns.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose((to + turns.length) % turns.length);
    buttons[chosen].focus();
  };

  function clear() {
    stop();
    turns = [];
    chosen = 0;
    timeline.hidden = true;
    result.replaceChildren();
    show = () => {};
  }

  take.addEventListener("change", () => {
    action.disabled = !take.file;
    clear();
  });
  action.onclick = async () => {
    if (!take.file || !count.reportValidity()) return; // without a file one is being decoded
    clear();
    const { file, sound: heard } = take;
    action.disabled = true;
    result.replaceChildren(element("p", text("diarizing"), "quiet"));
    try {
      const answer = await diarize(file, count.value);
      if (take.file !== file) return; // another recording was chosen meanwhile
      sound = heard;
      show = () => { tell(answer); draw(answer); };
    } catch (error) {
      if (take.file !== file) return;
      show = () => showError(result, error);
    } finally {
      action.disabled = !take.file;
    }
    show();
    reveal(timeline.hidden ? result : timeline);
  };

  function tell({ segments, duration, warnings }) {
    const people = new Set(segments.map((turn) => turn.speaker)).size;
    const title = people ? text(people === 1 ? "onePerson" : "people", { count: people, duration: clock(duration) }) : text("nobodyInIt");
    showVerdict(result, { kind: people ? "good" : "doubt", title, line: warnings.map(serviceLine).join(" · ") });
  }
  document.addEventListener("language", () => show());
}
