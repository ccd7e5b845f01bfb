"use strict";
/* Sorting and filtering of the tables of rows. Without it the first rows stand there, worst first. */

function startTable(place) {
	const { models, chosen, apart, piece, score, rows } = JSON.parse(place.querySelector("script").textContent);
	const form = place.querySelector("form"), body = place.querySelector("tbody"), more = place.querySelector(".more");
	const count = place.querySelector(".count"), heads = [...place.querySelectorAll("thead th[data-sort]")];
	const state = { key: "score", direction: 1, model: chosen, found: [], shown: 0 };
	const table = rows.map(([id, question, reference, answers], index) => ({
		id, question, reference, answers, index,
		of: models.map((_, model) => answers.find(([of]) => of.includes(model))),
	}));
	let isSearchable = false;

	function makeSearchable() {
		for (const row of table) {
			const said = row.answers.flatMap(([, , , pieces]) => pieces.filter(isSaid).map((text) => text.slice(1)).join(""));
			row.text = [row.id, row.question, row.reference, ...said].join("\n").toLocaleLowerCase();
		}
		isSearchable = true;
	}

	const sorters = {
		row: (a, b) => a.index - b.index,
		question: (a, b) => a.question.localeCompare(b.question),
		score: (a, b) => a.of[state.model][1] - b.of[state.model][1],
	};

	function find() {
		const { search, wrong, differ } = form.elements;
		const words = search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
		if (words.length && !isSearchable) makeSearchable();
		const isFound = (row) => words.every((word) => row.text.includes(word))
			&& !(wrong.checked && row.of[state.model][2])
			&& !(differ.checked && !differs(row));
		const order = sorters[state.key];
		state.found = table.filter(isFound).sort((a, b) => state.direction * order(a, b) || a.index - b.index);
	}

	/** Whether two models say two things; the one that stands apart does so anyway. */
	const differs = (row) => row.answers.filter(([of]) => of.some((model) => model !== apart)).length > 1;

	function show(rowsToAdd) {
		body.append(...rowsToAdd.map(drawRow));
		state.shown += rowsToAdd.length;
		tell();
	}

	function tell() {
		const filtered = state.found.length < table.length ? `, filtered from ${grouped(table.length)}` : "";
		count.textContent = `${grouped(state.shown)} of ${grouped(state.found.length)} rows${filtered}`;
		more.parentElement.hidden = state.shown >= state.found.length;
	}

	function refresh() {
		find();
		body.replaceChildren();
		state.shown = 0;
		for (const head of heads)
			if (head.dataset.sort === state.key) head.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
			else head.removeAttribute("aria-sort");
		place.querySelector(".chosen").textContent = models[state.model];
		show(state.found.slice(0, piece));
	}

	const showMore = () => show(state.found.slice(state.shown, state.shown + piece));

	function sortBy(key) {
		state.direction = key === state.key ? -state.direction : 1;
		state.key = key;
		refresh();
	}

	function drawRow(row) {
		const head = make("th", { scope: "row" }, row.id);
		const asked = make("td", {}, make("p", { className: "question", dir: "auto" }, row.question), make("p", { className: "reference", dir: "auto" }, row.reference));
		const number = make("td", { className: "number" }, row.of[state.model][1].toFixed(2));
		return make("tr", {}, head, asked, make("td", {}, ...row.answers.flatMap(drawAnswer)), number);
	}

	function drawAnswer([of, value, isExact, pieces]) {
		const names = of.map((model) => models[model]).join(", ");
		const said = pieces.length ? pieces.flatMap(drawPiece) : [make("i", {}, "nothing")];
		const className = pieces.length === 1 && pieces[0][0] === "+" ? "other" : "said";
		return [make("p", { className: "names" }, `${names} ${isExact ? "= reference" : value.toFixed(2)}`), make("p", { className, dir: "auto" }, ...said)];
	}

	for (const head of heads) {
		const button = make("button", { type: "button" });
		button.append(...head.childNodes);
		button.addEventListener("click", () => sortBy(head.dataset.sort));
		head.append(button);
	}
	form.addEventListener("submit", (event) => event.preventDefault());
	form.addEventListener("input", () => {
		state.model = Number(form.elements.model.value);
		refresh();
	});
	more.addEventListener("click", showMore);
	new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && showMore(), { rootMargin: "600px" }).observe(more);
	form.reset();
	form.hidden = false;
	find();
	state.shown = body.rows.length;
	tell();
}

const isSaid = (piece) => piece[0] !== "-";

/** White space around words is not marked. */
function drawPiece(piece) {
	if (piece[0] === " ") return [piece.slice(1)];
	const [, before, words, after] = piece.slice(1).match(/^(\s*)(.*?)(\s*)$/s);
	return [before, make(piece[0] === "+" ? "ins" : "del", {}, words), after];
}

const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

function make(name, properties, ...children) {
	const element = Object.assign(document.createElement(name), properties);
	element.append(...children);
	return element;
}

for (const place of document.querySelectorAll(".answers")) startTable(place);
