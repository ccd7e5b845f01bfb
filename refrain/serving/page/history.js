/** The chats of before: found, opened, deleted, exported and imported. */

import { newChat } from "./chat.js";
import { openChat, state } from "./conversation.js";
import { saveFile } from "./correction.js";
import { $, button, h, openDialog } from "./dom.js";
import { bringChats, deleteAllChats, deleteChat, exportChats, importChats, listChats, matches } from "./store.js";

export async function openHistory() {
	const field = h("input", { type: "search", id: "search", "aria-label": "Search all chats", placeholder: "Search" });
	const list = h("ul", { class: "chats" }), told = h("p", { role: "status", class: "hint" });
	const draw = () => showChats(list, field.value);
	const file = h("input", { type: "file", accept: ".json,application/json", hidden: true, id: "import" });
	file.onchange = () => act(told, draw, async () => `${await importChats(await file.files[0].text())} taken in.`);
	const acts = h("p", { class: "acts" },
		button("Export all", () => act(told, draw, exportAll)), button("Import", () => file.click()), deleteAllButton(told, draw), file);
	field.oninput = draw;
	openDialog("Chats", field, list, told, acts);
	field.focus();
	await act(told, draw, bringChats);
}

/** Do something, and show what came of it. */
async function act(told, draw, what) {
	try {
		told.textContent = (await what()) ?? told.textContent;
		await draw();
	} catch (error) {
		told.textContent = `That failed: ${error.message}.`;
	}
}

async function exportAll() {
	saveFile("refrain-chats.json", await exportChats(), "application/json");
	return "Exported.";
}

function deleteAllButton(told, draw) {
	const pressed = button("Delete all", () => {
		if (pressed.textContent === "Delete all") return (pressed.textContent += ", for good?");
		pressed.textContent = "Delete all";
		return act(told, draw, async () => (leaveChat(), await deleteAllChats(), "Nothing is kept any more."));
	});
	return pressed;
}

function leaveChat() {
	state.chat.isGone = true;
	openChat(newChat());
}

async function showChats(list, query) {
	const chats = (await listChats()).filter((chat) => matches(chat, query));
	const rows = chats.map((chat) => chatRow(chat, () => showChats(list, query)));
	list.replaceChildren(...(rows.length ? rows : [h("li", {}, "No chats")]));
}

function chatRow(chat, draw) {
	const open = button(chat.title || "Without a title", () => {
		openChat(chat);
		document.querySelector("dialog[open]").close();
		$("box").focus();
	}, { class: chat.id === state.chat.id ? "open is-chosen" : "open" });
	const forget = button("Delete", async () => {
		if (chat.id === state.chat.id) leaveChat();
		await deleteChat(chat.id);
		await draw();
	}, { "aria-label": `Delete ${chat.title || "chat"}` });
	const when = h("time", {}, new Date(chat.updated).toLocaleDateString());
	return h("li", {}, open, when, forget);
}
