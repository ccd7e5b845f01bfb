/** The settings beside the chat; what is set is marked, and can be taken back. */

import { copyText } from "./copy.js";
import { $, button, h } from "./dom.js";
import { FIELDS, changedNames, linkTo, onSettings, parse, resetSettings, setSettings, setting } from "./settings.js";

const rows = new Map(); // by name

/** Fill the panel, for models by these names; the first is the default. */
export function buildSettings(models) {
	const head = h("header", {}, h("h2", {}, "Settings"), button("Close", () => showSettings(false)));
	const link = button("Copy link", () => copyText(linkTo($("box").value), link));
	const actions = h("p", { class: "acts" }, button("Reset all", resetSettings), link);
	$("settings").replaceChildren(head, h("p", { class: "hint" }, "What is empty is left to the server."), ...FIELDS.map((field) => buildRow(field, models)), actions);
	$("open-settings").onclick = () => showSettings($("settings").hidden);
	$("settings").onkeydown = ({ key }) => void (key === "Escape" && showSettings(false));
	onSettings(showValues);
	showValues();
}

export function showSettings(isShown) {
	$("settings").hidden = !isShown;
	document.body.classList.toggle("with-settings", isShown);
	$("open-settings").setAttribute("aria-expanded", String(isShown));
	if (isShown) $("settings").querySelector("select, input, textarea").focus();
	else $("open-settings").focus();
}

function buildRow(field, models) {
	const id = `setting-${field.name}`;
	const control = buildControl(field, id, models);
	control.onchange = () => setSettings({ [field.name]: parse(field, control.value) });
	const label = field.name[0].toUpperCase() + field.name.slice(1).replaceAll("_", " ");
	const reset = button("reset", () => setSettings({ [field.name]: "" }), { "aria-label": `Reset ${label}`, class: "reset" });
	const hint = field.hint && h("p", { class: "hint", id: `${id}-hint` }, field.hint);
	if (hint) control.setAttribute("aria-describedby", hint.id);
	const row = h("div", { class: "setting" }, h("p", {}, h("label", { htmlFor: id }, label), " ", reset), control, hint);
	rows.set(field.name, { row, control, reset });
	return row;
}

function buildControl(field, id, models) {
	if (field.kind === "text") return h("textarea", { id, rows: 1 });
	if (field.kind !== "model") return h("input", { id, type: "number", step: "any" });
	const none = field.name === "model" ? `${models[0] ?? "the server’s"} (default)` : "none";
	return h("select", { id }, h("option", { value: "" }, none), ...models.map((name) => h("option", { value: name }, name)));
}

function showValues() {
	for (const [name, { row, control, reset }] of rows) {
		const value = setting(name) ?? "";
		if (control.tagName === "SELECT" && ![...control.options].some((option) => option.value === value))
			control.append(h("option", { value }, value)); // a link may name a model that is not here: the server says so
		control.value = value;
		row.classList.toggle("is-changed", value !== "");
		reset.hidden = value === "";
	}
	const names = changedNames();
	$("changed").textContent = names.map((name) => `${name} ${String(setting(name)).slice(0, 24)}`).join(" · ");
}
