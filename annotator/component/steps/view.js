/** Draws the steps of a solution and keeps the drawing in step with the judgement. It decides nothing. */

import { Evidence } from "../evidence/panel.js";
import { make } from "../page/elements.js";
import { icon } from "../page/icons.js";
import { draw, setFirst } from "../page/text.js";
import { View } from "../page/view.js";
import { Card, controlsTemplate, editor } from "./card.js";
import { choicesOf, nameOf } from "./judgement.js";
import { likelyCut } from "./segments.js";

const MODES = {
  first_error: "Find the first bad step. What follows it needs no label.",
  all_steps: "Rate every step, also after an error.",
  verify: "Find the first bad step by yourself; then models' labels are shown, and you keep or change yours.",
};
const LONG_STEPS = 40;
const LONG_CHARS = 20_000;

export class StepsView extends View {
  constructor(task, act, keys) {
    super(task, act, keys);
    const nChars = task.steps.reduce((sum, text) => sum + text.length, 0);
    this.isLong = task.steps.length > LONG_STEPS || nChars > LONG_CHARS;
    this.isFolding = task.steps.length > LONG_STEPS;
    this.cards = [];
    this.dots = [];
    this.evidence = null;
    this.template = controlsTemplate(choicesOf(task.project), keys);
    this.divider = make("div.sm-divider", { text: "after the first error: no labels needed" });
    this.fold = make("button.sm-fold", { type: "button", hidden: true, onclick: () => this.act("fold") }, make("span"), this.key("fold"));
    this.list = make(
      `section.sm-steps${this.isLong ? ".is-long" : ""}${choicesOf(task.project).length > 3 ? ".is-roomy" : ""}`,
      { "aria-label": "Steps of the solution" },
      make("p.sm-task", { text: MODES[task.mode] ?? "" }),
      this.fold,
    );
    this.#listen();
    this.lay(this.list, { tools: [this.quiet("restGood", "Rest good")] });
    this.map.addEventListener("click", ({ target }) => {
      const dot = target.closest(".sm-dot");
      if (dot) this.act("move", this.dots.indexOf(dot));
    });
    this.map.addEventListener("mousedown", (event) => event.preventDefault());
    if (task.evidence_before) this.#showEvidence(false);
    else if (task.mode === "verify" && task.evidence) this.submitWord.textContent = "Compare";
  }

