/** Blocks as elements; all text is set as text, cut where its label changes. */

import { copyText } from "./copy.js";
import { button, h } from "./dom.js";
import { parseInline } from "./inline.js";
import { parseBlocks } from "./markdown.js";

/** Draw a text into an element; blocks that stand there already stay. */
export function renderText(element, source, labels) {
	const blocks = parseBlocks(source);
	blocks.forEach((block, i) => {
		const key = `${block.start} ${source.slice(block.start, block.end)} ${labels?.key(block) ?? ""}`;
		const drawn = element.children[i];
		if (drawn?.source === key) return;
		const fresh = Object.assign(renderBlock(block, labels), { source: key });
		if (drawn) drawn.replaceWith(fresh);
		else element.append(fresh);
	});
	while (element.children.length > blocks.length) element.lastChild.remove();
}

function renderBlock(block, labels) {
	const inner = (blocks) => blocks.map((child) => renderBlock(child, labels));
	switch (block.type) {
		case "heading": return h("p", { class: `level-${block.level}`, role: "heading", "aria-level": block.level + 1 }, ...inline(block.lines, labels));
		case "rule": return h("hr");
		case "quote": return h("blockquote", {}, ...inner(block.blocks));
		case "list": {
			const items = block.items.map((blocks) => h("li", {}, ...inner(blocks)));
			return block.isOrdered ? h("ol", { start: block.first }, ...items) : h("ul", {}, ...items);
		}
		case "table": return renderTable(block, labels);
		case "code": return renderCode(block, labels);
		default: return h("p", {}, ...inline(block.lines, labels));
	}
}

function renderTable({ rows: [head, ...rows] }, labels) {
	const row = (name, cells) => h("tr", {}, ...cells.map((cell) => h(name, {}, ...inline([cell], labels))));
	const table = h("table", {}, h("thead", {}, row("th", head)), h("tbody", {}, ...rows.map((cells) => row("td", cells))));
	return h("div", { class: "wide", tabIndex: 0, role: "region", "aria-label": "Table" }, table);
}

function renderCode({ lines, language }, labels) {
	const { text, places } = joinLines(lines);
	const code = h("code", {}, ...pieces(text, places, 0, text.length, labels));
	const copy = button("Copy code", () => copyText(text, copy));
	return h("div", { class: "code" }, h("p", {}, h("span", {}, language), copy), h("pre", { tabIndex: 0, "aria-label": "Code" }, code));
}

function inline(lines, labels) {
	const { text, places } = joinLines(lines);
	const draw = (span) => {
		if (span.type === "text") return pieces(text, places, span.from, span.to, labels);
		if (span.type === "break") return [h("br")];
		const children = span.children.flatMap(draw);
		return [span.type === "link" ? link(span.address, children) : h(span.type, {}, ...children)];
	};
	return parseInline(text).flatMap(draw);
}

function link(address, children) {
	if (!/^(https?:|mailto:)/i.test(address)) return h("span", {}, ...children);
	return h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

/** The lines as one text, and where in the source each of its characters stands. */
function joinLines(lines) {
	const places = [];
	for (const { text, at } of lines) for (let i = 0; i <= text.length; i++) places.push(at + i);
	return { text: lines.map((line) => line.text).join("\n"), places };
}

function pieces(text, places, from, to, labels) {
	if (!labels) return [text.slice(from, to)];
	const drawn = [];
	for (let begin = from; begin < to; ) {
		const label = labels.at(places[begin]);
		let end = begin + 1;
		while (end < to && labels.at(places[end]) === label) end++;
		drawn.push(labels.draw(text.slice(begin, end), label));
		begin = end;
	}
	return drawn;
}
