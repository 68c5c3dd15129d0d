/** The evidence as a whole: sums it up above the steps, and gives each step its part. */

import { make } from "../page/elements.js";
import { findingsOf, readEvidence } from "./reading.js";
import { knownLabel, marksOf, opinions, stepEvidence, summary } from "./parts.js";
import { Variants } from "./variants.js";

export class Evidence {
  /**
   * @param {object} task
   * @param {import("../page/view.js").View} view
   * @param {object} options
   * @param {object | null} options.raw the evidence as the server gave it
   * @param {boolean} options.showsKnown
   * @param {() => void} options.changed called when another variant was chosen
   */
  constructor(task, view, { raw = task.evidence, showsKnown = true, changed = () => {} } = {}) {
    this.steps = task.steps;
    this.evidence = readEvidence(raw);
    this.known = showsKnown ? task.known : null;
    const variants = this.evidence?.applications ?? [];
    const text = (...given) => view.text(...given);
    this.variants = variants.length ? new Variants(variants, task, text, { sign: view.keys.sign("variant"), changed }) : null;
    const note = this.known?.note ? make("div.sm-known-note", {}, make("h2.sm-eyebrow", { text: "Why" }), text("div.sm-text", this.known.note)) : null;
    const lines = this.evidence && summary(this.evidence, task.outcome);
    const words = this.evidence && opinions(this.evidence, text);
    this.element = make("section.sm-evidence", { "aria-label": "Evidence", tabindex: -1 }, ...[note, this.variants?.element, lines, words].filter(Boolean));
  }

  get isEmpty() {
    return this.element.childElementCount === 0 && !this.known;
  }

  /** Marks of checked arithmetic in a segment. */
  marks(parts) {
    return this.evidence ? marksOf(findingsOf(this.evidence, parts, this.steps.length)) : [];
  }

  /** What stands under a segment's text: models' opinions, the chain on the new input, the known label. */
  under(parts, { own, index }) {
    const steps = parts ? [...new Set(parts.map(({ step }) => step))] : [this.steps.length];
    return [
      knownLabel(this.known?.answer?.labels?.[index], own),
      ...steps.map((step) => this.evidence && stepEvidence(this.evidence, step)),
      ...steps.map((step) => this.variants?.strip(step)),
    ].filter(Boolean);
  }
}
