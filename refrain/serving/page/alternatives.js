/** Tokens at a click or by arrow keys: how likely each was, and what could have come instead. */

import { $, button, h } from "./dom.js";
import { percent } from "./labels.js";
import { say } from "./said.js";

const visible = (text) => text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥") || "∅";

/** Let tokens inside of an element be chosen; `goOn(token, text)` writes the answer anew from there. */
export function walkTokens(element, reply, goOn) {
	let current = -1;
	const show = (i) => openAlternatives(element.querySelector(`[data-token="${i}"]`), reply, i, goOn);
	element.onclick = (event) => {
		const piece = event.target.closest("[data-token]");
		if (piece && !event.target.closest("a") && getSelection().isCollapsed) show((current = Number(piece.dataset.token)));
	};
	element.onkeydown = (event) => {
		const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
		if (event.target !== element || !(step || event.key === "Enter")) return;
		event.preventDefault();
		if (!step) return current >= 0 && show(current);
		current = nextToken(element, reply, current, step);
		if (current < 0) return;
		element.querySelectorAll(".is-current").forEach((piece) => piece.classList.remove("is-current"));
		element.querySelectorAll(`[data-token="${current}"]`).forEach((piece) => piece.classList.add("is-current"));
		say(`${visible(reply.tokens[current].text)}, ${percent(reply.tokens[current].logprob)}`);
	};
}

/** The nearest token that can be seen: markup and ends cannot. */
function nextToken(element, reply, current, step) {
	for (let i = current + step; i >= 0 && i < reply.tokens.length; i += step)
		if (element.querySelector(`[data-token="${i}"]`)) return i;
	return current;
}

function openAlternatives(piece, reply, i, goOn) {
	const token = reply.tokens[i], sheet = $("alternatives");
	const isListed = token.top.some((other) => other.text === token.text);
	const all = isListed ? token.top : [...token.top, token];
	const rows = all.map((other) => {
		const disabled = /\uFFFD|^<[^<>]+>$/.test(other.text); // a part of a character, or a control token
		const row = button("", () => (sheet.hidePopover(), goOn(i, other.text)), { disabled, class: other.text === token.text ? "is-chosen" : "" });
		const share = h("meter", { max: 1, value: Math.exp(other.logprob), "aria-hidden": "true" });
		row.append(h("code", {}, visible(other.text)), share, h("span", {}, percent(other.logprob)));
		return h("li", {}, row);
	});
	sheet.replaceChildren(h("p", {}, "Go on from"), h("ul", {}, ...rows));
	sheet.showPopover();
	place(sheet, piece.getBoundingClientRect());
	sheet.querySelector("button:enabled")?.focus();
}

function place(sheet, spot) {
	const { width, height } = sheet.getBoundingClientRect();
	const below = spot.bottom + 6 + height < innerHeight;
	sheet.style.left = `${Math.max(8, Math.min(spot.left, innerWidth - width - 8))}px`;
	sheet.style.top = `${below ? spot.bottom + 6 : Math.max(8, spot.top - height - 6)}px`;
}
