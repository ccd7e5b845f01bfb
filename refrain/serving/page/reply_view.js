/** One model’s answer: its text, its figures, what can be done with it. */

import { walkTokens } from "./alternatives.js";
import { differences } from "./compare.js";
import { askAgain, goOnFrom, promptOf, state, swapReplies } from "./conversation.js";
import { asCurl, asPython, copyText } from "./copy.js";
import { openCorrection, vote } from "./correction.js";
import { button, h } from "./dom.js";
import { labelsOf } from "./labels.js";
import { buildLineage } from "./lineage.js";
import { openPrompt } from "./prompt_view.js";
import { renderText } from "./render.js";
import { numTokens, speed } from "./reply.js";

const ENDINGS = { length: "It may not be longer.", cancelled: "Stopped.", timeout: "It ran out of time." };
const views = new WeakMap();

export function buildReply(turn, reply) {
	const text = h("div", { class: "text", role: "group", "aria-label": "Answer: arrow keys walk its tokens" });
	const note = h("p", { class: "note" }), figures = h("p", { class: "figures" });
	const head = turn.beside ? h("p", { class: "name" }, reply.model ?? reply.request.model ?? "default") : null;
	const section = h("section", { class: "reply" }, head, text, note, figures, actions(turn, reply));
	walkTokens(text, reply, (i, other) => goOnFrom(turn, reply, i, other));
	views.set(reply, { section, text, note, figures, ranges: rangesOf(turn, reply) });
	updateReply(reply);
	return section;
}

/** Where the other model says something else, when both have ended. */
function rangesOf({ reply: first, beside }, reply) {
	if (!beside || first.isRunning || beside.isRunning) return [];
	return differences(first.content, beside.content)[reply === first ? 0 : 1];
}

/** Draw what has come. */
export function updateReply(reply) {
	const view = views.get(reply);
	if (!view) return;
	const showsTokens = document.body.classList.contains("with-tokens") && reply.tokens.length > 0;
	renderText(view.text, reply.content, labelsOf(reply, showsTokens, view.ranges));
	view.section.classList.toggle("is-running", Boolean(reply.isRunning));
	view.text.tabIndex = showsTokens ? 0 : -1;
	view.note.textContent = reply.error ?? ENDINGS[reply.refrain?.reason ?? reply.finish] ?? "";
	view.note.classList.toggle("is-error", Boolean(reply.error));
	view.figures.textContent = figuresOf(reply);
}

function figuresOf(reply) {
	const { usage, refrain = {} } = reply, first = reply.first?.at, count = numTokens(reply), rate = speed(reply);
	const cached = usage?.prompt_tokens_details?.cached_tokens ?? refrain.cached_tokens;
	return [
		refrain.variant ?? reply.model,
		refrain.seed !== undefined && `seed ${refrain.seed}`,
		usage && `${usage.prompt_tokens} prompt tokens${cached ? `, ${cached} cached` : ""}`,
		count && `${count} ${count === 1 ? "token" : "tokens"}`,
		rate && `${rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString("en")} a second`,
		first !== undefined && `first after ${Math.round(first * 1000)} ms`,
		refrain.cache === "hit" && "from the cache",
	].filter(Boolean).join("\u00a0· ");
}

function actions(turn, reply) {
	const { chat } = state, messages = () => promptOf(chat, turn);
	const begun = reply.request.continue_final_message ? [{ role: "assistant", content: reply.content.slice(0, reply.prefix) }] : [];
	const body = () => ({ model: reply.model ?? reply.request.model, ...reply.request, messages: [...messages(), ...begun] });
	const copy = (label, text) => button(label, ({ target }) => copyText(text(), target));
	return h("p", { class: "acts" },
		button("Again", () => askAgain(turn), { class: "again" }),
		turn.beside && reply === turn.beside ? button("Go on with this one", () => swapReplies(turn)) : null,
		copy("Copy", () => reply.content), copy("curl", () => asCurl(body())), copy("Python", () => asPython(body())),
		button("Good", vote(true, reply, messages)), button("Bad", vote(false, reply, messages)),
		button("Correct", () => openCorrection(reply, messages())),
		button("Prompt", () => openPrompt(reply, [...messages(), ...begun])),
		button("Lineage", ({ target }) => toggleLineage(target, turn, reply), { "aria-expanded": "false" }));
}

function toggleLineage(pressed, turn, reply) {
	const section = pressed.closest(".reply"), there = section.querySelector(".lineage");
	pressed.setAttribute("aria-expanded", String(!there));
	if (there) return there.remove();
	section.append(buildLineage(reply, state.chat.turns[turn.parent].content));
	section.lastChild.scrollIntoView({ block: "nearest" });
}
