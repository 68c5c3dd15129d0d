/**
 * Draws text written by models and data sets, exactly as written: text nodes, formulas by KaTeX, and GSM8K's
 * calculator notes as small marks. Nothing here ever parses HTML or follows a link.
 *
 * Formulas stand between \( \), \[ \], $$ $$, \begin{..} \end{..}, or single dollars. A single dollar opens by
 * Pandoc's rule (no space inside, no digit after the closing one), unless it reads as money.
 */

const NOTE = /<<([^<>\n]{1,300})>>/y;
const ENVIRONMENT = /\\begin\{([a-zA-Z]+\*?)\}/y;
const MONEY = /^\d[\d,]*(?:\.\d+)?(?:[kKmM%]\b)?(?=$|[.,;:!?)\]]*(?:\s|$)|\s*(?:\/|per\b|each\b|[a-zA-Z]{2,}))/;
const TEX_SIGN = /[\\^_{}=]/;
const LONGEST_FORMULA = 20_000;
const IDLE_TIMEOUT_MS = 100;
const SLICE_MS = 8;

/**
 * Takes a text apart.
 *
 * @param {string} text
 * @param {"auto" | "tex" | "plain"} mode auto: dollars that read as money are text; tex: every pair of dollars is a
 *   formula; plain: no formulas at all.
 * @returns {{kind: "text" | "formula" | "note", value: string, source: string, isDisplay?: boolean}[]} joined, the
 *   sources give the text back.
 */
export function tokenise(text, mode = "auto") {
  const tokens = [];
  let plain = "";
  const flush = () => {
    if (plain) tokens.push({ kind: "text", value: plain, source: plain });
    plain = "";
  };
  let at = 0;
  while (at < text.length) {
    const found = noteAt(text, at) ?? (mode === "plain" ? null : formulaAt(text, at, mode));
    if (found) {
      flush();
      tokens.push(found);
      at += found.source.length;
    } else {
      // An escaped dollar is a dollar, and opens nothing.
      const width = text[at] === "\\" && text[at + 1] === "$" && mode !== "plain" ? 2 : 1;
      plain += text.slice(at, at + width);
      at += width;
    }
  }
  flush();
  return tokens;
}

function noteAt(text, at) {
  NOTE.lastIndex = at;
  const match = NOTE.exec(text);
  return match && { kind: "note", value: match[1], source: match[0] };
}

function formulaAt(text, at, mode) {
  const two = text.slice(at, at + 2);
  if (two === "\\(") return delimited(text, at, "\\(", "\\)", false);
  if (two === "\\[") return delimited(text, at, "\\[", "\\]", true);
  if (two === "$$") return delimited(text, at, "$$", "$$", true);
  if (text[at] === "$") return dollars(text, at, mode);
  ENVIRONMENT.lastIndex = at;
  const environment = ENVIRONMENT.exec(text);
  if (environment) {
    const close = `\\end{${environment[1]}}`;
    const end = text.indexOf(close, at);
    if (end < 0) return null;
    const source = text.slice(at, end + close.length);
    return { kind: "formula", value: source, source, isDisplay: true };
  }
  return null;
}

function delimited(text, at, open, close, isDisplay) {
  const end = text.indexOf(close, at + open.length);
  if (end < 0) return null;
  const value = text.slice(at + open.length, end);
  if (!value.trim() || /\n\s*\n/.test(value)) return null;
  return { kind: "formula", value, source: text.slice(at, end + close.length), isDisplay };
}

function dollars(text, at, mode) {
  if (/\s/.test(text[at + 1] ?? " ")) return null;
  for (let end = at + 2; end < text.length; end++) {
    if (text[end] === "\\") end++;
    else if (text[end] === "\n" && /^\n\s*\n/.test(text.slice(end))) return null;
    else if (text[end] === "$") {
      const value = text.slice(at + 1, end);
      const isClosing = !/\s/.test(text[end - 1]) && !/\d/.test(text[end + 1] ?? "");
      if (!isClosing) return null;
      if (mode === "auto" && isMoney(value, text[at - 1] ?? "")) return null;
      return { kind: "formula", value, source: text.slice(at, end + 1), isDisplay: false };
    }
  }
  return null;
}

/** "$5 and 7$", "$10/hour", "5$+7$": a sum of money, not a formula. */
function isMoney(value, before) {
  if (/\d/.test(before) && !/[a-zA-Z\\]/.test(value)) return true;
  if (value.includes("<<")) return true;
  const amount = MONEY.exec(value);
  if (!amount || amount[0] === value) return false;
  return !TEX_SIGN.test(value) || /\s[a-z]{3,}\s/.test(value.replace(/\\[a-zA-Z]+/g, ""));
}

/** KaTeX once it is there; until then formulas show their source. */
let katex = null;
const waiting = new Set();

