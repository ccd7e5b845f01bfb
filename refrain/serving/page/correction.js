/** What the next training reads: a vote, a better answer, or a pair with the model’s own as the rejected one. */

import { call } from "./api.js";
import { button, h, openDialog } from "./dom.js";

export function openCorrection(reply, messages) {
	const field = h("textarea", { id: "better", rows: 8, value: reply.content });
	const result = h("p", { role: "status", class: "hint" }, "A pair has the model’s answer as the rejected one.");
	const save = (build) => () => keepRow(result, build(field.value.trim(), reply, messages));
	openDialog("A better answer",
		h("label", { htmlFor: field.id }, "What it should have said"), field,
		h("p", { class: "acts" },
			button("Save as a training row", save(asRow), { class: "main" }),
			button("Save as a pair", save(asPair))),
		result);
	field.focus();
	field.setSelectionRange(0, 0);
}

/** Call the answer good or bad, as it is. */
export const vote = (label, { content }, messages) => ({ target }) => keepRow(target, { ...asRow(content, 0, messages()), label });

async function keepRow(status, row) {
	status.textContent = "Saving …";
	status.textContent = await call("v1/refrain/feedback", row).then(
		({ file }) => `Saved as a row of ${file}.`, (error) => `Not saved: ${error.message}`);
}

const asRow = (better, _, messages) => ({ messages: [...messages, { role: "assistant", content: better }] });

const asPair = (better, { content }, messages) => ({
	prompt: messages,
	chosen: [{ role: "assistant", content: better }],
	rejected: [{ role: "assistant", content }],
});

export function saveFile(name, text, type) {
	const address = URL.createObjectURL(new Blob([text], { type }));
	h("a", { href: address, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(address), 1000);
}
