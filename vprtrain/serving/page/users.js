// The users: export and removal.

import { element, showError, showVerdict } from "./panels.js";
import { remove, stored, users } from "./service.js";
import { text } from "./texts.js";

export function usersPanel(place) {
  const list = place.querySelector(".people");
  const empty = place.querySelector(".empty");
  const result = place.querySelector(".result");
  const dialog = document.getElementById("delete-dialog");
  let show = () => result.replaceChildren(); // the result, in the language of the page

  async function refresh() {
    try {
      const { recordings } = await users();
      list.replaceChildren(...Object.entries(recordings).map(([name, count]) => row(name, count)));
      empty.hidden = list.children.length > 0;
    } catch (error) {
      tell(() => showError(result, error));
    }
  }

  function tell(how) {
    show = how;
    show();
  }

  function row(name, count) {
    const found = document.createElement("li");
    const badge = element("span", [...name][0].toUpperCase(), "badge");
    badge.setAttribute("aria-hidden", "true");
    const who = element("span", "", "who");
    who.append(
      element("b", name),
      element("span", text(count === 1 ? "recording" : "recordings", { count }), "quiet"),
    );
    const buttons = element("span", "", "buttons");
    buttons.append(button("export", name, download), button("delete", name, askToDelete));
    found.append(badge, who, buttons);
    return found;
  }

  function button(kind, name, act) {
    const found = element("button", text(`${kind}Action`), kind === "delete" ? "danger" : "");
    found.type = "button";
    found.setAttribute("aria-label", text(`${kind}Label`, { name }));
    found.onclick = () => act(name).catch((error) => tell(() => showError(result, error)));
    return found;
  }

  async function download(name) {
    const content = new Blob([JSON.stringify(await stored(name), null, 1)], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = `${name}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  async function askToDelete(name) {
    document.getElementById("delete-title").textContent = text("deleteTitle", { name });
    dialog.returnValue = "no";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (dialog.returnValue !== "yes") return;
    await remove(name);
    await refresh();
    tell(() => showVerdict(result, { kind: "good", title: text("deleted", { name }) }));
  }

  place.addEventListener("open", () => {
    tell(() => result.replaceChildren());
    refresh();
  });
  document.addEventListener("language", () => {
    show();
    if (!place.hidden) refresh();
  });
}
