/** The API key, where the server wants one: asked for once, and forgotten with the tab. */

import { button, h, openDialog } from "./dom.js";

const NAME = "refrain-api-key";
let asked = null;

export const readKey = () => sessionStorage.getItem(NAME);

/** Whether a key was given; all who ask at once wait for one dialog. */
export function askForKey(wasRefused) {
  asked ??= show(wasRefused).finally(() => (asked = null));
  return asked;
}

function show(wasRefused) {
  return new Promise((resolve) => {
    const field = h("input", { type: "password", id: "key", required: true, autocomplete: "off" });
    const form = h(
      "form", { method: "dialog" },
      h("p", {}, wasRefused ? "The server does not know this key. Give another one." : "This server answers with a key."),
      h("label", { htmlFor: "key" }, "API key"), field,
      h("p", { class: "hint" }, "It is kept until this tab is closed."),
      h("p", {}, h("button", { type: "submit", class: "main" }, "Use this key")),
    );
    const dialog = openDialog("API key", form);
    form.onsubmit = () => sessionStorage.setItem(NAME, field.value.trim());
    dialog.addEventListener("close", () => resolve(Boolean(field.value.trim())));
  });
}
