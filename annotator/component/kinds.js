/** The kinds of task: each a pair of modules with one interface, a judgement (data and rules) and a view (drawing). */

import { AlternativesJudgement } from "./alternatives/judgement.js";
import { AlternativesView } from "./alternatives/view.js";
import { CritiqueJudgement } from "./critique/judgement.js";
import { CritiqueView } from "./critique/view.js";
import { PreferenceJudgement } from "./preference/judgement.js";
import { PreferenceView } from "./preference/view.js";
import { StepsJudgement } from "./steps/judgement.js";
import { StepsView } from "./steps/view.js";

const KINDS = {
  steps: [StepsJudgement, StepsView],
  alternatives: [AlternativesJudgement, AlternativesView],
  preference: [PreferenceJudgement, PreferenceView],
  critique: [CritiqueJudgement, CritiqueView],
};

const PROJECT = {
  name: null,
  label_scheme: "good_neutral_bad",
  repaired_steps: "error",
  math_mode: "auto",
  shows_evidence: false,
  min_ms_per_step: 0,
  pair_reasons: [],
  asks_strength: false,
  guideline: null,
};

const TASK = {
  kind: "steps",
  purpose: "label",
  outcome: null,
  source: null,
  reference_answer: null,
  steps: [],
  answer: null,
  step_index: null,
  alternatives: null,
  first: null,
  second: null,
  order: null,
  critique: null,
  note: null,
  known: null,
  evidence: null,
  evidence_before: false,
  draft: null,
};

/** A task with everything in it that the kinds rely on. */
export function completed(task, mathMode = "auto") {
  const kind = task.mode === "alternatives" ? "alternatives" : (task.kind ?? "steps");
  return { ...TASK, ...task, kind, project: { ...PROJECT, math_mode: mathMode, ...task.project } };
}

/** Can this browser's modules show such a task. */
export function isKnown({ kind }) {
  return Object.hasOwn(KINDS, kind);
}

export function judgementOf(task, draft) {
  return new KINDS[task.kind][0](task, draft);
}

export function viewOf(task, act, keys) {
  return new KINDS[task.kind][1](task, act, keys);
}
