/** Pieces of evidence as they stand beside a step: checked arithmetic, rollout value, scores, judges, known answer. */

import { make } from "../page/elements.js";
import { icon } from "../page/icons.js";
import { nameOf } from "../steps/judgement.js";

const SIGNS = { holds: "✓", rounded: "≈", fails: "✗" };
const SPOKEN = { holds: "holds", rounded: "holds when rounded", fails: "does not hold" };
const SCORES = 3;

/** Findings as marks for `draw`: underlined by their result, with a sign behind. */
export function marksOf(findings) {
  return findings.map(({ start, end, name, said }) => ({
    start,
    end,
    name,
    title: said,
    after: () => make(`span.sm-sign.sm-sign-${name}`, { role: "img", "aria-label": SPOKEN[name], title: said, text: SIGNS[name] }),
  }));
}

/** What programs and models say of one step; null where they say nothing. */
export function stepEvidence(evidence, step) {
  const [newest, ...older] = evidence.values.get(step) ?? [];
  const scores = (evidence.scores.get(step) ?? []).slice(0, SCORES);
  const blaming = evidence.votes.flatMap(({ name, n, named }) => (named.get(step) ? [{ name, n, count: named.get(step) }] : []));
  const parts = [
    newest && valueBar(newest, older),
    ...scores.map(scoreMeter),
    ...blaming.map(({ name, n, count }) => make("span.sm-chip.sm-chip-bad", {}, icon("bad"), `first error: ${name}${n > 1 ? `, ${count} of ${n}` : ""}`)),
  ].filter(Boolean);
  return parts.length ? make("div.sm-row.sm-said", {}, ...parts) : null;
}

const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** How many of the continuations from here come out right, with the interval. */
function valueBar({ right, n, low, high }, older = []) {
  const interval = low === null || high === null ? "" : ` (95 %: ${Math.round(100 * low)}–${Math.round(100 * high)} %)`;
  const others = older.map((other) => `; ${other.model}: ${other.right} of ${other.n}`).join("");
  const said = `${right} of ${n} continuations from here are right${interval}${others}`;
  const bar = make("span.sm-value-bar", { "aria-hidden": "true" });
  if (interval) bar.append(make("span.sm-value-range", { style: `left:${percent(low)};width:${percent(high - low)}` }));
  bar.append(make("span.sm-value-point", { style: `left:${percent(right / n)}` }));
  return make("span.sm-value", { role: "img", "aria-label": said, title: said }, bar, make("span", { text: `${right}/${n}` }));
}

function scoreMeter({ value, reward_model: model }) {
  const said = `${model ?? "a reward model"} gives this step ${value.toFixed(2)}`;
  const width = percent(Math.max(0, Math.min(1, value)));
  return make(
    "span.sm-value",
    { role: "img", "aria-label": said, title: said },
    make("span.sm-score-bar", { "aria-hidden": "true" }, make("span", { style: `width:${width}` })),
    make("span", { text: value.toFixed(2) }),
  );
}

/** The known label of a step, and whether one's own is the same. */
export function knownLabel(label, own) {
  if (label === null || label === undefined) return null;
  const isSame = label === own;
  const words = `known answer: ${nameOf(label)}${isSame ? ", as yours" : ""}`;
  return make(`span.sm-chip.sm-known${isSame ? ".is-same" : ".is-other"}`, {}, icon(nameOf(label)), words);
}

/** The lines that sum the evidence up; null for none. */
export function summary(evidence, outcome) {
  const lines = [];
  const line = (shape, text) => lines.push(make("li", {}, icon(shape), text));
  if (typeof outcome === "boolean") line(outcome ? "good" : "bad", outcome ? "The final answer is right." : "The final answer is wrong.");
  const findings = [...evidence.findings.values()].flat();
  const fails = findings.filter(({ name }) => name === "fails").length;
  if (fails) line("bad", `${fails} of ${findings.length} equations ${fails === 1 ? "does" : "do"} not hold.`);
  else if (findings.length) line("good", findings.length === 1 ? "Its one equation holds." : `All ${findings.length} equations hold.`);
  for (const { name, nFail, n, named } of evidence.votes) {
    const steps = [...named.keys()].sort((a, b) => a - b).map((step) => step + 1);
    const where = steps.length ? `, at step ${steps.join(", ")}` : "";
    const count = n === 1 ? (nFail ? "an error" : "no error") : `an error ${nFail} of ${n} times`;
    line(nFail ? "bad" : "good", `${name} found ${count}${where}.`);
  }
  const [start] = evidence.start;
  if (start) lines.push(make("li.sm-legend", {}, valueBar(start), "of the continuations from the bare problem are right (bar: 95 % interval)"));
  else if (evidence.values.size) {
    const [[first]] = evidence.values.values();
    lines.push(make("li.sm-legend", { text: `Bars: continuations that come out right, of ${first.n}, with the 95 % interval.` }));
  }
  for (const [what, n] of evidence.leftOut) lines.push(make("li.sm-legend", { text: `Not shown: ${n} ${what}.` }));
  return lines.length ? make("ul.sm-summary", {}, ...lines) : null;
}

/** The words of judges, folded; null for none. */
export function opinions(evidence, text) {
  if (!evidence.opinions.length) return null;
  const shapes = { pass: "good", fail: "bad" };
  const entries = evidence.opinions.map(({ critic, kind, verdict, text: words, is_confirmed: isConfirmed }) =>
    make(
      "li",
      {},
      make("p.sm-row", {}, icon(shapes[verdict] ?? "none"), make("strong", { text: critic ?? kind }), isConfirmed === true ? make("span.sm-chip", { text: "confirmed" }) : isConfirmed === false ? make("span.sm-chip", { text: "refuted" }) : null),
      text("div.sm-text", words),
    ),
  );
  return make("details.sm-opinions", {}, make("summary", { text: entries.length === 1 ? "What a critic wrote" : `What ${entries.length} critics wrote` }), make("ul", {}, ...entries));
}
