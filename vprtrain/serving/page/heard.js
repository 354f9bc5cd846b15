// The voices of the last minute of a live stream: which they are, and what was heard of each.

import { element } from "./panels.js";
import { text } from "./texts.js";

const LEAST = 1.5; // seconds of a stretch that can be enrolled

// The newest samples of a stream.
export class Recent {
  #chunks = [];
  #held = 0; // samples in the chunks
  #gone = 0; // samples before them

  constructor(rate, seconds) {
    this.rate = rate;
    this.most = seconds * rate;
  }

  add(chunk) {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    while (this.#held - this.#chunks[0].length >= this.most) {
      const { length } = this.#chunks.shift();
      this.#held -= length;
      this.#gone += length;
    }
  }

  // What is there of the time from `start` to `end`, in seconds of the stream.
  cut({ start, end }) {
    const held = new Float32Array(this.#held);
    let place = 0;
    for (const chunk of this.#chunks) { held.set(chunk, place); place += chunk.length; }
    const at = (time) => Math.max(0, Math.round(time * this.rate) - this.#gone);
    return { samples: held.slice(at(start), at(end)), rate: this.rate };
  }
}

// The stretches in which a numbered voice was heard, the longest first. The windows at both ends may
// be another voice's in part: of the first one the older half is left out, and the last one as a whole.
export function stretchesOf(speaker, decisions) {
  const found = [];
  let run = null;
  for (const each of decisions) {
    if (each.speaker !== speaker) { run = null; continue; }
    const window = each.end - each.start;
    if (!run) found.push(run = { start: each.end - window / 2, end: 0 });
    run.end = each.end - window;
  }
  const long = found.filter(({ start, end }) => end - start >= LEAST);
  return long.sort((a, b) => (b.end - b.start) - (a.end - a.start));
}

// A list of voices, each with a colour and a name. Its entries stay as they are while they do not
// change, so that the keyboard's focus does.
export class VoiceList {
  #entries = new Map();

  constructor(place, onName) {
    this.place = place;
    this.onName = onName;
  }

  // `voices`: for each its key, words, colour, and whether it can be named.
  show(voices) {
    const keys = new Set(voices.map(({ key }) => key));
    for (const [key, entry] of this.#entries) {
      if (keys.has(key)) continue;
      entry.remove();
      this.#entries.delete(key);
    }
    for (const { key, words, colour, canBeNamed } of voices) {
      const entry = this.#entries.get(key) ?? this.#added(key);
      entry.style.setProperty("--speaker", colour);
      const [name, button] = entry.children;
      if (name.textContent !== words) name.textContent = words;
      button.hidden = !canBeNamed;
      button.textContent = text("nameVoice");
      button.setAttribute("aria-label", text("nameVoiceOf", { name: words }));
    }
  }

  #added(key) {
    const entry = element("li", ""), button = element("button", "");
    button.type = "button";
    button.onclick = () => this.onName(key);
    entry.append(element("span", ""), button);
    this.#entries.set(key, entry);
    this.place.append(entry);
    return entry;
  }
}
