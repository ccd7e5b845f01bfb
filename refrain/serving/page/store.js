/** The history: chats in this browser's IndexedDB, or in a file. */

import { repliesOf } from "./chat.js";
import { fetchChats, sendChat } from "./server_chats.js";

const FORMAT = "refrain-chats";
let opening;

export async function listChats() {
	const chats = await act("readonly", (store) => store.getAll());
	return chats.sort((one, other) => other.updated - one.updated);
}

export async function saveChat(chat) {
	await put(chat);
	await sendChat("PUT", chat.id, chat);
}

export async function deleteChat(id) {
	await act("readwrite", (store) => store.delete(id));
	await sendChat("DELETE", id);
}

export async function deleteAllChats() {
	await act("readwrite", (store) => store.clear());
	await sendChat("DELETE");
}

/** Bring here what the server has and this browser has not. */
export async function bringChats() {
	for (const chat of await fetchChats(await times())) if (isChat(chat)) await put(chat);
}

const put = (chat) => act("readwrite", (store) => store.put(structuredClone(chat)));

const times = async () => new Map((await listChats()).map(({ id, updated }) => [id, updated]));

/** All chats with settings, times and seeds, as text. */
export async function exportChats() {
	return JSON.stringify({ format: FORMAT, version: 1, chats: await listChats() }, null, 1);
}

/** Take in exported chats, of two versions the newer; how many were taken. */
export async function importChats(text) {
	const { format, chats } = JSON.parse(text);
	if (format !== FORMAT || !chats.every(isChat)) throw new Error("it holds no chats of this page");
	const here = await times();
	const newer = chats.filter((chat) => !(here.get(chat.id) >= chat.updated));
	for (const chat of newer) await saveChat(chat);
	return newer.length;
}

/** Whether a chat can be shown: every turn has a text and a place. */
function isChat(chat) {
	const isText = (...values) => values.every((value) => typeof value === "string");
	const isReply = (reply) => isText(reply.content) && reply.request && reply.tokens.every(({ start, end, top }) => start <= end && top);
	const isTurn = (turn) => (turn.reply ? [turn.reply, turn.beside ?? turn.reply].every(isReply) : isText(turn.content));
	return isText(chat.id, chat.title) && chat.chosen && Object.entries(chat.turns).every(([id, turn]) => turn.id === id && isText(turn.parent) && isTurn(turn));
}

export function matches(chat, query) {
	const texts = Object.values(chat.turns).flatMap((turn) => [turn, ...repliesOf(turn)].map(({ content }) => content));
	const text = texts.join(" ").toLowerCase();
	return query.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function open() {
	opening ??= new Promise((resolve, reject) => {
		const request = indexedDB.open("refrain", 1);
		request.onupgradeneeded = () => request.result.createObjectStore("chats", { keyPath: "id" });
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
	return opening;
}

async function act(mode, begin) {
	const transaction = (await open()).transaction("chats", mode), request = begin(transaction.objectStore("chats"));
	return new Promise((resolve, reject) => {
		transaction.oncomplete = () => resolve(request.result);
		transaction.onabort = () => reject(transaction.error);
	});
}
