/** Where two texts differ, word by word. */

const MOST = 4_000_000; // pairs of words that are compared

/** The ranges of each text that the other does not have: [of the first, of the second]. */
export function differences(one, other) {
	const [a, b] = [words(one), words(other)];
	let head = 0, tail = 0;
	while (head < Math.min(a.length, b.length) && a[head].text === b[head].text) head++;
	while (tail < Math.min(a.length, b.length) - head && a.at(-1 - tail).text === b.at(-1 - tail).text) tail++;
	const [left, right] = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
	const [inLeft, inRight] = left.length * right.length > MOST ? [new Set(), new Set()] : shared(left, right);
	return [ranges(left, inLeft), ranges(right, inRight)];
}

const words = (text) => [...text.matchAll(/\S+/g)].map(({ 0: word, index }) => ({ text: word, from: index, to: index + word.length }));

/** The places of a longest common subsequence, in each of two lists of words. */
function shared(left, right) {
	const width = right.length + 1;
	const lengths = new Uint16Array((left.length + 1) * width);
	for (let i = left.length - 1; i >= 0; i--)
		for (let j = right.length - 1; j >= 0; j--)
			lengths[i * width + j] = left[i].text === right[j].text
				? lengths[(i + 1) * width + j + 1] + 1
				: Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
	const [inLeft, inRight] = [new Set(), new Set()];
	for (let i = 0, j = 0; i < left.length && j < right.length; ) {
		if (left[i].text === right[j].text) inLeft.add(i++), inRight.add(j++);
		else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i++;
		else j++;
	}
	return [inLeft, inRight];
}

/** What is not shared, neighbours as one range. */
function ranges(list, kept) {
	const found = [];
	list.forEach(({ from, to }, i) => {
		if (kept.has(i)) return;
		if (found.length && i > 0 && !kept.has(i - 1)) found.at(-1)[1] = to;
		else found.push([from, to]);
	});
	return found;
}
