// Enrolling: three takes, each of which the service checks at once.

import { addNext, reveal, showError, showVerdict } from "./panels.js";
import { check, enrol } from "./service.js";
import { Take, lineOf } from "./take.js";
import { serviceLine, text } from "./texts.js";

function cosine(a, b) {
  let dot = 0, first = 0, second = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    first += a[i] * a[i];
    second += b[i] * b[i];
  }
  return dot / Math.sqrt(first * second);
}

export function enrolPanel(place, threshold, openRecognise) {
  const takes = [...place.querySelectorAll(".take")].map((each) => new Take(each));
  const [name, purpose, consent, missing] = ["name", "purpose", "consent", "missing"].map((id) => document.getElementById(id));
  const action = place.querySelector("[data-action]");
  const result = place.querySelector(".result");
  const lead = place.querySelector(".lead"), again = place.querySelector(".again");
  const shown = () => takes.filter((take) => !take.place.hidden);
  const ready = () => takes.filter((take) => take.quality && take.file);
  let show = () => {}; // the result, in the language of the page

  // What is to be said of a take; nothing before the service has checked it.
  function judge(take) {
    if (take.problem) return take.say(text("refused") + lineOf(take.problem));
    if (!take.quality) return take.say("");
    const doubts = take.quality.warnings.map(serviceLine);
    const other = takes.find((each) => each !== take && each.quality);
    if (other && takes.indexOf(other) < takes.indexOf(take) && threshold() !== null) {
      const score = cosine(take.quality.embedding, other.quality.embedding);
      if (score < threshold()) doubts.unshift(text("otherVoice", { take: takes.indexOf(other) + 1, score: score.toFixed(2) }));
    }
    if (doubts.length) take.say(text("doubtful") + doubts.join(" · "), "doubt");
    else take.say(text("good"), "good");
  }

  function update() {
    const count = shown().length - ready().length;
    const needed = [
      ...(name.value.trim() ? [] : [text("missingName")]),
      ...(purpose.value.trim() ? [] : [text("missingPurpose")]),
      ...(count ? [text(count === 1 ? "missingTake" : "missingTakes", { count })] : []),
      ...(consent.checked ? [] : [text("missingConsent")]),
    ];
    action.disabled = needed.length > 0;
    missing.textContent = needed.length ? text("missing") + needed.join(" · ") : "";
    takes.forEach(judge);
  }

  for (const take of takes) {
    take.addEventListener("change", async () => {
      const { file } = take;
      take.quality = take.problem = null;
      result.replaceChildren();
      show = () => {};
      update();
      take.say(text("checking"), "quiet");
      try {
        const found = await check(file);
        if (take.file !== file) return; // another take has been made meanwhile
        take.quality = found;
      } catch (error) {
        if (take.file === file) take.problem = error;
      }
      take.describe();
      update();
    });
  }
  // Takes that are there already, cut from a conversation; without any, three are asked for.
  function useTakes(user, sounds) {
    name.value = user;
    consent.checked = false;
    place.classList.toggle("given", sounds.length > 0);
    again.hidden = !sounds.length;
    lead.dataset.text = sounds.length ? "givenLead" : "enrolLead";
    lead.textContent = text(lead.dataset.text);
    takes.forEach((take, i) => {
      take.place.hidden = sounds.length > 0 && i >= sounds.length;
      take.clear();
      if (sounds[i]) take.give(sounds[i]);
    });
    update();
  }

  again.onclick = () => useTakes("", []);
  purpose.value = localStorage.getItem("purpose") ?? "";
  name.oninput = purpose.oninput = consent.onchange = update;
  document.addEventListener("language", () => { update(); show(); });

  action.onclick = async () => {
    action.disabled = true;
    try {
      const found = await enrol(name.value.trim(), purpose.value.trim(), shown().map((take) => take.file));
      localStorage.setItem("purpose", purpose.value.trim());
      show = () => showEnrolled(found);
      useTakes("", []);
    } catch (error) {
      show = () => showError(result, error);
    }
    show();
    update();
    reveal(result);
  };

  function showEnrolled(found) {
    const box = showVerdict(result, {
      kind: "good", title: text("enrolled", { name: found.user, count: found.recordings }),
    });
    addNext(box, text("enrolledNext"), openRecognise);
  }
  update();
  return { useTakes };
}
