/**
 * The labelling surface: it owns the keyboard, the tasks at hand, undo across tasks, and the way to the server. What
 * a task asks and how it looks is the affair of its kind (`kinds.js`).
 *
 * Streamlit calls `mount` again whenever data or theme change; there is one Surface for each element. Answers go
 * into the outbox first and are sent, all of them each time, until the server names them as received, so that
 * neither a lost message nor a restarted server loses work.
 */

import { readEvidence } from "./evidence/reading.js";
import { Keys, RUNNING } from "./keys.js";
import { completed, isKnown, judgementOf, viewOf } from "./kinds.js";
import { askReason } from "./page/dialogs.js";
import { button, key, make } from "./page/elements.js";
import { showGuideline } from "./page/guideline.js";
import { showKeys } from "./page/keysheet.js";
import { loadKatex } from "./page/text.js";
import { newId, Store } from "./store.js";

const RESEND_MS = 4_000; // doubled with each try, four times: a server that is behind must not get the more to do
const DOUBLED = 4;
const AWAY_MS = 10_000;
const HEARTBEAT_MS = 240_000;
const LOOK_AGAIN_MS = 20_000;
const LATE_MS = 30_000; // older than that, nothing that the server sends is
const DRAFT_MS = 40; // after the paint
const DRAFT_QUIET_MS = 3_000;
const DRAFT_LATEST_MS = 20_000;
const PRACTICE_MS = 6_000;
const TAKEN = ["stored", "corrected", "repeated"];
/** What stands behind a project's name, where a person is not simply active in it. */
const STATES = { paused: " (paused)", testing: " (entry test)" };
/** What may be done with a task that is answered and still on the screen. */
const READING = new Set(["move", "up", "down", "focus"]);

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
    // Where there is an account, it knows the keys in every browser; but for what it was not told yet.
    this.keys = new Keys((this.store.isKeysSent ? data.settings?.keys : null) ?? this.store.keys ?? {});
    this.data = data;
    this.tasks = [];
    /** Rules by version; those of tasks that were at hand before stay, for corrections. */
    this.guidelines = {};
    this.judgement = null;
    this.view = null;
    /** The entry of the history that is answered and still shown, with what is known about it. */
    this.answered = null;
    this.sentAt = 0;
    /** How often the same answers were sent again. */
    this.nResent = 0;
    this.waitingSince = null;
    this.isKept = true;
    this.draftTimer = null;
    /** Since when, and until when, there are changes that the server's copy of the draft has not. */
    this.unsent = null;
    this.practiceSince = null;
    /** When other tabs were seen to answer a task, by its id. */
    this.elsewhere = new Map();
    this.#build(parent);
    this.onKey = (event) => this.#onKey(event);
    this.onVisibility = () => this.#onVisibility();
    this.onLeave = () => this.#keepDraft();
    this.onStorage = (event) => this.#onOtherTab(this.store.outboxIn(event));
    // On the window and before everybody else: Streamlit has keys of its own.
    window.addEventListener("keydown", this.onKey, true);
    document.addEventListener("visibilitychange", this.onVisibility);
    window.addEventListener("pagehide", this.onLeave);
    window.addEventListener("storage", this.onStorage);
    this.timer = setInterval(() => this.#beat(), 1_000);
    if (data.katex?.css && !document.querySelector("link[data-stepmark-katex]"))
      document.head.append(make("link", { rel: "stylesheet", href: data.katex.css, "data-stepmark-katex": true }));
    if (data.katex) loadKatex(new URL(data.katex.module, window.location.origin).href);
  }

  #build(parent) {
    this.root = make("div.sm-surface", { "data-stepmark": "surface" });
    this.status = make("span.sm-status", { role: "status" });
    this.counts = make("span.sm-counts");
    this.project = make("span.sm-project");
    this.chooser = make("select.sm-chooser", { "aria-label": "Project", hidden: true });
    this.chooser.addEventListener("change", () => this.#choose());
    this.bar = make("span.sm-bar-fill");
    this.notices = make("div.sm-notices");
    this.paused = make("div.sm-paused", { role: "alert", hidden: true });
    this.live = make("div.sm-live", { "aria-live": "polite" });
    this.main = make("div.sm-main");
    this.help = make("span.sm-row.sm-help");
    this.#drawHelp();
    const bar = make("span.sm-bar", { "aria-hidden": "true" }, this.bar);
    const top = make("header.sm-top", {}, bar, this.counts, this.chooser, this.project, this.status, this.help);
    this.root.append(top, this.paused, this.notices, this.main, this.live);
    parent.append(this.root);
  }

  #drawHelp() {
    const quiet = (action, text, sign) => button("sm-quiet", { onclick: () => this.act(action) }, text, sign && key(sign));
    this.help.replaceChildren(
      quiet("practice", "Practice", null),
      quiet("guidelines", "Guidelines", this.keys.sign("guidelines")),
      quiet("keys", "Keys", this.keys.sign("keys")),
    );
  }

  destroy() {
    this.#keepDraft();
    this.view?.destroy();
    window.removeEventListener("keydown", this.onKey, true);
    document.removeEventListener("visibilitychange", this.onVisibility);
    window.removeEventListener("pagehide", this.onLeave);
    window.removeEventListener("storage", this.onStorage);
    clearInterval(this.timer);
    this.root.remove();
  }

  // ---- what comes from the server ------------------------------------------------------------------------

  receive({ data, setTriggerValue }) {
    const isElsewhere = this.trigger !== undefined && this.data.project_id !== data.project_id;
    this.data = data;
    this.guidelines = { ...this.guidelines, ...data.guidelines };
    if (data.settings && sameKeys(data.settings.keys, this.keys.own)) this.store.isKeysSent = true;
    this.trigger = setTriggerValue;
    this.root.dataset.theme = isDark(this.root) ? "dark" : "light";
    this.#takeAnswers(data.acknowledged);
    this.#drawPaused(data.paused);
    this.#drawChooser();
    const answered = new Set([...this.store.outbox().map((submission) => submission.task_id), ...this.#justAnsweredElsewhere()]);
    const tasks = data.tasks.map((task) => completed(task, data.math_mode));
    this.tasks = tasks.filter((task) => isKnown(task) && !answered.has(task.task_id));
    if (tasks.some((task) => !isKnown(task))) this.#notify("There are tasks that this page is too old to show: load it anew.");
    if (isElsewhere) {
      this.#keepDraft();
      this.store.correcting = null;
    }
    if (this.#startsPractice() || isElsewhere) this.#showNext();
    else if (!this.judgement) this.#start();
    else if (this.#isStale()) this.#showNext();
    this.#drawStatus();
    if (this.store.outbox().length) this.#send();
  }

  #takeAnswers(answers) {
    if (answers.length) this.nResent = 0;
    const known = new Map(this.store.outbox().map((submission) => [submission.submission_id, submission]));
    for (const { submission_id: id, status, message, paused } of answers) {
      const submission = known.get(id);
      if (!submission) continue;
      if (paused) this.#notify(`You are paused: ${paused}`);
      if (TAKEN.includes(status)) continue;
      this.store.setAside(submission, message);
      this.store.forget(id);
      this.#notify(`An answer was not taken: ${message}. It is kept in this browser.`);
    }
    this.store.acknowledge(new Set(answers.map(({ submission_id: id }) => id)));
  }

  #start() {
    const entry = this.store.history().find(({ task }) => task.task_id === this.store.correcting);
    if (entry) this.#correct(entry);
    else this.#showNext();
  }

  #isStale() {
    const { judgement } = this;
    return !this.answered && !judgement.corrects && !judgement.isTouched && !this.#isAtHand(judgement.task);
  }

  #isAtHand(task) {
    return this.tasks.some((other) => other.task_id === task.task_id && other.token === task.token);
  }

  #startsPractice() {
    const isPractice = (task) => task.purpose === "practice";
    if (this.practiceSince === null || !this.tasks.some(isPractice)) return false;
    this.practiceSince = null;
    if (this.judgement?.task.purpose === "practice") return false;
    this.#keepDraft();
    this.tasks.sort((a, b) => isPractice(b) - isPractice(a));
    return true;
  }

  // ---- tasks ---------------------------------------------------------------------------------------------

  #showNext() {
    const [task] = this.tasks;
    if (task) this.#show(task, newest(this.store.draftOf(task), serverDraft(task)));
    else this.#showNothing();
  }

  #show(task, draft, { isUncovered = false } = {}) {
    this.view?.destroy();
    this.answered = null;
    this.judgement = judgementOf(task, draft);
    /** When the draft was made that this goes on from, by the clock of the browser that made it. */
    this.draftedAt = draft?.updated_at ?? 0;
    this.judgement.tick(!document.hidden);
    this.view = viewOf(task, (action, detail) => this.act(action, detail), this.keys);
    this.main.replaceChildren(this.view.element);
    if (this.judgement.corrects)
      this.view
        .banner("You have answered this task. Submit again to correct it.")
        .append(button("sm-quiet", { onclick: () => this.act("leaveCorrection") }, "Leave it as it was", key("Esc")));
    this.view.update(this.judgement, { isFocused: false });
    if (isUncovered) this.view.uncover(this.judgement, { showsKnown: true });
    else if (this.judgement.before) this.view.uncover(this.judgement);
    this.view.focus(this.judgement);
    if (!this.judgement.isTouched) this.root.scrollIntoView({ block: "start" });
    this.project.textContent = this.chooser.hidden || this.data.project_id === null ? (task.project.name ?? "") : "";
    this.#say(`New task: ${this.judgement.announcement}`);
  }

  #showNothing() {
    this.view?.destroy();
    this.answered = null;
    this.judgement = null;
    this.view = null;
    this.project.textContent = "";
    const { answered, left } = this.data.counts;
    const isWaiting = this.store.outbox().length > 0;
    const isPaused = !isWaiting && Boolean(this.data.paused);
    const title = isWaiting ? "One moment" : isPaused ? "Nothing for you here" : left > 0 ? "Nothing free right now" : answered ? "All done" : "The queue is empty";
    const text = isWaiting
      ? "Fetching the next task."
      : isPaused
        ? "The reason stands above. You can still practise."
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
        isWaiting || isPaused || left > 0 || !this.data.fill_command
          ? null
          : make("div", {}, make("p.sm-hint", { text: "In a terminal, put a hundred solutions into the queue:" }), make("pre", { text: this.data.fill_command })),
        make(
          "div.sm-row",
          {},
          button("sm-primary", { onclick: () => this.#send() }, "Look again"),
          button("sm-quiet", { onclick: () => this.act("practice") }, "Practise on a known task"),
          this.store.history().length
            ? button("sm-quiet", { onclick: () => this.act("undo") }, "Back to the last task", key(this.keys.sign("undo")))
            : null,
        ),
      ),
    );
    this.#say(title);
  }

  #correct(entry) {
    const draft = this.store.draftOf({ ...entry.task, token: `correct-${entry.submissionId}` }) ?? entry.draft;
    this.store.correcting = entry.task.task_id;
    const task = completed(entry.task, this.data.math_mode);
    const seen = { corrects: entry.submissionId, suggestionShown: draft.suggestionShown || entry.isShown };
    this.#show(task, { ...draft, ...seen }, { isUncovered: entry.isShown });
    this.#say("Back to the last task.");
  }

  #goBack() {
    const now = this.judgement?.task.task_id;
    const history = this.store.history();
    const place = this.answered ? -1 : history.findIndex(({ task }) => task.task_id === now);
    const entry = place > 0 ? history[place - 1] : place < 0 ? history.at(-1) : null;
    if (!entry) {
      this.#say("Nothing to undo.");
      return;
    }
    this.#keepDraft();
    this.#correct(entry);
  }

  #leaveCorrection() {
    this.store.dropDraft({ ...this.judgement.task, token: `correct-${this.judgement.corrects}` });
    this.store.correcting = null;
    this.judgement = null;
    this.#showNext();
  }

  #submit(finish = {}) {
    const { judgement, view } = this;
    if (!finish.finishReason && !this.#mayGo()) return;
    const id = newId();
    const submission = judgement.submission(id, { ...finish, guideline: this.#version() });
    clearTimeout(this.draftTimer);
    this.draftTimer = this.unsent = null;
    this.store.send(submission);
    this.store.dropDraft(this.#draftKey());
    this.store.correcting = null;
    const isShown = !finish.finishReason && hasMore(judgement);
    const entry = { task: judgement.task, submissionId: id, draft: { ...judgement.draft(), past: [] }, isShown };
    this.store.remember(entry);
    if (!judgement.corrects && judgement.task.purpose !== "practice") {
      this.data.counts.answered += 1;
      this.data.counts.left = Math.max(0, this.data.counts.left - 1);
    }
    this.tasks = this.tasks.filter((task) => task.task_id !== judgement.task.task_id);
    if (isShown && !judgement.corrects) {
      this.answered = entry;
      judgement.tick(false);
      view.answered(judgement);
      this.#say(`Sent. ${view.message.textContent}`);
    } else this.#showNext();
    this.#drawStatus();
    this.#send();
  }

  /** Is the answer complete, and were its doubts asked; if not, says what is wanted. */
  #mayGo() {
    const { judgement, view } = this;
    if (!judgement.isReady) {
      view.refuse();
      this.#say(judgement.missing);
      return false;
    }
    if (judgement.reveal()) {
      view.uncover(judgement);
      view.update(judgement);
      this.#say("The models' labels are shown. Keep yours or change them, then submit.");
      this.#changed();
      return false;
    }
    const question = judgement.ask();
    if (question === null) return true;
    view.ask(question);
    this.#say(question);
    this.#changed();
    return false;
  }

  // ---- to the server -------------------------------------------------------------------------------------

  #send(more = {}) {
    this.sentAt = performance.now();
    this.#keepDraft();
    const drafts = this.unsent ? [this.#unsentDraft()] : [];
    this.unsent = null;
    this.trigger("sync", {
      outbox: this.store.outbox(),
      held: Object.fromEntries(this.tasks.map((task) => [task.task_id, task.token])),
      drafts,
      practice: this.practiceSince !== null,
      ...(this.store.isKeysSent || !this.data.settings ? {} : { settings: { keys: this.keys.own } }),
      ...more,
      nonce: newId(), // two equal messages in a row would be taken for one
    });
  }

  #unsentDraft() {
    const { task } = this.judgement;
    const { updated_at, ...body } = this.store.draftOf(task);
    return { task_id: task.task_id, token: task.token, body, updated_at };
  }

  #beat() {
    const now = performance.now(); // the computer's own clock may be set while we wait
    const quiet = now - this.sentAt;
    const isWaiting = this.store.outbox().length > 0;
    const isDraftDue = this.unsent && (now - this.unsent.last > DRAFT_QUIET_MS || now - this.unsent.first > DRAFT_LATEST_MS);
    const pause = isWaiting ? RESEND_MS * 2 ** Math.min(this.nResent, DOUBLED) : this.judgement ? HEARTBEAT_MS : LOOK_AGAIN_MS;
    if (this.practiceSince !== null && now - this.practiceSince > PRACTICE_MS) {
      this.practiceSince = null;
      this.#notify("There is no practice task yet.");
    }
    if ((isDraftDue && !isWaiting) || (quiet > pause && (isWaiting || !document.hidden))) {
      this.nResent += isWaiting ? 1 : 0;
      this.#send();
    }
    this.#drawStatus();
  }

  // ---- drafts and status ---------------------------------------------------------------------------------

  #draftKey() {
    const { task, corrects } = this.judgement;
    return corrects ? { ...task, token: `correct-${corrects}` } : task;
  }

  /** Something was judged: the draft is written once it is painted. */
  #changed() {
    this.draftTimer ??= setTimeout(() => {
      this.#keepDraft();
      this.#drawStatus();
    }, DRAFT_MS);
  }

  #keepDraft() {
    clearTimeout(this.draftTimer);
    const isDue = this.draftTimer !== null;
    this.draftTimer = null;
    const { judgement } = this;
    if (!judgement || this.answered || !judgement.isTouched) return;
    judgement.tick(!document.hidden);
    this.isKept = this.store.keepDraft(this.#draftKey(), judgement.draft(), this.draftedAt);
    if (isDue && !judgement.corrects) this.unsent = { first: this.unsent?.first ?? performance.now(), last: performance.now() };
  }

  #drawStatus() {
    const { answered, left } = this.data.counts;
    const total = answered + left;
    this.counts.textContent = `${answered} answered · ${left} to go`;
    this.bar.style.inlineSize = `${total ? (100 * answered) / total : 0}%`;
    const waiting = this.store.outbox().length;
    this.waitingSince = waiting ? (this.waitingSince ?? performance.now()) : null;
    const isAway = waiting > 0 && performance.now() - this.waitingSince > AWAY_MS;
    const answers = waiting === 1 ? "1 answer" : `${waiting} answers`;
    const text = isAway
      ? `The server is away: ${answers} kept in this browser, go on`
      : waiting
        ? `${answers} on the way`
        : this.judgement?.isTouched && !this.answered
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

  /** Says why there are no tasks: of all projects, or of the chosen one. */
  #drawPaused(text) {
    this.paused.hidden = !text;
    this.paused.replaceChildren(make("span", { text: text ?? "" }));
  }

  /** Where there is more than one project, which one to work in. */
  #drawChooser() {
    const { projects = [], project_id: chosen = null } = this.data;
    this.chooser.hidden = projects.length < 2;
    const options = projects.map(({ project_id: id, name, state }) => [id, name + (STATES[state] ?? "")]);
    const drawn = JSON.stringify(options);
    if (this.chooser.dataset.drawn !== drawn) {
      this.chooser.replaceChildren(...[["", "All projects"], ...options].map(([value, text]) => make("option", { value, text })));
      this.chooser.dataset.drawn = drawn;
    }
    this.chooser.value = String(chosen ?? "");
  }

  #choose() {
    const { value } = this.chooser;
    this.#send({ project_id: value ? Number(value) : null });
  }

  #say(text) {
    this.live.textContent = text;
  }

  #onVisibility() {
    if (!this.answered) this.judgement?.tick(!document.hidden);
    if (document.hidden) this.#keepDraft();
  }

  /** Another tab of this person has answered something: if it is what stands here, it need not be answered twice. */
  #onOtherTab(outbox) {
    for (const submission of outbox) this.elsewhere.set(submission.task_id, performance.now());
    const { judgement } = this;
    if (!judgement || this.answered || judgement.corrects) return;
    const { task_id: id } = judgement.task;
    if (!outbox.some((submission) => submission.task_id === id)) return;
    clearTimeout(this.draftTimer);
    this.draftTimer = this.unsent = null;
    this.tasks = this.tasks.filter((task) => task.task_id !== id);
    this.#notify("This task was just answered in another tab.");
    this.#showNext();
  }

  /** What the server sent before it knew of another tab's answer must not bring its task back. */
  #justAnsweredElsewhere() {
    const since = performance.now() - LATE_MS;
    return [...this.elsewhere].filter(([, at]) => at > since).map(([id]) => id);
  }

  // ---- actions -------------------------------------------------------------------------------------------

  act(action, detail) {
    const { judgement, view } = this;
    switch (action) {
      case "keys":
        return showKeys(this.root, this.keys, judgement?.task.kind ?? "steps", () => this.#keysChanged());
      case "guidelines":
        return showGuideline(this.root, this.#version(), this.guidelines[this.#version()]);
      case "practice":
        this.practiceSince = performance.now();
        return this.#send();
      case "undo":
        if (this.answered || !judgement?.undo()) return this.#goBack();
        return this.#drawn("Undone.");
      default:
        return judgement && !view.take(action, judgement) ? this.#actOnTask(action, detail) : undefined;
    }
  }

  #actOnTask(action, detail) {
    const { judgement, view } = this;
    if (this.answered) {
      if (action === "submit") return this.#showNext();
      if (action === "leaveCorrection" || !READING.has(action)) return undefined;
    }
    switch (action) {
      case "focus":
        if (judgement.at === detail) return undefined;
        judgement.act("move", detail);
        return view.update(judgement, { isFocused: false });
      case "comment":
        return view.focusComment();
      case "commented":
        judgement.comment = detail;
        return this.#changed();
      case "submit":
        return this.#submit();
      case "skip":
        return this.#leave("skipped");
      case "giveUp":
        return this.#leave("give_up");
      case "badProblem":
        return this.#leave("bad_problem");
      case "leaveCorrection":
        return judgement.corrects ? this.#leaveCorrection() : undefined;
      default:
        break;
    }
    const said = judgement.act(action, detail);
    return said === undefined ? undefined : this.#drawn(said, { isFocused: !isTyping(this.root) });
  }

  #drawn(said, options) {
    this.view.update(this.judgement, options);
    if (said) this.#say(said);
    this.#changed();
    return undefined;
  }

  /** The version of the rules that the task goes by. */
  #version() {
    return this.judgement?.task.project.guideline ?? this.data.guideline;
  }

  #leave(finishReason) {
    return askReason(this.root, finishReason, (reason) => this.#submit({ finishReason, reason }));
  }

  #keysChanged() {
    this.store.keys = this.keys.own;
    this.#drawHelp();
    this.store.isKeysSent = false;
    this.#send();
    if (!this.judgement || this.answered) return;
    this.#keepDraft();
    const { task } = this.judgement;
    const { isShown } = this.store.history().find(({ submissionId }) => submissionId === this.judgement.corrects) ?? {};
    this.#show(task, this.judgement.draft(), { isUncovered: isShown });
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (this.root.querySelector("dialog[open]")) return;
    const target = event.composedPath()[0];
    const element = target instanceof Element ? target : null;
    if (element?.closest("input, textarea, select, [contenteditable]")) {
      const isOwn = this.root.contains(element) && !element.closest(".sm-editor, .sm-jump");
      if (event.key === "Escape" && isOwn) {
        element.blur();
        this.view?.focus(this.judgement);
      }
      return;
    }
    const action = event.key === "Escape" ? "leaveCorrection" : this.keys.actionOf(event, this.judgement?.task.kind ?? "steps");
    if (!action) {
      // Streamlit would rerun (r) or ask to clear its cache (c) in the middle of the work.
      if (["r", "c"].includes(event.key.toLowerCase())) event.stopImmediatePropagation();
      return;
    }
    // Whoever reached a button or a link with Tab means that one.
    if (["Enter", " "].includes(event.key) && element?.closest("button, a[href], [role=button]")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    // A key that is held down is one press; only moving may run.
    if (event.repeat && !RUNNING.has(action)) return;
    this.act(action);
  }
}

/** Is there something to see once the task is answered. */
function hasMore({ task, before }) {
  if (task.known) return true;
  return !before && !task.evidence_before && task.project.shows_evidence && readEvidence(task.evidence) !== null;
}

/** The server's copy of a draft, as the browser keeps its own. */
function serverDraft({ draft }) {
  if (!draft) return null;
  return draft.body ? { ...draft.body, updated_at: draft.updated_at } : draft;
}

function newest(...drafts) {
  const found = drafts.filter(Boolean).sort((a, b) => (b.updated_at ?? 0) - (a.updated_at ?? 0));
  return found[0] ?? null;
}

function isTyping(root) {
  return Boolean(root.getRootNode().activeElement?.closest?.(".sm-editor, .sm-input"));
}

/** Is the page dark now: Streamlit's variables hold the theme's colours. */
function isDark(element) {
  const probe = make("span", { style: "display:none;color:var(--st-background-color)" });
  element.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g)?.map(Number) ?? [255, 255, 255];
  probe.remove();
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
}

function sameKeys(some, others) {
  const text = (keys) => JSON.stringify(Object.entries(keys ?? {}).sort());
  return some !== null && text(some) === text(others);
}