/** Loads KaTeX from this app's own address; formulas drawn before are drawn again. */
export async function loadKatex(url) {
  if (katex) return;
  try {
    katex = (await import(url)).default;
  } catch (error) {
    console.warn("stepmark: formulas stay as source, KaTeX did not load", error);
    return;
  }
  for (const element of waiting) if (element.isConnected) typeset(element);
  waiting.clear();
}

/**
 * Draws a text into an element, replacing what is there.
 *
 * @param {HTMLElement} element
 * @param {string} text
 * @param {"auto" | "tex" | "plain"} mode
 * @param {object} options
 * @param {{start: number, end: number, name: string, title?: string, after?: () => Node}[]} options.marks places of the
 *   text to be marked, by UTF-16 offsets: the class `sm-mark-NAME`, and what follows the end. A formula is marked whole.
 * @param {boolean} options.isLazy set formulas only once they come near the window
 */
export function draw(element, text, mode = "auto", { marks = [], isLazy = false } = {}) {
  const nodes = [];
  let at = 0;
  for (const token of tokenise(text, mode)) {
    const end = at + token.source.length;
    const over = marks.filter((mark) => mark.start < end && mark.end > at);
    if (token.kind === "text" && over.length) nodes.push(...markedText(token.value, at, over));
    else nodes.push(...marked(nodeOf(token, isLazy), over, end));
    at = end;
  }
  element.dir = "auto";
  element.replaceChildren(...nodes);
  if (isLazy && element.querySelector(".sm-formula")) near(element);
}

function markedText(text, from, marks) {
  const cuts = new Set([from, from + text.length]);
  for (const { start, end } of marks) for (const cut of [start, end]) if (cut > from && cut < from + text.length) cuts.add(cut);
  const places = [...cuts].sort((a, b) => a - b);
  return places.slice(0, -1).flatMap((start, index) => {
    const end = places[index + 1];
    const over = marks.filter((mark) => mark.start < end && mark.end > start);
    const piece = text.slice(start - from, end - from);
    if (!over.length) return [document.createTextNode(piece)];
    const span = document.createElement("span");
    span.textContent = piece;
    return marked(span, over, end);
  });
}

function marked(node, marks, end) {
  if (!marks.length) return [node];
  node.classList.add("sm-mark", ...marks.map(({ name }) => `sm-mark-${name}`));
  const titles = marks.flatMap(({ title }) => (title ? [title] : []));
  if (titles.length) node.title = titles.join("; ");
  return [node, ...marks.flatMap((mark) => (mark.after && mark.end <= end ? [mark.after()] : []))];
}

function nodeOf(token, isLazy) {
  if (token.kind === "text") return document.createTextNode(token.value);
  const element = document.createElement("span");
  if (token.kind === "note") {
    element.className = "sm-note";
    element.textContent = token.value;
    element.title = "Calculator note in the data";
    return element;
  }
  element.className = token.isDisplay ? "sm-formula sm-display" : "sm-formula";
  element.dataset.tex = token.value;
  element.dataset.source = token.source;
  element.textContent = token.source;
  if (!isLazy) typesetSoon(element);
  return element;
}

function typesetSoon(element) {
  if (katex) typeset(element);
  else waiting.add(element);
}

/** Formulas of long texts are set when they come within two windows of being seen, in the pauses between keys. */
const observer = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      queue.unshift(...target.querySelectorAll(".sm-formula")); // what came near last is looked at first
    }
    startPump();
  },
  { rootMargin: "1500px 0px", scrollMargin: "1500px 0px" },
);
const queue = [];
let isPumping = false;

function startPump() {
  if (queue.length && !isPumping) requestIdleCallback(pump, { timeout: IDLE_TIMEOUT_MS });
  isPumping = queue.length > 0;
}

function pump(deadline) {
  const end = performance.now() + SLICE_MS;
  do {
    const element = queue.shift();
    if (!isSet(element)) typesetSoon(element);
  } while (queue.length && (deadline.didTimeout ? performance.now() < end : deadline.timeRemaining() > 2));
  isPumping = false;
  startPump();
}

function isSet(element) {
  return element.firstElementChild !== null || element.classList.contains("sm-bad-tex");
}

/** Sets the formulas of an element before all that are waiting; not within the key that led to it. */
export function setFirst(element) {
  queue.unshift(...[...element.querySelectorAll(".sm-formula")].filter((formula) => !isSet(formula)));
  startPump();
}

function near(element) {
  observer.observe(element);
}

function typeset(element) {
  const { tex, source } = element.dataset;
  try {
    if (tex.length > LONGEST_FORMULA) throw new RangeError("too long to set");
    katex.render(tex, element, {
      displayMode: element.classList.contains("sm-display"),
      throwOnError: true,
      trust: false,
      strict: "ignore",
      maxSize: 20,
      maxExpand: 500,
    });
  } catch {
    element.textContent = source;
    element.classList.add("sm-bad-tex");
    element.title = "This formula is not valid TeX; it is shown as written";
  }
}
