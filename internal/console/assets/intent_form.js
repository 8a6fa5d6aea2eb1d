// Forms whose sending moves money, and the list of what is unfinished.

import { button, checkbox, element, link } from "./dom.js";
import { forget, isBeingSent, keep, newIntent, newKey, outcome, unfinished } from "./intent.js";
import { failureNode } from "./problem.js";
import { findOut, follow, losingTheFirst } from "./report.js";

// intentForm is a form that stands for one intent and shows its key; "another one" is a new intent. request makes of what was
// typed the request ({ what, path, body }), or throws an Error that says what is wrong with it. onDone is called when something
// was done.
export function intentForm({ title, submit, fields, request, onDone }) {
  let key = newKey();
  const keyShown = element("code", {}, key);
  const inputs = element("fieldset", {}, fields, element("button", { type: "submit" }, submit));
  const report = element("div", { className: "report", "aria-live": "polite" });

  async function sendTyped(event) {
    event.preventDefault();
    const typed = Object.fromEntries(new FormData(form));
    let intent;
    try {
      intent = newIntent({ key, ...request(typed) });
      keep(intent);
    } catch (mistake) { // what cannot be read, or cannot be kept, is not sent
      report.replaceChildren(failureNode(mistake));
      return;
    }
    inputs.disabled = true; // until it may be corrected, or is another one
    try {
      await follow(intent, report, { settled, attempt: typed.lossy ? losingTheFirst() : undefined });
    } catch (mistake) {
      report.append(failureNode(mistake));
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
    form.querySelector("input").focus();
  }

  const form = element("form", { onsubmit: sendTyped },
    title && element("h2", {}, title), inputs,
    checkbox("Throw the first answer away, as a broken line does", { name: "lossy" }),
    element("p", { className: "fine" }, "Idempotency-Key: ", keyShown),
    report);
  return form;
}

// unfinishedList lists the intents of which this tab has not shown what they came to.
export function unfinishedList() {
  const list = element("section", { className: "unfinished" }, element("h2", {}, "Unfinished"), unfinished().map(unfinishedIntent));
  list.hidden = unfinished().length === 0;
  return list;
}

// updateUnfinished shows an intent as it has become, and leaves the others, with what they report, as they are.
export function updateUnfinished(list, intent) {
  const shown = Array.from(list.children).find(({ dataset }) => dataset.key === intent.key);
  shown?.remove();
  list.append(unfinishedIntent(intent));
  list.hidden = false;
}

const meanwhile = {
  [outcome.done]: "It was done.",
  [outcome.declined]: "It was declined.",
  [outcome.taken]: "Its key or its reference belongs to something done, so it was not done again.",
  [outcome.refused]: "It was refused. Nothing was done.",
};

function unfinishedIntent(intent) {
  const state = element("div", { className: "report", "aria-live": "polite" });
  const dismiss = (text) => button(text, () => {
    forget(intent);
    state.replaceChildren("It is not listed any more. ",
      link("#/payments?" + new URLSearchParams({ idempotency_key: intent.key }), "The payment under its key"), " tells, if it made one.");
  });
  if (isBeingSent(intent)) {
    state.append("It is being sent.");
  } else if (intent.came) {
    state.append(`${meanwhile[intent.came]} `, dismiss("I have seen it"));
  } else {
    state.append("It is not known what came of it. The same request with the same key finds out, and does nothing twice. ",
      findOut(intent, state, () => {}), dismiss("Ask no more"));
  }
  return element("div", { "data-key": intent.key },
    element("p", {}, element("strong", {}, intent.what), " ", element("code", {}, intent.key)), state);
}
