/**
 * Steps split and merged. A segment is a list of parts `{step, start, end}` of the solution's steps, so that it
 * always says which text it stands for; a segment of several parts reads as its parts on lines of their own.
 */

/** Each step as a segment of its own. */
export function wholeSteps(steps) {
  return steps.map((text, step) => [{ step, start: 0, end: text.length }]);
}

/** The segment as it reads. */
export function textOf(steps, parts) {
  return parts.map(({ step, start, end }) => steps[step].slice(start, end)).join("\n");
}

/** Are these the steps as they came. */
export function areWhole(steps, segments) {
  return (
    segments.length === steps.length &&
    segments.every(
      (parts, index) =>
        parts.length === 1 && parts[0].step === index && parts[0].start === 0 && parts[0].end === steps[index].length,
    )
  );
}

/** Cuts a segment in two at a place of its text; white space at the cut goes; null where a side would be empty. */
export function split(steps, parts, at) {
  const before = [];
  const after = [];
  let from = 0;
  for (const part of parts) {
    const length = part.end - part.start;
    const cut = Math.max(0, Math.min(length, at - from));
    if (cut > 0) before.push({ ...part, end: part.start + cut });
    if (cut < length) after.push({ ...part, start: part.start + cut });
    from += length + 1;
  }
  const halves = [trimmed(steps, before), trimmed(steps, after)];
  return halves.every((half) => half.length) ? halves : null;
}

function trimmed(steps, parts) {
  const found = parts.map((part) => ({ ...part }));
  while (found.length) {
    const last = found.at(-1);
    while (last.end > last.start && /\s/.test(steps[last.step][last.end - 1])) last.end--;
    if (last.end > last.start) break;
    found.pop();
  }
  while (found.length) {
    const [first] = found;
    while (first.start < first.end && /\s/.test(steps[first.step][first.start])) first.start++;
    if (first.start < first.end) break;
    found.shift();
  }
  return found;
}

/** Two neighbours as one; halves of one step join as they were. */
export function merge(first, second) {
  const last = first.at(-1);
  const next = second[0];
  if (last.step !== next.step) return [...first, ...second];
  return [...first.slice(0, -1), { ...last, end: next.end }, ...second.slice(1)];
}

/** Where a cut suggests itself: the line or sentence that ends nearest to the middle. */
export function likelyCut(text) {
  const ends = [...text.matchAll(/\n+|[.!?;:]\s+(?=\S)/g)].map((match) => match.index + match[0].length);
  const middle = text.length / 2;
  const sorted = ends.filter((end) => end < text.length).sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
  if (sorted.length) return sorted[0];
  const space = text.indexOf(" ", middle);
  return space < 0 ? Math.floor(middle) : space + 1;
}
