/** Pieces of evidence as they stand beside a step: checked arithmetic, rollout value, scores, judges, known answer. */

import { make } from "../page/elements.js";
import { icon } from "../page/icons.js";
import { nameOf } from "../steps/judgement.js";

const SIGNS = { holds: "✓", rounded: "≈", fails: "✗" };
const SPOKEN = { holds: "holds", rounded: "holds when rounded", fails: "does not hold" };

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
  const value = evidence.values.get(step);
  const scores = evidence.scores.get(step) ?? [];
  const blamed = evidence.judges.filter(({ verdict, firstError }) => verdict === "fail" && firstError === step);
  const parts = [
    value && valueBar(value),
    ...scores.map(scoreMeter),
    ...blamed.map(({ critic }) => make("span.sm-chip.sm-chip-bad", {}, icon("bad"), `first error: ${critic}`)),
  ].filter(Boolean);
  return parts.length ? make("div.sm-row.sm-said", {}, ...parts) : null;
}

const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** How many of the continuations from here come out right, with the interval. */
function valueBar({ n, correct, low, high }) {
  const said = `${correct} of ${n} continuations from here are right${low === null || high === null ? "" : ` (95 %: ${Math.round(100 * low)}–${Math.round(100 * high)} %)`}`;
  const bar = make("span.sm-value-bar", { "aria-hidden": "true" });
  if (low !== null && high !== null)
    bar.append(make("span.sm-value-range", { style: `left:${percent(low)};width:${percent(high - low)}` }));
  bar.append(make("span.sm-value-point", { style: `left:${percent(correct / n)}` }));
  return make("span.sm-value", { role: "img", "aria-label": said, title: said }, bar, make("span", { text: `${correct}/${n}` }));
}

function scoreMeter({ score, model }) {
  const share = Math.max(0, Math.min(1, score));
  const said = `${model} gives this step ${score.toFixed(2)}`;
  return make(
    "span.sm-value",
    { role: "img", "aria-label": said, title: said },
    make("span.sm-score-bar", { "aria-hidden": "true" }, make("span", { style: `width:${percent(share)}` })),
    make("span", { text: score.toFixed(2) }),
  );
}

/** The known label of a step, and whether one's own is the same. */
export function knownLabel(label, own) {
  if (label === null || label === undefined) return null;
  const isSame = label === own;
  return make(
    `span.sm-chip.sm-known${isSame ? ".is-same" : ".is-other"}`,
    {},
    icon(nameOf(label)),
    isSame ? `known answer: ${nameOf(label)}, as yours` : `known answer: ${nameOf(label)}`,
  );
}

/** The lines that sum the evidence up. */
export function summary(evidence, outcome) {
  const findings = [...evidence.findings.values()].flat();
  const count = (name) => findings.filter((finding) => finding.name === name).length;
  const lines = [];
  if (outcome !== null && outcome !== undefined)
    lines.push(make("li", {}, icon(outcome ? "good" : "bad"), outcome ? "The final answer is right." : "The final answer is wrong."));
  if (findings.length) {
    const fails = count("fails");
    const holds = count("holds") + count("rounded");
    const equations = (n) => (n === 1 ? "1 equation" : `${n} equations`);
    const text = fails ? `${equations(fails)} of ${findings.length} ${fails === 1 ? "does" : "do"} not hold.` : holds === 1 ? "Its one equation holds." : `All ${equations(holds)} hold.`;
    lines.push(make("li", {}, icon(fails ? "bad" : "good"), text));
  }
  if (evidence.judges.length) {
    const failing = evidence.judges.filter(({ verdict }) => verdict === "fail");
    const places = [...new Set(failing.flatMap(({ firstError }) => (firstError === null ? [] : [firstError + 1])))].sort((a, b) => a - b);
    const where = places.length ? `, at step ${places.join(", ")}` : "";
    const text = `${failing.length} of ${evidence.judges.length} ${evidence.judges.length === 1 ? "judge" : "judges"} found an error${where}.`;
    lines.push(make("li", {}, icon(failing.length ? "bad" : "good"), text));
  }
  if (evidence.values.size) lines.push(make("li.sm-legend", {}, make("span.sm-value-bar", { "aria-hidden": "true" }, make("span.sm-value-range", { style: "left:30%;width:50%" }), make("span.sm-value-point", { style: "left:60%" })), "continuations from a step that come out right, with the 95 % interval"));
  return lines.length ? make("ul.sm-summary", {}, ...lines) : null;
}
