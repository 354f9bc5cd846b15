// The HTTP API. An error has the one line of the service.

import { text } from "./texts.js";

let askForToken = async () => {};

export function onMissingToken(ask) {
  askForToken = ask;
}

export function token() {
  return sessionStorage.getItem("token") ?? "";
}

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token() ? { Authorization: `Bearer ${token()}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error(text("offline"));
  }
  if (answer.status === 401) {
    await askForToken(Boolean(token()));
    return ask(path, options);
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.detail);
  return content;
}

function form(fields) {
  const body = new FormData();
  for (const [name, file] of fields) body.append(name, file, "recording");
  return { method: "POST", body };
}

export const model = () => ask("/v1/model");
export const check = (file) => ask("/v1/embed?enrolment=true", form([["audio", file]]));
export const compare = (first, second) => ask("/v1/contrast", form([["first", first], ["second", second]]));
export const identify = (file) => ask("/v1/identify", form([["audio", file]]));
export const diarize = (file, count) =>
  ask(`/v1/diarize${count ? `?num_speakers=${count}` : ""}`, form([["audio", file]]));
export const users = () => ask("/v1/users");
export const stored = (name) => ask(`/v1/users/${encodeURIComponent(name)}`);
export const remove = (name) => ask(`/v1/users/${encodeURIComponent(name)}`, { method: "DELETE" });
export const enrol = (name, purpose, files) =>
  ask(`/v1/users/${encodeURIComponent(name)}?purpose=${encodeURIComponent(purpose)}`, form(files.map((file) => ["audio", file])));

export function stream(start, onMessage, onEnd) {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    socket.send(JSON.stringify({ token: token(), encoding: "pcm16", ...start }));
  };
  socket.onmessage = (event) => onMessage(JSON.parse(event.data));
  socket.onclose = () => onEnd();
  return socket;
}
