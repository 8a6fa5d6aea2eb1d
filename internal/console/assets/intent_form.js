// Forms whose sending moves money, and the list of what is unfinished.

import { button, checkbox, element, link } from "./dom.js";
import { forget, newIntent, newKey, outcome, unfinished } from "./intent.js";
import { failureNode } from "./problem.js";
import { follow } from "./report.js";

// intentForm is a form that stands for one intent and shows its key; "another one" is a new intent. request makes of what was typed the
// request ({ what, path, body }), or throws an Error that says what is wrong with it. onDone is called when something was done.
export function intentForm({ title, submit, fields, request, onDone }) {
  let key = newKey();
  const keyShown = element("code", {}, key);
  const inputs = element("fieldset", {}, fields, element("button", { type: "submit" }, submit));
  const report = element("div", { className: "report", "aria-live": "polite" });

  async function sendTyped(event) {
    event.preventDefault();
    const typed = Object.fromEntries(new FormData(form));
    inputs.disabled = true; // until it may be corrected, or is another one
    try {
      const { what, path, body } = request(typed);
      await follow(newIntent(key, what, path, body), report, { answersToLose: typed.lossy ? 1 : 0, settled });
    } catch (mistake) { // what cannot be read, or cannot be kept, is not sent
      report.replaceChildren(failureNode(mistake));
      inputs.disabled = false;
    }
  }

  // While it is not known what came of it there is no other one: a new key would be a second charge.
  function settled(came) {
    if (came === outcome.refused) {
      inputs.disabled = false; // to be corrected, under the same key
      return;
    }
    if (came === outcome.done) {
      onDone();
    }
    report.append(button("Another one, with a new key", beginAnother));
  }

  function beginAnother() {
    key = newKey();
    keyShown.textContent = key;
    report.replaceChildren();
    inputs.disabled = false;
  }

  const form = element("form", { onsubmit: sendTyped },
    element("h2", {}, title), inputs,
    checkbox("Throw the first answer away, as a broken line does", { name: "lossy" }),
    element("p", { className: "fine" }, "Idempotency-Key: ", keyShown),
    report);
  return form;
}

// unfinishedNode lists the intents whose outcome this tab does not know, with the way to find out; null if there is none.
export function unfinishedNode() {
  const intents = unfinished();
  return intents.length === 0 ? null : element("section", { className: "unfinished" },
    element("h2", {}, "Unfinished"),
    element("p", {}, "These were sent, and it is not known yet what came of them. The same request with the same key finds out, " +
      "and does nothing twice."),
    intents.map(unfinishedIntent));
}

function unfinishedIntent(intent) {
  const report = element("div", { className: "report", "aria-live": "polite" });
  const item = element("div", {},
    element("p", {}, element("strong", {}, intent.what), " ", element("code", {}, intent.key)),
    button("Find out", () => follow(intent, report, { settled() {} })),
    button("Ask no more", () => {
      forget(intent);
      item.replaceChildren("It may have been done, now or later. ",
        link("#/payments?" + new URLSearchParams({ idempotency_key: intent.key }), "The payment under its key"), " tells, if it is one.");
    }),
    report);
  return item;
}
