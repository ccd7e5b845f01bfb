/** The page: what is where, and who hears of what. */

import { call } from "./api.js";
import { newChat, repliesOf, shownTurns } from "./chat.js";
import { ask, listeners, openChat, state, stop } from "./conversation.js";
import { $, notice } from "./dom.js";
import { measureSoon } from "./gauge.js";
import { openHistory } from "./history.js";
import { listenToKeys, openHelp } from "./keyboard.js";
import { updateReply } from "./reply_view.js";
import { sayAnswer } from "./said.js";
import { loadSettings, onSettings } from "./settings.js";
import { buildSettings } from "./settings_panel.js";
import { showTurns } from "./turn_view.js";

const fresh = new Set(); // replies with something that is not drawn yet
let frame = 0; // in which they are drawn, all at once

function drawFresh() {
	frame = 0;
	followEnd(() => fresh.forEach((reply) => (updateReply(reply), sayAnswer(reply))));
	fresh.clear();
}

/** Change the page; who reads its end still sees it. */
function followEnd(change) {
	const root = document.scrollingElement;
	const isAtEnd = root.scrollHeight - root.scrollTop - root.clientHeight < 80;
	change();
	if (isAtEnd) root.scrollTop = root.scrollHeight;
}

function showChat() {
	const turns = shownTurns(state.chat), isRunning = Boolean(state.running);
	followEnd(() => showTurns($("turns"), turns));
	$("intro").hidden = turns.length > 0;
	$("title").textContent = state.chat.title;
	document.title = state.chat.title ? `${state.chat.title} · Refrain` : "Refrain";
	$("conversation").setAttribute("aria-busy", String(isRunning));
	$("send").hidden = isRunning;
	$("stop").hidden = !isRunning;
	fresh.forEach(sayAnswer);
	measureSoon();
}

function startChat() {
	openChat(newChat());
	$("box").focus();
}

function toggleTokens() {
	document.body.classList.toggle("with-tokens");
	shownTurns(state.chat).flatMap(repliesOf).forEach(updateReply);
}

function send(event) {
	event.preventDefault();
	const text = $("box").value;
	if (!text.trim() || state.running) return;
	$("box").value = "";
	fitBox();
	document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
	ask(text);
}

function fitBox() {
	$("box").style.height = "auto";
	$("box").style.height = `${Math.min($("box").scrollHeight, innerHeight / 3)}px`;
}

async function start() {
	Object.assign(listeners, {
		onChat: showChat,
		onNews: (reply) => (fresh.add(reply), (frame ||= requestAnimationFrame(drawFresh))),
		onProblem: (error) => notice(`${error.message}.`),
	});
	$("without").remove();
	document.body.classList.add("with-tokens");
	loadSettings();
	onSettings(measureSoon);
	$("composer").onsubmit = send;
	$("box").oninput = () => (fitBox(), measureSoon());
	$("stop").onclick = () => (stop(), $("box").focus());
	$("new-chat").onclick = startChat;
	$("open-history").onclick = openHistory;
	$("open-help").onclick = openHelp;
	listenToKeys({ startChat, toggleTokens });
	$("box").value = new URLSearchParams(location.hash.slice(1)).get("q") ?? "";
	fitBox();
	showChat();
	const models = await call("v1/models").catch((error) => (notice(`${error.message}.`), { data: [] }));
	buildSettings(models.data.map((model) => model.id));
	const { data } = await call("v1/refrain/lineage").catch(() => ({ data: [] }));
	const { variant, method, base, commit } = data.find(({ model }) => model === models.data[0]?.id) ?? {};
	$("artifact").textContent = [variant, method, base, commit && `commit ${commit.slice(0, 7)}`].filter(Boolean).join(" · ");
}

start();
