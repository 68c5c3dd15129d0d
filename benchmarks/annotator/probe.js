/**
 * Times keys on whatever page is open: from the event to the DOM that shows its effect, and on to the frame after it.
 *
 * `shown()` says what the page shows now, as a string; a key is done when that is another one than before. It is looked
 * at after every mutation and every change of a field. A frame counts as presented when the first task behind it runs.
 */
(() => {
  const probe = { shown: () => "", done: [], pending: null, slow: [] };
  window.stepmarkProbe = probe;
  const channel = new MessageChannel();
  let onTask = null;
  channel.port1.onmessage = () => onTask?.();

  const look = () => {
    const { pending } = probe;
    if (!pending || pending.dom !== undefined || probe.shown() === pending.before) return;
    pending.dom = performance.now() - pending.start;
    requestAnimationFrame(() => {
      onTask = () => {
        pending.frame = performance.now() - pending.start;
        probe.done.push(pending);
        probe.pending = null;
        pending.resolve();
      };
      channel.port2.postMessage(null);
    });
  };

  /** The next key's times, once they are known. */
  probe.arm = (isKey = true) => {
    probe.pending = { before: probe.shown(), start: isKey ? null : performance.now() };
    probe.wait = new Promise((resolve) => (probe.pending.resolve = resolve));
  };
  window.addEventListener(
    "keydown",
    (event) => {
      if (probe.pending?.start === null) probe.pending.start = event.timeStamp;
    },
    true,
  );
  document.addEventListener("change", look, true);
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  new PerformanceObserver((list) => {
    for (const { name, duration } of list.getEntries()) if (name === "keydown") probe.slow.push(duration);
  }).observe({ type: "event", durationThreshold: 16 });
})();
