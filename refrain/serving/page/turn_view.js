/** Questions and answers as they stand on the page, with what can be done to each. */

import { branches, repliesOf } from "./chat.js";
import { chooseBranch, editQuestion, state } from "./conversation.js";
import { copyText } from "./copy.js";
import { $, button, h } from "./dom.js";
import { buildReply } from "./reply_view.js";

/** Put turns into an element; what would be built the same stays. */
export function showTurns(element, turns) {
	const there = new Map([...element.children].map((view) => [view.built, view]));
	const views = turns.map((turn) => {
		const built = `${turn.id} ${turn.reply?.id} ${turn.reply?.isRunning} ${turn.beside?.isRunning} ${branches(state.chat, turn).map((other) => other.id)}`;
		return there.get(built) ?? Object.assign(turn.role === "user" ? buildQuestion(turn) : buildAnswer(turn), { built });
	});
	views.forEach((view, i) => view !== element.children[i] && element.insertBefore(view, element.children[i] ?? null));
	while (element.children.length > views.length) element.lastChild.remove();
}

function buildQuestion(turn) {
	const text = h("div", { class: "question" }, turn.content);
	const copy = button("Copy", () => copyText(turn.content, copy));
	const edit = button("Edit", () => editInPlace(turn, text), { class: "edit" });
	const acts = h("p", { class: "acts" }, ...branchButtons(turn), edit, copy);
	return h("article", { class: "turn ask", "aria-label": "Question", id: `turn-${turn.id}` }, acts, text);
}

function buildAnswer(turn) {
	const note = turn.dropped ? h("p", { class: "hint" }, `Answered without the oldest ${turn.dropped} turns.`) : null;
	const body = h("div", { class: turn.beside ? "two" : "" }, ...repliesOf(turn).map((reply) => buildReply(turn, reply)));
	const arrows = h("p", { class: "acts branches" }, ...branchButtons(turn));
	return h("article", { class: `turn answer ${turn.beside ? "pair" : ""}`, "aria-label": "Answer", id: `turn-${turn.id}` }, note, body, arrows);
}

/** Arrows between the versions of a turn. */
function branchButtons(turn) {
	const all = branches(state.chat, turn), at = all.indexOf(turn);
	if (all.length < 2) return [];
	const arrow = (step, sign, label) =>
		button(sign, () => showBranch(all[at + step], label), { "aria-label": label, class: "arrow", disabled: !all[at + step] });
	return [arrow(-1, "‹", "Earlier version"), h("span", { class: "place" }, `${at + 1} of ${all.length}`), arrow(1, "›", "Later version")];
}

function showBranch(turn, label) {
	chooseBranch(turn);
	const arrows = [...$(`turn-${turn.id}`).querySelectorAll(".arrow:not(:disabled)")];
	(arrows.find((arrow) => arrow.getAttribute("aria-label") === label) ?? arrows[0])?.focus();
}

function editInPlace(turn, text) {
	const field = h("textarea", { value: turn.content, "aria-label": "Your question, changed", class: "edited" });
	const leave = () => form.replaceWith(text);
	const form = h("form", { }, field, h("p", { class: "acts" }, h("button", { class: "main" }, "Ask this instead"), button("Leave it", leave)));
	form.onsubmit = (event) => {
		event.preventDefault();
		if (field.value.trim()) editQuestion(turn, field.value);
		$("box").focus();
	};
	field.onkeydown = (event) => {
		if (event.key === "Enter" && !event.shiftKey && !event.isComposing) event.preventDefault(), form.requestSubmit();
		if (event.key === "Escape") event.stopPropagation(), leave(), $("box").focus();
	};
	text.replaceWith(form);
	field.focus();
}
