/** Draws a pair: what both share once, then the two sides with their differences marked, and the choice. */

import { button, make } from "../page/elements.js";
import { icon } from "../page/icons.js";
import { choiceRow, solutionList } from "../page/solution.js";
import { View } from "../page/view.js";
import { differences, sharedSteps } from "./difference.js";

const WORDS = { first: "A is better", second: "B is better", equal: "equally good", both_bad: "both bad" };

export class PreferenceView extends View {
  constructor(task, act, keys) {
    super(task, act, keys);
    const { first, second } = task;
    const nShared = sharedSteps(first.steps, second.steps);
    const shared = nShared ? make("section.sm-prefix", { "aria-label": "What both begin with" }, make("h2.sm-eyebrow", { text: nShared === 1 ? "Both begin with this step" : `Both begin with these ${nShared} steps` }), solutionList(this, first.steps.slice(0, nShared), null)) : null;
    const marks = this.#marks(first, second, nShared);
    this.sides = { first: this.#side("first", "A", first, nShared, marks?.first), second: this.#side("second", "B", second, nShared, marks?.second) };
    const pair = make("div.sm-pair", {}, this.sides.first, this.sides.second);
    const hint = marks ? null : make("p.sm-hint", { text: "They have too little in common for their differences to be marked." });
    this.list = make("div.sm-content", { tabindex: -1 }, shared, hint, pair, this.#decide());
    this.lay(this.list, { isWide: true });
  }

  /** Marks for each step of each side; null where there are none to be made. */
  #marks(first, second, from) {
    const joined = [first, second].map((side) => {
      const texts = [...side.steps.slice(from), ...(side.answer === null ? [] : [side.answer])];
      const starts = [];
      let at = 0;
      for (const text of texts) {
        starts.push(at);
        at += text.length + 1;
      }
      return { texts, starts, text: texts.join("\n") };
    });
    const found = differences(joined[0].text, joined[1].text);
    if (!found) return null;
    const ofSide = ({ texts, starts }, ranges) =>
      texts.map((text, index) =>
        ranges
          .map(([start, end]) => ({ start: Math.max(0, start - starts[index]), end: Math.min(text.length, end - starts[index]), name: "differs" }))
          .filter(({ start, end }) => end > start),
      );
    return { first: ofSide(joined[0], found.first), second: ofSide(joined[1], found.second) };
  }

  #side(name, letter, { steps, answer, text }, from, marks) {
    const hasSteps = steps.length > 0 || answer !== null;
    const body = hasSteps
      ? solutionList(this, steps.slice(from), answer, { from, marks: (index) => marks?.[index] ?? [] })
      : this.text("div.sm-text", text);
    const pick = button("sm-pick", { "aria-pressed": "false", onclick: () => this.act(name), "aria-label": `${letter} is better, key ${this.keys.sign(name)}` }, make("strong", { text: letter }), make("span", { text: "is better" }), this.key(name));
    return make("section.sm-side-of-pair", { "aria-label": `Solution ${letter}` }, make("header.sm-row.sm-between", {}, make("h2.sm-letter", { text: letter }), pick), body);
  }

  #decide() {
    const { project } = this.task;
    const act = (action) => this.act(action);
    this.choices = choiceRow(
      this,
      "Which one is better?",
      [
        { name: "first", word: "A", action: "first" },
        { name: "equal", word: "Equal", action: "equal" },
        { name: "both_bad", word: "Both bad", action: "bothBad" },
        { name: "second", word: "B", action: "second" },
      ],
      act,
    );
    this.strengths = choiceRow(
      this,
      "How much better?",
      [
        { name: 1, word: "Slightly", action: "slightly" },
        { name: 2, word: "Clearly", action: "clearly" },
        { name: 3, word: "Far", action: "far" },
      ],
      act,
    );
    this.reasons = project.pair_reasons.map((reason, index) =>
      button("sm-reason", { "aria-pressed": "false", onclick: () => this.act("reason", reason) }, make("span", { text: reason }), index < 5 ? this.key(`reason${index + 1}`) : null),
    );
    const reasons = this.reasons.length ? make("div.sm-question-row", { role: "group", "aria-label": "Why?" }, make("span.sm-asked", { text: "Why? (any)" }), make("div.sm-row", {}, ...this.reasons)) : null;
    return make("section.sm-decide", { "aria-label": "Your choice" }, this.choices.element, this.strengths.element, reasons);
  }

  drawParts(judgement) {
    const { choice, strength, reasons } = judgement;
    this.choices.show(choice);
    this.strengths.show(strength);
    this.strengths.element.hidden = !this.task.project.asks_strength;
    this.strengths.element.classList.toggle("is-resting", !judgement.asksStrength);
    this.reasons.forEach((toggle, index) => toggle.setAttribute("aria-pressed", String(reasons.includes(this.task.project.pair_reasons[index]))));
    for (const [name, side] of Object.entries(this.sides)) {
      side.classList.toggle("is-chosen", choice === name);
      side.classList.toggle("is-not", choice === "both_bad" || (choice !== null && choice !== "equal" && choice !== name));
      side.querySelector(".sm-pick").setAttribute("aria-pressed", String(choice === name));
    }
  }

  focus() {
    if (!this.list.contains(this.list.getRootNode().activeElement)) this.list.focus({ preventScroll: true });
  }

  uncover(judgement) {
    const { known } = this.task;
    if (known) {
      const { choice } = known.answer ?? {};
      const isSame = choice === judgement.choice;
      const words = choice ? `Known answer: ${WORDS[choice] ?? choice}${isSame ? ", as yours." : "."}` : "";
      this.banner(make("strong", {}, icon(isSame ? "good" : "bad"), words, " "), known.note ? this.text("span.sm-text", known.note) : "").classList.add("sm-known-banner");
    }
    for (const name of ["first", "second"]) {
      const { outcome } = this.task[name];
      if (outcome === null || outcome === undefined) continue;
      const chip = make(`span.sm-chip${outcome ? "" : ".sm-chip-bad"}`, {}, icon(outcome ? "good" : "bad"), outcome ? "right answer" : "wrong answer");
      this.sides[name].querySelector("header").append(chip);
    }
  }
}
