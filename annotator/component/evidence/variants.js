/**
 * The same reasoning on a new input: the problem with other numbers, the solution's chain carried over step by step
 * beside the steps it comes from, and the place where it breaks. A right answer by a wrong rule does not survive this.
 */

import { button, key, make } from "../page/elements.js";
import { icon } from "../page/icons.js";
import { differences } from "../preference/difference.js";
import { marksOf } from "./parts.js";

const NUMBER = /\d+(?:[.,]\d+)*/g;
const KINDS = { rephrased: "The same reasoning on the problem in other words", backward: "The same reasoning on the problem turned round" };
const STATES = {
  "cannot be carried": "cannot be carried over",
  "wrong as it stands": "wrong as it stands: nothing is carried past it",
  "not reached": "not reached",
  "left out": "passed over by the critic",
};

export class Variants {
  /**
   * @param {object[]} variants as read
   * @param {object} task
   * @param {(name: string, text: string, options?: object) => HTMLElement} text draws model text
   * @param {object} options
   * @param {string} options.sign the key for the next variant
   * @param {() => void} options.changed called after another variant was chosen
   */
  constructor(variants, task, text, { sign, changed }) {
    this.variants = variants;
    this.task = task;
    this.text = text;
    this.sign = sign;
    this.changed = changed;
    this.at = 0;
    this.element = make("section.sm-variant", { "aria-label": "The same reasoning on a new input" });
    this.#draw();
  }

  get variant() {
    return this.variants[this.at];
  }

  next() {
    this.choose((this.at + 1) % this.variants.length);
  }

  choose(at) {
    this.at = at;
    this.#draw();
    this.changed();
  }

  /** The step where the chain breaks, or, where only its end is wrong, the answer (`steps.length`); null for nowhere. */
  get breaksAt() {
    const { verdict, firstError } = this.variant;
    if (verdict !== "fail") return null;
    return firstError ?? this.task.steps.length;
  }

