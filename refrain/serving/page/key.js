/** The API key, where the server wants one: forgotten with the tab. */

import { h, openDialog } from "./dom.js";

const NAME = "refrain-api-key";
let asked = null;

export const readKey = () => sessionStorage.getItem(NAME);

/** Whether a key was given; one dialog for all who ask. */
export function askForKey(wasRefused) {
	asked ??= show(wasRefused).finally(() => (asked = null));
	return asked;
}

function show(wasRefused) {
	return new Promise((resolve) => {
		const field = h("input", { type: "password", id: "key", required: true, autocomplete: "off" });
		const why = wasRefused ? "The server does not know this key." : "This server asks for a key.";
		const form = h("form", { method: "dialog" }, h("label", { htmlFor: "key" }, `${why} It is kept until this tab is closed.`), field, h("button", { class: "main" }, "Use this key"));
		const dialog = openDialog("API key", form);
		form.onsubmit = () => (sessionStorage.setItem(NAME, field.value.trim()), resolve(true));
		dialog.addEventListener("close", () => resolve(false));
	});
}
