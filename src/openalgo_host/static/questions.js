// Shows a question in a dialog, where the link leads to a page with it. Without this file the link leads there.
"use strict";

(() => {
  let isAsking = false; // between the click and its dialog there is room for another click

  const ask = async (link) => {
    const answer = await fetch(link.href);
    if (answer.redirected) return location.reload(); // logged out meanwhile: that leads to the login
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const question = page.getElementById("question");
    if (!question) return location.assign(link.href); // a page that says why there is nothing to ask any more

    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "asked");
    dialog.append(question);
    document.body.append(dialog);
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest("[data-dismiss]")) {
        event.preventDefault();
        dialog.close();
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      document.getElementById(link.id)?.focus(); // the link itself may have been replaced meanwhile
    });
    dialog.showModal();
    dialog.querySelector("[data-dismiss]").focus(); // Enter, pressed once too often, does no harm
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-question]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (isAsking) return;
    isAsking = true;
    ask(link)
      .catch(() => location.assign(link.href))
      .finally(() => (isAsking = false));
  });
})();
