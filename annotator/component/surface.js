/**
 * The labelling surface: it owns the keyboard, the tasks at hand, undo across tasks, and the way to the server.
 *
 * Streamlit calls `mount` again whenever data or theme change; there is one Surface for each element. Answers go
 * into the outbox first and are sent, all of them each time, until the server names them as received, so that
 * neither a lost message nor a restarted server loses work.
 */

import { askReason, showGuideline, showKeys } from "./dialogs.js";
import { button, key, make } from "./elements.js";
import { Judgement } from "./judgement.js";
import { newId, Store } from "./store.js";
import { TaskView, nameOf } from "./taskview.js";
import { loadKatex } from "./text.js";

const RESEND_MS = 4_000;
const AWAY_MS = 10_000;
const HEARTBEAT_MS = 240_000;
const LOOK_AGAIN_MS = 20_000;

const surfaces = new WeakMap();

/** Mounts the surface into `parentElement`, or hands new data to the one that is there. */
export function mount(component) {
  const { parentElement } = component;
  let surface = surfaces.get(parentElement);
  if (!surface) {
    surface = new Surface(parentElement, component.data);
    surfaces.set(parentElement, surface);
  }
  surface.receive(component);
  return () => {
    surface.destroy();
    surfaces.delete(parentElement);
  };
}

class Surface {
  constructor(parent, data) {
    this.store = new Store(data.scope);
    this.tasks = [];
    this.judgement = null;
    this.view = null;
    this.sentAt = 0;
    this.waitingSince = null;
    this.isKept = true;
    this.root = make("div.sm-surface", { "data-stepmark": "surface" });
    this.status = make("span.sm-status", { role: "status" });
    this.counts = make("span.sm-counts");
    this.bar = make("span.sm-bar-fill");
    this.notices = make("div.sm-notices");
    this.live = make("div.sm-live", { "aria-live": "polite" });
    this.main = make("div.sm-main");
    this.root.append(
      make(
        "header.sm-top",
        {},
        make("span.sm-bar", { "aria-hidden": "true" }, this.bar),
        this.counts,
        this.status,
        make(
          "span.sm-row.sm-help",
          {},
          button("sm-quiet", { onclick: () => this.act("guidelines") }, "Guidelines", key("h")),
          button("sm-quiet", { onclick: () => this.act("keys") }, "Keys", key("?")),
        ),
      ),
      this.notices,
      this.main,
      this.live,
    );
    parent.append(this.root);
    this.onKey = (event) => this.#onKey(event);
    this.onVisibility = () => this.#onVisibility();
    this.onLeave = () => this.#keepDraft();
    // On the window and before everybody else: Streamlit has keys of its own.
    window.addEventListener("keydown", this.onKey, true);
    document.addEventListener("visibilitychange", this.onVisibility);
    window.addEventListener("pagehide", this.onLeave);
    this.timer = setInterval(() => this.#beat(), 1_000);
    if (data.katex?.css && !document.querySelector("link[data-stepmark-katex]"))
      document.head.append(make("link", { rel: "stylesheet", href: data.katex.css, "data-stepmark-katex": true }));
    if (data.katex) loadKatex(new URL(data.katex.module, window.location.origin).href);
  }

  destroy() {
    this.#keepDraft();
    window.removeEventListener("keydown", this.onKey, true);
    document.removeEventListener("visibilitychange", this.onVisibility);
    window.removeEventListener("pagehide", this.onLeave);
    clearInterval(this.timer);
    this.root.remove();
  }

  // ---- what comes from the server ------------------------------------------------------------------------

  receive({ data, setTriggerValue }) {
    this.data = data;
    this.trigger = setTriggerValue;
    this.root.dataset.theme = isDark(this.root) ? "dark" : "light";
    const known = new Map(this.store.outbox().map((submission) => [submission.submission_id, submission]));
    for (const { submission_id: id, status, message } of data.acknowledged) {
      const submission = known.get(id);
      if (submission && !["stored", "corrected", "repeated"].includes(status)) {
        this.store.setAside(submission, message);
        this.store.forget(id);
        this.#notify(`An answer was not taken: ${message}. It is kept in this browser.`);
      }
    }
    this.store.acknowledge(new Set(data.acknowledged.map(({ submission_id: id }) => id)));
    const answered = new Set(this.store.outbox().map((submission) => submission.task_id));
    this.tasks = data.tasks.filter((task) => !answered.has(task.task_id));
    if (!this.judgement) this.#start();
    else if (!this.judgement.corrects && !this.judgement.isTouched && !this.#isAtHand(this.judgement.task)) this.#showNext();
    this.#drawStatus();
    if (this.store.outbox().length) this.#send();
  }

  #start() {
    const entry = this.store.history().find(({ task }) => task.task_id === this.store.correcting);
    if (entry) this.#correct(entry);
    else this.#showNext();
  }

  #isAtHand(task) {
    return this.tasks.some((other) => other.task_id === task.task_id && other.token === task.token);
  }

