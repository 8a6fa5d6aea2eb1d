// Forms for requests that move money, and the list of unfinished intents.

import { button, checkbox, element, focusOn, replaceIn, submitButton } from "./dom.js";
import { clearErrors, focusError } from "./field_errors.js";
import { forget, isBeingSent, keep, newIntent, newKey, outcome, unfinished } from "./intent.js";
import { failureNode } from "./problem.js";
import { follow, keyLink, losingTheFirst, sendAgain } from "./report.js";

// intentForm is a form for one intent, and shows its key. "Another one" is a new intent. request
// makes the request ({ what, path, body }) from the input, or throws an Error that names the
// mistake. question, if there is one, is asked after what is to be done. onDone is called after
// success.
export function intentForm({ title, submit, question, fields, request, onDone }) {
  let key = newKey();
  const keyShown = element("code", {}, key);
  const inputs = element("fieldset", {}, fields, submitButton(submit, question));
  const report = element("div", { className: "report", "aria-live": "polite" });

  async function sendTyped(event) {
    event.preventDefault();
    clearErrors(form);
    report.replaceChildren();
    const typed = Object.fromEntries(new FormData(form));
    let intent;
    try {
      intent = newIntent({ key, ...request(typed) });
      if (question && !confirm(`${intent.what}? ${question}`)) {
        report.append("Nothing was sent.");
        return;
      }
      keep(intent);
    } catch (mistake) { // nothing is sent if the input is invalid or the intent cannot be stored
      replaceIn(report, failureNode(mistake, form));
      focusError(form);
      return;
    }
    focusOn(report); // a disabled button loses the focus
    inputs.disabled = true; // until a correction or another intent is possible
    const attempt = typed.lossy ? losingTheFirst() : undefined;
    try {
      await follow(intent, report, { settled, attempt, form });
    } catch (mistake) {
      report.append(failureNode(mistake));
    }
  }

  // settled runs once the outcome is known. Before that no new intent is possible: a new key could
  // charge twice.
  function settled(came) {
    if (came === outcome.refused) {
      inputs.disabled = false; // for a correction, under the same key
      if (report.contains(document.activeElement)) { // the reader has not gone on meanwhile
        focusError(form);
      }
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
    checkbox("Discard the first answer, like a broken connection", { name: "lossy" }),
    element("p", { className: "fine" }, "Idempotency-Key: ", keyShown),
    report);
  return form;
}

// unfinishedList lists the intents whose outcome was not shown yet.
export function unfinishedList() {
  const list = element("section", { className: "unfinished" },
    element("h2", {}, "Unfinished"), unfinished().map(unfinishedIntent));
  list.hidden = unfinished().length === 0;
  return list;
}

// updateUnfinished shows one intent's new state, and keeps the others with their reports.
export function updateUnfinished(list, intent) {
  const shown = Array.from(list.children).find(({ dataset }) => dataset.key === intent.key);
  shown?.remove();
  list.append(unfinishedIntent(intent));
  list.hidden = false;
}

const meanwhile = {
  [outcome.done]: "It was done.",
  [outcome.declined]: "It was declined.",
  [outcome.taken]: "It was not done: its key or its reference belongs to another request.",
  [outcome.refused]: "It was refused. Nothing was done.",
};

function unfinishedIntent(intent) {
  const state = element("div", { className: "report", "aria-live": "polite" });
  const dismiss = () => {
    forget(intent);
    replaceIn(state, "It is no longer listed. If it made a payment, this is ",
      keyLink(intent, "the payment under its key"), ".");
  };
  const giveUp = () => {
    if (confirm(`Forget “${intent.what}”? Its outcome is unknown, and this tab can then not send ` +
      "it again.")) {
      dismiss();
    }
  };
  if (isBeingSent(intent)) {
    state.append("It is being sent.");
  } else if (intent.came) {
    state.append(`${meanwhile[intent.came]} `, button("I have seen it", dismiss));
  } else {
    state.append("Its outcome is unknown. ", ...sendAgain(intent, state, () => {}),
      element("button", { type: "button", className: "danger", onclick: giveUp }, "Forget it"));
  }
  return element("div", { "data-key": intent.key },
    element("p", {}, element("strong", {}, intent.what), " ", element("code", {}, intent.key)),
    state);
}
