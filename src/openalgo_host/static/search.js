// Search as you type, and choosing with the keyboard. Without this file the form works as a plain one.
"use strict";

(() => {
  const PAUSE = 120; // milliseconds without a keystroke, before the host is asked

  const form = document.getElementById("search");
  const query = form.elements.q;
  const exchange = form.elements.exchange;
  const results = document.getElementById("results");
  const count = document.getElementById("count");
  const hints = document.getElementById("hints");

  let timer = 0;
  let underWay = null;

  const links = () => [...results.querySelectorAll("tbody a")];

  const asked = () => {
    const parameters = new URLSearchParams();
    if (query.value.trim()) parameters.set("q", query.value.trim());
    if (exchange.value) parameters.set("exchange", exchange.value);
    return parameters;
  };

  const show = (content, text) => {
    results.replaceChildren(...content);
    results.removeAttribute("aria-busy");
    count.textContent = text;
  };

  async function refresh() {
    clearTimeout(timer);
    underWay?.abort();
    const mine = (underWay = new AbortController());
    const parameters = asked();
    history.replaceState(null, "", `${location.pathname}?${parameters}`.replace(/\?$/, ""));
    document.title = [parameters.get("q") || "Symbols", document.title.split(" · ").pop()].join(" · ");
    if (!parameters.has("q")) {
      show(hints.content.cloneNode(true).childNodes, "");
      return;
    }
    results.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(`${form.dataset.results}?${parameters}`, { signal: mine.signal });
      if (answer.status === 401) {
        location.reload(); // logged out meanwhile
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      show(page.body.childNodes, page.querySelector("[data-count]")?.dataset.count ?? "");
    } catch (error) {
      if (error.name === "AbortError") return; // a newer question is under way
      results.removeAttribute("aria-busy");
      count.textContent = "The host did not answer. These results may be old.";
    }
  }

  query.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, PAUSE);
  });
  exchange.addEventListener("change", refresh);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await refresh();
    links()[0]?.focus();
  });

  query.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && links().length) {
      event.preventDefault();
      links()[0].focus();
    }
  });

  results.addEventListener("keydown", (event) => {
    const all = links();
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    (to < 0 ? query : (all[to] ?? all[at])).focus();
  });

  document.addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      query.focus();
      query.select();
    } else if (event.key === "Escape" && results.contains(event.target)) {
      query.focus();
    }
  });
})();
