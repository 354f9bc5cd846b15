// Live recognition: who speaks now, and the scores of the last minute.

import { colour, listen, pcm16, prepared, showLevel, speakerColour } from "./audio.js";
import { Recent, VoiceList, stretchesOf } from "./heard.js";
import { NO_SCORE, share, showError, shownName, shownScores } from "./panels.js";
import { stream } from "./service.js";
import { text } from "./texts.js";

const SHOWN = 60; // seconds
const MOST_TAKES = 3; // of an enrolment

// `enrol(sounds)` opens the enrolment of samples.
export function livePanel(place, enrol) {
  const stage = place.querySelector(".stage");
  const now = place.querySelector(".now");
  const nowScore = place.querySelector(".now-score");
  const meter = place.querySelector(".meter");
  const canvas = place.querySelector("canvas");
  const tellsApart = place.querySelector("[type=checkbox]");
  const action = place.querySelector("[data-action]");
  const result = place.querySelector(".result");
  const people = []; // in the order of their first word, which gives their colour
  const users = new Map(); // who a numbered voice is by now, or null
  const voices = new VoiceList(place.querySelector(".legend"), name);
  let decisions = [], recent = null;
  let socket = null, microphone = null, isStopping = false;

  // A user, speaker_1 and so on, or null for a voice that is neither.
  const personOf = ({ user, speaker }) => user ?? users.get(speaker) ?? speaker ?? null;
  const wordsOf = (person) => (person === null ? text("unknown") : shownName(person));
  const stateOf = ({ user, score }) => (score === null ? "nobody" : user === null ? "unknown" : "user");
  const hue = (person) => {
    if (!people.includes(person)) people.push(person);
    return speakerColour(people.indexOf(person));
  };
  const colourOf = (person) => (person === null ? colour("--quiet") : hue(person));

  function show() {
    const last = decisions.at(-1);
    const state = socket ? (last ? stateOf(last) : "nobody") : "idle";
    const words = {
      idle: text("liveIdle"), nobody: text(last ? "nobodySpeaks" : "listening"),
      unknown: last && wordsOf(personOf(last)), user: last?.user,
    }[state];
    stage.dataset.state = state;
    if (now.textContent !== words) now.textContent = words; // a screen reader reads changes only
    nowScore.textContent = last && last.score !== null && last.score !== NO_SCORE && socket
      ? `${text("score")} ${last.score.toFixed(2)} · ${text("threshold")} ${last.threshold.toFixed(2)}` : "\u00a0";
    action.textContent = text(socket ? "liveStop" : "liveStart");
    tellsApart.disabled = socket !== null;
    const heard = new Set(decisions.filter((each) => each.score !== null).map(personOf));
    voices.show([...heard].map((person) => ({
      key: person, words: wordsOf(person), colour: colourOf(person),
      canBeNamed: person !== null && stretchesOf(person, decisions).length > 0,
    })));
    draw();
  }

  function draw() {
    if (!canvas.clientWidth) return;
    const { context, width, height } = prepared(canvas);
    const left = 34, bottom = height - 22, top = 8;
    const y = (score) => bottom - share(score) * (bottom - top);
    const end = Math.max(SHOWN, decisions.at(-1)?.end ?? 0);
    const x = (time) => left + ((time - end + SHOWN) / SHOWN) * (width - left - 8);
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.lineWidth = 1;
    for (const value of shownScores()) {
      context.strokeStyle = colour("--line");
      context.beginPath(); context.moveTo(left, y(value)); context.lineTo(width, y(value)); context.stroke();
      context.fillStyle = colour("--quiet");
      context.fillText(value.toFixed(1), left - 8, y(value));
    }
    const threshold = decisions.at(-1)?.threshold;
    if (threshold !== undefined) {
      context.strokeStyle = colour("--ink");
      context.setLineDash([5, 5]);
      context.beginPath(); context.moveTo(left, y(threshold)); context.lineTo(width, y(threshold)); context.stroke();
      context.setLineDash([]);
      context.fillStyle = colour("--ink");
      context.textBaseline = "bottom";
      context.fillText(text("threshold"), width - 4, y(threshold) - 3);
    }
    let before = null;
    for (const each of decisions) {
      if (each.score !== null) {
        context.strokeStyle = context.fillStyle = colourOf(personOf(each));
        if (before && before.score !== null) {
          context.lineWidth = 2.5;
          context.beginPath(); context.moveTo(x(before.end), y(before.score)); context.lineTo(x(each.end), y(each.score)); context.stroke();
        }
        context.beginPath(); context.arc(x(each.end), y(each.score), 3.5, 0, 2 * Math.PI); context.fill();
        context.fillRect(x(each.end) - 4, height - 12, 9, 8);
      }
      before = each;
    }
  }

  // Enrol a numbered voice from what was heard of it.
  function name(speaker) {
    const chosen = stretchesOf(speaker, decisions).slice(0, MOST_TAKES);
    enrol(chosen.map((stretch) => recent.cut(stretch)));
  }

  async function start() {
    result.replaceChildren();
    decisions = [];
    users.clear();
    isStopping = false;
    let problem = null;
    microphone = await listen((chunk) => {
      showLevel(meter, chunk);
      if (socket?.readyState === WebSocket.OPEN && !isStopping) {
        socket.send(pcm16(chunk));
        recent.add(chunk);
      }
    });
    recent = new Recent(microphone.rate, SHOWN);
    socket = stream({ sample_rate: microphone.rate, diarize: tellsApart.checked }, (message) => {
      if (message.type === "problem") problem = new Error(message.detail);
      if (message.type !== "decision") return;
      decisions.push(message);
      if (message.speaker) users.set(message.speaker, message.user);
      while (decisions[0].end < message.end - SHOWN) decisions.shift();
      show();
    }, () => {
      const wasStopped = isStopping;
      microphone.stop();
      socket = null;
      show();
      if (problem) showError(result, problem);
      else if (!wasStopped) showError(result, new Error(text("streamEnded")));
    });
    show();
  }

  action.onclick = async () => {
    if (socket) {
      isStopping = true;
      socket.send('{"type": "end"}');
      return;
    }
    action.disabled = true;
    try {
      await start();
    } catch (error) {
      showError(result, error);
    }
    action.disabled = false;
  };
  new ResizeObserver(draw).observe(canvas);
  document.addEventListener("language", show);
  document.addEventListener("theme", draw);
}
