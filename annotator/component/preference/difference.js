/** Where two texts differ, word by word: the longest common subsequence of their words, capped in size. */

const WORDS = /\\[a-zA-Z]+|\p{L}[\p{L}\p{M}'’]*|\d+(?:[.,]\d+)*|\s+|[^\s]/gu;
const LARGEST = 4_000_000;
const LEAST_COMMON = 0.25;

/**
 * Finds the ranges in which two texts differ.
 *
 * @param {string} first
 * @param {string} second
 * @returns {{first: [number, number][], second: [number, number][]} | null} ranges of UTF-16 offsets; null where the
 *   texts are too long to compare, or have so little in common that marks would say nothing.
 */
export function differences(first, second, { leastCommon = LEAST_COMMON } = {}) {
  const a = words(first);
  const b = words(second);
  let start = 0;
  while (start < a.length && start < b.length && a[start].text === b[start].text) start++;
  let tail = 0;
  while (tail < a.length - start && tail < b.length - start && a.at(-1 - tail).text === b.at(-1 - tail).text) tail++;
  const middleA = a.slice(start, a.length - tail);
  const middleB = b.slice(start, b.length - tail);
  if (middleA.length * middleB.length > LARGEST) return null;
  const kept = common(middleA, middleB);
  const nChanged = middleA.filter(({ text }, index) => text !== " " && !kept.a.has(index)).length;
  const [nA, nB] = [a, b].map((found) => found.filter(({ text }) => text !== " ").length);
  if (nA - nChanged < leastCommon * Math.min(nA, nB)) return null;
  return { first: ranges(middleA, kept.a), second: ranges(middleB, kept.b) };
}

function words(text) {
  return [...text.matchAll(WORDS)].map(({ 0: word, index }) => ({ text: /^\s+$/.test(word) ? " " : word, start: index, end: index + word.length }));
}

/** Indexes of the words that stay, on both sides. */
function common(a, b) {
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      lengths[i * width + j] =
        a[i].text === b[j].text
          ? lengths[(i + 1) * width + j + 1] + 1
          : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
  const kept = { a: new Set(), b: new Set() };
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i].text === b[j].text) {
      kept.a.add(i++);
      kept.b.add(j++);
    } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i++;
    else j++;
  }
  return kept;
}

/** Neighbouring words, and those with only a space between them, as one range; spaces alone are none. */
function ranges(found, kept) {
  const joined = [];
  found.forEach(({ text, start, end }, index) => {
    if (kept.has(index)) return;
    const last = joined.at(-1);
    const isNear = last && (last[1] === start || (found[index - 1]?.text === " " && last[1] === found[index - 1].start));
    if (isNear) last[1] = end;
    else if (text !== " ") joined.push([start, end]);
  });
  return joined;
}

/** How many steps two solutions share from their beginning. */
export function sharedSteps(first, second) {
  let n = 0;
  while (n < first.length && n < second.length && first[n] === second[n]) n++;
  return n;
}
