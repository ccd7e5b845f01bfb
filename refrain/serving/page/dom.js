/** Elements made of text and other elements: never of markup. */

export const $ = (id) => document.getElementById(id);

/** An element: what it has as a property is set so, the rest as attributes; children are nodes or text. */
export function h(name, properties = {}, ...children) {
	const element = document.createElement(name);
	for (const [key, value] of Object.entries(properties)) {
		if ((value ?? false) === false) continue;
		if (key === "class") element.className = value;
		else if (key in element) element[key] = value;
		else element.setAttribute(key, value === true ? "" : value);
	}
	element.append(...children.filter((child) => (child ?? "") !== ""));
	return element;
}

export function button(label, onclick, properties = {}) {
	return h("button", { type: "button", onclick, ...properties }, label);
}

export function openDialog(title, ...children) {
	const dialog = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() });
	dialog.append(h("div", { class: "sheet" }, h("header", {}, h("h2", { id: "dialog-title" }, title), button("Close", () => dialog.close())), ...children));
	dialog.onclick = ({ target }) => void (target === dialog && dialog.close()); // false would undo the click
	document.body.append(dialog);
	dialog.showModal();
	return dialog;
}

/** One sentence above the box, and what can be done about it; without a text it goes. */
export function notice(text = "", ...actions) {
	$("notice").replaceChildren(text, ...actions.flatMap((action) => [" ", action]));
	$("notice").hidden = !text;
}
