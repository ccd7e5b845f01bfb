/** Blocks of Markdown. Every line knows its place in the source, so that tokens can be found in what is shown. */

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+|$)/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( {1,4}|$)/;
const DIVIDER = /^[ \t|:-]*-[ \t|:-]*$/;

/** The blocks of a text, each with its begin and end in the source. */
export function parseBlocks(source) {
	let at = 0;
	const lines = source.split("\n").map((text) => {
		const line = { text, at };
		at += text.length + 1;
		return line;
	});
	return blocksOf(lines, 0);
}

const DEEPEST = 20; // quotes and lists in each other; below that all is text

function blocksOf(lines, depth) {
	const blocks = [];
	for (let i = 0; i < lines.length; ) {
		if (!lines[i].text.trim()) {
			i++;
			continue;
		}
		const read = [readCode, readHeading, readRule, ...(depth < DEEPEST ? [readQuote, readList] : []), readTable, readParagraph];
		let block = null;
		for (const reader of read) if ((block = reader(lines, i, depth))) break;
		blocks.push({ ...block, start: lines[i].at, end: lastEnd(lines, block.next) });
		i = block.next;
	}
	return blocks;
}

const lastEnd = (lines, next) => lines[next - 1].at + lines[next - 1].text.length;

const cut = ({ text, at }, length) => ({ text: text.slice(length), at: at + length });

function readCode(lines, i) {
	const [, fence, language] = lines[i].text.match(FENCE) ?? [];
	if (!fence) return null;
	let next = i + 1;
	const isEnd = (text) => text.trim().startsWith(fence) && !text.trim().replaceAll(fence[0], "");
	while (next < lines.length && !isEnd(lines[next].text)) next++;
	return { type: "code", language: language.trim(), lines: lines.slice(i + 1, next), next: Math.min(next + 1, lines.length) };
}

function readHeading(lines, i) {
	const found = lines[i].text.match(HEADING);
	if (!found) return null;
	const line = cut(lines[i], found[0].length);
	return { type: "heading", level: found[1].length, lines: [{ ...line, text: line.text.replace(/[ \t]+#+[ \t]*$/, "") }], next: i + 1 };
}

const readRule = (lines, i) => (RULE.test(lines[i].text) ? { type: "rule", next: i + 1 } : null);

function readQuote(lines, i, depth) {
	let next = i;
	while (next < lines.length && QUOTE.test(lines[next].text)) next++;
	if (next === i) return null;
	const inner = lines.slice(i, next).map((line) => cut(line, line.text.match(QUOTE)[0].length));
	return { type: "quote", blocks: blocksOf(inner, depth + 1), next };
}

function readList(lines, i, depth) {
	const marker = lines[i].text.match(ITEM)?.[2];
	if (!marker) return null;
	const isOrdered = marker.length > 1;
	const items = [];
	let next = i;
	for (;;) {
		const found = lines[next]?.text.match(ITEM);
		if (!found || found[2].length > 1 !== isOrdered || found[2].at(-1) !== marker.at(-1) || RULE.test(lines[next].text)) break;
		const width = found[0].length;
		const inner = [cut(lines[next++], width)];
		while (next < lines.length && belongsToItem(lines, next, width)) inner.push(cut(lines[next], leading(lines[next++].text, width)));
		items.push(blocksOf(inner, depth + 1));
		const blank = next;
		while (next < lines.length && !lines[next].text.trim()) next++;
		if (!ITEM.test(lines[next]?.text ?? "")) return { type: "list", isOrdered, first: parseInt(marker), items, next: blank };
	}
	return items.length ? { type: "list", isOrdered, first: parseInt(marker), items, next } : null;
}

const leading = (text, most) => Math.min(most, text.match(/^ */)[0].length);

/** A line of an item is indented, or goes on with its paragraph; after a blank one it must be indented. */
function belongsToItem(lines, i, width) {
	const { text } = lines[i];
	if (!text.trim()) return i + 1 < lines.length && leading(lines[i + 1].text, width) >= Math.min(width, 2) && Boolean(lines[i + 1].text.trim());
	if (leading(text, width) >= Math.min(width, 2)) return true;
	return Boolean(lines[i - 1].text.trim()) && !startsBlock(text);
}

const startsBlock = (text) => [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(text));

function readTable(lines, i) {
	if (!lines[i].text.includes("|") || !DIVIDER.test(lines[i + 1]?.text ?? "")) return null;
	let next = i + 2;
	while (next < lines.length && lines[next].text.includes("|")) next++;
	const rows = [lines[i], ...lines.slice(i + 2, next)].map(cellsOf);
	return { type: "table", rows, next };
}

function cellsOf(line) {
	const cells = [];
	for (const { 0: text, index } of line.text.matchAll(/(?:\\.|[^|\\])+/g)) {
		const lead = text.length - text.trimStart().length;
		if (text.trim() || cells.length) cells.push({ text: text.trim(), at: line.at + index + lead });
	}
	return cells.at(-1)?.text === "" ? cells.slice(0, -1) : cells;
}

function readParagraph(lines, i) {
	let next = i + 1;
	while (next < lines.length && lines[next].text.trim() && !interrupts(lines[next].text)) next++;
	return { type: "paragraph", lines: lines.slice(i, next).map((line) => cut(line, leading(line.text, 3))), next };
}

/** Whether a line ends a paragraph; a number does only where it is the first of a list. */
const interrupts = (text) => startsBlock(text) && !/^ {0,3}(?!1[.)])\d+[.)]/.test(text);
