/**
 * The same reasoning on a new input: the problem with other numbers, the solution's chain carried over step by step
 * beside the steps it comes from, and the place where it breaks. A right answer by a wrong rule does not survive this.
 */

import { button, key, make } from "../page/elements.js";
import { icon } from "../page/icons.js";
import { differences } from "../preference/difference.js";

const NUMBER = /\d+(?:[.,]\d+)*/g;
const KINDS = { rephrased: "the same problem in other words", backward: "asked the other way round" };

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
    // The one that says most comes first: where the chain breaks, then where it holds, then what could not be carried.
    const rank = { fail: 0, pass: 1 };
    this.variants = [...variants].sort((a, b) => (rank[a.verdict] ?? 2) - (rank[b.verdict] ?? 2));
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

  /** The step where the chain breaks; `steps.length` for the answer, null for nowhere. */
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
        make("h2.sm-eyebrow", { text: KINDS[variant.kind] ? `A new input: ${KINDS[variant.kind]}` : "The same reasoning on a new input" }),
        isMany ? make("div.sm-tabs", { role: "tablist", "aria-label": "New inputs" }, ...tabs, key(this.sign)) : null,
      ),
      this.#statement(),
      this.#verdict(),
    );
    this.element.dataset.verdict = variant.verdict ?? "none";
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
    const { expected, found, verdict, reason } = variant;
    const answers = make(
      "div.sm-answers",
      {},
      found === null ? null : make("span.sm-figure", {}, make("span.sm-eyebrow", { text: "The chain reaches" }), this.text("span.sm-text.sm-number-found", found)),
      found === null || expected === null ? null : make("span.sm-relation", { text: verdict === "fail" ? "≠" : "=", "aria-label": verdict === "fail" ? "is not" : "is" }),
      expected === null ? null : make("span.sm-figure", {}, make("span.sm-eyebrow", { text: "The answer there" }), this.text("span.sm-text.sm-number-expected", expected)),
    );
    const at = this.breaksAt;
    const where = at === null ? "" : at >= this.task.steps.length ? "at the answer" : `at step ${at + 1}`;
    const sentence =
      verdict === "fail"
        ? `The reasoning breaks ${where}.`
        : verdict === "pass"
          ? "The reasoning holds on the new input."
          : `The chain could not be carried over${reason ? `: ${reason}` : ""}.`;
    const critic = variant.critic === "replay" ? "a program, exactly" : variant.critic;
    const by = critic === null ? "" : make("span.sm-carried-by", { text: ` Carried over by ${critic}.` });
    return make("div.sm-verdict", {}, make("p.sm-verdict-word", {}, icon(shapeOf(variant)), make("span", {}, make("strong", { text: sentence }), by)), answers);
  }

  /**
   * What stands under a step, or under the answer (`steps.length`); null for nothing.
   *
   * @param {number} step
   */
  strip(step) {
    const { variant, breaksAt } = this;
    const isAnswer = step >= this.task.steps.length;
    const carried = isAnswer ? null : variant.steps.get(step);
    const isBroken = step === breaksAt;
    if (!carried && !isBroken && !(isAnswer && variant.found !== null)) return null;
    const isPast = breaksAt !== null && step > breaksAt;
    const strip = make(`div.sm-strip${isBroken ? ".is-broken" : ""}${isPast ? ".is-past" : ""}`, {});
    strip.append(make("span.sm-strip-label", { text: "new input" }));
    if (carried) strip.append(this.text("span.sm-text.sm-strip-text", carried.text, { marks: newNumbers(this.task.steps[step], carried.text) }));
    else if (isAnswer && variant.found !== null) strip.append(this.text("span.sm-text.sm-strip-text", variant.found));
    else strip.append(make("span.sm-strip-text.sm-hint", { text: isAnswer ? "no answer is reached" : "cannot be carried over" }));
    const expected = isAnswer ? variant.expected : carried?.expected;
    const value = isAnswer ? variant.found : carried?.value;
    if (isBroken)
      strip.append(
        make("span.sm-break", {}, icon("bad"), make("strong", { text: "breaks here" }), expected !== null && expected !== undefined ? make("span", { text: value === null || value === undefined ? `expected ${expected}` : `found ${value}, expected ${expected}` }) : null),
      );
    else if (isAnswer && variant.verdict === "pass") strip.append(make("span.sm-holds", {}, icon("good"), "as expected"));
    return strip;
  }
}

function newNumbers(before, text) {
  const known = new Set(before.match(NUMBER) ?? []);
  return [...text.matchAll(NUMBER)].filter(({ 0: found }) => !known.has(found)).map(({ 0: found, index }) => ({ start: index, end: index + found.length, name: "changed" }));
}

const shapeOf = ({ verdict }) => ({ fail: "bad", pass: "good" })[verdict] ?? "none";
const wordOf = ({ verdict }) => ({ fail: "the reasoning breaks", pass: "the reasoning holds" })[verdict] ?? "not carried over";
