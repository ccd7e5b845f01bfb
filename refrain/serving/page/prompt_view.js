/** The prompt as the template wrote it, with control tokens and line ends. */

import { call } from "./api.js";
import { h, openDialog } from "./dom.js";

const CONTROL = /(<\|[^<>|]*\|>|<\/?[A-Za-z_][\w-]*>|\[\/?[A-Z_]+\]|\n)/; // as templates write them

export async function openPrompt(reply, messages) {
	const text = h("pre", { class: "prompt", tabIndex: 0, "aria-label": "Prompt" }, "…");
	openDialog("The prompt, as the model reads it", text, h("p", { class: "hint" }, "Marked: what the template wrote as control tokens. The answer stands behind it, underlined."));
	try {
		const { model, continue_final_message: goesOn } = reply.request;
		const shape = goesOn ? { continue_final_message: true, add_generation_prompt: false } : {};
		const { prompt } = await call("apply-template", { ...(model && { model }), messages, ...shape });
		const answer = h("span", { class: "answer-part" }, ...marked(reply.content.slice(reply.prefix)));
		const end = reply.finish === "stop" ? h("span", { class: "hint" }, " (and its end)") : "";
		text.replaceChildren(...marked(prompt), answer, end);
	} catch (error) {
		text.replaceChildren(error.message);
	}
}

function marked(text) {
	return text.split(CONTROL).map((part, i) => {
		if (i % 2 === 0) return part;
		return part === "\n" ? h("span", { class: "line-end" }, "⏎\n") : h("b", { class: "control" }, part);
	});
}
