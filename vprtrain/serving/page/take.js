// One recording: recorded, dropped or chosen; heard, seen, and handed on as a file.

import { barsOn, decoded, drawBars, listen, peakOf, peaksOf, play, showLevel, wav } from "./audio.js";
import { serviceLine, text, translate } from "./texts.js";

const LONGEST = 60; // seconds, unless the page says otherwise

export class Take extends EventTarget {
  file = null;
  quality = null; // what the service has measured, where a take is checked

  constructor(place) {
    super();
    this.place = place;
    place.append(document.getElementById("take").content.cloneNode(true));
    const find = (selector) => place.querySelector(selector);
    this.parts = {
      wave: find(".wave"), hint: find(".hint"), meter: find(".meter"), about: find(".about"),
      record: find(".record"), words: find(".words"), play: find(".play"), said: find(".said"),
    };
    find("h3").dataset.text = place.dataset.title;
    if (place.dataset.prompt) {
      find(".prompt").dataset.text = place.dataset.prompt;
      find(".prompt").hidden = false;
    }
    translate(place);
    this.parts.record.onclick = () => this.#toggle();
    this.parts.play.onclick = () => this.#play();
    find("input").onchange = (event) => event.target.files[0] && this.#use(event.target.files[0]);
    const drop = find(".drop");
    drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
    drop.ondragleave = () => drop.classList.remove("over");
    drop.ondrop = (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files[0]) this.#use(event.dataTransfer.files[0]);
    };
    new ResizeObserver(() => this.draw()).observe(drop);
    document.addEventListener("language", () => this.describe());
    document.addEventListener("theme", () => this.draw());
  }

  clear() {
    this.file = this.sound = this.quality = this.problem = null;
    this.describe();
    this.say("");
  }

  say(line, kind = "bad") {
    this.parts.said.textContent = line;
    this.parts.said.dataset.kind = kind;
  }

  draw() {
    const { wave, hint } = this.parts;
    wave.hidden = !this.sound && !this.recording;
    hint.hidden = !wave.hidden;
    if (!wave.clientWidth) return;
    const bars = barsOn(wave);
    drawBars(wave, this.recording ? this.peaks.slice(-bars) : peaksOf(this.sound.samples, bars));
  }

  async #toggle() {
    if (this.recording) return this.#finish();
    this.clear();
    const chunks = [];
    this.peaks = [];
    try {
      this.recording = await listen((chunk) => {
        chunks.push(chunk);
        this.peaks.push(peakOf(chunk));
        showLevel(this.parts.meter, chunk);
        if (!this.recording) return; // it has just begun
        this.draw();
        const seconds = (chunks.length * chunk.length) / this.recording.rate;
        this.parts.about.textContent = text("seconds", { seconds: seconds.toFixed(1) });
        if (seconds >= (this.place.dataset.longest ?? LONGEST)) this.#finish();
      });
    } catch (error) {
      return this.say(error.message);
    }
    this.chunks = chunks;
    this.place.classList.add("recording");
    this.parts.meter.hidden = false;
    this.describe();
  }

  async #finish() {
    const { rate } = this.recording;
    await this.recording.stop();
    this.recording = null;
    this.place.classList.remove("recording");
    this.parts.meter.hidden = true;
    const samples = new Float32Array(this.chunks.reduce((sum, chunk) => sum + chunk.length, 0));
    let place = 0;
    for (const chunk of this.chunks) { samples.set(chunk, place); place += chunk.length; }
    this.#set(wav(samples, rate), { samples, rate });
  }

  // Use samples as if they had been recorded.
  give({ samples, rate }) {
    this.clear();
    this.#set(wav(samples, rate), { samples, rate });
  }

  async #use(file) {
    this.clear();
    this.name = file.name;
    this.#set(file, await decoded(file));
  }

  #set(file, sound) {
    this.file = file;
    this.sound = sound;
    this.describe();
    this.dispatchEvent(new Event("change"));
  }

  #play() {
    if (this.stopPlaying) return this.stopPlaying();
    this.parts.play.textContent = text("playing");
    this.stopPlaying = play(this.sound.samples, this.sound.rate, () => {
      this.stopPlaying = null;
      this.parts.play.textContent = text("play");
    });
  }

  describe() {
    const seconds = this.sound && this.sound.samples.length / this.sound.rate;
    const parts = [];
    if (seconds) parts.push(text("seconds", { seconds: seconds.toFixed(1) }));
    else if (this.file) parts.push(this.name);
    if (this.quality) {
      parts.push(text("speech", { speech: this.quality.speech_seconds.toFixed(1) }));
      parts.push(text("decibels", { level: `${Math.round(this.quality.level)}`.replace("-", "−") }));
    }
    this.parts.about.textContent = parts.join(" · ") || "\u00a0";
    this.parts.play.disabled = !this.sound;
    this.parts.words.textContent = text(this.recording ? "stop" : this.file ? "again" : "record");
    if (seconds) this.parts.wave.setAttribute("aria-label", text("waveform", { seconds: seconds.toFixed(1) }));
    this.draw();
  }
}

// Every kind of error as one line of the page.
export function lineOf(error) {
  return serviceLine(error.message);
}
