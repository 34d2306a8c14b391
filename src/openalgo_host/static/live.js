// Keeps parts of the page up to date: the host tells what has changed, and the parts that show it are asked for again.
"use strict";

(() => {
  const PAUSE = 10_000; // milliseconds between two questions while the host has no place for another stream
  const PATIENCE = 3_000; // milliseconds without a stream, after which the page says so

  const state = document.getElementById("live");
  const parts = [...document.querySelectorAll("[data-live]")];
  const topics = (part) => part.dataset.live.split(" ");
  const underWay = new Map(); // of a part: whether it has to be asked for once more
  const stale = new Map(); // of a part that could not be had: the timer after which it is asked for again

  let stream = null;
  let timer = 0;
  let lost = 0;

  const say = (text, kind) => {
    state.dataset.state = kind;
    if (state.textContent !== text) state.textContent = text;
  };

  const sayLost = () => say("The host does not answer. This may be old.", "lost");
  const sayLive = () => {
    if (stream.readyState === EventSource.OPEN && !stale.size) say("Live", "live");
  };

  const note = (part, isStale) => {
    clearTimeout(stale.get(part));
    if (isStale) {
      stale.set(part, setTimeout(refresh, PAUSE, part));
      sayLost();
    } else if (stale.delete(part)) sayLive();
  };

  // Changes what is there into what came, and leaves alone what is equal: focus, selection and scrolling stay.
  const patch = (there, came) => {
    if (there.isEqualNode(came)) return;
    const isOther = there.nodeName !== came.nodeName || there.id !== came.id;
    if (isOther || there.nodeType !== Node.ELEMENT_NODE) return there.replaceWith(came);
    for (const { name } of [...there.attributes]) if (!came.hasAttribute(name)) there.removeAttribute(name);
    for (const { name, value } of came.attributes) there.setAttribute(name, value);
    patchChildren(there, came);
  };

  const patchChildren = (there, came) => {
    const wanted = new Set([...came.children].map((child) => child.id));
    const known = new Map([...there.children].filter((child) => child.id).map((child) => [child.id, child]));
    let at = there.firstChild;
    const drop = () => {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    };
    for (const child of [...came.childNodes]) {
      while (at?.id && !wanted.has(at.id)) drop();
      const same = known.get(child.id);
      if (same) {
        if (same === at) at = at.nextSibling;
        else there.insertBefore(same, at);
        patch(same, child);
      } else if (at && !at.id && !child.id) {
        const next = at.nextSibling;
        patch(at, child);
        at = next;
      } else there.insertBefore(child, at);
    }
    while (at) drop();
  };

  const refresh = async (part) => {
    if (underWay.has(part)) return void underWay.set(part, true);
    do {
      underWay.set(part, false);
      try {
        const answer = await fetch(part.dataset.source);
        // Logged out meanwhile, which leads to the login; or what the page is about is gone, which it then says.
        if (answer.status === 401 || answer.status === 404) return location.reload();
        if (!answer.ok) throw new Error(String(answer.status));
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const focused = document.activeElement?.id;
        patchChildren(part, page.body);
        if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus();
        note(part, false);
      } catch {
        note(part, true);
      }
    } while (underWay.get(part));
    underWay.delete(part);
  };

  const close = () => {
    clearTimeout(timer);
    clearTimeout(lost);
    lost = 0;
    stream?.close();
  };

  const listen = () => {
    close();
    stream = new EventSource(state.dataset.events);
    stream.onopen = () => {
      clearTimeout(lost);
      lost = 0;
      sayLive();
    };
    stream.onmessage = ({ data }) => {
      const changed = data.split(" ");
      for (const part of parts) if (topics(part).some((topic) => changed.includes(topic))) refresh(part);
    };
    stream.addEventListener("logout", () => location.reload()); // that leads to the login
    stream.onerror = () => {
      if (stream.readyState !== EventSource.CLOSED) {
        lost ||= setTimeout(sayLost, PATIENCE); // the browser begins another one by itself, if it can
        return;
      }
      close();
      say(`Asks every ${PAUSE / 1000} seconds`, "asks");
      parts.forEach(refresh);
      timer = setTimeout(listen, PAUSE);
    };
  };

  // A page that nobody sees holds no stream; when it is seen again, the next stream begins with everything.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else listen();
  });
  if (!document.hidden) listen();
})();
