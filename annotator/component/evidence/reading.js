/**
 * Reads what programs and models found out about a solution (`stepmark.evidence.Evidence`, as the server attaches
 * it). Whatever is missing or of another shape is left out: evidence helps to judge, and must never keep anybody from
 * judging.
 */

const RESULTS = { holds: "holds", "holds when rounded": "rounded", fails: "fails" };

/**
 * @param {object | null} raw
 * @returns {{findings: Map<number, object[]>, values: Map<number, object[]>, scores: Map<number, object[]>,
 *   start: object[], votes: object[], opinions: object[], applications: object[], leftOut: [string, number][]} | null}
 *   by segment, where it is about one; null where there is nothing to show
 */
export function readEvidence(raw) {
  if (!raw || typeof raw !== "object") return null;
  const segments = list(raw.segments).filter(({ index }) => Number.isInteger(index));
  const bySegment = (read) => new Map(segments.map((segment) => [segment.index, read(segment)]).filter(([, found]) => found.length));
  const evidence = {
    findings: bySegment(({ arithmetic, text }) => readFindings(arithmetic, String(text ?? ""))),
    values: bySegment(({ values }) => readValues(values)),
    scores: bySegment(({ scores }) => list(scores).filter(({ value }) => isNumber(value))),
    start: readValues(raw.start_values),
    votes: list(raw.votes).map(readVotes),
    opinions: list(raw.opinions).filter(({ text }) => typeof text === "string" && text.trim()),
    applications: list(raw.applications).filter(({ statement }) => typeof statement === "string" && statement).map(readApplication),
  };
  const hasSome = Object.values(evidence).some((part) => (part.size ?? part.length) > 0);
  return hasSome ? { ...evidence, leftOut: Object.entries(raw.left_out ?? {}) } : null;
}

const list = (value) => (Array.isArray(value) ? value.filter((entry) => entry && typeof entry === "object") : []);
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const word = (value) => (value === null || value === undefined ? null : String(value));

/** Equations that could be checked; a calculator's note says nothing more where the text around it was checked too. */
function readFindings(raw, text) {
  const found = list(raw)
    .filter(({ result, start, end }) => RESULTS[result] && isNumber(start) && isNumber(end))
    .map((finding) => {
      const name = RESULTS[finding.result];
      return { start: utf16(text, finding.start), end: utf16(text, finding.end), name, said: saidOf(finding, name), isNote: finding.is_note === true };
    });
  return found.filter((one) => !one.isNote || !found.some((other) => !other.isNote && other.name === one.name && other.start < one.end && one.start < other.end));
}

function saidOf({ left, right, relation }, name) {
  if (name === "holds") return "holds";
  const words = name === "rounded" ? "holds when rounded" : "does not hold";
  const [a, b] = [left?.value, right?.value];
  return a && b ? `${words}: left ${a}, right ${b}${relation && relation !== "=" ? ` (${relation})` : ""}` : words;
}

/** An offset in code points, as the server counts, in UTF-16 units, as the browser does. */
function utf16(text, offset) {
  return /[\ud800-\udbff]/.test(text) ? Array.from(text).slice(0, offset).join("").length : offset;
}

function readValues(raw) {
  return list(raw)
    .filter(({ n_right: right, n_rollouts: n }) => isNumber(right) && n > 0)
    .map(({ model, n_right: right, n_rollouts: n, low, high }) => ({ model: word(model), right, n, low: isNumber(low) ? low : null, high: isNumber(high) ? high : null }));
}

function readVotes({ kind, critic, n_pass: pass, n_fail: fail, n_unreadable: unreadable, first_errors: named }) {
  const count = (value) => (isNumber(value) ? value : 0);
  return {
    name: word(critic) ?? word(kind) ?? "judge",
    nFail: count(fail),
    n: count(pass) + count(fail) + count(unreadable),
    named: new Map((Array.isArray(named) ? named : []).filter(Array.isArray)),
  };
}

function readApplication(entry) {
  const steps = list(entry.steps).map(({ index, state, here, there, text, arithmetic }) => [
    index,
    { state, here: word(here), there: word(there), text: word(text), findings: readFindings(arithmetic, word(text) ?? "") },
  ]);
  return {
    statement: entry.statement,
    variantKind: word(entry.variant_kind),
    trust: word(entry.reference_trust),
    isProgram: entry.kind === "replay",
    critic: word(entry.critic),
    steps: new Map(steps),
    found: word(entry.found),
    expected: word(entry.expected),
    agrees: typeof entry.agrees === "boolean" ? entry.agrees : null,
    verdict: ["pass", "fail"].includes(entry.verdict) ? entry.verdict : "none",
    firstError: isNumber(entry.first_error) ? entry.first_error : null,
    reason: word(entry.reason),
    isConfirmed: typeof entry.is_confirmed === "boolean" ? entry.is_confirmed : null,
    decidedBy: word(entry.confirmation_rule),
    words: word(entry.text),
  };
}

/** Marks of a segment that is made of parts of steps; null stands for the answer. */
export function findingsOf(evidence, parts, nSteps) {
  if (parts === null) return evidence.findings.get(nSteps) ?? [];
  let from = 0;
  const marks = [];
  for (const { step, start, end } of parts) {
    for (const finding of evidence.findings.get(step) ?? [])
      if (finding.start >= start && finding.end <= end)
        marks.push({ ...finding, start: from + finding.start - start, end: from + finding.end - start });
    from += end - start + 1;
  }
  return marks;
}
