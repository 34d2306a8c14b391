// Sends a form once, however often its button is clicked. What must not happen twice in any case, the host sees to.
"use strict";

(() => {
  let sent = new WeakSet();

  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    if (sent.has(event.target)) event.preventDefault();
    else sent.add(event.target);
  });

  addEventListener("pageshow", () => (sent = new WeakSet())); // the browser's "back" may show the page as it was left
})();
