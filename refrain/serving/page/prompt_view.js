/** The prompt as the template wrote it, with control tokens and line ends. */

import { call } from "./api.js";
import { h, openDialog } from "./dom.js";

export async function openPrompt(reply, messages) {
	const text = h("pre", { class: "prompt", tabIndex: 0, "aria-label": "Prompt" }, "…");
	openDialog("The prompt, as the model reads it", text, h("p", { class: "hint" }, "Red: control tokens, as the template wrote them. Underlined: the answer."));
	try {
		const { request } = await call(`v1/refrain/lineage/${reply.id}`).catch(() => ({}));
		const parts = request?.prompt_parts ?? [{ text: await writePrompt(reply.request, messages) }];
		const shown = parts.map((part) => h(part.is_control ? "b" : "span", {}, part.text.replaceAll("\n", "⏎\n")));
		text.replaceChildren(...shown, h("u", {}, reply.content.slice(reply.prefix)));
	} catch (error) {
		text.replaceChildren(error.message);
	}
}

/** The prompt of an answer that the server has forgotten: its control tokens cannot be told from text. */
async function writePrompt({ model, continue_final_message, add_generation_prompt }, messages) {
	return (await call("apply-template", { model, messages, continue_final_message, add_generation_prompt })).prompt;
}