  // ---- tasks ---------------------------------------------------------------------------------------------

  #showNext() {
    const [task] = this.tasks;
    if (task) this.#show(task, this.store.draftOf(task));
    else this.#showNothing();
  }

  #show(task, draft) {
    this.judgement = new Judgement(task, draft);
    this.judgement.tick(!document.hidden);
    this.view = new TaskView(task, (action, detail) => this.act(action, detail), this.data.math_mode);
    this.main.replaceChildren(this.view.element);
    if (this.judgement.corrects) {
      this.view.banner.hidden = false;
      this.view.banner.append(
        make("span", { text: "You have answered this task. Submit again to correct it." }),
        button("sm-quiet", { onclick: () => this.act("leaveCorrection") }, "Leave it as it was", key("Esc")),
      );
    }
    this.view.update(this.judgement, { isFocused: false });
    this.view.cards[this.judgement.at].card.focus({ preventScroll: true });
    if (this.judgement.isTouched) this.view.focus(this.judgement.at);
    else this.root.scrollIntoView({ block: "start" });
    this.#say(`New task with ${task.steps.length} steps.`);
  }

  #showNothing() {
    this.judgement = null;
    this.view = null;
    const { answered, left } = this.data.counts;
    const isWaiting = this.store.outbox().length > 0;
    const title = isWaiting ? "One moment" : left > 0 ? "Nothing free right now" : answered ? "All done" : "The queue is empty";
    const text = isWaiting
      ? "Fetching the next task."
      : left > 0
        ? `The last ${left === 1 ? "task is" : `${left} tasks are`} in other people's hands. This page looks again by itself.`
        : answered
          ? `You have answered every task in the queue: ${answered} in all. More can be added at any time.`
          : "No solution has been put into the queue yet.";
    this.main.replaceChildren(
      make(
        "div.sm-empty",
        {},
        make("h2", { text: title }),
        make("p", { text }),
        isWaiting || left > 0
          ? null
          : make("div", {}, make("p.sm-hint", { text: "In a terminal, put a hundred solutions into the queue:" }), make("pre", { text: this.data.fill_command })),
        make(
          "div.sm-row",
          {},
          button("sm-primary", { onclick: () => this.#send() }, "Look again"),
          this.store.history().length ? button("sm-quiet", { onclick: () => this.act("undo") }, "Back to the last task", key("u")) : null,
        ),
      ),
    );
  }

  #correct(entry) {
    const draft = this.store.draftOf({ ...entry.task, token: `correct-${entry.submissionId}` }) ?? entry.draft;
    this.store.correcting = entry.task.task_id;
    this.#show(entry.task, { ...draft, corrects: entry.submissionId });
    this.#say("Back to the last task.");
  }

  #goBack() {
    const now = this.judgement?.task.task_id;
    const history = this.store.history();
    const place = history.findIndex(({ task }) => task.task_id === now);
    const entry = place > 0 ? history[place - 1] : place < 0 ? history.at(-1) : null;
    if (!entry) {
      this.#say("Nothing to undo.");
      return;
    }
    this.#correct(entry);
  }

  #leaveCorrection() {
    this.store.dropDraft({ ...this.judgement.task, token: `correct-${this.judgement.corrects}` });
    this.store.correcting = null;
    this.judgement = null;
    this.#showNext();
  }

  #submit(finish = {}) {
    const { judgement } = this;
    if (!finish.finishReason && judgement.nMissing > 0) {
      this.view.refuse();
      this.#say(this.view.message.textContent);
      return;
    }
    const id = newId();
    const submission = judgement.submission(id, { ...finish, guideline: this.data.guideline.version });
    this.store.send(submission);
    this.store.dropDraft(this.#draftKey());
    this.store.correcting = null;
    this.store.remember({ task: judgement.task, submissionId: id, draft: { ...judgement.draft(), past: [] } });
    if (!judgement.corrects) {
      this.data.counts.answered += 1;
      this.data.counts.left = Math.max(0, this.data.counts.left - 1);
    }
    this.tasks = this.tasks.filter((task) => task.task_id !== judgement.task.task_id);
    this.#showNext();
    this.#drawStatus();
    this.#send();
  }

  // ---- to the server -------------------------------------------------------------------------------------

  #send() {
    this.sentAt = Date.now();
    this.trigger("sync", {
      outbox: this.store.outbox(),
      held: Object.fromEntries(this.tasks.map((task) => [task.task_id, task.token])),
      nonce: newId(), // two equal messages in a row would be taken for one
    });
  }

  #beat() {
    const quiet = Date.now() - this.sentAt;
    const isWaiting = this.store.outbox().length > 0;
    const pause = isWaiting ? RESEND_MS : this.judgement ? HEARTBEAT_MS : LOOK_AGAIN_MS;
    if (quiet > pause && (isWaiting || !document.hidden)) this.#send();
    this.#drawStatus();
  }

  // ---- drafts and status ---------------------------------------------------------------------------------

  #draftKey() {
    const { task, corrects } = this.judgement;
    return corrects ? { ...task, token: `correct-${corrects}` } : task;
  }

  #keepDraft() {
    if (!this.judgement) return;
    this.judgement.tick(!document.hidden);
    if (this.judgement.isTouched) this.isKept = this.store.keepDraft(this.#draftKey(), this.judgement.draft());
  }

  #drawStatus() {
    const { answered, left } = this.data.counts;
    const total = answered + left;
    this.counts.textContent = `${answered} answered · ${left} to go`;
    this.bar.style.inlineSize = `${total ? (100 * answered) / total : 0}%`;
    const waiting = this.store.outbox().length;
    this.waitingSince = waiting ? (this.waitingSince ?? Date.now()) : null;
    const isAway = waiting > 0 && Date.now() - this.waitingSince > AWAY_MS;
    const answers = waiting === 1 ? "1 answer" : `${waiting} answers`;
    const text = isAway
      ? `The server is away: ${answers} kept in this browser, go on`
      : waiting
        ? `${answers} on the way`
        : this.judgement?.isTouched
          ? this.isKept
            ? "Draft kept"
            : "Draft not kept: the browser's storage is full"
          : "All saved";
    if (this.status.textContent !== text) this.status.textContent = text;
    this.status.classList.toggle("is-waiting", waiting > 0);
    this.status.classList.toggle("is-away", isAway);
  }

  #notify(text) {
    const notice = make("div.sm-notice", { role: "alert" }, make("span", { text }));
    notice.append(button("sm-quiet", { onclick: () => notice.remove() }, "Dismiss"));
    this.notices.append(notice);
  }

  #say(text) {
    this.live.textContent = text;
  }

  #onVisibility() {
    this.judgement?.tick(!document.hidden);
    if (document.hidden) this.#keepDraft();
  }

  // ---- actions -------------------------------------------------------------------------------------------

  act(action, detail) {
    const { judgement } = this;
    if (action === "keys") return showKeys(this.root);
    if (action === "guidelines") return showGuideline(this.root, this.data.guideline);
    if (action === "undo" && !judgement?.undo()) return this.#goBack();
    if (!judgement) return undefined;
    const before = judgement.at;
    switch (action) {
      case "label":
        judgement.label(detail);
        this.#say(`${this.view.cards[before].name}: ${nameOf(detail)}.`);
        break;
      case "labelAt":
        judgement.move(detail.index);
        judgement.label(detail.value);
        break;
      case "flagAt":
        judgement.move(detail);
        judgement.flag();
        break;
      case "flag":
        judgement.flag();
        break;
      case "clear":
        judgement.clear();
        break;
      case "restGood":
        judgement.restGood();
        break;
      case "move":
        judgement.move(detail);
        break;
      case "focus":
        if (judgement.at === detail) return undefined;
        judgement.move(detail);
        this.view.update(judgement, { isFocused: false });
        return undefined;
      case "down":
        judgement.move(before + 1);
        break;
      case "up":
        judgement.move(before - 1);
        break;
      case "unjudged":
        judgement.toUnjudged();
        break;
      case "comment":
        judgement.comment = detail;
        this.#keepDraft();
        this.#drawStatus();
        return undefined;
      case "submit":
        return this.#submit();
      case "skip":
        return askReason(this.root, "skipped", (reason) => this.#submit({ finishReason: "skipped", reason }));
      case "giveUp":
        return askReason(this.root, "give_up", (reason) => this.#submit({ finishReason: "give_up", reason }));
      case "badProblem":
        return askReason(this.root, "bad_problem", (reason) => this.#submit({ finishReason: "bad_problem", reason }));
      case "leaveCorrection":
        if (judgement.corrects) this.#leaveCorrection();
        return undefined;
      default:
        break;
    }
    this.view.update(judgement);
    this.#keepDraft();
    this.#drawStatus();
    return undefined;
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (this.root.querySelector("dialog[open]")) return;
    const target = event.composedPath()[0];
    if (target instanceof Element && target.closest("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape" && this.root.contains(target)) target.blur();
      return;
    }
    // A key that is held down is one press; arrows may run.
    const found = actionOf(event);
    if (!found) {
      // Streamlit would rerun (r) or ask to clear its cache (c) in the middle of the work.
      if (["r", "c"].includes(event.key)) event.stopImmediatePropagation();
      return;
    }
    // Whoever reached a button or a link with Tab means that one.
    const isOnButton = target instanceof Element && target.closest("button, a[href], [role=button]");
    if (event.key === "Enter" && isOnButton) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.repeat && !["up", "down"].includes(found[0])) return;
    this.act(...found);
  }
}

const ACTIONS = {
  1: ["label", -1],
  2: ["label", 0],
  3: ["label", 1],
  0: ["clear"],
  j: ["down"],
  ArrowDown: ["down"],
  k: ["up"],
  ArrowUp: ["up"],
  n: ["unjudged"],
  u: ["undo"],
  Backspace: ["undo"],
  f: ["flag"],
  g: ["restGood"],
  Enter: ["submit"],
  s: ["skip"],
  X: ["giveUp"],
  B: ["badProblem"],
  h: ["guidelines"],
  "?": ["keys"],
  Escape: ["leaveCorrection"],
};

/** What a key asks for, whatever Caps Lock says; letters with Shift are only X and B. */
function actionOf({ key: name, shiftKey }) {
  const isLetter = /^[a-zA-Z]$/.test(name);
  const meant = isLetter ? (shiftKey ? name.toUpperCase() : name.toLowerCase()) : name;
  return Object.hasOwn(ACTIONS, meant) ? ACTIONS[meant] : null;
}

/** Is the page dark now: Streamlit's variables hold the theme's colours. */
function isDark(element) {
  const probe = make("span", { style: "display:none;color:var(--st-background-color)" });
  element.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g)?.map(Number) ?? [255, 255, 255];
  probe.remove();
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
}
