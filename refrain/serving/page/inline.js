/** Inside of a line of Markdown: code, emphasis, links, as spans that may hold others. */

const PATTERNS = [ // with bounds: the end of what is never closed must not be sought for ever
	["escape", /\\([!-/:-@[-`{-~])/y],
	["code", /(`+)(?!`)([^]{0,2000}?[^`])\1(?!`)/y],
	["break", /(?: {2,}|\\)\n/y],
	["link", /\[([^\]\n]{1,500})\]\((\S{1,2000}?)(?:\s+"[^"\n]*")?\)/y],
	["bare", /https?:\/\/[^\s<>"'`]*[^\s<>"'`.,;:!?)\]*_]/y],
	["strong", /(\*\*|__)(?=\S)([^]{1,2000}?\S?)\1(?!\w)/y],
	["em", /([*_])(?=[^\s*_])([^]{0,2000}?[^\s*_\\])\1(?![\w*])/y],
	["del", /(~~)(?=\S)([^]{1,500}?)\1/y],
];
const SPECIAL = /[\\`\[h*_~ ]/;

/** Spans from `from` to `to`: {type: "text", from, to}, or with `children` and, for a link, its `address`. */
export function parseInline(text, from = 0, to = text.length) {
	const spans = [];
	let begin = from; // of the plain text that has not become a span yet
	const flush = (end) => end > begin && spans.push({ type: "text", from: begin, to: end });
	for (let i = from; i < to; ) {
		const span = SPECIAL.test(text[i]) ? readSpan(text, i, to) : null;
		if (!span) {
			i++;
			continue;
		}
		flush(i);
		spans.push(span);
		begin = i = span.end;
	}
	flush(to);
	return spans;
}

function readSpan(text, i, to) {
	for (const [type, pattern] of PATTERNS) {
		pattern.lastIndex = i;
		const found = pattern.exec(text);
		const end = i + (found?.[0].length ?? 0);
		if (!found || end > to) continue;
		if ((type === "em" || type === "strong" || type === "bare") && /\w/.test(text[i - 1] ?? "") && text[i] !== "*") return null;
		return asSpan(type, found, text, i, end);
	}
	return null;
}

function asSpan(type, found, text, i, end) {
	const [, mark, inner] = found;
	const plain = (from, to) => [{ type: "text", from, to }];
	switch (type) {
		case "escape": return { type: "text", from: i + 1, to: end, end };
		case "break": return { type: "break", end };
		case "code": return { type: "code", children: plain(i + mark.length, end - mark.length), end };
		case "link": return { type: "link", address: inner, children: parseInline(text, i + 1, i + 1 + mark.length), end };
		case "bare": return { type: "link", address: found[0], children: plain(i, end), end };
		default: return { type, children: parseInline(text, i + mark.length, end - mark.length), end };
	}
}
