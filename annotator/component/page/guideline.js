/** The guidelines: how to decide, as a flowchart, and the rules. */

import { open } from "./dialogs.js";
import { make } from "./elements.js";
import { icon } from "./icons.js";

const LABELS = { good: "Good", neutral: "Neutral", bad: "Bad", repaired: "Repaired" };

/** Shows the rules of a version; `guideline` is undefined where this browser does not have them. */
export function showGuideline(root, version, guideline) {
  const name = make("p.sm-hint", { text: `Version ${version}` });
  if (!guideline) {
    open(root, "Guidelines", [make("p", { text: "These rules are not in force any more: read them on the page Guidelines." }), name]);
    return;
  }
  const sections = guideline.sections.map(({ title, kind, rules }) =>
    make(
      `section.sm-rule${kind ? `.sm-${kind}` : ""}`,
      {},
      make("h3", {}, kind && LABELS[kind] ? icon(kind) : null, title),
      make("ul", {}, ...rules.map((rule) => make("li", { text: rule }))),
    ),
  );
  const flow = guideline.flowchart?.length ? flowchart(guideline.flowchart) : null;
  open(root, "Guidelines", [flow, ...sections, name].filter(Boolean));
}

/**
 * Draws questions one below the other. What follows an answer is the name of a label, the number of a question
 * (from 1), or words.
 */
export function flowchart(questions) {
  const rows = questions.map(({ question, yes, no }, index) =>
    make(
      "li.sm-flow-row",
      {},
      make("div.sm-flow-question", {}, make("span.sm-flow-number", { text: String(index + 1), "aria-hidden": "true" }), make("span", { text: question })),
      make("div.sm-flow-answers", {}, exit("Yes", yes, index), exit("No", no, index)),
    ),
  );
  return make("section.sm-flow", { "aria-label": "How to decide" }, make("h3", { text: "How to decide" }), make("ol", {}, ...rows));
}

function exit(word, target, index) {
  const name = String(target).toLowerCase();
  const goal = Number.isInteger(target)
    ? make("span.sm-flow-next", { text: target === index + 2 ? "the next question ↓" : `question ${target} ↓` })
    : LABELS[name]
      ? make(`span.sm-flow-label.sm-${name}`, {}, icon(name), LABELS[name])
      : make("span.sm-flow-next", { text: String(target) });
  const arrow = make("span.sm-flow-arrow", { text: "→", "aria-hidden": "true" });
  return make("div.sm-flow-exit", {}, make("span.sm-flow-word", { text: word }), arrow, goal);
}