  /** One listener for all cards: a click means what is under it, or else the card itself. */
  #listen() {
    const indexOf = (target) => {
      const card = target.closest(".sm-card");
      return card ? this.cards.findIndex(({ element }) => element === card) : -1;
    };
    this.list.addEventListener("click", ({ target }) => {
      const index = indexOf(target);
      if (index < 0 || target.closest(".sm-editor, .sm-strip button")) return;
      const control = target.closest("[data-do]");
      const name = control?.dataset.do;
      if (name === "labelAt") this.act("labelAt", { index, name: control.dataset.name });
      else if (name === "flagAt") this.act("flagAt", index);
      else if (name) this.#openAt(name, index);
      else if (String(getSelection()) === "") this.act("move", index);
    });
    this.list.addEventListener("mousedown", (event) => {
      if (event.target.closest("[data-do]")) event.preventDefault();
    });
    this.list.addEventListener("focusin", ({ target }) => {
      const index = indexOf(target);
      if (index >= 0) this.act("focus", index);
    });
  }

  #openAt(name, index) {
    this.act("move", index);
    this.act(name);
  }

  // ---- cards ------------------------------------------------------------------------------------------------

  #card(judgement, index) {
    const isAnswer = judgement.isAnswer(index);
    const controls = this.template.cloneNode(true);
    if (!isAnswer) controls.append(this.#tools(index));
    const card = new Card({
      number: isAnswer ? "=" : String(index + 1),
      body: make("div.sm-text"),
      controls,
      eyebrow: isAnswer ? "Final answer" : null,
      variety: isAnswer ? ".sm-answer" : "",
    });
    card.cell = judgement.cells[index];
    card.text = judgement.textAt(index);
    if (this.evidence) this.#decorateCard(card, index);
    else this.#drawText(card);
    return card;
  }

  #tools() {
    const tool = (name, sign, text) =>
      make("button.sm-tool", { type: "button", tabindex: -1, "data-do": name, title: `${text} (${this.keys.sign(name)})`, "aria-label": `${text}, key ${this.keys.sign(name)}`, text: sign });
    return make("span.sm-tools", {}, tool("write", "✎", "Write the step as it should be"), tool("cut", "÷", "Split the step"), tool("merge", "⤒", "Merge with the step above"));
  }

  #drawText(card) {
    const marks = this.evidence?.marks(card.cell.parts) ?? [];
    draw(card.body, card.text, this.mathMode, { marks, isLazy: this.isLong });
  }

  /** Cards for cells that are new, the old ones for the rest. */
  #reconcile(judgement) {
    const { cells } = judgement;
    if (this.cards.length === cells.length && this.cards.every(({ cell }, index) => cell.parts === cells[index].parts && cell.id === cells[index].id)) return;
    const old = new Map(this.cards.map((card) => [card.cell.parts, card]));
    this.cards = cells.map((cell, index) => {
      const known = old.get(cell.parts);
      if (!known) return this.#card(judgement, index);
      known.number.textContent = judgement.isAnswer(index) ? "=" : String(index + 1);
      known.drawn = null;
      return known;
    });
    const kept = new Set(this.cards);
    for (const card of old.values()) if (!kept.has(card)) card.element.remove();
    let before = this.fold;
    for (const { element } of this.cards) {
      if (before.nextSibling !== element && !(before.nextSibling === this.divider && this.divider.nextSibling === element)) before.after(element);
      before = element;
    }
    if (this.isLong) return; // hundreds of dots show nothing, and are laid out with each key
    this.dots = this.cards.map(() => make("button.sm-dot", { type: "button", tabindex: -1, "aria-hidden": "true" }));
    this.map.replaceChildren(...this.dots);
  }

  drawParts(judgement) {
    this.judgement = judgement;
    this.#reconcile(judgement);
    this.cards.forEach((card, index) => {
      const cell = judgement.cells[index];
      const state = {
        name: judgement.nameAt(index),
        label: cell.label,
        isRepaired: cell.isRepaired,
        isAfter: judgement.isAfter(index),
        isImplied: judgement.isImplied(index),
        isUnsure: cell.isUnsure,
        isCurrent: index === judgement.at,
      };
      card.cell = cell;
      if (card.show(state)) this.#drawDot(index, state);
      if (card.written !== cell.written) this.#drawWritten(card, cell);
    });
    this.#drawFold(judgement);
    this.#divide(judgement);
  }

  #drawDot(index, { label, isRepaired, isAfter, isImplied, isCurrent }) {
    const shape = isImplied ? "good" : isAfter ? "none" : nameOf(label, isRepaired);
    const dot = this.dots[index];
    if (!dot) return;
    dot.className = `sm-dot sm-${shape}${isCurrent ? " is-current" : ""}${isAfter ? " is-after" : ""}${isImplied ? " is-implied" : ""}`;
    if (dot.dataset.shape === shape) return;
    dot.dataset.shape = shape;
    dot.replaceChildren(icon(shape));
  }

  #drawWritten(card, { written }) {
    card.written = written;
    card.writtenBlock?.remove();
    card.element.classList.toggle("is-written", written !== null);
    if (written === null) return;
    card.writtenBlock = make("div.sm-written", {}, make("div.sm-eyebrow", { text: "Written in its place" }), this.text("div.sm-text", written));
    card.body.after(card.writtenBlock);
  }

  #divide(judgement) {
    const after = judgement.stopsAtError ? judgement.firstBad : null;
    if (after === null || after === judgement.n - 1) this.divider.remove();
    else if (this.cards[after].element.nextSibling !== this.divider) this.cards[after].element.after(this.divider);
  }

  #drawFold(judgement) {
    const end = this.isFolding && !this.isAnswered ? judgement.foldEnd : 0;
    if (end === this.folded) return;
    const from = this.folded ?? 0;
    for (let index = Math.min(from, end); index < Math.max(from, end); index++)
      if (this.cards[index]) this.cards[index].element.hidden = index < end;
    this.folded = end;
    this.fold.hidden = end === 0;
    this.fold.firstChild.textContent = end ? `Steps 1–${end} are judged and folded. Show them` : "";
  }

  focus({ at }) {
    const { element, body } = this.cards[at];
    if (this.isLong) setFirst(body);
    element.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest" });
  }

  // ---- what only the drawing knows ----------------------------------------------------------------------------

  take(action, judgement) {
    if (action === "variant") return this.#nextVariant();
    if (action === "fold") {
      this.isFolding = !this.isFolding;
      this.#drawFold(judgement);
      this.focus(judgement);
      return true;
    }
    if (this.isAnswered) return false;
    if (action === "jump") return this.#jump(judgement);
    if (action === "write") return this.#write(judgement);
    if (action === "cut") return this.#cut(judgement);
    return false;
  }

  #nextVariant() {
    this.evidence?.variants?.next();
    return true;
  }

  #write(judgement) {
    const index = judgement.at;
    if (judgement.isAnswer(index)) return true;
    const card = this.cards[index];
    const text = judgement.cells[index].written ?? card.text;
    const close = () => this.#closeEditor(card);
    this.#openEditor(card, {
      label: "The step as it should be",
      text,
      typed: (value) => this.act("written", { index: this.cards.indexOf(card), text: value }),
      remove: () => {
        this.act("written", { index: this.cards.indexOf(card), text: "" });
        close();
      },
      close,
    });
    return true;
  }

  #cut(judgement) {
    const index = judgement.at;
    if (judgement.isAnswer(index)) return true;
    const card = this.cards[index];
    const area = this.#openEditor(card, {
      label: "Put the caret where the step should be split",
      text: card.text,
      isFixed: true,
      remove: () => this.#closeEditor(card),
      close: ({ selectionStart }) => {
        this.#closeEditor(card);
        this.act("split", { index, at: selectionStart });
      },
    });
    const cut = likelyCut(card.text);
    area.setSelectionRange(cut, cut);
    return true;
  }

  #openEditor(card, parts) {
    if (card.editor) card.editor.remove();
    const { element, area } = editor(parts);
    card.editor = element;
    card.inside.append(element);
    card.element.classList.add("is-edited");
    area.focus();
    element.scrollIntoView({ block: "nearest" });
    return area;
  }

  #closeEditor(card) {
    card.editor?.remove();
    card.editor = null;
    card.element.classList.remove("is-edited");
    card.element.focus({ preventScroll: true });
  }

  /** Asks for a step's number in the footer. */
  #jump(judgement) {
    const field = make("input.sm-input.sm-jump", { type: "text", inputmode: "numeric", placeholder: `1–${judgement.n}`, "aria-label": "Go to step", maxlength: 5 });
    field.addEventListener("keydown", (event) => {
      if (!["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      const goal = event.key === "Enter" && /^\d+$/.test(field.value) ? Number(field.value) - 1 : judgement.at;
      this.act("move", goal);
      this.focus(judgement); // which takes the focus from the field, and so ends it
    });
    field.addEventListener("blur", () => setTimeout(() => field.remove()));
    this.message.before(field);
    field.focus();
    return true;
  }

  // ---- evidence -----------------------------------------------------------------------------------------------

  /** Shows models' opinions next to one's own (verify mode), or everything there is (once answered). */
  uncover(judgement, { showsKnown = this.isAnswered } = {}) {
    this.submitWord.textContent = this.isAnswered ? "Next task" : "Submit";
    this.judgement = judgement;
    this.#showEvidence(showsKnown);
    this.drawParts(judgement);
  }

  #showEvidence(showsKnown) {
    this.evidence?.element.remove();
    this.evidence = new Evidence(this.task, this, { showsKnown, changed: () => this.#decorate() });
    if (!this.evidence.element.childElementCount) this.evidence.element.hidden = true;
    this.list.prepend(this.evidence.element);
    if (this.cards.length) this.#decorate();
    if (this.isAnswered) this.evidence.element.focus({ preventScroll: true });
    this.element.classList.add("has-evidence");
  }

  #decorate() {
    this.cards.forEach((card, index) => this.#decorateCard(card, index));
  }

  #decorateCard(card, index) {
    this.#drawText(card);
    card.under?.remove();
    const own = this.judgement.isAfter(index) ? undefined : this.judgement.cells[index].label;
    const parts = this.evidence.under(card.cell.parts, { own, index });
    card.under = parts.length ? make("div.sm-under", {}, ...parts) : null;
    if (card.under) card.inside.append(card.under);
  }
}
