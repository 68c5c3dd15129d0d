/** Draws a critique beside the solution it is about, and the questions about it. */

import { Evidence } from "../evidence/panel.js";
import { make } from "../page/elements.js";
import { icon } from "../page/icons.js";
import { choiceRow, solutionList } from "../page/solution.js";
import { View } from "../page/view.js";
import { differences } from "../preference/difference.js";

const VERDICTS = { pass: ["good", "Verdict: the solution holds"], fail: ["bad", "Verdict: the solution fails"] };

export class CritiqueView extends View {
  constructor(task, act, keys) {
    super(task, act, keys);
    this.solution = make("section.sm-criticised", { "aria-label": "The solution" });
    this.#drawSolution();
    this.list = make("div.sm-content.sm-critique", { tabindex: -1 }, this.solution, make("section.sm-judge", { "aria-label": "The critique" }, this.#critique(), this.#questions()));
    this.lay(this.list, { side: task.critique.variant ? [this.#variant(task.critique.variant)] : [] });
    if (task.evidence_before) this.#showEvidence(false);
  }

  #drawSolution(options = {}) {
    const { steps, answer, critique } = this.task;
    const blamed = critique.first_error;
    this.solution.replaceChildren(make("h2.sm-eyebrow", { text: "The solution" }), solutionList(this, steps, answer, { blamed, ...options }));
  }

  #variant({ statement, reference_answer: answer }) {
    const changed = differences(this.task.statement, statement)?.second ?? [];
    const marks = changed.map(([start, end]) => ({ start, end, name: "changed" }));
    return make(
      "section.sm-variant",
      { "aria-label": "The new input" },
      make("h2.sm-eyebrow", { text: "The critique carries it over to this input" }),
      this.text("div.sm-text.sm-new-input", statement, { marks }),
      answer === null ? null : make("div.sm-figure", {}, make("span.sm-eyebrow", { text: "The answer there" }), this.text("span.sm-text", answer)),
    );
  }

  #critique() {
    const { text, verdict, first_error: step } = this.task.critique;
    const [shape, words] = VERDICTS[verdict] ?? ["none", "No verdict that can be read"];
    const where = step === null || step === undefined ? "" : `, from step ${step + 1} on`;
    return make(
      "article.sm-critique-card",
      {},
      make("h2.sm-eyebrow", { text: "The critique" }),
      this.text("div.sm-text", text),
      make(`p.sm-critic-verdict.sm-${shape}`, {}, icon(shape), make("strong", { text: `${words}${verdict === "fail" ? where : ""}` })),
    );
  }

  #questions() {
    const act = (action) => this.act(action);
    this.right = choiceRow(
      this,
      "Is what it says right?",
      [
        { name: "wrong", word: "Wrong", action: "wrong", shape: "bad" },
        { name: "partly", word: "Partly", action: "partly", shape: "neutral" },
        { name: "right", word: "Right", action: "right", shape: "good" },
      ],
      act,
    );
    this.verdict = choiceRow(
      this,
      "Is its verdict right?",
      [
        { name: false, word: "No", action: "verdictWrong", shape: "bad" },
        { name: true, word: "Yes", action: "verdictRight", shape: "good" },
      ],
      act,
    );
    this.helps = choiceRow(
      this,
      "Would it help the author?",
      [
        { name: false, word: "No", action: "helpsNot", shape: "bad" },
        { name: true, word: "Yes", action: "helps", shape: "good" },
      ],
      act,
    );
    this.area = make("textarea.sm-input", { rows: 4, maxlength: 20_000, "aria-label": "The critique as it should read", dir: "auto", oninput: ({ target }) => this.act("corrected", target.value) });
    this.area.value = this.task.critique.text;
    this.correct = make("details.sm-correct", {}, make("summary", {}, "Correct it ", this.key("correct")), this.area);
    return make("div.sm-decide", {}, this.right.element, this.verdict.element, this.helps.element, this.correct);
  }

  drawParts(judgement) {
    this.right.show(judgement.judgement);
    this.verdict.show(judgement.isVerdictRight);
    this.verdict.element.hidden = !judgement.hasVerdict;
    this.helps.show(judgement.isHelpful);
    const text = judgement.correction ?? this.task.critique.text;
    const isTyped = this.area === this.area.getRootNode().activeElement;
    if (!isTyped && this.area.value !== text) this.area.value = text;
    if (judgement.correction !== null) this.correct.open = true;
  }

  focus() {
    if (!this.list.contains(this.list.getRootNode().activeElement)) this.list.focus({ preventScroll: true });
  }

  take(action) {
    if (action === "variant" && this.evidence) {
      this.evidence.variants?.next();
      return true;
    }
    if (action !== "correct" || this.isAnswered) return super.take(action);
    this.correct.open = true;
    this.area.focus();
    this.area.scrollIntoView({ block: "nearest" });
    return true;
  }

  uncover(judgement, { showsKnown = this.isAnswered } = {}) {
    const { known } = this.task;
    if (known && showsKnown) {
      const { judgement: right } = known.answer ?? {};
      const isSame = right === judgement.judgement;
      const words = right ? `Known answer: ${right}${isSame ? ", as yours." : "."}` : "";
      this.banner(make("strong", {}, icon(isSame ? "good" : "bad"), words, " "), known.note ? this.text("span.sm-text", known.note) : "").classList.add("sm-known-banner");
    }
    this.#showEvidence(showsKnown);
  }

  #showEvidence() {
    this.evidence?.element.remove();
    this.evidence = new Evidence(this.task, this, { showsKnown: false, changed: () => this.#decorate() });
    if (this.evidence.isEmpty) return;
    this.#decorate();
  }

  #decorate() {
    const { steps } = this.task;
    const partsOf = (index) => (index < steps.length ? [{ step: index, start: 0, end: steps[index].length }] : null);
    this.#drawSolution({
      marks: (index) => this.evidence.marks(partsOf(index)),
      under: (index) => this.evidence.under(partsOf(index), { own: undefined, index }),
    });
    if (this.list.firstChild !== this.evidence.element) this.list.prepend(this.evidence.element);
  }
}
