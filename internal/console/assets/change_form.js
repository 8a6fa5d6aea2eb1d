import { button, element, focusOn, replaceIn, submitButton } from "./dom.js";
import { clearErrors, focusError } from "./field_errors.js";
import { changeProblem, failureNode } from "./problem.js";

// changeForm is a form for a change without a key, which is safe to repeat. question, if there is
// one, is asked before the change. send returns the answer, or throws an error if nothing was sent.
// done describes the changed thing. showAgain shows the current state if the change was not made.
export function changeForm({ title, submit, question, fields, send, done, showAgain }) {
  const inputs = element("fieldset", {}, fields, submitButton(submit, question));
  const report = element("div", { "aria-live": "polite" });
  const form = element("form", { onsubmit: change },
    title && element("h2", {}, title), inputs, report);

  async function change(event) {
    event.preventDefault();
    clearErrors(form);
    report.replaceChildren();
    if (question && !confirm(question)) {
      report.append("Nothing was sent.");
      return;
    }
    const typed = Object.fromEntries(new FormData(form));
    focusOn(report); // a disabled button loses the focus
    inputs.disabled = true;
    try {
      const answer = await send(typed);
      replaceIn(report, ...(answer.yes
        ? [element("p", { className: "done" }, ...done(answer.value))]
        : [changeProblem(answer, form), button("Show it as it is now", showAgain)]));
    } catch (mistake) {
      replaceIn(report, failureNode(mistake, form));
    } finally {
      inputs.disabled = false;
    }
    if (report.contains(document.activeElement)) { // the reader has not gone on meanwhile
      focusError(form);
    }
  }

  return form;
}
