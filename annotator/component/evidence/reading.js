/**
 * Reads what programs and models found out about a solution, as the server attaches it. Whatever is missing or of
 * another shape is left out: evidence helps to judge, and must never keep anybody from judging.
 */

const RESULTS = { holds: "holds", "holds when rounded": "rounded", fails: "fails" };

/**
 * @param {object | null} raw
 * @param {string[]} steps
 * @returns {{findings: Map<number, object[]>, values: Map<number, object>, scores: Map<number, object[]>,
 *   judges: object[], variants: object[]} | null} null where there is nothing to show
 */
export function readEvidence(raw, steps) {
  if (!raw || typeof raw !== "object") return null;
  const evidence = {
    findings: readFindings(raw.arithmetic ?? raw.findings, steps),
    values: readValues(raw.step_values ?? raw.values ?? raw.rollouts),
    scores: readScores(raw.scores ?? raw.step_scores),
    judges: list(raw.judges ?? raw.verdicts).map(readJudge),
    variants: list(raw.variants).map(readVariant),
  };
  const hasSome = Object.values(evidence).some((part) => (part.size ?? part.length) > 0);
  return hasSome ? evidence : null;
}

const list = (value) => (Array.isArray(value) ? value.filter((entry) => entry && typeof entry === "object") : []);
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const word = (value) => (value === null || value === undefined ? null : String(value));

function readFindings(raw, steps) {
  const found = new Map();
  const nested = Array.isArray(raw) && raw.some(Array.isArray);
  const all = nested ? raw.flatMap((inner, step) => list(inner).map((finding) => ({ step, ...finding }))) : list(raw);
  for (const finding of all) {
    const step = finding.step_index ?? finding.step;
    const name = RESULTS[finding.result];
    if (!name || !(step in steps)) continue;
    const start = utf16(steps[step], finding.start);
    const end = utf16(steps[step], finding.end);
    const mark = { start, end, name, said: saidOf(finding, name) };
    found.set(step, [...(found.get(step) ?? []), mark]);
  }
  return found;
}

function saidOf({ left, right, relation = "=" }, name) {
  const side = (value) => word(value?.value ?? value?.text ?? (typeof value === "object" ? null : value));
  const [a, b] = [side(left), side(right)];
  if (name === "holds" || a === null || b === null) return name === "fails" ? "does not hold" : name === "rounded" ? "holds when rounded" : "holds";
  return name === "rounded" ? `holds when rounded: ${a} ≈ ${b}` : `does not hold: the left is ${a}, the right ${b} (${relation})`;
}

/** An offset in code points, as the server counts, in UTF-16 units, as the browser does. */
function utf16(text, offset) {
  if (!/[\ud800-\udbff]/.test(text)) return offset;
  return Array.from(text).slice(0, offset).join("").length;
}

function readValues(raw) {
  const found = new Map();
  list(raw).forEach((entry, index) => {
    const n = number(entry.n_rollouts ?? entry.n ?? entry.k);
    const correct = number(entry.n_correct ?? entry.c);
    if (!n || correct === null) return;
    const [low, high] = Array.isArray(entry.interval) ? entry.interval : [entry.low ?? entry.lower, entry.high ?? entry.upper];
    found.set(entry.step_index ?? entry.step ?? index, { n, correct, low: number(low), high: number(high), model: word(entry.model ?? entry.policy) });
  });
  return found;
}

function readScores(raw) {
  const found = new Map();
  const add = (step, score, model) => {
    if (number(score) !== null) found.set(step, [...(found.get(step) ?? []), { score, model: word(model) ?? "PRM" }]);
  };
  for (const entry of list(raw)) {
    const model = entry.model ?? entry.reward_model ?? entry.name;
    const values = entry.steps ?? entry.step_scores ?? entry.scores;
    if (Array.isArray(values)) values.forEach((score, step) => add(step, score, model));
    else add(entry.step_index ?? entry.step, entry.score ?? entry.value, model);
  }
  return found;
}

function readJudge(entry) {
  return {
    critic: word(entry.critic ?? entry.model ?? entry.judge) ?? "judge",
    verdict: word(entry.verdict),
    firstError: number(entry.first_error),
    isConfirmed: entry.is_confirmed ?? null,
  };
}

function readVariant(entry) {
  const verdict = word(entry.verdict);
  const steps = new Map();
  list(entry.carried ?? entry.steps).forEach((step, index) =>
    steps.set(step.step_index ?? step.step ?? index, {
      text: word(step.text) ?? "",
      value: word(step.value ?? step.found),
      expected: word(step.expected),
    }),
  );
  const firstError = number(entry.breaks_at ?? entry.first_error);
  return {
    statement: word(entry.statement) ?? "",
    expected: word(entry.reference_answer ?? entry.expected),
    found: word(entry.answer ?? entry.found ?? entry.carried_answer),
    critic: word(entry.critic),
    kind: word(entry.kind ?? entry.variant_kind),
    text: word(entry.text),
    reason: word(entry.reason),
    verdict,
    steps,
    firstError,
  };
}

/** Marks of a segment that is made of parts of steps. */
export function findingsOf(evidence, parts) {
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
