/**
 * The keys: which key asks for which action, as an annotator has set them.
 *
 * Keys go by kind of task: the same key may choose in a pair and flag a step. A capital letter means that letter with
 * Shift; Caps Lock changes nothing.
 */

const ALL = ["steps", "alternatives", "preference", "critique"];
const STEPPED = ["steps", "alternatives"];

/** Every action that has a key: its name, group in the sheet, default keys, words, and the kinds that know it. */
export const ACTIONS = [
  ["bad", "Judge", ["1"], "bad, then the next unjudged", STEPPED],
  ["neutral", "Judge", ["2"], "neutral", STEPPED],
  ["good", "Judge", ["3"], "good", STEPPED],
  ["repaired", "Judge", ["4"], "wrong, but mended by a later step", ["steps"]],
  ["restGood", "Judge", ["g"], "the rest is good", STEPPED],
  ["flag", "Judge", ["f"], "unsure", STEPPED],
  ["clear", "Judge", ["0"], "clear the label", STEPPED],
  ["write", "Edit", ["e"], "write the step as it should be", STEPPED],
  ["cut", "Edit", ["/"], "split the step in two", ["steps"]],
  ["merge", "Edit", ["m"], "merge with the step above", ["steps"]],
  ["choose", "Judge", ["o"], "go on from this one", ["alternatives"]],
  ["first", "Choose", ["a"], "A is better", ["preference"]],
  ["second", "Choose", ["b"], "B is better", ["preference"]],
  ["equal", "Choose", ["e"], "equally good", ["preference"]],
  ["bothBad", "Choose", ["x"], "both bad", ["preference"]],
  ["slightly", "Choose", ["1"], "slightly better", ["preference"]],
  ["clearly", "Choose", ["2"], "clearly better", ["preference"]],
  ["far", "Choose", ["3"], "far better", ["preference"]],
  ["reason1", "Reasons", ["4"], "first reason", ["preference"]],
  ["reason2", "Reasons", ["5"], "second reason", ["preference"]],
  ["reason3", "Reasons", ["6"], "third reason", ["preference"]],
  ["reason4", "Reasons", ["7"], "fourth reason", ["preference"]],
  ["reason5", "Reasons", ["8"], "fifth reason", ["preference"]],
  ["wrong", "Judge", ["1"], "the critique is wrong", ["critique"]],
  ["partly", "Judge", ["2"], "partly right", ["critique"]],
  ["right", "Judge", ["3"], "right", ["critique"]],
  ["verdictWrong", "Judge", ["4"], "its verdict is wrong", ["critique"]],
  ["verdictRight", "Judge", ["5"], "its verdict is right", ["critique"]],
  ["helpsNot", "Judge", ["6"], "it would not help the author", ["critique"]],
  ["helps", "Judge", ["7"], "it would help the author", ["critique"]],
  ["correct", "Edit", ["e"], "write the critique as it should be", ["critique"]],
  ["down", "Move", ["j", "ArrowDown"], "next step", ALL],
  ["up", "Move", ["k", "ArrowUp"], "step before", ALL],
  ["unjudged", "Move", ["n"], "next unjudged step", STEPPED],
  ["jump", "Move", [":"], "go to a step: its number, then Enter", ["steps"]],
  ["fold", "Move", ["z"], "fold what is judged", ["steps"]],
  ["submit", "Finish", ["Enter"], "submit, next task", ALL],
  ["undo", "Finish", ["u", "Backspace"], "undo, also after a submit", ALL],
  ["skip", "Finish", ["s"], "skip", ALL],
  ["giveUp", "Finish", ["X"], "give up", ALL],
  ["badProblem", "Finish", ["B"], "bad problem", ALL],
  ["comment", "Finish", ["t"], "comment", ALL],
  ["variant", "Read", ["v"], "the next new input, in the evidence", ALL],
  ["guidelines", "Read", ["h"], "guidelines", ALL],
  ["keys", "Read", ["?"], "this sheet", ALL],
].map(([name, group, keys, words, kinds]) => ({ name, group, keys, words, kinds }));

/** Actions that may run while their key is held down. */
export const RUNNING = new Set(["up", "down"]);

const FIXED = new Set(["Tab", "Escape", "Shift", "Control", "Alt", "Meta", "CapsLock", "Dead", "Process", "Unidentified"]);
const SIGNS = { Enter: "⏎", Backspace: "⌫", Escape: "Esc", ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", " ": "Space" };

/** A key as it is shown. */
export function signOf(name) {
  return SIGNS[name] ?? (/^[A-Z]$/.test(name) ? `⇧${name}` : name);
}

/** The key of an event, whatever Caps Lock says. */
export function keyOf({ key: name, shiftKey }) {
  if (!/^\p{L}$/u.test(name)) return name;
  return shiftKey ? name.toUpperCase() : name.toLowerCase();
}

export class Keys {
  /** @param {Record<string, string[]>} own the annotator's own keys, by action */
  constructor(own = {}) {
    this.own = Object.fromEntries(
      Object.entries(own).filter(([name, keys]) => actionNamed(name) && Array.isArray(keys) && keys.length),
    );
  }

  of(name) {
    return this.own[name] ?? actionNamed(name).keys;
  }

  /** The first key of an action, as it is shown. */
  sign(name) {
    return signOf(this.of(name)[0]);
  }

  /** Which action an event asks for in a task of this kind; null for none. */
  actionOf(event, kind) {
    const pressed = keyOf(event);
    return ACTIONS.find(({ name, kinds }) => kinds.includes(kind) && this.of(name).includes(pressed))?.name ?? null;
  }

  /** Gives an action one key of its own; returns why not, or null. */
  bind(name, pressed) {
    if (FIXED.has(pressed)) return `${signOf(pressed)} cannot be used.`;
    const { kinds } = actionNamed(name);
    const other = ACTIONS.find(
      (action) => action.name !== name && this.of(action.name).includes(pressed) && action.kinds.some((kind) => kinds.includes(kind)),
    );
    if (other) return `${signOf(pressed)} is taken: ${other.words}.`;
    this.own = { ...this.own, [name]: [pressed] };
    return null;
  }

  reset() {
    this.own = {};
  }
}

function actionNamed(name) {
  return ACTIONS.find((action) => action.name === name);
}
