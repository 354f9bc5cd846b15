// The microphone, WAV files, levels and waveforms.

import { text } from "./texts.js";

// Calls `onChunk` with Float32Arrays until `stop` of the result is called.
export async function listen(onChunk) {
  if (!navigator.mediaDevices) throw new Error(text("noMicrophone") + text("noSecure"));
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    throw new Error(text("noMicrophone") + error.message);
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule("/page/capture-worklet.js");
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  node.port.onmessage = (event) => onChunk(event.data);
  context.createMediaStreamSource(stream).connect(node);
  await context.resume();
  return {
    rate: context.sampleRate,
    stop() {
      for (const track of stream.getTracks()) track.stop();
      return context.close();
    },
  };
}

export function pcm16(samples) {
  return Int16Array.from(samples, (value) => Math.round(Math.max(-1, Math.min(1, value)) * 32767));
}

export function wav(samples, rate) {
  const header = new DataView(new ArrayBuffer(44));
  const bytes = samples.length * 2;
  const ascii = (place, word) => [...word].forEach((letter, i) => header.setUint8(place + i, letter.charCodeAt(0)));
  ascii(0, "RIFF"); header.setUint32(4, 36 + bytes, true); ascii(8, "WAVEfmt ");
  header.setUint32(16, 16, true); header.setUint16(20, 1, true); header.setUint16(22, 1, true);
  header.setUint32(24, rate, true); header.setUint32(28, rate * 2, true);
  header.setUint16(32, 2, true); header.setUint16(34, 16, true);
  ascii(36, "data"); header.setUint32(40, bytes, true);
  return new Blob([header, pcm16(samples)], { type: "audio/wav" });
}

// The samples of a file as far as this browser can decode it; the service knows more formats.
export async function decoded(file) {
  const context = new OfflineAudioContext(1, 1, 16000);
  try {
    const buffer = await context.decodeAudioData(await file.arrayBuffer());
    return { samples: buffer.getChannelData(0), rate: buffer.sampleRate };
  } catch {
    return null;
  }
}

// Plays samples; the result stops it. `onEnd` is called at the end in any case.
export function play(samples, rate, onEnd) {
  const context = new AudioContext();
  const buffer = context.createBuffer(1, samples.length, rate);
  buffer.copyToChannel(samples, 0);
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(context.destination);
  source.onended = () => { context.close(); onEnd(); };
  source.start();
  return () => source.stop();
}

// Shows the level of a chunk on a meter: -60 to 0 dBFS.
export function showLevel(meter, samples) {
  let sum = 0;
  for (const value of samples) sum += value * value;
  const decibels = 10 * Math.log10(sum / samples.length + 1e-10);
  const percent = Math.round(Math.max(0, Math.min(100, (decibels + 60) * (100 / 60))));
  meter.style.setProperty("--level", `${percent}%`);
  meter.setAttribute("aria-valuenow", percent);
}

// A canvas in the resolution of the screen: its context, width and height in CSS pixels.
export function prepared(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const HUES = [248, 160, 20, 330, 200, 95, 285, 50];

// The colour of the first speaker, the second, and so on.
export function speakerColour(place) {
  return `oklch(62% 0.17 ${HUES[place % HUES.length]})`;
}

const BAR = 3, GAP = 2;

// How many bars of a waveform fit on a canvas.
export function barsOn(canvas) {
  return Math.max(1, Math.floor(canvas.clientWidth / (BAR + GAP)));
}

export function peakOf(samples, start = 0, end = samples.length) {
  let peak = 0;
  for (let i = start; i < end; i++) peak = Math.max(peak, Math.abs(samples[i]));
  return peak;
}

// The peaks of a whole recording, a bar for each part.
export function peaksOf(samples, bars) {
  const edge = (i) => Math.floor((i * samples.length) / bars);
  return Array.from({ length: bars }, (_, i) => peakOf(samples, edge(i), edge(i + 1)));
}

export function drawBars(canvas, peaks) {
  const { context, width, height } = prepared(canvas);
  const most = Math.max(0.05, ...peaks);
  const left = width - peaks.length * (BAR + GAP); // the newest is at the right
  context.fillStyle = colour("--accent");
  peaks.forEach((peak, i) => {
    const tall = Math.max(2, (peak / most) * (height - 2));
    context.beginPath();
    context.roundRect(left + i * (BAR + GAP), (height - tall) / 2, BAR, tall, 1.5);
    context.fill();
  });
}
