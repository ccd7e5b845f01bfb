/** Keys, and the page that lists them. */

import { shownTurns } from "./chat.js";
import { state, stop } from "./conversation.js";
import { $, h, openDialog } from "./dom.js";
import { openHistory } from "./history.js";
import { showSettings } from "./settings_panel.js";

const KEYS = [
	["Enter", "ask; with Shift a new line"],
	["Esc", "stop the answer"],
	["↑ in the empty box", "edit the last question"],
	["Alt N", "a new chat"],
	["Ctrl K", "search all chats"],
	["Alt S", "settings"],
	["Alt P", "show or hide how likely each token was"],
	["← → in an answer", "walk its tokens; Enter shows the alternatives"],
	["Ctrl /", "this list; outside of a text field also ?"],
];

export function listenToKeys({ startChat, toggleTokens }) {
	const by = {
		"alt n": startChat,
		"ctrl k": () => document.querySelector("dialog[open]") ?? openHistory(),
		"alt s": () => showSettings($("settings").hidden),
		"alt p": toggleTokens,
		"ctrl /": openHelp,
	};
	document.addEventListener("keydown", (event) => {
		const isTyping = event.target.closest("input, textarea, select");
		const hold = event.ctrlKey || event.metaKey ? "ctrl " : event.altKey ? "alt " : "";
		const letter = event.altKey && event.code.startsWith("Key") ? event.code.slice(3) : event.key; // Alt writes signs on a Mac
		const act = hold && by[hold + letter.toLowerCase()];
		if (act) event.preventDefault(), act();
		else if (event.key === "?" && !isTyping && !hold) openHelp();
		else if (event.key === "Escape" && state.running && !document.querySelector("dialog[open], :popover-open")) stop();
	});
	$("box").addEventListener("keydown", (event) => {
		if (event.key === "ArrowUp" && !$("box").value) editLast(event);
		if (event.key === "Enter" && !event.shiftKey && !event.isComposing) event.preventDefault(), $("composer").requestSubmit();
	});
}

function editLast(event) {
	const last = shownTurns(state.chat).findLast((turn) => turn.role === "user");
	if (!last) return;
	event.preventDefault();
	$(`turn-${last.id}`).querySelector(".edit").click();
}

export function openHelp() {
	if (document.querySelector("dialog[open]")) return;
	openDialog("Help",
		h("dl", { class: "keys" }, ...KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
		h("p", {}, "The less likely a token was, the stronger it is underlined. A click shows what could have come instead."));
}
