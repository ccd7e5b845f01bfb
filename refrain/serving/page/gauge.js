/** How much of the context the next question takes, and what to leave out where it does not fit. */

import { call } from "./api.js";
import { dropOldest, nextPrompt, state } from "./conversation.js";
import { $, button, notice } from "./dom.js";
import { setting } from "./settings.js";

const PAUSE = 250; // milliseconds without typing before the server is asked
const ROOM = 16; // tokens that an answer needs at least
let timer = 0, latest = 0;

/** Measure after a pause. */
export function measureSoon() {
	clearTimeout(timer);
	timer = setTimeout(measure, PAUSE);
}

async function measure() {
	const mine = ++latest;
	const { count, context } = await tokenize().catch(() => ({ count: 0, context: 0 })); // asking will tell why
	if (mine === latest) show(count, context);
}

async function tokenize() {
	const { count, max_model_len: context } = await call("tokenize", { model: setting("model"), messages: nextPrompt($("box").value) });
	return { count, context };
}

function show(count, context) {
	const { dropped } = state.chat, isFull = context && context - count < ROOM;
	$("gauge").hidden = !context;
	Object.assign($("gauge"), { max: context || 1, high: context * 0.9, optimum: 0, value: count });
	$("room").textContent = context ? `${count.toLocaleString("en")} of ${context.toLocaleString("en")} tokens` : "";
	if (isFull) offerToDrop();
	else if (dropped) notice(`The oldest ${dropped} turns are left out of what is sent.`, button("Put them back", () => (dropOldest(0), measure())));
	else notice();
}

function offerToDrop() {
	const canDrop = nextPrompt("").filter(({ role }) => role !== "system").length > 1;
	notice("The context has no room for an answer.", canDrop ? button("Leave out the oldest turns", drop) : "Make the question shorter.");
}

/** Leave out as many pairs of turns as it takes. */
async function drop() {
	for (let before = Infinity; nextPrompt("").length < before; ) {
		const { count, context } = await tokenize();
		if (context - count >= ROOM) break;
		before = nextPrompt("").length;
		dropOldest(state.chat.dropped + 2);
	}
	await measure();
	$("box").focus();
}