  #draw() {
    const { variant } = this;
    const tabs = this.variants.map((other, index) => {
      const tab = button(
        "sm-tab",
        { role: "tab", "aria-selected": String(index === this.at), "aria-label": `New input ${index + 1}: ${wordOf(other)}`, onclick: () => this.choose(index) },
        icon(shapeOf(other)),
        String(index + 1),
      );
      return tab;
    });
    const isMany = tabs.length > 1;
    this.element.replaceChildren(
      make(
        "header.sm-row.sm-between",
        {},
        make("h2.sm-eyebrow", { text: KINDS[variant.variantKind] ?? "The same reasoning on a new input" }),
        isMany ? make("div.sm-tabs", { role: "tablist", "aria-label": "New inputs" }, ...tabs, key(this.sign)) : null,
      ),
      this.#statement(),
      this.#verdict(),
    );
    this.element.dataset.verdict = variant.verdict;
  }

  #statement() {
    const { statement } = this.variant;
    const found = differences(this.task.statement, statement);
    const isPaired = found && found.first.length === found.second.length;
    const marks = (found?.second ?? []).map(([start, end], index) => {
      const old = isPaired ? this.task.statement.slice(...found.first[index]) : null;
      const isShort = old !== null && old.length <= 24;
      return { start, end, name: "changed", title: isShort ? `was ${old}` : undefined, after: isShort ? () => make("s.sm-was", { text: old, "aria-label": `was ${old}` }) : undefined };
    });
    return this.text("div.sm-text.sm-new-input", statement, { marks });
  }

  #verdict() {
    const { variant } = this;
    const { expected, found, verdict, reason, isProgram } = variant;
    const isSame = isSameAnswer(variant);
    const answers = make(
      "div.sm-answers",
      {},
      found === null ? null : make("span.sm-figure", {}, make("span.sm-eyebrow", { text: "The chain reaches" }), this.text("span.sm-text.sm-number-found", found)),
      found === null || expected === null ? null : make("span.sm-relation", { text: isSame === null ? "?" : isSame ? "=" : "≠", "aria-label": isSame === null ? "perhaps" : isSame ? "is" : "is not" }),
      expected === null ? null : make("span.sm-figure", {}, make("span.sm-eyebrow", { text: "The answer there" }), this.text("span.sm-text.sm-number-expected", expected)),
    );
    const at = this.breaksAt;
    const where = at === null || at >= this.task.steps.length ? "on the new input" : `at step ${at + 1}`;
    const says = isProgram ? "The reasoning" : "The critic says: the reasoning";
    const sentence =
      verdict === "fail"
        ? `${says} breaks ${where}.`
        : verdict === "pass"
          ? `${says} holds on the new input.`
          : `The chain could not be carried over${reason ? `: ${reason}` : ""}.`;
    return make(
      "div.sm-verdict",
      {},
      make("div.sm-verdict-word", {}, icon(shapeOf(variant)), make("div", {}, make("strong", { text: sentence }), make("p.sm-carried-by", { text: this.#trust() }))),
      answers,
      variant.words === null ? null : make("details.sm-opinions", {}, make("summary", { text: "The critic's words" }), this.text("div.sm-text", variant.words)),
    );
  }

  /** Who carried the chain over, and how far that is to be trusted. */
  #trust() {
    const { isProgram, critic, isConfirmed, decidedBy, verdict, trust } = this.variant;
    const by = isProgram ? "Carried over by a program, exactly." : `Carried over by ${critic ?? "a model"}.`;
    const rule = decidedBy && !isProgram ? ` (${decidedBy})` : "";
    const checked = verdict === "none" ? "" : isConfirmed === true ? ` Confirmed${rule}.` : isConfirmed === false ? ` Refuted by the verifier${rule}.` : " Not confirmed.";
    return `${by}${checked}${trust ? ` Answer there: ${trust}.` : ""}`;
  }

  /**
   * What stands under a step, or under the answer (`steps.length`); null for nothing.
   *
   * @param {number} step
   */
  strip(step) {
    const { variant, breaksAt } = this;
    const isBroken = step === breaksAt;
    const isPast = breaksAt !== null && step > breaksAt;
    const inside = step < this.task.steps.length ? this.#carried(step, isBroken) : this.#reached(isBroken);
    if (!inside) return null;
    return make(`div.sm-strip${isBroken ? ".is-broken" : ""}${isPast ? ".is-past" : ""}.sm-strip-${variant.verdict}`, {}, make("span.sm-strip-label", { text: "new input" }), ...inside.filter(Boolean));
  }

  #carried(step, isBroken) {
    const { state, here, there, text, findings } = this.variant.steps.get(step) ?? {};
    if (state === "carried") {
      const marks = [...newNumbers(this.task.steps[step], text ?? ""), ...marksOf(findings.filter(({ name }) => name === "fails"))];
      const values = there === null ? null : shift(here, there);
      return [this.text("span.sm-text.sm-strip-text", text ?? "", { marks }), isBroken ? breaks() : null, values];
    }
    if (!STATES[state]) return null;
    return [make("span.sm-hint", { text: STATES[state] }), text ? this.text("span.sm-text.sm-strip-text", text) : null, isBroken ? breaks() : null];
  }

  #reached(isBroken) {
    const { found, expected, verdict } = this.variant;
    if (found === null && !isBroken) return null;
    const words = found === null ? make("span.sm-hint", { text: "no answer is reached" }) : this.text("span.sm-text.sm-strip-text", found);
    if (isBroken) return [words, breaks(expected === null ? "" : `found ${found ?? "none"}, expected ${expected}`)];
    if (verdict === "pass" && isSameAnswer(this.variant) === false) return [words, make("span.sm-break", {}, icon("bad"), make("strong", { text: `expected ${expected}` }))];
    return [words, verdict === "pass" ? make("span.sm-holds", {}, icon("good"), "as expected") : null];
  }
}

/** The number that a step came to, and what it comes to on the new input. */
function shift(here, there) {
  if (here === null || here === there) return make("span.sm-shift", {}, make("span", { text: there }));
  return make("span.sm-shift", { "aria-label": `${here} here, ${there} there` }, make("s", { text: here }), make("span", { text: "→", "aria-hidden": "true" }), make("strong", { text: there }));
}

function breaks(words = "") {
  return make("span.sm-break", {}, icon("bad"), make("strong", { text: "breaks here" }), words ? make("span", { text: words }) : null);
}

function newNumbers(before, text) {
  const known = new Set(before.match(NUMBER) ?? []);
  return [...text.matchAll(NUMBER)].filter(({ 0: found }) => !known.has(found)).map(({ 0: found, index }) => ({ start: index, end: index + found.length, name: "changed" }));
}

/** Whether the chain's answer is the variant's; a program's verdict says so too, a model's need not. Null for unknown. */
function isSameAnswer({ agrees, isProgram, verdict }) {
  return agrees ?? (isProgram && verdict !== "none" ? verdict === "pass" : null);
}

const shapeOf = ({ verdict }) => ({ fail: "bad", pass: "good" })[verdict] ?? "none";
const wordOf = ({ verdict }) => ({ fail: "the reasoning breaks", pass: "the reasoning holds" })[verdict] ?? "not carried over";
