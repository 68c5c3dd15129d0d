/** Draws the steps before, to be read, and the candidates for the next one, to be rated. */

import { make } from "../page/elements.js";
import { solutionList } from "../page/solution.js";
import { View } from "../page/view.js";
import { Card, controlsTemplate } from "../steps/card.js";
import { knownLabel } from "../evidence/parts.js";

const SHOWN = 6;

export class AlternativesView extends View {
  constructor(task, act, keys) {
    super(task, act, keys);
    this.cards = [];
    this.list = make("section.sm-steps", { "aria-label": "Candidates for the next step" });
    const content = make("div.sm-content", {}, this.#prefix(), make("p.sm-task", { text: `Step ${task.step_index + 1}: rate each candidate, and choose the one to go on from.` }), this.list, this.#own());
    this.lay(content, { tools: [this.quiet("restGood", "Rest good")] });
    this.list.addEventListener("click", ({ target }) => {
      const index = this.cards.findIndex(({ element }) => element.contains(target));
      if (index < 0) return;
      const control = target.closest("[data-do]");
      const name = control?.dataset.do;
      if (name === "labelAt") act("labelAt", { index, name: control.dataset.name });
      else act(name === "flagAt" || name === "chooseAt" ? name : "move", index);
    });
    this.list.addEventListener("mousedown", (event) => {
      if (event.target.closest("[data-do]")) event.preventDefault();
    });
    this.list.addEventListener("focusin", ({ target }) => {
      const index = this.cards.findIndex(({ element }) => element.contains(target));
      if (index >= 0) act("focus", index);
    });
  }

  #prefix() {
    const before = this.task.steps.slice(0, this.task.step_index);
    if (!before.length) return make("p.sm-hint", { text: "This is the first step." });
    const hidden = Math.max(0, before.length - SHOWN);
    const shown = solutionList(this, before.slice(hidden), null, { from: hidden });
    const all = hidden ? make("details.sm-earlier", {}, make("summary", { text: `${hidden} earlier steps` }), solutionList(this, before.slice(0, hidden), null)) : null;
    return make("section.sm-prefix", { "aria-label": "The steps before" }, make("h2.sm-eyebrow", { text: "So far" }), all, shown);
  }

  #own() {
    this.ownChoice = make(
      "button.sm-go",
      { type: "button", "aria-pressed": "false", onclick: () => this.act("chooseOwn") },
      make("span.sm-radio", { "aria-hidden": "true" }),
      "Go on from mine",
    );
    this.ownArea = make("textarea.sm-input.sm-write", {
      rows: 2,
      maxlength: 20_000,
      placeholder: "Write the step yourself where none is good",
      "aria-label": "The step as you would write it",
      dir: "auto",
      oninput: ({ target }) => this.act("own", target.value),
    });
    this.ownDrawn = make("div");
    return make("section.sm-own", { "aria-label": "A step of your own" }, make("div.sm-row.sm-between", {}, make("h2.sm-eyebrow", {}, "Your own ", this.key("write")), this.ownChoice), this.ownArea, this.ownDrawn);
  }

  drawParts(judgement) {
    if (!this.cards.length) this.#build(judgement);
    this.cards.forEach((card, index) => {
      const { label, isUnsure } = judgement.cells[index];
      const isChosen = judgement.chosen === index;
      card.show({ name: judgement.nameAt(index), label, isRepaired: false, isAfter: false, isImplied: false, isUnsure, isCurrent: index === judgement.at });
      card.element.classList.toggle("is-chosen", isChosen);
      card.go.setAttribute("aria-pressed", String(isChosen));
      card.go.disabled = label === -1;
    });
    if (this.ownArea.value !== judgement.own) this.ownArea.value = judgement.own;
    const own = judgement.own.trim();
    if (own !== this.ownText) {
      this.ownText = own;
      this.ownDrawn.replaceChildren(...(/[$\\]/.test(own) ? [this.text("div.sm-text.sm-written", own)] : []));
    }
    this.ownChoice.hidden = !own;
    this.ownChoice.setAttribute("aria-pressed", String(judgement.chosen === "own"));
  }

  #build(judgement) {
    const template = controlsTemplate(judgement.choices, this.keys);
    this.cards = judgement.cells.map((_, index) => {
      const controls = template.cloneNode(true);
      const go = make(
        "button.sm-go",
        { type: "button", "data-do": "chooseAt", "aria-pressed": "false", "aria-label": `Go on from candidate ${index + 1}, key ${this.keys.sign("choose")}` },
        make("span.sm-radio", { "aria-hidden": "true" }),
        "Go on from here",
        this.key("choose"),
      );
      controls.append(go);
      const eyebrow = judgement.isAnswer(index) ? "Final answer" : index === 0 ? "In the solution" : null;
      const card = new Card({ number: String(index + 1), body: this.text("div.sm-text", judgement.textAt(index)), controls, eyebrow, variety: ".sm-candidate" });
      card.go = go;
      return card;
    });
    this.list.append(...this.cards.map(({ element }) => element));
  }

  focus({ at }) {
    const { element } = this.cards[at];
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest" });
  }

  take(action) {
    if (action !== "write" || this.isAnswered) return super.take(action);
    this.ownArea.focus();
    this.ownArea.scrollIntoView({ block: "nearest" });
    return true;
  }

  uncover(judgement) {
    const { known } = this.task;
    if (!known) return;
    const chip = knownLabel(known.answer?.labels?.[this.task.step_index], judgement.cells[0].label);
    if (chip) this.cards[0].inside.append(make("div.sm-under", {}, chip));
    if (known.note) this.banner(this.text("span.sm-text", known.note));
  }
}
